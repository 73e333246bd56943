"""What programs share about printing: whether rich draws, lines in colour, complaints of one line."""

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


def say(text: str, style: str | None = None, console: Any = None) -> None:
    """Print a line, unbroken, so that it can be copied; in a style of rich where that draws and NO_COLOR is not set."""
    if console is None and not rich_draws():
        print(text, flush=True)
        return
    console = console or rich("console").Console()
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def said(error: BaseException) -> str:
    """Put an error in one line; of a file, its name and what is wrong with it."""
    if isinstance(error, OSError) and error.strerror:
        name = "" if error.filename is None else f"{error.filename}: "
        return f"{name}{error.strerror[0].lower()}{error.strerror[1:]}"
    return " ".join(str(error).split())


def complain(program: str, error: BaseException | str, status: int) -> int:
    """Print an error as one line of standard error and pass its exit status on."""
    text = " ".join(error.split()) if isinstance(error, str) else said(error)
    print(f"{program}: {text}", file=sys.stderr)
    return status
