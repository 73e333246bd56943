"""Sizes that a library does not know yet: a symbolic batch under export, Dask's chunks after a mask."""

import numpy as np
import pytest

import xpconv as xc

CALLS = {
    "conv": lambda x, w: xc.conv(x, w),
    "conv_transpose": lambda x, w: xc.conv_transpose(x, xc.pad(w, 0)[..., :4]),
    "max_pool": lambda x, w: xc.max_pool(x, 2),
    "avg_pool": lambda x, w: xc.avg_pool(x, 2),
    "lp_pool": lambda x, w: xc.lp_pool(x, 2, 2),
    "adaptive_max_pool": lambda x, w: xc.adaptive_max_pool(x, 2),
    "pad": lambda x, w: xc.pad(x, 1),
    "unfold": lambda x, w: xc.unfold(x, 2),
}


@pytest.mark.needs("jax")
@pytest.mark.parametrize("name", CALLS)
def test_a_symbolic_batch_is_told_the_way_and_the_way_works(name):
    import jax
    import jax.numpy as jnp
    from jax import export

    call, w = CALLS[name], jnp.ones((3, 3, 4, 4))
    argument = jax.ShapeDtypeStruct(export.symbolic_shape("b, 9, 9, 4"), jnp.float32)
    with pytest.raises(ValueError, match=rf"got x.shape=\(b, 9, 9, 4\).*lambda image: {name}\(image\[None\], …\)\[0\]"):
        export.export(jax.jit(lambda x: call(x, w)))(argument)
    one_by_one = jax.jit(lambda x: jax.vmap(lambda image: call(image[None], w)[0])(x))
    exported = export.export(one_by_one)(argument)
    for batch in (1, 3):
        x = jnp.asarray(np.random.default_rng(batch).standard_normal((batch, 9, 9, 4)), jnp.float32)
        np.testing.assert_allclose(exported.call(x), call(x, w), rtol=1e-5, atol=1e-5)


@pytest.mark.needs("jax")
def test_symbolic_pixels_are_told_what_has_to_be_known():
    import jax
    import jax.numpy as jnp
    from jax import export

    argument = jax.ShapeDtypeStruct(export.symbolic_shape("2, h, 9, 4"), jnp.float32)
    with pytest.raises(ValueError, match=r"x.shape=\(2, h, 9, 4\).*; sizes of pixels and channels have to be known"):
        export.export(jax.jit(lambda x: xc.max_pool(x, 2)))(argument)


def test_a_shape_of_unknown_chunks_alone_is_told_the_remedy():
    with pytest.raises(ValueError, match=r"^explain: .*nan.*: call compute_chunk_sizes\(\) on the array first$"):
        xc.explain((float("nan"), 9, 9, 4), (3, 3, 4, 4))


@pytest.mark.needs("dask")
@pytest.mark.parametrize("name", CALLS)
def test_chunks_of_unknown_sizes_are_told_the_remedy_and_it_works(name):
    import dask.array as da

    call, w = CALLS[name], da.ones((3, 3, 4, 4))
    x = da.from_array(np.random.default_rng(0).standard_normal((4, 9, 9, 4)), chunks=(2, 9, 9, 4))
    some = x[x[:, 0, 0, 0] > 0]
    with pytest.raises(ValueError, match=rf"^{name}: .*nan.*; call x.compute_chunk_sizes\(\) first$"):
        call(some, w)
    known = some.compute_chunk_sizes()
    np.testing.assert_allclose(call(known, w).compute(), call(known.compute(), np.ones((3, 3, 4, 4))), atol=1e-12)


def test_a_size_that_is_no_number_has_no_remedy():
    with pytest.raises(ValueError, match=r"holds whole, non-negative sizes; got input_shape=\(1, 4.5, 1\)") as caught:
        xc.conv_input_grad(np.ones((1, 3, 1)), np.ones((2, 1, 1)), (1, 4.5, 1))
    assert "known" not in str(caught.value)
