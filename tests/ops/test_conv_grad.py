"""Gradients of convolutions beyond the catalogue: every stride phase, pixels that no window reads, lists as shapes."""

import numpy as np
import pytest

import xpconv as xc
from tests import checks, oracle
from tests.backends import Backend
from tests.cases import CONV, arrays, expected, sites
from xpconv.verify.catalogue.setups import Conv


def test_a_list_is_a_shape(numpy_backend: Backend) -> None:
    case = CONV["stride-2"]
    a, wanted = arrays(case), expected(case)
    dx = xc.conv_input_grad(a["dz"], a["w"], list(case.shape("x")), **case.options())
    checks.demand(numpy_backend, dx, wanted["dx"])
    shape = np.array(case.shape("w"))
    checks.demand(numpy_backend, xc.conv_weight_grad(a["dz"], a["x"], shape, **case.options()), wanted["dw"])


@pytest.mark.parametrize("stride", range(1, 8))
@pytest.mark.parametrize("dilation", range(1, 7))
def test_every_stride_phase(numpy_backend: Backend, stride: int, dilation: int) -> None:
    """Strides and dilations with every greatest common divisor, padding of every residue, one axis."""
    for padding, kernel in ((0, 3), (1, 2), (2, 4), (5, 3)):
        case = Conv(
            (dilation * (kernel - 1) + 1 + 2 * stride + 1,),
            (kernel,),
            batch=1,
            channels=1,
            filters=1,
            stride=stride,
            dilation=dilation,
            padding=padding,
        )
        a, shape = arrays(case), case.shape("x")
        dx = xc.conv_input_grad(a["dz"], a["w"], shape, **case.options())
        checks.demand(numpy_backend, dx, oracle.conv_input_grad(a["dz"], a["w"], shape, **case.options()))


@pytest.mark.parametrize("backend", ["numpy", "torch", "strict"], indirect=True)
def test_pixels_that_no_window_reads_have_gradient_zero(backend: Backend) -> None:
    """Stride beyond the kernel, and a rest at the end: zeros there, not what memory held."""
    case = Conv((9, 11), (1, 2), stride=(4, 5))
    dz, w = np.ones(case.shape("dz"), np.float32), np.ones(case.shape("w"), np.float32)
    dx = backend.to_numpy(backend.call(xc.conv_input_grad, dz, w, case.shape("x"), **case.options()))
    touched = np.zeros((9, 11), bool)
    for o in sites(case).positions():
        for _, i in sites(case).taps(o):
            touched[i] = True
    assert (dx[:, touched] == case.filters).all()
    assert (dx[:, ~touched] == 0).all()
    assert not touched.all()
