"""Unpooling in chunks: indices may point anywhere, and mostly point nearby."""

import numpy as np
import pytest

import xpconv as xc

pytestmark = pytest.mark.needs("dask")


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_indices_may_point_anywhere_and_of_several_values_the_last_stands(layout: str) -> None:
    import dask.array as da

    rng = np.random.default_rng(0)
    repeated = 0
    for _ in range(40):
        spatial = tuple(int(n) for n in rng.integers(1, 8, int(rng.integers(1, 4))))
        sizes = tuple(int(rng.integers(n, 3 * n + 1)) for n in spatial)
        shape = (2, *spatial, 3) if layout == "channels_last" else (2, 3, *spatial)
        y, indices = rng.standard_normal(shape), rng.integers(-1, np.prod(sizes), shape)
        repeated += len(np.unique(indices[0])) < indices[0].size
        cuts = [tuple(int(rng.integers(1, n + 1)) for n in shape) for _ in range(2)]
        lazy = xc.max_unpool(da.from_array(y, cuts[0]), da.from_array(indices, cuts[1]), sizes, layout=layout)
        want = xc.max_unpool(y, indices, sizes, layout=layout)
        np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), want, str((shape, sizes, cuts)))
    assert repeated > 20


def test_a_block_reads_what_its_own_windows_can_hold() -> None:
    """What a task is given are chunks nearby and, sorted already, what others send: hardly anything."""
    import dask.array as da

    from xpconv._chunks import places

    x = np.random.default_rng(0).standard_normal((1, 96, 96, 1))
    y, indices = xc.max_pool(da.from_array(x, (1, 16, 16, 1)), 3, stride=2, padding=1, return_indices=True)
    z = xc.max_unpool(y, indices, (96, 96))
    graph = dict(z.__dask_graph__())
    blocks = [graph[key] for key in graph if key[0] == z.name]
    assert len(blocks) == 36
    assert max(len(block.dependencies) for block in blocks) <= 9 + 8
    sent: list[int] = []
    put = places.put

    def watched(*found: object, **settings: object) -> np.ndarray:
        sent.append(sum(one.values.size for one in places._flat(found)))
        return put(*found, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "put", watched)
        z = xc.max_unpool(y, indices, (96, 96))
    z.compute(scheduler="synchronous")
    pooled = 8 * 8
    assert max(sent) <= 2 * pooled < y.size


def test_an_index_outside_of_the_plane_is_refused_by_a_task() -> None:
    import dask.array as da

    y = np.ones((1, 4, 4, 1))
    lazy = xc.max_unpool(da.from_array(y, 2), da.from_array(np.full(y.shape, 64), 2), (8, 8))
    with pytest.raises(ValueError, match=r"^max_unpool: "):
        lazy.compute(scheduler="synchronous")
