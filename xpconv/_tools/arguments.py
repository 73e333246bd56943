"""What command lines share: a parser whose errors are one line, and readers of numbers."""

from __future__ import annotations

import argparse
import math
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line and exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, without the usage."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def _integer(text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise argparse.ArgumentTypeError(f"wants an integer of at least {least}; got {text!r}")
    return int(text)


def positive_int(text: str) -> int:
    """Read an integer of at least 1."""
    return _integer(text, 1)


def natural(text: str) -> int:
    """Read an integer of at least 0."""
    return _integer(text, 0)


def positive_float(text: str) -> float:
    """Read a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"wants a finite number above 0; got {text!r}")
    return number
