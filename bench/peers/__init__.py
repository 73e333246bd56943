"""Who is timed, one file each: xpconv, other libraries, and plain ways to do the same.

A file offers PEER, a class; a further one is a file and its name in OTHERS.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.peers.peer import Peer

OTHERS = (
    "course",
    "torch",
    "onnx",
    "jax",
    "im2col",
    "evaluator",
    "fast",
)  # in the order of turns and columns, before our own
OWN = "own"


def load(wanted: Sequence[str], without: Collection[str] = ()) -> list[Peer]:
    """Load the wanted peers, and say in one line which libraries are missing."""
    found: list[Peer] = []
    missing = []
    for name in (*OTHERS, OWN):
        if name not in wanted or name in without:
            continue
        kind = importlib.import_module(f"{__name__}.{name}").PEER
        modules = kind.modules()
        if modules is None:
            missing.append(kind)
        else:
            found.append(kind(*modules[-1:]))
    if missing:
        packages = " ".join(package for kind in missing for package in kind.packages)
        verb = "is" if len(missing) == 1 else "are"
        text = " and ".join(kind.library for kind in missing)
        print(f"{text} {verb} not installed: comparing with the rest (python -m pip install {packages})")
    return found
