"""What a layer is, and the layers without a window: ReLU, Flatten, Dense."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from array_api_compat import device

from xpconv._arrays.space import space_of
from xpconv._arrays.types import HostArray
from xpconv._shapes.keywords import keywords_of
from xpconv._work import threads as _threads
from xpconv.nn import rectify as _rectify
from xpconv.nn.checks import Array, Cache, Params, entry, positive_int, real_floating, same_shape
from xpconv.nn.summary import products

ONE_THREAD = 64_000_000  # multiply-adds, at most 1.3 ms of one core (48e9 a second)

HostParams = dict[str, HostArray]


class Layer(Protocol):
    """What a `Sequential` asks of a layer. A layer holds options only; its parameters travel beside it.

    ``init`` draws the parameters on the host, ``forward`` gives the output and what ``backward`` needs, and
    ``backward`` gives the gradients by the input and, under the same keys, by the parameters. They change no argument.
    A layer with parameters may have ``gradients``, with the arguments of ``backward``, which gives those by the
    parameters alone; the first layer of a network needs no more. The arrays of a layer with ``gives_new = True``, its
    output and the gradient by its input, are new and in no cache. A `Sequential` may hand them to the neighbour's
    ``forward_over`` or ``backward_over``, if there is one, which may write its result into them. The promise and
    these methods count only where a layer's own class has them; they are not inherited. ``multiplications(params,
    output_shape)``, if there is one, is what `Sequential.summary` shows.
    """

    def init(self, rng: np.random.Generator, input_shape: tuple[int, ...], dtype: str = "float32") -> HostParams:
        """Draw the parameters for inputs of this shape (without the batch axis)."""
        ...

    def forward(self, params: Params, x: Array) -> tuple[Array, Cache]:
        """Compute the output, and the cache that `backward` takes."""
        ...

    def backward(self, params: Params, cache: Cache, dy: Array) -> tuple[Array, Params]:
        """Compute the gradients by the input and by the parameters."""
        ...


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, dtype: str) -> HostArray:
    """Draw from a normal distribution of variance 2 / fan_in (He et al. 2015), which suits a ReLU."""
    return (rng.standard_normal(shape) * math.sqrt(2 / fan_in)).astype(dtype)


@keywords_of
@dataclass(frozen=True)
class ReLU:
    """Rectify: max(x, 0), elementwise, on any shape.

    Notes
    -----
    NaN is propagated. The gradient at 0 is 0.

    Examples
    --------
    >>> import numpy as np
    >>> y, cache = ReLU().forward({}, np.asarray([-1.0, 2.0]))
    >>> y.tolist(), ReLU().backward({}, cache, np.ones(2))[0].tolist()
    ([0.0, 2.0], [0.0, 1.0])
    """

    def init(self, rng: np.random.Generator, input_shape: tuple[int, ...], dtype: str = "float32") -> HostParams:
        """There are no parameters."""
        return {}

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        """``(*any) -> (*any)``; the cache is the output."""
        return self._forward(x, over=False)

    def forward_over(self, params: Params, x: Array) -> tuple[Array, Array]:
        """``(*any) -> (*any)``, as `forward`; the output may take the place of x."""
        return self._forward(x, over=True)

    def backward(self, params: Params, cache: Array, dy: Array) -> tuple[Array, Params]:
        """``(*any) -> (*any)``."""
        return self._backward(cache, dy, over=False)

    def backward_over(self, params: Params, cache: Array, dy: Array) -> tuple[Array, Params]:
        """``(*any) -> (*any)``, as `backward`; the result may take the place of dy."""
        return self._backward(cache, dy, over=True)

    def _forward(self, x: Array, over: bool) -> tuple[Array, Array]:
        xp = real_floating("ReLU", "x", x)
        if _rectify.takes(x):
            y = _rectify.rectified(xp, x, x if over else np.empty_like(x))
        else:
            y = xp.maximum(x, xp.zeros((), dtype=x.dtype, device=device(x)))
        return y, y

    def _backward(self, cache: Array, dy: Array, over: bool) -> tuple[Array, Params]:
        xp = real_floating("ReLU", "dy", dy)
        same_shape("ReLU", "dy", dy, cache.shape)
        if _rectify.takes(cache, dy):
            return _rectify.passed(xp, cache, dy, dy if over else np.empty_like(dy)), {}
        return xp.where(cache > 0, dy, xp.zeros((), dtype=dy.dtype, device=device(dy))), {}


@keywords_of
@dataclass(frozen=True)
class Flatten:
    """Join all axes but the first: ``(N, *rest) -> (N, prod(rest))``, in row-major order.

    Notes
    -----
    The result is a view of x where the library's ``reshape`` gives one.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten().forward({}, np.zeros((2, 3, 4)))[0].shape
    (2, 12)
    """

    def init(self, rng: np.random.Generator, input_shape: tuple[int, ...], dtype: str = "float32") -> HostParams:
        """There are no parameters."""
        return {}

    def forward(self, params: Params, x: Array) -> tuple[Array, tuple[int, ...]]:
        """``(N, *rest) -> (N, prod(rest))``; the cache is the shape of x."""
        xp = real_floating("Flatten", "x", x)
        if x.ndim < 2:
            raise ValueError(f"Flatten: x has a batch axis and at least one more; got x.shape={tuple(x.shape)}")
        return xp.reshape(x, (x.shape[0], math.prod(x.shape[1:]))), tuple(x.shape)

    def backward(self, params: Params, cache: tuple[int, ...], dy: Array) -> tuple[Array, Params]:
        """``(N, prod(rest)) -> (N, *rest)``."""
        xp = real_floating("Flatten", "dy", dy)
        same_shape("Flatten", "dy", dy, (cache[0], math.prod(cache[1:])))
        return xp.reshape(dy, cache), {}


@keywords_of
@dataclass(frozen=True)
class Dense:
    """Multiply by a matrix and add a bias: y = x @ weight + bias, ``(N, D), (D, F), (F,) -> (N, F)``.

    Parameters
    ----------
    features : int
        Number F of outputs.

    Raises
    ------
    TypeError
        `features` is not an integer, or an array has no real floating dtype.
    ValueError
        `features` is below 1, or shapes do not fit.

    Notes
    -----
    The parameters are ``weight`` (D, F), drawn with variance 2 / D, and ``bias`` (F,), zero at the start. The
    gradients are dx = dy @ weightᵀ, xᵀ @ dy and the sum of dy over the batch.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Dense(3)
    >>> params = layer.init(np.random.default_rng(0), (4,))
    >>> layer.forward(params, np.ones((2, 4), dtype=np.float32))[0].shape
    (2, 3)
    """

    features: int
    gives_new: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive_int("Dense", "features", self.features)

    def init(self, rng: np.random.Generator, input_shape: tuple[int, ...], dtype: str = "float32") -> HostParams:
        """Draw ``weight`` (D, F) and a zero ``bias`` (F,) for inputs of the shape (D,)."""
        if len(input_shape) != 1:
            raise ValueError(f"Dense: input_shape is (D,), so put a Flatten before; got {input_shape}")
        inputs = positive_int("Dense", "input_shape[0]", input_shape[0])
        weight = he_normal(rng, (inputs, self.features), inputs, dtype)
        return {"weight": weight, "bias": np.zeros(self.features, dtype=dtype)}

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        """``(N, D) -> (N, F)``; the cache is x."""
        real_floating("Dense", "x", x)
        weight, bias = entry("Dense", params, "weight"), entry("Dense", params, "bias")
        if x.ndim != 2 or x.shape[1] != weight.shape[0]:
            shapes = f"x.shape={tuple(x.shape)}, weight.shape={tuple(weight.shape)}"
            raise ValueError(f"Dense: x is (N, {weight.shape[0]}), as the weight's first axis; got {shapes}")
        return _product(x, weight) + bias, x

    def multiplications(self, params: Params, output_shape: tuple[int, ...]) -> int:
        """Count the products for one input, whose output has this shape (without the batch axis)."""
        return products(math.prod(entry("Dense", params, "weight").shape), self.features, output_shape)

    def backward(self, params: Params, cache: Array, dy: Array) -> tuple[Array, Params]:
        """``(N, F) -> (N, D)``, and the gradients of ``weight`` and ``bias``."""
        xp = real_floating("Dense", "dy", dy)
        weight = entry("Dense", params, "weight")
        grads = self.gradients(params, cache, dy)
        return _product(dy, xp.matrix_transpose(weight)), grads

    def gradients(self, params: Params, cache: Array, dy: Array) -> Params:
        """``(N, F) ->`` the gradients of ``weight`` and ``bias``."""
        xp = real_floating("Dense", "dy", dy)
        same_shape("Dense", "dy", dy, (cache.shape[0], entry("Dense", params, "weight").shape[1]))
        return {"weight": _product(xp.matrix_transpose(cache), dy), "bias": xp.sum(dy, axis=0)}


def _product(a: Array, b: Array) -> Array:
    """(M, K), (K, N) -> (M, N); a small product on one thread of BLAS.

    OpenBLAS's other threads would spin for 25 ms, on cores that the next layer's need.
    """
    if type(a) is not np.ndarray:
        return space_of(a).matmul(a, b)
    if a.shape[0] * a.shape[1] * b.shape[1] > ONE_THREAD:
        return a @ b
    with _threads.one_blas_thread:
        return a @ b
