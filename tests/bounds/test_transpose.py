"""The bound of the transposed convolution: never exceeded, never idle; its gradients are covered by others."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.backends import Backend
from tests.bounds.data import COMPLEX, DATA, LIBRARIES, REAL, demand_bounds, demand_bounds_elsewhere, draw, tried
from tests.memory import beside, held, lessened
from tests.oracle.longdouble import ratio, transposed, wide
from tests.sizes import compiles, full_on
from tests.work.test_workspace_operations import TRANSPOSES
from xpconv import bounds

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "stride 2": ((2, 15, 13, 8), (3, 3, 6, 8), {"stride": 2, "padding": 1, "output_padding": 1}),
    "stride beyond the kernel": ((1, 12, 12, 6), (2, 2, 5, 6), {"stride": 3, "output_padding": 2}),
    "dilated, groups": ((1, 16, 15, 8), (3, 3, 2, 8), {"dilation": 2, "groups": 2, "padding": 2}),
    "1-d": ((2, 80, 16), (9, 4, 16), {"stride": 2}),
    "stride 1": ((1, 24, 24, 16), (3, 3, 16, 16), {"padding": 1}),
}


def attack_transpose(data: Any, dtype: str, backend: Backend | None = None) -> dict[Any, float]:
    found = {}
    for place, (name, (x_shape, w_shape, options)) in enumerate(LAYERS.items()):
        if not full_on(backend) and (place + (0 if compiles(backend) else DATA.index(data))) % 2:
            continue  # in a normal run layers and kinds of data take turns, or there is half of the layers
        filters = w_shape[-2] * options.get("groups", 1)
        x, w = draw(data, x_shape, "x", dtype), draw(data, w_shape, "w", dtype, 1)
        bias = (draw(data, (1, filters), "dz", dtype, 2)[0] * draw(data, (1, 1), "w", dtype)[0, 0]).astype(dtype)
        for b in (None, bias):
            arrays = [x, w] if b is None else [x, w, b]
            out = xc.conv_transpose(*arrays, **options).shape[1:-1]
            exact = transposed(x, w, b, out, **options)
            found[name, b is None] = tried(
                xc.conv_transpose, bounds.conv_transpose_error_bound, exact, arrays, backend=backend, **options
            )
    return found


@pytest.mark.parametrize("dtype", [*REAL, *COMPLEX])
def test_every_kind_of_data(dtype: str) -> None:
    demand_bounds(attack_transpose, "conv_transpose", dtype)


@pytest.mark.parametrize("backend", LIBRARIES, indirect=True)
def test_other_libraries(backend: Backend) -> None:
    demand_bounds_elsewhere(attack_transpose, backend)


@held(TRANSPOSES, [(64, 2), (2, 8)])
def test_they_stay_in_the_workspace(ceiling: int, name: str) -> None:
    x_shape, w_shape, options = TRANSPOSES[name]
    x_shape = lessened(x_shape, ceiling, options.get("layout", "channels_last"))
    x, w = np.ones(x_shape, np.float32), np.ones(w_shape, np.float32)
    assert beside(lambda: bounds.conv_transpose_error_bound(x, w, **options)) <= ceiling


def test_the_gradients_of_a_transposed_convolution() -> None:
    """They are a convolution and its weight gradient, whose bounds serve."""
    rng = np.random.default_rng(0)
    x, w = (rng.uniform(1, 2, s).astype(np.float32) for s in ((2, 15, 13, 8), (3, 3, 6, 8)))
    options = {"stride": 2, "padding": 1, "dilation": (1, 2)}
    dz = rng.uniform(1, 2, xc.conv_transpose(x, w, **options).shape).astype(np.float32)
    dx, dw, _ = xc.conv_transpose_vjp(dz, x, w, **options)
    exact = xc.conv_transpose_vjp(*(array.astype(np.float64) for array in (dz, x, w)), **options)
    assert 0.001 < ratio(dx, wide(exact[0]), xc.error_bound(dz, w, **options)) <= 1
    assert 0.001 < ratio(dw, wide(exact[1]), bounds.conv_weight_grad_error_bound(x, dz, w.shape, **options)) <= 1
