"""Operations that copy pixels and the gradients that add them up: padding, unfold, fold."""

from __future__ import annotations

from xpconv.verify.catalogue.cases import COLUMNS, PAD
from xpconv.verify.catalogue.operation import Adjoint, Array, Arrays, Call, Name, Operation, keywords
from xpconv.verify.catalogue.setups import Columns, Pad
from xpconv.verify.definition import reference

X, DY, COLS = map(Name, ("x", "dy", "cols"))


def pad(s: Pad, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define the padded images: windows of one pixel."""
    x = s.last(a["x"])
    return (s.back(reference.unfold(x, s.windows).reshape(x.shape[0], *s.windows.out, x.shape[-1])),)


def pad_vjp(s: Pad, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define dx: each pixel gathers from where it was repeated."""
    dy = s.last(a["dy"])
    ones = (1,) * len(s.size)
    return (s.back(reference.fold(dy.reshape(*dy.shape[:-1], *ones, dy.shape[-1]), s.windows)),)


def unfold(s: Columns, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define the windows."""
    return (s.windows_back(reference.unfold(s.last(a["x"]), s.windows)),)


def fold(s: Columns, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define the images that the windows add up to."""
    return (s.back(reference.fold(s.windows_last(a["cols"]), s.windows)),)


PADDING = (
    Operation("pad", PAD, ("y",), lambda s, _: Call("pad", (X, s.padding), keywords(s)), pad),
    Operation(
        "pad_vjp", PAD, ("dx",), lambda s, _: Call("pad_vjp", (DY, s.shape("x"), s.padding), keywords(s)), pad_vjp,
        steps=lambda s: (s.windows.readers,), linear=("dy",),
        adjoint=Adjoint(lambda s, _: Call("pad", (X, s.padding), keywords(s)), "dy", (("x", 0),)),
    ),
)  # fmt: skip

COLUMNWISE = (
    Operation("unfold", COLUMNS, ("cols",), lambda s, _: Call("unfold", (X, s.window), keywords(s)), unfold),
    Operation(
        "fold", COLUMNS, ("x",), lambda s, _: Call("fold", (COLS, s.shape("x"), s.window), keywords(s)), fold,
        steps=lambda s: (s.windows.taps,), linear=("cols",),
        adjoint=Adjoint(lambda s, _: Call("unfold", (X, s.window), keywords(s)), "cols", (("x", 0),)),
    ),
)  # fmt: skip
