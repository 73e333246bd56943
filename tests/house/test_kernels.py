"""Kernels in CUDA C: the package and the benchmark have none, and those of the tests compile."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import nvrtc
from tests.ops.test_cuda import BUSY

ROOT = Path(__file__).parents[2]
MAKERS = {"RawKernel", "RawModule", "ElementwiseKernel", "ReductionKernel", "fuse", "rawkernel", "compile_with_cache"}
# file -> its sources, of all that makes a kernel of its own; each is compiled below for every architecture
KERNELS = {"tests/ops/test_cuda.py": {"busy": BUSY}}
ACTED = "tests/standin/"  # where kernels are acted out, and planted wrong


def makers(path: Path) -> Iterator[str]:
    """Name what makes a kernel in a file."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)) if any(name in text for name in MAKERS) else ():
        if isinstance(node, (ast.Attribute, ast.Name)):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if name in MAKERS:
                yield name


def test_every_kernel_is_known_and_compiled() -> None:
    files = (path for folder in ("xpconv", "bench", "tests") for path in sorted((ROOT / folder).rglob("*.py")))
    named = ((path.relative_to(ROOT).as_posix(), path) for path in files)
    found = {name: list(makers(path)) for name, path in named if not name.startswith(ACTED)}
    assert {name: len(made) for name, made in found.items() if made} == {
        name: len(sources) for name, sources in KERNELS.items()
    }


@pytest.mark.needs("nvrtc")
@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
@pytest.mark.parametrize(
    ("file", "name"), [(file, name) for file, sources in KERNELS.items() for name in sources], ids=lambda value: value
)
def test_kernels_compile(file: str, name: str, architecture: str) -> None:
    code = nvrtc.compiled(KERNELS[file][name], architecture)
    assert code.startswith(b"\x7fELF")
    assert name.encode() in code


@pytest.mark.needs("nvrtc")
def test_a_kernel_that_does_not_compile_is_refused() -> None:
    with pytest.raises(nvrtc.CompileError, match="no_such_clock"):
        nvrtc.compiled(BUSY.replace("clock64", "no_such_clock"), "sm_90")
