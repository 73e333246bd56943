"""The process that runs one checkout's xpconv when it is asked to; `bench.contest.trees` starts and asks it."""

from __future__ import annotations

import gc
import hashlib
import pickle
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import xpconv
from bench.contest.turns import Here
from bench.layers import Array, Case, draw
from bench.measure.machine import threads_set
from bench.measure.timing import Settings, Timing
from bench.peers.own import Own
from bench.peers.peer import Entry, Where


class Worker:
    """Answers to requests, about one case at a time."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.playing: dict[str, tuple[Here, Timing]] = {}

    def enter(self, case: Case, passes: Sequence[str]) -> dict[str, str]:
        """Draw a case's arrays and run it; give a digest of the results of each pass that it has."""
        self.playing = {}
        self.entries = {entry.passes: entry for entry in Own().enter(case, draw(case), passes, Where())}
        return {name: _digest(entry.results()) for name, entry in self.entries.items()}

    def results(self, passes: str) -> list[Array]:
        """Run a pass and give its results."""
        return [np.ascontiguousarray(array) for array in self.entries[passes].results()]

    def warm_up(self, passes: str, settings: Settings) -> Timing:
        """Begin a contest."""
        player = Here(self.entries[passes].call, settings)
        self.playing[passes] = player, player.warm_up()
        gc.collect()
        return self.playing[passes][1]

    def turn(self, passes: str) -> Timing:
        """Take a turn, and give all samples so far."""
        player, timing = self.playing[passes]
        player.turn(timing)
        return timing


def _digest(arrays: Sequence[Array]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(repr((array.shape, array.dtype.str)).encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def main() -> None:
    """Answer until there are no more requests; the arguments are the checkout, bench's folder and the threads."""
    checkout, threads = Path(sys.argv[1]), int(sys.argv[3])
    if xpconv.__file__ is None or Path(xpconv.__file__).resolve().parent.parent != checkout.resolve():
        raise SystemExit(f"xpconv comes from {xpconv.__file__}, not from {checkout}")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks ends this one
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    gc.disable()  # as in a contest in one process: garbage is collected before the rounds
    worker = Worker()
    with threads_set(threads, None):
        while True:
            try:
                method, arguments = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            answer: tuple[bool, Any]
            try:
                answer = True, getattr(worker, method)(*arguments)
            except Exception as error:
                answer = False, f"{type(error).__name__}: {' '.join(str(error).split())}"
            pickle.dump(answer, answers)
            answers.flush()
