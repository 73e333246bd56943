"""The gradient of max pooling where the places of the maxima are known: it goes straight to them.

    dx[places[o]] += dy[o]

The sums of windows that overlap are taken in the order in which they are where places have to be found, so that the
bits are the same: on NumPy axis after axis, elsewhere one window after another.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast, itemsize
from xpconv._arrays.scatter import check_places, flattened, inside, put, put_back
from xpconv._arrays.types import Array
from xpconv._arrays.views import from_channels_last, to_channels_last
from xpconv._engine.results import Result
from xpconv._pooling import portable
from xpconv._pooling.lines import Pick, Windows
from xpconv._pooling.reduce import shape_along
from xpconv._pooling.routes import Routes, box_of
from xpconv._pooling.spread import add_at
from xpconv._pooling.sweep import SHARE, Cut, images_apart, sweep
from xpconv._shapes.cuts import block, intervals, slices
from xpconv._shapes.geometry import Ints, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.workspace import Workspace

ROOM, BYTES = 1 << 20, 64  # of a piece of a tile, and of each of its elements, that adding along axes takes
TILE = 1 << 18  # gradients that a job puts


def put_apart(call: Call, windows: Windows, dy: Array, places: Array) -> Array:
    """(N, *O, C), (N, *O, C) -> (N, *I, C): put the gradients of windows that share no pixel at their places."""
    if not call.traits.buffers or not windows.batch:
        values, spots = (from_channels_last(call.xp, array, call.layout) for array in (dy, places))
        found = put_back(call.name, call.space, values, spots, windows.input, call.layout, once=True)
        return to_channels_last(call.xp, found, call.layout)
    check_places(call.name, call.space, places, math.prod(windows.input))
    n, *spatial, c = windows.input_shape
    shape = (n, *spatial, c) if call.layout == "channels_last" else (n, c, *spatial)
    result: Array = to_channels_last(
        call.xp, np.zeros(shape, call.arithmetic.result), call.layout
    )  # memory that is zero as it comes
    windows, (grads, spots, target) = images_apart(call, windows, dy, places, result)
    over = (windows.batch, *windows.output)
    workers = max(1, min(call.options.threads, math.prod(over) * windows.channels // SHARE))
    cuts = Cut(over, block(over, max(TILE // windows.channels, 1)), windows.channels, workers)

    def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
        index = slices(region)
        put(target[index[0]], grads[index], spots[index])

    sweep(call, windows, cuts, step, 1)
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


class Straight(Routes):
    """The gradient of one call on NumPy, in the tiles of the routes that find the places."""

    known = True

    def __init__(self, call: Call, windows: Windows, dy: Array, places: Array) -> None:
        super().__init__(call, windows, dy, places.astype(np.intp, copy=False), "first", dy.dtype)

    def _to_places(
        self, work: BufferedWorkspace, home: Array, gradient: Array, pixels: Array, part: Windows, region: Region
    ) -> None:
        self._add(home, pixels[slices(region)], gradient)

    def _through_axes(
        self,
        work: BufferedWorkspace,
        home: Array,
        written: int,
        gradient: Array,
        pixels: Array,
        part: Windows,
        region: Region,
    ) -> None:
        places, target = pixels[slices(region)], box_of(home, part, region)
        rows = None if self.apart else written
        largest = max(map(math.prod, (gradient.shape[1:-1], target.shape[1:-1])))
        channels = max(1, min(ROOM, self.call.options.room // 8) // (BYTES * largest))
        for image, own in itertools.product(range(len(home)), intervals(gradient.shape[-1], channels)):
            some = (slice(image, image + 1), ..., slice(*own))
            if not add_along_axes(part, region, gradient[some], places[some], target[some], rows):
                self._add(home[some], places[some], gradient[some])

    def _add(self, home: Array, places: Array, gradient: Array) -> None:
        """Add gradients to the images, one after another."""
        places, values = places.copy(), gradient.astype(self.sums)
        lost = places < 0
        if lost.any():
            places[lost] = 0
            values[lost] = 0
        add_at(home, places, values)


def add_along_axes(
    windows: Windows, region: Region, gradient: Array, places: Array, target: Array, written: int | None
) -> bool:
    """Add the gradients of a tile's windows to the box of pixels that they read.

    In the order of `MaximumGradient`: what windows one after another along the first axis have in a row, from the last
    window to the first, then along the next axis. The first `written` rows of the target hold sums, to which those of
    the tile are added; if it is None, all do, and each gradient is added by itself. False, and nothing is done, where
    the places are not those of maxima of these windows.
    """
    box = windows.pixels(region)[1:]
    there = places >= 0
    lost = None if there.all() else ~there
    coordinates: list[Array] = []
    for axis in reversed(range(windows.rank)):
        coordinate = places
        if axis:
            places = places // windows.lines[axis].size
            coordinate = coordinate - places * windows.lines[axis].size
        coordinate = coordinate - box[axis][0]
        if lost is not None:
            coordinate[lost] = 0
        if coordinate.min() < 0 or coordinate.max() >= box[axis][1] - box[axis][0]:
            return False
        coordinates.insert(0, coordinate)
    values = gradient.astype(target.dtype)
    if lost is not None:
        values[lost] = 0
    for axis in range(windows.rank):
        final = axis == windows.rank - 1
        shape = shape_along(values, axis, box[axis][1] - box[axis][0])
        out = target if final and written is None else np.zeros(shape, target.dtype)
        keys = _keys(out, axis, coordinates.pop(0))
        if not final:
            cells = [_carried(shape, keys, _backwards(other, axis)) for other in coordinates]
            if any(cell is None for cell in cells):
                return False
            coordinates = [cell for cell in cells if cell is not None]
        np.add.at(flattened(out)[0], keys, _backwards(values, axis))
        values = out
    if written is not None:
        target[:, :written] += values[:, :written]
        target[:, written:] = values[:, written:]
    return True


def _backwards(array: Array, axis: int) -> Array:
    """Give the elements with a spatial axis from its last to its first."""
    return np.flip(array, axis + 1).reshape(-1)


def _keys(out: Array, axis: int, coordinate: Array) -> Array:
    """Say where in an array seen as one axis elements go whose coordinate along a spatial axis is given."""
    steps = [step // out.itemsize for step in out.strides]
    keys = np.maximum(coordinate, 0) * steps[axis + 1]  # nothing has none: it goes to the first
    for other, (step, size) in enumerate(zip(steps, coordinate.shape, strict=True)):
        if other != axis + 1 and size > 1:
            keys += (np.arange(size) * step).reshape((-1,) + (1,) * (keys.ndim - 1 - other))
    return _backwards(keys, axis)


def _carried(shape: Ints, keys: Array, values: Array) -> Array | None:
    """Put coordinates at places, -1 where there is none; None if two that meet are not the same."""
    found = np.full(math.prod(shape), -1, values.dtype)
    if values.min() < 0:
        some = values >= 0
        keys, values = keys[some], values[some]
    found[keys] = values
    return found.reshape(shape) if np.array_equal(found[keys], values) else None
