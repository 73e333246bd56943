"""A kernel: work on the current stream of the current device, with all that is checked before it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _devices, _streams, _watch
from ._table import NotModelledError

if TYPE_CHECKING:
    from ._arrays import ndarray

Work = Callable[[], Any]
computes = True  # otherwise kernels are counted, and write nothing
EQUIVALENTS: dict[str, Callable[..., None]] = {}  # by the name of a kernel in CUDA C, what it does to the arrays


def run(
    name: str,
    work: Work,
    reads: Sequence[ndarray],
    writes: Sequence[ndarray],
    *,
    flops: int = 0,
    library: str | None = None,
    scratch: Sequence[Any] = (),
) -> None:
    """Launch a kernel; `library` is the library of CUDA that does it, which checks less and refuses to be captured.

    `scratch` is memory that it writes to and that nobody reads afterwards.
    """
    if writes and not any(array.size for array in writes):
        return
    device = _devices.current()
    for array in (*reads, *writes):
        if library is None:
            _devices.reach(array._memory.device_id, device)
        else:
            _devices.reach_unchecked(library, array._memory.device_id, device)
    line = _streams.current_line()
    if line.graph is not None:
        if library == "cuBLAS":
            raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
        line.graph._work.append(lambda: run(name, work, reads, writes, flops=flops, library=library, scratch=scratch))
        return
    written = [*(a._memory.accesses for a in writes), *(one.accesses for one in scratch)]
    _streams.enqueue(line, [a._memory.accesses for a in reads], written, name)
    _watch.kernel(name, [a._host for a in reads], [a._host for a in writes], flops, device)
    if computes:
        with np.errstate(all="ignore"):
            work()


class RawKernel:
    """A kernel in CUDA C, which cannot run here: what it does must be told in Python, or it must have no arrays.

    A kernel without arrays only takes time, and is counted.
    """

    def __init__(self, code: str, name: str, options: Sequence[str] = (), backend: str = "nvrtc", **_: Any) -> None:
        self.code, self.name, self.options = code, name, tuple(options)

    def __call__(self, grid: Any, block: Any, args: Sequence[Any], **_: Any) -> None:
        from ._arrays import ndarray

        arrays = [one for one in args if isinstance(one, ndarray)]
        for one in args:
            if isinstance(one, np.ndarray):
                raise TypeError(f"Unsupported type {type(one)}")
        does = EQUIVALENTS.get(self.name)
        if arrays and does is None:
            raise NotModelledError(f"the stand-in does not know what the kernel {self.name} does; see `standin.kernel`")
        hosts = [one._host if isinstance(one, ndarray) else one for one in args]
        run(self.name, (lambda: does(*hosts)) if does else (lambda: None), arrays, arrays)
