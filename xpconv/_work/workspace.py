"""Work arrays of one worker: plain operations for any library, buffers that are used again for NumPy."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.dtypes import cast
from xpconv._arrays.space import Space
from xpconv._arrays.types import Array, DType
from xpconv._shapes.geometry import Geometry, Ints, Run
from xpconv._work import traced

FEW = 8  # slices that are joined, rather than gathered by an index


class Workspace:
    """Operations that may need memory, for one worker during one call.

    The plain class allocates anew each time, as any library can. `BufferedWorkspace` writes NumPy results into
    buffers that stay in the cache from one tile to the next; an array that it gives is overwritten by the next call
    with the same name.
    """

    spare = 0  # bytes that pieces of a product's sum may take
    areas = 0  # bytes of work areas that the plans of transforms may keep

    def __init__(self, space: Space, arithmetic: Arithmetic) -> None:
        self.space, self.arithmetic = space, arithmetic
        self.xp, self.traits = space.xp, space.traits
        self.dtype, self.factors, self.sums = arithmetic.seen, arithmetic.factors, arithmetic.sums

    def begin(self) -> None:
        """Set up the thread that is going to work with it; `release` sets it back."""

    def release(self) -> None:
        """Let others have the memory; no array that this workspace gave may be used any more."""

    @contextlib.contextmanager
    def taking(self, factors: DType) -> Iterator[None]:
        """Take pixels and factors in another dtype than that of the sums, for a time."""
        before = self.dtype, self.factors
        self.dtype = self.factors = factors
        try:
            yield
        finally:
            self.dtype, self.factors = before

    def copy(self, name: str, view: Array, shape: Sequence[int], dtype: DType | None = None) -> Array:
        """Give the elements of `view`, in order, in `dtype` (that of factors), as a contiguous array of `shape`."""
        return cast(self.xp, self.xp.reshape(view, tuple(shape)), self.factors if dtype is None else dtype)

    def pixels(self, name: str, part: Array) -> Array:
        """Give a block of pixels in the workspace's dtype, the channels of a pixel side by side if that matters."""
        return cast(self.xp, part, self.dtype)

    def destination(self, target: Array, region: tuple[slice, ...], bias: Array | None = None) -> Array | None:
        """Give the region of a result if an algorithm may write right into it; `store` is going to add the bias."""
        return None

    def flat(self, out: Array | None, shape: Sequence[int]) -> Array | None:
        """Give a destination in another shape if a matrix product may be written into it."""
        return None

    def quiet(self) -> Any:
        """Silence warnings of NumPy about values that are checked afterwards, as a context."""
        return contextlib.nullcontext()

    def is_finite(self, block: Array) -> bool:
        """Look whether all values are finite; where a sum of finite ones overflows the answer may be no."""
        return bool(self.xp.all(self.xp.isfinite(block)))

    def store(self, target: Array, region: tuple[slice, ...], block: Array, bias: Array | None) -> None:
        """Write a finished block, plus the bias, into a result."""
        target[region] = block if bias is None else block + bias

    def keep(self, block: Array) -> Array:
        """Give a block that the next call does not overwrite."""
        return block

    def accumulate(self, total: Array | None, block: Array, target: Array | None = None) -> Array:
        """Add a block to a running sum that the caller keeps; None starts it, in `target` if the library can."""
        return block if total is None else total + block

    def again(self, key: Any, make: Callable[[], Array]) -> Array:
        """Give what `make` makes of buffers by `matmul`, `call` and `do`; equal keys mean the same work and place."""
        return make()

    def matmul(self, name: str, a: Array, b: Array, out: Array | None = None) -> Array:
        """Multiply (stacks of) matrices, into `out` if the library can write there."""
        return self.space.matmul(a, b)

    def do(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
        """Make a call on arrays that can be written."""
        function(*arguments, **keywords)

    def write(self, target: Array, source: Array) -> None:
        """Write into what `flat` gave."""
        target[...] = source

    def transform(self, function: str, data: Array, **options: Any) -> Array:
        """Call a Fourier transform of the library's, by its name."""
        return getattr(self.xp.fft, function)(data, **options)

    def piece(self, name: str, whole: Array, shift: int, mask: int | None, real: DType) -> Array:
        """Give a range of bits of whole numbers as floating ones."""
        whole = whole >> shift if shift else whole
        return cast(self.xp, whole if mask is None else whole & mask, real)

    def add_whole(
        self, name: str, total: Array | None, real: Array, whole: DType, shift: int, out: Array | None
    ) -> Array:
        """Add whole numbers in a floating type, times 2^shift, to the running sum of this name, with wrap-around.

        A conversion from floating to integer is undefined beyond the integer's range, so it goes by way of `whole`,
        which holds them all. None starts the sum, in `out` if the library can write there.
        """
        found = cast(self.xp, real, whole)
        found = cast(self.xp, found * (1 << shift) if shift else found, self.sums)
        return found if total is None else total + found

    def call(self, name: str, function: str, *arrays: Array) -> Array:
        """Apply an element-wise function of the standard, by its name."""
        return getattr(self.xp, function)(*arrays)

    def add_where(self, name: str, total: Array | None, mask: Array, value: Array) -> Array:
        """Add `value` where the mask is true to the running sum of this name; None starts it."""
        share = self.xp.where(mask, value, self.xp.zeros_like(value))
        return share if total is None else total + share

    def add(self, name: str, a: Array | None, b: Array) -> Array:
        """Add `b` to the running sum `a` of this name; None starts it."""
        return b if a is None else a + b

    def pad(self, name: str, part: Array, widths: Sequence[tuple[int, int]], fill: Any) -> Array:
        """Surround an array with a constant."""
        if self.traits.mutable:  # in two steps; by concatenation there are five for each axis, each over all pixels
            shape = tuple(before + n + after for n, (before, after) in zip(part.shape, widths, strict=True))
            target = self.space.full(shape, fill, self.dtype)
            target[tuple(slice(low, low + n) for n, (low, _) in zip(part.shape, widths, strict=True))] = part
            return target
        part = cast(self.xp, part, self.dtype)
        for axis, (before, after) in enumerate(widths):
            pieces = [part]
            for place, width in ((0, before), (1, after)):
                if width:
                    shape = (*part.shape[:axis], width, *part.shape[axis + 1 :])
                    pieces.insert(place * len(pieces), self.space.full(shape, fill, part.dtype))
            if len(pieces) > 1:
                part = self.xp.concat(pieces, axis=axis)
        return part

    def pad_behind(self, part: Array, widths: Sequence[tuple[int, int]], behind: int) -> Array:
        """Surround an array (n, *pixels, C) with zeros, and put so many pixels of them behind it, in memory alone."""
        shape = tuple(before + n + after for n, (before, after) in zip(part.shape, widths, strict=True))
        flat = self.space.zeros((math.prod(shape) + behind * shape[-1],), self.dtype)
        target = self.xp.reshape(flat[: math.prod(shape)], shape)
        target[tuple(slice(low, low + n) for n, (low, _) in zip(part.shape, widths, strict=True))] = part
        return target

    def gather(self, name: str, slab: Array, size: Sequence[int], step: Sequence[int], output: Sequence[int]) -> Array:
        """(n, *slab, C) -> (*size, n, *tiles, C): the pixels of each tile of `step` outputs, zeros beyond the slab."""
        tiles = [-(-o // m) for o, m in zip(output, step, strict=True)]
        slab = self.extend(name, slab, size, step, tiles)
        slab, xp, rank = cast(self.xp, slab, self.sums), self.xp, len(size)
        for axis, (n, t, m) in enumerate(zip(size, tiles, step, strict=True), start=1):
            # (…, pixels, …) -> (…, size · tiles, …)
            lead = (slice(None),) * axis
            if t == 1:
                slab = slab[(*lead, slice(0, n), ...)]
            elif n <= FEW:
                slab = xp.concat([slab[(*lead, slice(p, p + (t - 1) * m + 1, m), ...)] for p in range(n)], axis=axis)
            else:
                order = [p + i * m for p in range(n) for i in range(t)]
                slab = xp.take(slab, self.space.array(order, self.space.index_dtype), axis=axis)
        shape = itertools.chain.from_iterable(zip(size, tiles, strict=True))
        slab = xp.reshape(slab, (slab.shape[0], *shape, slab.shape[-1]))
        # (n, size, tiles, size, tiles, …, C) -> (*size, n, *tiles, C)
        return xp.permute_dims(slab, (*range(1, 2 * rank, 2), 0, *range(2, 2 * rank + 1, 2), 2 * rank + 1))

    def extend(self, name: str, slab: Array, size: Sequence[int], step: Sequence[int], tiles: Sequence[int]) -> Array:
        """Put zeros after a slab's pixels if the last tile of an axis reads more than there are."""
        needs = [(t - 1) * m + s for t, m, s in zip(tiles, step, size, strict=True)]
        short = [max(need - have, 0) for need, have in zip(needs, slab.shape[1:-1], strict=True)]
        if not any(short):
            return slab
        return self.pad(f"{name} extended", slab, [(0, 0), *((0, more) for more in short), (0, 0)], 0)

    def interleave(self, name: str, blocks: Array, output: Sequence[int], out: Array | None) -> Array:
        """(*step, n, *tiles, F) -> (n, *output, F): lay tiles side by side and cut off what lies beyond."""
        rank, xp = len(output), self.xp
        order = itertools.chain.from_iterable((rank + 1 + axis, axis) for axis in range(rank))
        whole = xp.permute_dims(blocks, (rank, *order, 2 * rank + 1))
        sizes = [blocks.shape[axis] * blocks.shape[rank + 1 + axis] for axis in range(rank)]
        whole = xp.reshape(whole, (blocks.shape[rank], *sizes, blocks.shape[-1]))
        return whole[(slice(None), *map(slice, output), slice(None))]

    def dilate(self, name: str, w: Array, dilation: Sequence[int]) -> Array:
        """(*kernel, C, F) -> (*span, C, F): put dilation - 1 zeros between neighbouring taps."""
        for axis, spread in enumerate(dilation):
            taps = w.shape[axis]
            if spread == 1 or taps == 1:
                continue
            lead, tail = w.shape[:axis], w.shape[axis + 1 :]
            blank = self.space.full((*lead, taps, spread - 1, *tail), 0, w.dtype)
            w = self.xp.concat([self.xp.reshape(w, (*lead, taps, 1, *tail)), blank], axis=axis + 1)
            w = self.xp.reshape(w, (*lead, taps * spread, *tail))
            w = w[(*(slice(None),) * axis, slice(0, (taps - 1) * spread + 1), ...)]
        return w

    def stack(self, arrays: Sequence[Array]) -> Array:
        """Join arrays of one shape along a new first axis."""
        return self.xp.stack(arrays)

    def window_products(
        self, name: str, slab: Array, w: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """(n, *slab, C), (*K, C) -> (n, *O, C): each channel's windows times its weight."""
        if traced.in_a_loop(self.space, geometry):
            rows = self.xp.reshape(w, (geometry.taps, -1))

            def share(number: Any) -> Array:
                pixels = cast(self.xp, traced.tap(self.space, slab, geometry, output, number), self.sums)
                return pixels * rows[number, :]

            return traced.total(self.space, geometry.taps, share)
        total = None
        for tap, offset in geometry.offsets():
            part = slab[(slice(None), *geometry.tap_slices(offset, output), slice(None))]
            total = self.add(name, total, cast(self.xp, part, self.sums) * w[(*tap, ...)])
        return total

    def window_products_grad(self, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """(n, *slab, C), (n, *O, C) -> (*K, C): each channel's windows times its gradient, summed over the windows."""
        dz = cast(self.xp, dz, self.sums)

        def summed(part: Array) -> Array:
            product = cast(self.xp, part, self.sums) * dz
            return self.xp.sum(product, axis=tuple(range(geometry.rank + 1)), dtype=self.sums)

        if traced.in_a_loop(self.space, geometry):
            tap = functools.partial(traced.tap, self.space, slab, geometry, output)
            found = traced.each(self.space, geometry.taps, lambda number: summed(tap(number)))
        else:
            slices = (geometry.tap_slices(offset, output) for _, offset in geometry.offsets())
            found = self.stack([summed(slab[(slice(None), *those, slice(None))]) for those in slices])
        return self.xp.reshape(found, (*geometry.kernel, -1))

    def repeat(self, name: str, x: Array, pieces: Sequence[Sequence[Run]]) -> Array:
        """(n, *spatial, C) -> (n, *padded, C): lay the runs of each spatial axis side by side."""
        for axis, axis_runs in enumerate(pieces, start=1):
            if len(axis_runs) == 1 and axis_runs[0].step == 1:
                x = x[(*(slice(None),) * axis, axis_runs[0].source, ...)]
                continue
            order = [run.start + run.step * i for run in axis_runs for i in range(run.length)]
            x = self.xp.take(x, self.space.array(order, self.space.index_dtype), axis=axis)
        return self.pixels(name, x)
