"""What all bounds promise alike: layouts, dtypes, arguments left alone, what is not finite, errors."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.bounds.test_bias_grad import db
from tests.oracle.longdouble import ratio, wide
from xpconv import bounds


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_layouts(layout: str) -> None:
    """Both give the same bound."""
    rng = np.random.default_rng(0)
    x, dy, w = (rng.standard_normal(s).astype(np.float32) for s in ((2, 12, 11, 4), (2, 10, 9, 4), (3, 3, 5, 4)))
    move = (lambda a: a) if layout == "channels_last" else (lambda a: np.ascontiguousarray(np.moveaxis(a, -1, 1)))
    back = (lambda a: a) if layout == "channels_last" else (lambda a: np.moveaxis(a, 1, -1))
    kernel = w if layout == "channels_last" else np.ascontiguousarray(w.transpose(3, 2, 0, 1))
    given: dict[str, Any] = {"stride": 1, "layout": layout}
    for got, wanted in (
        (bounds.conv_bias_grad_error_bound(move(x), layout=layout), bounds.conv_bias_grad_error_bound(x)),
        (back(bounds.conv_transpose_error_bound(move(x), kernel, **given)), bounds.conv_transpose_error_bound(x, w)),
        (
            back(bounds.max_pool_vjp_error_bound(move(dy), move(x), 3, **given)),
            bounds.max_pool_vjp_error_bound(dy, x, 3, stride=1),
        ),
        (
            back(bounds.avg_pool_vjp_error_bound(move(dy), move(x).shape, 3, **given)),
            bounds.avg_pool_vjp_error_bound(dy, x.shape, 3, stride=1),
        ),
        (back(bounds.avg_pool_error_bound(move(x), 3, **given)), bounds.avg_pool_error_bound(x, 3, stride=1)),
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-3)


def test_arguments_are_left_alone() -> None:
    """Absolute values are taken of copies."""
    x, dy = -np.ones((1, 8, 8, 2), np.float32), -np.ones((1, 4, 4, 2), np.float32)
    for array in (x, dy):
        array.flags.writeable = False
    bounds.max_pool_vjp_error_bound(dy, x, 2)
    bounds.avg_pool_error_bound(x, 2)
    bounds.avg_pool_vjp_error_bound(dy, x.shape, 2)
    bounds.conv_bias_grad_error_bound(x)


def test_bfloat16() -> None:
    """Bounds are float32, as the sums are."""
    import ml_dtypes

    x = np.random.default_rng(0).standard_normal((1, 9, 9, 3)).astype(ml_dtypes.bfloat16)
    dy = x[:, :7, :7]
    near = x.astype(np.float32)
    for got, exact, bound in (
        (xc.avg_pool(x, 3, stride=1), xc.avg_pool(near, 3, stride=1), bounds.avg_pool_error_bound(x, 3, stride=1)),
        (
            xc.avg_pool_vjp(dy, x.shape, 3, stride=1),
            xc.avg_pool_vjp(dy.astype(np.float32), x.shape, 3, stride=1),
            bounds.avg_pool_vjp_error_bound(dy, x.shape, 3, stride=1),
        ),
        (
            xc.max_pool_vjp(dy, x, 3, stride=1),
            xc.max_pool_vjp(dy.astype(np.float32), near, 3, stride=1),
            bounds.max_pool_vjp_error_bound(dy, x, 3, stride=1),
        ),
        (db(x), near.sum(axis=(0, 1, 2)), bounds.conv_bias_grad_error_bound(x)),
    ):
        assert bound.dtype == np.float32
        assert 0.001 < ratio(got.astype(np.float32), wide(exact), bound) <= 1


def test_integers_and_empty_batches() -> None:
    x, dy = np.ones((1, 4, 4, 2), np.int32), np.ones((1, 2, 2, 2), np.int32)
    assert not bounds.max_pool_vjp_error_bound(dy, x, 2).any()
    assert not bounds.conv_bias_grad_error_bound(x).any()
    assert not bounds.conv_transpose_error_bound(x, np.ones((2, 2, 3, 2), np.int32)).any()
    for call in (
        lambda: bounds.max_pool_vjp_error_bound(dy, x, 2, ties="split"),
        lambda: bounds.avg_pool_vjp_error_bound(dy, x.shape, 2),
    ):
        with pytest.raises(TypeError, match="average of integers"):
            call()
    none, few = np.ones((0, 4, 4, 2), np.float16), np.ones((0, 2, 2, 2), np.float16)
    for found in (
        bounds.max_pool_vjp_error_bound(few, none, 2),
        bounds.avg_pool_error_bound(few, 1),
        bounds.avg_pool_vjp_error_bound(few, none.shape, 2),
        bounds.conv_bias_grad_error_bound(none),
        bounds.conv_transpose_error_bound(few, np.ones((1, 1, 3, 2), np.float16)),
    ):
        assert found.dtype == np.float32
        assert not found.any()


def test_what_is_not_finite_has_no_bound() -> None:
    """Infinity where a result is not finite, and only there."""
    dy = np.ones((1, 6, 6, 2), np.float32)
    dy[0, 2, 2, 1] = np.nan
    x = np.arange(72, dtype=np.float32).reshape(dy.shape)
    for found in (
        bounds.max_pool_vjp_error_bound(dy, x, 1),
        bounds.avg_pool_vjp_error_bound(dy, dy.shape, 1),
        bounds.avg_pool_error_bound(dy, 1),
        bounds.conv_transpose_error_bound(dy, np.eye(2, dtype=np.float32)[None, None]),
    ):
        assert np.isinf(found[0, 2, 2]).any()
        assert np.isinf(found).sum() <= 2
        assert not np.isnan(found).any()
    assert list(np.isinf(bounds.conv_bias_grad_error_bound(dy))) == [False, True]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: bounds.conv_bias_grad_error_bound(x[0, 0]), "dz.shape has 2 axes"),
        (lambda x: bounds.conv_bias_grad_error_bound(x, layout="NHWC"), "layout is one of"),
        (lambda x: bounds.max_pool_vjp_error_bound(x, x, 2), "dy has the shape of the output"),
        (lambda x: bounds.max_pool_vjp_error_bound(x, x, 1, ties="last"), "ties is one of"),
        (lambda x: bounds.avg_pool_vjp_error_bound(x, x.shape, 2), "dy has the shape of the output"),
        (lambda x: bounds.lp_pool_error_bound(x, 0, 2), "p is a number above 0"),
        (lambda x: bounds.conv_transpose_error_bound(x, np.ones((2, 2, 1, 3), np.float32)), "3 input channels"),
        (lambda x: bounds.conv_transpose_error_bound(x, np.ones((2, 2, 1, 2), np.float32), x[0, 0]), "b has the shape"),
    ],
)
def test_errors_name_the_function(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=rf"^\w+_error_bound: .*{text}"):
        call(np.ones((1, 4, 4, 2), np.float32))
