"""Older forms of the driver, for pooling."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Lens
from xpconv._arrays.space import NUMPY, Space, numpy_space
from xpconv._engine import jobs as _jobs
from xpconv._engine import results
from xpconv._engine import slab as _slab
from xpconv._engine.jobs import Jobs as Jobs
from xpconv._shapes.cuts import Tiles as Tiles
from xpconv._shapes.cuts import sizes as sizes
from xpconv._shapes.cuts import slices as slices
from xpconv._work import buffered

Each = Any


def space(xp: Any, traits: Any) -> Space:
    return numpy_space() if traits is NUMPY else Space(xp, traits)


def workspace(xp: Any, traits: Any, dtype: Any, arithmetic: Any = None) -> Any:
    return buffered.workspace(space(xp, traits), Arithmetic.plain(xp, dtype))


def run(jobs: Any, xp: Any, traits: Any, dtype: Any, workers: int, flops: int, collect: bool) -> Any:
    return _jobs.run(jobs, space(xp, traits), Arithmetic.plain(xp, dtype), workers, flops, collect=collect)


def slab(work: Any, x: Any, geometry: Any, region: Any, fill: Any = 0, each: Any = None) -> Any:
    return _slab.slab(work, x, geometry, region, fill=fill, lens=None if each is None else Lens(each))


def join(xp: Any, blocks: Any, tiles: Any) -> Any:
    return results.join(space(xp, None), blocks, tiles.counts)


def interleave(xp: Any, pieces: Any, geometry: Any) -> Any:
    from xpconv._arrays.space import space_of

    return results.interleave(space_of(pieces[0]), pieces, geometry)
