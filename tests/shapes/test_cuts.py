"""Tiles that are about as long along each axis."""

import itertools
import math

from xpconv._shapes.cuts import cube


def test_a_cube_is_short_along_every_axis_and_no_larger_than_asked_for() -> None:
    sizes, steps = (1, 7, 100, 256, 1100, 20_000), (1, 4, 30)
    for rank in (1, 2, 3):
        for spatial, step, pixels in itertools.product(
            itertools.product(sizes, repeat=rank), steps, (1, 60, 4096, 40_000)
        ):
            found = cube((3, *(-(-n // step) for n in spatial)), (1, *(step,) * rank), pixels, 256)
            lengths = [n * step for n in found[1:]]
            assert found[0] == 1
            assert max(lengths) <= max(256, step)
            assert math.prod(lengths) <= max(pixels, step**rank)
            if rank == 2 and step == 1 and min(spatial) >= 1100 and pixels >= 4096:
                assert math.prod(lengths) >= pixels // 4
                assert max(lengths) <= 4 * min(lengths)


def test_long_axes_are_cut_where_chunks_are() -> None:
    assert cube((1, 20_000, 20_000), (1, 1, 1), 4096, 256) == (1, 64, 64)
    assert cube((1, 300, 1100), (1, 1, 1), 37_000, 256) == (1, 150, 220)
    assert cube((1, 20, 30), (1, 482, 482), 4096, 256) == (1, 1, 1)
