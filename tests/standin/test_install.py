"""Who sees the stand-in."""

import importlib
import importlib.util
import os
import subprocess
import sys
from typing import Any

import pytest

from tests import backends, standin
from xpconv._tools import libraries


def seen() -> bool:
    return hasattr(sys.modules.get("cupy"), "standin")


def test_a_test_that_needs_no_cupy_does_not_see_it() -> None:
    """So that nothing imports CuPy where it is missing, and no test passes because the stand-in is there."""
    assert not seen()
    if standin.real() is None:
        assert importlib.util.find_spec("cupy") is None
        assert "cupy" not in libraries.installed()
        with pytest.raises(libraries.LibraryError, match="is not installed"):
            libraries.load("cupy")


def test_a_test_that_needs_cupy_sees_it_and_may_hide_it(cp: Any) -> None:
    assert seen()
    assert libraries.load("cupy").xp.__name__ == "array_api_compat.cupy"
    with standin.hidden():
        assert not seen()
        with standin.hidden():
            assert not seen()
        assert standin.install()
        assert seen()
    assert seen()
    assert importlib.import_module("cupy") is cp


def test_a_run_names_it(cp: Any) -> None:
    assert backends.load("cupy").name == "cupy-standin"
    assert "CuPy's stand-in, by the signatures of CuPy" in standin.describe()
    assert not backends.missing("numpy,cupy-standin")
    (line,) = backends.missing("cupy")
    assert "was asked for, and CuPy is here CuPy's stand-in" in line


def test_a_program_of_its_own_runs_on_it(cp: Any) -> None:
    program = "import cupy, xpconv as xc; print(xc.conv(cupy.ones((1, 3, 3, 1)), cupy.ones((3, 3, 1, 1))).item())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(standin.HERE), str(standin.HERE.parents[1])])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "9.0\n"
