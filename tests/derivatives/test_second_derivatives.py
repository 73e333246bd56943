"""The gradients of gradients that docs/second-derivatives.md names: exactly, on whole numbers, and against PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpconv as xc

Array = np.ndarray
FIRST = {"layout": "channels_first"}

# (x.shape, w.shape, keywords)
CONV: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 9, 3), (3, 3, 2), {}),
    ((2, 9, 4), (4, 2, 6), {"stride": 2, "padding": "same", "groups": 2}),
    ((1, 8, 2), (3, 2, 3), {"padding": "causal", "dilation": 2}),
    ((2, 7, 6, 2), (3, 2, 2, 3), {"stride": (2, 3), "padding": ((1, 2), (0, 3)), "dilation": (1, 2)}),
    ((2, 6, 5, 3), (3, 3, 1, 3), {"padding": 2, "groups": 3, "padding_mode": "reflect"}),
    ((2, 3, 6, 5), (4, 3, 2, 3), {"padding": 1, "stride": 2, "padding_mode": "replicate", **FIRST}),
    ((1, 2, 6, 5), (4, 1, 3, 3), {"padding": "same_lower", "groups": 2, "padding_mode": "circular", **FIRST}),
    ((1, 5, 4, 6, 2), (2, 3, 2, 2, 2), {"stride": 2, "padding": 1}),
    ((1, 2, 5, 4, 6), (2, 2, 2, 3, 1), {"dilation": (2, 1, 3), **FIRST}),
]
TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 5, 3), (3, 2, 3), {}),
    ((2, 4, 4), (3, 3, 4), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}),
    ((1, 3, 4, 2), (3, 2, 3, 2), {"stride": (2, 3), "padding": "same"}),
    ((1, 2, 3, 4), (2, 3, 2, 2), {"stride": 2, "dilation": 3, "output_padding": 2, **FIRST}),
    ((1, 2, 3, 2, 2), (2, 2, 3, 1, 2), {"stride": 2, "padding": ((0, 1), (1, 0), (0, 0))}),
]
POOL: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    ((2, 9, 3), 4, {}),
    ((2, 8, 2), 4, {"stride": 1, "padding": ((1, 2),), "ceil_mode": True}),
    ((2, 7, 6, 2), (2, 4), {"stride": (2, 1), "padding": 1, "ceil_mode": True}),
    ((1, 2, 7, 6), (4, 2), {"stride": 2, "padding": "same", "dilation": (1, 2), **FIRST}),
    ((1, 4, 5, 4, 2), (2, 1, 2), {}),
]


def whole(rng: np.random.Generator, shape: Any, dtype: str = "float64") -> Array:
    """Small whole numbers, whose products and sums are exact."""
    values = rng.integers(-4, 5, shape).astype(dtype)
    return values + 1j * rng.integers(-4, 5, shape) if dtype == "complex128" else values


def demand_gradients(
    rng: np.random.Generator, number: Callable[..., Any], arguments: list[Array], gradients: list[Array]
) -> None:
    """Demand that a number, linear in each argument alone, changes by gradient times step; exactly, for any step."""
    here = number(*arguments)
    for place, (argument, gradient) in enumerate(zip(arguments, gradients, strict=True)):
        assert gradient.shape == argument.shape
        step = whole(rng, argument.shape, argument.dtype.name)
        moved = [*arguments[:place], argument + step, *arguments[place + 1 :]]
        change = number(*moved) - here
        assert change == dot(gradient, step), f"argument {place}"
        assert change != 0


def dot(a: Array, b: Array) -> Any:
    """The inner product in which gradients are adjoints: the real part, for complex numbers."""
    return (np.conj(a) * b).sum().real


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("case", CONV, ids=str)
def test_conv(case: Any, dtype: str) -> None:
    x_shape, w_shape, keywords = case
    rng = np.random.default_rng(1)
    x, w, gx, gw = (whole(rng, shape, dtype) for shape in (x_shape, w_shape, x_shape, w_shape))
    z = xc.conv(x, w, **keywords)
    dz = whole(rng, z.shape, dtype)
    gb = whole(rng, w_shape[0 if keywords.get("layout") == "channels_first" else -1], dtype)

    def number(dz: Array, x: Array, w: Array) -> Any:
        gradients = xc.conv_vjp(dz, x, w, **keywords)
        return sum(dot(g, gradient) for g, gradient in zip((gx, gw, gb), gradients, strict=True))

    gradients = [
        xc.conv(gx, w, **keywords) + xc.conv(x, gw, gb, **keywords),
        xc.conv_input_grad(dz, gw, x.shape, **keywords),
        xc.conv_weight_grad(dz, gx, w.shape, **keywords),
    ]
    demand_gradients(rng, number, [dz, x, w], gradients)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
def test_conv_transpose(case: Any, dtype: str) -> None:
    x_shape, w_shape, keywords = case
    rng = np.random.default_rng(2)
    x, w, gx, gw = (whole(rng, shape, dtype) for shape in (x_shape, w_shape, x_shape, w_shape))
    z = xc.conv_transpose(x, w, **keywords)
    dz = whole(rng, z.shape, dtype)
    gb = whole(rng, z.shape[1 if keywords.get("layout") == "channels_first" else -1], dtype)

    def number(dz: Array, x: Array, w: Array) -> Any:
        gradients = xc.conv_transpose_vjp(dz, x, w, **keywords)
        return sum(dot(g, gradient) for g, gradient in zip((gx, gw, gb), gradients, strict=True))

    ex, ew, _ = xc.conv_transpose_vjp(dz, gx, gw, **keywords)
    by_dz = xc.conv_transpose(gx, w, **keywords) + xc.conv_transpose(x, gw, gb, **keywords)
    demand_gradients(rng, number, [dz, x, w], [by_dz, ex, ew])


@pytest.mark.parametrize("case", [case for case in POOL if case[2].get("padding", 0) == 0], ids=str)
def test_avg_pool(case: Any) -> None:
    shape, window, keywords = case
    rng = np.random.default_rng(3)
    g, dy = whole(rng, shape), whole(rng, xc.avg_pool(np.zeros(shape), window, **keywords).shape)
    demand_gradients(
        rng,
        lambda dy: dot(g, xc.avg_pool_vjp(dy, shape, window, **keywords)),
        [dy],
        [xc.avg_pool(g, window, **keywords)],
    )


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("case", POOL, ids=str)
def test_avg_pool_with_any_divisor(case: Any, count_include_pad: bool) -> None:
    """Multiples of 840 divide by every divisor up to 8, so these are exact as well."""
    shape, window, keywords = case
    keywords = {**keywords, "count_include_pad": count_include_pad}
    rng = np.random.default_rng(4)
    g, dy = 840 * whole(rng, shape), 840 * whole(rng, xc.avg_pool(np.zeros(shape), window, **keywords).shape)
    assert dot(g, xc.avg_pool_vjp(dy, shape, window, **keywords)) == dot(dy, xc.avg_pool(g, window, **keywords))


@pytest.mark.parametrize("case", POOL, ids=str)
def test_max_pool(case: Any) -> None:
    """By dy: the picked elements. By x: nothing, as long as each window's maximum stays where it is."""
    shape, window, keywords = case
    rng = np.random.default_rng(5)
    x = 2.0 * rng.permutation(int(np.prod(shape))).reshape(shape)
    g = whole(rng, shape)
    _, indices = xc.max_pool(x, window, return_indices=True, **keywords)
    assert (indices >= 0).all()
    first = keywords.get("layout") == "channels_first"
    planes, places = (a if first else np.moveaxis(a, -1, 1) for a in (g, indices))
    picked = np.take_along_axis(planes.reshape(*planes.shape[:2], -1), places.reshape(*places.shape[:2], -1), axis=2)
    picked = picked.reshape(places.shape)
    dy = whole(rng, indices.shape)

    def number(dy: Array) -> Any:
        return dot(g, xc.max_pool_vjp(dy, x, window, **keywords))

    demand_gradients(rng, number, [dy], [picked if first else np.moveaxis(picked, 1, -1)])
    nearby = x + rng.uniform(-0.9, 0.9, shape)
    np.testing.assert_array_equal(
        xc.max_pool_vjp(dy, x, window, **keywords), xc.max_pool_vjp(dy, nearby, window, **keywords)
    )


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_pad(mode: str) -> None:
    rng = np.random.default_rng(6)
    shape, padding = (2, 5, 4, 3), ((2, 1), (0, 3))
    g, dy = whole(rng, shape), whole(rng, (2, 8, 7, 3))
    demand_gradients(
        rng, lambda dy: dot(g, xc.pad_vjp(dy, shape, padding, mode=mode)), [dy], [xc.pad(g, padding, mode=mode)]
    )


