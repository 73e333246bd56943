"""`xpconv.jax`: values of the plain functions, derivatives against finite differences, under jit, vmap and grad."""

import copy
import inspect
import pickle
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import xpconv as xc
import xpconv.jax as xj

FIRST = {"layout": "channels_first"}

# (x.shape, w.shape, with a bias, keywords)
CONV: list[tuple[tuple[int, ...], tuple[int, ...], bool, dict[str, Any]]] = [
    ((2, 5, 2), (3, 2, 3), True, {}),
    ((1, 7, 4), (2, 2, 2), True, {"stride": 2, "padding": "same", "groups": 2}),
    ((1, 5, 1), (2, 1, 1), False, {"padding": ((3, 1),), "dilation": [2], "padding_mode": "reflect"}),
    ((1, 2, 3, 3), (2, 1, 2, 1), False, {"stride": (1, 2), "padding": "same", "groups": 2, **FIRST}),
    ((1, 2, 2, 2, 1), (2, 1, 2, 1, 1), True, {}),
]
TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], bool, dict[str, Any]]] = [
    ((1, 3, 4), (3, 1, 4), True, {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}),
    ((1, 3, 1), (2, 2, 1), True, {"stride": 2, "dilation": 3, "output_padding": 2}),  # a tail that no tap reaches
    ((1, 2, 3), (2, 1, 2), False, {"padding": ((1, 0),), **FIRST}),
]
POOL: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    ((1, 6, 2), 3, {"stride": 2, "padding": ((2, 1),), "ceil_mode": True}),
    ((1, 1, 3, 2), [2, 1], {"stride": 1, **FIRST}),
]


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    with jax.enable_x64(True):  # of this thread, until the test ends
        yield


def normal(*shape: int, dtype: str = "float64") -> Any:
    rng = np.random.default_rng(sum(shape))
    values = rng.standard_normal(shape)
    return jnp.asarray(values + 1j * rng.standard_normal(shape) if dtype == "complex128" else values)


def distinct(*shape: int) -> Any:
    """Values so far apart that no step of a finite difference changes which is the largest."""
    size = int(np.prod(shape))
    return jnp.asarray(np.random.default_rng(0).permutation(size).reshape(shape) / size)


def demand_derivatives(function: Any, arguments: tuple[Any, ...]) -> None:
    check_grads(jax.jit(function), arguments, 2, modes=["rev"])


