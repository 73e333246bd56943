"""Load somebody else's functions from a file, a notebook or a module; what fails on the way is told and passed over."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
WHOLE_CELL = ("time", "timeit", "capture", "prun")  # cell magics whose cell is Python
# a line's indentation, then a magic, a shell command or a question; or an assignment of what the first two give
OTHER = re.compile(r"^(\s*)(?:[%!?].*|[\w.]+\?\??\s*|([\w., ]+=\s*)[%!].*)$")

Functions = dict[str, Callable[..., Any]]
Tell = Callable[[str], None]


class LoadError(Exception):
    """There is nothing to check; the message is one line."""


def load(source: str, attribute: str, note: Tell, begin: Tell) -> Functions:
    """Find the functions of a target by their names, in the course's order; LoadError if there are none."""
    path = Path(source)
    if path.suffix == ".ipynb":
        holder: Any = _notebook(path.absolute(), note, begin)
    elif path.suffix == ".py":
        holder = _file(path.absolute(), note, begin)
    else:
        holder = _module(source, begin)
    only = ""
    for part in filter(None, attribute.split(".")):
        if not hasattr(holder, part):
            raise LoadError(f"there is no {attribute} in {source}")
        holder, only = getattr(holder, part), part
    if callable(holder) and only in NAMES:
        return {only: holder}
    holder = _instance(holder)
    found = {name: getattr(holder, name) for name in NAMES if callable(getattr(holder, name, None))}
    if not found:
        what = f"{source}:{attribute}" if attribute else source
        raise LoadError(f"{what} has none of the course's functions: {', '.join(NAMES)}")
    return found


def said(error: BaseException) -> str:
    """Put an exception in one line."""
    if isinstance(error, SystemExit):
        return f"called sys.exit({'' if error.code is None else repr(error.code)})"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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
    sys.path.insert(0, os.getcwd())
    begin(f"importing {name}")
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise LoadError(f"there is no module {name}") from None
        raise LoadError(f"{name} cannot be imported: {said(error)}") from None


def _file(path: Path, note: Tell, begin: Tell) -> Any:
    sys.path.insert(0, str(path.parent))
    name = path.stem
    module = types.ModuleType(name if name.isidentifier() and name not in sys.modules else "xpconv_target")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    begin(f"loading {path.name}")
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        note(f"{path.name}{_line(error, str(path))}: {said(error)}; what stands above it is checked")
    return module


def _notebook(path: Path, note: Tell, begin: Tell) -> Any:
    """Run the code cells one after another, each statement by itself, as far as they go."""
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        sheets = book["cells"] if "cells" in book else [c for sheet in book["worksheets"] for c in sheet["cells"]]
        cells = [_text(cell) for cell in sheets if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise LoadError(f"{path.name} is no notebook: {said(error)}") from None
    sys.path.insert(0, str(path.parent))
    os.chdir(path.parent)  # as Jupyter does
    module = types.ModuleType("__main__")
    vars(module)["display"] = lambda *_, **__: None
    sys.modules["__main__"] = module
    for number, text in enumerate(cells, start=1):
        begin(f"loading {path.name}, cell {number}")
        for line, fault in _cell(python(text), f"cell {number}", vars(module)):
            note(f"cell {number}, line {line}: {said(fault)}")
    return module


def _text(cell: dict[str, Any]) -> str:
    source = cell["source"] if "source" in cell else cell["input"]
    return source if isinstance(source, str) else "".join(source)


def python(text: str) -> str:
    """Leave out what is not Python in a cell: magics, shell lines, questions; the numbers of the lines stay."""
    first = text.lstrip().partition("\n")[0]
    if first.startswith("%%") and first[2:].split(maxsplit=1)[:1] not in [[name] for name in WHOLE_CELL]:
        return ""
    try:
        ast.parse(text)
    except SyntaxError:
        return "\n".join(
            OTHER.sub(lambda found: found[1] + (f"{found[2]}None" if found[2] else "pass"), line)
            for line in text.split("\n")
        )
    return text


def _cell(text: str, name: str, names: dict[str, Any]) -> Iterator[tuple[int, BaseException]]:
    try:
        statements = ast.parse(text, name).body
    except SyntaxError as error:
        yield error.lineno or 1, error
        return
    for statement in statements:
        try:
            exec(compile(ast.Module([statement], []), name, "exec"), names)
        except (Exception, SystemExit) as error:
            yield statement.lineno, error


def _line(error: BaseException, path: str) -> str:
    """Name the line of a file where an exception came up."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    trace, line = error.__traceback__, 0
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == path else line
        trace = trace.tb_next
    return f", line {line}" if line else ""
