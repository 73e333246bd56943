"""Faults: many, distinct, and gone when they are not planted any more."""

from dataclasses import replace

import numpy as np
import pytest

import xpconv
from tests.every import every
from xpconv._pooling import maxima
from xpconv.verify.catalogue.tasks import NAMES
from xpconv.verify.faults.fault import forced, library, planted
from xpconv.verify.selftest import FAULTS

CONJUGATE = next(fault for fault in FAULTS if fault.name == "conjugate forgotten")


def test_the_faults_are_many_and_distinct():
    assert len({(fault.where, fault.name) for fault in FAULTS}) == len(FAULTS)
    assert all(fault.imitates and fault.operations and set(fault.operations) <= set(NAMES) for fault in FAULTS)
    course = {"zero_pad", "conv_single_step", "conv_forward", "conv_backward", "pool_forward", "pool_backward"}
    assert course <= {fault.where for fault in FAULTS}


@every("fault", FAULTS)
def test_the_library_is_as_it_was(fault):
    before = _places(fault)
    try:
        with planted(fault):
            assert not any(now is then for now, then in zip(_places(fault), before, strict=True))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert all(now is then for now, then in zip(_places(fault), before, strict=True))


def _places(fault):
    found = []
    for place, _ in fault.plants:
        module, _, path = place.partition(":")
        holder = __import__(module, fromlist=["_"])
        *outer, name = path.split(".")
        for part in outer:
            holder = getattr(holder, part)
        found.append(vars(holder)[name])
    return found


def test_the_conjugate_is_a_fault_of_complex_gradients():
    x, w, dz = (np.full(shape, 1 + 2j, np.complex64) for shape in ((1, 3, 1), (2, 1, 1), (1, 2, 1)))
    right = xpconv.conv_vjp(dz, x, w)
    with planted(CONJUGATE):
        wrong = xpconv.conv_vjp(dz, x, w)
    assert not np.array_equal(right[0], wrong[0])
    assert not np.array_equal(right[1], wrong[1])
    assert np.array_equal(right[2], wrong[2])


def test_the_first_maximum_for_all_is_just_that():
    x, dA = np.zeros((1, 2, 2, 1), np.float32), np.full((1, 1, 1, 1), -1, np.float32)
    cache = x, {"f": 2, "stride": 2}
    assert xpconv.pool_backward(dA, cache).ravel().tolist() == [-1, -1, -1, -1]
    with planted(next(fault for fault in FAULTS if fault.name == "first maximum for all")):
        assert xpconv.pool_backward(dA, cache).ravel().tolist() == [-1, 0, 0, 0]


def area(height, width=2, *, scale=1):
    """Stand for a function to plant faults in."""
    return height * width * scale


def other_area(scale=1, extra=0, *, width=2, height):
    """Stand for the same after a change: other places, other kinds, one parameter more."""
    return area(height, width, scale=scale) + extra


def test_a_forced_parameter_goes_by_its_name():
    wrap = forced(width=5)
    assert wrap(area)(3, 4) == wrap(area)(3, width=4) == wrap(area)(width=4, height=3, scale=1) == 15
    assert wrap(other_area)(height=3, width=4) == wrap(other_area)(1, 0, width=4, height=3) == 15


def test_a_parameter_that_the_function_does_not_have_is_an_error_when_it_is_planted(monkeypatch):
    monkeypatch.setattr(xpconv, "pad", area)
    fault = replace(FAULTS[0], plants=(("xpconv:pad", forced(width=1, depth=1)),))
    with pytest.raises(ValueError, match="has no parameter depth that a fault could force"), planted(fault):
        pass
    assert xpconv.pad is area


@pytest.mark.parametrize(
    "wrong",
    [
        lambda xp, wanted: 0,
        lambda dtype, xp: 0,
        lambda xp, dtype, spare=None: 0,
    ],
)
def test_a_fault_bears_the_names_of_what_it_replaces(wrong):
    """Otherwise a parameter put between two others turns one fault into another unseen."""
    right = maxima.least
    fault = library("the least", "zero", ("max_pool",), ("xpconv._pooling.maxima:least", lambda _: wrong))
    with pytest.raises(ValueError, match="has the parameters xp, dtype, its fault has "), planted(fault):
        pass
    assert maxima.least is right
