"""Jobs that workers share: each worker has work arrays of its own, which its jobs use one after another."""

from __future__ import annotations

import bisect
import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.space import Space
from xpconv._work import threads
from xpconv._work.buffered import workspace
from xpconv._work.workspace import Workspace

SMALL = 1 << 18  # flops below which neither a thread nor the limit on BLAS's own threads pays

Runner = Callable[..., list[Any]]  # `run`, or what notes the jobs while it runs them


@dataclass(frozen=True)
class Jobs:
    """`function(item, work)` for each item; items are made when they are asked for, so many cost no memory."""

    function: Callable[[Any, Workspace], Any]
    items: Sequence[Any]
    workers: int = 0  # that there is room for, if other than the plan's tiles have


def _release(work: Workspace) -> None:
    work.release()  # each kind of work arrays has its own


def run(
    jobs: Sequence[Jobs],
    space: Space,
    arithmetic: Arithmetic,
    workers: int,
    flops: int,
    *,
    collect: bool = False,
    blas: bool = True,
) -> list[Any]:
    """Run jobs, on threads where the library lets them run side by side; give their results in order if `collect`.

    `blas`: they may multiply matrices, for which BLAS is limited to one thread.
    """
    ends = list(itertools.accumulate(len(j.items) for j in jobs))

    def job(index: int, work: Workspace) -> Any:
        which = bisect.bisect_right(ends, index)
        return jobs[which].function(jobs[which].items[index - ends[which]], work)

    def make() -> Workspace:
        work = workspace(space, arithmetic)
        work.begin()
        return work

    count = ends[-1] if ends else 0
    if not space.traits.threads or flops <= SMALL:
        return threads.run(job, count, make, _release, 1, collect=collect)
    with threads.one_blas_thread if blas else contextlib.nullcontext():
        return threads.run(job, count, make, _release, workers, collect=collect)
