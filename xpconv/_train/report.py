"""Write what a training run leaves: parameters, a log, pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from xpconv._tools.files import write_atomic
from xpconv._tools.libraries import Library
from xpconv._tools.machine import tf32, versions
from xpconv._tools.terminal import has_rich
from xpconv._train import plots
from xpconv._train.dataset import ImageSet
from xpconv.nn.model import Sequential
from xpconv.nn.storage import has_safetensors, save_parameters
from xpconv.nn.training import HostArray, Result, Settings


def prepare_folder(out: str | None) -> Path:
    """Make the folder to write to, `out` or a fresh runs/<date>-<time>, before any time is spent on training."""
    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    stamp = Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
    for count in range(1, 1000):
        folder = stamp if count == 1 else stamp.with_name(f"{stamp.name}-{count}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not stamp.parent.is_dir():
                raise
            continue
        return folder
    raise FileExistsError(f"{stamp} and 999 like it exist")


def skipped() -> str:
    """Say in one line what is left out because optional packages are missing; empty if nothing is."""
    parts = {
        "the progress bar (rich)": has_rich(),
        "plots (matplotlib)": plots.has_matplotlib(),
        "safetensors (parameters go to .npz)": has_safetensors(),
    }
    missing = [part for part, there in parts.items() if not there]
    return f"skipped: {', '.join(missing)}; install with: python -m pip install 'xpconv[cli]'" if missing else ""


def confusion_matrix(labels: HostArray, predictions: HostArray, classes: int) -> HostArray:
    """Count the pairs (label, prediction): rows by label, columns by prediction."""
    pairs = labels.astype("int64") * classes + predictions
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def write(
    folder: Path,
    model: Sequential,
    dataset: ImageSet,
    library: Library,
    settings: Settings,
    result: Result,
    arguments: Mapping[str, Any],
) -> list[str]:
    """Write the parameters, then the log, then the pictures; gives the names of the files."""
    matrix = confusion_matrix(dataset.held_out_labels, result.predictions, dataset.classes)
    parameters = "parameters.safetensors" if has_safetensors() else "parameters.npz"
    metadata = {"format": "xpconv", "model": repr(model), "data": dataset.name, "scale": repr(dataset.scale)}
    save_parameters(folder / parameters, result.params, metadata)
    log = {
        "arguments": dict(arguments),
        "settings": {**asdict(settings), "lr": settings.step_size},
        "versions": versions(library),
        "backend": library.name,
        "device": library.device_name,
        "tf32": tf32(),
        "dtype": "float32",
        "seed": settings.seed,
        "data": {
            "name": dataset.name,
            "shape": list(dataset.images.shape[1:]),
            "classes": dataset.classes,
            "training": len(dataset.images),
            "held_out": len(dataset.held_out_images),
            "scale": dataset.scale,
        },
        "model": repr(model),
        "epochs": [asdict(epoch) for epoch in result.epochs],
        "first_losses": result.first_losses,
        "held_out_accuracy": result.accuracy,
        "confusion_matrix": matrix.tolist(),
        "seconds": result.seconds,
        "interrupted": result.interrupted,
        "parameters": parameters,
    }
    write_atomic(folder / "log.json", (json.dumps(_plain(log), indent=1, allow_nan=False) + "\n").encode())
    names = [parameters, "log.json"]
    if plots.has_matplotlib():
        for name, picture in _pictures(model, dataset, library, result, matrix).items():
            write_atomic(folder / name, picture)
            names.append(name)
    return names


def _plain(value: Any) -> Any:
    """Replace numbers that JSON has no word for by null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pictures(
    model: Sequential, dataset: ImageSet, library: Library, result: Result, matrix: HostArray
) -> dict[str, bytes]:
    image = dataset.held_out_images[:1]
    outputs = model.activations(result.params, library.asarray(image))
    maps = {
        name: library.to_numpy(output)[0]
        for name, output in outputs.items()
        if output.ndim == 4 and not name.startswith("conv")
    }
    weight = next(value for name, value in result.params.items() if name.endswith("weight"))
    truth, prediction = dataset.held_out_labels[0].item(), result.predictions[0].item()
    pictures = {
        "filters.png": plots.filters(library.to_numpy(weight)),
        "features.png": plots.features(image[0], maps, truth, prediction),
        "confusion.png": plots.confusion(matrix),
    }
    return {"curves.png": plots.curves(result.epochs), **pictures} if result.epochs else pictures
