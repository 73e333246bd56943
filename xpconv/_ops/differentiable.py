"""Differentiable functions for libraries that differentiate by themselves: which operation is the gradient of which.

`xpconv.torch` and `xpconv.jax` are made of this: each says how its library takes an operation with given gradients. The
gradients are operations of the same table, so they can be differentiated any number of times. Products in it are plain
ones, as JAX's derivatives want them; a library whose gradients are adjoints conjugates the arrays that a rule looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from array_api_compat import array_namespace, device

from xpconv._arrays.types import Array, DType
from xpconv._ops.conv import conv, conv_input_grad, conv_weight_grad
from xpconv._ops.derivatives import Options, arrays_of, options, planes, transposed
from xpconv._ops.pool import avg_pool, avg_pool_vjp, max_pool, max_pool_vjp
from xpconv._ops.transpose import conv_transpose
from xpconv._shapes.keywords import keywords
from xpconv._shapes.options import AlgorithmName, Layout, Padding, PaddingMode, Shape, Size

Apply = Callable[..., Any]  # (name of an operation, setting, *arrays) -> its result, differentiable


@dataclass(frozen=True)
class Setting:
    """What an operation is told beside its arrays; hashable."""

    options: Options
    shapes: tuple[Shape, ...] = ()  # of x and w, which their gradients do not see
    window: Any = None

    @property
    def keywords(self) -> dict[str, Any]:
        """The options, to be passed on."""
        return dict(self.options)


@dataclass(frozen=True)
class Gradient:
    """The gradient by one of an operation's arrays."""

    rule: Callable[..., Array]  # (apply, setting, the result's gradient, *arrays that it uses) -> gradient
    uses: tuple[int, ...] = ()  # the places of these among the operation's arrays, or, behind them, its other results
    whole: bool = False  # of the result's gradient as it came, where the operation has an `inner`


@dataclass(frozen=True)
class Operation:
    """A function of arrays, with the gradient by each of them; None where that is zero."""

    evaluate: Callable[..., Any]  # (setting, *arrays) -> result, or result and indices
    gradients: tuple[Gradient | None, ...]
    inner: Callable[[Setting, Array], tuple[Setting, Array]] | None = None  # what the rules are given instead
    # the operation whose first result is the same and whose others its gradients look at, to be taken where these will
    # be wanted
    keeping: str = ""

    def used(self, wanted: Sequence[bool]) -> set[int]:
        """Find the arrays that the wanted gradients look at; no others need be kept."""
        pairs = zip(self.gradients, wanted, strict=False)  # the bias may be missing
        return {place for gradient, needed in pairs if gradient and needed for place in gradient.uses}


def gradients(
    apply: Apply, name: str, setting: Setting, dy: Array, kept: Sequence[Array | None], wanted: Sequence[bool]
) -> tuple[Array | None, ...]:
    """Compute the wanted gradients of an operation from the result's gradient and the arrays that are used."""
    operation = OPERATIONS[name]
    whole = setting, dy
    seen = operation.inner(*whole) if operation.inner else whole
    found: list[Array | None] = []
    for gradient, needed in zip(operation.gradients, wanted, strict=False):
        if gradient is None or not needed:
            found.append(None)
        else:
            arrays = (kept[place] for place in gradient.uses)
            found.append(gradient.rule(apply, *(whole if gradient.whole else seen), *arrays))
    return tuple(found)


# --- the operations --------------------------------------------------------------------------------


def _conv(setting: Setting, x: Array, w: Array, b: Array | None = None) -> Array:
    return conv(x, w, b, **setting.keywords)


# the plain gradients are adjoints, which conjugate the kernel or the image; here it is conjugated back


def _input_grad(setting: Setting, dz: Array, w: Array) -> Array:
    return conv_input_grad(dz, _conjugate(w), setting.shapes[0], **setting.keywords)


def _weight_grad(setting: Setting, dz: Array, x: Array) -> Array:
    return conv_weight_grad(dz, _conjugate(x), setting.shapes[1], **setting.keywords)


