"""PyTorch: inputs in its layout already, in its memory formats, and nothing recorded where no gradient is wanted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from bench.layers import BOTH, FORWARD, INPUT, WEIGHT, Array, Case, Data, Layer, Pool
from bench.peers.peer import Entry, Peer, Where

IMAGES, KERNELS = (0, 3, 1, 2), (3, 2, 0, 1)  # (N, H, W, C) -> (N, C, H, W), (K, K, C/G, F) -> (F, C/G, K, K)
IMAGES_BACK, KERNELS_BACK = (0, 2, 3, 1), (2, 3, 1, 0)


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


class Torch(Peer):
    """Convolutions and poolings of ``torch.nn.functional``, and their gradients."""

    titles: ClassVar[Mapping[str, str]] = {"torch": "PyTorch"}
    library = "PyTorch"
    packages = ("torch",)
    notes: ClassVar[Mapping[type[Case], str]] = {
        Layer: "PyTorch: the faster of its channels_last and contiguous memory formats (* contiguous)",
        Pool: "PyTorch: channels_last; an average over the whole image by its adaptive_avg_pool2d",
    }
    rival = True

    def conv(self, layer: Layer, data: Data, where: Where) -> list[Entry]:
        """Run `conv2d`, autograd, and one gradient alone."""
        return [entry for form in where.formats for entry in self._conv(layer, data, where, form)]

    def _conv(self, layer: Layer, data: Data, where: Where, form: str) -> list[Entry]:
        torch, name = self.module, f"torch {form}"
        x, dz = (self._tensor(array, IMAGES, where, form) for array in (data.x, data.dz))
        w, b = self._tensor(data.w, KERNELS, where, form), self._tensor(data.b, (0,), where, form)
        leaves = [leaf.detach().requires_grad_() for leaf in (x, w, b)]

        def run(*factors: Any) -> Any:
            return torch.nn.functional.conv2d(*factors, **layer.keywords)

        def forward() -> Any:
            with torch.no_grad():
                return run(x, w, b)

        def both() -> Any:
            return torch.autograd.grad(run(*leaves), leaves, dz)

        alone = self._alone(layer, dz, x, w)
        (top, _), (left, _) = layer.pads
        rows, columns = slice(top, top + layer.height), slice(left, left + layer.width)

        def inside(found: Any) -> list[Any]:
            (dx,) = _arrays(where, [IMAGES_BACK], [found])
            return [dx if dx.shape == layer.x_shape else dx[:, rows, columns]]

        return [
            Entry(name, FORWARD, forward, lambda found: _arrays(where, [IMAGES_BACK], [found])),
            Entry(name, BOTH, both, lambda found: _arrays(where, [IMAGES_BACK, KERNELS_BACK, (0,)], found)),
            Entry(name, INPUT, lambda: alone([True, False, False])[0], inside),
            Entry(name, WEIGHT, lambda: alone([False, True, False])[1], lambda w: _arrays(where, [KERNELS_BACK], [w])),
        ]

    def _alone(self, layer: Layer, dz: Any, x: Any, w: Any) -> Callable[[list[bool]], Any]:
        """Prepare the gradients that a mask asks for; padding that differs between sides is applied beforehand."""
        torch = self.module
        (top, bottom), (left, right) = layer.pads
        padding = [top, left]
        if top != bottom or left != right:
            x, padding = torch.nn.functional.pad(x, (left, right, top, bottom)), [0, 0]
        steps, spread = [layer.stride] * 2, [layer.dilation] * 2

        def run(mask: list[bool]) -> Any:
            return torch.ops.aten.convolution_backward(
                dz, x, w, [layer.filters], steps, padding, spread, False, [0, 0], layer.groups, mask
            )

        return run

    def pool(self, pool: Pool, data: Data, where: Where) -> list[Entry]:
        """Run a pooling, and autograd."""
        return [entry for form in where.formats for entry in self._pool(pool, data, where, form)]

    def _pool(self, pool: Pool, data: Data, where: Where, form: str) -> list[Entry]:
        torch, name = self.module, f"torch {form}"
        functional = torch.nn.functional
        x, dy = (self._tensor(array, IMAGES, where, form) for array in (data.x, data.dz))
        if pool.more:  # which PyTorch does not know: it is added beforehand
            fill = -float("inf") if pool.kind == "max" else 0.0
            x = functional.pad(x, (0, pool.more) * 2, value=fill)
        leaf = x.detach().requires_grad_()

        def run(images: Any) -> Any:
            if pool.kind == "max":
                return functional.max_pool2d(images, pool.window, pool.stride, pool.padding)
            if pool.whole:
                return functional.adaptive_avg_pool2d(images, 1)
            return functional.avg_pool2d(images, pool.window, pool.stride, pool.padding)

        def forward() -> Any:
            with torch.no_grad():
                return run(x)

        def both() -> Any:
            return torch.autograd.grad(run(leaf), [leaf], [dy])

        return [
            Entry(name, FORWARD, forward, lambda found: _arrays(where, [IMAGES_BACK], [found])),
            Entry(
                name,
                BOTH,
                both,
                lambda found: [dx[:, : pool.height, : pool.width] for dx in _arrays(where, [IMAGES_BACK], found)],
            ),
        ]

    def _tensor(self, array: Array, axes: tuple[int, ...], where: Where, form: str) -> Any:
        """Copy an array with its axes in another order, in a memory format if it is an image or a kernel."""
        torch = self.module
        memory = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[form]
        moved = torch.from_numpy(array).to(where.device, getattr(torch, where.dtype)).permute(*axes)
        return moved.clone(memory_format=memory if array.ndim == 4 else torch.contiguous_format)


def _arrays(where: Where, axes: Sequence[tuple[int, ...]], tensors: Sequence[Any]) -> list[Any]:
    """Take tensors without a copy, their axes in xpconv's order."""
    return [where.xp.from_dlpack(t.detach().permute(*order)) for order, t in zip(axes, tensors, strict=True)]


PEER = Torch
