"""Judge results of any array library: exactly, within an elementwise bound, or by an adjoint identity.

For the tests of code that computes with NumPy, CuPy, PyTorch, JAX, Dask or array-api-strict. Arrays of any of them (or
nested lists of numbers) go in and are copied to the host; what fails raises `Mismatch`, an AssertionError that
says where, what was expected and what was got.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from xpconv._shapes.keywords import keywords
from xpconv._tools import guises as _guises
from xpconv._tools import libraries as _libraries
from xpconv._tools.guises import Guise
from xpconv._tools.libraries import Library, LibraryError

__all__ = [
    "Guise",
    "Library",
    "Mismatch",
    "assert_adjoint",
    "assert_exact",
    "assert_within_bound",
    "backends",
    "guises",
    "max_ratio",
]

Array = Any
Host = np.ndarray[Any, Any]


class Mismatch(AssertionError):
    """A result is not what it should be.

    Attributes
    ----------
    what : str
        What is wrong, and where.
    expected, got : object
        The worst element as it should be and as it is; or shapes, or inner products.
    index : tuple of int or None
        Where the worst element is; None if it is not about one.
    ratio : float
        Its error over its bound; infinite where nothing else can be said.

    """

    def __init__(
        self,
        what: str,
        expected: object,
        got: object,
        index: tuple[int, ...] | None = None,
        ratio: float = float("inf"),
    ) -> None:
        super().__init__(f"{what}: expected {expected}, got {got}")
        self.what, self.expected, self.got, self.index, self.ratio = what, expected, got, index, ratio


def backends() -> dict[str, Library]:
    """Find the array libraries that work on this machine, by name, NumPy first.

    Returns
    -------
    dict of str to Library
        A `Library` has `asarray` (copies a NumPy array to its device), `to_numpy` (copies back), `xp` (the namespace),
        `device_name` and `version`. A library that is installed but has no device, as CuPy without a GPU, is left out.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.testing import backends
    >>> for name, library in backends().items():
    ...     x = library.asarray(np.ones((1, 4, 4, 1), np.float32))
    ...     assert library.to_numpy(x).sum() == 16, name

    """
    return {library.name: library for library in _libraries.found()}


def guises() -> dict[str, Guise]:
    """Find the same libraries in the guises that show mistakes, by name, NumPy first.

    Returns
    -------
    dict of str to Guise
        `backends`, and beside them ``"numpy-readonly"``, whose arrays cannot be written, and with array-api-strict
        ``"strict-device1"``, a device that is not the default, so that a forgotten ``device=`` fails without a GPU.
        A `Guise` is a `Library` that also has the attributes of its namespace. The fixture ``xp`` goes over these.

    Examples
    --------
    >>> from xpconv.testing import guises
    >>> for name, xp in guises().items():
    ...     x = xp.asarray([1, 2, 3], xp.float32)
    ...     assert xp.to_numpy(xp.sum(x)) == 6, name

    """
    found = {}
    for name in _guises.names():
        try:
            found[name] = _guises.guise(name)
        except LibraryError:
            continue
    return found


@keywords
def max_ratio(actual: Array, expected: Array, bound: Array) -> float:
    """Find the largest of ``abs(actual - expected) / bound``, elementwise; 1 or less means within the bound.

    Parameters
    ----------
    actual : array
        The result, of any known library.
    expected : array
        What it should be, in a precision high enough for its own error not to matter; of the same shape.
    bound : array or float
        The largest error allowed for each element; broadcasts.

    Returns
    -------
    float
        0 for empty arrays. No error over a bound of 0 counts as 0, any other as infinity. A NaN or an infinity that
        is expected and found has no error; one that is not has an infinite one.

    Raises
    ------
    Mismatch
        The shapes differ.
    ValueError
        A bound is negative or NaN.

    Examples
    --------
    >>> from xpconv.testing import max_ratio
    >>> max_ratio([1.0, 2.25], [1.0, 2.0], 0.5)
    0.5

    """
    ratios = _ratios(*_pair(actual, expected), bound)
    return float(np.max(ratios, initial=0.0))


@keywords
def assert_within_bound(actual: Array, expected: Array, bound: Array) -> None:
    """Demand ``abs(actual - expected) <= bound`` of every element.

    Parameters
    ----------
    actual, expected, bound
        As for `max_ratio`. `xpconv.error_bound` gives such a bound for a convolution.

    Raises
    ------
    Mismatch
        An element is off by more than its bound, or the shapes differ.
    ValueError
        A bound is negative or NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> from xpconv.testing import assert_within_bound
    >>> x, w = np.full((1, 5, 5, 3), 0.1, np.float32), np.full((3, 3, 3, 2), 0.1, np.float32)
    >>> exactly = xc.conv(x.astype(np.float64), w.astype(np.float64))
    >>> assert_within_bound(xc.conv(x, w), exactly, xc.error_bound(x, w))
    >>> assert_within_bound(xc.conv(x, w) * np.float32(1.001), exactly, xc.error_bound(x, w))
    Traceback (most recent call last):
    ...
    xpconv.testing.Mismatch: 18 of 18 elements are off by more than their bound, the worst at (0, 0, 0, 0) by ...

    """
    got, wanted = _pair(actual, expected)
    ratios = _ratios(got, wanted, bound)
    wrong = ~(ratios <= 1)
    if wrong.any():
        index = _place(ratios)
        ratio = float(ratios[index])
        what = (
            f"{np.count_nonzero(wrong)} of {wrong.size} elements are off by more than their bound, "
            f"the worst at {index} by {ratio:.3g} times its bound"
        )
        raise Mismatch(what, wanted[index], got[index], index, ratio)


@keywords
def assert_exact(actual: Array, expected: Array) -> None:
    """Demand that every element is equal; NaN equals NaN, and 0 equals -0.

    Parameters
    ----------
    actual : array
        The result, of any known library.
    expected : array
        What it should be, of the same shape. The dtypes may differ: numbers are compared, not bits.

    Raises
    ------
    Mismatch
        An element differs, or the shapes do.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> from xpconv.testing import assert_exact
    >>> x = np.arange(5.0).reshape(1, 5, 1)
    >>> assert_exact(xc.conv(x, np.ones((2, 1, 1))), np.array([1, 3, 5, 7]).reshape(1, 4, 1))

    """
    got, wanted = _pair(actual, expected)
    wrong = np.asarray(~_equal(got, wanted), bool)
    if wrong.any():
        index = _place(wrong)
        what = f"{np.count_nonzero(wrong)} of {wrong.size} elements differ, the first at {index}"
        raise Mismatch(what, wanted[index], got[index], index)


def assert_adjoint(output: Array, output_grad: Array, *pairs: tuple[Array, Array], tolerance: float = 0.0) -> None:
    """Demand <output, output_grad> = <a, a_grad> for every pair (a, a_grad): that the gradients belong to a linear map.

    For a map that is linear in each of its arguments a, with ``output = f(a, …)``, this holds of the true gradients
    whatever `output_grad` is; of complex arrays it is the real part of the inner products. It needs no step size, and
    with whole numbers it holds exactly.

    Parameters
    ----------
    output, output_grad : array
        The result and the gradient with respect to it, of the same shape.
    *pairs : (array, array)
        An argument and the gradient with respect to it, of the same shape.
    tolerance : float
        The largest difference allowed (0). The inner products themselves are exact, whatever the dtype.

    Raises
    ------
    Mismatch
        An inner product differs; or that of the output is 0, which proves nothing; or something is not finite; or
        shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> from xpconv.testing import assert_adjoint
    >>> x, w, dz = np.arange(1.0, 6).reshape(1, 5, 1), np.arange(1.0, 4).reshape(3, 1, 1), np.ones((1, 3, 1))
    >>> dx, dw, db = xc.conv_vjp(dz, x, w)
    >>> assert_adjoint(xc.conv(x, w), dz, (x, dx), (w, dw))

    """
    forward = _inner("the output and its gradient", output, output_grad)
    if forward == 0:
        raise Mismatch("the inner product of the output and its gradient proves nothing", "not 0", 0)
    for number, (argument, gradient) in enumerate(pairs):
        found = _inner(f"pair {number}", argument, gradient)
        if abs(found - forward) > Fraction(tolerance):
            what = f"pair {number} is not adjoint: <argument, gradient> is not <output, output_grad>"
            raise Mismatch(what, _show(forward), _show(found))


# --- how -------------------------------------------------------------------------------------------


def _host(array: Array) -> Host:
    if isinstance(array, (np.ndarray, np.generic, int, float, complex, list, tuple)):
        return np.asarray(array)
    return _libraries.of(array).to_numpy(array)


def _pair(actual: Array, expected: Array) -> tuple[Host, Host]:
    got, wanted = _host(actual), _host(expected)
    if got.shape != wanted.shape:
        raise Mismatch("the shapes differ", wanted.shape, got.shape)
    return got, wanted


def _equal(got: Host, wanted: Host) -> Any:
    kinds = {got.dtype.kind, wanted.dtype.kind}
    if kinds & set("iu") and len(kinds) > 1:
        # 2**53 + 1 as an integer is not 2**53 as a float; Python compares them exactly
        return np.asarray(got.astype(object) == wanted.astype(object), bool)
    return (got == wanted) | ((got != got) & (wanted != wanted))


def _ratios(got: Host, wanted: Host, bound: Array) -> Host:
    limits = _host(bound).astype(np.float64)
    if not (limits >= 0).all():
        raise ValueError("max_ratio: the bound is a number from 0 up for every element; got a negative one or NaN")
    kinds = got.dtype.kind + wanted.dtype.kind
    # Python's integers, because neighbouring int64 may be one float64
    wide: Any = object if set(kinds) <= set("iu") else np.complex128 if "c" in kinds else np.float64
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        errors = np.abs(got.astype(wide) - wanted.astype(wide)).astype(np.float64)
        errors = np.where(_equal(got, wanted), 0.0, np.where(np.isnan(errors), np.inf, errors))
        ratios = np.where(errors == 0, 0.0, errors / limits)
    return np.where(np.isnan(ratios), np.inf, ratios)


def _place(values: Host) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(values)), values.shape))


def _inner(what: str, a: Array, b: Array) -> Fraction:
    first, second = _host(a), _host(b)
    if first.shape != second.shape:
        raise Mismatch(f"{what} differ in shape", first.shape, second.shape)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise Mismatch(f"{what} are not finite", "finite numbers", "a NaN or an infinity")
    x, y = _parts(first), _parts(second)
    # no product of whole numbers and no partial sum leaves int64 where the largest product times their number does not
    largest = [max(float(np.max(np.abs(array.astype(np.float64)), initial=0)), 1.0) for array in (x, y)]
    if largest[0] * largest[1] * x.size < 2**62 and all((array == np.round(array)).all() for array in (x, y)):
        return Fraction(int(np.dot(x.astype(np.int64), y.astype(np.int64))))
    return sum((Fraction(p) * Fraction(q) for p, q in zip(x.tolist(), y.tolist(), strict=True)), Fraction())


def _parts(array: Host) -> Host:
    """Flatten real numbers; complex ones become pairs, whose inner product is the real part of the complex one."""
    flat = array.ravel()
    return np.stack([flat.real, flat.imag]).ravel() if flat.dtype.kind == "c" else flat


def _show(number: Fraction) -> str:
    return str(number) if number.denominator == 1 else repr(float(number))
