"""A working folder of its own for a file that is judged: it finds what lies beside it, and nothing there is changed."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# audit events that change what a path leads to, and where the folder's descriptor stands that the path starts from
INTO = {
    "shutil.rmtree": (0, 1),
    "os.truncate": (0, 1),
    "os.chmod": (0, 2),
    "os.utime": (0, 3),
    "sqlite3.connect": (0, 1),
}
# and those that change an entry of a folder
ENTRY: dict[str, tuple[tuple[int, int], ...]] = {
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.symlink": ((1, 2),),
}
ENTRY |= {"os.rename": ((0, 2), (1, 3)), "os.link": ((1, 3),)}


@contextlib.contextmanager
def room(folder: Path, beside: Path) -> Iterator[None]:
    """Work in `folder`, where links stand for all that lies in `beside`.

    A file that is written into is copied first; what would change `beside` by another way is refused. Of a file that
    a library opens in C, and of programs that are started, no event tells; they work in `folder`, too.
    """
    guard = _Guard(folder.resolve(), beside.resolve())
    guard.links(guard.beside, guard.folder)
    back = Path.cwd()
    os.chdir(folder)
    _install()
    _GUARDS.append(guard)
    try:
        yield
    finally:
        _GUARDS.remove(guard)
        os.chdir(back)


_GUARDS: list[_Guard] = []  # those that look at the process's audit events


@functools.cache
def _install() -> None:
    """Let the guards see the audit events; a hook stays as long as the process, so there is one for all."""
    sys.addaudithook(_see)


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    for guard in _GUARDS:
        guard(event, arguments)


class _Guard:
    """Takes the process's audit events: makes links into copies before they are written into, and refuses the rest."""

    def __init__(self, folder: Path, beside: Path) -> None:
        self.folder, self.beside, self.busy = folder, beside, False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Look at an event; PermissionError if it would change what is kept."""
        if self.busy:
            return
        self.busy = True  # what is done here has events, too
        try:
            if event == "open":
                path, _, flags = arguments
                if flags & WRITES:
                    self._write(path, None, into=True)
            elif event in INTO:
                path, start = INTO[event]
                self._write(arguments[path], arguments[start:][:1], into=True)
            else:
                for path, start in ENTRY.get(event, ()):
                    self._write(arguments[path], arguments[start:][:1], into=False)
        finally:
            self.busy = False

    def links(self, beside: Path, folder: Path) -> None:
        """Put a link into a folder for each entry of another, but for the folder itself."""
        for entry in beside.iterdir():
            if not self.folder.is_relative_to(entry):
                _link(entry, folder / entry.name)

    def _write(self, path: Any, start: Any, into: bool) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return  # a file that is open already
        whole = Path(_base(start), os.fsdecode(path))
        if whole.is_relative_to(self.folder):
            self._own(whole if into else whole.parent)
        real = whole.resolve() if into else whole.parent.resolve() / whole.name
        if self._lies_beside(real):
            raise PermissionError(f"{os.fsdecode(path)!r} would change what lies beside the file that is judged")

    def _lies_beside(self, real: Path) -> bool:
        """Say whether a path is one of those to be kept: not this process's own, nor a cache's."""
        if real.is_relative_to(self.folder.parent) or not real.is_relative_to(self.beside):
            return False
        parts = real.relative_to(self.beside).parts
        return not any(part.startswith(".") or part == "__pycache__" for part in parts)

    def _own(self, path: Path) -> None:
        """Make the links on the way to a path into what they stand for: a file's copy, a folder of links."""
        place = self.folder
        for part in path.relative_to(place).parts:
            place /= part
            if place.is_symlink():
                there = place.resolve()
                if there.is_relative_to(self.beside):
                    place.unlink()
                    if there.is_dir():
                        place.mkdir()
                        self.links(there, place)
                    elif there.exists():
                        shutil.copy(there, place)


def _base(start: Any) -> str:
    """Name the folder that a path starts from: the current one, or that of a descriptor where the system tells it."""
    number = start[0] if start else None
    if isinstance(number, int) and number >= 0:
        return os.path.realpath(f"/proc/self/fd/{number}")
    return os.getcwd()


def _link(entry: Path, link: Path) -> None:
    try:
        link.symlink_to(entry)
    except OSError:  # a system on which not everybody may
        if entry.is_dir():
            shutil.copytree(entry, link)
        else:
            shutil.copy(entry, link)
