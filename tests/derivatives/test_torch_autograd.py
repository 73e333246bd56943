"""`xpconv.torch`: values of the plain functions, first and second derivatives against finite differences."""

import copy
import inspect
import pickle
from typing import Any

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import xpconv as xc
import xpconv.torch as xt

FIRST = {"layout": "channels_first"}

# (x.shape, w.shape, with a bias, keywords)
CONV: list[tuple[tuple[int, ...], tuple[int, ...], bool, dict[str, Any]]] = [
    ((2, 5, 2), (3, 2, 3), True, {}),
    ((1, 7, 4), (2, 2, 2), True, {"stride": 2, "padding": "same", "groups": 2}),
    ((1, 6, 1), (3, 1, 2), False, {"padding": ((3, 1),), "dilation": 2}),
    ((1, 5, 2), (3, 2, 1), False, {"padding": "causal", "dilation": 2}),
    ((2, 4, 5, 2), (2, 3, 2, 2), True, {"stride": (1, 2), "padding": ((0, 1), (2, 0))}),
    ((1, 4, 4, 4), (3, 3, 1, 4), True, {"padding": 1, "groups": 4, "padding_mode": "reflect"}),
    ((1, 2, 4, 3), (2, 2, 2, 2), True, {"padding": 1, "padding_mode": "replicate", **FIRST}),
    ((1, 2, 4, 3), (2, 1, 2, 2), False, {"padding": "same_lower", "groups": 2, "padding_mode": "circular", **FIRST}),
    ((1, 1, 3, 3, 3), (2, 1, 2, 2, 2), True, {"stride": 2, "padding": 1, "dilation": (1, 2, 1), **FIRST}),
    ((1, 3, 2, 3, 1), (2, 1, 2, 1, 2), False, {"algorithm": "direct"}),
]
TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], bool, dict[str, Any]]] = [
    ((2, 3, 2), (3, 3, 2), True, {}),
    ((1, 3, 4), (3, 1, 4), True, {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}),
    ((1, 3, 1), (2, 2, 1), True, {"stride": 2, "dilation": 3, "output_padding": 2}),  # a tail that no tap reaches
    ((1, 2, 2, 2), (1, 2, 2, 2), False, {"stride": 3, "padding": "same"}),
    ((1, 2, 3, 2), (2, 2, 2, 3), True, {"stride": (2, 1), "padding": ((1, 0), (0, 2)), **FIRST}),
    ((1, 1, 2, 2, 2), (1, 2, 2, 1, 2), True, {"stride": 2, "padding": "same_lower", **FIRST}),
]
POOL: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    ((2, 5, 2), 2, {}),
    ((1, 6, 2), 3, {"stride": 2, "padding": ((2, 1),), "ceil_mode": True}),
    ((1, 5, 4, 2), (3, 2), {"stride": 1, "padding": "same", "dilation": (1, 2)}),
    ((1, 2, 4, 5), (2, 3), {"stride": 2, "padding": 1, "ceil_mode": True, **FIRST}),
    ((1, 2, 3, 3, 1), 2, {"stride": 1}),
    ((1, 2, 1), 2, {"stride": 1, "padding": 2, "dilation": 3}),  # windows without a tap in the image
]


def normal(*shape: int, dtype: Any = torch.float64) -> Any:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, dtype=dtype, generator=generator).requires_grad_()


def distinct(*shape: int) -> Any:
    """Values so far apart that no step of a finite difference changes which is the largest."""
    generator = torch.Generator().manual_seed(0)
    size = torch.Size(shape).numel()
    return (torch.randperm(size, generator=generator).reshape(shape).double() / size - 0.5).requires_grad_()


def demand_derivatives(function: Any, arguments: tuple[Any, ...]) -> None:
    assert gradcheck(function, arguments, fast_mode=True)
    assert gradgradcheck(function, arguments, fast_mode=True)


@pytest.mark.parametrize("case", CONV, ids=str)
def test_conv(case: Any) -> None:
    x_shape, w_shape, biased, keywords = case
    filters = w_shape[0] if keywords.get("layout") == "channels_first" else w_shape[-1]
    arguments = (normal(*x_shape), normal(*w_shape), *([normal(filters)] if biased else []))
    assert torch.equal(xt.conv(*arguments, **keywords), xc.conv(*arguments, **keywords))
    demand_derivatives(lambda *arrays: xt.conv(*arrays, **keywords), arguments)


@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
def test_conv_transpose(case: Any) -> None:
    x_shape, w_shape, biased, keywords = case
    depth = w_shape[1] if keywords.get("layout") == "channels_first" else w_shape[-2]
    arguments = (normal(*x_shape), normal(*w_shape), *([normal(depth * keywords.get("groups", 1))] if biased else []))
    plain = xc.conv_transpose(*(array.detach() for array in arguments), **keywords)
    assert torch.equal(xt.conv_transpose(*arguments, **keywords), plain)
    demand_derivatives(lambda *arrays: xt.conv_transpose(*arrays, **keywords), arguments)


@pytest.mark.parametrize("case", POOL, ids=str)
def test_max_pool(case: Any) -> None:
    shape, window, keywords = case
    x = distinct(*shape)
    y, indices = xt.max_pool(x, window, return_indices=True, **keywords)
    wanted, places = xc.max_pool(x, window, return_indices=True, **keywords)
    assert torch.equal(y, wanted)
    assert torch.equal(indices, places)
    assert not indices.requires_grad
    if (places >= 0).all():  # minus infinity has no finite difference
        demand_derivatives(lambda a: xt.max_pool(a, window, **keywords), (x,))


