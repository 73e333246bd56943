"""What is promised of bits and of kinds: an image alone and in a batch, subclasses of NumPy's arrays."""

import numpy as np
import pytest

import xpconv as xc

RNG = np.random.default_rng(0)
SHAPES = (((8, 14, 14, 32), (3, 3, 32, 64)), ((6, 28, 28, 3), (5, 5, 3, 16)), ((32, 8, 8, 32), (3, 3, 32, 64)))


@pytest.mark.parametrize(("images", "kernel"), SHAPES)
def test_one_image_a_call_gives_the_same_bits_whatever_stands_beside_it(images, kernel):
    x, w = (RNG.standard_normal(shape).astype("float32") for shape in (images, kernel))
    one_by_one = [xc.conv(image[None], w, padding=1) for image in x]
    for threads in (1, 3):
        with xc.set_options(threads=threads):
            again = [xc.conv(image[None].copy(), w, padding=1) for image in x[::-1]][::-1]
        assert [a.tobytes() for a in again] == [a.tobytes() for a in one_by_one]
    # in a batch the last digits may be others, within the bounds of both
    whole, bound = xc.conv(x, w, padding=1), xc.error_bound(x, w, padding=1)
    beside = np.concatenate([xc.error_bound(image[None], w, padding=1) for image in x])
    assert (np.abs(np.concatenate(one_by_one).astype("float64") - whole) <= bound.astype("float64") + beside).all()


@pytest.mark.parametrize("algorithm", ["direct", "gemm"])
@pytest.mark.parametrize(("images", "kernel"), SHAPES)
def test_whole_numbers_have_the_same_bits_alone_and_in_a_batch(images, kernel, algorithm):
    x, w = (RNG.integers(-8, 9, shape).astype("float32") for shape in (images, kernel))
    whole = xc.conv(x, w, padding=1, algorithm=algorithm)
    for image, wanted in zip(x, whole, strict=True):
        assert xc.conv(image[None], w, padding=1, algorithm=algorithm).tobytes() == wanted.tobytes()


class Mine(np.ndarray):
    """A subclass, as people have them for units or metadata."""


def mine(*shape):
    return np.ones(shape).view(Mine)


Y, HOW = mine(1, 2, 2, 1), {"f": 2, "stride": 2}
CALLS = {
    "conv": lambda: xc.conv(mine(1, 4, 4, 1), mine(3, 3, 1, 1), mine(1)),
    "conv_vjp": lambda: xc.conv_vjp(Y, mine(1, 4, 4, 1), mine(3, 3, 1, 1)),
    "conv_transpose": lambda: xc.conv_transpose(Y, mine(3, 3, 1, 1)),
    "error_bound": lambda: xc.error_bound(mine(1, 4, 4, 1), mine(3, 3, 1, 1)),
    "prepare_conv": lambda: xc.prepare_conv(mine(3, 3, 1, 1), input_shape=(1, 4, 4, 1))(mine(1, 4, 4, 1)),
    "max_pool": lambda: xc.max_pool(mine(1, 4, 4, 1), 2, return_indices=True),
    "max_pool_vjp": lambda: xc.max_pool_vjp(Y, mine(1, 4, 4, 1), 2),
    "max_unpool": lambda: xc.max_unpool(Y, np.arange(4).reshape(1, 2, 2, 1).view(Mine), 4),
    "avg_pool_vjp": lambda: xc.avg_pool_vjp(Y, (1, 4, 4, 1), 2),
    "lp_pool": lambda: xc.lp_pool(mine(1, 4, 4, 1), 2, 2),
    "adaptive_avg_pool": lambda: xc.adaptive_avg_pool(mine(1, 4, 4, 1), 2),
    "unfold": lambda: xc.unfold(mine(1, 4, 4, 1), 2),
    "fold": lambda: xc.fold(mine(1, 3, 3, 2, 2, 1), (1, 4, 4, 1), 2),
    "pad": lambda: xc.pad(mine(1, 4, 4, 1), 0),
    "pad_vjp": lambda: xc.pad_vjp(mine(1, 4, 4, 1), (1, 4, 4, 1), 0),
    "zero_pad": lambda: xc.zero_pad(mine(1, 4, 4, 1), 1),
    "conv_single_step": lambda: xc.conv_single_step(mine(3, 3, 1), mine(3, 3, 1), mine(1, 1, 1)),
    "conv_forward": lambda: xc.conv_forward(
        mine(1, 4, 4, 1), mine(3, 3, 1, 1), mine(1, 1, 1, 1), {"stride": 1, "pad": 1}
    ),
    "pool_forward": lambda: xc.pool_forward(mine(1, 4, 4, 1), HOW),
    "pool_backward": lambda: xc.pool_backward(Y, (mine(1, 4, 4, 1), HOW)),
    "create_mask_from_window": lambda: xc.create_mask_from_window(mine(2, 2)),
    "distribute_value": lambda: xc.distribute_value(np.array(2.0).view(Mine), (2, 2)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_subclass_goes_in_and_a_plain_array_comes_out(name):
    found = CALLS[name]()
    results = found if isinstance(found, tuple) else (found,)
    for result in results[:1] if name in ("conv_forward", "pool_forward") else results:  # the rest is the cache
        assert type(result) in (np.ndarray, np.float64)
