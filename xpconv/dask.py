"""xpconv's operations on arrays in chunks, with a say in how halos travel and where results are cut.

Every operation of `xpconv` takes Dask arrays by itself. Here each has two keywords more:

``halo``
    How a task gets the pixels around its own chunk. ``"strips"``: a strip of a neighbour is a small task of its own,
    and all that travels. ``"blocks"``: the task reads whole neighbours, with the fewest tasks: for threads, which share
    memory. ``"reload"``: the arrays are in a store (Zarr, HDF5, anything with ``shape``, ``chunks``, ``dtype`` and
    slicing), and each task reads what it needs from there; no task depends on another, so memory does not grow with
    the image. ``"auto"`` (default): ``"reload"`` for arrays in a store, ``"strips"`` for Dask's.
``chunks``
    The chunks of the first result, as Dask writes them (None: those of the input).

`predict` runs a whole network, and `explain` says beforehand what an operation takes.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xpconv import _options, bounds
from xpconv._arrays.call import Call as _Call
from xpconv._arrays.space import space_of as _space_of
from xpconv._arrays.types import Array, Chunks
from xpconv._chunks import chain as _chain
from xpconv._chunks.asked import Asked as _Asked
from xpconv._chunks.blocks import BUILDERS as _BUILDERS
from xpconv._chunks.chain import Link as _Link
from xpconv._chunks.graph import meta as _meta
from xpconv._ops import adaptive, conv, lp, padding, pool, transpose, unpool, windows
from xpconv._plan.choose import choose as _choose
from xpconv._pooling.windows import Windows as _Windows
from xpconv._shapes import read as _read
from xpconv._shapes.chunks import output_bounds as _output_bounds
from xpconv._shapes.read import Windowing as _Windowing
from xpconv.nn.layers import ReLU as _ReLU
from xpconv.nn.model import Sequential
from xpconv.nn.model import value_of as _value_of
from xpconv.nn.windowed import AvgPool as _AvgPool
from xpconv.nn.windowed import Conv as _Conv
from xpconv.nn.windowed import MaxPool as _MaxPool

_HOMES = adaptive, conv, lp, padding, pool, transpose, unpool, windows, bounds
_PLAIN: dict[str, Callable[..., Any]] = {
    name: found for name in _BUILDERS for home in _HOMES if callable(found := getattr(home, name, None))
}
del adaptive, conv, lp, padding, pool, transpose, unpool, windows, bounds

_EXTRA = """

    Notes
    -----
    As `xpconv.{name}`, on arrays in chunks or in a store, with two keywords more: see `xpconv.dask`.
