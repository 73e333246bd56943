"""PyTorch on the CPU: the calls to time, in both memory formats, and exact results in double precision."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.layers import Array, Data, Layer

FORMATS = ("channels_last", "contiguous")
Call = Callable[[], Any]


def load() -> Any:
    """Give PyTorch, or None where it is not installed."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        return None


@contextmanager
def limited(torch: Any, threads: int) -> Iterator[None]:
    """Use this many threads in a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            # "same" with an even kernel pads one side in a copy, and says so
            warnings.filterwarnings("ignore", "Using padding='same'", UserWarning)
            yield
    finally:
        torch.set_num_threads(before)


def tensor(
    torch: Any, array: Array, axes: tuple[int, ...], memory_format: str, dtype: str = "float32", device: str = "cpu"
) -> Any:
    """Copy an array with its axes in another order, in one of the memory formats if it is an image or a kernel."""
    form = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[memory_format]
    moved = torch.from_numpy(array).to(device, getattr(torch, dtype)).permute(*axes)
    return moved.clone(memory_format=form if array.ndim == 4 else torch.contiguous_format)


class TorchPeer:
    """One layer in one memory format and dtype."""

    def __init__(
        self, torch: Any, layer: Layer, data: Data, memory_format: str, dtype: str = "float32", device: str = "cpu"
    ) -> None:
        self.torch, self.layer = torch, layer

        def take(array: Array, *axes: int) -> Any:
            return tensor(torch, array, axes, memory_format, dtype, device)

        # (N, H, W, C) -> (N, C, H, W), (K, K, C/G, F) -> (F, C/G, K, K)
        self.x, self.dz = take(data.x, 0, 3, 1, 2), take(data.dz, 0, 3, 1, 2)
        self.w, self.b = take(data.w, 3, 2, 0, 1), take(data.b, 0)
        self.leaves = [leaf.detach().requires_grad_() for leaf in (self.x, self.w, self.b)]

    def _conv(self, x: Any, w: Any, b: Any) -> Any:
        return self.torch.nn.functional.conv2d(x, w, b, **self.layer.keywords)

    def forward(self) -> Any:
        """Run forward, recording nothing for a gradient."""
        with self.torch.no_grad():
            return self._conv(self.x, self.w, self.b)

    def both(self) -> Any:
        """Run forward, then backward to x, w and b."""
        return self.torch.autograd.grad(self._conv(*self.leaves), self.leaves, self.dz)

    def results(self) -> tuple[Array, tuple[Array, Array, Array]]:
        """Give z and (dx, dw, db) in xpconv's layout."""
        z = self._conv(*self.leaves)
        dx, dw, db = self.torch.autograd.grad(z, self.leaves, self.dz)
        gradients = dx.permute(0, 2, 3, 1).numpy(), dw.permute(2, 3, 1, 0).numpy(), db.numpy()
        return z.detach().permute(0, 2, 3, 1).numpy(), gradients
