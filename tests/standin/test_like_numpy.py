"""The stand-in's numbers, shapes and dtypes are NumPy's, wherever CuPy's are: the same expressions in both."""

import importlib
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.every import every

Expression = Callable[[Any, Any, Any, Any], Any]

# of a namespace, x (3, 4, 5), i integers of (2, 3) within 3, m a mask of (3, 4)
INDICES: dict[str, Expression] = {
    "number": lambda xp, x, i, m: x[1],
    "numbers": lambda xp, x, i, m: x[1, -1, 2],
    "slices": lambda xp, x, i, m: x[1:, ::2, ::-1],
    "ellipsis": lambda xp, x, i, m: x[..., 1],
    "new axes": lambda xp, x, i, m: x[None, :, None, 1],
    "integers": lambda xp, x, i, m: x[i],
    "integers of the second axis": lambda xp, x, i, m: x[:, i],
    "two arrays": lambda xp, x, i, m: x[i, i],
    "two arrays, broadcast": lambda xp, x, i, m: x[i, i[:, :1]],
    "two arrays apart": lambda xp, x, i, m: x[i, :, i],
    "an array and a number": lambda xp, x, i, m: x[i, 1],
    "an array and a number apart": lambda xp, x, i, m: x[1, :, i],
    "an array after an ellipsis": lambda xp, x, i, m: x[..., i],
    "a new axis before an array": lambda xp, x, i, m: x[None, i],
    "mask of leading axes": lambda xp, x, i, m: x[m],
    "mask of all axes": lambda xp, x, i, m: x[x > 20],
    "mask of an inner axis": lambda xp, x, i, m: x[:, m[0]],
    "mask and number": lambda xp, x, i, m: x[m, 1],
    "negative integers": lambda xp, x, i, m: x[i - 3],
    "an empty list": lambda xp, x, i, m: x[:, []],
    "no index": lambda xp, x, i, m: x[()],
}
WRITES: dict[str, Callable[[Any, Any, Any, Any], None]] = {
    "a number": lambda xp, x, i, m: x.__setitem__((slice(1, 3), 0), 7),
    "an array": lambda xp, x, i, m: x.__setitem__(1, x[2] * 2),
    "a broadcast array": lambda xp, x, i, m: x.__setitem__((Ellipsis, slice(2)), xp.arange(2)),
    "an array with leading ones": lambda xp, x, i, m: x.__setitem__(0, xp.ones((1, 1, 5))),
    "a mask and a number": lambda xp, x, i, m: x.__setitem__(m, -1),
    "a mask of all axes": lambda xp, x, i, m: x.__setitem__(x > 30, 0),
    "a mask and an array": lambda xp, x, i, m: x.__setitem__(m, xp.arange(5)),
    "integers": lambda xp, x, i, m: x.__setitem__(xp.asarray([2, 0]), xp.ones((2, 4, 5))),
    "integers of two axes": lambda xp, x, i, m: x.__setitem__((xp.asarray([2, 0]), xp.asarray([1, 3])), xp.arange(5)),
    "in place": lambda xp, x, i, m: x.__setitem__(slice(None), x + 1),
}
FUNCTIONS: dict[str, Expression] = {
    "sum": lambda xp, x, i, m: xp.sum(x, axis=(0, 2), keepdims=True),
    "sum of bytes": lambda xp, x, i, m: xp.sum(x.astype(np.uint8), axis=1),
    "prod": lambda xp, x, i, m: xp.prod(x + 1, axis=-1),
    "max": lambda xp, x, i, m: xp.max(x, axis=1),
    "argmax": lambda xp, x, i, m: xp.argmax(x, axis=2),
    "argmin of all": lambda xp, x, i, m: xp.argmin(x),
    "mean": lambda xp, x, i, m: xp.mean(x, axis=0),
    "mean of integers": lambda xp, x, i, m: xp.mean(i),
    "var": lambda xp, x, i, m: xp.var(x, axis=0, ddof=1),
    "all": lambda xp, x, i, m: xp.all(m, axis=0),
    "count_nonzero": lambda xp, x, i, m: xp.count_nonzero(m, axis=1),
    "cumsum": lambda xp, x, i, m: xp.cumsum(x, axis=1),
    "cumprod": lambda xp, x, i, m: xp.cumprod(i, axis=0),
    "diff": lambda xp, x, i, m: xp.diff(x, axis=1),
    "trace": lambda xp, x, i, m: xp.trace(x),
    "take": lambda xp, x, i, m: xp.take(x, i, axis=1),
    "take from all": lambda xp, x, i, m: xp.take(x, i),
    "take_along_axis": lambda xp, x, i, m: xp.take_along_axis(x, xp.argsort(-x, axis=1), axis=1),
    "where": lambda xp, x, i, m: xp.where(x > 20, x, 0),
    "where of three": lambda xp, x, i, m: xp.where(m, i[0, 0], 2.5),
    "clip": lambda xp, x, i, m: xp.clip(x, 5, xp.asarray(40, dtype=x.dtype)),
    "nonzero": lambda xp, x, i, m: xp.nonzero(m),
    "argwhere": lambda xp, x, i, m: xp.argwhere(m),
    "sort": lambda xp, x, i, m: xp.sort(-x, axis=1),
    "argsort": lambda xp, x, i, m: xp.argsort(-x, axis=0),
    "searchsorted": lambda xp, x, i, m: xp.searchsorted(xp.arange(10), i, side="right"),
    "unique": lambda xp, x, i, m: xp.unique(i, return_counts=True),
    "bincount": lambda xp, x, i, m: xp.bincount(i.ravel()),
    "isclose": lambda xp, x, i, m: xp.isclose(x, x + 1e-9),
    "reshape": lambda xp, x, i, m: xp.reshape(x, (5, -1)),
    "reshape of a transposed array": lambda xp, x, i, m: x.T.reshape(4, 15),
    "reshape in Fortran's order": lambda xp, x, i, m: x.reshape(15, 4, order="F"),
    "ravel": lambda xp, x, i, m: xp.ravel(x[:, ::2]),
    "transpose": lambda xp, x, i, m: xp.transpose(x, (2, 0, 1)),
    "moveaxis": lambda xp, x, i, m: xp.moveaxis(x, 0, -1),
    "swapaxes": lambda xp, x, i, m: xp.swapaxes(x, 0, 2),
    "expand_dims": lambda xp, x, i, m: xp.expand_dims(x, (0, 2)),
    "squeeze": lambda xp, x, i, m: xp.squeeze(x[:1]),
    "broadcast_to": lambda xp, x, i, m: xp.broadcast_to(x[0], (2, 4, 5)),
    "flip": lambda xp, x, i, m: xp.flip(x, (0, 2)),
    "roll": lambda xp, x, i, m: xp.roll(x, (1, -2), (0, 1)),
    "roll of all": lambda xp, x, i, m: xp.roll(x, 7),
    "concatenate": lambda xp, x, i, m: xp.concatenate([x, x[:, :1]], axis=1),
    "concatenate of two dtypes": lambda xp, x, i, m: xp.concatenate([i, i.astype(np.float32)]),
    "stack of ten": lambda xp, x, i, m: xp.stack([x] * 10, axis=1),
    "tile": lambda xp, x, i, m: xp.tile(x, (2, 1, 3)),
    "repeat": lambda xp, x, i, m: xp.repeat(x, 2, axis=1),
    "split": lambda xp, x, i, m: tuple(xp.split(x, 2, axis=1)),
    "pad": lambda xp, x, i, m: xp.pad(x, ((1, 0), (0, 2), (0, 0))),
    "diagonal": lambda xp, x, i, m: xp.diagonal(x, 1),
    "eye": lambda xp, x, i, m: xp.eye(3, 4, 1),
    "tril": lambda xp, x, i, m: xp.tril(x),
    "linspace": lambda xp, x, i, m: xp.linspace(0, 1, 7),
    "arange": lambda xp, x, i, m: xp.arange(3, 20, 4),
    "full": lambda xp, x, i, m: xp.full((2, 3), 1.5, dtype=np.float16),
    "full of a boolean": lambda xp, x, i, m: xp.full(2, True),
    "ones_like": lambda xp, x, i, m: xp.ones_like(x.T),
    "meshgrid": lambda xp, x, i, m: tuple(xp.meshgrid(xp.arange(3), xp.arange(4), indexing="ij")),
    "indices": lambda xp, x, i, m: xp.indices((2, 3)),
    "dot": lambda xp, x, i, m: xp.dot(x[0], x[0].T),
    "dot of vectors": lambda xp, x, i, m: xp.dot(x[0, 0], x[0, 1]),
    "matmul": lambda xp, x, i, m: xp.matmul(x, xp.swapaxes(x, 1, 2)),
    "matmul, broadcast": lambda xp, x, i, m: xp.matmul(x[0], xp.swapaxes(x, 1, 2)),
    "matmul with a vector": lambda xp, x, i, m: x @ x[0, 0],
    "matmul of integers": lambda xp, x, i, m: i @ i.T,
    "tensordot": lambda xp, x, i, m: xp.tensordot(x, x, ((0, 2), (0, 2))),
    "outer": lambda xp, x, i, m: xp.outer(x[0, 0], x[0, :, 0]),
    "einsum": lambda xp, x, i, m: xp.einsum("abc,dbc->ad", x, x),
    "vdot": lambda xp, x, i, m: xp.vdot(x * 1j, x),
    "fft": lambda xp, x, i, m: xp.fft.fft(x, axis=1),
    "fftn": lambda xp, x, i, m: xp.fft.fftn(x, axes=(1, 2)),
    "fftn with sizes": lambda xp, x, i, m: xp.fft.fftn(x, s=(6, 3), axes=(0, 1)),
    "rfftn": lambda xp, x, i, m: xp.fft.rfftn(x, s=(8, 8), axes=(1, 2)),
    "irfftn": lambda xp, x, i, m: xp.fft.irfftn(xp.fft.rfftn(x), s=x.shape, axes=(0, 1, 2)),
    "irfft of an odd size": lambda xp, x, i, m: xp.fft.irfft(xp.fft.rfft(x, axis=0), n=3, axis=0),
    "ifft, orthogonal": lambda xp, x, i, m: xp.fft.ifft(x, norm="ortho"),
    "fftshift": lambda xp, x, i, m: xp.fft.fftshift(x, axes=(1,)),
    "fftfreq": lambda xp, x, i, m: xp.fft.fftfreq(7),
    "real and imaginary": lambda xp, x, i, m: ((x * (1 + 2j)).real, (x * (1 + 2j)).imag, x.imag),
    "view of other bytes": lambda xp, x, i, m: x.view(np.int64),
    "divmod": lambda xp, x, i, m: divmod(x, 3),
    "powers": lambda xp, x, i, m: (x**2, x**0.5, (x + 1) ** -1.0, x**3, 2**i),
    "reversed operators": lambda xp, x, i, m: (1 - x, 3 // (x + 1), 7 % (i + 1), 1 << i),
    "comparison with None": lambda xp, x, i, m: x == None,  # noqa: E711
}


def given(xp: Any) -> tuple[Any, Any, Any]:
    x = np.arange(60, dtype=np.float64).reshape(3, 4, 5)
    i = np.array([[0, 2, 1], [1, 1, 0]])
    m = np.arange(12).reshape(3, 4) % 3 == 1
    return tuple(xp.asarray(one.copy()) for one in (x, i, m))  # type: ignore[return-value]


def demand_same(got: Any, expected: Any, exact: bool) -> None:
    if isinstance(expected, tuple | list):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            demand_same(one, other, exact)
        return
    found, expected = got.get(), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if exact:
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-12)


