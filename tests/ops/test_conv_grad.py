"""The gradients of the convolution against the oracle: every algorithm, on every case, on every backend."""

import numpy as np
import pytest

import xpconv as xc
from tests import checks, oracle
from tests.backends import Backend
from tests.cases import CONV, CORE_CONV, Conv, grid

ALGORITHMS = ("auto", "direct", "gemm", "toeplitz")  # the others: test_spreading
# gemm by another layout: what libraries differ in is tested with gemm
CASES = [
    (*case, algorithm)
    for algorithm in ALGORITHMS
    for case in grid(CONV, CORE_CONV)
    if algorithm != "toeplitz" or case[0] in ("numpy", "strict")
]
REAL = ("3x3-same", "asymmetric-padding", "dilation-3-stride-2", "groups-2", "1d-first", "3d-groups-first")
GRADIENTS = ("dx", "dw", "db")


@pytest.mark.parametrize(("backend", "name", "algorithm"), CASES, indirect=["backend"])
def test_whole_numbers_are_exact(backend: Backend, name: str, algorithm: str) -> None:
    case = CONV[name]
    arrays, expected = case.data(), case.expected()
    options = {**case.options, "algorithm": algorithm}
    results = backend.call(xc.conv_vjp, arrays["dz"], arrays["x"], arrays["w"], **options)
    assert type(results) is tuple
    for key, result in zip(GRADIENTS, results, strict=True):
        checks.demand(backend, result, expected[key])


@pytest.mark.parametrize(("backend", "name"), grid(CONV, CORE_CONV), indirect=["backend"])
def test_each_gradient_alone(backend: Backend, name: str) -> None:
    case = CONV[name]
    arrays, expected = case.data(), case.expected()
    dx = backend.call(xc.conv_input_grad, arrays["dz"], arrays["w"], case.x_shape, **case.options)
    checks.demand(backend, dx, expected["dx"])
    dw = backend.call(xc.conv_weight_grad, arrays["dz"], arrays["x"], case.w_shape, **case.options)
    checks.demand(backend, dw, expected["dw"])


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "toeplitz"])  # test_spreading has it
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("backend", ["numpy", "strict", "torch", "jax-jit", "dask", "cupy"], indirect=True)
def test_real_numbers_are_within_the_bound(backend: Backend, name: str, algorithm: str) -> None:
    case = CONV[name]
    arrays, expected, magnitude = case.data(whole=False), case.expected(whole=False), case.magnitude(whole=False)
    options = {**case.options, "algorithm": algorithm}
    results = backend.call(xc.conv_vjp, arrays["dz"], arrays["x"], arrays["w"], **options)
    for key, result in zip(GRADIENTS, results, strict=True):
        checks.demand(backend, result, expected[key], magnitude=magnitude[key], terms=case.terms[key])


def test_a_list_is_a_shape(numpy_backend: Backend) -> None:
    case = CONV["stride-2"]
    arrays, expected = case.data(), case.expected()
    dx = xc.conv_input_grad(arrays["dz"], arrays["w"], list(case.x_shape), **case.options)
    checks.demand(numpy_backend, dx, expected["dx"])
    shape = np.array(case.w_shape)
    checks.demand(numpy_backend, xc.conv_weight_grad(arrays["dz"], arrays["x"], shape, **case.options), expected["dw"])


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
        arrays = case.data()
        dx = xc.conv_input_grad(arrays["dz"], arrays["w"], case.x_shape, **case.options)
        checks.demand(
            numpy_backend, dx, oracle.conv_input_grad(arrays["dz"], arrays["w"], case.x_shape, **case.options)
        )


@pytest.mark.parametrize("backend", ["numpy", "torch", "strict"], indirect=True)
def test_pixels_that_no_window_reads_have_gradient_zero(backend: Backend) -> None:
    """Stride beyond the kernel, and a rest at the end: zeros there, not what memory held."""
    case = Conv((9, 11), (1, 2), stride=(4, 5))
    dz, w = np.ones(case.z_shape, np.float32), np.ones(case.w_shape, np.float32)
    dx = backend.to_numpy(backend.call(xc.conv_input_grad, dz, w, case.x_shape, **case.options))
    touched = np.zeros((9, 11), bool)
    for o in case.sites.positions():
        for _, i in case.sites.taps(o):
            touched[i] = True
    assert (dx[:, touched] == case.filters).all()
    assert (dx[:, ~touched] == 0).all()
    assert not touched.all()
