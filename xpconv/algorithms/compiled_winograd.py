"""Winograd's minimal filtering in loops that Numba compiles (`xpconv._compiled.tiles`): one pass over strips of tiles.

The formulas, the points and the error are those of `winograd`. What differs is that nothing is copied and no thread
waits between two array calls: a strip's pixels are transformed where they lie, multiplied and transformed back while
they are in the cache, and the bias is added as the result is written. Whatever the cut into jobs, as long as it goes
along the tiles, the bits are the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from xpconv._arrays.types import Array
from xpconv._compiled import build
from xpconv._compiled.tiles import BLOCK, CHECK, GAP, GROUP, SCRATCH, SIDE
from xpconv._shapes.cuts import intervals
from xpconv._shapes.geometry import Geometry, Interval, Ints
from xpconv._work.workspace import Workspace
from xpconv.algorithms.base import Algorithm
from xpconv.algorithms.cost import Work
from xpconv.algorithms.pieces import Place, contiguous
from xpconv.algorithms.winograd import Winograd, transform

STRIP = 1 << 22  # bytes of a strip's transformed pixels and products
SHORTEST, LONGEST = 24, 96  # tiles of a strip, multiples of SIDE
SUMMED = 1 << 18  # bytes of a strip's pixels and gradients at one point, in the weight's gradient
LARGE = 1 << 24  # bytes of a transformed weight that a cut by filters saves from being written and read as a whole
NONE, NOWHERE, FORWARD = (0, 0), (0, (0, 0)), ("pixels", "output", "weight")
OWN = 128  # filters that a piece has at least then, since each transforms all pixels
SUMS = 30 << 20  # bytes of partial sums of the weight's gradient, about
MOST = 16  # pieces of a convolution
PAYS = 4_000_000  # flops of a piece, some tenths of a millisecond
ALONE = 20_000_000  # flops up to which handing a part to a second thread takes too long to gain
# multiply-adds of `_plan.rates.RATES["cpu"].fused` that take as long as one of the loops', and as a number of a point,
# either transform, in the gradient; the same in what goes forward, three quarters of it, since matrix products take a
# third longer than the plan charges them with; elements that are moved as long as a number of the weight at a point is
# prepared, in that way too, or one of a partial sum of its gradient written, read and transformed
GRADIENT, FORWARDS, PREPARED, SUMMED_UP = (0.16, 2.0), (0.115, 1.4), 2.8, 10


class Strips(NamedTuple):
    """A part of a convolution that the loops do in one go."""

    where: tuple[slice, ...]  # of the result's axes
    numbers: Array  # what the loops know of it
    blocks: slice  # of the prepared weight


@dataclass(frozen=True)
class CompiledWinograd(Winograd):
    """The algorithm."""

    clips = in_strips = True

    def refuses(self, geometry: Geometry) -> str:
        """Say why this geometry cannot be served; empty if it can."""
        if geometry.rank != 2 or geometry.groups > 1:
            return "serves two spatial axes and one group only"
        if geometry.channels % 8 or geometry.filters % 8:
            return "serves multiples of eight channels and filters only"
        return super().refuses(geometry)

    def kernel(self, geometry: Geometry, gradient: bool = False) -> str:
        """Name the loops."""
        return "tiles gradient" if gradient else "tiles"

    def crowds(self, geometry: Geometry, gradient: bool = False) -> bool:
        """Say whether there are too many sums at once for float64: always."""
        return True

    def forward_work(self, geometry: Geometry) -> Work:
        """Transform, multiply, transform back, write."""
        packed = math.prod(self.blocks(geometry))
        return replace(
            self._loops_work(geometry, self.room(geometry), FORWARDS),
            prepared=packed,
            fixed_moved=round(PREPARED * packed),
        )

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Transform the windows and the gradient, multiply."""
        domain, step = math.prod(self.points(geometry)) * geometry.channels * geometry.filters, self.step(geometry)
        sums = min(max(SUMS // (4 * domain), 1), MOST // 2)
        tiles = geometry.batch * math.prod(-(-o // m) for o, m in zip(geometry.output, step, strict=True))
        return replace(
            self._loops_work(geometry, self._gradient_room(geometry), GRADIENT),
            domain=domain,
            fixed_moved=SUMMED_UP * domain * sums,
            thick=-(-tiles // sums) * math.prod(step),  # a tile for each partial sum
        )

    def _loops_work(self, geometry: Geometry, room: int, rates: tuple[float, float]) -> Work:
        (multiplied, transformed), total, step = rates, math.prod(self.points(geometry)), self.step(geometry)
        c, f = geometry.channels, geometry.filters
        tiles = math.prod(-(-o // m) for o, m in zip(geometry.output, step, strict=True))
        share = tiles / math.prod(geometry.output)
        return Work(
            elements=max(f, BLOCK),
            multiply_adds=0,
            moved=c + f,
            runs=1,
            calls=1,
            fused=total * (multiplied * c * f + transformed * (c + f)) * share,
            step=step,
            thick=SHORTEST * math.prod(step),
            pays=PAYS,
            strip=room,
        )

    def panelled(self, geometry: Geometry) -> Ints | None:
        """None: the weight lies in blocks of its own."""
        return None

    @property
    def of_magnitudes(self) -> Algorithm:
        """Take absolute values of everything."""
        return CompiledWinograd(absolute=True)

    def prepared_shape(self, geometry: Geometry, *, complex_data: bool) -> Ints | None:  # type: ignore[override]
        """None: blocks of filters are prepared by themselves."""
        return None

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """(KH, KW, C, F) -> blocks of filters (B, P, C + 1, 16), zeros behind the last filter and channel."""
        if out is None:
            out = np.empty(self.blocks(geometry), np.dtype(work.sums))
        self.prepare_blocks(work, w, geometry, (0, len(out)), out)
        return out

    def blocks(self, geometry: Geometry) -> Ints:
        """Give the shape of a prepared weight."""
        return -(-geometry.filters // BLOCK), math.prod(self.points(geometry)), geometry.channels + 1, BLOCK

    def prepare_blocks(self, work: Workspace, w: Array, geometry: Geometry, blocks: Interval, out: Array) -> None:
        """Prepare some blocks of the whole weight (KH, KW, C, F)."""
        sums = np.dtype(work.sums)
        own = contiguous(work, "kernel", w[..., blocks[0] * BLOCK : blocks[1] * BLOCK])
        scratch = work.buffer("scratch", (SCRATCH,), sums)  # type: ignore[attr-defined]
        numbers = _numbers(self, geometry, NOWHERE, SIDE, NONE)
        build.get("tiles weight", sums.name)(own, out, numbers, self.matrices_of(geometry, sums, ("weight",)), scratch)

    def matrices_of(self, geometry: Geometry, dtype: Any, names: tuple[str, ...] = FORWARD) -> Array:
        """Give the matrices of both axes, one name after another, row by row."""
        return _matrices(self.points(geometry), geometry.kernel, self.absolute, names, np.dtype(dtype).name)

    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """(n, *slab, C) -> (n, *output, F), of pixels with their padding."""
        return self.clipped(work, slab, weight, None, geometry, ((0, (0, 0)), (slab.shape[0], *output)), out)

    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """(n, *slab, C), (n, *output, F) -> (P, C, F), of pixels with their padding."""
        return self.clipped_weight_grad(work, slab, dz, geometry, (0, (0, 0)))

    def clipped(
        self,
        work: Workspace,
        x: Array,
        weight: Array,
        bias: Array | None,
        geometry: Geometry,
        tile: tuple[Place, Ints],
        out: Array | None,
    ) -> Array:
        """Give the outputs (n, *output, F) of a tile of so many, which starts at a place of images without padding."""
        (place, shape), sums = tile, np.dtype(work.sums)
        if bias is None:
            bias = work.space.constant("no bias", np.zeros(geometry.filters), sums)
        if out is None or not out.flags.aligned:
            out = work.buffer("outputs", (*shape, geometry.filters), sums)  # type: ignore[attr-defined]
        work.do(
            build.get("tiles", sums.name),
            contiguous(work, "images", x),
            (_no_kernel(sums.name), weight),
            np.ascontiguousarray(bias),
            out,
            _numbers(self, geometry, place, _strip_of(self, geometry), NONE),
            self.matrices_of(geometry, sums),
            work.buffer("strip", (self.room(geometry),), sums),  # type: ignore[attr-defined]
        )
        return out

    def clipped_weight_grad(
        self, work: Workspace, x: Array, dz: Array, geometry: Geometry, place: Place, out: Array | None = None
    ) -> Array:
        """Give the part (P, C, F) that a tile's gradient (n, *output, F) has in the sum; in `out`, if there is one."""
        sums = np.dtype(work.sums)
        found: Array = work.buffer("weight", self.parts(geometry), sums) if out is None else out  # type: ignore[attr-defined]
        build.get("tiles gradient", sums.name)(
            contiguous(work, "images", x),
            contiguous(work, "gradient", dz),
            found,
            _numbers(self, geometry, place, _summed_strip(self, geometry), NONE),
            self.matrices_of(geometry, sums, ("pixels", "output'")),
            work.buffer("strip", (self._gradient_room(geometry),), sums),  # type: ignore[attr-defined]
        )
        return found

    def parts(self, geometry: Geometry) -> Ints:
        """Give the shape (P, C, F) of a sum."""
        return math.prod(self.points(geometry)), geometry.channels, geometry.filters

    def finish_all(self, work: Workspace, parts: Array, geometry: Geometry) -> Array:
        """(S, P, c, F) -> (KH, KW, c, F): partial sums of some channels, added up in order and transformed."""
        sums = np.dtype(work.sums)
        found: Array = work.buffer("taps", (*geometry.kernel, *parts.shape[2:]), sums)  # type: ignore[attr-defined]
        matrices, numbers = (
            self.matrices_of(geometry, sums, ("weight'",)),
            _numbers(self, geometry, NOWHERE, SIDE, NONE),
        )
        scratch = work.buffer("scratch", (SCRATCH,), sums)  # type: ignore[attr-defined]
        build.get("tiles finish", sums.name)(parts, found, numbers, matrices, scratch)
        return found

    def strips(self, arrays: tuple[Any, ...], z: Array, geometry: Geometry, piece: Strips, room: Array) -> bool:
        """Compute a piece where it lies, of images, both forms of the weight, and bias; say whether all is finite.

        The plain weight is looked at only where pieces prepare their own filters, in the place of the prepared one.
        """
        matrices = self.matrices_of(geometry, room.dtype)
        build.get("tiles", room.dtype.name)(*arrays, z, piece.numbers, matrices, room)
        return bool(np.isfinite(room[CHECK:SCRATCH].sum()))

    def room(self, geometry: Geometry) -> int:
        """Count the numbers of work memory that the loops take."""
        return self._room(geometry, _strip_of(self, geometry), _together(geometry))

    def _gradient_room(self, geometry: Geometry) -> int:
        return self._room(geometry, _summed_strip(self, geometry), geometry.filters)

    def _room(self, geometry: Geometry, tiles: int, filters: int) -> int:
        total = math.prod(self.points(geometry))
        return SCRATCH + total * (tiles * (geometry.channels + filters) + 2 * GAP)

    def pieces(self, geometry: Geometry) -> tuple[Strips, ...]:
        """Cut a convolution into pieces that pay for a thread: images and rows of tiles, or blocks of filters."""
        return _pieces(self, geometry)

    def own_filters(self, geometry: Geometry) -> tuple[Strips, ...]:
        """Cut it by filters that each piece prepares itself, `GROUP` blocks at a time; empty where that does not pay.

        It does where the whole prepared weight would take longer to write and to read than to prepare, and all tiles
        are one strip.
        """
        return _own_filters(self, geometry)


def _together(geometry: Geometry) -> int:
    """Count the filters whose products with a strip are kept."""
    return min(-(-geometry.filters // BLOCK), GROUP) * BLOCK


def _strip_of(algorithm: CompiledWinograd, geometry: Geometry) -> int:
    """Count the tiles of a strip, at most."""
    most = _strip(STRIP // (4 * math.prod(algorithm.points(geometry)) * (geometry.channels + _together(geometry))))
    return _even(_tiles(algorithm, geometry)[2], most)


def _even(tiles: int, most: int) -> int:
    """Give the length of strips, of about as many tiles each."""
    each = -(-tiles // max(-(-tiles // most), 1))
    return min(max(-(-each // SIDE), 1) * SIDE, most)


def _summed_strip(algorithm: CompiledWinograd, geometry: Geometry) -> int:
    """Count the tiles of a strip in the gradient of the weight."""
    most = _strip(SUMMED // (4 * (geometry.channels + geometry.filters)))
    return _even(_tiles(algorithm, geometry)[2], most)


def _strip(most: int) -> int:
    return min(max(most // SIDE * SIDE, SHORTEST), LONGEST)


@lru_cache(maxsize=4096)
def _numbers(algorithm: CompiledWinograd, geometry: Geometry, place: Place, tiles: int, own: tuple[int, int]) -> Array:
    """Describe a tile to the loops; `own`: the first filter, and whether its weight has to be prepared."""
    image, leads = place
    return np.array([image, *leads, *algorithm.points(geometry), *geometry.kernel, tiles, *own], np.intp)


@lru_cache(maxsize=2)
def _no_kernel(dtype: str) -> Array:
    return np.zeros((1, 1, 1, 1), dtype)


@lru_cache(maxsize=256)
def _matrices(points: Ints, kernel: Ints, absolute: bool, names: tuple[str, ...], dtype: str) -> Array:
    parts = []
    for name in names:
        for count, taps in zip(points, kernel, strict=True):
            found = getattr(transform(count, taps), name.removesuffix("'"))
            found = found.T if name.endswith("'") else found
            parts.append((np.abs(found) if absolute else found).ravel())
    return np.concatenate(parts).astype(dtype)


@lru_cache(maxsize=1024)
def _pieces(algorithm: CompiledWinograd, geometry: Geometry) -> tuple[Strips, ...]:
    step, before, found = algorithm.step(geometry), geometry.padding, []
    rows, across, whole = _tiles(algorithm, geometry)
    if _is_alone(algorithm, geometry):
        return _by_filters(algorithm, geometry, own=False)
    strip = _strip_of(algorithm, geometry)
    count = min(geometry.flops // PAYS, max(whole // strip, 2), MOST) if geometry.flops > ALONE else 1
    alone = -(-geometry.batch // count)  # images of a piece
    along = 1 if alone > 1 else min(-(-count // geometry.batch), rows)
    for first, last in intervals(geometry.batch, alone):
        for start, stop in intervals(rows, -(-rows // along)):
            place = first, (start * step[0] - before[0][0], -before[1][0])
            part = slice(start * step[0], min(stop * step[0], geometry.output[0]))
            tiles = _even((last - first) * (stop - start) * across, strip)
            where = slice(first, last), part, slice(0, geometry.output[1]), slice(0, geometry.filters)
            numbers = _numbers(algorithm, geometry, place, tiles, NONE)
            found.append(Strips(where, numbers, slice(0, algorithm.blocks(geometry)[0])))
    return tuple(found)


@lru_cache(maxsize=1024)
def _own_filters(algorithm: CompiledWinograd, geometry: Geometry) -> tuple[Strips, ...]:
    return _by_filters(algorithm, geometry, own=True) if _is_alone(algorithm, geometry) else ()


def _is_alone(algorithm: CompiledWinograd, geometry: Geometry) -> bool:
    """Say whether all tiles are one strip, and the weight is most of what is written and read."""
    large = 4 * math.prod(algorithm.blocks(geometry)) >= LARGE
    return large and _tiles(algorithm, geometry)[2] <= _strip_of(algorithm, geometry)


def _tiles(algorithm: CompiledWinograd, geometry: Geometry) -> Ints:
    """Count the tiles: down, across, all of the batch."""
    rows, across = (-(-n // m) for n, m in zip(geometry.output, algorithm.step(geometry), strict=True))
    return rows, across, geometry.batch * rows * across


def _by_filters(algorithm: CompiledWinograd, geometry: Geometry, *, own: bool) -> tuple[Strips, ...]:
    found, blocks = [], algorithm.blocks(geometry)[0]
    tiles = _even(_tiles(algorithm, geometry)[2], _strip_of(algorithm, geometry))
    for start, stop in intervals(blocks, OWN // BLOCK):
        place = 0, tuple(-before for before, _ in geometry.padding)
        numbers = _numbers(algorithm, geometry, place, tiles, (start * BLOCK, int(own)))
        filters = slice(start * BLOCK, min(stop * BLOCK, geometry.filters))
        where = slice(0, geometry.batch), *(slice(0, n) for n in geometry.output), filters
        found.append(Strips(where, numbers, slice(start, stop)))
    return tuple(found)
