"""Weights in panels: each element once, the same results as without, in the memory that the plan says."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import beside
from xpconv import bounds
from xpconv._arrays import call
from xpconv._convolution import weight
from xpconv._engine.repeat import repeats
from xpconv._plan import choose as _plan
from xpconv._plan import input_grad as _gradient_plan
from xpconv._work import panels as _panels
from xpconv._work import products as _products
from xpconv._work.panels import Panels

F32 = np.dtype(np.float32)
SLACK = 1 << 17  # bytes of what is no array


@pytest.fixture(autouse=True)
def with_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lay weights out in panels whatever BLAS there is."""
    monkeypatch.setattr(_products, "has_kernels", lambda: True)
    forget()
    yield
    forget()


def forget() -> None:
    call.forget()
    repeats.forget()
    _plan._plan.cache_clear()
    _gradient_plan.forget()
    _products.piece.cache_clear()


def in_panels(matrix: np.ndarray, width: int) -> Panels:
    """Lay out a matrix, or a stack of them."""
    panels = Panels(tuple(np.empty(shape, matrix.dtype) for shape in _panels.shapes(matrix.shape, width)))
    for columns, panel in panels.each():
        panel[...] = matrix[..., columns]
    return panels


# a, b: as a whole, with columns left over, with one panel, with rows left over, of one row, deep, in stacks
SHAPES = {
    "whole": ((96, 40), (40, 256)),
    "columns left": ((96, 40), (40, 200)),
    "fewer than a panel": ((50, 40), (40, 30)),
    "rows left": ((1003, 256), (256, 130)),
    "one row": ((1, 256), (256, 128)),
    "deep": ((77, 4608), (4608, 96)),
    "stacks": ((4, 98, 128), (4, 128, 192)),
}


@pytest.mark.parametrize("width", [64, 32])
@pytest.mark.parametrize("name", SHAPES)
def test_each_element_is_written_once(name: str, width: int) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, shape).astype(F32) for shape in SHAPES[name])
    panels = in_panels(b, width)
    assert (panels.shape, panels.ndim) == (b.shape, b.ndim)
    assert all(panel.flags.c_contiguous for _, panel in panels.each() if b.ndim == 2)
    written = np.zeros((*a.shape[:-1], b.shape[-1]), np.int64)
    out = np.full(written.shape, np.nan, F32)
    for x, y, z in _panels.pieces(a, panels, out):
        np.matmul(x, y, out=z)
        base = np.lib.stride_tricks.as_strided(
            written.reshape(-1)[(z.__array_interface__["data"][0] - out.__array_interface__["data"][0]) // 4 :],
            z.shape,
            tuple(2 * step for step in z.strides),
        )
        base += 1
    assert (written == 1).all()
    np.testing.assert_array_equal(out, a @ b)


@pytest.mark.parametrize("inner", [1, 27, 64, 576, 1536, 1537, 4608, 5208, 5209, 100_000])
@pytest.mark.parametrize("columns", [1, 32, 33, 64, 65, 100, 512])
def test_pieces_are_what_the_kernels_take(inner: int, columns: int) -> None:
    width = _panels.width(inner, columns)
    if not width:
        return
    a, b = np.empty((500, inner), F32), in_panels(np.empty((inner, columns), F32), width)
    for x, y, _ in _panels.pieces(a, b, np.empty((500, columns), F32)):
        assert x.shape[-2] * inner * y.shape[-1] <= _products.MOST
        assert x.shape[-2] % _panels.AT_ONCE.get(y.shape[-1], 2) == 0 or x.shape[-4] == 1  # but for what is left over


def test_who_has_panels() -> None:
    """Matrices of many columns, unless they are small, or so deep that a piece of few rows is too large."""
    sizes = [(64, 64), (64, 256), (64, 255), (1536, 128), (1537, 128), (4608, 512), (5208, 512), (5209, 512)]
    assert [_panels.width(*size) for size in sizes] == [0, 64, 0, 64, 32, 32, 32, 0]


def test_without_kernels_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"algorithm": "gemm"}
    assert xc.explain((8, 28, 28, 512), (1, 1, 512, 256), **options).panels == 64
    forget()
    monkeypatch.setattr(_products, "has_kernels", lambda: False)
    assert xc.explain((8, 28, 28, 512), (1, 1, 512, 256), **options).panels == 0


