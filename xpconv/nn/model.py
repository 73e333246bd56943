"""A chain of layers, and the course's network."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpconv._shapes.keywords import keywords
from xpconv._tools.libraries import Library, load
from xpconv.nn.checks import Array, Cache, Params
from xpconv.nn.layers import Dense, Flatten, Layer, ReLU
from xpconv.nn.prepared import PreparedLayers
from xpconv.nn.summary import LayerSummary, Summary
from xpconv.nn.windowed import Conv, MaxPool


@dataclass(frozen=True)
class Sequential:
    """Run layers one after another; the parameters are one flat dictionary.

    Parameters
    ----------
    *layers : Layer
        At least one, or an iterable of them. Each is named by its class in lower case and its count: ``conv1``,
        ``relu1``, ``conv2``, and its parameters by its name: ``conv1.weight``.

    Raises
    ------
    ValueError
        There is no layer, or `params` lacks a layer's array; the layers' own errors.

    Examples
    --------
    >>> import numpy as np
    >>> model = Sequential(Conv(4, 3), ReLU(), Flatten(), Dense(2))
    >>> params = model.init(np.random.default_rng(0), (5, 5, 1))
    >>> {name: value.shape for name, value in params.items()}
    {'conv1.weight': (3, 3, 1, 4), 'conv1.bias': (4,), 'dense1.weight': (36, 2), 'dense1.bias': (2,)}
    >>> y, caches = model.forward(params, np.ones((6, 5, 5, 1), dtype=np.float32))
    >>> dx, grads = model.backward(params, caches, np.ones_like(y))
    >>> y.shape, dx.shape, grads.keys() == params.keys()
    ((6, 2), (6, 5, 5, 1), True)
    """

    layers: tuple[Layer, ...]

    def __init__(self, *given: Layer | Iterable[Layer], layers: Iterable[Layer] = ()) -> None:
        alone = given[0] if len(given) == 1 else None
        found = alone if isinstance(alone, Iterable) and not hasattr(alone, "forward") else given
        object.__setattr__(self, "layers", (*found, *layers))
        object.__setattr__(self, "_prepared", PreparedLayers())
        if not self.layers:
            raise ValueError("Sequential: layers holds at least one layer; got none")
        for layer in self.layers:
            if isinstance(layer, type) or not hasattr(layer, "forward"):
                raise TypeError(f"Sequential: a layer has forward and backward, as nn.Dense(10) has; got {layer!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the layers, in order."""
        seen: Counter[str] = Counter()
        names = []
        for layer in self.layers:
            kind = type(layer).__name__.lower()
            seen[kind] += 1
            names.append(f"{kind}{seen[kind]}")
        return tuple(names)

    def init(
        self,
        rng: np.random.Generator,
        input_shape: tuple[int, ...],
        library: Library | None = None,
        *,
        dtype: str = "float32",
    ) -> Params:
        """Draw the parameters on the host and move them, so that every library starts from the same bits.

        Parameters
        ----------
        rng : numpy.random.Generator
            Where the weights are drawn from, layer by layer.
        input_shape : tuple of int
            Shape of one input, without the batch axis.
        library : Library, optional
            Library and device that the arrays are moved to, from `load_library`; NumPy if it is None.
        dtype : str, default "float32"
            Name of the dtype; the draws are made in float64 and rounded.

        Returns
        -------
        dict of array
            ``{"conv1.weight": ..., ...}``.
        """
        library = library or load("numpy")
        params, shape = {}, tuple(input_shape)
        for name, layer in zip(self.names, self.layers, strict=True):
            own = layer.init(rng, shape, dtype)
            params.update({f"{name}.{key}": value for key, value in own.items()})
            # an empty batch goes through the layer itself, so there is no second rule for its output shape
            y, _ = layer.forward(own, np.empty((0, *shape), dtype=dtype))
            shape = y.shape[1:]
        return {name: library.asarray(value) for name, value in params.items()}

    def summary(self, input_shape: tuple[int, ...], *, dtype: str = "float32") -> Summary:
        """Say of each layer what it gives, learns and multiplies, for one input.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one input, without the batch axis.
        dtype : str, default "float32"
            Name of the dtype, for the bytes.

        Returns
        -------
        Summary
            Prints as a table and shows as one in a notebook; ``layers``, ``parameters``, ``multiplications``, ``size``.

        Examples
        --------
        >>> print(course_network(10).summary((8, 8, 1)))
        input 8 × 8 × 1
        layer     kind     output      parameters  multiplications  output bytes
        conv1     Conv     8 × 8 × 32         320           18,432         8,192
        relu1     ReLU     8 × 8 × 32           0                0         8,192
        maxpool1  MaxPool  4 × 4 × 32           0                0         2,048
        conv2     Conv     4 × 4 × 64      18,496          294,912         4,096
        relu2     ReLU     4 × 4 × 64           0                0         4,096
        maxpool2  MaxPool  2 × 2 × 64           0                0         1,024
        flatten1  Flatten  256                  0                0         1,024
        dense1    Dense    10               2,570            2,560            40
        all                                21,386          315,904        28,712

        """
        rng, rows, shape = np.random.default_rng(0), [], tuple(input_shape)
        for name, layer in zip(self.names, self.layers, strict=True):
            own = layer.init(rng, shape, dtype)
            y, _ = layer.forward(own, np.empty((0, *shape), dtype=dtype))
            shape = y.shape[1:]
            learned = sum(int(value.size) for value in own.values())
            count = getattr(layer, "multiplications", None)
            products = 0 if count is None else count(own, shape)
            size = math.prod(shape) * y.dtype.itemsize
            rows.append(LayerSummary(name, type(layer).__name__, shape, learned, products, size))
        return Summary(tuple(input_shape), tuple(rows))

    def forward(self, params: Params, x: Array) -> tuple[Array, list[Cache]]:
        """Run every layer: ``-> the last one's output, every layer's cache``, first to last."""
        caches, spare = [], False  # whether x is in no cache and not the caller's
        for name, layer in zip(self.names, self.layers, strict=True):
            step = _step(layer, "forward", spare)
            x, cache = step(_own(params, name), x)
            caches.append(cache)
            spare = _promises_new(layer)
        return x, caches

    def backward(self, params: Params, caches: list[Cache], dy: Array) -> tuple[Array, Params]:
        """Compute the gradients by the input and by every parameter, from the caches of `forward`."""
        return self._back(params, caches, dy, 0)

    def gradients(self, params: Params, caches: list[Cache], dy: Array) -> Params:
        """Compute those by every parameter alone, without what only the input's gradient needs."""
        names = self.names
        first = next((place for place, name in enumerate(names) if _own(params, name)), len(names))
        dy, grads = self._back(params, caches, dy, first + 1)
        if first == len(names):
            return grads
        layer, own, cache = self.layers[first], _own(params, names[first]), caches[first]
        give = getattr(layer, "gradients", None)
        found = layer.backward(own, cache, dy)[1] if give is None else give(own, cache, dy)
        return {f"{names[first]}.{key}": value for key, value in found.items()} | grads

    def _back(self, params: Params, caches: list[Cache], dy: Array, first: int) -> tuple[Array, Params]:
        """Go back through the layers from the last to the first of these."""
        if len(caches) != len(self.layers):
            raise ValueError(f"Sequential: caches has one entry per layer, {len(self.layers)}; got {len(caches)}")
        by_layer, spare = [], False  # whether dy is in no cache and not the caller's
        steps = list(zip(self.names, self.layers, caches, strict=True))[first:]
        for name, layer, cache in reversed(steps):
            step = _step(layer, "backward", spare)
            dy, own = step(_own(params, name), cache, dy)
            spare = _promises_new(layer)
            by_layer.append({f"{name}.{key}": value for key, value in own.items()})
        return dy, {name: value for grads in reversed(by_layer) for name, value in grads.items()}

    def predict(self, params: Params, x: Array) -> Array:
        """Run every layer: ``-> the last one's output``, the bits of `forward` for images of up to 256 pixels a side.

        In larger ones convolutions are cut into tiles that are short along every axis, so that `xpconv.dask.predict`
        gives the same bits block by block; in the last digits those can be others than `forward`'s.
        On NumPy the convolutions of the last call are kept, prepared (see `xpconv.prepare_conv`), with copies of their
        parameters, and serve again as long as the parameters hold the same bits. A layer keeps at most a copy of its
        parameters and ``max_workspace`` bytes.
        """
        prepared: PreparedLayers = vars(self)["_prepared"]
        spare = False  # whether x is not the caller's
        for number, (name, layer) in enumerate(zip(self.names, self.layers, strict=True)):
            own = _own(params, name)
            y = prepared.forward(number, layer, own, x) if type(layer) is Conv else None
            x = value_of(layer, own, x, spare) if y is None else y
            spare = _promises_new(layer)
        return x

    def activations(self, params: Params, x: Array) -> dict[str, Array]:
        """Run every layer and keep its output under its name, first to last."""
        outputs = {}
        for name, layer in zip(self.names, self.layers, strict=True):
            x, _ = layer.forward(_own(params, name), x)
            outputs[name] = x
        return outputs


