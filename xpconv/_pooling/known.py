"""The gradient of max pooling where the places of the maxima are known: it goes straight to them.

    dx[places[o]] += dy[o]

What windows that overlap send to one pixel is added up one window after another. Where places have to be found NumPy
adds along one axis after another, so there the bits of sums can differ.
"""

from __future__ import annotations

import math

import numpy as np

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast, itemsize
from xpconv._arrays.scatter import PIECE, check_places, inside, put, put_back
from xpconv._arrays.types import Array
from xpconv._arrays.views import from_channels_last, to_channels_last
from xpconv._engine.results import Result
from xpconv._pooling import portable
from xpconv._pooling.lines import Pick
from xpconv._pooling.sweep import SHARE, Cut, images_apart, sweep
from xpconv._pooling.windows import Windows
from xpconv._shapes.cuts import block, intervals, slices
from xpconv._shapes.geometry import Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.workspace import Workspace

ROOM, BYTES = 1 << 20, 64  # of a piece of a tile, and of each of its elements, that adding along axes takes
TILE = 1 << 18  # gradients that a job puts


def put_apart(call: Call, windows: Windows, dy: Array, places: Array) -> Array:
    """(N, *O, C), (N, *O, C) -> (N, *I, C): put the gradients of windows that share no pixel at their places."""
    if call.traits.buffers:
        found = on_numpy(call, windows, dy, places, apart=True)
        assert found is not None
        return found
    values, spots = (from_channels_last(call.xp, array, call.layout) for array in (dy, places))
    found = put_back(call.name, call.space, values, spots, windows.input, call.layout, once=True)
    return to_channels_last(call.xp, found, call.layout)


def on_numpy(call: Call, windows: Windows, dy: Array, places: Array, *, apart: bool = False) -> Array | None:
    """(N, *O, C), (N, *O, C) -> (N, *I, C): put gradients at their places, or add up those of a pixel in their order.

    None where 16-bit sums of one channel of an image are beyond the workspace.
    """
    check_places(call.name, call.space, places, math.prod(windows.input))
    n, *spatial, c = windows.input_shape
    shape = (n, *spatial, c) if call.layout == "channels_last" else (n, c, *spatial)
    empty = np.zeros(shape, call.arithmetic.result)  # memory that is zero as it comes
    result: Array = to_channels_last(call.xp, empty, call.layout)
    if not windows.batch:
        return result
    windows, (grads, spots, target) = images_apart(call, windows, dy, places, result)
    over, channels, sums = (windows.batch, *windows.output), windows.channels, np.dtype(call.arithmetic.sums)
    wide = not apart and sums != result.dtype
    room = call.options.room // 2 if wide else call.options.room
    workers = max(1, min(call.options.threads, math.prod(over) * channels // SHARE, room // PIECE))
    tile = block(over, max(TILE // channels, 1))
    if not apart:  # no two jobs add to the same pixel
        tile = (1 if wide else tile[0], *windows.output)
        channels = min(channels, -(-channels * windows.batch // workers))
    if wide:
        most = room // (math.prod(windows.input) * sums.itemsize)
        if most == 0:
            return None
        channels = min(channels, most)
        workers = min(workers, most // channels)

    def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
        assert isinstance(work, BufferedWorkspace)
        index = (*slices(region)[:-1], own)
        home: Array = target[(index[0], ..., own)]
        total = work.buffer("home", home.shape, sums) if wide else home
        if wide:
            total.fill(0)
        put(total, grads[index], spots[index], add=not apart)
        if wide:
            np.copyto(home, total, casting="same_kind")

    sweep(call, windows, Cut(over, tile, channels, workers), step, 1)
    return result


def add_in_order(call: Call, windows: Windows, dy: Array, places: Array) -> Array:
    """(N, *O, C), (N, *O, C) -> (N, *I, C): add up gradients one after another; only where that goes in order."""
    xp, space, size, sums = call.xp, call.space, math.prod(windows.input), call.arithmetic.sums
    space.check_indices(call.name, size + 1)

    def of_images(first: int, last: int) -> Array:
        # (n, *O, C) -> (n, O, C)
        flat = (last - first, math.prod(windows.output), windows.channels)
        values = xp.reshape(cast(xp, dy[first:last, ...], sums), flat)
        spots = inside(space, xp.reshape(places[first:last, ...], flat), size, size)
        target = space.zeros((flat[0], size + 1, flat[2]), sums)  # the last one for those that are nowhere
        found = space.add_along(target, spots, values)[:, :size, :]
        return cast(xp, xp.reshape(found, (flat[0], *windows.input, flat[2])), call.arithmetic.result)

    wide = itemsize(xp, sums)
    image = windows.channels * (size * wide + math.prod(windows.output) * (wide + 16))
    some = max(call.options.room // image, 1)
    if some >= windows.batch or not call.traits.mutable:
        return of_images(0, windows.batch)
    result = space.empty(windows.input_shape, call.arithmetic.result, call.layout)
    for first, last in intervals(windows.batch, some):
        result[first:last, ...] = of_images(first, last)
    return result


def by_comparison(call: Call, windows: Windows, dy: Array, places: Array) -> Array:
    """(N, *O, C), (N, *O, C) -> (N, *I, C): let each pixel take the gradients of the windows that name it."""
    portable.check_places(call, windows)
    numbers = Workspace(call.space, Arithmetic.plain(call.xp, call.space.index_dtype))
    places = cast(call.xp, places, call.space.index_dtype)

    def tile(work: Workspace, readers: Region, own: slice) -> portable.Gradient:
        shares = portable.gradients(work, readers, dy[..., own])
        spots = portable.gradients(numbers, readers, places[..., own])

        def gradient(pixels: portable.Pixels) -> Array:
            here = pixels.places()

            def hits(picks: tuple[Pick, ...]) -> Array:
                return portable.picked(work, spots, *picks) == here

            return pixels.sum(shares, hits)

        return gradient

    return portable.over_input(call, windows, tile, Result.of(call, windows.input_shape), 12)
