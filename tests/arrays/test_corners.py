"""Where dtypes, sizes and sums meet their ends."""

import re
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import beside

X, W = np.ones((1, 8, 8, 2), np.float32), np.ones((3, 3, 2, 2), np.float32)
ONE = np.ones((1, 1, 1, 2), np.float32)


@pytest.mark.parametrize("stride", [2**40, 2**48])
def test_a_stride_beyond_the_image_takes_one_window(stride: int) -> None:
    np.testing.assert_array_equal(xc.conv(X, W, stride=stride), xc.conv(X[:, :3, :3], W))
    dx, dw, _ = xc.conv_vjp(ONE, X, W, stride=stride)
    assert dx.sum() == dw.sum() == 36
    y, indices = xc.max_pool(X, 2, stride=stride, return_indices=True)
    assert y.shape == indices.shape == (1, 1, 1, 2)
    assert xc.avg_pool_vjp(ONE, X.shape, 2, stride=stride).sum() == 2
    assert xc.max_pool_vjp(ONE, X, 2, stride=stride).sum() == 2
    assert xc.fold(xc.unfold(X, 2, stride=stride), X.shape, 2, stride=stride).sum() == 8


@pytest.mark.parametrize("huge", [2**62, 2**63, 10**30])
def test_huge_options_are_named(huge: int) -> None:
    calls: dict[str, Any] = {
        "stride": lambda: xc.conv(X, W, stride=huge),
        "padding": lambda: xc.conv(X, W, padding=huge),
        "dilation": lambda: xc.conv(X, W, dilation=huge),
        "window": lambda: xc.max_pool(X, huge),
        "output_shape": lambda: xc.adaptive_avg_pool(X, huge),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=rf"{name} is at most 2\*\*48; got {name}="):
            call()
    with pytest.raises(ValueError, match="padding makes a result"):
        xc.pad(X, 2**40)


def test_an_error_says_got_once() -> None:
    with pytest.raises(ValueError, match="stride is positive") as caught:
        xc.conv(X, W, stride=0)
    assert str(caught.value).count("got") == 1
    with pytest.raises(ValueError, match="kernel_shape holds whole, positive sizes"):
        xc.conv_weight_grad(np.ones((1, 6, 6, 2), np.float32), X, (3, 3.0, 2, 2))


@pytest.mark.needs("torch")
def test_torch_dtypes_without_arithmetic() -> None:
    import torch

    x = torch.ones(1, 8, 8, 2).to(torch.float8_e4m3fn)
    with pytest.raises(TypeError, match=re.escape("x.dtype=float8_e4m3fn")):
        xc.max_pool(x, 2)
    x, w = (torch.ones(shape, dtype=torch.int32).to(torch.uint16) for shape in (X.shape, W.shape))
    z = xc.conv_transpose(x, w)
    dx, dw, db = xc.conv_transpose_vjp(z, x, w)
    assert {a.dtype for a in (z, dx, dw, db)} == {torch.uint16}
    expected = xc.conv_transpose(X.astype(np.uint16), W.astype(np.uint16))
    np.testing.assert_array_equal(z.to(torch.int32).numpy(), expected)


def test_subclasses_do_not_come_back() -> None:
    class Sub(np.ndarray):
        pass

    x, w, dz = X.view(Sub), W.view(Sub), np.ones((1, 6, 6, 2), np.float32).view(Sub)
    assert [type(a) for a in xc.conv_vjp(dz, x, w)] == [np.ndarray] * 3
    assert type(xc.create_mask_from_window(x)) is np.ndarray


@pytest.mark.parametrize(("dtype", "step"), [("int64", 2**53), ("int32", 2**24)])
def test_pool_backward_compares_integers_as_they_are(dtype: str, step: int) -> None:
    images = np.array([step, step + 1], dtype).reshape(1, 1, 2, 1)
    images = np.concatenate([images, images], axis=1)
    _, cache = xc.pool_forward(images, {"f": 2, "stride": 1})
    gradient = xc.pool_backward(np.ones((1, 1, 1, 1), np.float32), cache)
    assert gradient.ravel().tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("shape", [(1, 2000, 2000, 1), (4, 1_000_000, 1), (1_000_000, 1, 2, 2)])
def test_bias_gradient_of_many_pixels(shape: tuple[int, ...]) -> None:
    dz = np.full(shape, 0.1, np.float32)
    rank, channels = len(shape) - 2, shape[-1]
    w = np.zeros((*(1,) * rank, 1, channels), np.float32)
    results = []
    for threads in (1, 8):
        with xc.set_options(threads=threads):
            results.append(xc.conv_vjp(dz, np.zeros((*shape[:-1], 1), np.float32), w)[2])
    np.testing.assert_array_equal(*results)
    exact = float(dz.ravel()[0]) * dz[..., 0].size
    assert abs(results[0] / exact - 1).max() < 2e-6


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_gradients_of_padding_round_once(mode: str, layout: str) -> None:
    """The gradient in float16 is the nearest to that in float32."""
    rng = np.random.default_rng(0)
    shape = (3, 6, 7, 4)
    spatial = shape[1:3] if layout == "channels_last" else shape[2:]
    padding = tuple(n - 2 for n in spatial)
    dy = rng.standard_normal(xc.pad(np.zeros(shape), padding, mode=mode, layout=layout).shape).astype(np.float16)
    options: dict[str, Any] = {"mode": mode, "layout": layout}
    narrow, wide = (xc.pad_vjp(dy.astype(t), shape, padding, **options) for t in (np.float16, np.float32))
    np.testing.assert_array_equal(narrow, wide.astype(np.float16))
    x, w = (rng.standard_normal(s).astype(np.float16) for s in (shape, (3, 3, 4, 4)))
    if layout == "channels_first":
        x, w = rng.standard_normal(shape).astype(np.float16), rng.standard_normal((4, 6, 3, 3)).astype(np.float16)
    options = {"padding": padding, "padding_mode": mode, "layout": layout, "algorithm": "direct"}
    dz = rng.standard_normal(xc.conv(x, w, **options).shape).astype(np.float16)
    got = xc.conv_input_grad(dz, w, shape, **options)
    expected = xc.conv_input_grad(dz.astype(np.float32), w.astype(np.float32), shape, **options)
    np.testing.assert_array_equal(got, expected.astype(np.float16))


def test_error_bound_where_float16_overflows() -> None:
    x, w = np.full((1, 4, 4, 8), 100, np.float16), np.full((3, 3, 8, 1), 100, np.float16)
    assert np.isinf(xc.error_bound(x, w)).all()
    assert (xc.error_bound(x / 100, w) < 10).all()


def test_error_bound_covers_factors_flushed_to_zero() -> None:
    tiny = np.finfo(np.float32).smallest_normal
    x, w = np.full((1, 3, 3, 8), 0.9 * tiny, np.float32), np.full((3, 3, 8, 1), 1000, np.float32)
    for first, second in ((x, w), (w.reshape(1, 3, 3, 8), x.reshape(3, 3, 8, 1))):
        z = xc.conv(first, second)  # as it is without flushing
        assert (xc.error_bound(first, second) >= z).all()
        assert (xc.error_bound(first, second) < 4 * z).all()


def test_error_bound_stays_in_the_workspace() -> None:
    x, w = np.ones((64, 64, 64, 32), np.float16), np.ones((1, 1, 32, 32), np.float16)
    with xc.set_options(max_workspace=8 << 20):
        assert beside(lambda: xc.error_bound(x, w)) <= 8 << 20
        assert beside(lambda: xc.error_bound(x[:16], w, padding=1)) <= 8 << 20
