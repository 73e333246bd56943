"""Pooling that JAX traces: graphs of one size whatever the window, with the values of NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import cases
from tests.graphs import counted

pytestmark = pytest.mark.needs("jax")

INFINITY = float("inf")
SHAPE = (2, 28, 26, 3)


def operations(window: tuple[int, int], stride: Any, x: Any, dy: Any) -> dict[str, tuple[Callable[..., Any], Any]]:
    """What is to have a graph of one size, and its arguments."""
    import jax

    import xpconv.jax as xj

    keywords = {"stride": stride, "padding": 1}
    found: dict[str, tuple[Callable[..., Any], Any]] = {
        "places": (lambda x: xc.max_pool(x, window, return_indices=True, **keywords), (x,)),
        "layer": (jax.grad(lambda x: xj.max_pool(x, window, **keywords).sum()), (x,)),
    }
    for ties in ("first", "all", "split"):
        found[ties] = (lambda dy, x, ties=ties: xc.max_pool_vjp(dy, x, window, ties=ties, **keywords), (dy, x))
    for p in (1, 3, INFINITY):
        found[f"norm {p}"] = (lambda x, p=p: xc.lp_pool(x, p, window, **keywords), (x,))
        found[f"norm's gradient {p}"] = (lambda dy, x, p=p: xc.lp_pool_vjp(dy, x, p, window, **keywords), (dy, x))
    return found


@pytest.mark.parametrize(("stride", "least"), [(1, 3), (2, 4)])
def test_the_graph_does_not_grow_with_the_window(stride: int, least: int) -> None:
    import jax

    sizes: dict[str, set[int]] = {}
    for window in ((least, least), (12, 12)):
        x = np.ones(SHAPE, np.float32)
        dy = np.ones(xc.max_pool(x, window, stride=stride, padding=1).shape, np.float32)
        for name, (function, arguments) in operations(window, stride, x, dy).items():
            jaxpr = jax.make_jaxpr(function)(*map(jax.numpy.asarray, arguments))
            sizes.setdefault(name, set()).add(counted(jaxpr))
    assert len(sizes) == 11
    assert all(len(found) == 1 for found in sizes.values()), sizes


def test_a_graph_with_a_tap_more_is_seen() -> None:
    """The counting is one: plain sums of taps grow."""
    import jax

    x = jax.numpy.ones(SHAPE)
    grown = [jax.make_jaxpr(lambda x, k=k: xc.avg_pool(x, k, stride=1))(x) for k in (3, 12)]
    assert counted(grown[0]) < counted(grown[1])


GEOMETRIES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "overlapping": ((9, 8), {"window": (3, 3), "stride": 1, "padding": 1}),
    "pixels that nobody reads": ((9, 8), {"window": (3, 2), "stride": (2, 3)}),
    "dilated": ((9, 11), {"window": (2, 3), "stride": (3, 4), "padding": 1, "dilation": 2}),
    "the whole plane": ((7, 7), {"window": (7, 7)}),
    "1-d": ((12,), {"window": (4,), "stride": 2, "padding": 1}),
    "3-d": ((5, 6, 4), {"window": (2, 3, 2), "stride": (1, 2, 1), "padding": 1}),
}


SLOW = ("dilated", "1-d", "3-d")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in GEOMETRIES]
)
def test_the_values_of_numpy(name: str) -> None:
    import jax

    size, given = GEOMETRIES[name]
    keywords = dict(given)
    window = keywords.pop("window")
    x = np.rint(cases.values((2, *size, 3), 3, "float32") * 2)  # with ties
    x.reshape(-1)[::31], x.reshape(-1)[5::29] = np.nan, -np.inf
    x[0] = np.rint(cases.values((*size, 3), 4, "float32") * 2)
    output = xc.max_pool(x, window, **keywords).shape
    dy = np.rint(cases.values(output, 5, "float32") * 4)

    def everything(x: Any, dy: Any) -> list[Any]:
        found = [*xc.max_pool(x, window, return_indices=True, **keywords)]
        found += xc.adaptive_max_pool(x, output[1:-1], return_indices=True)
        found.append(xc.adaptive_max_pool_vjp(dy, x, output[1:-1]))
        found += [xc.max_pool_vjp(dy, x, window, ties=ties, **keywords) for ties in ("first", "all", "split")]
        for p in (1, 2.5, INFINITY):
            found += xc.lp_pool(x, p, window, **keywords), xc.lp_pool_vjp(dy, x, p, window, **keywords)
        return found

    with np.errstate(all="ignore"):
        wanted = everything(x, dy)
    for got, expected in zip(jax.jit(everything)(x, dy), wanted, strict=True):
        np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-5, atol=1e-5)


def test_derivatives_of_the_loops() -> None:
    """JAX differentiates them as it does the plain functions."""
    import jax

    x = cases.values((2, 7, 8, 3), 3, "float32")

    def loss(x: Any) -> Any:
        return (xc.lp_pool(x, 3, (3, 2), stride=2) ** 2).sum()

    wanted = xc.lp_pool_vjp(2 * xc.lp_pool(x, 3, (3, 2), stride=2), x, 3, (3, 2), stride=2)
    np.testing.assert_allclose(np.asarray(jax.jit(jax.grad(loss))(x)), wanted, rtol=1e-4, atol=1e-5)
    dy, many = x[:, :3, :4], jax.jit(jax.vmap(lambda dy, x: xc.max_pool_vjp(dy[None], x[None], 2)[0]))
    np.testing.assert_array_equal(np.asarray(many(dy, x)), xc.max_pool_vjp(dy, x, 2))
