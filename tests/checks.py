"""How a result is judged: its kind, then its values, by one tolerance. `test_checkers` shows that each can fail."""

from typing import Any

import array_api_compat
import numpy as np

from tests.backends import Array, Backend

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
    if got.dtype.kind in "iu":
        modulus = 1 << (8 * got.dtype.itemsize)
        expected = np.vectorize(lambda v: int(v) % modulus, otypes=[object])(expected)
        got = np.vectorize(lambda v: int(v) % modulus, otypes=[object])(got)
        wrong = got != expected
    else:
        expected = expected.astype(np.result_type(got.dtype, np.float64))
        wrong = ~((got == expected) | ((got != got) & (expected != expected)))
    _demand_none(np.asarray(wrong, bool), got, expected, None)


def demand_close(got: np.ndarray, expected: np.ndarray, bound: np.ndarray) -> None:
    """Demand abs(got - expected) <= bound, element by element, in the real and in the imaginary part."""
    __tracebackhide__ = True
    assert np.isfinite(expected).all(), "the oracle's result is not finite"
    wide = got.astype(np.complex128 if got.dtype.kind == "c" else np.float64)
    error = np.maximum(abs((wide - expected).real), abs((wide - expected).imag))
    _demand_none(~(error <= bound), got, expected, bound)  # a NaN is not within a bound


def _demand_none(wrong: np.ndarray, got: np.ndarray, expected: np.ndarray, bound: np.ndarray | None) -> None:
    __tracebackhide__ = True
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        within = "" if bound is None else f" within {np.broadcast_to(bound, got.shape)[place]}"
        raise AssertionError(
            f"{int(wrong.sum())} of {wrong.size} elements are wrong; at {place} got {got[place]}, "
            f"expected {expected[place]}{within}"
        )


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


def inner(a: Any, b: Any) -> int:
    """Inner product of two arrays of whole numbers, in exact integers."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
    whole_a, whole_b = a.astype(np.int64), b.astype(np.int64)
    assert (whole_a == a).all(), "not whole numbers"
    assert (whole_b == b).all(), "not whole numbers"
    # no partial sum can overflow: the largest product times the number of terms is checked with Python's integers
    assert int(abs(whole_a).max(initial=0)) * int(abs(whole_b).max(initial=0)) * a.size < 2**63, "could overflow"
    return int(np.vdot(whole_a.ravel(), whole_b.ravel()))


def demand_adjoint(z: Any, dz: Any, *pairs: tuple[Any, Any]) -> None:
    """Demand ⟨z, dz⟩ = ⟨a, da⟩ for every (a, da): what makes da the gradient of a linear map, without a step size."""
    __tracebackhide__ = True
    forward = inner(z, dz)
    assert forward, "the inner product is 0, which proves nothing"
    for number, (a, da) in enumerate(pairs):
        backward = inner(a, da)
        assert backward == forward, f"pair {number}: ⟨a, da⟩ = {backward}, but ⟨z, dz⟩ = {forward}"
