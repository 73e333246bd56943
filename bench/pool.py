"""``python -m bench pool``: max and average pooling, forward and forward with backward."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import xpconv as xc
from bench import contest, jax_peer, onnx_peer, plot, targets
from bench.arguments import add_common
from bench.check import relative
from bench.contest import XPCONV, Contest, Outcome
from bench.conv_report import BOTH, FORWARD
from bench.errors import ResultError
from bench.layers import Array, select
from bench.session import Session, opened
from bench.torch_peer import tensor

HELP = "time max and average pooling beside PyTorch, ONNX Runtime and JAX"
GOAL = (1.2, 2.0)
TOLERANCE = 1e-5
NOTES = (
    "PyTorch: channels_last; an average over the whole image by its adaptive_avg_pool2d; ONNX Runtime: channels "
    "first, forward only",
    "ratio: time of xpconv over that of the faster of PyTorch and ONNX Runtime, with backward of PyTorch",
)


@dataclass(frozen=True)
class Pool:
    """A pooling of square windows on channels-last images."""

    kind: str  # "max" or "average"
    batch: int
    height: int
    width: int
    channels: int
    window: int
    stride: int
    padding: int = 0

    @property
    def name(self) -> str:
        """Images, window, stride: ``8×112×112×64 max 3/2/1``, window, stride and padding."""
        sizes = "×".join(map(str, self.shape))
        return f"{sizes} {self.kind} {self.window}/{self.stride}/{self.padding}"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(N, H, W, C)``."""
        return (self.batch, self.height, self.width, self.channels)

    @property
    def whole(self) -> bool:
        """Whether a window is the image."""
        return self.padding == 0 and (self.height, self.width) == (self.window, self.window)

    @property
    def keywords(self) -> dict[str, Any]:
        """The options of `xpconv.max_pool` and `xpconv.avg_pool` beside the window."""
        return {"stride": self.stride, "padding": self.padding}

    def forward(self, x: Any) -> Any:
        """Run xpconv forward."""
        return (xc.max_pool if self.kind == "max" else xc.avg_pool)(x, self.window, **self.keywords)

    def backward(self, dy: Any, x: Any) -> Any:
        """Run xpconv backward."""
        if self.kind == "max":
            return xc.max_pool_vjp(dy, x, self.window, **self.keywords)
        return xc.avg_pool_vjp(dy, x.shape, self.window, **self.keywords)

    def torch_forward(self, functional: Any, x: Any) -> Any:
        """Run PyTorch forward on (N, C, H, W)."""
        if self.kind == "max":
            return functional.max_pool2d(x, self.window, self.stride, self.padding)
        if self.whole:
            return functional.adaptive_avg_pool2d(x, 1)
        return functional.avg_pool2d(x, self.window, self.stride, self.padding)


_TYPICAL = ((8, 112, 112, 64, 3, 2, 1), (8, 56, 56, 64, 2, 2), (8, 28, 28, 256, 3, 1, 1), (32, 64, 64, 8, 4, 4))
POOLS = (
    *(Pool(kind, *case) for kind in ("max", "average") for case in _TYPICAL),
    Pool("average", 8, 7, 7, 2048, 7, 7),
)
QUICK_POOLS = (
    Pool("max", 2, 8, 8, 4, 3, 2, 1),
    Pool("average", 2, 8, 8, 4, 3, 1, 1),
    Pool("average", 2, 4, 4, 8, 4, 4),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_common(parser)


def draw(pool: Pool) -> tuple[Array, Array]:
    """Draw the images and the gradient of the result."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(pool.shape, np.float32)
    return x, rng.standard_normal(pool.forward(x).shape, np.float32)


def torch_calls(
    torch: Any,
    pool: Pool,
    x: Array,
    dy: Array,
    dtype: str = "float32",
    device: str = "cpu",
    form: str = "channels_last",
) -> dict[str, Callable[[], Any]]:
    """Give PyTorch's calls by pass."""
    images, gradient = (tensor(torch, array, (0, 3, 1, 2), form, dtype, device) for array in (x, dy))
    leaf = images.detach().requires_grad_()
    functional = torch.nn.functional

    def forward() -> Any:
        with torch.no_grad():
            return pool.torch_forward(functional, images)

    def both() -> Any:
        return torch.autograd.grad(pool.torch_forward(functional, leaf), [leaf], [gradient])

    return {FORWARD: forward, BOTH: both}


def _demand(pool: Pool, what: str, got: Array, exact: Array) -> None:
    error = relative(got, exact)
    if not error <= TOLERANCE:
        raise ResultError(f"{pool.name}: {what} is off by {error:.2g}; nothing was timed")


def measure(pool: Pool, session: Session) -> list[Outcome]:
    """Compare the results, then time both passes."""
    x, dy = draw(pool)
    peers, sizes = session.peers, (pool.kind, pool.window, pool.stride, pool.padding)
    forward: dict[str, Callable[[], Any]] = {}
    both: dict[str, Callable[[], Any]] = {}
    if peers.torch is not None:
        calls = torch_calls(peers.torch, pool, x, dy)
        forward["torch"], both["torch"] = calls[FORWARD], calls[BOTH]
        _demand(pool, "the result", pool.forward(x), calls[FORWARD]().permute(0, 2, 3, 1).numpy())
        _demand(pool, "the gradient", pool.backward(dy, x), calls[BOTH]()[0].permute(0, 2, 3, 1).numpy())
    if peers.onnx is not None:
        forward["onnx"] = onnx_peer.pool(peers.onnx, session.threads, x, *sizes)
        _demand(pool, "ONNX Runtime's result", forward["onnx"]().transpose(0, 2, 3, 1), pool.forward(x))
    if peers.jax is not None:
        forward["jax"] = jax_peer.pool(peers.jax, x, *sizes)
        _demand(pool, "JAX's result", np.asarray(forward["jax"]()), pool.forward(x))
    forward[XPCONV] = lambda: pool.forward(x)
    both[XPCONV] = lambda: (pool.forward(x), pool.backward(dy, x))
    return contest.hold(session, [Contest(pool.name, FORWARD, forward), Contest(pool.name, BOTH, both)])


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    pools, found = select(QUICK_POOLS if options.quick else POOLS, options.layers), []
    with opened(options, "pool") as session:
        for count, pool in enumerate(pools, 1):
            session.progress(count, len(pools), pool.name)
            found += measure(pool, session)
        by_pass = {passes: contest.ratios(found, passes) for passes in (FORWARD, BOTH)}
        judged = [
            targets.judge(targets.Goal(f"pooling, {passes}", *GOAL), values, pools == POOLS)
            for passes, values in by_pass.items()
        ]
        picture = None
        if options.png is not None:
            title = "Pooling: time of xpconv ÷ time of the fastest rival (less is better)"
            picture = plot.bars({title: by_pass}, "as fast as the fastest", session.caption)
        titles = {"torch": "PyTorch", "onnx": "ONNX R.", "jax": "JAX", XPCONV: "xpconv"}
        notes = NOTES if session.peers.jax is None else (*NOTES, f"{jax_peer.NOTE}; forward only")
        return session.finish(contest.table(found, titles), contest.records(found), notes, judged, picture)
