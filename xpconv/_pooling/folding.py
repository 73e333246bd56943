"""Windows added up where they came from, on NumPy: many taps of all windows in one call, in the order of the windows.

Pixels are taken in units as long as a stride. Side by side, as many taps as a unit has pixels touch no pixel twice,
whatever the window; so a kernel of 8x8 taps at a stride of 4 takes four calls, on rows of memory as long as a unit with
its channels. Later taps go first, and so each pixel adds up its windows from the first to the last.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._pooling.compiled import SAVED
from xpconv._pooling.lines import Strided
from xpconv._pooling.sweep import SHARE, Cut, sweep
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Interval, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS
from xpconv._work.workspace import Workspace

Array = np.ndarray[Any, Any]

Add = Callable[[Array, Array], None]

# numbers of a row that NumPy adds as fast as a loop would, side by side and at a stride
LONG, LONG_STRIDED = 24, 128
NEAR = 1 << 18  # bytes of pixels that a tile adds to, which stay in the second cache


class Group(NamedTuple):
    """Neighbouring taps that lie in one unit: they are added at once."""

    taps: slice
    ahead: int  # units from that of the window's first tap
    pixels: slice  # of the unit


class Rest(NamedTuple):
    """Pixels of each unit that are not read by as many windows in all units, as some would lie beyond the ends."""

    pixels: slice
    full: Interval  # the units in which they are


@dataclass(frozen=True)
class _Axis:
    """An axis in units, the first of which begins with the padding before."""

    line: Strided
    units: Interval  # that hold pixels of the image
    groups: tuple[Group, ...]  # in the order in which they are added
    rests: tuple[Rest, ...]

    @staticmethod
    @lru_cache(maxsize=256)
    def of(line: Strided, one_by_one: bool) -> _Axis:
        """Divide an axis into units, and its taps into groups."""
        step, first = line.stride, line.before // line.stride
        units = first, -(-(line.before + line.size) // step)
        each = 1 if one_by_one or line.dilation > 1 else step
        groups = []
        for tap in range(0, line.kernel, each):
            ahead, pixel = divmod(tap * line.dilation, step)
            stop = min(tap + each, line.kernel)
            groups.append(Group(slice(tap, stop), ahead, slice(pixel, pixel + stop - tap)))
        reach: list[list[int]] = [[] for _ in range(step)]
        for group in groups:
            for pixel in range(group.pixels.start, group.pixels.stop):
                reach[pixel].append(group.ahead)
        # units that as many windows reach as would if there were some beyond the ends
        fulls = [(max(own), line.count + min(own)) if own else (units[1], units[1]) for own in reach]
        rests, pixel = [], 0
        for full, same in itertools.groupby(fulls):
            count = len(list(same))
            rests.append(Rest(slice(pixel, pixel + count), full))
            pixel += count
        return _Axis(line, units, tuple(reversed(groups)), tuple(rests))

    @property
    def exact(self) -> bool:
        """Whether the units are the pixels of the image, and no others."""
        return self.line.before % self.line.stride == 0 == self.line.size % self.line.stride

    def meeting(self, group: Group, units: Interval) -> tuple[slice, slice]:
        """Give the windows whose taps lie in these units, and the units, from the first on."""
        low = max(units[0] - group.ahead, 0)
        high = max(min(units[1] - group.ahead, self.line.count), low)
        return slice(low, high), slice(low + group.ahead - units[0], high + group.ahead - units[0])

    def ends(self, units: Interval) -> Iterator[tuple[slice, slice]]:
        """Give the units, from the first on, and their pixels where windows are missing."""
        for rest in self.rests:
            low, high = (min(max(end, units[0]), units[1]) - units[0] for end in rest.full)
            high = max(high, low)
            for missing in (slice(0, low), slice(high, units[1] - units[0])):
                if missing.start < missing.stop:
                    yield missing, rest.pixels


def on_numpy(call: Call, windows: Windows, cols: Array) -> Array | None:
    """(N, *O, *K, C) -> (N, *I, C), or None where a tile has no room."""
    sums, result = np.dtype(call.arithmetic.sums), np.dtype(call.arithmetic.result)
    if not windows.strided or not windows.batch or (cols.dtype != sums and cols.dtype.char != "e"):
        return None
    planes = call.layout != "channels_last"
    axes = tuple(_Axis.of(line, planes and line is windows.lines[-1]) for line in windows.lines)
    exact = sums == result and all(axis.exact for axis in axes)
    rows = axes[0].units[1] - axes[0].units[0]
    inner = math.prod((axis.units[1] - axis.units[0]) * axis.line.stride for axis in axes[1:])
    row = axes[0].line.stride * inner * sums.itemsize  # bytes of a unit of one channel
    room = call.options.room - UFUNC_BUFFERS
    if not exact and row > room // 2:
        return None
    channels = windows.channels if exact else min(windows.channels, max(room // 2 // row, 1))
    work = math.prod(windows.input_shape) * max(windows.taps // math.prod(windows.stride), 1)
    workers = max(1, min(call.options.threads, work // SHARE))
    near = max(NEAR // (row * channels), 1)  # units of rows
    tile = max(1, min(near // rows, -(-windows.batch // workers))), min(near, rows)
    if not exact:
        workers = max(1, min(workers, room // (tile[0] * tile[1] * row * channels + UFUNC_BUFFERS)))
    target: Array = call.space.empty(windows.input_shape, result, call.layout)
    loop = _loop(call, windows, cols) if planes or (cols.flags.c_contiguous and channels == windows.channels) else None

    def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
        assert isinstance(work, BufferedWorkspace)
        images, (low, high) = slice(*region[0]), region[1]
        units = ((low + axes[0].units[0], high + axes[0].units[0]), *(axis.units for axis in axes[1:]))
        spots = [_pixels(axis, own_units) for axis, own_units in zip(axes, units, strict=True)]
        place = target[(images, *(spot for spot, _ in spots), own)]
        home = place
        if not exact:
            sizes = [(b - a) * axis.line.stride for axis, (a, b) in zip(axes, units, strict=True)]
            shape = (place.shape[0], *sizes, place.shape[-1])
            if planes:
                home = np.moveaxis(work.buffer("home", (shape[0], shape[-1], *sizes), sums), 1, -1)
            else:
                home = work.buffer("home", shape, sums)
        _add_up(axes, units, cols[(images, ..., own)], home, planes, loop)
        if home is not place:
            inside = tuple(within for _, within in spots)
            np.copyto(place, home[(slice(None), *inside)], casting="same_kind")

    weight = max(windows.taps // math.prod(windows.stride), 1) * axes[0].line.stride * inner
    sweep(call, windows, Cut((windows.batch, rows), tile, channels, workers), step, weight)
    return target


def _pixels(axis: _Axis, units: Interval) -> tuple[slice, slice]:
    """Give the pixels of the image that units hold, and where in the units they lie."""
    begin = units[0] * axis.line.stride - axis.line.before
    low = max(begin, 0)
    high = max(min(units[1] * axis.line.stride - axis.line.before, axis.line.size), low)
    return slice(low, high), slice(low - begin, high - begin)


def _loop(call: Call, windows: Windows, cols: Array) -> Add | None:
    """Give the compiled loop, if rows are short and it is to be taken."""
    planes, last = call.layout != "channels_last", windows.lines[-1]
    row = last.count if planes else windows.channels * (last.stride if last.dilation == 1 else 1)
    name = build.NAMES.get(cols.dtype)
    if row > (LONG_STRIDED if planes else LONG) or name is None or cols.dtype != call.arithmetic.sums:
        return None
    if call.options.compiled is False or not (cols.flags.aligned and build.installed()):
        return None
    saved = SAVED["fold"] * math.prod(cols.shape)
    if call.options.compiled is None and not build.ledger.takes("fold", name, saved):
        return None
    return build.get("fold", name)


def _add_up(
    axes: tuple[_Axis, ...], units: tuple[Interval, ...], cols: Array, home: Array, planes: bool, loop: Add | None
) -> None:
    """(n, *O, *K, C) -> home (n, *units, C), whose rest is as it comes."""
    steps = [(b - a, axis.line.stride) for axis, (a, b) in zip(axes, units, strict=True)]
    # (n, *units, C) -> (n, units, stride, units, stride, …, C)
    home = home.reshape(home.shape[0], *itertools.chain.from_iterable(steps), home.shape[-1])
    # what begins with -0 ends as -0 if it is added to -0 alone; a window that is not there adds 0
    home.fill({"f": -0.0, "c": complex(-0.0, -0.0)}.get(home.dtype.kind, 0))
    whole = slice(None)
    for number, (axis, own) in enumerate(zip(axes, units, strict=True)):
        for missing, pixels in axis.ends(own):
            home[(whole, *(whole, whole) * number, missing, pixels)] = 0
    rank, channels = len(axes), home.shape[-1]
    # (n, *O, *K, C) -> (n, O, K, O, K, …, C)
    turn = (0, *itertools.chain.from_iterable((1 + a, 1 + rank + a) for a in range(rank)), 2 * rank + 1)
    cols = cols.transpose(turn)
    if planes:  # (n, …, C) -> (n, C, …), each channel with rows of memory of its own
        home, cols = np.moveaxis(home, -1, 1), np.moveaxis(cols, -1, 1)
    elif loop is not None:  # neighbouring pixels and taps are one row with their channels
        home, cols = (array.reshape(*array.shape[:-2], -1) for array in (home, cols))
    together = channels if loop is not None and not planes else 1
    lead = (*(np.newaxis,) * (7 - home.ndim + planes if loop is not None else 0), *(whole,) * (1 + planes))
    for groups in itertools.product(*(axis.groups for axis in axes)):
        source: list[Any] = list(lead)
        place = source.copy()
        for axis, group, own in zip(axes, groups, units, strict=True):
            windows, reached = axis.meeting(group, own)
            source += [windows, group.taps]
            place += [reached, group.pixels]
        source[-1], place[-1] = (_last(one, together, planes) for one in (source[-1], place[-1]))
        view = home[tuple(place)]
        if view.size:
            values = cols[tuple(source)]
            if loop is not None:
                loop(view, values)
            else:
                np.add(view, values, out=view)


def _last(part: slice, together: int, planes: bool) -> slice | int:
    """Take taps or pixels of the last axis, each of so many numbers; of planes they are single ones."""
    return part.start if planes else slice(part.start * together, part.stop * together)