def demand_equal(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


@pytest.mark.parametrize("case", CONV, ids=str)
def test_conv(case: Any) -> None:
    x_shape, w_shape, biased, keywords = case
    filters = w_shape[0] if keywords.get("layout") == "channels_first" else w_shape[-1]
    arguments = (normal(*x_shape), normal(*w_shape), *([normal(filters)] if biased else []))
    demand_equal(xj.conv(*arguments, **keywords), xc.conv(*arguments, **keywords))
    demand_derivatives(lambda *arrays: xj.conv(*arrays, **keywords), arguments)


@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
def test_conv_transpose(case: Any) -> None:
    x_shape, w_shape, biased, keywords = case
    depth = w_shape[1] if keywords.get("layout") == "channels_first" else w_shape[-2]
    arguments = (normal(*x_shape), normal(*w_shape), *([normal(depth * keywords.get("groups", 1))] if biased else []))
    demand_equal(xj.conv_transpose(*arguments, **keywords), xc.conv_transpose(*arguments, **keywords))
    demand_derivatives(lambda *arrays: xj.conv_transpose(*arrays, **keywords), arguments)


@pytest.mark.parametrize("case", POOL, ids=str)
def test_max_pool(case: Any) -> None:
    shape, window, keywords = case
    x = distinct(*shape)
    y, indices = xj.max_pool(x, window, return_indices=True, **keywords)
    wanted, places = xc.max_pool(x, window, return_indices=True, **keywords)
    demand_equal(y, wanted)
    demand_equal(indices, places)
    demand_derivatives(lambda a: xj.max_pool(a, window, **keywords), (x,))
    with_indices = jax.grad(lambda a: jnp.sum(xj.max_pool(a, window, return_indices=True, **keywords)[0] ** 2))
    demand_equal(with_indices(x), jax.grad(lambda a: jnp.sum(xj.max_pool(a, window, **keywords) ** 2))(x))


def test_a_window_without_a_tap_gives_and_takes_nothing() -> None:
    x, keywords = distinct(1, 2, 1), {"stride": 1, "padding": 2, "dilation": 3}

    @jax.jit
    def derivatives(x: Any) -> Any:
        _, indices = xj.max_pool(x, 2, return_indices=True, **keywords)
        y, pull = jax.vjp(lambda a: xj.max_pool(a, 2, **keywords), x)
        dx, pull_again = jax.vjp(lambda dy: pull(dy)[0], jnp.ones_like(y))
        return indices, dx, pull_again(jnp.ones_like(dx))[0]

    indices, dx, back = derivatives(x)
    assert (indices == -1).any()
    assert dx.sum() == (indices >= 0).sum()
    demand_equal(back, indices >= 0)


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("case", POOL, ids=str)
def test_avg_pool(case: Any, count_include_pad: bool) -> None:
    shape, window, keywords = case
    keywords = {**keywords, "count_include_pad": count_include_pad}
    x = normal(*shape)
    demand_equal(xj.avg_pool(x, window, **keywords), xc.avg_pool(x, window, **keywords))
    demand_derivatives(lambda a: xj.avg_pool(a, window, **keywords), (x,))


def test_complex_numbers_follow_jax() -> None:
    """JAX's gradients of complex numbers are the conjugates of PyTorch's."""
    x, w = normal(1, 4, 2, dtype="complex128"), normal(3, 2, 2, dtype="complex128")
    demand_derivatives(lambda a, b: xj.conv(a, b, padding=1), (x, w))
    demand_derivatives(lambda a, b: xj.conv_transpose(a, b, stride=2), (x, w))


def test_the_gradients_are_those_of_the_plain_function() -> None:
    x, w, b = normal(2, 6, 5, 2), normal(3, 2, 2, 3), normal(3)

    def loss(conv: Any) -> Any:
        return jax.jit(jax.grad(lambda *a: jnp.sum(jnp.sin(conv(*a, stride=2, padding="same"))), argnums=(0, 1, 2)))

    for found, wanted in zip(loss(xj.conv)(x, w, b), loss(xc.conv)(x, w, b), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_vmap() -> None:
    """Over images, over kernels and over both; of a gradient, for the gradient of each example."""
    x, w = normal(3, 6, 2), normal(3, 3, 2, 2)
    together = xj.conv(x, w[0], padding=1)
    conv = jax.jit(lambda a, k: xj.conv(a[None], k, padding=1)[0])
    np.testing.assert_allclose(jax.vmap(conv, (0, None))(x, w[0]), together, rtol=1e-12)
    both = jax.vmap(conv)(x, w)
    for i in range(3):
        np.testing.assert_allclose(both[i], conv(x[i], w[i]), rtol=1e-12)
    gradient = jax.grad(lambda k, a: jnp.sum(conv(a, k) ** 2))
    each = jax.vmap(gradient, (None, 0))(w[0], x)
    for i in range(3):
        np.testing.assert_allclose(each[i], gradient(w[0], x[i]), rtol=1e-12)


def test_hessian_by_reverse_mode_twice() -> None:
    x, w = normal(1, 4, 1), normal(2, 1, 1)
    hessian = jax.jit(jax.jacrev(jax.jacrev(lambda k: jnp.sum(xj.conv(x, k) ** 2))))(w).reshape(2, 2)
    windows = np.stack([np.asarray(x[0, i : i + 3, 0]) for i in range(2)])
    np.testing.assert_allclose(hessian, 2 * windows @ windows.T, rtol=1e-12)


def test_forward_mode_is_refused_as_the_docstring_says() -> None:
    x, w = normal(1, 4, 1), normal(2, 1, 1)
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(lambda k: xj.conv(x, k), (w,), (w,))
    jax.jvp(lambda k: xc.conv(x, k), (w,), (w,))


def test_only_the_arguments_are_kept() -> None:
    x, w = normal(2, 12, 12, 8), normal(3, 3, 8, 8)

    def kept(conv: Any) -> int:
        return sum(leaf.nbytes for leaf in jax.tree.leaves(jax.vjp(conv, x, w)[1]))

    arguments = 8 * (x.size + w.size)
    assert kept(xj.conv) == arguments
    assert kept(xc.conv) > 4 * arguments
    assert kept(lambda x, _: xj.avg_pool(x, 2)) == 0


def test_dtype_converts_and_the_gradients_come_back_in_the_arguments_dtypes() -> None:
    x, w = normal(1, 6, 2).astype("float16"), normal(3, 2, 4).astype("float16")
    z, pull = jax.vjp(lambda *a: xj.conv(*a, dtype="float32"), x, w)
    assert z.dtype == jnp.float32
    assert [gradient.dtype for gradient in pull(z)] == [jnp.float16] * 2


def test_errors_are_those_of_the_plain_functions() -> None:
    x, w = normal(1, 5, 2), normal(3, 2, 2)
    with pytest.raises(ValueError, match="conv: padding is never negative"):
        xj.conv(x, w, padding=-1)
    with pytest.raises(TypeError, match="belong to one library"):
        xj.conv(x, np.asarray(w))
    with pytest.raises(TypeError, match=r"max_pool: xpconv\.jax takes arrays of jax; got x of numpy"):
        xj.max_pool(np.asarray(x), 2)


@pytest.mark.parametrize("name", xj.__all__)
def test_the_functions_are_called_as_the_plain_ones_and_can_be_sent_elsewhere(name: str) -> None:
    function = getattr(xj, name)
    ours, plain = (inspect.signature(f).parameters.values() for f in (function, getattr(xc, name)))
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in plain]
    assert copy.deepcopy(function) == function
    assert pickle.loads(pickle.dumps(function)) == function
