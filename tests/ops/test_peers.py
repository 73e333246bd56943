"""What docs/peers.md says that PyTorch, JAX and ONNX Runtime do in the edge cases, run here; and what xpconv does."""

import importlib
import warnings
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.onnx.runtime import by_runtime

FIRST = {"layout": "channels_first"}


def line(*values: float, dtype: str = "float32") -> np.ndarray:
    """One image of one channel on one axis, channels first."""
    return np.array(values, dtype).reshape(1, 1, -1)


def flat(array: Any) -> np.ndarray:
    return np.asarray(array).reshape(-1)


@pytest.fixture
def torch() -> Any:
    return importlib.import_module("torch")


@pytest.fixture
def jax() -> Any:
    return importlib.import_module("jax")


@pytest.fixture
def onnx() -> Any:
    """Run one ONNX operator on the CPU: onnx(operator, arrays, outputs=1, opset=22, **attributes)."""
    return by_runtime


def jax_pool(jax: Any, x: Any, window: int, stride: int = 1, padding: Any = "VALID", dilation: int = 1) -> Any:
    """JAX's own max pooling: reduce_window."""
    return jax.lax.reduce_window(
        x, -np.inf, jax.lax.max, (1, 1, window), (1, 1, stride), padding, window_dilation=(1, 1, dilation)
    )


# (size, window, stride, padding): what ceil_mode adds may start in the input, in the padding before, or beyond
CEIL = [(5, 3, 2, 1), (5, 2, 2, 1), (4, 3, 3, 1), (6, 3, 2, 1), (4, 2, 3, 1), (6, 3, 2, 0), (4, 3, 4, 1)]


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize(("size", "window", "stride", "padding"), CEIL)
def test_ceil_mode_size_and_divisor(
    torch: Any, onnx: Any, size: int, window: int, stride: int, padding: int, include: bool
) -> None:
    x = line(*range(1, size + 1))
    keywords = {"stride": stride, "padding": padding, "ceil_mode": True, **FIRST}
    ours = flat(xc.avg_pool(x, window, count_include_pad=include, **keywords))
    theirs = torch.nn.functional.avg_pool1d(torch.tensor(x), window, stride, padding, True, include)
    np.testing.assert_allclose(ours, flat(theirs), rtol=1e-6)
    shape = {"kernel_shape": [window], "strides": [stride], "pads": [padding] * 2, "ceil_mode": 1}
    np.testing.assert_allclose(ours, flat(onnx("AveragePool", x, count_include_pad=int(include), **shape)), rtol=1e-6)
    largest = flat(xc.max_pool(x, window, **keywords))
    np.testing.assert_array_equal(largest, flat(onnx("MaxPool", x, **shape)))
    theirs = torch.nn.functional.max_pool1d(torch.tensor(x), window, stride, padding, ceil_mode=True)
    np.testing.assert_array_equal(largest, flat(theirs))


def test_default_of_count_include_pad(torch: Any, onnx: Any) -> None:
    x = line(2, 4)
    assert flat(xc.avg_pool(x, 2, stride=1, padding=1, **FIRST)).tolist() == [1, 3, 2]
    assert flat(torch.nn.functional.avg_pool1d(torch.tensor(x), 2, 1, 1)).tolist() == [1, 3, 2]
    assert flat(onnx("AveragePool", x, kernel_shape=[2], pads=[1, 1])).tolist() == [2, 3, 4]


def test_ties_torch(torch: Any) -> None:
    x = torch.tensor(line(1, 3, 3, 2), requires_grad=True)
    torch.nn.functional.max_pool1d(x, 3, 1).sum().backward()
    assert flat(x.grad).tolist() == [0, 2, 0, 0]


def test_ties_jax(jax: Any) -> None:
    gradient = jax.grad(lambda x: jax_pool(jax, x, 3).sum())(jax.numpy.asarray(line(1, 3, 3, 2)))
    assert flat(gradient).tolist() == [0, 2, 0, 0]


def test_ties_onnx(onnx: Any) -> None:
    assert flat(onnx("MaxPool", line(1, 3, 3, 2), outputs=2, kernel_shape=[3])[1]).tolist() == [1, 1]


