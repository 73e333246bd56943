"""A verifier that cannot fail proves nothing: planted faults, each caught, each under the name of its operation."""

import re

import numpy as np
import pytest

import xpconv
from tests.definition import ORACLE
from tests.sizes import FULL
from tests.verify.planted import FAULTS, GOOD, halves, saturating, unconjugated, view
from xpconv._tools import libraries as _libraries
from xpconv.verify.catalogue.tasks import tasks
from xpconv.verify.judge.bench import Bench


def failures(name, *, backend="numpy", device=None, dtypes=("float32",), core=True):
    """One after another, so that the checks after what is looked for need not run."""
    bench = Bench(_libraries.load(backend, device), ORACLE)
    for task in tasks(dtypes, (name,), core):
        result = bench.check(task)
        if not result.passed:
            yield result


def fails(name, what="", **more):
    """Whether a check of an operation says that."""
    return any(re.search(what, result.failure) for result in failures(name, **more))


@pytest.mark.parametrize(("name", "fault", "what"), FAULTS, ids=lambda v: getattr(v, "__name__", None))
def test_a_fault_is_caught(monkeypatch, name, fault, what):
    monkeypatch.setattr(xpconv, name, fault)
    assert fails(name, what)


@pytest.mark.slow  # the catalogue's own test makes the same checks
@pytest.mark.parametrize("name", sorted({name for name, _, _ in FAULTS}))
def test_without_a_fault_all_is_well(name):
    assert not fails(name)


def test_float16_sums_are_caught(monkeypatch):
    monkeypatch.setattr(xpconv, "conv", halves)
    assert not fails("conv")
    found = failures("conv", dtypes=("float16",), core=not FULL)
    assert {result.task.tier for result in found} == {"bound"}


def test_a_view_is_caught(monkeypatch):
    monkeypatch.setattr(xpconv, "pad", view)
    assert fails("pad", "shares memory", core=False)


def test_another_library_and_another_device_are_caught(monkeypatch):
    strict = _libraries.load("strict")
    here = _libraries.load("strict", "device1")

    def host(x, padding, **options):
        return np.asarray(GOOD["pad"](x, padding, **options).to_device(strict.xp.Device("CPU_DEVICE")))

    def elsewhere(x, padding, **options):
        return GOOD["pad"](x, padding, **options).to_device(strict.xp.Device("CPU_DEVICE"))

    assert not fails("pad", backend="strict", device="device1")
    monkeypatch.setattr(xpconv, "pad", host)
    assert "another library" in next(failures("pad", backend="strict", device="device1")).failure
    monkeypatch.setattr(xpconv, "pad", elsewhere)
    assert "wrong device" in next(failures("pad", backend="strict", device="device1")).failure
    assert here.name == "strict"


def test_a_promise_is_held_against_the_errors(monkeypatch):
    good = xpconv.error_bound
    monkeypatch.setattr(xpconv, "error_bound", lambda *a, **o: good(*a, **o) / 1000)
    assert fails("conv", "by error_bound")
    monkeypatch.setattr(xpconv, "error_bound", lambda *a, **o: good(*a, **o) * 1000)
    assert fails("conv", "promises less than it could")


@pytest.mark.parametrize(
    ("name", "fault", "dtype", "others"),
    [
        ("conv", saturating, "int8", "float32"),
        ("conv", saturating, "uint32", "float64"),
        ("conv_vjp", unconjugated, "complex64", "float32"),
        ("conv", lambda x, w, b=None, **o: GOOD["conv"](x, w, b, **o).real.astype(x.dtype), "complex128", "float64"),
    ],
)
def test_a_fault_of_one_dtype_is_caught(monkeypatch, name, fault, dtype, others):
    monkeypatch.setattr(xpconv, name, fault)
    assert fails(name, dtypes=(dtype,))
    assert not fails(name, dtypes=(others,))
