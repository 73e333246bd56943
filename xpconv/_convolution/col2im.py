"""Gradients of images by col2im: each window's share of all its pixels in one product, added up where windows overlap.

    shares (n·O, K·C) = dz (n·O, F) @ weight (F, K·C)

The correlation that gives a stride phase's gradient reads the gradient of each window several times, and the zeros
around it as well; here each window is multiplied once. That pays where there are fewer channels than filters, or images
are hardly larger than windows, or windows hardly overlap: one product takes the place of one for each phase.

Source: Y. Jia et al., "Caffe: convolutional architecture for fast feature embedding", ACM MM 2014, for the name;
V. Dumoulin, F. Visin, arXiv 1603.07285, for the arithmetic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv import _options
from xpconv._arrays.space import Namespace, Traits, cast
from xpconv._engine.jobs import Jobs, run
from xpconv._plan.choose import ALONE, Plan
from xpconv._plan.rates import RATES, THIN
from xpconv._plan.tiles import PARTS, UFUNC_BUFFERS
from xpconv._pooling.spread import readers
from xpconv._shapes.cuts import intervals
from xpconv._shapes.geometry import Geometry, Interval, Ints
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import Held
from xpconv._work.workspace import Arithmetic
from xpconv.algorithms.cost import charged_products

Array = Any

# measured on the machine of `_cost.RATES`, on a dozen layers of 3 to 512 channels, 2026-11
TILE = 1 << 22  # bytes that a tile's work arrays should have at most: the fewer calls, the less threads wait
LEAST_FLOPS = 4_000_000  # in a tile of whole images; below, calls take longer than arithmetic
# what the plans of several phases predict counts so many times, because they come nearer to the truth than what is
# predicted here: of 14 layers on two threads all but one (15.2 against 15.7 ms) then get the faster of the two
OPTIMISTIC = 1.2
PHASE = 40e-6  # seconds that each phase takes beside what its plan predicts
TURNED = 3e-9  # seconds to lay out one number of the weight anew
ADDED_PIECE = 17e-9  # seconds to add one contiguous piece of the shares


@dataclass(frozen=True)
class Bands:
    """How the images are cut, and what that is predicted to cost."""

    images: int
    rows: int  # of the images, along their first spatial axis
    workers: int
    seconds: float  # for one worker


def possible(geometry: Geometry, traits: Traits, dtypes: Arithmetic, itemsize: int, share: int) -> Bands | None:
    """Cut the images whatever it costs, for so many quarters of the workspace; None where this does not serve."""
    if geometry.groups > 1 or not traits.buffers or dtypes.exact is not None or geometry.positions == 0:
        return None
    options = _options.current()
    return _bands(geometry, itemsize, options.room // 4 * share, options.threads)


def worth_it(
    geometry: Geometry, plans: list[Plan], traits: Traits, dtypes: Arithmetic, itemsize: int, share: int
) -> Bands | None:
    """Cut the images, if that is predicted to take less time than the plans of the phases."""
    found = possible(geometry, traits, dtypes, itemsize, share)
    if found is None:
        return None
    phases = sum(c.seconds for plan in plans for c in plan.candidates if c.algorithm == plan.algorithm)
    phases = phases * (OPTIMISTIC if len(plans) > 1 else 1) + PHASE * len(plans)
    return found if found.seconds < phases else None


@lru_cache(maxsize=1024)
def _bands(geometry: Geometry, itemsize: int, room: int, threads: int) -> Bands | None:
    size, stride, span = geometry.input[0], geometry.stride[0], geometry.span[0]
    columns = geometry.taps * geometry.channels
    across = math.prod(geometry.output[1:])  # windows beside each other
    wide = math.prod(_extents(geometry, geometry.output)[1:]) * geometry.channels  # numbers in a row of the sum
    weight = geometry.filters * columns

    def windows(rows: int) -> int:
        """Count the windows along the first axis that reach so many rows."""
        return min(-(-(rows + span - 1) // stride), geometry.output[0])

    def needs(images: int, rows: int) -> int:
        count = windows(rows)
        share = count * across * columns + ((count - 1) * stride + span) * wide
        return images * (share + count * across * geometry.filters) * itemsize + UFUNC_BUFFERS

    room -= weight * itemsize
    enough = min(TILE, room // 4)
    rows = size
    while rows > 1 and needs(1, rows) > enough:
        rows = -(-rows // 2)
    if needs(1, rows) > room:
        return None
    images, flops = 1, 2 * windows(rows) * across * weight
    if rows == size:
        most = max(-(-geometry.batch // PARTS), -(-LEAST_FLOPS // flops))
        while images < min(geometry.batch, most) and needs(2 * images, rows) <= enough:
            images *= 2
    tiles = -(-size // rows) * -(-geometry.batch // images)
    count = geometry.batch * -(-size // rows) * windows(rows) * across  # of windows, those of two bands counted twice
    rates, pieces = RATES["cpu"], _pieces(geometry)
    moved = 4 * columns * count + 4 * geometry.batch * size * wide
    thin = 1 + THIN / (images * windows(rows) * across)  # each tile reads the weight
    seconds = (
        itemsize / 4 * count * charged_products(1, geometry.filters, columns) * thin * rates.multiply_add
        + itemsize * (moved + tiles * weight) * rates.byte
        + weight * TURNED
        + count * pieces * ADDED_PIECE
        + tiles * (pieces * _sets(geometry) + 5) * rates.call
    )
    workers = max(1, min(threads, room // needs(images, rows))) if seconds >= ALONE else 1
    return Bands(images, rows, workers, seconds)


def _extents(geometry: Geometry, output: Ints) -> Ints:
    """Give the pixels from the first that so many windows reach to the last, for each axis."""
    return tuple(geometry.slab_size(axis, n) for axis, n in enumerate(output))


def _sets(geometry: Geometry) -> int:
    """Count the sets of windows along the last axis that do not overlap: every so-many-th window."""
    return 1 if geometry.dilation[-1] > 1 else -(-geometry.kernel[-1] // geometry.stride[-1])


def _pieces(geometry: Geometry) -> int:
    """Count the contiguous pieces of a window's shares."""
    return geometry.taps if geometry.dilation[-1] > 1 else math.prod(geometry.kernel[:-1])


