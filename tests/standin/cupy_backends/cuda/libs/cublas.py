"""cupy_backends.cuda.libs.cublas: one function, in cuBLAS's own order of arguments, with what cuBLAS refuses."""

from cupy._pointers import CUBLASError as CUBLASError
from cupy._pointers import gemmStridedBatchedEx as gemmStridedBatchedEx
