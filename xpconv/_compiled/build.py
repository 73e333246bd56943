"""Compile the loops, with Numba and once: what has been compiled is kept on disk.

A kernel is asked for by its name and dtype. Numba is imported when the first one is wanted, which takes a second;
compiling one takes seconds more. Where results are the same bits with a kernel and without, a process goes without it
until it has lost as much time, by predictions, as the kernel costs (`Ledger`): no call waits for what it does not use
for long, and in all at most twice the time of the better choice is spent. Where rounding differs, a call is given a
kernel if that alone saves it `WORTH` or more, so that a call has the same bits whenever it is made.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Kernel = Callable[..., None]
Key = tuple[str, str]  # name, dtype

MISSING = 'needs Numba: python -m pip install "xpconv[fast]"'
OFF = "not taken: compiled kernels are switched off"
LITTLE = "not taken: saves too little of a call to wait for it; set_options(compiled=True) takes it"
WORTH = 1e-3  # seconds that one call saves
LOADING, COMPILING = 1.0, 6.0  # seconds: to import Numba and load a kernel; to compile it

# name: module, function, arguments (of an array the number of axes; "r" read, "v" read in any order, "w" written, "a"
# written with gaps, "i" integers, "s" short, "l" long ones; "f" a number; with commas several as one); nothing is
# reordered but what `lanes` says
_KERNELS: dict[str, tuple[str, str, str]] = {
    "weight": ("rows", "pack", "5v 5w i"),
    "depthwise": ("depthwise", "forward", "5r 5r 1r 5a 1i 1w"),
    "depthwise images": ("strides", "images_grad", "5r 5r 1r 5a 1i 1w"),
    "depthwise gradient": ("depthwise", "weight_grad", "5r 5r 5w 1i 1w"),
    "windows": ("windows", "forward", "5r 5r 1r 5a 1i 1w"),
    "windows gradient": ("windows_gradient", "weight_grad", "5r 5r 5w 1i 1w"),
    "groups": ("groups", "forward", "5r 5r 1r 5a 1i 1w"),
    "groups gradient": ("groups", "weight_grad", "5r 5r 5w 1i 1w"),
    "apart": ("apart", "forward", "5r 5r 1r 5a 1i 1w"),
    "apart gradient": ("apart", "weight_grad", "5r 5r 5w 1i 1w"),
    "filters": ("filters", "forward", "5r 5r 1r 5a 1i 1w"),
    "filters gradient": ("filters_gradient", "weight_grad", "5r 5r 5w 1i 1w"),
    "taps": ("taps", "forward", "5r 5r 1r 5a 1i 1w"),
    "taps images": ("taps", "images_grad", "5r 5r 1r 5a 1i 1w"),
    "pixels": ("pixel_sums", "total", "2r 1w 1w i i"),
    "dense": ("dense", "forward", "5r 5r 1r 5a 1i 1w"),
    "tiles": ("tiles", "forward", "4r 4r,4w 1r 4a 1i 1r 1w"),
    "tiles gradient": ("tiles", "weight_grad", "4r 4r 3w 1i 1r 1w"),
    "tiles finish": ("tiles", "finish", "4a 4w 1i 1r 1w"),
    "tiles weight": ("tiles", "prepare", "4r 4w 1i 1r 1w"),
    "maxima": ("maxima", "forward", "5r 5w 1i 1i 1w f"),
    "places": ("maxima", "places", "4r 4l 1i 1w"),
    "maxima gradient": ("maxima_gradient", "gradient", "4r 4r 4w 1i 1w 1s 1w"),
    "boxes": ("boxes", "gradient", "5r 5r 5w 1i 1i 2w 2s"),
    "ties in boxes": ("boxes", "ties", "5r 5r 5w 1i 1i 2w 2s"),
    "boxes in rows": ("boxes", "rows", "5r 5r 5w 1i 1i 2w 2s"),
    "top along": ("ties", "top", "3r 3w 1i 1s"),
    "count along": ("ties", "count", "3r 3r 3r 3w 1i i"),
    "ties along": ("ties", "give", "3r 3r 3r 3w 1i 1i i"),
    "averages": ("averages", "forward", "5r 5w 1i 1i 1w 1r"),
    "averages gradient": ("averages", "gradient", "5r 5w 1i 1i 1w 1w 1r"),
    "long averages gradient": ("spans", "sums", "3r 3w 1i i"),
    "fold": ("sums", "add", "7a 7v"),
    "first along": ("lines", "first", "3r 3w 3s 1i"),
    "long first along": ("lines", "long_first", "3r 3w 3s 1i 2w 2s"),
    "give along": ("lines", "give", "3r 3s 3w 1i 1i i"),
    "gather along": ("lines", "gather", "3r 3s 3w 1i 1i i"),
    "wait": ("waiting", "wait", "1i 1i i i"),
    "norms": ("norms", "forward", "5r 5w 1i 1i 5w"),
    "norms gradient": ("norms", "gradient", "5r 5r 5w 1i 1i 5w 5w"),
}

_WITH_PARTS = (  # modules with functions that loops call
    *("rows", "pixel_sums", "threes", "dense", "apart", "tiles", "windows", "windows_gradient"),
    *("filters_gradient", "taps"),
    *("averages", "boxes", "ties", "maxima", "maxima_gradient", "norms"),
)

DTYPES = ("float32", "float64")
NAMES = {np.dtype(name): name for name in DTYPES}  # asking a dtype for its name takes microseconds


@lru_cache(maxsize=1)
def installed() -> bool:
    """Say whether Numba is there; it is not imported."""
    return find_spec("numba") is not None


def refusal(switch: bool | None) -> str:
    """Say why no kernel may be taken, if that follows from the options or from what is installed."""
    return OFF if switch is False else "" if installed() else MISSING


class _Built:
    """The kernels of this process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start with a lock of its own in a forked child; what is compiled stays."""
        self._lock = threading.RLock()

    kernels: dict[Key, Kernel]

    def get(self, name: str, dtype: str) -> Kernel:
        """Give a kernel, compiled now if it has to be."""
        found = self.kernels.get((name, dtype))
        if found is None:
            with self._lock:
                if (name, dtype) not in self.kernels:
                    self.kernels[name, dtype] = _compile(name, dtype)
                found = self.kernels[name, dtype]
        return found


_Built.kernels = {}
_built = _Built()
get = _built.get


def in_use() -> bool:
    """Say whether this process has any kernel."""
    return bool(_Built.kernels)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_built.reset)


def _compile(name: str, dtype: str) -> Kernel:
    import numba  # optional, and it takes a second

    module, function, arguments = _KERNELS[name]
    real = getattr(numba.types, dtype)
    scalars = {"i": numba.types.intp, "f": numba.types.float64}
    arrays = {"i": numba.types.intp, "l": numba.types.int64, "s": numba.types.int32}

    def type_of(word: str) -> Any:
        if "," in word:
            return numba.types.Tuple(list(map(type_of, word.split(","))))
        if word in scalars:
            return scalars[word]
        axes, kind = int(word[0]), word[1]
        order, readonly = "A" if kind in "av" else "C", kind in "rv"
        return numba.types.Array(arrays.get(kind, real), axes, order, readonly=readonly)

    signature = numba.types.void(*map(type_of, arguments.split()))
    _teach()
    source = getattr(importlib.import_module(f"xpconv._compiled.{module}"), function)
    options = {"nogil": True, "error_model": "numpy"}
    try:
        found: Kernel = numba.njit(signature, cache=True, **options)(source)
    except RuntimeError:  # no folder that can be written: it is compiled for this process
        found = numba.njit(signature, **options)(source)
    return found


@lru_cache(maxsize=1)
def _teach() -> None:
    """Let Numba know, once, the vectors of the loops and the functions that they call."""
    from numba.extending import register_jitable

    from xpconv._compiled import lanes, waiting

    lanes.teach()
    waiting.teach()
    for name in _WITH_PARTS:
        module = importlib.import_module(f"xpconv._compiled.{name}")
        for part in module.PARTS:
            register_jitable(part)


class Ledger:
    """What a process has lost, in predicted seconds, for want of each kernel."""

    def __init__(self) -> None:
        self._lost: dict[Key, float] = {}
        self._ready: set[Key] = set()  # that may be taken

    @property
    def built(self) -> int:
        """Count the kernels that may be taken."""
        return len(self._ready)

    def takes(self, name: str, dtype: str, saved: float) -> bool:
        """Say whether a kernel is taken for a call that it is predicted to save so many seconds."""
        key = name, dtype
        if key in self._ready:
            return True
        lost = self._lost[key] = self._lost.get(key, 0.0) + saved
        if lost < (LOADING if on_disk(name) else COMPILING):
            return False
        self._ready.add(key)
        return True

    def waits(self, name: str, dtype: str) -> bool:
        """Say whether a kernel is not taken yet."""
        return (name, dtype) not in self._ready


ledger = Ledger()


def on_disk(name: str) -> bool:
    """Say whether Numba's cache holds a kernel, in some version."""
    module, function, *_ = _KERNELS[name]
    here = Path(__file__).parent
    folder = os.environ.get("NUMBA_CACHE_DIR", "")
    places = [Path(folder)] if folder else [here / "__pycache__"]
    pattern = f"{module}.{function}-*.nbi"
    return any(next(place.rglob(pattern), None) is not None for place in places if place.is_dir())
