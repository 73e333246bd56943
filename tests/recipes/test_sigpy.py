"""The recipe for SigPy: its three functions beside SigPy, and beside the definition on NumPy and on CuPy's stand-in."""

import importlib
import itertools
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests import backends

PAGE = Path(__file__).parents[2] / "docs" / "recipes" / "sigpy.md"

# data, filter, mode, strides, several channels
CASES = [
    ((9,), (4,), "full", None, False),
    ((9,), (4,), "valid", (3,), False),
    ((2, 7, 8), (3, 2), "full", (2, 3), False),
    ((7, 8), (3, 2), "valid", None, False),
    ((3, 7, 8), (4, 3, 3, 2), "full", None, True),
    ((2, 5, 3, 7, 8), (4, 3, 3, 2), "valid", (2, 1), True),
    ((2, 4, 5, 6), (3, 2, 2, 3, 2), "full", (1, 2, 2), True),
]


@pytest.fixture(scope="module")
def recipe() -> SimpleNamespace:
    """Run the page, the example at its end too, and give what it defines."""
    names: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(code, names)
    return SimpleNamespace(**names)


def drawn(shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(-3, 4, shape) + 1j * rng.integers(-3, 4, shape)


def by_loops(data: np.ndarray, filt: np.ndarray, mode: str, strides: Any, several: bool) -> np.ndarray:
    """Add each number of the filter times the data, at its place."""
    rank = filt.ndim - 2 * several
    filt = filt if several else filt[None, None]
    batch = data.shape[: data.ndim - rank - several]
    data = data.reshape(-1, filt.shape[1], *data.shape[data.ndim - rank :])
    sizes, taps = data.shape[2:], filt.shape[2:]
    whole = np.zeros((len(data), len(filt), *(n + k - 1 for n, k in zip(sizes, taps, strict=True))), complex)
    for f, c in np.ndindex(filt.shape[:2]):
        for at in itertools.product(*map(range, taps)):
            place = tuple(slice(i, i + n) for i, n in zip(at, sizes, strict=True))
            whole[(slice(None), f, *place)] += filt[(f, c, *at)] * data[:, c]
    if mode == "valid":
        cuts = (slice(k - 1, n) for k, n in zip(taps, sizes, strict=True))
        whole = whole[(slice(None), slice(None), *cuts)]
    whole = whole[(slice(None), slice(None), *(slice(None, None, s) for s in strides or (1,) * rank))]
    return whole.reshape(*batch, *whole.shape[1 if several else 2 :])


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("backend", ["numpy", "cupy", "torch"])
def test_the_three_functions(recipe: SimpleNamespace, case: Any, backend: str) -> None:
    data_shape, filt_shape, mode, strides, several = case
    data, filt = drawn(data_shape, 0), drawn(filt_shape, 1)
    wanted = by_loops(data, filt, mode, strides, several)
    output = drawn(wanted.shape, 2)
    there = backends.load(backend)
    x, w, dz = map(there.asarray, (data, filt, output))
    options = {"mode": mode, "strides": strides, "multi_channel": several}
    found = there.to_numpy(recipe.convolve(x, w, **options))
    by_data = there.to_numpy(recipe.convolve_data_adjoint(dz, w, data_shape, **options))
    by_filt = there.to_numpy(recipe.convolve_filter_adjoint(dz, x, filt_shape, **options))
    np.testing.assert_array_equal(found, wanted)
    assert (by_data.shape, by_filt.shape) == (data_shape, filt_shape)
    assert np.vdot(wanted, output) == np.vdot(data, by_data) == np.vdot(filt, by_filt)


@pytest.mark.needs("sigpy")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_they_are_sigpys(recipe: SimpleNamespace, case: Any) -> None:
    data_shape, filt_shape, mode, strides, several = case
    data, filt = drawn(data_shape, 0), drawn(filt_shape, 1)
    options = {"mode": mode, "strides": strides, "multi_channel": several}
    theirs = importlib.import_module("sigpy")
    wanted = theirs.convolve(data, filt, **options)
    output = drawn(wanted.shape, 2)
    for name, arguments in (
        ("convolve", (data, filt)),
        ("convolve_data_adjoint", (output, filt, data_shape)),
        ("convolve_filter_adjoint", (output, data, filt_shape)),
    ):
        ours = getattr(recipe, name)(*arguments, **options)
        np.testing.assert_allclose(ours, getattr(theirs, name)(*arguments, **options), rtol=1e-12, atol=1e-11)
