"""What the windows of one axis read, and which windows read a pixel, against the definition in plain loops."""

import itertools
import random
from typing import Any

import numpy as np

from tests.every import every
from xpconv._pooling.lines import Parts, Pick, Strided


def drawn(seed: int) -> Strided:
    draw = random.Random(seed)
    size, count = draw.randint(1, 40), draw.randint(1, 40)
    if seed % 3 == 0:
        return Parts.of(size, count)
    kernel, dilation, stride = draw.randint(1, 9), draw.randint(1, 4), draw.randint(1, 12)
    span = dilation * (kernel - 1) + 1
    before, after = draw.randrange(span), draw.randrange(span)
    room = size + before + after - span
    if room < 0:
        size, room = span, before + after
    return Strided(size, room // stride + 1, kernel, stride, dilation, before, after, inner=bool(seed % 2))


LINES = [drawn(seed) for seed in range(120)]


def read(line: Strided, window: int) -> list[int]:
    """Give the pixels of a window's taps, those in the padding too."""
    if isinstance(line, Parts):
        return list(range(window * line.size // line.count, -(-(window + 1) * line.size // line.count)))
    return [window * line.stride - line.before + tap * line.dilation for tap in range(line.kernel)]


def inside(line: Strided, window: int) -> list[int]:
    return [pixel for pixel in read(line, window) if 0 <= pixel < line.size]


def ranges(count: int) -> list[tuple[int, int]]:
    draw = random.Random(count)
    found = [(0, count)]
    for _ in range(4):
        start = draw.randrange(count)
        found.append((start, draw.randint(start + 1, count)))
    return found


def taken(pick: Pick, values: np.ndarray) -> np.ndarray:
    return values[pick.index]


@every("line", LINES)
def test_windows(line: Strided) -> None:
    for start, stop in ranges(line.count):
        wanted = [read(line, window) for window in range(start, stop)]
        seen = {pixel for window in range(start, stop) for pixel in inside(line, window)}
        low, high = line.pixels((start, stop))
        assert 0 <= low < high <= line.size
        assert seen <= set(range(low, high))
        assert len(range(low, high)) <= line.most_pixels(stop - start)
        assert line.starts((start, stop)).tolist() == [pixels[0] for pixels in wanted]
        first, end = line.reach((start, stop))
        assert (first, end) == (wanted[0][0], wanted[-1][-1] + 1)
        for padded in (False, True):
            edges = (-line.before, line.size + line.after) if padded else (0, line.size)
            counts = [sum(edges[0] <= pixel < edges[1] for pixel in pixels) for pixels in wanted]
            found = line.lengths((start, stop), padded)
            assert np.broadcast_to(found, len(counts)).tolist() == counts
        gathered: list[list[int]] = [[] for _ in wanted]
        for pick in line.taps((start, stop)):
            there = [True] * len(wanted) if pick.there is None else pick.there
            for window, pixel in enumerate(taken(pick, np.arange(first, end))):
                assert pixel in wanted[window]
                if there[window]:
                    gathered[window].append(int(pixel))
        assert gathered == wanted


@every("line", LINES)
def test_readers(line: Strided) -> None:
    for start, stop in ranges(line.units):
        first, end = line.readers((start, stop))
        count = min(end, line.count) - max(first, 0)
        assert count <= line.most_readers(stop - start)
        for residue in range(min(line.stride, line.size)):
            pixels = [residue + unit * line.stride for unit in range(start, stop)]
            readers: list[list[int]] = [[] for _ in pixels]
            picks = list(line.readings(residue, (start, stop), first))
            for pick in picks:
                there = [True] * len(pixels) if pick.there is None else pick.there
                for place, window in enumerate(taken(pick, np.arange(first, end))):
                    if there[place]:
                        readers[place].append(int(window))
            for pixel, found in zip(pixels, readers, strict=True):
                assert found == sorted(found)
                wanted = [window for window in range(line.count) if pixel in read(line, window)]
                assert [window for window in found if 0 <= window < line.count] == wanted


@every("line", [line for line in LINES if not isinstance(line, Parts)])
def test_a_reading_has_each_tap_in_both_orders(line: Strided) -> None:
    for start, stop in ranges(line.count):
        reading = line.reading((start, stop))
        low, high = reading.pixels
        box = np.arange(low, high)
        ranked = np.concatenate([box[residue :: line.stride] for residue in range(min(line.stride, len(box)))])
        found: dict[int, dict[int, int]] = {}
        for tap in reading.taps():
            windows = range(start, stop)[tap.windows]
            assert tap.whole == (len(windows) == stop - start)
            assert box[tap.pixels].tolist() == ranked[tap.sorted].tolist()
            found[tap.number] = dict(zip(windows, box[tap.pixels].tolist(), strict=True))
        for window, tap in itertools.product(range(start, stop), range(line.kernel)):
            pixel: Any = read(line, window)[tap]
            assert found.get(tap, {}).get(window) == (pixel if 0 <= pixel < line.size else None)
        everywhere = [
            tap for tap in range(line.kernel) if all(0 <= read(line, w)[tap] < line.size for w in range(line.count))
        ]
        assert reading.full == bool(everywhere)
        if reading.full:
            assert next(iter(reading.taps())).number == everywhere[0]
        assert [tap.number for tap in reading.in_order()] == sorted(found)


@every("line", [line for line in LINES if isinstance(line, Parts)])
def test_runs_cover_their_windows(line: Parts) -> None:
    assert line.kernel == max(len(read(line, window)) for window in range(line.count))
    step, shift = line.period
    for start, stop in ranges(line.count):
        low = line.reach((start, stop))[0]
        found = {}
        for run in line.runs((start, stop)):
            for again, window in itertools.product(range(run.times), range(run.windows)):
                pixels = range(run.pixel + again * shift, run.pixel + again * shift + run.pixels)
                found[start + run.window + again * step + window] = [low + pixel for pixel in pixels]
        assert found == {window: read(line, window) for window in range(start, stop)}
