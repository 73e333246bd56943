"""cupy._core: what of its inside programs use."""

from .._kernels import RawKernel as RawKernel
from . import _routines_linalg as _routines_linalg
