"""A convolution whose weight stays: what does not depend on the images is done once."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast, dtype_name, itemsize
from xpconv._arrays.space import Space, common_space, is_chunked
from xpconv._arrays.types import Array
from xpconv._arrays.views import to_channels_last
from xpconv._convolution.correlate import perform
from xpconv._convolution.replay import Shortcut, shortcut
from xpconv._convolution.tile import Task
from xpconv._convolution.weight import factors_of, form, ready
from xpconv._plan.choose import choose
from xpconv._plan.record import Plan
from xpconv._shapes.geometry import Geometry
from xpconv._shapes.layout import in_layout
from xpconv._work.panels import Panels

Lazily = Callable[[Array, Array, Array | None], Array]  # of images, weight and bias

BATCHES = 8  # sizes of a batch whose plans are kept
LITTLE = 1 << 18  # bytes of a weight that are compared in less time than it takes to find arrays


@dataclass(frozen=True)
class _Batch:
    """What is kept for one size of a batch."""

    task: Task  # without images
    form: tuple[Any, ...]
    replay: Shortcut | None


class PreparedConv:
    """A convolution with a weight and a bias of its own; call it with images.

    ``plan`` says what runs for a batch of the size that was given, and prints as `xpconv.explain` does; ``nbytes``
    counts what is kept.
    """

    def __init__(
        self, call: Call, geometry: Geometry, algorithm: str, w: Array, b: Array | None, lazily: Lazily, compact: bool
    ) -> None:
        self._call, self._geometry, self._algorithm, self._compact = call, geometry, algorithm, compact
        self._w, self._b, self._lazily = w, b, lazily  # arrays of its own; what serves images in chunks
        self._kernel, self._bias = call.kernel(w), call.bias(b)
        self._lock = threading.Lock()
        self._batches: dict[int, _Batch] = {}  # the one asked for last stands last
        self._replays: dict[tuple[int, ...], Shortcut] = {}  # by the shape of the images
        self.plan: Plan = self._of(geometry.batch).task.plan

    @property
    def nbytes(self) -> int:
        """Count the bytes of the weight, of the bias and of the weight in the forms that algorithms take."""
        with self._lock:
            own = sum(_size(self._call.space, part) for part in (self._w, self._b) if part is not None)
            return own + self._forms_size() + sum(replay.nbytes for replay in self._replays.values())

    @property
    def saves(self) -> bool:
        """Say whether a call saves more than it would take to compare the weight with another."""
        with self._lock:
            return self._forms_size() > 0 or (bool(self._replays) and _size(self._call.space, self._w) <= LITTLE)

    @property
    def parameters(self) -> tuple[Array, Array | None]:
        """The weight and the bias as they were; not to be written."""
        return self._w, self._b

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """(N, *spatial, C) -> (N, *out, F), in the layout that was given; in `out`, if there is one."""
        if type(x) is np.ndarray:
            replay = self._replays.get(x.shape)
            if replay is not None and replay.takes(x):
                if out is not None:
                    self._check_out(self._call.space, x, out, x.shape[0])
                return replay(x, out)
        return self._perform(x, out)

    def __repr__(self) -> str:
        return f"<PreparedConv {self.plan.head}>"

    def _perform(self, x: Array, out: Array | None) -> Array:
        call = self._call
        if is_chunked(x):
            self._check_images(x)
            if out is not None:
                raise TypeError(f"{call.name}: out is not served for images in chunks, which are computed later")
            return self._lazily(x, self._w, self._b)
        space = common_space(call.name, {"x": x, "w": self._w})
        if space is not call.space:
            call = replace(call, space=space)
        self._check_images(x)
        if out is not None:
            self._check_out(space, x, out, x.shape[0])
        batch = self._of(x.shape[0])
        task = replace(batch.task, call=call, x=call.images(x))
        if out is None:
            return call.give(perform(task))
        perform(task, to_channels_last(call.xp, space.reread(out, call.arithmetic.result), call.layout))
        return out

    def _check_images(self, x: Array) -> None:
        wanted = in_layout(self._geometry.input_shape, self._call.layout)
        if tuple(x.shape[1:]) != wanted[1:]:
            sizes = ", ".join(map(str, wanted[1:]))
            raise ValueError(
                f"{self._call.name}: x has the shape of input_shape with any number of images, (N, {sizes}); "
                f"got x.shape={tuple(x.shape)}"
            )

    def _check_out(self, space: Space, x: Array, out: Array, batch: int) -> None:
        call, name = self._call, self._call.name
        if type(out) is not np.ndarray or type(x) is not np.ndarray:
            common_space(name, {"x": x, "out": out}, one_dtype=False)
        if out.dtype != call.arithmetic.wanted:
            wanted = dtype_name(call.arithmetic.wanted)
            raise TypeError(f"{name}: out has the dtype of the result, {wanted}; got out.dtype={dtype_name(out.dtype)}")
        shape = (batch, *in_layout(self._geometry.output_shape, call.layout)[1:])
        if tuple(out.shape) != shape:
            raise ValueError(f"{name}: out has the shape of the result, {shape}; got out.shape={tuple(out.shape)}")
        if not space.can_write(out):
            raise ValueError(f"{name}: out is an array that can be written; leave it out for a new one")
        if space.share_memory(out, x):
            raise ValueError(f"{name}: out shares memory with x, which is read while out is written")

    def _of(self, batch: int) -> _Batch:
        """Give what is kept for a size of a batch; those asked for last, whose forms together stay in the workspace."""
        with self._lock:
            found = self._batches.pop(batch, None)
            if found is None:
                found = self._made(batch)
            self._batches[batch] = found
            if found.replay is not None:
                self._replays[found.replay.shape] = found.replay
            most = self._call.options.max_workspace
            while len(self._batches) > 1 and (len(self._batches) > BATCHES or self._forms_size() > most):
                gone = self._batches.pop(next(iter(self._batches)))
                if gone.replay is not None:
                    self._replays.pop(gone.replay.shape, None)
            return found

    def _made(self, batch: int) -> _Batch:
        geometry, call = self._geometry, self._call
        geometry = geometry if batch == geometry.batch else replace(geometry, batch=batch)
        plan = choose(call, geometry, self._algorithm, compact=self._compact)
        task = Task(call, plan, None, self._kernel, self._bias)
        if batch == 0:
            return _Batch(task, (), None)
        kernel = cast(call.xp, self._kernel, factors_of(call, plan, self._kernel.dtype))
        wanted = form(call, plan, kernel)
        known = [other.task.ready for other in self._batches.values() if other.form == wanted]
        task = replace(task, ready=known[0] if known else ready(call, plan, kernel))
        return _Batch(task, wanted, shortcut(task))

    def _forms_size(self) -> int:
        """Count the bytes of the forms that are no views of the weight."""
        forms = {id(part): part for batch in self._batches.values() for part in batch.task.ready}
        return sum(self._form_size(part) for part in forms.values())

    def _form_size(self, part: Array | Panels) -> int:
        space = self._call.space
        if isinstance(part, Panels):
            return sum(_size(space, panel) for panel in part.parts)
        return 0 if space.share_memory(part, self._w) else _size(space, part)


def _size(space: Space, array: Array) -> int:
    return int(math.prod(array.shape)) * itemsize(space.xp, array.dtype)


def prepared_conv(
    call: Call, geometry: Geometry, algorithm: str, w: Array, b: Array | None, lazily: Lazily, compact: bool
) -> PreparedConv:
    """Prepare a convolution, with copies of the weight and the bias; `compact`: in such tiles."""
    w, b = (None if array is None else call.xp.asarray(array, copy=True) for array in (w, b))
    return PreparedConv(call, geometry, algorithm, w, b, lazily, compact)
