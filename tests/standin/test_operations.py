"""Every operation of xpconv on a device: right numbers, no wait, no copy from the host, its own device and stream.

A strict xfail is a defect of xpconv that is known; it turns red when it is mended, and its mark goes.
"""

import collections
import contextlib
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import standin
from tests.sizes import full
from tests.standin import operations
from tests.standin.operations import OPERATIONS, SHAPES, Given, Operation
from xpconv._arrays import space
from xpconv._arrays.kept import Kept


def each(known: Mapping[str, str]) -> Any:
    """Parametrise over the operations, those that are known to fail marked."""
    assert set(known) <= set(OPERATIONS)
    return pytest.mark.parametrize(
        "operation",
        [
            pytest.param(
                one, id=name, marks=pytest.mark.xfail(strict=True, reason=known[name]) if name in known else ()
            )
            for name, one in OPERATIONS.items()
        ],
    )


def test_every_public_function_is_among_them() -> None:
    called = set(re.findall(r"\bxc\.(\w+)", inspect.getsource(operations)))
    assert set(xc.__all__) - called == {"explain", "set_options"}  # which compute nothing


def results(found: Any) -> tuple[Any, ...]:
    return found if isinstance(found, tuple) else (found,)


def ready(make: Callable[[Any], Any]) -> Given:
    """Make all arrays."""
    given = Given(make)
    for name in SHAPES:
        getattr(given, name)
    return given


@pytest.fixture
def seen_twice(cp: Any) -> Callable[[Operation], Any]:
    """Run an operation, and again under watch: constants, plans and memory are there."""

    def run(operation: Operation) -> Any:
        given = ready(cp.asarray)
        operation(given)
        with standin.watch() as seen:
            operation(given)
        return seen

    return run


def outcome(operation: Operation, given: Given) -> tuple[Any, ...] | str:
    """The results, or what the operation says to arrays of that dtype."""
    try:
        return results(operation(given))
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


TOLERANCE = {"float32": 1e-5, "complex64": 1e-5, "float16": 2e-3, "bfloat16": 2e-2, "int8": 0, "uint16": 0}


@each({})
def test_numbers_are_numpy_s(cp: Any, operation: Operation) -> None:
    for dtype in ("float32", "complex64", "float16", "int8", "uint16"):
        demand_numpy_s(cp, operation, np.dtype(dtype))


@pytest.mark.needs("ml_dtypes")
@each({})
def test_numbers_of_bfloat16_are_numpy_s(cp: Any, operation: Operation) -> None:
    demand_numpy_s(cp, operation, np.dtype(importlib.import_module("ml_dtypes").bfloat16))


def demand_numpy_s(cp: Any, operation: Operation, dtype: np.dtype[Any]) -> None:
    """Demand NumPy's dtypes and numbers, or its very words."""
    expected = outcome(operation, Given(lambda values: values, dtype))
    got = outcome(operation, Given(cp.asarray, dtype))
    if isinstance(expected, str) or isinstance(got, str):
        assert got == expected, dtype
        return
    for one, other in zip(got, expected, strict=True):
        other = np.asarray(other)
        assert one.dtype == other.dtype
        exact, near = (values.astype(np.complex128) for values in (other, one.get()))
        assert (abs(near - exact) <= TOLERANCE[dtype.name] * max(1, abs(exact).max())).all(), dtype


@each({})
def test_nothing_waits_for_the_device(seen_twice: Callable[[Operation], Any], operation: Operation) -> None:
    seen = seen_twice(operation)
    assert not collections.Counter((wait.what, wait.site) for wait in seen.waits)


@each({})
def test_nothing_comes_from_the_host(seen_twice: Callable[[Operation], Any], operation: Operation) -> None:
    seen = seen_twice(operation)
    assert not collections.Counter(one.site for one in seen.transfers if one.direction == "to device")


@each({})
def test_results_are_on_the_device_of_the_arrays(cp: Any, operation: Operation) -> None:
    """Whatever device is current, or a TypeError says what to do."""
    with cp.cuda.Device(1):
        given = ready(cp.asarray)
    with standin.peers(), contextlib.suppress(TypeError):
        assert {one.device.id for one in results(operation(given))} == {1}
        return
    with pytest.raises(TypeError, match="device"):
        operation(given)


@each({})
def test_another_device_that_is_current(cp: Any, operation: Operation) -> None:
    with cp.cuda.Device(1):
        assert {one.device.id for one in results(operation(ready(cp.asarray)))} == {1}


