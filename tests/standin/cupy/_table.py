"""What the real package has: names, signatures and ufunc loops, as the table says. See `tests/standin/table.py`."""

from __future__ import annotations

import inspect
import json
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class NotModelledError(NotImplementedError):
    """The real CuPy has this, and the stand-in does not act it out."""


def _load() -> dict[str, Any]:
    """Take the table of the CuPy that is installed, if whoever imports the stand-in has read one, or the file's."""
    given = getattr(sys.modules[__package__], "_given_table", None)
    path = pathlib.Path(__file__).parent.parent / "table.json"
    return given or json.loads(path.read_text(encoding="utf-8"))


TABLE = _load()
IMPLEMENTED: dict[str, dict[str, Callable[..., Any]]] = {space: {} for space in TABLE["spaces"]}


def acts(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as what acts out CuPy's functions of these full names; it is given back as it is."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            space, _, own = name.rpartition(".")
            IMPLEMENTED[space][own] = function
        return function

    return register


def parse(signature: str) -> inspect.Signature:
    """Read a signature of the table."""
    return inspect.signature(eval(f"lambda {signature[1:-1]}: None", {"numpy": np}))


def bound(name: str, signature: str, function: Callable[..., Any] | None) -> Callable[..., Any]:
    """Make the public function: CuPy's own signature, which refuses what CuPy refuses, before what acts it out.

    A parameter that the function does not know may only have its default.
    """
    parameters = parse(signature).parameters
    takes = inspect.signature(function).parameters if function else {}
    own = name.rpartition(".")[2]
    body, passed = [], []
    for p in parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            passed.append(f"*{p.name}")
        elif p.kind is p.VAR_KEYWORD:
            passed.append(f"**{p.name}")
        elif p.name in takes or p.kind is p.POSITIONAL_ONLY:
            plain = p.kind is p.POSITIONAL_ONLY or any(q.kind is q.VAR_POSITIONAL for q in takes.values())
            passed.append(p.name if plain and p.kind is not p.KEYWORD_ONLY else f"{p.name}={p.name}")
        elif function:
            body.append(f" if {p.name} is not _defaults[{p.name!r}]: _missing({p.name!r})")
    body.append(f" return _function({', '.join(passed)})" if function else " _missing(None)")
    scope = {
        "__name__": name.rpartition(".")[0],
        "numpy": np,
        "_function": function,
        "_defaults": {p.name: p.default for p in parameters.values()},
        "_missing": lambda parameter: _missing(name, parameter),
    }
    exec(f"def {own}{signature}:\n" + "\n".join(body), scope)
    made = scope[own]
    made.__module__, made.__doc__ = name.rpartition(".")[0], f"CuPy's {name}."
    return made


def _missing(name: str, parameter: str | None) -> None:
    what = name if parameter is None else f"{parameter}= of {name}"
    raise NotModelledError(f"the stand-in does not act out {what}; add it to tests/standin/cupy")


def _stub(name: str) -> type:
    def refuse(*_: Any, **__: Any) -> None:
        _missing(name, None)

    return type(name.rpartition(".")[2], (), {"__init__": refuse, "__module__": name.rpartition(".")[0]})


def public(space: str, known: Mapping[str, Any], ufunc: Callable[..., Any] | None = None) -> dict[str, Any]:
    """Make the names of a namespace that it does not have yet; what is not acted out refuses when it is called."""
    made: dict[str, Any] = {}
    for name, entry in TABLE["spaces"][space].items():
        full = f"{space}.{name}"
        if name in known:
            continue
        if isinstance(entry, dict):
            assert ufunc is not None
            made[name] = ufunc(name, entry["nin"], entry["nout"], entry["types"])
        elif entry.startswith("="):
            made[name] = getattr(np, entry[1:])
        elif entry.startswith("#"):
            made[name] = eval(entry[1:], {"inf": np.inf, "nan": np.nan})
        elif entry.startswith("("):
            made[name] = bound(full, entry, IMPLEMENTED[space].get(name))
        else:
            made[name] = _stub(full)
    return made
