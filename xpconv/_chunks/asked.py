"""A call of an operation on arrays in chunks: its arguments, how halos travel, and what its result will be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from xpconv import _options
from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import accumulator, dtype_name
from xpconv._arrays.space import is_chunked, space_of
from xpconv._arrays.types import Array
from xpconv._chunks.graph import HALOS, Graph, Source, from_store, in_chunks, meta, read_chunks
from xpconv._chunks.tasks import Block, Slab
from xpconv._shapes.chunks import bounds
from xpconv._shapes.geometry import Ints
from xpconv._shapes.read import Windowing

IMAGES = ("x", "dz", "dy", "y", "indices", "cols")  # arguments that are cut into chunks
KERNELS = ("w", "b")  # and those that every block reads


class Asked:
    """An operation, its arguments with the defaults filled in, and the two options of chunks."""

    def __init__(
        self, function: Callable[..., Any], given: Mapping[str, Any], halo: str = "auto", chunks: Any = None
    ) -> None:
        self.function, self.name, self.given = function, function.__name__, dict(given)
        if halo not in HALOS:
            raise ValueError(f"{self.name}: halo is one of {', '.join(map(repr, HALOS))}; got halo={halo!r}")
        self.halo, self.chunks = halo, chunks
        self.graphs: list[Graph] = []  # that were begun
        for name in (*IMAGES, *KERNELS):
            if is_chunked(array := self.given.get(name)):
                self._check_known(name, array)
        for name in IMAGES:
            if self.given.get(name) is not None:
                self.given[name] = self._image(name, self.given[name])

    def _check_known(self, name: str, array: Array) -> None:
        if any(size != size for sizes in array.chunks for size in sizes):
            raise ValueError(
                f"{self.name}: the sizes of the chunks of {name} are known; got {name}.chunks={array.chunks}; call "
                f"{name}.compute_chunk_sizes() first"
            )

    def _image(self, name: str, array: Array) -> Array:
        if is_chunked(array):
            if self.halo == "reload":
                raise ValueError(
                    f"{self.name}: halo 'reload' reads an array in a store; got a lazy array for {name}; pass what it "
                    "was made from"
                )
            return array
        if not hasattr(array, "shape"):
            return array  # the operation itself says what is wrong with it
        array = in_chunks(array)
        return from_store(array) if not is_chunked(array) and self.halo in ("strips", "blocks") else array

    @property
    def reloads(self) -> bool:
        """Whether tasks read an array in a store."""
        return any(hasattr(self.given.get(name), "shape") and not is_chunked(self.given[name]) for name in IMAGES)

    def __getitem__(self, name: str) -> Any:
        return self.given[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Give an argument, or a default where the operation has none of this name."""
        return self.given.get(name, default)

    @property
    def layout(self) -> str:
        """The layout of the images."""
        return str(self.given.get("layout", "channels_last"))

    @property
    def windowing(self) -> Windowing:
        """The options of the windows, as they were given."""
        given = {name: self.given[name] for name in Windowing._fields if name in self.given}
        mode = self.given.get("padding_mode", self.given.get("mode", "zeros"))
        return Windowing(**given | {"mode": mode})

    def order(self, rank: int) -> Ints:
        """Give the axes of images in the order (N, *spatial, C)."""
        return (*range(rank + 2),) if self.layout == "channels_last" else (0, *range(2, rank + 2), 1)

    def images(self, name: str, rank: int) -> Source:
        """Give images as chunks of (N, *spatial, C)."""
        return self.source(self.given[name], self.order(rank))

    def source(self, array: Array, order: Sequence[int]) -> Source:
        """Give an array as chunks."""
        return Source(array, order, "strips" if self.halo == "auto" else self.halo)

    def call(self, *names: str) -> Call:
        """Begin the call that a block makes of these arrays; TypeError where they do not go together."""
        arrays = {name: meta(self.given[name]) for name in names}
        return Call.of(self.name, layout=self.layout, dtype=self.given.get("dtype"), **arrays)

    @cached_property
    def outline(self) -> Any:
        """Give the results for no images at all, made by the operation itself, which checks its arguments so."""
        given = dict(self.given)
        for name in IMAGES:
            if (array := given.get(name)) is not None and hasattr(array, "shape"):
                like = meta(array)
                given[name] = space_of(like).empty((0, *array.shape[1:]), like.dtype)
        for name in KERNELS:
            array = given.get(name)
            if array is not None and is_chunked(array):
                given[name] = space_of(array._meta).empty(array.shape, array.dtype)
        if isinstance(given.get("x"), (tuple, list)):  # a whole shape
            given["x"] = (0, *given["x"][1:])
        if "input_shape" in given:
            given["input_shape"] = (0, *given["input_shape"][1:])
        return self.function(**given)

    def nothing(self) -> Any:
        """Give the results for no images."""
        found = self.outline
        return tuple(map(in_chunks, found)) if isinstance(found, tuple) else in_chunks(found)

    @property
    def like(self) -> Array:
        """Give an empty array like the first result."""
        found = self.outline[0] if isinstance(self.outline, tuple) else self.outline
        return empty(found)

    def graph(self, *more: Any) -> Graph:
        """Begin the tasks of this call."""
        options = _options.current()
        given = [(name, self.given[name]) for name in sorted(self.given)]
        pairs = [item for pair in given for item in pair]
        self.graphs.append(Graph(self.name, *pairs, self.halo, self.chunks, options.max_workspace, *more))
        return self.graphs[-1]

    def block(self, function: Callable[..., Any], slabs: Sequence[Slab | None], settings: Mapping[str, Any]) -> Block:
        """Describe a call that a task makes."""
        return Block(function, settings, tuple(slabs), _options.current())

    def cut(self, shape: Ints, order: Sequence[int], own: Sequence[Ints]) -> list[Ints]:
        """Give the bounds of a result's axes, of a logical shape: as the caller wants them, or its own."""
        if self.chunks is None:
            return list(own)
        physical: list[int] = [0] * len(order)
        for axis, n in zip(order, shape, strict=True):
            physical[axis] = n
        found = read_chunks(self.chunks, tuple(physical), self.like.dtype)
        return [bounds(found[axis]) for axis in order]


def empty(array: Array) -> Array:
    """Give an empty array like another, with as many axes."""
    return array[(slice(0, 0),) * array.ndim]


def names(array: Array) -> tuple[str, str]:
    """Name the dtype of a result, and that of its sums."""
    xp = space_of(array).xp
    return dtype_name(array.dtype), dtype_name(accumulator(xp, array.dtype))
