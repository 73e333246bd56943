"""The stand-in for its own tests: nothing pending on its devices when a test begins."""

import gc
from typing import Any

import pytest

from tests import standin


@pytest.fixture
def cp() -> Any:
    """The stand-in, as `import cupy` gives it."""
    if not standin.is_installed():
        pytest.skip("CuPy itself is here, on a device")
    import cupy

    standin.settle()
    return cupy


@pytest.fixture(scope="module")
def frozen() -> None:
    """Let the garbage collector look past all that is there, so that each test of a module can collect."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def xp(cp: Any) -> Any:
    """array-api-compat's namespace on it."""
    import array_api_compat.cupy

    return array_api_compat.cupy