@every("name", INDICES)
def test_indices(cp: Any, name: str) -> None:
    demand_same(INDICES[name](cp, *given(cp)), INDICES[name](np, *given(np)), True)


@every("name", WRITES)
def test_writes(cp: Any, name: str) -> None:
    arrays = {}
    for xp in (cp, np):
        arrays[xp], *rest = given(xp)
        WRITES[name](xp, arrays[xp], *rest)
    demand_same(arrays[cp], arrays[np], True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(cp: Any, name: str) -> None:
    exact = not any(word in name for word in ("fft", "var", "powers", "mean"))
    demand_same(FUNCTIONS[name](cp, *given(cp)), FUNCTIONS[name](np, *given(np)), exact)


DTYPES = ("?", "b", "B", "h", "i", "I", "q", "Q", "e", "f", "d", "F", "D")


@pytest.mark.parametrize(
    "name", ["add", "multiply", "maximum", "less", "power", "true_divide", "floor_divide", "arctan2"]
)
def test_ufuncs_of_two_dtypes(cp: Any, name: str) -> None:
    """Of every pair of dtypes NumPy's result; a few of CuPy's functions have no loop for complex numbers."""
    for first in DTYPES:
        for second in DTYPES:
            a, b = np.ones(2, first), np.ones(2, second)
            try:
                expected = getattr(np, name)(a, b)
            except TypeError:
                continue
            try:
                got = getattr(cp, name)(cp.asarray(a), cp.asarray(b))
            except TypeError:
                assert "F" in (first, second) or "D" in (first, second) or {first, second} <= {"?", "d"}, (
                    first,
                    second,
                )
                continue
            assert got.dtype == expected.dtype, (first, second)
            np.testing.assert_array_equal(got.get(), expected)


@every("number, dtype", itertools.product([True, 2, 2.5, 1j, np.float32(2), np.int8(3)], DTYPES))
def test_numbers_follow_the_array(cp: Any, dtype: str, number: Any) -> None:
    array = np.ones(2, dtype)
    for function in ("add", "multiply"):
        expected = getattr(np, function)(array, number)
        got = getattr(cp, function)(cp.asarray(array), number)
        # a number of a higher kind has its own dtype in CuPy: its loops are chosen as NumPy 1 chose them
        wide = np.complex128 if type(number) is complex and dtype in "ef" else expected.dtype
        assert got.dtype == wide
        np.testing.assert_array_equal(got.get(), expected)


def test_sums_of_float16_are_taken_in_float32(cp: Any) -> None:
    found = cp.full(4096, 1, np.float16).sum()
    assert found.dtype == np.float16
    assert float(found) == 4096


def test_results_lie_in_the_order_of_their_axes(cp: Any) -> None:
    """CuPy's ufuncs make C's order of whatever they are given, where NumPy keeps the operands'."""
    x = cp.ones((3, 4)).T
    assert (x + x).flags.c_contiguous
    assert x.astype(np.float32).flags.f_contiguous
    assert x.copy().flags.c_contiguous
    assert cp.empty_like(x).flags.f_contiguous


@pytest.mark.needs("ml_dtypes")
def test_where_and_clip_have_no_bfloat16(cp: Any) -> None:
    ml_dtypes = importlib.import_module("ml_dtypes")
    x = cp.ones(3, ml_dtypes.bfloat16)
    assert (x + x).dtype == x.dtype
    assert cp.where(x > 0, x, x).dtype == np.float32
    with pytest.raises(TypeError, match="not supported"):
        cp.matmul(x.reshape(1, 1, 3), x.reshape(1, 3, 1))
