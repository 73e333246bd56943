"""Operations that copy pixels and the gradients that add them up: padding, unfold, fold."""

from __future__ import annotations

from operator import attrgetter, methodcaller

from xpconv.verify.catalogue.cases import COLUMNS, PAD
from xpconv.verify.catalogue.operation import Adjoint, Name, Operation, Sums, asks
from xpconv.verify.definition import copies as definition

X, DY, COLS = map(Name, ("x", "dy", "cols"))
AROUND, WINDOW, INPUT_SHAPE = attrgetter("padding"), attrgetter("window"), methodcaller("shape", "x")

PADDING = (
    Operation(
        name="pad",
        table=PAD,
        results=("y",),
        call=asks("pad", X, AROUND),
        define=lambda s, a, one: (definition.pad(a["x"], s.windows),),
    ),
    Operation(
        name="pad_vjp",
        table=PAD,
        results=("dx",),
        call=asks("pad_vjp", DY, INPUT_SHAPE, AROUND),
        define=lambda s, a, one: (definition.pad_vjp(a["dy"], s.windows),),
        sums=Sums(("dy",), lambda s: (s.windows.readers,), degrees=(1,)),
        adjoint=Adjoint(asks("pad", X, AROUND), "dy", (("x", 0),)),
    ),
)

COLUMNWISE = (
    Operation(
        name="unfold",
        table=COLUMNS,
        results=("cols",),
        call=asks("unfold", X, WINDOW),
        define=lambda s, a, one: (definition.unfold(a["x"], s.windows),),
    ),
    Operation(
        name="fold",
        table=COLUMNS,
        results=("x",),
        call=asks("fold", COLS, INPUT_SHAPE, WINDOW),
        define=lambda s, a, one: (definition.fold(a["cols"], s.windows),),
        sums=Sums(("cols",), lambda s: (s.windows.taps,), degrees=(1,)),
        adjoint=Adjoint(asks("unfold", X, WINDOW), "cols", (("x", 0),)),
    ),
)
