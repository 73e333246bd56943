"""Prepared convolutions: the bits of `conv`, whatever the batch, the library and the order of memory; what is kept."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import backends, cases
from tests.backends import Backend
from tests.every import every
from tests.sizes import FULL, full_on, share
from xpconv._engine import noted
from xpconv.verify.catalogue import cases as catalogue
from xpconv.verify.catalogue.setups import Conv

MIB = 1 << 20
SMALL = {**catalogue.CONV, **cases.MORE_CONV}
# one of each form of a weight: panels, points, frequencies in blocks of channels, shifted copies, a view
LARGE = {
    "1x1": Conv((20, 30), (1, 1), batch=2, channels=96, filters=160),
    "winograd": Conv((28, 28), (3, 3), batch=1, channels=64, filters=64, padding=1),
    "depthwise-fft": Conv((24, 24), (21, 21), batch=1, channels=64, filters=64, groups=64, padding=10),
    "toeplitz": Conv((64, 64), (4, 4), batch=4, channels=3, filters=8, padding="same"),
    "strided": Conv((33, 33), (3, 3), batch=2, channels=32, filters=64, stride=2),
}


def drawn(setup: Conv, dtype: str, batch: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Draw images, weight and bias of a setup, with another batch if it is given."""
    shape = (setup.batch if batch is None else batch, *setup.shape("x")[1:])
    low, high = (0, 100) if "int" in dtype else (None, None)
    x, w, b = (cases.values(s, 1, dtype, low, high) for s in (shape, setup.shape("w"), setup.shape("b")))
    return x, w, b if setup.bias else None


