"""Several outputs in a row of the product, group by group: how many, the same whole numbers as gemm, and NaN."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from xpconv._shapes import read
from xpconv.algorithms.toeplitz import outputs

CASES = [
    ((2, 9, 12, 16), (3, 3, 4, 16), 4, 1),  # rows of whole outputs
    ((1, 10, 11, 8), (3, 3, 2, 12), 4, 1),  # a ragged end, other filters than channels
    ((2, 23, 8), (5, 4, 8), 2, 2),  # one axis, at a stride
    ((1, 5, 6, 9, 8), (2, 3, 3, 4, 8), 2, 1),  # three axes
]


def whole(*shape: int) -> Any:
    return np.random.default_rng(shape).integers(-4, 5, shape).astype("float32")


@pytest.mark.parametrize(("x_shape", "w_shape", "groups", "stride"), CASES)
def test_groups(x_shape: tuple[int, ...], w_shape: tuple[int, ...], groups: int, stride: int) -> None:
    options: dict[str, Any] = {"padding": 1, "groups": groups, "stride": stride}
    geometry = read.conv("conv", x_shape, w_shape, read.Windowing(**options))
    assert outputs(geometry) > 1
    x, w, b = whole(*x_shape), whole(*w_shape), whole(w_shape[-1])
    dz = whole(*geometry.output_shape)
    for of in (
        lambda name: (xc.conv(x, w, b, algorithm=name, **options),),
        lambda name: xc.conv_vjp(dz, x, w, algorithm=name, **options),
    ):
        for found, wanted in zip(of("toeplitz"), of("gemm"), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_what_is_not_finite_stays_in_its_group() -> None:
    x, w = whole(2, 12, 14, 8), whole(3, 3, 2, 8)
    x[0, 3, 4, 1], x[1, 11, 13, 5] = np.nan, np.inf
    with np.errstate(all="ignore"):
        found, wanted = (xc.conv(x, w, padding=1, groups=4, algorithm=name) for name in ("toeplitz", "gemm"))
    np.testing.assert_array_equal(found, wanted)
    assert np.isnan(wanted[0, 3, 4, :2]).any()
    assert np.isfinite(found[..., 2:4]).all()


def test_outputs_in_a_row_follow_from_a_group_alone() -> None:
    """Blocks of groups, which are taken apart, have the matrices of the whole."""
    counts = {
        outputs(read.conv("conv", (1, 20, 24, 4 * g), (3, 3, 4, 4 * g), read.Windowing(groups=g))) for g in (2, 3, 32)
    }
    assert len(counts) == 1
