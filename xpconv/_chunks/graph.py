"""Graphs of tasks under construction: the only file here that knows the library of chunks."""

from __future__ import annotations

import itertools
import math
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import array_api_compat as compat
import numpy as np

from xpconv._arrays.space import is_chunked
from xpconv._arrays.types import Array, DType
from xpconv._chunks import tasks
from xpconv._chunks.tasks import Place, Slab
from xpconv._shapes.chunks import Piece, bounds, pieces, sizes
from xpconv._shapes.geometry import Ints, Run

HALOS = ("auto", "strips", "blocks", "reload")
ARITY = 8  # of the trees that sums are taken in
LARGE = 1 << 20  # bytes of a stored chunk, from which on one is read at a time

Key = Any
Lines = Sequence[Sequence[Piece]]  # what is read along each axis


def in_chunks(array: Array) -> Array:
    """Give an array that is in memory as one of a single chunk."""
    import dask.array as da

    if is_chunked(array) or not compat.is_array_api_obj(array):
        return array
    name = None if isinstance(array, np.ndarray) else f"array-{uuid.uuid4().hex}"
    return da.from_array(array, chunks=tuple(array.shape), asarray=False, name=name)


def from_store(array: Array) -> Array:
    """Give an array in a store as one whose chunks are loaded by tasks of their own."""
    import dask.array as da

    return da.from_array(array, chunks=array.chunks or array.shape)


def meta(array: Array) -> Array:
    """Give an empty array of the library, device and dtype that an array is computed in."""
    if is_chunked(array):
        return array._meta
    if array is None or compat.is_array_api_obj(array):
        return array
    return np.empty((0,) * len(array.shape), array.dtype)


def read_chunks(chunks: Any, shape: Ints, dtype: DType) -> tuple[Ints, ...]:
    """Read a caller's chunks: a size, one for each axis, or the sizes of the chunks of each axis."""
    from dask.array.core import normalize_chunks

    found: tuple[Ints, ...] = normalize_chunks(chunks, shape=shape, dtype=dtype)
    return found


class Source:
    """An array in chunks, or in a store, whose axes are taken in an order of their own: (N, *spatial, C)."""

    def __init__(self, array: Array, order: Sequence[int], halo: str) -> None:
        self.array, self.order, self.halo = array, tuple(order), halo
        self.stored = not is_chunked(array)
        self.bounds = tuple(bounds(_sizes_of(array, axis)) for axis in self.order)
        self.shape = tuple(b[-1] for b in self.bounds)
        self.meta = meta(array)
        self.name = None if self.stored else task_name(array)
        self.cuts = self.bounds  # where reads are cut
        self.itemsize = int(array.dtype.itemsize)
        self.nbytes = math.prod(self.shape) * self.itemsize
        if self.stored and math.prod(max(sizes(b), default=0) for b in self.bounds) * array.dtype.itemsize < LARGE:
            self.cuts = tuple((0, n) for n in self.shape)

    def physical(self, values: Iterable[Any]) -> tuple[Any, ...]:
        """Bring what belongs to the axes into the array's own order."""
        out: list[Any] = [None] * len(self.order)
        for axis, value in zip(self.order, values, strict=True):
            out[axis] = value
        return tuple(out)

    def pieces(self, axis: int, found: Iterable[Run]) -> list[Piece]:
        """Cut what is read along an axis where its chunks end."""
        return pieces(self.cuts[axis], found)


def task_name(array: Array) -> str:
    """Name the tasks that make an array's chunks; an expression has other names once it is a graph."""
    keys = array.__dask_keys__()
    while isinstance(keys, list):
        keys = keys[0]
    return str(keys[0])


def _sizes_of(array: Array, axis: int) -> Ints:
    if is_chunked(array):
        return tuple(array.chunks[axis])
    n, chunks = array.shape[axis], array.chunks or array.shape
    step = chunks[axis]
    if isinstance(step, tuple):
        return step
    return tuple(min(step, n - start) for start in range(0, n, step))


