"""Padding beyond the catalogue: sizes of many tiles, PyTorch's modes."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.backends import Backend
from tests.cases import FIRST, MODES, arrays, whole
from tests.ops.tiled import LARGE, tiled
from xpconv.testing import assert_adjoint
from xpconv.verify.catalogue.setups import Conv


@tiled
@pytest.mark.parametrize("mode", MODES)
def test_adjoint_of_a_padded_convolution(backend: Backend, mode: str, mebibytes: int) -> None:
    options: dict[str, Any] = {"padding": ((9, 4), (3, 12)), "stride": (2, 1), "dilation": (3, 2)}
    case = Conv((83, 71), (4, 3), channels=8, filters=8, bias=False, padding_mode=mode, **options)
    a = arrays(case)
    with xc.set_options(max_workspace=mebibytes << 20):
        z = backend.to_numpy(backend.call(xc.conv, a["x"], a["w"], **case.options()))
        found = backend.call(xc.conv_vjp, a["dz"], a["x"], a["w"], **case.options())
    dx, dw, _ = map(backend.to_numpy, found)
    assert_adjoint(z, a["dz"], (a["x"], dx), (a["w"], dw))


@pytest.mark.parametrize("mode", ["zeros", *MODES])
@pytest.mark.parametrize("backend", LARGE, indirect=True)
def test_adjoint_of_pad(backend: Backend, mode: str) -> None:
    x, padding = whole((3, 97, 130, 8), 1), ((40, 7), (0, 60))
    y = backend.to_numpy(backend.call(xc.pad, x, padding, mode=mode))
    dy = whole(y.shape, 2)
    dx = backend.to_numpy(backend.call(xc.pad_vjp, dy, x.shape, padding, mode=mode))
    assert_adjoint(y, dy, (x, dx))


@pytest.mark.needs("torch")
@pytest.mark.parametrize("mode", MODES)
def test_modes_are_pytorchs(mode: str) -> None:
    import torch

    x = whole((2, 4, 9, 7), 1, "float64")
    theirs = torch.nn.functional.pad(torch.asarray(x), (1, 4, 3, 2), mode=mode)
    np.testing.assert_array_equal(xc.pad(x, ((3, 2), (1, 4)), mode=mode, layout=FIRST), theirs.numpy())