def test_a_window_without_a_tap_gives_and_takes_nothing() -> None:
    x = distinct(1, 2, 1)
    y, indices = xt.max_pool(x, 2, stride=1, padding=2, dilation=3, return_indices=True)
    assert (indices == -1).any()
    dy = torch.ones_like(y).requires_grad_()
    (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
    assert dx.sum() == (indices >= 0).sum()
    (back,) = torch.autograd.grad(dx, dy, torch.ones_like(dx))
    assert torch.equal(back, (indices >= 0).double())


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("case", POOL, ids=str)
def test_avg_pool(case: Any, count_include_pad: bool) -> None:
    shape, window, keywords = case
    keywords = {**keywords, "count_include_pad": count_include_pad}
    x = normal(*shape)
    assert torch.equal(xt.avg_pool(x, window, **keywords), xc.avg_pool(x, window, **keywords))
    demand_derivatives(lambda a: xt.avg_pool(a, window, **keywords), (x,))


def test_complex_numbers() -> None:
    x, w = normal(1, 4, 2, dtype=torch.complex128), normal(3, 2, 2, dtype=torch.complex128)
    demand_derivatives(lambda a, b: xt.conv(a, b, padding=1), (x, w))
    demand_derivatives(lambda a, b: xt.conv_transpose(a, b, stride=2), (x, w))


def test_dtype_converts_and_the_gradients_come_back_in_the_arguments_dtypes() -> None:
    x, w, b = (normal(*shape).half().detach().requires_grad_() for shape in ((1, 6, 2), (3, 2, 4), (4,)))
    z = xt.conv(x, w, b, dtype="float32")
    assert z.dtype == torch.float32
    assert torch.equal(z, xc.conv(x, w, b, dtype="float32"))
    z.sum().backward()
    assert [array.grad.dtype for array in (x, w, b)] == [torch.float16] * 3


def test_third_derivatives() -> None:
    """By x, by w and by the gradient: the form is linear in each, so its third mixed derivative is the form itself."""
    x, w, dz = normal(1, 5, 2), normal(3, 2, 2), normal(1, 3, 2)
    u, v, t = normal(1, 5, 2), normal(3, 2, 2), normal(1, 3, 2)
    total = (xt.conv(x, w) * dz).sum()
    for by, direction in ((x, u), (w, v), (dz, t)):
        (gradient,) = torch.autograd.grad(total, by, create_graph=True)
        total = (gradient * direction).sum()
    torch.testing.assert_close(total, (xc.conv(u, v) * t).sum())


def test_functional_gradients() -> None:
    x, w = normal(1, 5, 2).detach(), normal(3, 2, 2).detach()
    found = torch.func.grad(lambda a: xt.conv(x, a).square().sum())(w)
    torch.testing.assert_close(found, torch.func.grad(lambda a: xc.conv(x, a).square().sum())(w))


def kept(function: Any) -> int:
    """Count the bytes that autograd keeps of a call, each piece of memory once."""
    found: dict[int, int] = {}

    def pack(array: Any) -> Any:
        found[array.untyped_storage().data_ptr()] = array.untyped_storage().nbytes()
        return array

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda array: array):
        result = function()  # held until counted, so that no memory is given out again
    assert result.requires_grad
    return sum(found.values())


def test_only_the_arguments_are_kept() -> None:
    x, w = normal(2, 20, 20, 8), normal(3, 3, 8, 8)
    arguments = 8 * (x.numel() + w.numel())
    assert kept(lambda: xt.conv(x, w)) == arguments
    assert kept(lambda: xc.conv(x, w)) > 2 * arguments
    assert kept(lambda: xt.conv(x, w.detach())) == 8 * w.numel()  # the gradient of x needs no x
    assert kept(lambda: xt.max_pool(x, 2)) == 8 * x.numel() // 4  # the places of the maxima
    assert kept(lambda: xt.avg_pool(x, 2)) == 0


def test_an_argument_that_changed_is_noticed() -> None:
    x, w = distinct(1, 6, 1), normal(2, 1, 1)
    images = x * 1
    y = xt.conv(images, w)
    images.mul_(-1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_errors_are_those_of_the_plain_functions() -> None:
    x, w = normal(1, 5, 2), normal(3, 2, 2)
    with pytest.raises(ValueError, match="conv: padding is never negative"):
        xt.conv(x, w, padding=-1)
    with pytest.raises(TypeError, match="belong to one library"):
        xt.conv(x, w.detach().numpy())
    with pytest.raises(TypeError, match=r"max_pool: xpconv\.torch takes arrays of torch; got x of numpy"):
        xt.max_pool(x.detach().numpy(), 2)


@pytest.mark.parametrize("name", xt.__all__)
def test_the_functions_are_called_as_the_plain_ones_and_can_be_sent_elsewhere(name: str) -> None:
    function = getattr(xt, name)
    ours, plain = (inspect.signature(f).parameters.values() for f in (function, getattr(xc, name)))
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in plain]
    assert copy.deepcopy(function) == function
    assert pickle.loads(pickle.dumps(function)) == function
