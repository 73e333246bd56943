"""A workspace for NumPy: work arrays in buffers that stay in the cache from one tile to the next."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.dtypes import is_bfloat16
from xpconv._arrays.space import Space
from xpconv._arrays.types import Array, DType
from xpconv._arrays.views import numpy_windows
from xpconv._shapes.geometry import Geometry, Ints, Run
from xpconv._work import fused as _fused
from xpconv._work import panels as _panels
from xpconv._work import products as _products
from xpconv._work import runs as _runs
from xpconv._work.device import DeviceWorkspace
from xpconv._work.memory import pool
from xpconv._work.tape import Tape
from xpconv._work.workspace import Workspace

# elements that NumPy takes at once where an array does not lie in one piece: of rows below a quarter of it makes a copy
# first, and by default (8192) those are most rows of an image. Measured: rows of 900 and 1800 in 0.5 to 0.7 of the time
STRETCH = 1024
PROGRAMS = 64  # that are kept, of a kilobyte or so each
# multiply-adds of a transposed product for which a wide right-hand matrix is read once before, in order: the kernels
# that read it where it lies do so in short pieces (16 times 1568 x 64 transposed times 1568 x 256, not in the cache:
# 19.4 and 14.3 ms)
READ_AHEAD = 4_000_000
_PREDICATES = frozenset({"equal", "not_equal"})


CROWDED = 1024  # bytes: planes a multiple of it apart meet in few places of a cache
FEW = 16  # planes
BESIDE = 512  # numbers that a bias is added to at once
ROWS = 256  # pixels from which on it pays to lay the bias side by side


def _by_planes(out: np.ndarray[Any, Any]) -> bool:
    """Say whether a block is written faster plane by plane than pixel by pixel, of a result whose channels are first.

    Pixel by pixel every plane has a cache line open, which crowd each other out. Measured, 64 channels of 64x64 pixels:
    1.31 and 0.27 ms; of 56x56, 0.14 and 0.23.
    """
    if out.ndim < 3 or abs(out.strides[-1]) <= abs(out.strides[-2]):
        return False
    return out.strides[-1] % CROWDED == 0 or out.shape[-1] <= FEW


def _beside(out: np.ndarray[Any, Any], block: np.ndarray[Any, Any]) -> int:
    """Say how many pixels of a row a bias is added to at once, a divisor of the row: short rows are slow to add."""
    width, filters = out.shape[-2:]
    if out.size < ROWS * filters or any(
        array.strides[-2:] != (filters * array.itemsize, array.itemsize) for array in (out, block)
    ):
        return 1
    return max((m for m in range(1, min(BESIDE // filters, width) + 1) if width % m == 0), default=1)


class BufferedWorkspace(Workspace):
    """A workspace for NumPy: one buffer for each name, used again by each tile."""

    def __init__(self, space: Space, arithmetic: Arithmetic) -> None:
        super().__init__(space, arithmetic)
        self._blocks: dict[str, np.ndarray[Any, Any]] = {}  # of bytes
        self._buffers: dict[str, np.ndarray[Any, Any]] = {}
        self._stretch: int | None = None  # NumPy's own, while this one's is in force
        self._tape: Tape | None = None  # that calls are being noted on
        self._moved = 0  # buffers that have been made anew
        self.programs: dict[Any, Any] = {}  # what was made of the buffers, for as long as they stay where they are
        self._lasting: set[int] = set()  # identities of arrays in programs, which a program may be made of
        # by name, what was padded last in the buffer, if nothing else was put there
        self._bordered: dict[str, Any] = {}

    def buffer(self, name: str, shape: Sequence[int], dtype: DType | None = None) -> np.ndarray[Any, Any]:
        """Give the buffer of this name, made anew if it is too small or of another dtype, in this shape."""
        size = math.prod(shape)
        dtype = self.dtype if dtype is None else dtype
        self._bordered.pop(name, None)
        flat = self._buffers.get(name)
        if flat is None or flat.size < size or flat.dtype != dtype:
            del flat
            flat = self._buffers[name] = self._block(name, size * np.dtype(dtype).itemsize).view(dtype)
        return flat[:size].reshape(shape)

    def _block(self, name: str, size: int) -> np.ndarray[Any, Any]:
        if name in self._blocks and self._blocks[name].size < size:  # let go of before there is a larger one
            self.forget()
            self._moved += 1
            self._buffers.pop(name, None)
            self._drop(self._blocks.pop(name))
        if name not in self._blocks:
            self._blocks[name] = self._take(size)
        return self._blocks[name][:size]

    def _take(self, size: int) -> np.ndarray[Any, Any]:
        return pool.take(size)

    def _drop(self, block: np.ndarray[Any, Any]) -> None:
        pool.drop(block)

    @property
    def nbytes(self) -> int:
        """Count the bytes of the buffers."""
        return sum(block.size for block in self._blocks.values())

    def begin(self) -> None:
        self._stretch = np.setbufsize(STRETCH)

    def release(self) -> None:
        if self._stretch is not None:
            np.setbufsize(self._stretch)
            self._stretch = None
        blocks = list(self._blocks.values())
        self._blocks.clear()
        self._buffers.clear()
        self.forget()
        pool.give(blocks)

    def forget(self) -> None:
        """Let go of what was made of the buffers."""
        self.programs.clear()
        self._lasting.clear()
        self._bordered.clear()

    def copy(self, name: str, view: Array, shape: Sequence[int], dtype: DType | None = None) -> Array:
        dtype = self.factors if dtype is None else dtype
        if view.flags.c_contiguous and view.dtype == dtype:
            return view.reshape(shape)
        target = self.buffer(name, view.shape, dtype)
        self.do(np.copyto, *_runs.items(target, view))
        return target.reshape(shape)

    def pixels(self, name: str, part: Array) -> Array:
        if part.dtype == self.dtype and (part.strides[-1] == part.itemsize or part.shape[-1] == 1):
            return part
        target = self.buffer(name, part.shape)
        self.do(np.copyto, target, part)
        return target

    def destination(self, target: Array, region: tuple[slice, ...], bias: Array | None = None) -> Array | None:
        out = target[region]
        # where a pixel's channels lie apart, a finished block is copied faster than it is put together
        return out if out.dtype == self.sums and out.strides[-1] == out.itemsize else None

    def flat(self, out: Array | None, shape: Sequence[int]) -> Array | None:
        return None if out is None or not out.flags.c_contiguous else out.reshape(shape)

    def write(self, target: Array, source: Array) -> None:
        self.do(np.copyto, *_runs.items(target, source))

    def quiet(self) -> Any:
        return np.errstate(all="ignore")

    def is_finite(self, block: Array) -> bool:
        with np.errstate(all="ignore"):
            if block.flags.c_contiguous and block.dtype.kind == "f":
                flat = block.reshape(-1)
                if math.isfinite(np.dot(flat, flat)):  # in a fifth of the time of the sum, but squares overflow earlier
                    return True
            return bool(np.isfinite(np.sum(block, dtype=block.dtype)))

    def store(self, target: Array, region: tuple[slice, ...], block: Array, bias: Array | None) -> None:
        out = target[region]
        if out.shape[-1] <= FEW and abs(block.strides[-1]) > abs(block.strides[-2]):
            for channel in range(out.shape[-1]):  # a row at a time, not a pixel
                own = out[..., channel], block[..., channel], None if bias is None else bias[channel : channel + 1]
                self._store(*own)
            return
        self._store(out, block, bias)

    def _store(self, out: Array, block: Array, bias: Array | None) -> None:
        if bias is not None:
            if _by_planes(out):  # (n, *output, F) -> (n, F, *output)
                axes = (0, out.ndim - 1, *range(1, out.ndim - 1))
                out, block = out.transpose(axes), block.transpose(axes)
                bias = bias.reshape(-1, *[1] * (out.ndim - 2))
            elif bias.size > 1 and (pixels := _beside(out, block)) > 1:
                out, block = (a.reshape(*a.shape[:-2], -1, pixels, a.shape[-1]) for a in (out, block))
                filters = bias
                bias = self.buffer("bias", out.shape[-2:], bias.dtype)
                self.do(np.copyto, *_runs.items(bias, np.broadcast_to(filters, bias.shape)))
            self.do(np.add, block, bias, out=out, casting="same_kind")
        elif not np.may_share_memory(out, block):
            self.do(np.copyto, out, block, casting="same_kind")

    def keep(self, block: Array) -> Array:
        return block.copy()

    def accumulate(self, total: Array | None, block: Array, target: Array | None = None) -> Array:
        if total is not None:
            return np.add(total, block, out=total)
        if target is None:
            return block.copy()
        self.do(np.copyto, target, block)
        return target

    def again(self, key: Any, make: Callable[[], Array]) -> Array:
        if self._tape is not None:  # the whole is being noted
            return make()
        key = "again", key
        known = self.programs.get(key)
        if known is not None:
            tape, found, _ = known
            tape.play()
            return found
        self._tape, moved = Tape(), self._moved
        try:
            found = make()
            if moved == self._moved:
                self.programs[key] = self._tape, found, make  # which holds what the key may name by its identity
                self._lasting.add(id(found))
        finally:
            self._tape = None
        return found

    @contextlib.contextmanager
    def noting(self, tape: Tape) -> Iterator[None]:
        """Note the calls of a block, of an algorithm that is `noted`; they hold while the buffers stay in place."""
        self._tape = tape
        try:
            yield
        finally:
            self._tape = None

    def matmul(self, name: str, a: Array, b: Array, out: Array | None = None) -> Array:
        if out is None:
            lead = a.shape[:-2] if a.ndim >= b.ndim else b.shape[:-2]
            out = self.buffer(name, (*lead, a.shape[-2], b.shape[-1]), a.dtype)
        if isinstance(b, _panels.Panels):
            for x, y, z in _panels.pieces(a, b, out):
                self.do(np.matmul, x, y, out=z)
            return out
        if (cut := _products.stack(a, b)) is not None:
            return self._stacked(name, a, b, out, *cut)
        inner = _products.stretch(a, b)
        for start in range(0, a.shape[-1], inner):
            part = out if start == 0 else self.buffer(f"{name} part", out.shape, out.dtype)
            left, right = a[..., start : start + inner], b[..., start : start + inner, :]
            wide = out.shape[-1] > out.shape[-2] and out.size * inner >= READ_AHEAD
            if wide and a.strides[-1] != a.itemsize and _products.has_kernels():
                self.do(_read_ahead, right)
            for x, y, z in _products.pieces(left, right, part):
                self.do(np.matmul, x, y, out=z)
            if start:
                self.do(np.add, out, part, out=out)
        return out

    def _stacked(self, name: str, a: Array, b: Array, out: Array, count: int, size: int) -> Array:
        """Multiply stretches of the inner axis as stacks of so many matrices, and add them up."""
        (rows, inner), columns = a.shape, b.shape[-1]
        start = 0
        while start < inner:
            size = min(size, inner - start)
            count = min(count, (inner - start) // size)
            stop = start + count * size
            # (M, n·K) -> (n, M, K), (n·K, N) -> (n, K, N)
            x = a[:, start:stop].reshape(rows, count, size).swapaxes(0, 1)
            parts = self.buffer(f"{name} stack", (count, rows, columns), out.dtype)
            self.do(np.matmul, x, b[start:stop].reshape(count, size, columns), out=parts)
            part = out if start == 0 else self.buffer(f"{name} part", out.shape, out.dtype)
            self.do(np.add.reduce, parts, axis=0, out=part)
            if start:
                self.do(np.add, out, part, out=out)
            start = stop
        return out

    def do(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
        """Make a call on buffers, which `again` and `noting` note."""
        function(*arguments, **keywords)
        if self._tape is not None:
            self._tape(function, *arguments, **keywords)

    def piece(self, name: str, whole: Array, shift: int, mask: int | None, real: DType) -> Array:
        if whole.strides[-2] < whole.strides[-1]:  # in the order of its memory, whichever that is
            return self.piece(name, whole.swapaxes(-1, -2), shift, mask, real).swapaxes(-1, -2)
        target = self.buffer(name, whole.shape, real)
        if shift or mask is not None:
            bits = self.buffer("bits", whole.shape, whole.dtype)
            np.right_shift(whole, shift, out=bits)
            whole = bits if mask is None else np.bitwise_and(bits, mask, out=bits)
        np.copyto(target, whole)
        return target

    def add_whole(
        self, name: str, total: Array | None, real: Array, whole: DType, shift: int, out: Array | None
    ) -> Array:
        target = total
        if target is None:
            target = self.buffer(name, real.shape, self.sums) if out is None else out
        if total is None and not shift and target.itemsize >= real.itemsize:
            np.copyto(target, real, casting="unsafe")  # in range: what is unsigned is not negative either
            return target
        found = self.buffer("whole", real.shape, whole)
        np.copyto(found, real, casting="unsafe")
        if shift:
            np.multiply(found, 1 << shift, out=found)
        if total is None:
            np.copyto(target, found, casting="unsafe")
            return target
        return np.add(target, found, out=target, dtype=target.dtype, casting="unsafe")

    def call(self, name: str, function: str, *arrays: Array) -> Array:
        boolean = function in _PREDICATES or arrays[0].dtype == np.bool_
        shape = arrays[0].shape
        if any(array.shape != shape for array in arrays):
            shape = np.broadcast_shapes(*(array.shape for array in arrays))
        out = self.buffer(name, shape, np.bool_ if boolean else arrays[0].dtype)
        if is_bfloat16(arrays[0].dtype):  # its maximum of a NaN warns, as that of no other dtype does
            with np.errstate(invalid="ignore"):
                self.do(getattr(np, function), *arrays, out=out)
            return out
        self.do(getattr(np, function), *arrays, out=out)
        return out

    def add_where(self, name: str, total: Array | None, mask: Array, value: Array) -> Array:
        # bit patterns times 0 or 1, as integers: three times faster than where(), and infinity times 0 stays 0
        bits = np.dtype(f"i{value.itemsize}")
        share = self.buffer("share" if total is not None else name, value.shape)
        np.multiply(value.view(bits), mask, out=share.view(bits))
        return share if total is None else np.add(total, share, out=total)

    def add(self, name: str, a: Array | None, b: Array) -> Array:
        target = self.buffer(name, b.shape, self.sums)
        if a is None:
            self.do(np.copyto, target, b)
        else:
            self.do(np.add, a, b, out=target)
        return target

    def pad(self, name: str, part: Array, widths: Sequence[tuple[int, int]], fill: Any) -> Array:
        key = "pad", name, part.shape, tuple(widths), fill
        if key not in self.programs:
            if len(self.programs) >= PROGRAMS:
                self.forget()
            shape = tuple(before + n + after for n, (before, after) in zip(part.shape, widths, strict=True))
            target = self.buffer(name, shape)
            borders: list[np.ndarray[Any, Any]] = []
            inside: list[slice] = []
            for n, (before, after) in zip(part.shape, widths, strict=True):
                if before:
                    borders.append(target[(*inside, slice(0, before))])
                if after:
                    borders.append(target[(*inside, slice(before + n, None))])
                inside.append(slice(before, before + n))
            self.programs[key] = target, borders, target[tuple(inside)]
            self._lasting.add(id(target))
        target, borders, middle = self.programs[key]
        if self._bordered.get(name) != key:  # otherwise they are there still
            for border in borders:
                border[...] = fill
                if self._tape is not None:
                    self._tape.lay(np.copyto, border, fill)
            self._bordered[name] = key
        self.do(np.copyto, middle, part)
        return target

    def gather(self, name: str, slab: Array, size: Sequence[int], step: Sequence[int], output: Sequence[int]) -> Array:
        tiles = [-(-o // m) for o, m in zip(output, step, strict=True)]
        slab, rank = self.extend(name, slab, size, step, tiles), len(output)
        key = "gather", name, id(slab), tuple(size), tuple(step), tuple(tiles)
        target, view = self.programs.get(key, (None, None))
        if target is None:
            view = numpy_windows(slab, size, tiles, step, (1,) * rank)
            # (n, *tiles, *size, C) -> (*size, n, *tiles, C)
            view = view.transpose((*range(rank + 1, 2 * rank + 1), *range(rank + 1), 2 * rank + 1))
            target = self.buffer(name, view.shape, self.sums)
            if id(slab) in self._lasting:
                self.programs[key] = target, view
        np.copyto(*_runs.items(target, view))
        return target

    def interleave(self, name: str, blocks: Array, output: Sequence[int], out: Array | None) -> Array:
        if out is None:
            out = self.buffer(name, (blocks.shape[len(output)], *output, blocks.shape[-1]), blocks.dtype)
        key = "interleave", id(blocks), tuple(output)
        moves = self.programs.get(key)
        if moves is None:
            moves = _moves(blocks, output)
            if id(blocks) in self._lasting:
                self.programs[key] = moves
        for inside, shape, source in moves:
            np.copyto(*_runs.items(out[inside].reshape(shape), source))  # axes are split, so this is a view
        return out

    def window_products(
        self, name: str, slab: Array, w: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        if out is None or out.strides[-2:] != (out.shape[-1] * out.itemsize, out.itemsize):
            # what lies apart is put together in rows, several windows at once, and copied: in a quarter of the time
            out = self.buffer(name, (slab.shape[0], *output, w.shape[-1]), self.sums)
        slab = self.copy("thin", slab, slab.shape, self.sums) if slab.dtype != self.sums else slab
        self.do(_fused.window_products, slab, w, output, geometry.stride, geometry.dilation, out)
        return out

    def window_products_grad(self, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        slab = self.copy("thin", slab, slab.shape, self.sums) if slab.dtype != self.sums else slab
        dz = self.copy("gradient", dz, dz.shape, self.sums)
        out = self.buffer("weight", (*geometry.kernel, slab.shape[-1]), self.sums)
        self.do(_fused.window_products_grad, slab, dz, geometry.stride, geometry.dilation, out)
        return out

    def repeat(self, name: str, x: Array, pieces: Sequence[Sequence[Run]]) -> Array:
        if all(len(axis_runs) == 1 and axis_runs[0].step == 1 for axis_runs in pieces):
            return self.pixels(name, x[(slice(None), *(axis_runs[0].source for axis_runs in pieces))])
        origins = [axis_runs[0].first for axis_runs in pieces]
        lengths = [sum(run.length for run in axis_runs) for axis_runs in pieces]
        target = self.buffer(name, (x.shape[0], *lengths, x.shape[-1]))
        for combination in itertools.product(*pieces):
            place = tuple(
                slice(run.first - origin, run.first - origin + run.length)
                for run, origin in zip(combination, origins, strict=True)
            )
            np.copyto(target[(slice(None), *place)], x[(slice(None), *(run.source for run in combination))])
        return target


def _read_ahead(array: Array) -> None:
    """Bring a contiguous array into the cache, by a product with itself, the fastest way; others are left alone."""
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        with np.errstate(all="ignore"):
            np.dot(flat, flat)


def _moves(blocks: Array, output: Sequence[int]) -> list[tuple[tuple[slice, ...], Ints, Array]]:
    """Say where the parts of (*step, n, *tiles, F) go in (n, *output, F): (index, shape of the place, part)."""
    rank, n, filters = len(output), blocks.shape[len(output)], blocks.shape[-1]
    step = blocks.shape[:rank]
    # whole tiles along an axis, and the ragged one at its end
    cuts = [[(0, o // m, m)] * (o >= m) + [(o // m, 1, o % m)] * (o % m > 0) for o, m in zip(output, step, strict=True)]
    order = (rank, *itertools.chain.from_iterable((rank + 1 + axis, axis) for axis in range(rank)), 2 * rank + 1)
    moves = []
    for pieces in itertools.product(*cuts):
        inside = (
            slice(None),
            *(slice(first * m, first * m + count * w) for (first, count, w), m in zip(pieces, step, strict=True)),
        )
        shape = itertools.chain.from_iterable((count, width) for _, count, width in pieces)
        inner = (slice(width) for _, _, width in pieces)
        outer = (slice(first, first + count) for first, count, _ in pieces)
        source = blocks[(*inner, slice(None), *outer)]
        moves.append((inside, (n, *shape, filters), source.transpose(order)))
    return moves


def workspace(space: Space, arithmetic: Arithmetic) -> Workspace:
    """Make the work arrays of one worker."""
    if space.traits.buffers:
        return BufferedWorkspace(space, arithmetic)
    return (DeviceWorkspace if space.traits.outs else Workspace)(space, arithmetic)
