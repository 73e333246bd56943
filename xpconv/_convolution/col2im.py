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

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast
from xpconv._arrays.types import Array
from xpconv._engine.jobs import Jobs, run
from xpconv._engine.noted import Notes
from xpconv._plan.bands import extents, sets
from xpconv._plan.input_grad import GradientPlan
from xpconv._shapes.cuts import intervals
from xpconv._shapes.geometry import Geometry, Interval, Ints
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import Held
from xpconv._work.workspace import Workspace


def input_grad(
    call: Call, plan: GradientPlan, dz: Array, w: Array, b: Array | None, target: Array, *, conjugate: bool = False
) -> None:
    """(N, *O, F), (*K, C, F), (C,) -> (N, *I, C), into `target`; `conjugate`: the weight is taken so."""
    geometry, bands, arithmetic = plan.geometry, plan.bands, call.arithmetic
    assert bands is not None
    bias = None if b is None else cast(call.xp, b, arithmetic.sums)
    with Held() as held:
        weight = held.empty((geometry.filters, *geometry.kernel, geometry.channels), arithmetic.factors)
        if conjugate:
            np.conjugate(np.moveaxis(w, -1, 0), out=weight)
        else:
            np.copyto(weight, np.moveaxis(w, -1, 0))
        run([_jobs(plan, dz, weight, bias, target)], call.space, arithmetic, bands.workers, geometry.flops)


def note(call: Call, plan: GradientPlan, notes: Notes, dz: Array, w: Array, target: Array) -> None:
    """Note what `input_grad` does."""
    bands = plan.bands
    assert bands is not None
    view = np.moveaxis(w, -1, 0)
    weight = notes.held.empty(view.shape, w.dtype)
    notes.do(np.copyto, weight, view)
    notes.quiet = True
    notes.run([_jobs(plan, dz, weight, None, target)], call.space, call.arithmetic, bands.workers, plan.geometry.flops)


def _jobs(plan: GradientPlan, dz: Array, weight: Array, bias: Array | None, target: Array) -> Jobs:
    """Make the jobs, one for each band of some images; (F, *K, C) is the weight."""
    geometry, bands = plan.geometry, plan.bands
    assert bands is not None
    weight = weight.reshape(geometry.filters, -1)  # (F, K·C)
    rows = intervals(geometry.input[0], bands.rows)

    def compute(item: tuple[Interval, Interval], work: Workspace) -> None:
        assert isinstance(work, BufferedWorkspace)
        images, rows = (slice(*interval) for interval in item)
        band = _Band(geometry, item[1], bias)
        with work.quiet():  # shares of the padding, which are thrown away, would warn too
            band.write(dz[images], weight, work, target[images, rows])

    return Jobs(compute, list(itertools.product(intervals(geometry.batch, bands.images), rows)))


@dataclass(frozen=True)
class _Band:
    """Some rows of some images."""

    geometry: Geometry
    rows: Interval
    bias: Array | None  # (C,)

    def write(self, dz: Array, weight: Array, work: BufferedWorkspace, target: Array) -> None:
        """(n, *O, F), (F, K·C) -> (n, rows, *I[1:], C), into `target`."""
        geometry, rows, bias = self.geometry, self.rows, self.bias
        blank = 0 if bias is None else bias
        first, last = geometry.readers(0, rows)
        if first >= last:
            work.do(np.copyto, target, blank)
            return
        output = (last - first, *geometry.output[1:])
        images = dz.shape[0]
        factors = work.copy("gradient", dz[:, first:last], (images * math.prod(output), geometry.filters))
        shares = work.matmul("shares", factors, weight).reshape(images, *output, *geometry.kernel, geometry.channels)
        reached = extents(geometry, output)
        starts = (
            rows[0] + geometry.padding[0][0] - first * geometry.stride[0],
            *(before for before, _ in geometry.padding[1:]),
        )
        if _fits(target, reached, starts) and all(s >= n for s, n in zip(geometry.stride, geometry.span, strict=True)):
            # no pixel is in two windows, so shares are written where they belong, not added
            if target.shape[1:-1] != reached or geometry.stride != geometry.kernel:
                work.do(np.copyto, target, blank)  # pixels between windows, or behind the last
            for source, place in _overlaps(shares, target, geometry):
                if bias is None:
                    work.do(np.copyto, place, source, casting="same_kind")
                else:
                    repeated = np.tile(bias, source.shape[-1] // geometry.channels)
                    work.do(np.add, source, repeated, out=place, casting="same_kind")
            return
        whole = work.buffer("whole", (images, *reached, geometry.channels), work.sums)

        def add_up() -> Array:
            work.do(np.copyto, whole, 0)
            for source, place in _overlaps(shares, whole, geometry):
                work.do(np.add, place, source, out=place)
            return whole

        work.again(("shares", images, output), add_up)
        # where the padding is cut off, or pixels lie that no window reaches
        inner, outer = [slice(None)], [slice(None)]
        for start, size, extent in zip(starts, target.shape[1:-1], reached, strict=True):
            low, high = max(start, 0), min(start + size, extent)
            inner.append(slice(low, max(high, low)))
            outer.append(slice(low - start, max(high, low) - start))
        if target[tuple(outer)].shape != target.shape:
            work.do(np.copyto, target, blank)
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
    count_of_sets, length = sets(geometry), geometry.kernel[-1] * geometry.channels
    shares = shares.reshape(*shares.shape[: 2 * rank], length)
    for tap in itertools.product(*map(range, geometry.kernel[:-1])):
        offset = (*(t * d for t, d in zip(tap, geometry.dilation, strict=False)), 0)
        rows = whole[(slice(None), *geometry.tap_slices(offset, output)[:-1])]  # (n, *O[:-1], extent, C)
        for first in range(min(count_of_sets, output[-1])):
            count = len(range(first, output[-1], count_of_sets))
            start = rows[..., first * stride[-1] :, :]
            place = np.lib.stride_tricks.as_strided(
                start,
                (*start.shape[:-2], count, length),
                (*start.strides[:-2], count_of_sets * stride[-1] * start.strides[-2], start.itemsize),
            )
            yield shares[(..., slice(first, None, count_of_sets), *tap, slice(None))], place