def test_a_wrong_identity_is_noticed() -> None:
    rng = np.random.default_rng(7)
    x, w, gx = whole(rng, (1, 6, 2)), whole(rng, (3, 2, 2)), whole(rng, (1, 6, 2))
    dz = whole(rng, (1, 4, 2))
    for wrong in (xc.conv(gx, w[::-1]), -xc.conv(gx, w), xc.conv(x, w)):
        with pytest.raises(AssertionError, match="argument 0"):
            demand_gradients(rng, lambda dz: dot(gx, xc.conv_input_grad(dz, w, x.shape)), [dz], [wrong])


@pytest.mark.needs("torch")
def test_hessian_product_against_torch() -> None:
    """conv, tanh, max_pool, conv, squared distance: the product of its Hessian, by hand and by double backward."""
    import torch

    rng = np.random.default_rng(8)
    x, target = rng.standard_normal((3, 2, 9, 8)), rng.standard_normal((3, 4, 2, 2))
    w1, v1 = rng.standard_normal((2, 6, 2, 3, 3))[:, :, :1]
    w2, v2 = rng.standard_normal((2, 4, 6, 2, 2))
    first = {"stride": 1, "padding": 1, "dilation": 2, "groups": 2, "layout": "channels_first"}
    pool = {"stride": 2, "padding": 1, "ceil_mode": True, "layout": "channels_first"}
    second = {"stride": 2, "layout": "channels_first"}

    # forward, and each array's change along (v1, v2)
    a, ra = xc.conv(x, w1, **first), xc.conv(x, v1, **first)
    h = np.tanh(a)
    rh = (1 - h**2) * ra
    y, places = xc.max_pool(h, 3, return_indices=True, **pool)
    ry = np.take_along_axis(rh.reshape(3, 6, -1), places.reshape(3, 6, -1), axis=2).reshape(y.shape)
    dz = xc.conv(y, w2, **second) - target
    rz = xc.conv(ry, w2, **second) + xc.conv(y, v2, **second)
    # backward, and each gradient's change
    dy, _, _ = xc.conv_vjp(dz, y, w2, **second)
    by_dz, rw2, _ = xc.conv_vjp(rz, y, w2, **second)
    by_w2, ew2, _ = xc.conv_vjp(dz, ry, v2, **second)
    dh, rdh = (xc.max_pool_vjp(array, h, 3, **pool) for array in (dy, by_dz + by_w2))
    rda = rdh * (1 - h**2) - 2 * dh * h * rh
    found = xc.conv_weight_grad(rda, x, w1.shape, **first), rw2 + ew2

    conv, weights = torch.nn.functional.conv2d, [torch.tensor(k, requires_grad=True) for k in (w1, w2)]
    hidden = torch.tanh(conv(torch.tensor(x), weights[0], padding=1, dilation=2, groups=2))
    pooled = torch.nn.functional.max_pool2d(hidden, 3, 2, 1, ceil_mode=True)
    loss = 0.5 * (conv(pooled, weights[1], stride=2) - torch.tensor(target)).square().sum()
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    slope = sum((g * torch.tensor(v)).sum() for g, v in zip(gradients, (v1, v2), strict=True))
    for product, wanted in zip(found, torch.autograd.grad(slope, weights), strict=True):
        np.testing.assert_allclose(product, wanted.numpy(), rtol=1e-10, atol=1e-10 * np.abs(product).max())
