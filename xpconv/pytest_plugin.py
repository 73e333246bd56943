"""A plugin of pytest: the fixture ``xp``, every array library found here in turn.

A project asks for it, with ``pytest_plugins = ["xpconv.pytest_plugin"]`` in its top ``conftest.py``; installing xpconv
changes nobody's runs. No array library but NumPy is loaded until a test asks for ``xp``.
"""

from __future__ import annotations

from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--xp-backends`` and ``xp_backends``."""
    which = "the backends of xpconv's fixture xp, separated by commas or spaces; one that is missing fails the run"
    parser.getgroup("xpconv").addoption("--xp-backends", metavar="NAME,...", help=which)
    parser.addini("xp_backends", which, type="args")


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for this `xp`, and for no other of that name, on each backend."""
    # a hook of the project may have given xp values of its own; pytest has no public word for that
    given = any("xp" in getattr(call, "params", ()) for call in getattr(metafunc, "_calls", ()))
    if "_xpconv_guise" in metafunc.fixturenames and not given:
        from xpconv._tools import guises as _guises

        names = _asked_for(metafunc.config) or _guises.names()
        if unknown := [name for name in names if name not in _guises.GUISES]:
            choices = ", ".join(_guises.GUISES)
            raise pytest.Collector.CollectError(f"xp: unknown backend {unknown[0]!r}; choose from {choices}")
        metafunc.parametrize("_xpconv_guise", names, indirect=True, scope="session")


def _asked_for(config: pytest.Config) -> list[str]:
    """Read the names on the command line, or else in the configuration; empty for all that are found."""
    text: str = config.getoption("--xp-backends") or " ".join(config.getini("xp_backends"))
    return list(dict.fromkeys(text.replace(",", " ").split()))


@pytest.fixture(scope="session")
def _xpconv_guise(request: pytest.FixtureRequest) -> Any:
    from xpconv._tools import guises as _guises
    from xpconv._tools.libraries import LibraryError

    if not hasattr(request, "param"):
        pytest.fail(
            "xp: name the fixture in the test's arguments; getfixturevalue cannot run it on each backend", False
        )
    try:
        return _guises.guise(request.param)
    except LibraryError as error:
        if _asked_for(request.config):
            pytest.fail(f"xp: {error}", pytrace=False)
        pytest.skip(f"xp: {error}")


@pytest.fixture(scope="session")
def xp(_xpconv_guise: Any) -> Any:
    """Each array library found here, as an `xpconv.testing.Guise`.

    Read-only NumPy and a device that is not the default are among them; ``--xp-backends`` or ``xp_backends`` chooses.
    """
    return _xpconv_guise
