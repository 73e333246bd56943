"""What command lines share: a parser whose errors are one line and name what was meant, and readers of numbers."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterable
from typing import NoReturn

from xpconv._shapes.keywords import near


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line and exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, without the usage."""
        text = " ".join(message.split())
        if found := re.match(r"unrecognized arguments: (\S+)", text):
            options = [option for action in self._actions for option in action.option_strings]
            text = unknown(found[1].partition("=")[0], options, self.prog)
        self.exit(2, f"{self.prog}: {text}\n")


def unknown(given: str, known: Iterable[str], program: str) -> str:
    """Say that there is no such option or command, and which one was meant, or where they are listed."""
    kind = "option" if given.startswith("-") else "argument" if " " in program else "command"
    plain = {_plain(name): name for name in known}
    meant = near(_plain(given), plain)
    hint = f"did you mean {plain[meant]}?" if meant else f"see {program} --help"
    return f"there is no {kind} {given!r}; {hint}"


def _plain(option: str) -> str:
    return option.lstrip("-").replace("-", "_")


def choice(*words: str) -> Callable[[str], str]:
    """Make a reader of one of these words."""

    def read(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"got {text!r}; must be one of {_listed(text, words)}")
        return text

    return read


def names(text: str) -> tuple[str, ...]:
    """Read names with commas between them, each once."""
    return tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))


def names_of(kind: str, known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Make a reader of names that are known, at least one."""
    known = tuple(known)

    def read(text: str) -> tuple[str, ...]:
        found = names(text)
        for name in found or (text,):
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown {kind} {name!r}; choose from {_listed(name, known)}")
        return found

    return read


def _listed(given: str, known: Iterable[str]) -> str:
    """List what there is, and at the end which was meant."""
    meant = near(given, known)
    return ", ".join(known) + (f"; did you mean {meant}?" if meant else "")


def path(text: str) -> str:
    """Read the name of a file or a folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"must name a file or a folder; got {text!r}")
    return text


def _integer(text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be an integer of at least {least}; got {text!r}")
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
        raise argparse.ArgumentTypeError(f"must be a finite number above 0; got {text!r}")
    return number