def same(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def both(backend: Backend, setup: Conv, dtype: str, algorithm: str = "auto") -> tuple[np.ndarray, np.ndarray]:
    """Give what `conv` gives and what is prepared gives, called twice."""
    arrays = [array for array in drawn(setup, dtype) if array is not None]
    options: dict[str, Any] = setup.options() | {"algorithm": algorithm}

    def prepared(x: Any, *parameters: Any) -> Any:
        found = xc.prepare_conv(*parameters, input_shape=setup.shape("x"), **options)
        found(x)
        return found(x)

    results = (backend.call(f, *arrays) for f in (lambda *a: xc.conv(*a, **options), prepared))
    first, second = map(backend.to_numpy, results)
    return first, second


NUMPY = [(case, dtype) for case in SMALL for dtype in ("float32", "complex64", "int8", "float16")]


@every("case, dtype", NUMPY if FULL else share(NUMPY, 0, 3))
def test_the_bits_are_those_of_conv(numpy_backend: Backend, case: str, dtype: str) -> None:
    setup = SMALL[case]
    if setup.only and dtype not in setup.only:
        dtype = setup.only[0]
    for algorithm in ("auto", "direct", "gemm"):
        assert same(*both(numpy_backend, setup, dtype, algorithm))


FEW = ["groups-2", "reflect"]
CORE = [case for case in SMALL if SMALL[case].core]


@pytest.mark.parametrize(
    ("backend", "case"),
    [(backend, case) for backend in backends.BACKENDS for case in (CORE if full_on(backend) else FEW)],
    indirect=["backend"],
)
def test_the_bits_are_those_of_conv_on_every_library(backend: Backend, case: str) -> None:
    setup = SMALL[case]
    assert same(*both(backend, setup, setup.only[0] if setup.only else "float32"))


@pytest.mark.parametrize("case", LARGE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_images(case: str, dtype: str) -> None:
    """Of a batch of another size the plan may be another, and so the form of the weight."""
    setup = LARGE[case]
    x, w, b = drawn(setup, dtype, 5)
    prepared = xc.prepare_conv(w, b, input_shape=setup.shape("x"), **setup.options())
    for count in (setup.batch, 5, 0, 1, 3, 2, 4, setup.batch):
        assert same(prepared(x[:count]), xc.conv(x[:count], w, b, **setup.options())), count
    assert prepared.plan.algorithm == xc.explain(setup.shape("x"), w.shape, dtype=dtype, **setup.options()).algorithm


@pytest.mark.parametrize("case", LARGE)
def test_every_algorithm_keeps_its_form(case: str) -> None:
    setup, options = LARGE[case], LARGE[case].options()
    x, w, b = drawn(setup, "float32")
    for candidate in xc.explain(setup.shape("x"), w.shape, **options).candidates:
        if np.isfinite(candidate.seconds):
            prepared = xc.prepare_conv(w, b, input_shape=x.shape, algorithm=candidate.algorithm, **options)
            for _ in range(2):
                assert same(prepared(x), xc.conv(x, w, b, algorithm=candidate.algorithm, **options))


def test_plan_prints_as_explain_does() -> None:
    prepared = xc.prepare_conv(np.ones((3, 3, 64, 64), np.float32), input_shape=(8, 56, 56, 64), padding=1)
    assert str(prepared.plan) == str(xc.explain((8, 56, 56, 64), (3, 3, 64, 64), padding=1))
    assert "winograd" in repr(prepared)


@pytest.mark.parametrize("case", ["winograd", "1x1", "strided", "small"])
def test_later_changes_of_the_parameters_are_not_seen(case: str) -> None:
    setup = {**LARGE, "small": catalogue.CONV["same"]}[case]
    x, w, b = drawn(setup, "float32")
    before = xc.conv(x, w, b, **setup.options())
    prepared = xc.prepare_conv(w, b, input_shape=x.shape, **setup.options())
    w[...], b[...] = 7, 7
    assert same(prepared(x), before)


def orders(x: np.ndarray) -> list[np.ndarray]:
    """The same images in other orders of memory."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return [np.asfortranarray(x), wide[..., ::2], x[::-1].copy()[::-1]]


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_images_in_any_order_of_memory(layout: str) -> None:
    setup = Conv((6, 5), (3, 3), channels=4, filters=5, padding=1, layout=layout)
    x, w, b = drawn(setup, "float32")
    prepared = xc.prepare_conv(w, b, input_shape=x.shape, **setup.options())
    for other in orders(x):
        assert same(prepared(other), xc.conv(other, w, b, **setup.options()))


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("size", [(6, 5), (60, 50)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint16"])
def test_out(layout: str, size: tuple[int, int], dtype: str) -> None:
    """It is given back, filled, whatever its order of memory; small and large."""
    setup = Conv(size, (3, 3), channels=4, filters=5, padding=1, layout=layout)
    x, w, b = drawn(setup, dtype)
    prepared = xc.prepare_conv(w, b, input_shape=x.shape, **setup.options())
    wanted = xc.conv(x, w, b, **setup.options())
    for out in (np.full_like(wanted, 3), np.asfortranarray(wanted * 0), np.empty((2, *wanted.shape), dtype)[1]):
        assert prepared(x, out) is out
        assert same(out, wanted)
        assert prepared(x, out=out) is out
    assert not np.shares_memory(prepared(x), prepared(x))
    assert same(prepared(x[:0], np.empty_like(wanted[:0])), wanted[:0])


def test_what_is_refused() -> None:
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s).astype("f4") for s in ((2, 5, 7, 4), (3, 3, 4, 8), (8,)))
    prepared = xc.prepare_conv(w, b, input_shape=x.shape)
    z = prepared(x)
    frozen = z.copy()
    frozen.flags.writeable = False
    whole = np.zeros(x.size + z.size, np.float32)
    shared = whole[: x.size].reshape(x.shape)
    shared[...] = x
    refused: list[tuple[type[Exception], str, Callable[[], Any]]] = [
        (ValueError, r"^prepare_conv: x has the shape of input_shape with any number", lambda: prepared(x[:, :4])),
        (ValueError, r"got x\.shape=\(2, 5, 7\)", lambda: prepared(x[..., 0])),
        (TypeError, r"^prepare_conv: the arrays of one call have one dtype", lambda: prepared(x.astype("f8"))),
        (TypeError, r"^prepare_conv: x is an array", lambda: prepared([1.0])),
        (ValueError, r"^prepare_conv: out has the shape of the result, \(2, 3, 5, 8\)", lambda: prepared(x, z[:1])),
        (TypeError, r"^prepare_conv: out has the dtype of the result, float32", lambda: prepared(x, z.astype("f8"))),
        (TypeError, r"^prepare_conv: out is an array", lambda: prepared(x, out=3)),
        (ValueError, r"^prepare_conv: out is an array that can be written", lambda: prepared(x, frozen)),
        (
            ValueError,
            r"^prepare_conv: out shares memory with x",
            lambda: prepared(shared, whole[8 : 8 + z.size].reshape(z.shape)),
        ),
        (ValueError, r"^prepare_conv: b has the shape", lambda: xc.prepare_conv(w, b[:3], input_shape=x.shape)),
        (ValueError, r"^prepare_conv: the kernel has 4 input", lambda: xc.prepare_conv(w, b, input_shape=(2, 5, 7, 3))),
        (
            ValueError,
            r"^prepare_conv: algorithm is one of",
            lambda: xc.prepare_conv(w, b, input_shape=x.shape, algorithm="none"),
        ),
        (TypeError, r"^prepare_conv: ", lambda: xc.prepare_conv(w, b.astype("f8"), input_shape=x.shape)),
    ]
    for kind, pattern, call in refused:
        with pytest.raises(kind, match=pattern):
            call()
    assert same(prepared(x), z)
    apart = whole[x.size :].reshape(z.shape)
    assert same(prepared(shared, apart), z)  # beside each other is not over each other


@pytest.mark.needs("torch")
def test_out_on_another_library() -> None:
    torch = backends.load("torch")
    x, w, b = map(torch.asarray, drawn(Conv((6, 5), (3, 3), padding=1), "float32"))
    prepared = xc.prepare_conv(w, b, input_shape=tuple(x.shape), padding=1)
    out = prepared(x) * 0
    assert prepared(x, out) is out
    assert same(torch.to_numpy(out), torch.to_numpy(xc.conv(x, w, b, padding=1)))
    with pytest.raises(TypeError, match=r"^prepare_conv: the arrays of one call belong to one library"):
        prepared(x, np.zeros(tuple(out.shape), np.float32))
    with pytest.raises(ValueError, match=r"shares memory with x"):
        xc.prepare_conv(w[:1, :1, :, :2], input_shape=tuple(x.shape))(x, x)


def test_out_where_arrays_cannot_be_written() -> None:
    strict = backends.load("strict")
    x, w, b = map(strict.asarray, drawn(Conv((6, 5), (3, 3), padding=1), "float32"))
    prepared = xc.prepare_conv(w, b, input_shape=x.shape, padding=1)
    with pytest.raises(ValueError, match=r"^prepare_conv: out is an array that can be written"):
        prepared(x, prepared(x))


def test_what_is_kept_is_bounded() -> None:
    """Whatever sizes of a batch come by; and it is little for a small layer."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((5, 5, 24, 24)).astype("f4")
    with xc.set_options(max_workspace=2 * MIB):
        prepared = xc.prepare_conv(w, input_shape=(1, 12, 14, 24), padding=2)
        for count in [*range(1, 24), 2, 1]:
            x = rng.standard_normal((count, 12, 14, 24)).astype("f4")
            assert same(prepared(x), xc.conv(x, w, padding=2))
            assert w.nbytes <= prepared.nbytes <= w.nbytes + 2 * MIB
    small = xc.prepare_conv(w[:1, :1, :2, :2], input_shape=(1, 4, 4, 2))
    for count in range(1, 40):
        small(np.ones((count, 4, 4, 2), np.float32))
    assert small.nbytes < MIB


def test_threads_may_call_at_once() -> None:
    setup = catalogue.CONV["same"]
    _, w, b = drawn(setup, "float32")
    prepared = xc.prepare_conv(w, b, input_shape=setup.shape("x"), **setup.options())
    images = [cases.values(setup.shape("x"), seed, "float32") for seed in range(8)]
    wanted = [xc.conv(x, w, b, **setup.options()) for x in images]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            if not same(prepared(images[number]), wanted[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_nan_stays_in_its_windows() -> None:
    setup = LARGE["winograd"]
    x, w, b = drawn(setup, "float32")
    x[0, 3, 4, 5] = np.nan
    prepared = xc.prepare_conv(w, b, input_shape=x.shape, **setup.options())
    lost = np.isnan(prepared(x)).any(axis=-1)[0]
    assert lost.sum() == 9
    assert lost[2:5, 3:6].all()


def test_a_small_call_is_a_few_calls_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the course's example: images into their border, windows, product, bias."""
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s).astype("f4") for s in ((2, 5, 7, 4), (3, 3, 4, 8), (8,)))
    prepared = xc.prepare_conv(w, b, input_shape=x.shape, stride=2, padding=1)
    wanted = prepared(x)
    made: list[Any] = []
    make = noted._make
    monkeypatch.setattr("xpconv._convolution.prepared.perform", lambda *_: made.append("perform"))
    monkeypatch.setattr(noted, "_make", lambda steps, values: made.append(len(list(steps))) or make(steps, values))
    assert same(prepared(x), wanted)
    assert made[-1] == 4
    assert "perform" not in made


def test_what_cannot_be_noted_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, b = drawn(SMALL["3x3"], "float32")
    tried: list[int] = []

    def refused(notes: Any, most: int, own: int) -> None:
        tried.append(most)

    monkeypatch.setattr(noted.Notes, "noted", refused)
    conv = xc.prepare_conv(w, b, input_shape=x.shape, algorithm="gemm")
    results = [conv(x) for _ in range(4)]
    assert len(tried) == 1
    assert all(same(result, results[0]) for result in results)


@pytest.mark.needs("dask")
def test_images_in_chunks_are_convolved_by_blocks() -> None:
    import dask.array as da

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 12, 9, 3)), rng.standard_normal((3, 3, 3, 4))
    prepared = xc.prepare_conv(w, input_shape=x.shape, padding=1)
    chunked = da.from_array(x, chunks=(1, 5, 4, 3))
    got, wanted = prepared(chunked), xc.conv(chunked, w, padding=1)
    assert got.chunks == wanted.chunks
    assert same(got.compute(), wanted.compute())
    with pytest.raises(ValueError, match="x has the shape of input_shape"):
        prepared(chunked[:, 1:])
    with pytest.raises(TypeError, match="out is not served for images in chunks"):
        prepared(chunked, chunked)
