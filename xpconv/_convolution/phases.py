"""What the stride phases of an input gradient take, and how they become one array."""

from __future__ import annotations

import math
from typing import Any

from xpconv import _options
from xpconv._arrays.space import Namespace, Traits, constant
from xpconv._engine.jobs import Jobs, run
from xpconv._plan.choose import Plan
from xpconv._shapes.cuts import intervals
from xpconv._shapes.geometry import Geometry, Interval
from xpconv._work import panels as _panels
from xpconv._work import products as _products
from xpconv._work.memory import Held
from xpconv._work.workspace import Workspace

Array = Any

BESIDE = 16  # what no plan counts is at most this part of the room: 15/16 of the limit, so it stays below the limit


def side_by_side(w: Array, pixels: int, plan: Plan, held: Held, xp: Namespace, traits: Traits) -> Array:
    """Copy a weight whose last axis does not lie in one piece, if that pays for so many pixels and there is room.

    Products with it take up to twice the time; those with a large one do not, and take no pieces either. Where `gemm`
    copies it in any case, it is copied here, by all threads. A weight that is laid out anew later, by its algorithm or
    in panels, stays as it is.
    """
    inner, columns = w.shape[-2:]
    anew = plan.step or (plan.panels and _panels.repaid(w, pixels))
    if anew or w.strides[-1] == w.itemsize:
        return w
    counted = plan.algorithm == "gemm" and math.prod(w.shape[:-2]) > 1  # gemm copies it anyway
    if not counted and (pixels < _panels.REPAID or not _products.lies_at_hand(inner, columns, w.itemsize)):
        return w
    if not counted and w.nbytes > _options.current().room // BESIDE:
        return w
    target = held.empty(w.shape, w.dtype)
    cuts = intervals(columns, _panels.LINE)

    def copy(cut: Interval, work: Workspace) -> None:
        target[..., slice(*cut)] = w[..., slice(*cut)]

    run([Jobs(copy, cuts)], xp, traits, w.dtype, plan.workers, _panels.MOVED * math.prod(w.shape), False)
    return target


def adjoint_kernel(xp: Namespace, w: Array, taps: tuple[slice, ...], geometry: Geometry) -> Array:
    """Take a phase's taps, flipped, with input and output channels swapped: (*J, F/G, C)."""
    rank, groups = geometry.rank, geometry.groups
    if geometry.taps > 1:
        w = xp.flip(w[(*taps, slice(None), slice(None))], axis=tuple(range(rank)))
    spatial = tuple(range(rank))
    if groups == 1:
        return xp.permute_dims(w, (*spatial, rank + 1, rank))
    kernel, depth = w.shape[:rank], w.shape[rank]
    # (*J, C/G, G, F/G) -> (*J, F/G, G, C/G)
    w = xp.permute_dims(xp.reshape(w, (*kernel, depth, groups, -1)), (*spatial, rank + 2, rank + 1, rank))
    return xp.reshape(w, (*kernel, -1, geometry.channels))


def interleave(xp: Namespace, pieces: list[Array], geometry: Geometry) -> Array:
    """Join stride phases, in the order of `geometry.phases`: pixel first + stride * t is pixel t of its phase."""
    for axis in reversed(range(geometry.rank)):
        count = min(geometry.stride[axis], geometry.input[axis])
        if count == 1:
            continue
        joined = []
        for i in range(0, len(pieces), count):
            group = pieces[i : i + count]
            longest = group[0].shape[axis + 1]
            shape = list(group[0].shape)
            for k, piece in enumerate(group):
                if piece.shape[axis + 1] < longest:
                    short = (*piece.shape[: axis + 1], 1, *piece.shape[axis + 2 :])
                    group[k] = xp.concat([piece, constant(xp, short, 0, piece)], axis=axis + 1)
            shape[axis + 1] *= count
            # (…, T, …) each -> (…, T, stride, …) -> (…, T·stride, …)
            whole = xp.reshape(xp.stack(group, axis=axis + 2), tuple(shape))
            index = [slice(None)] * len(shape)
            index[axis + 1] = slice(0, geometry.input[axis])
            joined.append(whole[tuple(index)])
        pieces = joined
    return pieces[0]
