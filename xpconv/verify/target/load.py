"""Load somebody else's functions from a file, a notebook or a module; what fails on the way is told and passed over."""

from __future__ import annotations

import ast
import copy
import difflib
import importlib
import inspect
import linecache
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpconv.verify.target import cells
from xpconv.verify.target.cells import WHOLE_CELL, Cell, Step

NAMES = (
    "zero_pad",
    "conv_single_step",
    "conv_forward",
    "pool_forward",
    "conv_backward",
    "create_mask_from_window",
    "distribute_value",
    "pool_backward",
)  # in the course's order
NEAR = 0.75  # how alike a misspelt name is, of 1
DEFINES = re.compile(rf"^\s*def\s+({'|'.join(NAMES)})\b", re.MULTILINE)

Functions = dict[str, Callable[..., Any]]
Tell = Callable[[str], None]


class LoadError(Exception):
    """There is nothing to check; the message is one line."""


@dataclass
class Note:
    """What could not be run: where and why, the graded function that it concerns, and what failed because of it."""

    place: str
    text: str
    about: str = ""
    after: int = 0

    def __str__(self) -> str:
        """Write it as one line."""
        later = f"; {self.after} more after it for that" if self.after else ""
        return f"{self.place}: {self.text}{later}"


@dataclass
class Loaded:
    """What a target holds."""

    functions: Functions
    notes: list[Note] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)  # name of a function -> the syntax error where it stands
    near: dict[str, str] = field(default_factory=dict)  # name of a function that is absent -> one like it


def load(source: str, path: Path, attribute: str, begin: Tell, skip: Mapping[str, str]) -> Loaded:
    """Find the functions of a target by their names, in the course's order; LoadError if there are none.

    `path` is the whole path of a `source` that is a file. `begin` is told each step before it runs; `skip` has those
    that are not to run, with the reason.
    """
    loader = _Loader(begin, skip)
    if path.suffix == ".ipynb":
        holder: Any = loader.notebook(path)
    elif path.suffix == ".py":
        holder = loader.script(path)
    else:
        holder = _module(source, begin)
    only = ""
    for part in filter(None, attribute.split(".")):
        if not hasattr(holder, part):
            raise LoadError(f"there is no {attribute} in {source}")
        holder, only = getattr(holder, part), part
    if callable(holder) and only in NAMES:
        return Loaded({only: holder}, loader.notes)
    holder = _instance(holder)
    found = {name: getattr(holder, name) for name in NAMES if callable(getattr(holder, name, None))}
    unreadable = {} if attribute else loader.unreadable
    near = {} if attribute else near_names(vars(holder), set(NAMES) - set(found) - set(unreadable))
    if not found and not unreadable and not near:
        what = f"{source}:{attribute}" if attribute else source
        why = f" ({loader.notes[0]})" if loader.notes else ""
        raise LoadError(f"{what} has none of the course's functions: {', '.join(NAMES)}{why}")
    return Loaded(found, loader.notes, unreadable, near)


def said(error: BaseException) -> str:
    """Put an exception in one line."""
    if isinstance(error, SystemExit):
        return f"called sys.exit({'' if error.code is None else repr(error.code)})"
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def near_names(names: Mapping[str, Any], wanted: set[str]) -> dict[str, str]:
    """Find functions whose names are nearly the wanted ones."""

    def plain(name: str) -> str:
        return name.replace("_", "").lower()

    there = [name for name, value in names.items() if isinstance(value, types.FunctionType)]
    others = {plain(name): name for name in there if name not in NAMES and "test" not in name}
    found: dict[str, str] = {}
    for name in NAMES:
        if name in wanted:
            close = difflib.get_close_matches(plain(name), others, 1, NEAR)
            found |= {name: others[close[0]]} if close else {}
    # each is near to one name only, the one that it is most like
    return {
        name: other
        for name, other in found.items()
        if name == max((one for one in found if found[one] == other), key=lambda one: _likeness(one, other))
    }


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _instance(holder: Any) -> Any:
    """Make an object of a class whose functions are methods."""
    if not isinstance(holder, type):
        return holder
    for name in NAMES:
        function = inspect.getattr_static(holder, name, None)
        if (
            isinstance(function, types.FunctionType)
            and next(iter(inspect.signature(function).parameters), "") == "self"
        ):
            try:
                return holder()
            except Exception as error:
                raise LoadError(f"{holder.__name__}() raised {said(error)}") from None
    return holder


def _module(name: str, begin: Tell) -> Any:
    begin(f"importing {name}")
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise LoadError(f"there is no module {name}") from None
        raise LoadError(f"{name} cannot be imported: {said(error)}") from None


