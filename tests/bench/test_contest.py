"""Turns, clocks and the work memory of a call."""

import gc

import numpy as np
import pytest

import xpconv as xc
from bench.commands import memory
from bench.commands.scale import slope, thread_counts
from bench.contest.contest import Contest, contests
from bench.contest.session import Session
from bench.contest.turns import Here, OnDevice, interleave
from bench.layers import BOTH, FORWARD
from bench.measure.clocks import HostClock, Pace
from bench.measure.memory import extra
from bench.measure.timing import Control, Settings, Timing
from bench.peers.peer import Entry


def players(turns, settings, names="ab"):
    return {name: Here(lambda name=name: turns.append(name), settings) for name in names}


def test_competitors_take_turns():
    turns = []
    timings = interleave(players(turns, Settings.quick(3)), 3, collecting=True)
    assert turns[-4:] == ["a", "a", "b", "b"]  # once unmeasured, once measured
    assert {name: len(timing.samples) for name, timing in timings.items()} == {"a": 3, "b": 3}
    assert all(timing.after_pause > 0 for timing in timings.values())


def test_a_slow_competitor_gets_a_few_rounds_only():
    turns = []
    settings = Settings(rounds=5, pause=0.0, least=0.0, slow=-1.0, slow_rounds=2)
    timings = interleave(players(turns, settings, "a"), settings.rounds, settings.slow_rounds, collecting=True)
    assert len(timings["a"].samples) == 2
    assert len(turns) == 2 + 2  # warm-up, then nothing unmeasured
    assert timings["a"].after_pause is None


def test_a_sample_lasts_long_enough_after_unmeasured_calls():
    settings = Settings(rounds=1, pause=0.0, warm=0.01, least=0.01, most_calls=10**6)
    turns = []
    (timing,) = interleave(players(turns, settings, "a"), 1, collecting=True).values()
    assert timing.calls > 100
    assert len(turns) > 2 + timing.calls + 100


def test_garbage_is_not_collected_in_a_round():
    seen = []
    before = gc.isenabled()
    interleave({"a": Here(lambda: seen.append(gc.isenabled()), Settings.quick(1))}, 1)
    assert seen == [before, before, False, False]
    assert gc.isenabled() is before


def test_inputs_rotate_and_competitors_take_turns():
    turns = []
    calls = {name: [lambda n=name, i=i: turns.append((n, i)) for i in range(2)] for name in "ab"}
    pace = Pace(2, 0.0, 3)
    found = interleave(
        {n: OnDevice(every, HostClock(), pace) for n, every in calls.items()}, pace.rounds, collecting=True
    )
    assert turns[:4] == [("a", 0), ("a", 1)] * 2  # warm-up, and how long it takes
    assert turns[-2:] == [("a", 0), ("b", 0)]
    assert {name: len(timing.samples) for name, timing in found.items()} == {"a": 2, "b": 2}


def test_contests_of_a_case_share_the_rounds_with_the_control():
    turns = []

    def entry(name, passes, scale=1.0):
        return Entry(name, passes, lambda: turns.append((name, passes)), scale=scale)

    entries = [entry("course", FORWARD, 100.0), entry("xpconv", FORWARD), entry("xpconv", BOTH)]
    session = Session(None, "none", (), 1, Settings.quick(2), {}, Control(8))
    forward, both = session.hold(contests("case", entries, ("course",), {FORWARD: {"gflop": 2.0}}))
    assert len(session.control.samples) == 2
    assert turns[-6:] == [("course", FORWARD)] * 2 + [("xpconv", FORWARD)] * 2 + [("xpconv", BOTH)] * 2
    assert forward.timings["course"].seconds == 100 * np.median(forward.timings["course"].samples)
    assert forward.facts == {"gflop": 2.0}
    assert forward.ratio == forward.timings["xpconv"].seconds / forward.timings["course"].seconds
    assert both.ratio is None
    assert set(session.first) == {"course", "xpconv"}
    assert session.after_pause()[0].startswith("the first call after a pause, in measured ones, geometric mean: course")


def test_without_a_control_nothing_else_is_timed():
    session = Session(None, "none", (), 1, Settings.quick(1), {})
    (one,) = session.hold([Contest("case", FORWARD, {"xpconv": lambda: None})])
    assert set(one.timings) == {"xpconv"}


def test_the_control_says_how_steady_the_machine_was():
    control = Control(8)
    control.samples = [1e-6, 1e-6, 2e-6]
    assert "spread 50%; the machine was busy" in control.line()
    control()
    assert np.array_equal(control.out, control.a @ control.b)


def test_a_timing_is_the_median():
    assert Timing(1, samples=[3.0, 1.0, 2.0], first=[4.0]).record()["median"] == 2.0
    assert Timing(1, samples=[3.0, 1.0, 2.0], first=[4.0]).after_pause == 2.0


def test_memory_is_what_a_call_held_beside_its_result():
    assert 8_000_000 <= extra(lambda: (np.ones(1_000_000) + np.ones(1_000_000))[:10].copy()) < 17_000_000
    assert extra(lambda: np.empty(1_000_000)) < 10_000
    x, w = np.ones((4, 32, 32, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
    xc.conv(x, w)
    first = extra(lambda: xc.conv(x, w))
    assert first > 50_000  # memory that the call before it kept counts
    assert extra(lambda: xc.conv(x, w)) > first // 2


def test_the_matrix_of_windows_is_counted():
    assert memory.im2col(memory.LAYERS["batch"][0]) == 4 * 56 * 56 * 9 * 32


def test_threads_double():
    assert thread_counts(1) == [1]
    assert thread_counts(6) == [1, 2, 4, 6]


@pytest.mark.parametrize("sizes", [{1: 9.0, 2: 6.0, 4: 12.0, 8: 24.0}, {1: 1.0}])
def test_slopes_are_those_of_the_greatest_sizes(sizes):
    assert slope(sizes) == pytest.approx(1.0 if len(sizes) > 1 else np.nan, nan_ok=True)
