"""The version, kept in one place: pyproject.toml, which an installed package carries as its metadata."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _installed
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"  # beside the package in a checkout
UNKNOWN = "0+unknown"  # a copy of the package alone: a version still, by the rules for versions


def version() -> str:
    """Read the version of xpconv: the installed one, or else that of the checkout."""
    try:
        return _installed("xpconv")
    except PackageNotFoundError:
        return _of_checkout(PROJECT)


def _of_checkout(path: Path) -> str:
    import tomllib  # only here: an installed package has no use for it

    try:
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return UNKNOWN
    return str(project.get("version", UNKNOWN)) if project.get("name") == "xpconv" else UNKNOWN