class Shell:
    """What get_ipython() gives: it takes every magic and does nothing, but for cells whose text is Python."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def run_cell_magic(self, magic: str, line: str, cell: str) -> None:
        """Run the cell of %%time and its like."""
        if magic in WHOLE_CELL:
            exec(compile(cell, f"%%{magic}", "exec"), self._names)

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Take whatever else there is."""
        return lambda *_, **__: None


class _Loader:
    """Runs statements one by one and keeps an account of those that fail."""

    def __init__(self, begin: Tell, skip: Mapping[str, str]) -> None:
        self.notes: list[Note] = []
        self.unreadable: dict[str, str] = {}
        self._begin, self._skip = begin, skip
        self._lost: dict[str, Note] = {}  # names that are not there, and why; "*": any

    def notebook(self, path: Path) -> Any:
        """Run the code cells of a notebook as Jupyter does."""
        try:
            found = cells.notebook(path)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise LoadError(f"{path.name} is no notebook: {said(error)}") from None
        return self._run(path, found, "__main__")

    def script(self, path: Path) -> Any:
        """Run a file, as if it were imported."""
        name = path.stem
        return self._run(
            path, cells.script(path), name if name.isidentifier() and name not in sys.modules else "xpconv_target"
        )

    def _run(self, path: Path, found: list[Cell], name: str) -> Any:
        sys.path.insert(0, str(path.parent))
        module = types.ModuleType(name)
        names = vars(module)
        names |= {"display": lambda *_, **__: None, "get_ipython": lambda: Shell(names)}
        if name != "__main__":
            module.__file__ = str(path)
        sys.modules[name] = module
        for cell in found:
            # where `inspect` looks for the source of a function
            linecache.cache[cell.file] = (len(cell.text), None, cell.text.splitlines(keepends=True), cell.file)
            for step in cells.steps(cell):
                self._step(step, cell.file, names)
        return module

    def _step(self, step: Step, file: str, names: dict[str, Any]) -> None:
        if step.node is None:
            assert step.error is not None
            self._unreadable(step, step.error)
            return
        if step.place in self._skip:
            self._failed(step, self._skip[step.place], set())
            return
        self._begin(step.place)
        try:
            exec(compile(ast.Module([step.node], []), file, "exec"), names)
        except SyntaxError as error:  # that only compiling finds
            if not self._unreadable(step, error):
                return
        except (Exception, SystemExit) as error:
            missing = {error.name} if isinstance(error, NameError) and error.name else set()
            if not self._bare(step, file, names, said(error)):
                self._failed(step, said(error), missing)
        else:
            for name in _bound(step.node):
                self.unreadable.pop(name, None)
                self._lost.pop(name, None)

    def _bare(self, step: Step, file: str, names: dict[str, Any], why: str) -> bool:
        """Define a function of the course without its decorators, if it is one of those that fails."""
        node = step.node
        if not isinstance(node, ast.FunctionDef) or node.name not in NAMES or not node.decorator_list:
            return False
        plain = copy.deepcopy(node)
        plain.decorator_list = []
        try:
            exec(compile(ast.Module([plain], []), file, "exec"), names)
        except (Exception, SystemExit):
            return False
        self.notes.append(Note(step.place, f"{why}; judged without its decorators", node.name))
        self.unreadable.pop(node.name, None)
        return True

    def _unreadable(self, step: Step, error: SyntaxError) -> bool:
        concerned = DEFINES.findall(step.text)
        self.notes.append(Note(step.place, said(error), concerned[0] if concerned else ""))
        for name in concerned:
            self.unreadable[name] = f"{step.place}: {said(error)}"
        return bool(concerned)

    def _failed(self, step: Step, why: str, missing: set[str]) -> None:
        """Note a failure, or count it with the one that it comes from."""
        assert step.node is not None
        bound = set(_bound(step.node))
        cause = next((self._lost[name] for name in missing if name in self._lost), None)
        if cause is None and missing:
            cause = self._lost.get("*")
        cause = cause or next((note for note in self.notes if note.text == why), None)
        about = next(iter(bound & set(NAMES)), "")
        if cause is None or about:
            cause = Note(step.place, why, about)
            self.notes.append(cause)
        else:
            cause.after += 1
        for name in bound:
            self._lost.setdefault(name, cause)


def _bound(node: ast.stmt) -> Iterator[str]:
    """Name what a statement makes."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
        return
    for part in ast.walk(node):
        if isinstance(part, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in part.names)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id
        elif isinstance(part, (ast.FunctionDef, ast.ClassDef)):
            yield part.name