def input_grad(
    dz: Array, w: Array, b: Array | None, geometry: Geometry, bands: Bands, xp: Namespace, traits: Traits,
    dtypes: Arithmetic, target: Array,
) -> None:  # fmt: skip
    """(N, *O, F), (*K, C, F), (C,) -> (N, *I, C), into `target`."""
    bias = None if b is None else cast(xp, b, dtypes.sums)
    with Held() as held:
        weight = held.empty((geometry.filters, *geometry.kernel, geometry.channels), dtypes.factors)
        np.copyto(weight, np.moveaxis(w, -1, 0))
        weight = weight.reshape(geometry.filters, -1)  # (F, K·C)
        rows = intervals(geometry.input[0], bands.rows)
        items = list(itertools.product(intervals(geometry.batch, bands.images), rows))

        def compute(item: tuple[Interval, Interval], work: Any) -> None:
            images, rows = (slice(*interval) for interval in item)
            with work.quiet():  # shares of the padding, which are thrown away, would warn too
                _band(dz[images], weight, bias, geometry, item[1], work, target[images, rows])

        run([Jobs(compute, items)], xp, traits, dtypes.sums, bands.workers, geometry.flops, False, dtypes)


def _band(
    dz: Array, weight: Array, bias: Array | None, geometry: Geometry, rows: Interval, work: BufferedWorkspace,
    target: Array,
) -> None:  # fmt: skip
    """(n, *O, F), (F, K·C), (C,) -> (n, rows, *I[1:], C), into `target`."""
    blank = 0 if bias is None else bias
    first, last = readers(geometry, 0, rows)
    if first >= last:
        target[...] = blank
        return
    output = (last - first, *geometry.output[1:])
    images = dz.shape[0]
    factors = work.copy("gradient", dz[:, first:last], (images * math.prod(output), geometry.filters))
    shares = work.matmul("shares", factors, weight).reshape(images, *output, *geometry.kernel, geometry.channels)
    extents = _extents(geometry, output)
    starts = (
        rows[0] + geometry.padding[0][0] - first * geometry.stride[0],
        *(before for before, _ in geometry.padding[1:]),
    )
    if _fits(target, extents, starts) and all(s >= n for s, n in zip(geometry.stride, geometry.span, strict=True)):
        # no pixel is in two windows, so shares are written where they belong, not added
        if target.shape[1:-1] != extents or geometry.stride != geometry.kernel:
            target[...] = blank  # pixels between windows, or behind the last
        for source, place in _overlaps(shares, target, geometry):
            if bias is None:
                np.copyto(place, source, casting="same_kind")
            else:
                repeated = np.tile(bias, source.shape[-1] // geometry.channels)
                np.add(source, repeated, out=place, casting="same_kind")
        return
    whole = work.buffer("whole", (images, *extents, geometry.channels), work.sums)

    def add_up() -> Array:
        work.do(whole.fill, 0)
        for source, place in _overlaps(shares, whole, geometry):
            work.do(np.add, place, source, out=place)
        return whole

    work.again(("shares", images, output), add_up)
    # where the padding is cut off, or pixels lie that no window reaches
    inner, outer = [slice(None)], [slice(None)]
    for start, size, extent in zip(starts, target.shape[1:-1], extents, strict=True):
        low, high = max(start, 0), min(start + size, extent)
        inner.append(slice(low, max(high, low)))
        outer.append(slice(low - start, max(high, low) - start))
    if target[tuple(outer)].shape != target.shape:
        target[...] = blank
    work.store(target, tuple(outer), whole[tuple(inner)], bias)


def _fits(target: Array, extents: Ints, starts: Ints) -> bool:
    """Say whether all that the windows reach lies in the target, from its first pixel on, its rows in one piece."""
    inside = all(n <= size for n, size in zip(extents, target.shape[1:-1], strict=True)) and not any(starts)
    in_rows: bool = target.strides[-2:] == (target.shape[-1] * target.itemsize, target.itemsize)
    return inside and in_rows


def _overlaps(shares: Array, whole: Array, geometry: Geometry) -> Iterator[tuple[Array, Array]]:
    """Say what is added where: (n, *O, *K, C), (n, *extent, C) -> views of equal shape, without overlap in each.

    Neighbouring taps of the last axis lie side by side in both, so windows that do not overlap are added at once.
    """
    output, stride, rank = shares.shape[1 : 1 + geometry.rank], geometry.stride, geometry.rank
    if geometry.dilation[-1] > 1:
        for tap, offset in geometry.offsets():
            place = whole[(slice(None), *geometry.tap_slices(offset, output), slice(None))]
            yield shares[(..., *tap, slice(None))], place
        return
    sets, length = _sets(geometry), geometry.kernel[-1] * geometry.channels
    shares = shares.reshape(*shares.shape[: 2 * rank], length)
    for tap in itertools.product(*map(range, geometry.kernel[:-1])):
        offset = (*(t * d for t, d in zip(tap, geometry.dilation, strict=False)), 0)
        rows = whole[(slice(None), *geometry.tap_slices(offset, output)[:-1])]  # (n, *O[:-1], extent, C)
        for first in range(min(sets, output[-1])):
            count = len(range(first, output[-1], sets))
            start = rows[..., first * stride[-1] :, :]
            place = np.lib.stride_tricks.as_strided(
                start,
                (*start.shape[:-2], count, length),
                (*start.strides[:-2], sets * stride[-1] * start.strides[-2], start.itemsize),
            )
            yield shares[(..., slice(first, None, sets), *tap, slice(None))], place