@pytest.fixture
def no_constants(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that begins."""
    monkeypatch.setattr(space, "_KEPT", Kept())
    yield
    standin.settle()


@each({})
@pytest.mark.usefixtures("no_constants")
def test_two_streams_need_not_wait_for_each_other(cp: Any, operation: Operation) -> None:
    given = ready(cp.asarray)
    cp.cuda.Device().synchronize()
    kept = []
    for stream in (cp.cuda.Stream(non_blocking=True), cp.cuda.Stream(non_blocking=True)):
        with stream:
            kept.append(operation(given))


@pytest.mark.parametrize("limit", ["most", "room"])
@pytest.mark.usefixtures("no_constants")
def test_constants_that_give_way_are_no_longer_read(cp: Any, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """Their memory goes back to the stream that made them, which may write to it while another still reads."""
    given = ready(cp.asarray)
    cp.cuda.Device().synchronize()
    makes, reads = cp.cuda.Stream(non_blocking=True), cp.cuda.Stream(non_blocking=True)
    kept = []
    for stream, name in ((makes, "conv, reflect"), (reads, "conv, reflect"), (makes, "conv, winograd")):
        if name == "conv, winograd":
            monkeypatch.setattr(space._KEPT, limit, {"most": 1, "room": 2048}[limit])
        with stream:
            kept.append(OPERATIONS[name](given))


@each({})
def test_memory_is_given_back(cp: Any, operation: Operation) -> None:
    given = ready(cp.asarray)
    operation(given)  # constants and plans stay
    pool = cp.get_default_memory_pool()
    before = pool.used_bytes()
    found = operation(given)
    held = pool.used_bytes() - before
    assert held <= sum(-(-one.nbytes // 512) * 512 for one in results(found))
    del found
    assert pool.used_bytes() <= before


LARGE = 1 << 20  # bytes of workspace, for which windows of a large image are taken tile by tile
CLIPPED: dict[str, tuple[str, Callable[[Any, Given], Any]]] = {
    "max_pool, indices": ("clip", lambda cp, a: xc.max_pool(a.x, 3, stride=2, padding=1, return_indices=True)),
    "max_pool_vjp, split, in tiles": ("clip", lambda cp, a: split_in_tiles(cp)),
    "lp_pool_vjp": ("sign", lambda cp, a: xc.lp_pool_vjp(a.dy, a.x, 3, 2)),
    "lp_pool_vjp, in tiles": ("sign", lambda cp, a: norm_in_tiles(cp, 3)),
    "lp_pool_vjp, infinity, in tiles": ("clip", lambda cp, a: norm_in_tiles(cp, np.inf)),
    "error_bound": ("clip", lambda cp, a: xc.error_bound(a.x, a.w, a.b, padding=1)),
    "error_bound, fft": ("clip", lambda cp, a: xc.error_bound(a.x, a.w, a.b, padding=1, algorithm="fft")),
}


CLIPPED_SMALL = [name for name in CLIPPED if not name.endswith("in tiles")]


def split_in_tiles(cp: Any) -> Any:
    with xc.set_options(max_workspace=LARGE):
        return xc.max_pool_vjp(cp.ones((1, 128, 128, 1), "f"), cp.ones((1, 256, 256, 1), "f"), 2, ties="split")


def norm_in_tiles(cp: Any, p: float) -> Any:
    with xc.set_options(max_workspace=LARGE):
        return xc.lp_pool_vjp(cp.ones((1, 128, 128, 1), "f"), cp.ones((1, 256, 256, 1), "f"), p, 2)


@pytest.mark.parametrize(
    ("compatibility", "name"),
    [*((False, name) for name in CLIPPED), *((True, name) for name in full(CLIPPED, CLIPPED_SMALL))],
    ids=lambda value: value if isinstance(value, str) else ("xpconv's", "array-api-compat's")[value],
)
def test_clip_and_sign_do_not_wait(cp: Any, monkeypatch: pytest.MonkeyPatch, name: str, compatibility: bool) -> None:
    """Those of array-api-compat do, by masks that are counted on the host: with them in place the wait is seen."""
    function, program = CLIPPED[name]
    if compatibility:
        monkeypatch.setattr(space.Space, function, lambda self, *given: getattr(self.xp, function)(*given))
    given = ready(cp.asarray)
    program(cp, given)
    with standin.watch() as seen:
        program(cp, given)
    assert bool(seen.waits) == compatibility


# --- how many kernels -----------------------------------------------------------------------------


def kernels(cp: Any, program: Callable[[], Any]) -> list[str]:
    program()
    with standin.watch() as seen:
        program()
    return [kernel.name for kernel in seen.kernels]


def test_padding_takes_two_kernels(cp: Any) -> None:
    """One that fills the slab and one that copies the image, beside what a convolution takes without it."""
    given = ready(cp.asarray)
    plain = kernels(cp, lambda: xc.conv(given.x, given.w, algorithm="gemm"))
    padded = kernels(cp, lambda: xc.conv(given.x, given.w, padding=1, algorithm="gemm"))
    assert len(padded) <= len(plain) + 2


def test_a_weight_gradient_is_one_product(cp: Any) -> None:
    x, dz = cp.ones((8, 7, 7, 256), np.float32), cp.ones((8, 7, 7, 256), np.float32)
    found = kernels(cp, lambda: xc.conv_weight_grad(dz, x, (3, 3, 256, 256), padding=1))
    assert found.count("gemm") == 1


# --- TF32 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", [False, True])
def test_error_bound_knows_what_cupy_rounds_to(cp: Any, on: bool) -> None:
    """TF32 as CuPy has it now, by its switch as well as by the variable that it reads once."""
    from cupy._core import _routines_linalg as switch

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 12, 12, 16), np.float32), rng.standard_normal((3, 3, 16, 8), np.float32)
    exact = xc.conv(x.astype(np.float64), w.astype(np.float64))
    before = switch.get_compute_type(np.float32)
    switch.set_compute_type(np.float32, switch.COMPUTE_TYPE_TF32 if on else switch.COMPUTE_TYPE_DEFAULT)
    try:
        here = cp.asarray(x), cp.asarray(w)
        error = abs(xc.conv(*here, algorithm="gemm").get() - exact)
        bound = xc.error_bound(*here, algorithm="gemm").get()
    finally:
        switch.set_compute_type(np.float32, before)
    assert (error > 1e-3).any() == on
    assert (error <= bound).all()
