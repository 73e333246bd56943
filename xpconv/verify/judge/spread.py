"""Algorithms in which errors or NaN can spread over a tile: they are held against the library's own bounds."""

from __future__ import annotations

from xpconv.algorithms import EVERYWHERE
from xpconv.verify.catalogue.operation import Call, Name, keywords
from xpconv.verify.catalogue.tasks import EXACT, Task, serves


def spreads(task: Task) -> bool:
    """Say whether an algorithm beside `direct` and `gemm` may have been at work."""
    if not task.operation.algorithms or task.algorithm in EXACT:
        return False
    names = [name for name in EVERYWHERE if name not in EXACT] if task.algorithm == "auto" else [task.algorithm]
    return any(serves(name, task.setup, task.dtype) for name in names)


def promises(task: Task) -> dict[str, Call]:
    """Make the calls that bound the results, by the results' names."""
    setup, (x, w, dz) = task.setup, map(Name, ("x", "w", "dz"))
    words = keywords(setup, task.algorithm)
    found = {
        "dx": Call("bounds.conv_input_grad_error_bound", (dz, w, setup.shape("x")), words),
        "dw": Call("bounds.conv_weight_grad_error_bound", (dz, x, setup.shape("w")), words),
    }
    if task.operation.promise is not None:
        found["z"] = task.operation.promise(setup, task.algorithm)
    return {name: call for name, call in found.items() if name in task.operation.results}
