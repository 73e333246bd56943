"""CUDA's runtime compiler, by its library alone: it needs no device."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")  # A100, H100 and H200, B200


class CompileError(AssertionError):
    """A kernel that the compiler refuses; its message is the compiler's log."""


@functools.cache
def path() -> Path | None:
    """Find the library of NVIDIA's wheel."""
    spec = importlib.util.find_spec("nvidia")
    for folder in [] if spec is None else spec.submodule_search_locations or []:
        for found in sorted(Path(folder).glob("*/lib/libnvrtc.so.*")):
            return found
    return None


def compiled(source: str, architecture: str) -> bytes:
    """Compile CUDA C to the machine code of an architecture."""
    nvrtc, program = ctypes.CDLL(str(path())), ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
    try:
        options = (ctypes.c_char_p * 1)(f"--gpu-architecture={architecture}".encode())
        status = nvrtc.nvrtcCompileProgram(program, 1, options)
        if status:
            raise CompileError(f"status {status}: {_given(nvrtc, program, 'ProgramLog').decode()}")
        return _given(nvrtc, program, "CUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _given(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
    return buffer.raw
