"""`set_options`: at once and for a block, and what it refuses."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event, get_ident

import numpy as np
import pytest

import xpconv as xc

MIB = 1 << 20


def test_options_are_put_back() -> None:
    """At once, for a block, nested, and after an exception; what a block does not name it leaves alone."""
    shapes = (64, 100, 100, 16), (3, 3, 16, 16)

    def workspace() -> int:
        return xc.explain(*shapes, dtype="float32").workspace

    before = workspace()
    with xc.set_options(max_workspace=2 * MIB):
        inside = workspace()
        assert inside <= 2 * MIB
        with xc.set_options(threads=1):
            assert workspace() <= 2 * MIB
        with pytest.raises(ZeroDivisionError), xc.set_options(max_workspace=4 * MIB):
            raise ZeroDivisionError
        assert workspace() == inside
    assert workspace() == before


def test_set_options_changes_the_default_at_once() -> None:
    before = repr(xc.set_options())
    with xc.set_options(max_workspace=64 * MIB):
        xc.set_options(max_workspace=2 * MIB)
        assert xc.explain((64, 100, 100, 16), (3, 3, 16, 16), dtype="float32").workspace <= 2 * MIB
    assert repr(xc.set_options()) == before


def test_bad_options() -> None:
    for options, pattern in (
        ({"threads": 0}, r"^set_options: threads is at least 1; got 0"),
        ({"threads": 1.5}, r"^set_options: threads is an integer; got 1\.5"),
        ({"max_workspace": -1}, r"^set_options: max_workspace is at least \d+; got -1"),
        ({"max_workspace": "64 MiB"}, r"^set_options: max_workspace is an integer"),
    ):
        before = repr(xc.set_options())
        with pytest.raises(ValueError, match=pattern):
            xc.set_options(**options)
        assert repr(xc.set_options()) == before


def threads() -> int:
    return int(repr(xc.set_options()).rpartition("threads=")[2].rstrip(")"))


def test_a_block_holds_for_its_own_thread() -> None:
    before = threads()
    inside, done = Event(), Event()

    def block() -> int:
        with xc.set_options(threads=before + 5):
            inside.set()
            assert done.wait(60)
            return threads()

    with ThreadPoolExecutor(1) as other:
        found = other.submit(block)
        assert inside.wait(60)
        assert threads() == before
        done.set()
        assert found.result() == before + 5
        assert other.submit(threads).result() == before
    assert threads() == before


def test_blocks_that_overlap_in_two_threads_both_end_as_they_began() -> None:
    """The first to begin ends first; each makes its object before the other enters its block."""
    before, steps = threads(), [Event() for _ in range(4)]

    def first() -> int:
        options = xc.set_options(threads=before + 1)
        steps[0].set()
        assert steps[1].wait(60)
        with options:
            steps[2].set()
            assert steps[3].wait(60)
        return threads()

    def second() -> int:
        assert steps[0].wait(60)
        options = xc.set_options(threads=before + 2)
        steps[1].set()
        assert steps[2].wait(60)
        with options:
            steps[3].set()
            found.append(one.result(60))
        return threads()

    found: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        two = pool.submit(second)
        assert two.result(60) == before
    assert found == [before]
    assert threads() == before


def test_a_call_starts_its_work_under_the_options_of_its_block() -> None:
    """The workers of a call are counted by where they run."""
    seen: set[int] = set()

    class Watched(np.ndarray):
        def __array_finalize__(self, other: object) -> None:
            seen.add(get_ident())

    x = np.ones((64, 32, 32, 16), np.float32).view(Watched)
    with xc.set_options(threads=1):
        xc.max_pool(x, 2)
    assert seen == {get_ident()}


def test_a_change_within_a_block_lasts_to_its_end() -> None:
    before = threads()
    with xc.set_options(threads=before + 1):
        xc.set_options(threads=before + 2)
        assert threads() == before + 2
        with xc.set_options(threads=before + 3):
            assert threads() == before + 3
        assert threads() == before + 2
    assert threads() == before


def test_a_block_can_be_entered_again() -> None:
    before = threads()
    options = xc.set_options(threads=before + 1)
    assert threads() == before + 1
    for _ in range(2):
        with options:
            assert threads() == before + 1
        assert threads() == before
