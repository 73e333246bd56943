"""Passes of a single tile that come again give the same bits, in fewer calls."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import cases
from xpconv._arrays.call import Call
from xpconv._convolution import tile
from xpconv._engine.repeat import COUNT, TOGETHER, repeats
from xpconv._plan.choose import choose
from xpconv._shapes import read
from xpconv._shapes.read import Windowing
from xpconv._work.memory import pool

Array = np.ndarray[Any, Any]
CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "course": ((2, 5, 7, 4), (3, 3, 4, 8), {"stride": 2, "padding": 1}),
    "1x1": ((2, 5, 7, 4), (1, 1, 4, 8), {}),
    "depthwise": ((2, 6, 6, 8), (3, 3, 1, 8), {"groups": 8, "padding": 1}),
    "1-d": ((3, 20, 4), (5, 4, 6), {"dilation": 2, "padding": "causal"}),
    "3-d": ((1, 4, 5, 6, 2), (2, 2, 2, 2, 3), {}),
    "channels first": ((2, 4, 5, 7), (8, 4, 3, 3), {"layout": "channels_first", "padding": 1}),
    "direct": ((2, 5, 7, 4), (3, 3, 4, 8), {"algorithm": "direct", "padding": 1}),
    "toeplitz": ((2, 8, 8, 1), (3, 3, 1, 4), {"algorithm": "toeplitz"}),
    "groups": ((2, 6, 6, 8), (3, 3, 4, 6), {"groups": 2}),
    "circular": ((2, 6, 6, 3), (3, 3, 3, 4), {"padding": 1, "padding_mode": "circular"}),
}


def draw(name: str, dtype: str, seed: int, bias: bool = True) -> tuple[Array, Array, Array | None]:
    rng = np.random.default_rng(seed)
    shape, kernel, options = CASES[name]
    filters = kernel[0] if options.get("layout") == "channels_first" else kernel[-1]

    def one(size: tuple[int, ...]) -> Array:
        if dtype.startswith("int"):
            return rng.integers(-9, 9, size).astype(dtype)
        imaginary = 1j * rng.standard_normal(size) if dtype.startswith("complex") else 0
        return (rng.standard_normal(size) + imaginary).astype(dtype)

    return one(shape), one(kernel), one((filters,)) if bias else None


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    repeats.forget()


def passes(name: str, x: Array, w: Array, b: Array | None) -> list[Array]:
    """Give the convolution and its gradients, with the result of another convolution as the gradient."""
    options = CASES[name][2]
    with np.errstate(all="ignore"):
        z = xc.conv(x, w, b, **options)
        return [z, *xc.conv_vjp(np.flip(z, 0).copy(), x, w, **options)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64", "int32"])
def test_calls_that_follow_give_the_bits_of_the_first(dtype: str) -> None:
    """Whatever the arrays hold: other images, another weight, another bias, what is not finite."""
    for name, (_, _, options) in CASES.items():
        if dtype == "int32" and options.get("algorithm") == "toeplitz":
            continue
        for bias in (True, False):
            arrays = [draw(name, dtype, seed, bias) for seed in range(4)]
            if dtype.startswith("float"):
                arrays[3][0].flat[5] = np.nan
                arrays[2][0].flat[7] = np.inf
            first = []
            for each in arrays:
                repeats.forget()
                first.append(passes(name, *each))
            again = [passes(name, *each) for each in [*arrays, *arrays]]
            for seed, each in enumerate(again):
                for found, wanted in zip(each, first[seed % 4], strict=True):
                    assert found.tobytes() == wanted.tobytes(), (name, bias, seed)
                    assert found.strides == wanted.strides, (name, bias, seed)


LARGER: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "phases on two threads": ((2, 28, 28, 32), (3, 3, 32, 48), {"stride": 2, "padding": 1, "algorithm": "gemm"}),
    "depthwise": ((1, 14, 14, 64), (3, 3, 1, 64), {"groups": 64, "padding": 1}),
    "groups": ((2, 12, 12, 32), (3, 3, 8, 32), {"groups": 4, "padding": 1, "algorithm": "gemm"}),
    "a bias of many pixels": ((8, 30, 30, 6), (1, 1, 6, 6), {}),
}


@pytest.mark.parametrize("name", LARGER)
def test_larger_passes_give_the_bits_of_the_first(name: str) -> None:
    """In work memory that others use as well, which holds anything when it is taken."""
    shape, kernel, options = LARGER[name]
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(size, np.float32) for size in (shape, kernel, kernel[-1:]))
    with xc.set_options(threads=2):
        wanted = [xc.conv(x, w, b, **options), *xc.conv_vjp(xc.conv(x, w, b, **options), x, w, **options)]
        for scale in (1.0, 2.0, 1.0, 4.0):  # exact in every sum
            pool.clear()
            pool.give([np.full(block.size, 255, np.uint8) for block in [pool.take(1 << 17), pool.take(1 << 19)]])
            z = xc.conv(x * np.float32(scale), w, b * np.float32(scale), **options)
            found = [z, *xc.conv_vjp(z, x * np.float32(scale), w, **options)]
            powers = (1, 1, 2, 1)  # of the scale, that the result, dx, dw and db have
            for one, right, power in zip(found, wanted, powers, strict=True):
                assert np.array_equal(one, right * np.float32(scale**power)), scale
    assert any(getattr(value, "perform", None) for value in repeats._known.values())


def test_one_array_twice_is_not_taken_for_two() -> None:
    """A pass that is noted on images that are the gradient too could not tell which of them a call reads."""
    x, w = np.arange(1.0, 9.0).reshape(1, 8, 1), np.ones((1, 1, 1))
    for _ in range(3):
        xc.conv_weight_grad(x, x, w.shape)
    for _ in range(3):
        assert xc.conv_weight_grad(2 * x, x, w.shape).item() == 2 * float((x * x).sum())


def test_unaligned_arrays_keep_their_bits() -> None:
    """NumPy copies them to multiply them, into another order of memory: other bits than those of the order they had."""
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {"padding": 1, "algorithm": "gemm"}
    for seed in range(20):
        size = int(rng.integers(3, 9))
        x, w = rng.standard_normal((2, size, 1)), rng.standard_normal((2 + seed % 3, 1, 1))
        dz = rng.standard_normal(xc.conv(x, w, **options).shape)
        for images, kernel, grads in ((x, w, dz), (x, w[::-1], dz), (x[:, ::-1], w, dz[:, ::-1])):
            one, other, grad = map(cases.unaligned, (images, kernel, grads))
            repeats.forget()
            wanted = [xc.conv(one, other, **options), *xc.conv_vjp(grad, one, other, **options)]
            for _ in range(3):
                found = [xc.conv(one, other, **options), *xc.conv_vjp(grad, one, other, **options)]
                assert all(a.tobytes() == b.tobytes() for a, b in zip(found, wanted, strict=True)), seed


def test_results_are_the_callers_own() -> None:
    """A call does not write where an earlier one gave its result, nor into its arguments."""
    x, w, b = draw("course", "float64", 0)
    kept = x.copy(), w.copy()
    found = [xc.conv(x, w, b, **CASES["course"][2]) for _ in range(4)]
    values = [z.copy() for z in found]
    found[3][...] = 0
    assert all(np.array_equal(z, found[0]) for z in values)
    assert np.array_equal(found[2], values[2])
    assert not any(np.may_share_memory(found[3], z) for z in found[:3])
    assert np.array_equal(x, kept[0])
    assert np.array_equal(w, kept[1])


def test_the_calls_that_follow_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work arrays are not looked for a third time, unless the arrays lie in another way."""
    x, w, b = draw("course", "float32", 0)
    options = CASES["course"][2]
    for _ in range(3):
        wanted = xc.conv(x, w, b, **options)
    slabs = []
    right = tile.slab
    monkeypatch.setattr(tile, "slab", lambda *arrays, **more: slabs.append(1) or right(*arrays, **more))
    assert np.array_equal(xc.conv(x, w, b, **options), wanted)
    assert not slabs
    turned = np.asfortranarray(x)
    assert np.array_equal(xc.conv(turned, w, b, **options), wanted)
    assert slabs


