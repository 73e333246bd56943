"""What programs share about printing: whether rich draws, complaints of one line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any


def has_rich() -> bool:
    """Say whether the optional package rich is installed."""
    return importlib.util.find_spec("rich") is not None


def rich_draws() -> bool:
    """Say whether standard output is a terminal and rich is installed."""
    return sys.stdout.isatty() and has_rich()


def rich(module: str) -> Any:
    """Import one of rich's modules, where `rich_draws`."""
    return importlib.import_module(f"rich.{module}")


def complain(program: str, error: object, status: int) -> int:
    """Print an error as one line of standard error and pass its exit status on."""
    print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
    return status