def test_ties() -> None:
    x, dy = line(1, 3, 3, 2), line(1, 1)
    for ties, wanted in (("first", [0, 2, 0, 0]), ("all", [0, 2, 2, 0]), ("split", [0, 1, 1, 0])):
        assert flat(xc.max_pool_vjp(dy, x, 3, stride=1, ties=ties, **FIRST)).tolist() == wanted


NAN = line(1, np.nan, 2, np.nan, 0, 5)


def test_nan() -> None:
    y, indices = xc.max_pool(NAN, 2, return_indices=True, **FIRST)
    assert np.isnan(flat(y)).tolist() == [True, True, False]
    assert flat(indices).tolist() == [1, 3, 5]


def test_nan_torch(torch: Any) -> None:
    y, indices = torch.nn.functional.max_pool1d(torch.tensor(NAN), 2, return_indices=True)
    assert np.isnan(flat(y)).tolist() == [True, True, False]
    assert flat(indices).tolist() == [1, 3, 5]


def test_two_nan_in_a_window_torch(torch: Any) -> None:
    """PyTorch takes the last, for the index and the gradient."""
    x = line(np.nan, 1, np.nan)
    tensor = torch.tensor(x, requires_grad=True)
    y, indices = torch.nn.functional.max_pool1d(tensor, 3, return_indices=True)
    y.sum().backward()
    assert flat(indices).tolist() == [2]
    assert flat(tensor.grad).tolist() == [0, 0, 1]
    assert flat(xc.max_pool(x, 3, return_indices=True, **FIRST)[1]).tolist() == [0]
    assert flat(xc.max_pool_vjp(line(1), x, 3, **FIRST)).tolist() == [1, 0, 0]


def test_nan_jax(jax: Any) -> None:
    assert np.isnan(flat(jax_pool(jax, jax.numpy.asarray(NAN), 2, 2))).tolist() == [True, True, False]


def test_nan_onnx_is_passed_over(onnx: Any) -> None:
    y, indices = onnx("MaxPool", NAN, outputs=2, kernel_shape=[2], strides=[2])
    assert flat(y).tolist() == [1, 2, 5]
    assert flat(indices).tolist() == [0, 2, 5]


def test_a_window_without_a_tap() -> None:
    y, indices = xc.max_pool(line(7, 8), 2, stride=1, padding=1, dilation=3, return_indices=True, **FIRST)
    assert flat(y).tolist() == [-np.inf]
    assert flat(indices).tolist() == [-1]
    assert flat(xc.avg_pool(line(7, 8), 2, stride=1, padding=1, dilation=3, **FIRST)).tolist() == [0]


def test_a_window_without_a_tap_torch(torch: Any) -> None:
    x = torch.tensor(line(7, 8))[..., None]
    y, indices = torch.nn.functional.max_pool2d(x, (2, 1), 1, (1, 0), (3, 1), return_indices=True)
    assert flat(y).tolist() == [-np.inf]
    assert flat(indices).tolist() == [2]  # the image has pixels 0 and 1


def test_a_window_without_a_tap_jax(jax: Any) -> None:
    y = jax_pool(jax, jax.numpy.asarray(line(7, 8)), 2, padding=((0, 0), (0, 0), (1, 1)), dilation=3)
    assert flat(y).tolist() == [-np.inf]


def test_a_window_without_a_tap_onnx(onnx: Any) -> None:
    y, indices = onnx("MaxPool", line(7, 8), outputs=2, kernel_shape=[2], pads=[1, 1], dilations=[3])
    assert flat(y).tolist() == [np.finfo(np.float32).min]
    assert flat(indices).tolist() == [-1]


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_integer_minimum(torch: Any, dtype: str) -> None:
    least = np.iinfo(dtype).min
    x = line(least, least, dtype=dtype)
    y, indices = xc.max_pool(x, 2, stride=1, padding=1, return_indices=True, **FIRST)
    assert flat(y).tolist() == [least] * 3
    assert flat(indices).tolist() == [0, 0, 1]
    found = torch.nn.functional.max_pool2d(torch.tensor(x)[..., None], (2, 1), 1, (1, 0), return_indices=True)
    assert flat(found[0]).tolist() == [least] * 3
    assert flat(found[1]).tolist() == [0, 0, 1]
    with pytest.raises(NotImplementedError):
        torch.nn.functional.max_pool1d(torch.tensor(x), 2)