def _promises_new(layer: Layer) -> bool:
    """Say whether a layer's own class, not one that it inherits from, promises that its arrays are new."""
    return bool(vars(type(layer)).get("gives_new", False))


def _step(layer: Layer, name: str, spare: bool) -> Any:
    """Choose a layer's method, or if its array is `spare` the one that may write into it.

    That one counts where the layer's own class has both, so that neither was overridden without the other.
    """
    own, over = vars(type(layer)), f"{name}_over"
    both = name in own and over in own and name not in getattr(layer, "__dict__", {})
    return getattr(layer, over if spare and both else name)


def value_of(layer: Layer, params: Params, x: Array, spare: bool) -> Array:
    """Run a layer for its output alone; `spare`: x is in no cache and not the caller's."""
    if type(layer) in (Conv, MaxPool):
        return layer.values(params, x)  # type: ignore[attr-defined]
    y: Array = _step(layer, "forward", spare)(params, x)[0]
    return y


def _own(params: Params, name: str) -> Params:
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in params.items() if key.startswith(prefix)}


@keywords
def course_network(classes: int, *, features: tuple[int, int] = (32, 64)) -> Sequential:
    """Build the course's network: twice convolution, ReLU and max pooling, then one dense layer.

    Parameters
    ----------
    classes : int
        Number of outputs.
    features : tuple of int, default (32, 64)
        Output channels of the two 3×3 convolutions.

    Returns
    -------
    Sequential
        ``(N, H, W, C) -> (N, classes)`` for H and W of at least 4, channels last.
    """
    first, second = features
    return Sequential(
        Conv(first, 3, padding="same"),
        ReLU(),
        MaxPool(2),
        Conv(second, 3, padding="same"),
        ReLU(),
        MaxPool(2),
        Flatten(),
        Dense(classes),
    )
