"""Depthwise sums by `einsum`: however many windows of a row go side by side, the sums are the same."""

import numpy as np
import pytest

from xpconv._arrays.views import numpy_windows
from xpconv._work import fused


@pytest.fixture(params=[(8192, 1 << 17), (24, 1 << 17), (8192, 40), (1, 1)], ids=["row", "some", "few weights", "one"])
def merged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a whole row go side by side, some windows, or one."""
    monkeypatch.setattr(fused, "LONGEST", request.param[0])
    monkeypatch.setattr(fused, "MOST_WEIGHTS", request.param[1])
    fused.neighbours.cache_clear()


CASES = [
    ((2, 8, 10, 4), (3, 3), (6, 8), (1, 1), (1, 1)),
    ((2, 9, 17, 4), (3, 3), (4, 8), (2, 2), (1, 1)),
    ((1, 8, 12, 3), (2, 3), (7, 8), (1, 1), (1, 2)),
    ((2, 12, 4), (5,), (8,), (1,), (1,)),
    ((1, 5, 6, 7, 2), (2, 3, 2), (4, 4, 6), (1, 1, 1), (1, 1, 1)),
]


@pytest.mark.usefixtures("merged")
@pytest.mark.parametrize(("shape", "kernel", "output", "stride", "dilation"), CASES)
def test_sums_and_their_gradient(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    output: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> None:
    generator, rank, channels = np.random.default_rng(7), len(kernel), shape[-1]
    x, w = generator.standard_normal(shape), generator.standard_normal((*kernel, channels))
    dz = generator.standard_normal((shape[0], *output, channels))
    windows = numpy_windows(x, kernel, output, stride, dilation)
    places, taps = tuple(range(rank + 1)), tuple(range(rank + 1, 2 * rank + 1))
    for weight in (w, w[(slice(None, None, -1),) * rank]):
        found = np.empty_like(dz)
        fused.window_products(x, weight, output, stride, dilation, found)
        np.testing.assert_allclose(found, (windows * weight).sum(axis=taps), atol=1e-12)
    gradient = np.empty_like(w)
    fused.window_products_grad(x, dz, stride, dilation, gradient)
    spread = dz.reshape((*dz.shape[:-1], *(1,) * rank, channels))
    np.testing.assert_allclose(gradient, (windows * spread).sum(axis=places), atol=1e-12)