class Graph:
    """The tasks of one call, made key by key."""

    def __init__(self, name: str, *token: Any) -> None:
        from dask._task_spec import DataNode, Task, TaskRef
        from dask.base import tokenize

        self._data, self._task, self._ref = DataNode, Task, TaskRef
        self.label, self.token = f"xpconv-{name}", tokenize(*map(_token, token))
        self.tasks: dict[Key, Any] = {}
        self.sources: list[Array] = []  # arrays in chunks whose tasks these depend on
        self.moved = 0  # bytes that slabs are laid from
        self.once = 0  # bytes of the arrays that they are taken from
        self.largest = 0  # bytes that a task reads and lays side by side
        self._pending = 0
        self._counted: set[int] = set()
        self._layouts: dict[Any, _Layout] = {}
        self._strips: dict[Any, int] = {}
        self._halo = self.name("halo")
        self._small: dict[int, tuple[Any, Any]] = {}

    def name(self, what: str = "") -> str:
        """Name a kind of task."""
        return f"{self.label}-{what}-{self.token}" if what else f"{self.label}-{self.token}"

    def add(self, key: Key, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Key:
        """Add a task; its arguments are what `ref`, `small` and `slab` give, or constants."""
        self.tasks[key] = self._task(key, function, *arguments, **settings)
        self.largest, self._pending = max(self.largest, self._pending), 0
        return key

    def ref(self, key: Key) -> Any:
        """Refer to the result of a task."""
        return self._ref(key)

    def refs(self, keys: Iterable[Key]) -> list[Any]:
        """Refer to the results of tasks."""
        return [self._ref(key) for key in keys]

    def depend(self, array: Array) -> None:
        """Take an array's own tasks along."""
        if all(array is not other for other in self.sources):
            self.sources.append(array)

    def small(self, array: Array) -> Any:
        """Refer to a whole array that many tasks read."""
        if id(array) in self._small:
            return self._small[id(array)][0]
        if is_chunked(array):
            one = array if math.prod(array.numblocks) == 1 else array.rechunk(array.shape)
            self.depend(one)
            found = self._ref((task_name(one), *(0,) * one.ndim))
        else:
            key = (self.name("array"), len(self._small))
            if compat.is_array_api_obj(array):
                array = compat.array_namespace(array).asarray(array, copy=True)  # as it is now
            self.tasks[key] = self._data(key, array)
            found = self._ref(key)
        self._small[id(array)] = found, array
        return found

    def slab(self, source: Source, lines: Lines, shape: Sequence[int]) -> tuple[list[Any], Slab]:
        """Ask for a slab of a source: the arguments of a task, and how they are laid."""
        lines = source.physical(lines)
        form = (source.name, *[_form(line) for line in lines], *shape)
        layout = self._layouts.get(form)
        if layout is None:
            layout = self._layouts[form] = _Layout(source, lines, source.physical(shape), self._strips)
        self._count(source, layout)
        if source.stored:
            return [self.small(source.array)] * len(layout.slab.places), layout.slab_at(source, lines)
        self.depend(source.array)
        name, halo, ref, found = source.name, self._halo, self._ref, []
        chunks = itertools.product(*[[piece.chunk for piece in line] for line in lines])
        for numbers, strip in zip(chunks, layout.strips, strict=True):
            key = (name, *numbers)
            if strip is not None:
                variant, spot = strip
                own = (halo, *numbers, variant)
                if own not in self.tasks:
                    self.tasks[own] = self._task(own, tasks.strip, ref(key), spot)
                key = own
            found.append(ref(key))
        return found, layout.slab

    def count(self, size: int) -> None:
        """Count bytes that the next task has beside what it lays side by side."""
        self._pending += size

    def _count(self, source: Source, layout: _Layout) -> None:
        self.moved += layout.moved
        self._pending += layout.moved + layout.laid
        if id(source.array) not in self._counted:
            self._counted.add(id(source.array))
            self.once += source.nbytes

    def tree(self, what: str, place: tuple[int, ...], parts: list[Key], arity: int = ARITY) -> list[Any]:
        """Add results up, in a tree whose shape depends on their number alone; refer to what the root adds."""
        level = 0
        while len(parts) > arity:
            heads = []
            for first in range(0, len(parts), arity):
                key = (self.name(what), *place, level, first // arity)
                heads.append(self.add(key, tasks.total, *self.refs(parts[first : first + arity])))
            parts, level = heads, level + 1
        return self.refs(parts)

    def array(self, name: str, chunks: tuple[Ints, ...], like: Array, own: dict[Key, Any] | None = None) -> Array:
        """Give the array whose chunks are the tasks of this name, or tasks of its own beside the graph's."""
        import dask.array as da
        from dask.highlevelgraph import HighLevelGraph

        rest = self.tasks
        if own is None:
            own = {key: task for key, task in self.tasks.items() if key[0] == name}
            rest = {key: task for key, task in self.tasks.items() if key not in own}
        if getattr(da, "_array_expr_enabled", bool)():
            from dask.array._array_expr._collection import from_graph

            layer: dict[Key, Any] = {}
            for source in self.sources:
                layer.update(source.__dask_graph__())
            return from_graph(layer | rest | own, like, chunks, set(own), name)
        # what is read, and what is made of it: an array's own layer has its name
        base = self.name("parts")
        below = HighLevelGraph.from_collections(base, rest, dependencies=self.sources)
        above = HighLevelGraph.from_collections(name, own, dependencies=self.sources)
        layers = {**below.layers, name: above.layers[name]}
        dependencies = {**below.dependencies, name: {*above.dependencies[name], base}}
        return da.Array(HighLevelGraph(layers, dependencies), name, chunks, meta=like)

    def item(self, key: Key, source: Key, number: int) -> Any:
        """Make a task that takes one of several results."""
        return self._task(key, tasks.item, self._ref(source), number)


def _form(line: Sequence[Piece]) -> Any:
    """Say what pieces along an axis have in common with those of other blocks: all but the numbers of the chunks."""
    return tuple([(p.place.start, p.place.stop, p.spot, p.flipped, p.size) for p in line])


class _Layout:
    """How pieces of chunks make a slab, and which of them travel as strips; the same for many blocks."""

    def __init__(self, source: Source, lines: Lines, shape: Ints, strips: dict[Any, int]) -> None:
        self.strips: list[tuple[int, tuple[slice, ...]] | None] = []
        self.moved = 0  # bytes
        places = []
        for combination in itertools.product(*lines):
            spot: tuple[slice, ...] | None = tuple([slice(*piece.spot) for piece in combination])
            count = math.prod([piece.pixels for piece in combination])
            size = math.prod([piece.size for piece in combination])
            strip = None
            if not source.stored and source.halo == "strips" and 2 * count <= size:
                variant = (source.name, *[piece.spot for piece in combination])
                assert spot is not None
                strip, spot = (strips.setdefault(variant, len(strips)), spot), None
            elif not source.stored and count == size:
                spot = None
            self.strips.append(strip)
            self.moved += (size if strip is None and not source.stored else count) * source.itemsize
            flipped = tuple([axis for axis, piece in enumerate(combination) if piece.flipped])
            places.append(Place(tuple([piece.place for piece in combination]), spot, flipped))
        self.slab = Slab(shape, tuple(places))
        self.laid = math.prod(shape) * source.itemsize

    def slab_at(self, source: Source, lines: Lines) -> Slab:
        """Give the layout of pieces that lie in a whole array, not in a chunk of their own."""
        cuts = source.physical(source.cuts)
        starts = itertools.product(
            *[[cut[piece.chunk] for piece in line] for line, cut in zip(lines, cuts, strict=True)]
        )
        places = []
        for place, first in zip(self.slab.places, starts, strict=True):
            assert place.source is not None
            spot = tuple([slice(a + s.start, a + s.stop) for a, s in zip(first, place.source, strict=True)])
            places.append(place._replace(source=spot))
        return Slab(self.slab.shape, tuple(places))


def _token(value: Any) -> Any:
    """Say what makes a call the same as another."""
    if is_chunked(value):
        return value.name
    if isinstance(value, np.ndarray) or not hasattr(value, "dtype") or isinstance(value, np.dtype):
        return value
    return uuid.uuid4().hex  # to look at its values would move them