def _conjugate(array: Array) -> Array:
    xp = array_namespace(array)
    return xp.conj(array) if xp.isdtype(array.dtype, "complex floating") else array


def _conv_transpose(setting: Setting, x: Array, w: Array, b: Array | None = None) -> Array:
    return conv_transpose(x, w, b, **setting.keywords)


def _untransposed(setting: Setting, dz: Array) -> tuple[Setting, Array]:
    """Turn to the convolution that a transposed one transposes: its setting, and its image within dz."""
    x_shape, w_shape = setting.shapes
    inner, shape, index = transposed(x_shape, w_shape, setting.options)
    return Setting(inner, (shape, w_shape)), dz[index]


def _channel_sum(apply: Apply, setting: Setting, dz: Array) -> Array:
    channel = dz.ndim - 1 if setting.keywords["layout"] == "channels_last" else 1
    return array_namespace(dz).sum(dz, axis=tuple(axis for axis in range(dz.ndim) if axis != channel))


# max pooling selects, its gradient puts back where it was selected, and the gradient of that selects again


def _max_pool(setting: Setting, x: Array) -> Array:
    return max_pool(x, setting.window, **setting.keywords)


def _max_pool_indices(setting: Setting, x: Array) -> tuple[Array, Array]:
    y, indices = max_pool(x, setting.window, return_indices=True, **setting.keywords)
    return y, indices


def _put_back(setting: Setting, dy: Array, x: Array) -> Array:
    return max_pool_vjp(dy, x, setting.window, **setting.keywords)


def _put_at(setting: Setting, dy: Array, indices: Array) -> Array:
    return max_pool_vjp(dy, setting.shapes[0], setting.window, indices=indices, **setting.keywords)


def _select(setting: Setting, g: Array, x: Array) -> Array:
    return _select_at(setting, g, _max_pool_indices(setting, x)[1])


def _select_at(setting: Setting, g: Array, indices: Array) -> Array:
    xp, layout = array_namespace(g), setting.keywords["layout"]
    flat = xp.reshape(indices, planes(indices.shape, layout))
    images, axis = xp.reshape(g, planes(g.shape, layout)), 1 if layout == "channels_last" else 2
    picked = xp.take_along_axis(images, xp.clip(flat, 0), axis=axis)
    nothing = xp.zeros((), dtype=g.dtype, device=device(g))
    return xp.reshape(xp.where(flat < 0, nothing, picked), indices.shape)  # -1: a window without a tap in the image


# an average and its gradient are each other's adjoints


def _avg_pool(setting: Setting, x: Array) -> Array:
    return avg_pool(x, setting.window, **setting.keywords)


def _spread(setting: Setting, dy: Array) -> Array:
    return avg_pool_vjp(dy, setting.shapes[0], setting.window, **setting.keywords)


# --- the table -------------------------------------------------------------------------------------

DY = -1  # the place of the result's gradient


def _as(name: str, *places: int) -> Gradient:
    """Take another operation as the gradient, of the arrays in these places."""

    def rule(apply: Apply, setting: Setting, dy: Array, *kept: Array) -> Array:
        left = iter(kept)
        return apply(name, setting, *(dy if place == DY else next(left) for place in places))

    return Gradient(rule, tuple(place for place in places if place != DY))


_BIAS = Gradient(_channel_sum, whole=True)

