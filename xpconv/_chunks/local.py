"""What a block computes: the passes of the engine, on pieces, with a geometry of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast
from xpconv._arrays.space import space_of
from xpconv._arrays.types import Array
from xpconv._convolution.bias_grad import bias_grad
from xpconv._convolution.correlate import correlate
from xpconv._convolution.input_grad import input_grad
from xpconv._convolution.inside import Spots as Places
from xpconv._convolution.inside import correlate_inside
from xpconv._convolution.weight_grad import weight_grad
from xpconv._plan.choose import choose, conjugate_size, copying
from xpconv._plan.input_grad import choose_input_grad
from xpconv._plan.record import Plan
from xpconv._pooling.averages import avg_pool
from xpconv._pooling.windows import Windows
from xpconv._shapes import read
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._shapes.read import Windowing


class Layer(NamedTuple):
    """How a block's call is made, beside its geometry."""

    name: str
    layout: str
    dtype: str
    algorithm: str = "auto"
    conjugate: bool = False  # the weight


Spots = tuple[tuple[int, int], ...]  # axis by axis (first, step); with step 0 all is added to a single pixel


class Part(NamedTuple):
    """A part of a gradient of images, and the pixels of the block that it is added to."""

    geometry: Geometry
    spots: Spots

    @property
    def turned(self) -> bool:
        """Whether it has to be flipped or summed."""
        return any(step != 1 for _, step in self.spots)


def correlated(x: Array, w: Array, b: Array | None = None, *, geometry: Geometry, layer: Layer, weights: Any) -> Array:
    """Convolve."""
    call = Call.of(layer.name, x=x, w=w, b=b, layout=layer.layout, dtype=layer.dtype)
    kernel, plan = call.kernel(w)[weights], choose(call, geometry, layer.algorithm)
    if layer.conjugate:
        plan = copying(call, plan, layer.algorithm, conjugate_size(call, kernel))
    filters = None if b is None else call.read(b)[weights[-1]]
    return call.give(correlate(call, plan, call.images(x), kernel, filters, conjugate=layer.conjugate))


def within(x: Array, w: Array, b: Array, *, name: str, layout: str, plan: Plan, places: Places) -> Array:
    """Convolve as the plan of the whole does, in the tiles of the whole."""
    call = Call.of(name, x=x, w=w, b=b, layout=layout)
    return call.give(correlate_inside(call, plan, call.images(x), call.kernel(w), call.bias(b), places))


def averaged(x: Array, layer: Any, whole: Windows) -> Array:
    """Take means as they are taken of larger images, whose windows are `whole`."""
    call = Call.of("avg_pool", x=x, layout=layer.layout)
    asked = Windowing(layer.stride, layer.padding, layer.dilation, layout=layer.layout, ceil_mode=layer.ceil_mode)
    windows = Windows.of(read.pool("avg_pool", x.shape, layer.window, asked)).part_of(whole)
    return call.give(avg_pool(call, windows, call.images(x), layer.count_include_pad))


def weight_gradient(x: Array, dz: Array, *, geometry: Geometry, layer: Layer) -> Array:
    """Sum over the windows of a block; with `conjugate` the sum is conjugated."""
    call = Call.of(layer.name, x=x, dz=dz, layout=layer.layout, dtype=layer.dtype)
    plan = choose(call, geometry, layer.algorithm, gradient=True)
    found = weight_grad(call.conjugated(), plan, call.images(x), call.images(dz))
    return call.give_kernel(call.conj_own(found) if layer.conjugate else found)


def bias_gradient(dz: Array, *, layer: Layer) -> Array:
    """Sum over the pixels of a block."""
    call = Call.of(layer.name, dz=dz, layout=layer.layout, dtype=layer.dtype)
    grads = call.images(dz)
    return call.give_bias(bias_grad(call, grads, tuple(grads.shape[:-1])))


class Gradient(NamedTuple):
    """A block of a gradient of images."""

    parts: tuple[Part, ...]
    shape: Ints  # (n, *pixels, C)
    weights: Any  # index of the weight (*K, C/G, F)
    channels: slice  # of the bias of a transposed convolution


