"""Where dtypes, sizes and sums meet their ends."""

import re
from typing import Any

import numpy as np
import pytest

import xpconv as xc

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


def test_torch_dtypes_without_arithmetic() -> None:
    torch = pytest.importorskip("torch")
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
