"""Convolutions and windows that JAX traces: graphs of one size whatever the kernel, with the values of NumPy."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import cases
from tests.graphs import counted
from tests.sizes import share

pytestmark = pytest.mark.needs("jax")

GROUPS = {  # channels, filters, groups
    "dense": (4, 20, 1),
    "few filters": (8, 2, 1),
    "groups": (6, 9, 3),
    "thin groups": (6, 3, 3),
    "depthwise": (5, 5, 5),
}
Function = Callable[..., Any]  # of x, w, dz and the windows of x


def operations(kernel: tuple[int, ...], kind: str, **given: Any) -> tuple[list[Any], list[Function]]:
    """What is to have a graph of one size, and its arguments, of whole numbers: the order of sums does not matter."""
    channels, filters, groups = GROUPS[kind]
    x = cases.whole((2, *(19 + axis for axis in range(len(kernel))), channels), 1)
    w = cases.whole((*kernel, channels // groups, filters), 2)
    dz = cases.whole(xc.conv(x, w, groups=groups, **given).shape, 3)
    windowing = {**given, "padding": [(2, 1)] * len(kernel)}
    functions: list[Function] = [
        lambda x, w, dz, cols: xc.unfold(x, kernel, **windowing),
        lambda x, w, dz, cols: xc.fold(cols, x.shape, kernel, **windowing),
    ]
    for algorithm in ("gemm", "direct"):
        keywords = {"groups": groups, "algorithm": algorithm, **given}
        functions += [
            lambda x, w, dz, cols, keywords=keywords: xc.conv(x, w, **keywords),
            lambda x, w, dz, cols, keywords=keywords: xc.conv_input_grad(dz, w, x.shape, **keywords),
            lambda x, w, dz, cols, keywords=keywords: xc.conv_weight_grad(dz, x, w.shape, **keywords),
        ]
    return [x, w, dz, xc.unfold(x, kernel, **windowing)], functions


@pytest.mark.parametrize("kind", GROUPS)
def test_the_graph_does_not_grow_with_the_kernel(kind: str) -> None:
    import jax

    sizes = []
    for kernel in ((5, 5), (8, 11)):
        arguments, functions = operations(kernel, kind)
        given = [jax.numpy.asarray(array) for array in arguments]
        sizes.append([counted(jax.make_jaxpr(function)(*given)) for function in functions])
    assert sizes[0] == sizes[1]


GEOMETRIES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "strided": ((5, 6), {"stride": (1, 2), "padding": 2}),
    "dilated": ((4, 5), {"dilation": (3, 2), "padding": "same"}),
    "1-d": ((17,), {"stride": 2}),
    "3-d": ((2, 4, 3), {"padding": 1, "stride": (1, 2, 1)}),
}


def everything(functions: Sequence[Function]) -> Function:
    """Call them all."""
    return lambda *arguments: [function(*arguments) for function in functions]


def pairs() -> list[Any]:
    """Give geometries with kinds of groups: the first with each; the others take turns, for each is compiled."""
    first, *others = GEOMETRIES
    slow = [(name, kind) for place, name in enumerate(others) for kind in share(GROUPS, place, 6)]
    return [*((first, kind) for kind in GROUPS), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in slow)]


@pytest.mark.parametrize(("name", "kind"), pairs())
def test_the_values_of_numpy(name: str, kind: str) -> None:
    import jax

    kernel, given = GEOMETRIES[name]
    arguments, functions = operations(kernel, kind, **given)
    wanted = everything(functions)(*arguments)
    for got, expected in zip(jax.jit(everything(functions))(*arguments), wanted, strict=True):
        np.testing.assert_array_equal(np.asarray(got), expected)


@pytest.mark.parametrize("kind", ["dense", "depthwise"])
def test_jax_differentiates_them(kind: str) -> None:
    import jax

    (x, w, dz, _), _ = operations((5, 6), kind, stride=2)
    keywords: dict[str, Any] = {"groups": GROUPS[kind][2], "stride": 2}
    found = jax.jit(jax.grad(lambda x, w: (xc.conv(x, w, **keywords) * dz).sum(), argnums=(0, 1)))(x, w)
    wanted = xc.conv_vjp(dz, x, w, **keywords)
    for got, expected in zip(found, wanted, strict=False):
        np.testing.assert_array_equal(np.asarray(got), expected)
