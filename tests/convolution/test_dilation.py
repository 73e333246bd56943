"""Wide dilations: windows that span far more pixels than they read."""

import numpy as np
import pytest

import xpconv as xc
from tests.memory import MIB, beside
from tests.oracle import by_slices


def whole(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float32)


@pytest.mark.parametrize("dilation", [12, 36])
def test_a_layer_as_segmentation_networks_have_it(dilation: int) -> None:
    """A padded copy of what one row of windows spans would be larger than the workspace."""
    x, w = whole((1, 33, 33, 512), 0), whole((3, 3, 512, 16), 1)
    options = {"padding": dilation, "dilation": dilation}
    dz = whole((1, 33, 33, 16), 2)
    with xc.set_options(max_workspace=8 * MIB):
        assert "direct" in str(xc.explain(x.shape, w.shape, **options))
        z, (dx, dw, _) = xc.conv(x, w, **options), xc.conv_vjp(dz, x, w, **options)
        assert beside(lambda: xc.conv(x, w, **options)) <= 8 * MIB
        assert beside(lambda: xc.conv_vjp(dz, x, w, **options)) <= 8 * MIB
    for got, expected in zip((z, dx, dw), by_slices.conv(dz, x, w, **options), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("stride", [1, (1, 2), 3])
@pytest.mark.parametrize("padding", [0, 6, "same", ((9, 1), (0, 7))])
def test_taps_read_one_by_one(padding: object, stride: object, groups: int) -> None:
    options = {"padding": padding, "stride": stride, "dilation": (6, 3), "groups": groups}
    x, w = whole((2, 17, 15, 6), 0), whole((3, 2, 6 // groups, 6), 1)
    z = xc.conv(x, w, algorithm="gemm", **options)
    np.testing.assert_array_equal(xc.conv(x, w, algorithm="direct", **options), z)
    one, other = (xc.conv_vjp(z, x, w, algorithm=name, **options) for name in ("direct", "gemm"))
    for got, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(got, expected)
