"""Copies run by run: the same bits as NumPy's own, whatever lies where, and items where there are short runs."""

from typing import Any

import numpy as np
import pytest

from xpconv._arrays.views import numpy_windows
from xpconv._work import runs

DTYPES = ("float32", "float64", "int8", "complex64", "bool", ">f4", "object", "float16")


def numbers(shape: tuple[int, ...], dtype: str) -> Any:
    generator = np.random.default_rng(len(shape))
    return generator.integers(0, 255, shape).astype(dtype)


def sources(dtype: str) -> list[Any]:
    """Views of every kind: windows, groups in front, turned, flipped, one number wide, broadcast, empty."""
    x = numbers((2, 7, 9, 6), dtype)
    groups = np.moveaxis(x.reshape(2, 7, 9, 3, 2), -2, 0)
    return [
        numpy_windows(x, (3, 2), (5, 8), (1, 1), (1, 1)),
        numpy_windows(x, (3, 2), (3, 4), (2, 2), (1, 1))[..., :1],
        groups,
        x.transpose(3, 0, 1, 2),
        x[:, ::-1, ::2],
        x[..., ::-1],
        x,
        x[:, :, :1],
        np.broadcast_to(x[0, 0, 0], (5, 6)),
        x[:0],
        np.array(x[0, 0, 0, 0]),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_copy_has_the_same_bits(dtype: str) -> None:
    for source in sources(dtype):
        expected, found = (np.zeros(source.shape, dtype) for _ in range(2))
        np.copyto(expected, source)
        np.copyto(*runs.items(found, source))
        np.testing.assert_array_equal(found, expected, strict=True)


def test_bits_of_nans_and_zeros_stay() -> None:
    source = np.array([0x7FC00001, 0xFFC12345, 0x80000000, 1] * 6, np.uint32).view(np.float32).reshape(6, 2, 2)
    found = np.zeros((2, 6, 2), np.float32)
    np.copyto(*runs.items(found, source.swapaxes(0, 1)))
    assert np.array_equal(found.view(np.uint32), source.view(np.uint32).swapaxes(0, 1))


def test_what_lies_beside_a_target_stays() -> None:
    source, whole = numbers((4, 5, 3), "float32"), np.full((4, 5, 8), -1, np.float32)
    np.copyto(*runs.items(whole[..., 2:5], source))
    assert np.array_equal(whole[..., 2:5], source)
    assert (whole[..., :2] == -1).all()
    assert (whole[..., 5:] == -1).all()


@pytest.mark.parametrize(
    ("shape", "taken", "size"),
    [
        ((4, 9, 3), (2, 1), 108),  # nine times three numbers, in every other row
        ((4, 9, 3), (1, 2), 12),  # three numbers each
        ((4, 9, 30), (2, 1), 0),  # rows that are long enough
        ((4, 9, 1), (2, 2), 0),  # single numbers, apart
        ((4, 9, 16), (1, 1), 0),  # all in one piece
    ],
)
def test_short_runs_become_items(shape: tuple[int, ...], taken: tuple[int, int], size: int) -> None:
    source = numbers(shape, "float32")[:: taken[0], :: taken[1]]
    target = np.empty(source.shape, np.float32)
    found, view = runs.items(target, source)
    assert found.shape == view.shape
    if size == 0:
        assert found.dtype == view.dtype == np.float32
    else:
        assert found.dtype == view.dtype == np.dtype((np.void, size))


def test_other_dtypes_are_converted() -> None:
    source, target = numbers((4, 9, 3), "float32")[::2], np.empty((2, 9, 3), np.float64)
    found, view = runs.items(target, source)
    assert found is target
    assert view is source
