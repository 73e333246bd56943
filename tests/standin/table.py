"""The table of the real CuPy: every name, signature and ufunc loop that the stand-in keeps to.

    python -m tests.standin.table --write     # table.json anew, from the CuPy that is installed
    python -m tests.standin.table --print     # the same on standard output, and whether CuPy finds a device
    python -m tests.standin.table --loops     # which loop each ufunc takes for all dtypes, by CuPy's own choice

It needs CuPy's wheel, but no GPU. An entry is

- a signature: ``"(a, axis=None)"``;
- ``"=float32"``: the object of that name in NumPy, itself;
- ``"#-inf"``: a constant;
- ``{"nin": 2, "nout": 1, "types": "bb->b BB->B"}``: a ufunc with its loops, in CuPy's order;
- ``"class"`` or ``"object"``: something that the table does not describe further.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import itertools
import json
import pathlib
import re
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

PATH = pathlib.Path(__file__).with_name("table.json")
SPACES = ("cupy", "cupy.fft", "cupy.linalg", "cupy.lib.stride_tricks", "cupy.cuda", "cupyx")
CLASSES = (
    "cupy.ndarray",
    "cupy.cuda.Device",
    "cupy.cuda.Event",
    "cupy.cuda.Graph",
    "cupy.cuda.MemoryHook",
    "cupy.cuda.MemoryPointer",
    "cupy.cuda.MemoryPool",
    "cupy.cuda.Stream",
)
HIDDEN = {"clip": "cupy._core._routines_math.clip", "where": "cupy._sorting.search._where_ufunc"}  # under functions
SPECIAL = ("__init__", "__new__", "__class__", "__doc__", "__module__", "__slots__", "__pyx_vtable__")


def parameters(signature: inspect.Signature) -> str:
    """Write a signature without its annotations; defaults that are types by their names."""
    shown = []
    for parameter in signature.parameters.values():
        default = parameter.default
        if isinstance(default, type) and default is not parameter.empty:
            default = _Name(f"numpy.{default.__name__}" if issubclass(default, np.generic) else default.__name__)
        shown.append(parameter.replace(annotation=parameter.empty, default=default))
    return str(inspect.Signature(shown))


class _Name:
    """Something whose repr is a name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def from_docstring(function: Any) -> str | None:
    """Read the signature that Cython writes on a docstring's first line, where `inspect` finds none.

    C types stand before the names there: ``ndarray.sort(self, int axis=-1, kind=None) -> None``.
    """
    first = (getattr(function, "__doc__", None) or "").partition("\n")[0]
    found = re.match(r"[\w.]+(\(.*\))", first)
    if found is None:
        return None
    plain = re.sub(r"(?<=[(,])( ?)(?:[\w.]+ )+(?=\w)", r"\1", found.group(1))
    try:
        scope: dict[str, Any] = {}
        exec(f"def f{plain}: pass", {"numpy": np}, scope)
    except (SyntaxError, NameError):
        return None
    return parameters(inspect.signature(scope["f"]))


def signature(function: Any) -> str | None:
    """Write a function's signature, or None where it cannot be found."""
    try:
        return parameters(inspect.signature(function))
    except (TypeError, ValueError):
        return from_docstring(function)


def entry(one: Any, ufunc: type) -> Any:
    """Describe one public object."""
    if isinstance(one, ufunc):
        return {"nin": one.nin, "nout": one.nout, "types": " ".join(one.types)}
    name = getattr(one, "__name__", None)
    if name is not None and getattr(np, name, None) is one:
        return f"={name}"
    if one is None or isinstance(one, bool | int | float):
        return f"#{one!r}"
    if isinstance(one, type):
        return "class"
    return (signature(one) if callable(one) else None) or "object"


def describe_space(space: ModuleType, ufunc: type) -> dict[str, Any]:
    """Describe the public names of a namespace, modules left out."""
    names = [name for name in sorted(dir(space)) if not name.startswith("_") and name != "annotations"]
    return {name: entry(getattr(space, name), ufunc) for name in names if not _is_module(getattr(space, name))}


def _is_module(one: Any) -> bool:
    return inspect.ismodule(one) or type(one).__name__ == "_LazyModule"


def describe_class(one: type) -> dict[str, str | None]:
    """Describe the attributes of a class: a signature, or None for one that is no function."""
    found: dict[str, str | None] = {}
    for name in sorted(dir(one)):
        if name.startswith("__") and (name in SPECIAL or getattr(object, name, None) is not None):
            continue
        if not name.startswith("_") or name.startswith("__"):
            attribute = inspect.getattr_static(one, name)
            function: Callable[..., Any] | None = getattr(one, name) if _is_method(attribute) else None
            found[name] = signature(function) if function is not None and not name.startswith("__") else None
    return found


def _is_method(attribute: Any) -> bool:
    return isinstance(attribute, classmethod | staticmethod) or callable(attribute)


def describe() -> dict[str, Any]:
    """Describe the CuPy that is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cupy = importlib.import_module("cupy")
        spaces = {name: describe_space(importlib.import_module(name), cupy.ufunc) for name in SPACES}
    if hasattr(cupy, "standin"):
        raise RuntimeError("the stand-in is imported as cupy: the table is made from the real package")
    return {
        "version": cupy.__version__,
        "spaces": spaces,
        "classes": {name: describe_class(_find(name)) for name in CLASSES},
        "hidden": {name: entry(_find(full), cupy.ufunc) for name, full in HIDDEN.items()},
    }


def _find(name: str) -> Any:
    module, _, own = name.rpartition(".")
    return getattr(importlib.import_module(module), own)


def loops() -> dict[str, dict[str, str | None]]:
    """Ask the CuPy that is installed which loop each ufunc takes for all dtypes; None where it takes none."""
    cupy = importlib.import_module("cupy")
    found: dict[str, dict[str, str | None]] = {}
    for name in sorted(dir(cupy)):
        one = getattr(cupy, name)
        if isinstance(one, cupy.ufunc):
            found[name] = {
                "".join(chars): _loop(one, chars) for chars in itertools.product("?bBhHiIlLefdFD", repeat=one.nin)
            }
    return found


def _loop(one: Any, chars: tuple[str, ...]) -> str | None:
    given = tuple(map(np.dtype, chars))
    op = one._ops._guess_routine_from_in_types(given, (False,) * len(given))
    if op is None or op.error_func is not None:
        return None
    return "->".join("".join(np.dtype(t).char for t in types) for types in (op.in_types, op.out_types))


def write(table: dict[str, Any], path: pathlib.Path) -> None:
    """Write a table, sorted, one name a line."""
    path.write_text(json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: pathlib.Path = PATH) -> dict[str, Any]:
    """Read a table."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.standin.table", description=(__doc__ or "").partition("\n")[0]
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help=f"write {PATH.name}")
    what.add_argument(
        "--print", action="store_true", help="write the table and whether there is a device to the output"
    )
    what.add_argument("--loops", action="store_true", help="write which loops are taken for all dtypes to the output")
    options = parser.parse_args(arguments)
    if options.loops:
        json.dump(loops(), sys.stdout)
        return 0
    table = describe()
    if options.print:
        device = bool(importlib.import_module("cupy").cuda.is_available())
        json.dump({"table": table, "device": device}, sys.stdout)
        return 0
    write(table, PATH)
    functions = sum(len(space) for space in table["spaces"].values())
    methods = sum(len(one) for one in table["classes"].values())
    print(f"CuPy {table['version']}: {functions} names, {methods} attributes of classes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
