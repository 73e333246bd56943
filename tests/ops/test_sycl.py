"""On a SYCL device, a GPU or a processor: an operation does not wait for dpnp's queue, and keeps to its arrays' own."""

import math
import time
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import backends
from tests.ops.test_cuda import OPERATIONS, arrays

pytestmark = pytest.mark.needs("dpnp")
SIZE, BUSY = 1500, 0.6  # rows of matrices, and for how many seconds they are multiplied
# dpnp makes an array of each Python number among its operands, by a copy from the host for which it waits
NUMBERS = pytest.mark.xfail(strict=True, reason="dpnp waits where a Python number is an operand")
WAITS = ("fft", "max_pool_vjp", "avg_pool", "avg_pool_vjp")


@pytest.fixture(scope="module")
def dpnp() -> Any:
    """The library, with a device."""
    return backends.load("dpnp").library.xp


@pytest.mark.parametrize("name", [pytest.param(name, marks=NUMBERS if name in WAITS else ()) for name in OPERATIONS])
def test_nothing_waits_for_the_queue(dpnp: Any, name: str) -> None:
    """A product that takes long is in the queue before the operation, and has not ended when the operation returns."""
    given = arrays(dpnp)
    matrix = dpnp.ones((SIZE, SIZE), dtype=dpnp.float32)
    product = dpnp.empty_like(matrix)
    queue, seconds = matrix.sycl_queue, 0.0
    for _ in range(2):  # kernels are compiled, and constants are on the device
        OPERATIONS[name](given)
        queue.wait()
        start = time.perf_counter()
        dpnp.matmul(matrix, matrix, out=product)
        queue.wait()
        seconds = time.perf_counter() - start
    for _ in range(math.ceil(BUSY / seconds)):
        dpnp.matmul(matrix, matrix, out=product)
    ended = queue.submit_barrier()
    kept = OPERATIONS[name](given)
    waited = ended.execution_status.name == "complete"
    queue.wait()
    assert kept is not None
    assert not waited, "the operation waited for the queue"


@pytest.mark.parametrize("name", OPERATIONS)
def test_results_are_on_the_queue_of_the_arrays(dpnp: Any, name: str) -> None:
    """Arrays of two queues of one device do not meet in dpnp: so do constants, which belong to one of them."""
    import dpctl

    wanted = [OPERATIONS[name](arrays(np)), OPERATIONS[name](arrays(dpnp))]
    queue = dpctl.SyclQueue(dpnp.ones(1).sycl_device)
    assert queue != dpnp.ones(1).sycl_queue
    here = {key: dpnp.asarray(value.asnumpy(), sycl_queue=queue) for key, value in arrays(dpnp).items()}
    found = OPERATIONS[name](here)
    together = (each if isinstance(each, tuple) else (each,) for each in (found, *wanted))
    for one, numpys, other in zip(*together, strict=True):
        assert one.sycl_queue == queue
        assert (one.asnumpy() == other.asnumpy()).all()
        np.testing.assert_allclose(one.asnumpy(), numpys, rtol=1e-3, atol=1e-3)


def test_work_memory_is_a_host_s_on_a_processor(dpnp: Any) -> None:
    from xpconv._arrays.space import space_of

    x = dpnp.ones((1, 4, 4, 1))
    memory = space_of(x).memory
    assert (memory is None) is not x.sycl_device.is_gpu
    assert xc.conv(x, dpnp.ones((3, 3, 1, 1))).shape == (1, 2, 2, 1)


def test_a_prepared_convolution_does_not_write_over_its_images(dpnp: Any) -> None:
    memory = dpnp.ones((2, 4, 4, 1))
    prepared = xc.prepare_conv(dpnp.ones((1, 1, 1, 1)), input_shape=(1, 4, 4, 1))
    for out in (memory[:1], memory[:1, ::-1]):
        with pytest.raises(ValueError, match="memory"):
            prepared(memory[:1], out=out)
    assert prepared(memory[:1], out=memory[1:]) is not None