def input_gradient(*arrays: Array, gradient: Gradient, layer: Layer) -> Array:
    """Give the gradient of a block of pixels from those of the windows that read it, or what repeats it."""
    grads, (w, *rest) = arrays[: len(gradient.parts)], arrays[len(gradient.parts) :]
    b = rest[0] if rest else None
    call = Call.of(layer.name, dz=grads[0], w=w, b=b, layout=layer.layout, dtype=layer.dtype)
    kernel, conjugate = call.kernel(w)[gradient.weights], layer.conjugate
    (first, *others), bias = gradient.parts, None if b is None else call.read(b)[gradient.channels]
    if not others and (first.geometry.batch, *first.geometry.input) == gradient.shape[:-1] and not first.turned:
        plan = choose_input_grad(call, first.geometry, layer.algorithm)
        return call.give(input_grad(call, plan, call.images(grads[0]), kernel, bias, conjugate=conjugate))
    wide, total = call.in_sums(), call.space.zeros(gradient.shape, call.arithmetic.sums)
    for dz, part in zip(grads, gradient.parts, strict=True):
        plan = choose_input_grad(wide, part.geometry, layer.algorithm)
        total = placed(call, total, input_grad(wide, plan, call.images(dz), kernel, conjugate=conjugate), part.spots)
    return call.give(cast(call.xp, total, call.arithmetic.result))


def placed(call: Call, total: Array, found: Array, spots: Spots) -> Array:
    """Add a part of a gradient to the pixels of a block that it belongs to; use the array given back."""
    region = [slice(None)]
    for axis, (first, step) in enumerate(spots, start=1):
        length = found.shape[axis]
        if step == 0:
            found = call.xp.sum(found, axis=axis, keepdims=True, dtype=found.dtype)
            region.append(slice(first, first + 1))
        elif step < 0:
            found = call.xp.flip(found, axis=axis)
            region.append(slice(first - length + 1, first + 1))
        else:
            region.append(slice(first, first + length))
    return call.space.add_to(total, (*region, slice(None)), found)


def folded(*dy: Array, parts: tuple[Spots, ...], shape: Ints, layout: str) -> Array:
    """Add what a padding received to the pixels of a block that it repeats."""
    call = Call.of("pad_vjp", dy=dy[0], layout=layout)
    total = call.space.zeros(shape, call.arithmetic.sums)
    for one, spots in zip(dy, parts, strict=True):
        total = placed(call, total, cast(call.xp, call.images(one), call.arithmetic.sums), spots)
    return call.give(cast(call.xp, total, call.arithmetic.result))


def cropped(*arrays: Array, function: Callable[..., Array], settings: Mapping[str, Any], crop: Crop) -> Array:
    """Call a function for all pixels that some windows read, and keep a block of them; what none reads is zero."""
    found = function(*arrays, **settings)
    part = found[crop.source]
    space = space_of(found)
    if tuple(part.shape) == crop.shape:
        return part if 2 * part.size > found.size else space.xp.asarray(part, copy=True)
    out = space.zeros(crop.shape, found.dtype)
    out[crop.target] = part
    return out


class Crop(NamedTuple):
    """Which pixels of a gradient a block keeps, and where they go."""

    source: tuple[slice, ...]
    target: tuple[slice, ...]
    shape: Ints


def located(
    x: Array, *, function: Callable[..., Any], settings: Mapping[str, Any], plane: Plane
) -> tuple[Array, Array]:
    """Pool, and turn places in a slab into places in the whole plane."""
    y, places = function(x, **settings)
    return y, plane.whole(places)


class Plane(NamedTuple):
    """A slab within a plane of pixels."""

    sizes: Ints  # of the slab
    first: Ints  # its first pixel
    plane: Ints

    def whole(self, places: Array) -> Array:
        """Turn flat places in the slab into flat places in the plane; -1 stays."""
        rest, flat, step = places, 0, 1
        for size, first, n in zip(reversed(self.sizes), reversed(self.first), reversed(self.plane), strict=True):
            flat = flat + (rest % size + first) * step
            rest, step = rest // size, step * n
        return space_of(places).xp.where(places < 0, places, flat)
