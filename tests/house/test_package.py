"""The package as a whole: its version without being installed, and the names that it shows and loads when asked."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import xpconv as xc
from xpconv._version import UNKNOWN, _of_checkout

ROOT = Path(xc.__file__).parents[1]
# hides that xpconv is installed, as it is not after `git clone`
HIDDEN = """
import importlib.metadata, runpy, sys
found = importlib.metadata.distribution
def distribution(name):
    if name == "xpconv":
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)
importlib.metadata.distribution = distribution
try:
    importlib.metadata.version("xpconv")
except importlib.metadata.PackageNotFoundError:
    pass
else:
    sys.exit("the metadata are not hidden")
"""
MODULES = ("algorithms", "bounds", "course", "data", "nn", "testing", "verify")
# with a name that is in each
LIBRARIES = {"torch": "conv", "jax": "conv", "dask": "conv", "onnx": "evaluator"}


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def version_of_the_tree() -> str:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_a_checkout_works_without_being_installed() -> None:
    printed = run(f"{HIDDEN}\nimport xpconv\nprint(xpconv.__version__, xpconv.conv.__name__)")
    assert printed == f"{version_of_the_tree()} conv\n"


@pytest.mark.parametrize("argument", ["--version", "info"])
def test_the_command_works_without_being_installed(argument: str) -> None:
    printed = run(f"{HIDDEN}\nrunpy.run_module('xpconv', run_name='__main__')", argument)
    assert f"xpconv {version_of_the_tree()}" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('[project]\nname = "xpconv"\nversion = "1.2.3"\n', "1.2.3"),
        ('[project]\nname = "somebody else\'s"\nversion = "1.2.3"\n', UNKNOWN),  # a copy inside another project
        ('[project]\nname = "xpconv"\n', UNKNOWN),
        ("[tool]\n", UNKNOWN),
        ("no table", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_the_version_of_a_checkout(tmp_path: Path, text: str | None, version: str) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    assert _of_checkout(tmp_path / "pyproject.toml") == version


def test_the_citation_has_the_version() -> None:
    assert f"\nversion: {version_of_the_tree()}\n" in (ROOT / "docs" / "CITATION.cff").read_text(encoding="utf-8")


def test_a_module_is_there_after_the_package_is_imported() -> None:
    """Each in a package that is loaded anew, in one interpreter."""
    code = (
        "import sys\nfor name in sys.argv[1:]:\n"
        "    for old in [old for old in sys.modules if old.partition('.')[0] == 'xpconv']:\n"
        "        del sys.modules[old]\n"
        "    import xpconv as xc\n    print(getattr(xc, name).__name__)"
    )
    assert run(code, *MODULES).splitlines() == [f"xpconv.{name}" for name in MODULES]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.needs(name)) for name in LIBRARIES])
def test_a_binding_is_there_where_its_library_is(name: str) -> None:
    code = "import sys, xpconv as xc\nassert {0!r} not in sys.modules\nprint(xc.{0}.{1}.__name__, {0!r} in dir(xc))"
    assert run(code.format(name, LIBRARIES[name])) == f"{LIBRARIES[name]} True\n"


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_binding_without_its_library_says_what_to_install(name: str) -> None:
    code = (
        "import sys; sys.modules[{0!r}] = None; import xpconv as xc\n"
        "print(hasattr(xc, {0!r}), {0!r} in dir(xc))\n"
        "try:\n    xc.{0}\nexcept AttributeError as error:\n    print(error)"
    )
    first, second = run(code.format(name)).splitlines()
    assert first == "False False"
    assert second.startswith(f"xpconv.{name} serves ")
    assert second.endswith(f", which is not installed: python -m pip install {name}")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'xpconv' has no attribute 'convolve'"):
        _ = xc.convolve


def test_dir_shows_the_public_names_and_no_others() -> None:
    shown = dir(xc)
    assert shown == sorted(shown)
    assert {*xc.__all__, *MODULES, "__version__"} <= set(shown) <= {*xc.__all__, *MODULES, *LIBRARIES, "__version__"}
