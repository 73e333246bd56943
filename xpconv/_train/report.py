"""Write what a training run leaves: parameters, a log, pictures."""

from __future__ import annotations

import contextlib
import errno
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from xpconv._arrays.types import HostArray
from xpconv._tools.files import write_atomic
from xpconv._tools.libraries import Library
from xpconv._tools.machine import tf32, versions
from xpconv._tools.terminal import has_rich
from xpconv._train import plots
from xpconv._train.dataset import ImageSet
from xpconv.nn.model import Sequential
from xpconv.nn.storage import has_safetensors, save_parameters
from xpconv.nn.training import Result, Settings


class Folder:
    """The folder to write to, `out` or a fresh runs/DATE-TIME, made before any time is spent on training.

    At the end of its block the folders that it made are taken away again if nothing was written into them.
    """

    def __init__(self, out: str | None) -> None:
        self._made: list[Path] = []
        if out is not None and Path(out).exists() and not Path(out).is_dir():
            raise FileExistsError(errno.EEXIST, "is a file; --out must name a folder", out)
        self.path = Path(out) if out is not None else self._fresh()
        if out is not None:
            self._make(self.path, again=True)

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):  # something was written, or it is gone
                folder.rmdir()

    def _make(self, folder: Path, *, again: bool) -> None:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=again)
        self._made += reversed(missing)

    def _fresh(self) -> Path:
        stamp = Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
        for count in range(1, 1000):
            folder = stamp if count == 1 else stamp.with_name(f"{stamp.name}-{count}")
            try:
                self._make(folder, again=False)
            except FileExistsError:
                if not stamp.parent.is_dir():
                    raise
                continue
            return folder
        raise FileExistsError(f"{stamp} and 999 like it exist; name another folder with --out")


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
    drawn = [name for name, output in outputs.items() if output.ndim == 4] + list(outputs)[-1:]
    stages = {name: library.to_numpy(outputs[name])[0] for name in drawn}
    weight = next(value for name, value in result.params.items() if name.endswith("weight"))
    truth, prediction = dataset.held_out_labels[0].item(), result.predictions[0].item()
    pictures = {
        "filters.png": plots.filters(library.to_numpy(weight)),
        "features.png": plots.features(image[0], stages, truth, prediction),
        "confusion.png": plots.confusion(matrix),
    }
    return {"curves.png": plots.curves(result.epochs), **pictures} if result.epochs else pictures
