"""A failure as one line of Python that shows it again."""

from __future__ import annotations

from xpconv._arrays.types import Array
from xpconv._tools import libraries
from xpconv._tools.libraries import Library
from xpconv.verify.catalogue.dtypes import host
from xpconv.verify.catalogue.tasks import Task, find
from xpconv.verify.judge.oracle import Oracle


def draw(source: str, backend: str = "numpy", seed: int = 0) -> tuple[Library | Array, ...]:
    """Draw the arrays of a check, on a backend, as the lines that `xpconv verify` prints want them.

    Parameters
    ----------
    source : str
        ``operation/case/data/dtype``.
    backend : str
        A library's name.
    seed : int
        The seed of the run.

    Returns
    -------
    tuple
        The `xpconv.testing.Library` of that name, then the arrays, in the order of the operation's arguments.

    Raises
    ------
    ValueError
        There is no such case.
    RuntimeError
        There is no such backend here.

    Examples
    --------
    >>> import xpconv as xc
    >>> from xpconv.verify import draw
    >>> lib, x, w, b = draw("conv/same/whole/float32")
    >>> lib.to_numpy(xc.conv(x, w, b, padding="same"))[0, 0, 0]
    array([-19.,  19.,   7.], dtype=float32)

    """
    library = libraries.load(backend)
    task = find(source)
    arrays = (drawn.values for drawn in Oracle(seed).data(task).values())
    return library, *(library.asarray(a, task.dtype if a.dtype.name == host(task.dtype) else None) for a in arrays)


def line(task: Task, backend: str, seed: int, number: int = 0, index: tuple[int, ...] | None = None) -> str:
    """Write one line that prints element `index` of result `number` of a check, or raises what its identity raises."""
    operation, call = task.operation, task.call
    names = Oracle(seed).data(task)
    drawn = f"lib, {', '.join(names)} = draw({task.source!r}, {backend!r}, {seed})"
    many = operation.cached or len(operation.results) > 1
    if task.tier == "adjoint" and operation.adjoint is not None:
        adjoint = operation.adjoint
        pairs = "".join(f", ({name}, {f'g[{i}]' if many else 'g'})" for name, i in adjoint.pairs)
        forward = adjoint.forward(task.setup, task.algorithm)
        rest = f"g = {call}; assert_adjoint({forward}, {adjoint.gradient}{pairs})"
        imports = "from xpconv.testing import assert_adjoint; from xpconv.verify import draw"
        return f"import xpconv as xc; {imports}; {drawn}; {rest}"
    chosen = f"{call}[{number}]" if many else str(call)
    element = "" if index is None else f"[{', '.join(map(str, index)) or '()'}]"
    return f"import xpconv as xc; from xpconv.verify import draw; {drawn}; print(lib.to_numpy({chosen}){element})"
