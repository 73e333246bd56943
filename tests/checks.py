"""How a result is judged here: its kind, then its values, by the package's judge and one tolerance.

`test_checkers` shows that each can fail.
"""

from typing import Any

import array_api_compat
import numpy as np

from tests.backends import Array, Backend
from xpconv.testing import assert_exact, assert_within_bound
from xpconv.verify.catalogue.dtypes import wrap

# unit roundoff of the arithmetic that sums are done in: float16 is accumulated in float32
ACCUMULATION = {
    "float16": 2.0**-24,
    "float32": 2.0**-24,
    "float64": 2.0**-53,
    "complex64": 2.0**-24,
    "complex128": 2.0**-53,
}
ORACLE = 2.0**-53


def gamma(terms: int, unit: float) -> float:
    """Bound on the relative error of `terms` roundings in a row: n u / (1 - n u)."""
    return terms * unit / (1 - terms * unit)


def tolerance(magnitude: np.ndarray, terms: int, dtype: str) -> np.ndarray:
    """Bound elementwise abs(computed - oracle) of sums of at most `terms` products.

    Each product is rounded once, and then once more in each addition that it passes through. In whatever order,
    blocks or partial sums K terms are added, that is at most K - 1 additions. So each product a_i b_i carries at most
    K roundings, a factor within 1 ± γ_K, and the error of the sum is at most γ_K Σ abs(a_i b_i): γ_K times the same
    operation on absolute values, the `magnitude`. (Higham, Accuracy and Stability, section 3.1. A fused
    multiply-add leaves out a rounding; a bias is one more term, a division one more rounding.)

    The oracle works the same way in float64, so its own γ_K joins. Complex products are two real ones, so there are
    2 K terms for either part, and the magnitude is that of abs(Re) + abs(Im). A float16 result is rounded once more
    from float32: u₁₆ times its size, which the magnitude and its error bound, plus half a subnormal step.
    """
    if np.dtype(dtype).kind == "c":
        terms *= 2
    unit = ACCUMULATION[dtype]
    bound = (gamma(terms, unit) + gamma(terms, ORACLE)) * magnitude
    if dtype == "float16":
        bound = bound + 2.0**-11 * (magnitude + bound) + 2.0**-25
    return bound


def demand_kind(backend: Backend, array: Array, dtype: str, shape: tuple[int, ...]) -> None:
    """Demand an array of the backend's own namespace, class and device, of that dtype and shape."""
    __tracebackhide__ = True
    model = backend.asarray(np.zeros(1, np.float32))
    assert array_api_compat.is_array_api_obj(array), f"{type(array).__name__} is not an array"
    namespace = array_api_compat.array_namespace(array)
    assert namespace is backend.xp, f"namespace {namespace.__name__}, wanted {backend.xp.__name__}"
    assert type(array) is type(model), f"class {type(array).__name__}, wanted {type(model).__name__}"
    wanted = getattr(backend.xp, dtype, np.dtype(dtype))
    assert array.dtype == wanted, f"dtype {array.dtype}, wanted {dtype}"
    assert tuple(array.shape) == tuple(shape), f"shape {tuple(array.shape)}, wanted {tuple(shape)}"
    device = array_api_compat.device(array)
    assert device == backend.device, f"device {device}, wanted {backend.device}"
    if isinstance(array, np.ndarray):
        assert array.flags.writeable, "a result that cannot be written"


def demand_same(got: np.ndarray, expected: Any) -> None:
    """Demand equality, element by element; NaN equals NaN. Expected integers wrap as the result's dtype does."""
    __tracebackhide__ = True
    expected = np.asarray(expected)
    assert_exact(got, wrap(expected, got.dtype.name) if got.dtype.kind in "iu" else expected.astype(_wide(got)))


def demand_close(got: np.ndarray, expected: np.ndarray, bound: np.ndarray) -> None:
    """Demand abs(got - expected) <= bound, element by element, in the real and in the imaginary part."""
    __tracebackhide__ = True
    assert np.isfinite(expected).all(), "the oracle's result is not finite"
    got = got.astype(_wide(got))
    assert_within_bound(got.real, expected.real, bound)
    assert_within_bound(got.imag, expected.imag, bound)


def _wide(array: np.ndarray) -> np.dtype:
    return np.result_type(array.dtype, np.float64)


def demand(
    backend: Backend,
    array: Array,
    expected: Any,
    dtype: str = "float32",
    magnitude: np.ndarray | None = None,
    terms: int = 0,
) -> None:
    """Check the kind of a result, then its values: exactly, or within the tolerance of its magnitude and terms."""
    __tracebackhide__ = True
    expected = np.asarray(expected)
    demand_kind(backend, array, dtype, expected.shape)
    if magnitude is None:
        demand_same(backend.to_numpy(array), expected)
    else:
        demand_close(backend.to_numpy(array), expected, tolerance(magnitude, terms, dtype))
