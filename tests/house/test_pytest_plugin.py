"""The plugin of pytest: what its fixture gives, how it is restricted, and that it leaves everything else alone."""

import re
import subprocess
import sys
from pathlib import Path

import array_api_strict  # noqa: F401 - here, so that no run within this process imports it anew
import numpy as np
import pytest

from xpconv import testing
from xpconv._tools import guises as _guises
from xpconv._tools import libraries as _libraries
from xpconv._tools.libraries import LibraryError

pytest_plugins = ["pytester"]

PLUGIN = ["-p", "xpconv.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:xdist"]
# another test of this process may have imported the plugin before its assertions could be rewritten
STRICT = ["-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
FEW = ["--xp-backends", "numpy,numpy-readonly,strict,strict-device1"]


@pytest.fixture
def run(pytester):
    """Write a test file and run it, in this process."""

    def run(text, *arguments):
        pytester.makepyfile(text)
        return pytester.runpytest_inprocess(*PLUGIN, *arguments)

    return run


def passed(result):
    return sorted(line.partition("::")[2].split()[0] for line in result.outlines if " PASSED" in line)


def test_each_backend_in_turn(run):
    result = run(
        """
        import numpy as np
        import pytest
        import xpconv as xc
        from xpconv.testing import Guise, assert_exact

        def test_pad(xp):
            assert isinstance(xp, Guise)
            x = xp.asarray(np.ones((1, 2, 2, 1), np.float32))
            y = xc.pad(x, 1)
            assert_exact(y, np.pad(np.ones((2, 2)), 1).reshape(1, 4, 4, 1))
            assert xp.to_numpy(xp.sum(y)) == 4
            assert y.dtype == xp.float32
            assert y.device == x.device

        def test_guise(xp):
            x = xp.asarray([1, 2], xp.float32)
            if str(xp) == "numpy-readonly":
                with pytest.raises(ValueError):
                    x[0] = 3
            elif str(xp) == "strict-device1":
                assert str(x.device) != str(xp.zeros(1).device)  # the library's own functions, its own default
            else:
                x[0] = 3
        """,
        *FEW,
        "-v",
        *STRICT,
    )
    result.assert_outcomes(passed=8)
    assert set(passed(result)) == {
        f"{test}[{name}]" for test in ("test_pad", "test_guise") for name in FEW[1].split(",")
    }


def test_without_options_everything_installed_is_asked_for(pytester, monkeypatch):
    monkeypatch.setattr(_libraries, "installed", lambda: ["numpy", "strict", "cupy"])
    load = _libraries.load

    def no_gpu(name, device=None):
        if name == "cupy":
            raise LibraryError("backend 'cupy' is installed, but no CUDA device is available")
        return load(name, device)

    monkeypatch.setattr(_libraries, "load", no_gpu)
    pytester.makepyfile("def test(xp): pass")
    result = pytester.runpytest_inprocess(*PLUGIN, "-rs")
    result.assert_outcomes(passed=4, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * xp: backend 'cupy' is installed, but no CUDA device is available"])
    result = pytester.runpytest_inprocess(*PLUGIN, "--xp-backends", "numpy,cupy")
    result.assert_outcomes(passed=1, errors=1)  # what was asked for has to be there
    result.stdout.fnmatch_lines(["*xp: backend 'cupy' is installed, but no CUDA device is available"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pytest.ini", "[pytest]\nxp_backends = numpy-readonly, strict"),
        ("pyproject.toml", "[tool.pytest.ini_options]\nxp_backends = 'numpy-readonly strict'"),
        ("pyproject.toml", "[tool.pytest.ini_options]\nxp_backends = ['numpy-readonly', 'strict']"),
    ],
)
def test_the_configuration_restricts_and_the_command_line_wins(name, text, pytester):
    (pytester.path / name).write_text(text)
    pytester.makepyfile("def test(xp): pass")
    result = pytester.runpytest_inprocess(*PLUGIN, "-v", "--strict-config")
    assert passed(result) == ["test[numpy-readonly]", "test[strict]"]
    result = pytester.runpytest_inprocess(*PLUGIN, "-v", "--xp-backends=numpy")
    assert passed(result) == ["test[numpy]"]


def test_an_unknown_backend_ends_the_run(run):
    result = run("def test(xp): pass", "--xp-backends", "numpy,nunpy")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*xp: unknown backend 'nunpy'; choose from numpy, numpy-readonly, *"])


@pytest.mark.parametrize(
    ("own", "test"),
    [
        ("import pytest\n@pytest.fixture\ndef xp(): return 7", "def test(xp): assert xp == 7"),
        (
            "import pytest\n@pytest.fixture(params=[7])\ndef xp(request): return request.param",
            "def test(xp): assert xp",
        ),
        ("", "import pytest\n@pytest.mark.parametrize('xp', [7])\ndef test(xp): assert xp == 7"),
        ("", "import pytest\n@pytest.fixture(params=[7])\ndef xp(request): return 7\ndef test(xp): assert xp == 7"),
        ("def pytest_generate_tests(metafunc): metafunc.parametrize('xp', [7])", "def test(xp): assert xp == 7"),
        ("", "def test(): pass"),
    ],
)
def test_somebody_s_own_xp_is_left_alone(own, test, pytester):
    pytester.makeconftest(own)
    pytester.makepyfile(test)
    pytester.runpytest_inprocess(*PLUGIN, *FEW, *STRICT).assert_outcomes(passed=1)


def test_it_can_be_extended_and_mixed(run):
    result = run(
        """
        import pytest

        @pytest.fixture
        def xp(xp):
            return xp, "mine"

        @pytest.mark.parametrize("n", [1, 2])
        def test(xp, n):
            assert xp[1] == "mine"

        class TestClass:
            def test(self, xp):
                assert xp[0].float32
        """,
        *FEW,
    )
    result.assert_outcomes(passed=12)


def test_a_request_by_name_says_what_to_do(run):
    result = run("def test(request): request.getfixturevalue('xp')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*xp: name the fixture in the test's arguments*"])


def test_the_plugin_loads_no_backend():
    others = tuple(name for name in sys.modules if name in ("torch", "jax", "cupy", "dask", "array_api_strict"))
    script = f"import xpconv.pytest_plugin, sys; print(*(name for name in {others!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_document_s_examples_pass_as_tests(run, monkeypatch):
    monkeypatch.setattr(_libraries, "installed", lambda: ["numpy", "strict"])
    text = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    result = run("\n".join(blocks), *FEW, *STRICT)
    result.assert_outcomes(passed="\n".join(blocks).count("def test_") * 4)


def test_guises(monkeypatch):
    monkeypatch.setattr(_libraries, "installed", lambda: ["numpy", "strict", "nothing"])
    found = testing.guises()
    assert list(found)[:2] == ["numpy", "numpy-readonly"]
    assert set(found) == {"numpy", "numpy-readonly", "strict", "strict-device1"} <= set(_guises.GUISES)
    for name, xp in found.items():
        assert str(xp) == name
        assert isinstance(xp, testing.Library)
        x = xp.asarray(np.arange(3))
        assert xp.to_numpy(x).tolist() == [0, 1, 2]
        assert xp.asarray(x if xp.name == "numpy" else [0, 1, 2], dtype=xp.float32).dtype == xp.float32
        with pytest.raises(AttributeError):
            xp.no_such_function  # noqa: B018
    with pytest.raises(LibraryError, match="unknown backend 'nunpy'; choose from numpy, "):
        _guises.guise("nunpy")
