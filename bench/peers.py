"""The other libraries, each used where it is installed."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from bench import torch_peer

NAMES = {"torch": "PyTorch", "onnx": "ONNX Runtime", "jax": "JAX"}
PACKAGES = {"torch": ("torch",), "onnx": ("onnx", "onnxruntime"), "jax": ("jax",)}


@dataclass(frozen=True)
class Peers:
    """The modules that were found, None for what is missing or was left out."""

    torch: Any = None
    onnx: Any = None  # onnxruntime
    jax: Any = None

    @property
    def versions(self) -> dict[str, str | None]:
        """Versions, by the library's name here."""
        found = {"torch": self.torch, "onnxruntime": self.onnx, "jax": self.jax}
        return {name: None if module is None else module.__version__ for name, module in found.items()}


def names(text: str) -> tuple[str, ...]:
    """Read names of peers, separated by commas."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in found:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"wants names of {', '.join(NAMES)}; got {name!r}")
    return found


def _find(name: str) -> Any:
    if name == "torch":
        return torch_peer.load()
    try:
        return [importlib.import_module(package) for package in PACKAGES[name]][-1]
    except ImportError:
        return None


def load(without: tuple[str, ...] = (), wanted: tuple[str, ...] = tuple(NAMES)) -> Peers:
    """Load the wanted peers, and say in one line which are missing."""
    found = {name: _find(name) for name in wanted if name not in without}
    missing = [name for name, module in found.items() if module is None]
    if missing:
        packages = " ".join(package for name in missing for package in PACKAGES[name])
        verb = "is" if len(missing) == 1 else "are"
        text = " and ".join(NAMES[name] for name in missing)
        print(f"{text} {verb} not installed: comparing with the rest (python -m pip install {packages})")
    return Peers(**found)