def test_gradients_that_follow_are_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the course's example, and of a layer whose gradient is taken phase by phase."""
    kinds: set[str] = set()
    for name, shape, kernel, options in [
        ("course", *CASES["course"]),
        ("phases", (2, 9, 9, 4), (2, 3, 4, 4), {"stride": (1, 2), "algorithm": "gemm"}),
    ]:
        rng = np.random.default_rng(0)
        x, w = rng.standard_normal(shape), rng.standard_normal(kernel)
        dz = xc.conv(x, w, **options)
        for _ in range(3):
            wanted = xc.conv_vjp(dz, x, w, **options)
        kinds.add(xc.explain(x.shape, w.shape, of="input_grad", dtype="float64", **options).algorithm)
        with monkeypatch.context() as patch:
            for module in ("input_grad", "weight_grad", "col2im"):
                patch.setattr(f"xpconv._convolution.{module}.run", None)  # no job is made
            found = xc.conv_input_grad(dz, w, x.shape, **options), xc.conv_weight_grad(dz, x, w.shape, **options)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(found, wanted, strict=False)), name
    assert kinds == {"col2im", "gemm"}


def test_threads_at_once_have_arrays_of_their_own() -> None:
    """Each thread gets the result of its own images."""
    options = CASES["course"][2]
    arrays = [draw("course", "float64", seed) for seed in range(4)]
    wanted = [xc.conv(*each, **options) for each in arrays]
    wrong = []
    begin = threading.Barrier(4)

    def work(index: int) -> None:
        begin.wait()
        wrong.extend(1 for _ in range(200) if not np.array_equal(xc.conv(*arrays[index], **options), wanted[index]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_is_kept_is_little() -> None:
    """Whatever calls come by."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 3, 4, 4), np.float32)
    for batch in range(1, 40):
        for size in range(4, 16):
            x = rng.standard_normal((batch, size, 5, 4), np.float32)
            for _ in range(2):
                xc.conv(x, w)
    assert len(repeats) <= COUNT
    assert 0 < repeats.nbytes <= TOGETHER


def test_warnings_and_errors_stay_the_callers() -> None:
    """What overflows is told, as often as it is asked for; an error does not spoil the calls after it."""
    x, w, b = draw("course", "float32", 0)
    options = CASES["course"][2]
    for _ in range(3):
        wanted = xc.conv(x, w, b, **options)
    large = np.full_like(x, 3e38)
    with np.errstate(all="raise"):
        for _ in range(2):
            with pytest.raises(FloatingPointError):
                xc.conv(large, np.full_like(w, 2.0), b, **options)
    assert np.array_equal(xc.conv(x, w, b, **options), wanted)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    script = (
        "import os, signal, numpy as np, xpconv as xc\n"
        "from xpconv._engine.repeat import repeats\n"
        "repeats._lock.acquire()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    signal.alarm(20)\n"
        "    for _ in range(3):\n"
        "        xc.conv(np.ones((1, 5, 5, 2)), np.ones((3, 3, 2, 2)))\n"
        "    os._exit(0)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]


def test_what_cannot_be_noted_is_known_by_a_plan_that_lives() -> None:
    """Another plan in its place would be taken for it."""
    arrays = [np.ones((1, 4, 2)), np.ones((2, 2, 2)), None]
    call = Call.of("conv", x=arrays[0], w=arrays[1])
    geometry = read.conv("conv", (1, 4, 2), (2, 2, 2), Windowing(1, 0, 1, 1, "zeros", "channels_last"))
    plan = replace(choose(call, geometry, "gemm"))
    alive = weakref.ref(plan)

    def note(*_: Any) -> None:
        """Note nothing."""

    for _ in range(2):
        assert repeats.perform(note, call, plan, arrays) is None
    del plan
    gc.collect()
    assert alive() is not None