# dz · conv(x, w) is linear in each of dz, x and w. Its derivatives by them are the first three operations, each a map
# of the two others; so the gradients of each are the two others again.
OPERATIONS = {
    "conv": Operation(_conv, (_as("input_grad", DY, 1), _as("weight_grad", DY, 0), _BIAS)),
    "input_grad": Operation(_input_grad, (_as("conv", DY, 1), _as("weight_grad", 0, DY))),
    "weight_grad": Operation(_weight_grad, (_as("conv", 1, DY), _as("input_grad", 0, DY))),
    "conv_transpose": Operation(_conv_transpose, (_as("conv", DY, 1), _as("weight_grad", 0, DY), _BIAS), _untransposed),
    "max_pool": Operation(_max_pool, (_as("put_back", DY, 0),), keeping="max_pool_indices"),
    "max_pool_indices": Operation(_max_pool_indices, (_as("put_at", DY, 1),)),
    "put_at": Operation(_put_at, (_as("select_at", DY, 1), None)),
    "select_at": Operation(_select_at, (_as("put_at", DY, 1), None)),
    "put_back": Operation(_put_back, (_as("select", DY, 1), None)),
    "select": Operation(_select, (_as("put_back", DY, 1), None)),
    "avg_pool": Operation(_avg_pool, (_as("spread", DY),)),
    "spread": Operation(_spread, (_as("avg_pool", DY),)),
}


# --- the functions ---------------------------------------------------------------------------------


class Functions:
    """The public functions of one library: its arrays and options are read, and an operation is applied."""

    def __init__(self, library: str, apply: Apply) -> None:
        self._library, self._apply = library, apply

    def __reduce__(self) -> tuple[Any, ...]:
        return _functions, (self._library,)  # so that the functions can be copied and sent to other processes

    @keywords
    def conv(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        layout: Layout = "channels_last",
        algorithm: AlgorithmName = "auto",
        dtype: DType | None = None,
    ) -> Array:
        """Convolve as `xpconv.conv`; `dtype` converts the arguments first, `algorithm` is the gradients' too."""
        x, w, b = arrays_of(self._library, "conv", x, w, b, dtype)
        given = options(
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
            layout=layout,
            algorithm=algorithm,
        )
        return self._convolve("conv", given, x, w, b)

    @keywords
    def conv_transpose(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        stride: Size = 1,
        padding: Padding = 0,
        output_padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        layout: Layout = "channels_last",
    ) -> Array:
        """Convolve transposed, as `xpconv.conv_transpose`."""
        x, w, b = arrays_of(self._library, "conv_transpose", x, w, b)
        given = options(
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
            groups=groups,
            layout=layout,
        )
        return self._convolve("conv_transpose", given, x, w, b)

    def _convolve(self, name: str, given: Options, x: Array, w: Array, b: Array | None) -> Array:
        setting = Setting(given, (tuple(x.shape), tuple(w.shape)))
        return self._apply(name, setting, x, w, *([] if b is None else [b]))

    @keywords
    def max_pool(
        self,
        x: Array,
        window: Size,
        *,
        stride: Size | None = None,
        padding: Padding = 0,
        dilation: Size = 1,
        ceil_mode: bool = False,
        layout: Layout = "channels_last",
        return_indices: bool = False,
    ) -> Array | tuple[Array, Array]:
        """Take maxima as `xpconv.max_pool`; of equal ones the first gets the gradient. Indices have none."""
        given = options(stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, layout=layout)
        return self._pool("max_pool", "max_pool_indices" if return_indices else "max_pool", given, x, window)

    @keywords
    def avg_pool(
        self,
        x: Array,
        window: Size,
        *,
        stride: Size | None = None,
        padding: Padding = 0,
        dilation: Size = 1,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        layout: Layout = "channels_last",
    ) -> Array:
        """Take means as `xpconv.avg_pool`."""
        given = options(
            stride=stride,
            padding=padding,
            dilation=dilation,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            layout=layout,
        )
        return self._pool("avg_pool", "avg_pool", given, x, window)

    def _pool(self, function: str, name: str, given: Options, x: Array, window: Size) -> Any:
        arrays_of(self._library, function, x)
        ((_, frozen),) = options(window=window)
        return self._apply(name, Setting(given, (tuple(x.shape),), frozen), x)


def _functions(library: str) -> Functions:
    """Find the functions of a library again."""
    found: Functions = import_module(f"xpconv.{library}").FUNCTIONS
    return found