def test_integers_onnx(onnx: Any) -> None:
    assert flat(onnx("MaxPool", line(-5, -4, -7, dtype="int8"), kernel_shape=[2], pads=[1, 1])).tolist() == [
        -5, -4, -4, -7,
    ]  # fmt: skip
    with pytest.raises(Exception, match="INVALID_GRAPH"):
        onnx("MaxPool", line(1, 2, dtype="int32"), kernel_shape=[2])


KERNELS = [line(1, 10, 100), line(1, 10), line(1, 10, 100, 1000)]


@pytest.mark.parametrize("word", ["same", "same_lower"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("w", KERNELS, ids=lambda w: str(w.size))
def test_same(jax: Any, onnx: Any, w: np.ndarray, stride: int, word: str) -> None:
    x = line(*range(1, 7))
    ours = flat(xc.conv(x, w, stride=stride, padding=word, **FIRST))
    jax_word, onnx_word = ("SAME", "SAME_UPPER") if word == "same" else ("SAME_LOWER", "SAME_LOWER")
    assert ours.tolist() == flat(jax.lax.conv_general_dilated(x, w, (stride,), jax_word)).tolist()
    assert ours.tolist() == flat(onnx("Conv", x, w, auto_pad=onnx_word, strides=[stride])).tolist()


@pytest.mark.parametrize("w", KERNELS, ids=lambda w: str(w.size))
def test_same_torch(torch: Any, w: np.ndarray) -> None:
    """With stride 1 only; an even kernel's odd pixel goes after, as everywhere."""
    x, conv1d = torch.tensor(line(*range(1, 7))), torch.nn.functional.conv1d
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that an even kernel makes a padded copy
        found = conv1d(x, torch.tensor(w), padding="same")
    assert flat(found).tolist() == flat(xc.conv(x.numpy(), w, padding="same", **FIRST)).tolist()
    with pytest.raises(RuntimeError, match="not supported for strided"):
        conv1d(x, torch.tensor(w), stride=2, padding="same")
    with pytest.raises(RuntimeError, match="padding"):
        conv1d(x, torch.tensor(w), padding=(1, 2))


def test_same_with_dilation(jax: Any, onnx: Any) -> None:
    x, w = line(*range(1, 7)), line(1, 10, 100)
    ours = flat(xc.conv(x, w, stride=2, dilation=2, padding="same", **FIRST))
    assert ours.tolist() == flat(jax.lax.conv_general_dilated(x, w, (2,), "SAME", rhs_dilation=(2,))).tolist()
    with pytest.raises(Exception, match="Dilation not supported"):
        onnx("Conv", x, w, auto_pad="SAME_UPPER", strides=[2], dilations=[2])


@pytest.mark.parametrize("word", ["same", "same_lower"])
def test_same_of_a_transposed_convolution(onnx: Any, word: str) -> None:
    x, w = line(*range(1, 7)), line(1, 10, 100)
    found = onnx("ConvTranspose", x, w, auto_pad="SAME_UPPER" if word == "same" else "SAME_LOWER", strides=[2])
    assert flat(found).tolist() == flat(xc.conv_transpose(x, w, stride=2, padding=word, **FIRST)).tolist()


def test_padding_above_half_the_window(torch: Any, jax: Any, onnx: Any) -> None:
    x = line(*range(1, 7))
    ours = flat(xc.max_pool(x, 3, stride=1, padding=2, **FIRST)).tolist()
    assert ours == flat(onnx("MaxPool", x, kernel_shape=[3], pads=[2, 2])).tolist()
    assert ours == flat(jax_pool(jax, jax.numpy.asarray(x), 3, padding=((0, 0), (0, 0), (2, 2)))).tolist()
    for pool in (torch.nn.functional.max_pool1d, torch.nn.functional.avg_pool1d):
        with pytest.raises(RuntimeError, match="at most half"):
            pool(torch.tensor(x), 3, 1, 2)


def test_padding_as_large_as_the_window(jax: Any, onnx: Any) -> None:
    x = line(1, 2)
    with pytest.raises(ValueError, match="smaller than the window's span"):
        xc.max_pool(x, 2, padding=2, **FIRST)
    with pytest.raises(Exception, match="pool_attributes"):
        onnx("MaxPool", x, kernel_shape=[2], pads=[2, 2])
    wide = flat(jax_pool(jax, jax.numpy.asarray(x), 2, padding=((0, 0), (0, 0), (2, 2))))
    assert wide.tolist() == [-np.inf, 1, 2, 2, -np.inf]


def test_float32_settings(torch: Any, jax: Any) -> None:
    """PyTorch lets cuDNN round float32 to TF32 unless told otherwise; JAX leaves it to the platform."""
    assert torch.backends.cudnn.allow_tf32 is True
    assert torch.backends.cuda.matmul.allow_tf32 is False
    assert jax.config.jax_default_matmul_precision is None


def test_integer_convolution(torch: Any, jax: Any, onnx: Any) -> None:
    x, w = line(*range(1, 7), dtype="int32"), line(1, 10, 100, dtype="int32")
    ours = flat(xc.conv(x, w, **FIRST)).tolist()
    assert ours == flat(torch.nn.functional.conv1d(torch.tensor(x), torch.tensor(w))).tolist()
    assert ours == flat(jax.lax.conv_general_dilated(x, w, (1,), "VALID")).tolist()
    with pytest.raises(Exception, match="INVALID_GRAPH"):
        onnx("Conv", x, w)


def test_dilated_max_pooling_has_no_gradient_in_jax(jax: Any) -> None:
    x = line(1, 3, 2, 5)
    with pytest.raises(NotImplementedError, match="window dilation"):
        jax.grad(lambda a: jax_pool(jax, a, 2, dilation=2).sum())(jax.numpy.asarray(x))
    assert flat(xc.max_pool_vjp(line(1, 1), x, 2, stride=1, dilation=2, **FIRST)).tolist() == [0, 0, 1, 1]


@pytest.mark.needs("scipy")
def test_nan_in_a_convolution(torch: Any) -> None:
    """A NaN stays in its windows; SciPy's FFT spreads it over the whole result."""
    from scipy import signal

    x, w = np.ones((8, 8)), np.ones((2, 2))
    x[0, 0] = np.nan
    assert np.isnan(xc.conv(x[None, ..., None], w[..., None, None])).sum() == 1
    theirs = torch.nn.functional.conv2d(torch.tensor(x)[None, None], torch.tensor(w)[None, None])
    assert np.isnan(theirs.numpy()).sum() == 1
    assert np.isnan(signal.convolve(x, w, method="direct")).sum() == 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isnan(signal.convolve(x, w, method="fft")).all()


def test_features_that_the_table_counts_as_run(torch: Any, jax: Any) -> None:
    ones, functional = torch.ones, torch.nn.functional
    assert functional.conv1d(ones(1, 1, 3) + 1j, ones(1, 1, 2) + 1j).dtype == torch.complex64
    assert functional.conv1d(ones(1, 1, 3).half(), ones(1, 1, 2).half()).dtype == torch.float16
    with pytest.raises(ValueError, match="padding mode is supported"):
        torch.nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect")
    for spatial in ((4,), (4, 4, 4)):
        with pytest.raises(RuntimeError):
            functional.unfold(ones(1, 1, *spatial), 2)
    four = jax.lax.conv_general_dilated(np.ones((1, 1, 3, 3, 3, 3)), np.ones((1, 1, 2, 2, 2, 2)), (1,) * 4, "VALID")
    assert four.shape == (1, 1, 2, 2, 2, 2)
    gradient = jax.grad(lambda x: (jax_pool(jax, x, 2) ** 2).sum())
    twice = jax.grad(lambda x: gradient(x).sum())(jax.numpy.asarray(line(1, 3, 2)))
    assert flat(twice).tolist() == [0, 4, 0]


def test_lp_pooling_of_negative_numbers(torch: Any, onnx: Any) -> None:
    """An odd p: ONNX takes absolute values, PyTorch does not."""
    x = line(-1, -3, -3, -2)
    ours = flat(xc.lp_pool(x, 3, 2, **FIRST))
    np.testing.assert_allclose(ours, flat(onnx("LpPool", x, kernel_shape=[2], strides=[2], p=3)), rtol=1e-6)
    assert np.isnan(flat(torch.nn.functional.lp_pool1d(torch.tensor(x), 3, 2))).all()
