"""The gradient of max pooling on NumPy: by which route a window's gradient gets to its maximum.

Back through the axes (`spread`), or where the places of the first maxima are known, straight to them. A job has whole
images, of which it takes the windows tile by tile, so that overlapping windows add up in order.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import least, native
from xpconv._arrays.scatter import PIECE, put
from xpconv._engine.noted import Notes
from xpconv._pooling.argmax import finding, first_maxima
from xpconv._pooling.compiled import Loops, effort, share, share_of
from xpconv._pooling.compiled_boxes import Boxes
from xpconv._pooling.compiled_lines import Lines
from xpconv._pooling.compiled_ties import Ties
from xpconv._pooling.reduce import Rule, pixels_of
from xpconv._pooling.spread import MaximumGradient, add_at, bits
from xpconv._pooling.sweep import CACHE, Cut, Footprint, cut, images_apart, sweep
from xpconv._pooling.windows import Windows
from xpconv._shapes.cuts import Tiles, slices
from xpconv._shapes.geometry import Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS
from xpconv._work.tape import Do, at_once
from xpconv._work.workspace import Workspace

Array = np.ndarray[Any, Any]

# kinds of tiles whose calls a thread keeps, and the bytes that those take for each tap of each axis; where that is more
# than a part of what a tile may take, no call is kept
PROGRAMS, CALLS, KEPT = 4, 6 << 10, 0.75
TAPS, LONGEST = 20, 64  # of windows, that share no pixel, whose maxima are found rather than followed back


class Routes:
    """The gradient of the images of one call."""

    def __init__(
        self, call: Call, windows: Windows, dy: Array, x: Array, ties: str, notes: Notes | None = None
    ) -> None:
        self.call, self.ties, self.sums = call, ties, np.dtype(call.arithmetic.sums)
        dtype = native(x.dtype)
        self.rule, self.real = Rule(np.maximum, dtype, least(call.xp, dtype)), dtype.kind not in "iu"
        self.result: Array = call.space.empty(windows.input_shape, call.arithmetic.result, call.layout)
        self.notes = notes
        self.do: Do = at_once
        if notes is not None:  # what loops do is noted, and nothing else served
            self.do = notes.do
            notes.know(self.result)
        self.windows, (self.pixels, self.grads, self.target) = images_apart(call, windows, x, dy, self.result)
        disjoint = windows.strided and all(line.stride >= line.span for line in windows.lines)
        # sums need no rounding
        self.direct = self.sums == self.result.dtype or (disjoint and ties == "first")
        longest = max(line.kernel for line in windows.lines)
        # few places beside many taps are found and put in less time than gradients go back through the axes
        self.put = disjoint and ties == "first" and windows.taps >= TAPS and longest <= LONGEST and not call.measures
        self.placed = self.put or not windows.strided
        self.apart = False  # no copy of a tile's pixels is made, and no call kept: there is no room for them
        self.tile: tuple[int, ...] = ()
        self.loops: Lines | Loops | Ties | None = None

    def gradient(self) -> Array | None:
        """Give the gradient of the images, or None where 16-bit sums of one image are beyond the workspace.

        None too where the notes would be of other steps than those of loops.
        """
        windows = self.windows
        if not windows.batch:
            return self.result
        cuts = self._by_places() if self.placed else self._by_axes()
        self.tile = cuts.tile
        boxes = Boxes.of(self.call, windows, self.ties, self.pixels, self.grads, self.target)
        if boxes is not None and self._of_boxes(boxes):
            return self.result
        self.loops = self._compiled(cuts)
        if self.notes is not None and not isinstance(self.loops, Loops):
            return None
        found = self._in_tiles(cuts)
        if isinstance(self.loops, Ties) and self.loops.lost:  # the first NaN of a window has all: that is left to NumPy
            self.loops = None
            found = self._in_tiles(cuts)
        return found

    def _in_tiles(self, cuts: Cut) -> Array | None:
        """Run the steps, of whole images each."""
        windows, room = self.windows, self.call.options.room - UFUNC_BUFFERS
        if self.loops is not None:  # in which a thread pays earlier than in calls
            weight = 4 + sum(line.kernel for line in windows.lines)
            own = self.loops.needs(self.tile) + UFUNC_BUFFERS
            shared = share_of(windows, self.call, own, weight, noted=self.notes is not None)
            images = shared.images if shared.whole else min(cuts.tile[0], shared.images)
            cuts = replace(cuts, tile=(images, *cuts.tile[1:]), workers=shared.workers)
        if not self.direct:
            image = math.prod(windows.input) * self.sums.itemsize
            if image > room // 3:
                return None
            channels = max(min(cuts.channels, room // 3 // image), 1)
            workers = max(1, min(cuts.workers, room // 3 * 2 // (image * channels)))
            cuts = replace(cuts, channels=channels, workers=workers)
        elif windows.batch < 4 and cuts.workers > 1 and self.loops is None:
            channels = max(-(-windows.channels * windows.batch // 4), 16)
            cuts = replace(cuts, channels=min(cuts.channels, channels))
        if self.direct and (self.apart or self.placed or not self._writes_all()):
            self.do(np.copyto, self.result, 0)
        flops = 4 if self.loops is None else effort(windows, cuts)
        sweep(self.call, windows, replace(cuts, tile=(cuts.tile[0], *windows.output)), self._step, flops, self.notes)
        return self.result

    def _of_boxes(self, boxes: Boxes) -> bool:
        """Run the loops, and say whether they served every window."""
        wrong: list[Region] = []
        arrays = self.pixels, self.grads, self.target
        held = self.apart or not (self.placed or self._in_rows())  # tiles add to zeros

        def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
            assert isinstance(work, BufferedWorkspace)
            if not boxes.gradient(work, region, own, arrays, held):
                wrong.append(region)

        share(
            self.call, self.windows, boxes.cut(self.call, self.pixels, noted=self.notes is not None), step, self.notes
        )
        return not wrong

    def _compiled(self, cuts: Cut) -> Lines | Loops | Ties | None:
        """Give compiled loops, if they serve and their work arrays fit the workspace."""
        windows = self.windows
        whole = self.direct and cuts.channels == windows.channels
        if not whole or not self._in_rows():
            return None
        arrays = self.pixels, self.grads, self.target
        found: Lines | Loops | Ties | None
        if self.ties != "first":
            found = Ties.of(self.call, windows, self.ties == "split", self.apart, *arrays)
        else:
            found = Lines.of(self.call, windows, self.apart, *arrays)
        if found is None and not self.apart and self.ties == "first":
            found = Loops.of("maxima gradient", self.call, windows, *arrays)
        return None if found is None or found.needs(self.tile) > self.call.options.room // 2 else found

    def _writes_all(self) -> bool:
        """Say whether the tiles write each pixel before they add to it."""
        return self._in_rows() and all(line.reads_all for line in self.windows.lines)

    def _in_rows(self) -> bool:
        """Say whether tiles are whole rows, so that each leaves the pixels beyond its last row alone."""
        output = self.windows.output
        return self.windows.strided and self.tile[-1] == output[-1] and self.tile[2:] == output[1:]

    def _by_places(self) -> Cut:
        needs, beside = finding(self.windows, self.rule.dtype.itemsize, self.sums.itemsize)
        return cut(self.call, self.windows, replace(needs, fixed=PIECE) if self.put else needs, beside)

    def _by_axes(self) -> Cut:
        sizes = self.rule.dtype.itemsize, self.sums.itemsize
        needs, self.apart = _needs(self.windows, *sizes, self.ties == "split", self.call.options.room)
        return cut(self.call, self.windows, needs)

    def _step(self, work: Workspace, region: Region, own: slice, part: Windows) -> None:
        """Take some images, and channels, tile by tile."""
        assert isinstance(work, BufferedWorkspace)
        (first, last), pixels = region[0], self.pixels[..., own]
        home: Array = self.target[first:last, ..., own]
        if not self.direct:
            home = work.buffer("home", home.shape, self.sums)
            home.fill(0)
        at, reached, rows = (-1, -1), 0, self._in_rows()  # the images of the last tile, and the row that it reached
        for tile in Tiles((last - first, *part.output), self.tile):
            start, stop = tile[0]
            inner = ((start + first, stop + first), *tile[1:])
            gradient = self.grads[(*slices(inner)[:-1], own)]
            if self.placed:
                self._to_places(work, home[start:stop], gradient, pixels, part, inner)
                continue
            box = part.pixels(inner)[1:]
            reached = reached if at == (start, stop) else 0
            written = max(reached - box[0][0], 0) if rows else box[0][1] - box[0][0]
            at, reached = (start, stop), box[0][1]
            if self.loops is not None and part.channels == self.windows.channels:
                assert self.direct
                self.loops.gradient(work, inner, self.pixels, self.grads, self.target, written)
                continue
            self._through_axes(work, home[start:stop], written, gradient, pixels, part, inner)
        if not self.direct:
            np.copyto(self.target[first:last, ..., own], home, casting="same_kind")

    def _to_places(
        self, work: BufferedWorkspace, home: Array, gradient: Array, pixels: Array, part: Windows, region: Region
    ) -> None:
        """Add the gradient of a region's windows to the images."""
        with np.errstate(invalid="ignore"):
            places = first_maxima(work, self.rule, pixels, part, region)
        if self.put:
            put(home, gradient, places)
            return
        shares = work.buffer("gradient", gradient.shape, self.sums)
        np.copyto(shares, gradient)
        add_at(home, places, shares)

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
        """Add the gradient of a region's windows to the images; `written` as for `MaximumGradient.spread`."""
        box, home = pixels_of(pixels, part, region), box_of(home, part, region)
        tile = self._tile(work, home, box, part, region)
        with np.errstate(invalid="ignore"):
            tile.find(box)
            careful = self.real and tile.has_nan()
            if self.call.measures:
                np.abs(gradient, out=tile.gradient)
            else:
                np.copyto(tile.gradient, gradient)
            if self.ties == "first" or not careful:
                tile.spread(home, written, self.ties, careful)
                return
            # the first NaN of a window has it all
            whole, lost = tile.gradient.copy(), tile.top != tile.top
            tile.gradient[lost] = 0
            tile.spread(home, written, self.ties, False)
            np.multiply(bits(whole), lost, out=bits(tile.gradient))
            tile.spread(home, home.shape[1], "first", True)

    def _tile(self, work: BufferedWorkspace, home: Array, box: Array, part: Windows, region: Region) -> MaximumGradient:
        """Make what a tile's gradient takes, once for all tiles of one form."""
        if self.apart:
            return MaximumGradient(work, self.rule, part, region, self.sums, (box, home))
        forms = (line.reading(places).form for line, places in zip(part.lines, region[1:], strict=True))
        key = "spread", region[0][1] - region[0][0], part.channels, *forms
        if key not in work.programs:
            if len(work.programs) == PROGRAMS:
                work.forget()
            work.programs[key] = MaximumGradient(work, self.rule, part, region, self.sums)
        found: MaximumGradient = work.programs[key]
        return found


def box_of(images: Array, windows: Windows, region: Region) -> Array:
    """Give the pixels that a region's windows read, of its images."""
    return images[(slice(None), *(slice(*interval) for interval in windows.pixels(region)[1:]))]


@lru_cache(maxsize=1024)
def _needs(windows: Windows, size: int, wide: int, split: bool, room: int) -> tuple[Footprint, bool]:
    """Count what a tile takes, and say whether there is no room for a copy of its pixels and for its calls."""
    beside, room = 2 + 2 * wide, room - UFUNC_BUFFERS
    stages = size + wide * (1 + split)
    needs = Footprint(pixels=size + wide, stages=stages, scratch=beside, results=beside, last_first=True)
    calls = PROGRAMS * CALLS * sum(line.kernel for line in windows.lines)
    least = calls + needs.of(windows, (1,) * (windows.rank + 1), windows.channels)
    apart = calls > KEPT * min(CACHE, room // 4) or least > room // 2
    needs = replace(needs, whole=True, meeting=windows.overlap)
    return replace(needs, pixels=0) if apart else replace(needs, fixed=calls), apart