"""
_MORE = tuple(
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    for name, default, annotation in (("halo", "auto", "str"), ("chunks", None, "Chunks | None"))
)


def _in_chunks(name: str) -> Callable[..., Any]:
    """Give an operation on arrays in chunks."""
    plain = _PLAIN[name]
    signature = inspect.signature(plain)

    def operation(*arguments: Any, halo: str = "auto", chunks: Chunks | None = None, **options: Any) -> Any:
        return _BUILDERS[name](_asked(name, arguments, options, halo, chunks))

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = (inspect.getdoc(plain) or "").partition("\n")[0] + _EXTRA.format(name=name)
    operation.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), *_MORE]
    )
    return operation


def _asked(name: str, arguments: Any, options: Mapping[str, Any], halo: str, chunks: Any) -> _Asked:
    plain = _PLAIN[name]
    given = inspect.signature(plain).bind(*arguments, **options)
    given.apply_defaults()
    return _Asked(plain, given.arguments, halo, chunks)


_NAMES = tuple(sorted(name for name in _PLAIN if not name.startswith("apart")))
globals().update({name: _in_chunks(name) for name in _NAMES})

__all__ = [*_NAMES, "Explanation", "explain", "predict"]


def predict(
    model: Sequential, parameters: Mapping[str, Array], x: Array, *, halo: str = "auto", chunks: Chunks | None = None
) -> Array:
    """Run a network on images in chunks, one task for each block of its result.

    ``(N, *spatial, C) -> what model.predict gives``

    Parameters
    ----------
    model : nn.Sequential
        The network.
    parameters : dict of array
        Its parameters, of the library of the chunks.
    x : array
        The images, in chunks or in a store.
    halo : str
        How a task gets the pixels around its block: ``"auto"``, ``"strips"``, ``"blocks"`` or ``"reload"``.
    chunks : optional
        The chunks of the result, as Dask writes them (None: where the middle of the windows crosses those of x).

    Returns
    -------
    dask.array.Array
        Lazy.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        The parameters do not go with x.

    Notes
    -----
    What a block needs is followed back through the layers to the image; a layer's padding is put only where its windows
    leave the image. It goes band by band where what lies between two layers would take more than ``max_workspace``
    bytes. A convolution is planned for the whole image, and a block computes in full each of that plan's
    tiles that it meets, so that BLAS makes the same products of the same shapes. So the result has the bits of
    ``model.predict(parameters, x)`` on the whole of x, floats included, on the same kind of machine. (Where an image
    has an infinity or a NaN, pixels beside it can differ in the last digits. So can those of CuPy's chunks: a tile of a
    GPU's is as large as a block, so each block has tiles of its own, of the algorithm that is chosen for the whole.)
    Pixels in the rim of a block are computed by its neighbours as well. A network with layers that see the whole image
    (`Flatten`, `Dense`, layers of one's own) is run on some images at a time: the chunks of x along its first axis are
    those of the result, which has the bits of ``model.predict`` on the images of a chunk.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import xpconv.dask
    >>> from xpconv import nn
    >>> model = nn.Sequential((nn.Conv(4, 3, padding="same"), nn.ReLU(), nn.MaxPool(2)))
    >>> parameters = model.init(np.random.default_rng(0), (64, 64, 1))
    >>> xpconv.dask.predict(model, parameters, da.ones((1, 64, 64, 1), chunks=(1, 32, 32, 1), dtype="float32"))
    dask.array<..., shape=(1, 32, 32, 4), dtype=float32, chunksize=(1, 16, 16, 4), chunktype=numpy.ndarray>

    """
    return _predicted(_Asked(predict, {"x": x}, halo, chunks), model, parameters)


def _predicted(asked: _Asked, model: Sequential, parameters: Mapping[str, Array]) -> Array:
    x = asked["x"]
    like = _meta(x)
    asked.outline = model.predict(dict(parameters), _space_of(like).empty((0, *x.shape[1:]), like.dtype))
    if not x.shape[0]:
        return asked.nothing()
    asked.given["token"] = repr(model), *(item for pair in sorted(parameters.items()) for item in pair)
    links = _links(model, parameters, asked, like)
    if links is None:
        return _chain.of_images(asked, model, parameters)
    return _chain.predict(asked, links, parameters, _value_of)


def _links(model: Sequential, parameters: Mapping[str, Array], asked: _Asked, like: Array) -> list[_Link] | None:
    """Describe the layers; None where one sees the whole image, or none has a window."""
    layouts = {layer.layout for layer in model.layers if isinstance(layer, (_Conv, _MaxPool, _AvgPool))}
    if len(layouts) != 1 or not all(type(one) in (_Conv, _MaxPool, _AvgPool, _ReLU) for one in model.layers):
        return None
    asked.given["layout"] = layouts.pop()
    shape, links = tuple(asked["x"].shape), []
    for name, layer in zip(model.names, model.layers, strict=True):
        link = _Link(name, layer)
        if isinstance(layer, _Conv):
            link = _conv_link(link, shape, parameters, like)
        elif isinstance(layer, (_MaxPool, _AvgPool)):
            windowing = _Windowing(
                layer.stride, layer.padding, layer.dilation, layout=layer.layout, ceil_mode=layer.ceil_mode
            )
            geometry = _read.pool(name, shape, layer.window, windowing)
            mean = _Windows.of(geometry) if isinstance(layer, _AvgPool) else None
            link = _Link(name, layer, geometry, windows=mean, fixed=(("ceil_mode", True),))
        links.append(link)
        if link.geometry is not None:
            n, *size, channels = link.geometry.output_shape
            shape = (n, *size, channels) if asked.layout == "channels_last" else (n, channels, *size)
    windowed = [link for link in links if link.geometry is not None]
    geometries = [link.geometry for link in windowed if link.geometry is not None]
    bounds = []
    for axis in range(geometries[0].rank):
        cuts = asked.images("x", geometries[0].rank).bounds[axis + 1]
        for geometry in geometries:
            cuts = _output_bounds(geometry, axis, cuts)
        bounds.append(cuts)
    return links if _chain.reaches(windowed, bounds) else None


def _conv_link(link: _Link, shape: tuple[int, ...], parameters: Mapping[str, Array], like: Array) -> _Link:
    layer, weight = link.layer, parameters[f"{link.name}.weight"]
    geometry = _read.conv(link.name, shape, weight.shape, layer.windowing)
    call = _Call.of(link.name, x=like, w=weight, b=parameters[f"{link.name}.bias"], layout=layer.layout)
    if call.traits.threads:
        return _Link(link.name, layer, geometry, _choose(call, geometry, layer.algorithm, compact=True))
    # a tile of a GPU's is large: with few pixels in each it would be slow
    chosen = _choose(call, geometry, layer.algorithm).algorithm
    return _Link(link.name, layer, geometry, fixed=(("padding_mode", "zeros"), ("algorithm", chosen)))


@dataclass(frozen=True)
class Explanation:
    """What an operation on arrays in chunks takes; prints as a table."""

    operation: str
    halo: str
    blocks: int  # of the results
    tasks: int  # of the operation itself, without those that make its arguments
    halo_bytes: int  # that tasks read beyond one reading of the arguments
    worker_bytes: int  # that the largest task has at once: what it reads, lays side by side, and gives, and its work
    chunks: tuple[tuple[tuple[int, ...], ...], ...]  # of each result

    def __str__(self) -> str:
        rows = (
            ("blocks", f"{self.blocks:,}"),
            ("tasks", f"{self.tasks:,}"),
            ("halos", f"{self.halo_bytes / 2**20:,.1f} MiB"),
            ("a task, at most", f"{self.worker_bytes / 2**20:,.1f} MiB"),
        )
        return "\n".join(
            (f"{self.operation}, halo {self.halo!r}", *(f"  {name:<16}{value:>14}" for name, value in rows))
        )


def explain(
    operation: str | Callable[..., Any],
    *arguments: Any,
    halo: str = "auto",
    chunks: Chunks | None = None,
    **options: Any,
) -> Explanation:
    """Say what an operation on arrays in chunks takes, before anything runs.

    Parameters
    ----------
    operation : str or function
        The operation: its name, or the function of `xpconv` or of `xpconv.dask`.
    arguments, options
        What the operation is given.
    halo, chunks
        As the functions of `xpconv.dask` have them.

    Returns
    -------
    Explanation
        With ``blocks``, ``tasks``, ``halo_bytes`` (what is read beyond one reading of the arguments), ``worker_bytes``
        (what the largest task has at once, ``max_workspace`` included) and ``chunks``; prints as a table.

    Raises
    ------
    ValueError, TypeError
        As the operation; there is none of this name.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import xpconv.dask
    >>> x = da.zeros((1, 4096, 4096, 1), chunks=(1, 1024, 1024, 1), dtype="float32")
    >>> found = xpconv.dask.explain("conv", x, np.ones((3, 3, 1, 1), "float32"), padding="same")
    >>> found.blocks, found.tasks, found.halo_bytes
    (16, 101, 196752)

    """
    name = operation if isinstance(operation, str) else operation.__name__
    if name not in (*_NAMES, "predict"):
        raise ValueError(f"explain: operation is one of {', '.join(_NAMES)} or predict; got {name!r}")
    if name == "predict":
        given = inspect.signature(predict).bind(*arguments, **options).arguments
        asked = _Asked(predict, {"x": given["x"]}, halo, chunks)
        found = _predicted(asked, given["model"], given["parameters"])
    else:
        asked = _asked(name, arguments, options, halo, chunks)
        found = _BUILDERS[name](asked)
    results = found if isinstance(found, tuple) else (found,)
    largest = max(math.prod(max(sizes) for sizes in array.chunks) * array.dtype.itemsize for array in results)
    graphs = asked.graphs
    return Explanation(
        name,
        halo if halo != "auto" else "reload" if asked.reloads else "strips",
        blocks=sum(math.prod(array.numblocks) for array in results),
        tasks=sum(len(graph.tasks) for graph in graphs),
        halo_bytes=max(sum(graph.moved - graph.once for graph in graphs), 0),
        worker_bytes=max((graph.largest for graph in graphs), default=0) + largest + _options.current().max_workspace,
        chunks=tuple(array.chunks for array in results),
    )
