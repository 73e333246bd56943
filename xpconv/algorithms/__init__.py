"""The algorithms: one file each, one class each. A new one is added by naming it in REGISTRY."""

from __future__ import annotations

from xpconv.algorithms.base import Algorithm
from xpconv.algorithms.compiled import Compiled
from xpconv.algorithms.compiled_winograd import CompiledWinograd
from xpconv.algorithms.direct import Direct
from xpconv.algorithms.fft import Fourier
from xpconv.algorithms.gemm import Gemm
from xpconv.algorithms.rows import Rows
from xpconv.algorithms.toeplitz import Toeplitz
from xpconv.algorithms.winograd import Winograd

REGISTRY: dict[str, Algorithm] = {
    "direct": Direct(),
    "gemm": Gemm(),
    "toeplitz": Toeplitz(),
    "winograd": Winograd(),
    "fft": Fourier(),
    "rows": Rows(),
    "compiled": Compiled(),
    "compiled_winograd": CompiledWinograd(),
}
FALLBACK = "gemm"  # serves everything, and computes a tile again in which values spread that are not finite
# on every library
EVERYWHERE = tuple(name for name, algorithm in REGISTRY.items() if not (algorithm.overlaps or algorithm.clips))

__all__ = ["EVERYWHERE", "FALLBACK", "REGISTRY", "Algorithm"]
