"""A fault: a function of the library, wrong in one way while it is planted."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from xpconv._arrays import call
from xpconv._engine.repeat import repeats
from xpconv._plan import input_grad

Array = Any
Function = Callable[..., Any]
Wrap = Callable[[Function], Function]  # from the right function to the wrong one

VALUES = "differ|off by more|not adjoint"
SHAPE = "wrong shape"
RAISED = "raised ValueError"


@dataclass(frozen=True)
class Fault:
    """One fault, what it imitates, where it is planted and which checks have to see it.

    `plants` are pairs of a place, ``module:attribute``, and what makes the wrong function of the right one there.
    `sign` is what the failure of the check that catches it has to say: a fault that is badly planted, and only raises
    something, is not caught.
    """

    name: str
    imitates: str
    plants: tuple[tuple[str, Wrap], ...]
    operations: tuple[str, ...]
    sign: str = VALUES
    dtypes: tuple[str, ...] = ("float32",)
    library: str = "numpy"
    device: str | None = None
    core: bool = True  # the core cases are enough

    @property
    def where(self) -> str:
        """Name the function that is made wrong, or the first of them."""
        module, _, attribute = self.plants[0][0].partition(":")
        return attribute if module == "xpconv" else f"{module.removeprefix('xpconv.')}.{attribute}"


def course(function: str, name: str, wrap: Wrap, imitates: str, **more: Any) -> Fault:
    """Make a fault in one of the eight functions of the course.

    These serve twice: the self-test plants them in the library, and a wrong result of somebody else's function is
    compared with theirs. They compute with NumPy.
    """
    return Fault(name, imitates, ((f"xpconv:{function}", wrap),), (function,), **more)


def library(name: str, imitates: str, operations: tuple[str, ...], *plants: tuple[str, Wrap], **more: Any) -> Fault:
    """Make a fault in the library, for the self-test alone."""
    return Fault(name, imitates, plants, operations, **more)


def forced(**values: Any) -> Wrap:
    """Force parameters, by name, to a value; ValueError where the function to be made wrong has no such parameter."""

    def wrap(right: Function) -> Function:
        signature = inspect.signature(right)
        if unknown := set(values) - set(signature.parameters):
            raise ValueError(f"{right!r} has no parameter {', '.join(sorted(unknown))} that a fault could force")

        def wrong(*arguments: Any, **options: Any) -> Any:
            bound = signature.bind(*arguments, **options)
            bound.arguments.update(values)
            return right(*bound.args, **bound.kwargs)

        return wrong

    return wrap


def changed(change: Callable[[Any], Any]) -> Wrap:
    """Change the right result."""
    return lambda right: lambda *arrays, **options: change(right(*arrays, **options))


@contextlib.contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """Make the functions wrong within the block; whatever happens there, they are right again after it."""
    with contextlib.ExitStack() as undo:
        undo.callback(_forget)  # calls that were noted with the one function are not made with the other
        for place, wrap in fault.plants:
            module, _, path = place.partition(":")
            *holders, name = path.split(".")
            holder: Any = importlib.import_module(module)
            if holders:
                holder = operator.attrgetter(".".join(holders))(holder)
            right = vars(holder)[name]
            undo.callback(setattr, holder, name, right)
            wrong = wrap(right)
            if module.startswith("xpconv._"):
                _same_names(place, right, wrong)
            setattr(holder, name, wrong)
        _forget()
        yield


def _forget() -> None:
    call.forget()
    input_grad.forget()
    repeats.forget()


def _same_names(place: str, right: Function, wrong: Function) -> None:
    """Refuse a wrong function whose parameters bear other names than those of the right one in their places.

    A parameter that is put before others later would else be taken for one of them, and another fault be planted than
    the one that is named.
    """
    there = list(inspect.signature(right).parameters)
    parameters = inspect.signature(wrong).parameters.values()
    given = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    first = there[:1] == ["self"]  # which a fault may call what it is
    if given[first:] != there[first : len(given)]:
        raise ValueError(f"{place} has the parameters {', '.join(there)}, its fault has {', '.join(given)}")