# x, w, options: pointwise, with columns left over, with stride, Winograd, channels first
LAYERS = {
    "1x1": ((2, 20, 20, 300), (1, 1, 300, 200), {"algorithm": "gemm"}),
    "3x3 stride 2": ((3, 30, 31, 96), (3, 3, 96, 160), {"stride": 2, "padding": 1, "algorithm": "gemm"}),
    "deep": ((2, 16, 18, 200), (3, 3, 200, 100), {"padding": 1, "algorithm": "gemm"}),
    "winograd": ((2, 16, 18, 130), (3, 3, 130, 150), {"padding": 1, "algorithm": "winograd"}),
    "channels first": (
        (2, 70, 20, 21),
        (130, 70, 3, 3),
        {"stride": 2, "layout": "channels_first", "algorithm": "gemm"},
    ),
    "few pixels": ((1, 7, 7, 300), (3, 3, 300, 200), {"padding": 1, "algorithm": "gemm"}),
}
CALLS = list(itertools.product(LAYERS, ["float32", "float64", "float16"]))


@pytest.mark.parametrize(("name", "dtype"), CALLS)
def test_results_are_those_without(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whole numbers, which every order of additions sums exactly; Winograd's matrices are rounded."""
    x_shape, w_shape, options = LAYERS[name]
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-1, 2, shape).astype(dtype) for shape in (x_shape, w_shape))
    right, made = weight._in_panels, []
    monkeypatch.setattr(weight, "_in_panels", lambda *a: made.append(right(*a)) or made[-1])
    z = xc.conv(x, w, **options)
    dz = rng.integers(-1, 2, z.shape).astype(dtype)
    forward = len(made)
    found = z, xc.conv_input_grad(dz, w, x.shape, **options)
    # a converted weight lies in order as it is: of few pixels or filters it is not worth another copy
    in_order = dtype == "float16" and name in ("channels first", "few pixels")
    assert forward == (name != "few pixels" and not in_order), "of few pixels only the transposed weight is"
    assert (len(made) > forward) == (not in_order)
    monkeypatch.setattr(_panels, "width", lambda inner, columns: 0)
    forget()
    count = len(made)
    wanted = xc.conv(x, w, **options), xc.conv_input_grad(dz, w, x.shape, **options)
    assert len(made) == count
    bound = (
        xc.error_bound(x, w, **options),
        bounds.conv_input_grad_error_bound(dz, w, x.shape, **options),
    )
    for one, other, allowed in zip(found, wanted, bound, strict=True):
        if name == "winograd":  # each within the bound of the exact result
            assert (np.abs(one.astype(float) - other.astype(float)) <= 2 * allowed.astype(float)).all()
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", LAYERS)
def test_the_plan_has_them_in_its_workspace(name: str) -> None:
    x_shape, w_shape, options = LAYERS[name]
    x, w = np.ones(x_shape, F32), np.ones(w_shape, F32)
    with xc.set_options(max_workspace=16 << 20, threads=4):
        plan = xc.explain(x_shape, w_shape, **options)
        assert plan.panels
        assert w.nbytes < plan.workspace <= 16 << 20
        z = xc.conv(x, w, **options)
        assert beside(lambda: xc.conv(x, w, **options)) <= plan.workspace + SLACK
        assert beside(lambda: xc.conv_input_grad(z, w, x_shape, **options)) <= 16 << 20


@pytest.mark.parametrize("name", LAYERS)
def test_the_same_bits_with_any_number_of_threads(name: str) -> None:
    x_shape, w_shape, options = LAYERS[name]
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(F32) for shape in (x_shape, w_shape))
    found = []
    for threads in (1, 2, 5):
        with xc.set_options(threads=threads):
            z = xc.conv(x, w, **options)
            found.append((z, xc.conv_input_grad(z, w, x.shape, **options)))
    for z, dx in found[1:]:
        np.testing.assert_array_equal(z, found[0][0])
        np.testing.assert_array_equal(dx, found[0][1])
