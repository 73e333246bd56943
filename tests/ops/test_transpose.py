"""Transposed convolution beyond the catalogue: integers that wrap, sizes of many tiles, PyTorch's."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import checks, oracle
from tests.backends import Backend
from tests.cases import FIRST, TRANSPOSE, arrays, values, whole
from tests.ops.tiled import tiled
from xpconv.testing import assert_adjoint
from xpconv.verify.catalogue.setups import Transpose


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_integers_wrap(numpy_backend: Backend, dtype: str) -> None:
    case = TRANSPOSE["3x3"]
    low, high = (0, 200) if dtype == "uint8" else (-100, 100)
    x, w = (values(case.shape(role), 5, dtype, low, high) for role in ("x", "w"))
    dz = values(case.shape("dz"), 6, dtype, low, high)
    checks.demand(numpy_backend, xc.conv_transpose(x, w), oracle.conv_transpose(x, w), dtype)
    for got, wanted in zip(xc.conv_transpose_vjp(dz, x, w), oracle.conv_transpose_vjp(dz, x, w), strict=True):
        checks.demand(numpy_backend, got, wanted, dtype)


@tiled
@pytest.mark.parametrize("layout", ["channels_last", FIRST])
def test_adjoint(backend: Backend, layout: str, mebibytes: int) -> None:
    options = {"stride": (2, 3), "padding": ((1, 0), (2, 3)), "output_padding": (1, 2), "dilation": (2, 1), "groups": 4}
    case = Transpose((61, 47), (3, 4), channels=16, filters=24, layout=layout, **options)
    a = arrays(case)
    with xc.set_options(max_workspace=mebibytes << 20):
        z = backend.to_numpy(backend.call(xc.conv_transpose, a["x"], a["w"], **case.options()))
        found = backend.call(xc.conv_transpose_vjp, a["dz"], a["x"], a["w"], **case.options())
    dx, dw, db = map(backend.to_numpy, found)
    assert_adjoint(z, a["dz"], (a["x"], dx), (a["w"], dw))
    over = tuple(axis for axis in range(4) if axis != (3 if layout == "channels_last" else 1))
    np.testing.assert_array_equal(db, a["dz"].sum(over, dtype=np.float64))


@pytest.mark.needs("torch")
def test_it_is_pytorchs() -> None:
    """On whole numbers, so exactly."""
    import torch

    x, w, b = whole((2, 4, 9, 7), 1, "float64"), whole((4, 3, 3, 4), 2, "float64"), whole((6,), 3, "float64")
    geometry: dict[str, Any] = {
        "stride": (2, 3),
        "padding": (1, 2),
        "output_padding": (1, 2),
        "dilation": (2, 1),
        "groups": 2,
    }
    theirs = torch.nn.functional.conv_transpose2d(*map(torch.asarray, (x, w, b)), **geometry)
    np.testing.assert_array_equal(xc.conv_transpose(x, w, b, layout=FIRST, **geometry), theirs.numpy())
