"""Whatever the number of threads, and however small a tile pays: the same bits of every pool and gradient."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.sizes import full
from xpconv._pooling import sweep

CASES: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    "3, stride 1": ((1, 40, 42, 16), 3, {"stride": 1}),
    "3, stride 2, padded": ((3, 41, 40, 8), 3, {"stride": 2, "padding": 1}),
    "5, channels first": ((2, 4, 36, 30), 5, {"stride": 1, "padding": 2, "layout": "channels_first"}),
    "many images": ((9, 20, 21, 8), 3, {"stride": 1, "padding": 1}),
    "apart": ((2, 48, 48, 8), 2, {}),
    "1-d": ((1, 3000, 4), 9, {"stride": 2}),
    "3-d": ((1, 14, 16, 15, 4), 3, {"stride": 1}),
    "dilated": ((2, 30, 31, 5), (4, 3), {"stride": (2, 1), "dilation": 2}),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "max_pool_vjp first": lambda dy, x, window, **kw: xc.max_pool_vjp(dy, x, window, **kw),
    "max_pool_vjp all": lambda dy, x, window, **kw: xc.max_pool_vjp(dy, x, window, ties="all", **kw),
    "max_pool_vjp split": lambda dy, x, window, **kw: xc.max_pool_vjp(dy, x, window, ties="split", **kw),
    "max_pool_vjp known": lambda dy, x, window, **kw: xc.max_pool_vjp(
        dy, x.shape, window, indices=xc.max_pool(x, window, return_indices=True, **kw)[1], **kw
    ),
    "avg_pool": lambda dy, x, window, **kw: xc.avg_pool(x, window, **kw),
    "avg_pool_vjp": lambda dy, x, window, **kw: xc.avg_pool_vjp(dy, x.shape, window, **kw),
    "lp_pool": lambda dy, x, window, **kw: xc.lp_pool(x, 2, window, **kw),
    "lp_pool_vjp": lambda dy, x, window, **kw: xc.lp_pool_vjp(dy, x, 2, window, **kw),
}


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads for little work."""
    monkeypatch.setattr(sweep, "SHARE", 1)
    sweep._cut.cache_clear()
    yield
    sweep._cut.cache_clear()


@pytest.mark.parametrize("mebibytes", full([1, 64], [1]))
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_number_of_threads_changes_no_bit(function: str, name: str, mebibytes: int) -> None:
    shape, window, options = CASES[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, dtype=np.float32)
    dy = rng.standard_normal(xc.max_pool(x, window, **options).shape, dtype=np.float32)
    found = set()
    for threads in (1, 2, 3, 16):
        with xc.set_options(threads=threads, max_workspace=mebibytes << 20):
            found.add(FUNCTIONS[function](dy, x, window, **options).tobytes())
    assert len(found) == 1
