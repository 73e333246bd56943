"""Every operation of xpconv in small, as programs of arrays that a library has made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import xpconv as xc

SHAPES = {
    "x": (2, 12, 11, 6),
    "w": (3, 3, 6, 8),
    "b": (8,),
    "dz": (2, 12, 11, 8),
    "dz2": (2, 6, 6, 8),
    "w1": (1, 1, 6, 8),
    "wg": (3, 3, 3, 8),
    "wd": (3, 3, 1, 6),
    "dzd": (2, 12, 11, 6),
    "wt": (3, 3, 8, 6),
    "xf": (2, 6, 12, 11),
    "wf": (8, 6, 3, 3),
    "dzf": (2, 8, 12, 11),
    "line": (2, 30, 4),
    "w5": (5, 4, 8),
    "cube": (1, 6, 5, 7, 4),
    "w333": (3, 3, 3, 4, 4),
    "dy": (2, 6, 5, 6),
    "dy3": (2, 6, 6, 6),
    "dya": (2, 4, 3, 6),
    "padded": (2, 16, 15, 6),
    "cols": (2, 10, 9, 3, 3, 6),
}


LEAST = -4


class Given:
    """Arrays of SHAPES by name, whole numbers from -4 (where there are such) to 4, as a library makes them."""

    def __init__(self, make: Callable[[np.ndarray[Any, Any]], Any], dtype: Any = np.float32) -> None:
        self._make, self._dtype, self.made = make, dtype, {}  # type: ignore[var-annotated]

    def __getattr__(self, name: str) -> Any:
        if name not in self.made:
            seed = list(SHAPES).index(name)
            values = (
                np.random.default_rng(seed)
                .integers(LEAST if np.dtype(self._dtype).kind != "u" else 0, 5, SHAPES[name])
                .astype(self._dtype)
            )
            self.made[name] = self._make(values)
        return self.made[name]


def forward(a: Given) -> Any:
    """The course's convolution."""
    return xc.conv_forward(a.x, a.w, a.b.reshape(1, 1, 1, 8), {"stride": 1, "pad": 1})


Operation = Callable[[Given], Any]
OPERATIONS: dict[str, Operation] = {
    "conv": lambda a: xc.conv(a.x, a.w, a.b),
    "conv, padded": lambda a: xc.conv(a.x, a.w, a.b, padding=1),
    "conv, stride 2": lambda a: xc.conv(a.x, a.w, a.b, padding="same", stride=2),
    "conv, dilated": lambda a: xc.conv(a.x, a.w, padding="same", dilation=2),
    "conv, reflect": lambda a: xc.conv(a.x, a.w, padding=1, padding_mode="reflect"),
    "conv, replicate": lambda a: xc.conv(a.x, a.w, padding=1, padding_mode="replicate"),
    "conv, circular": lambda a: xc.conv(a.x, a.w, padding=1, padding_mode="circular"),
    "conv, groups": lambda a: xc.conv(a.x, a.wg, padding=1, groups=2),
    "conv, depthwise": lambda a: xc.conv(a.x, a.wd, padding=1, groups=6),
    "conv, pointwise": lambda a: xc.conv(a.x, a.w1, a.b),
    "conv, channels first": lambda a: xc.conv(a.xf, a.wf, a.b, padding=1, layout="channels_first"),
    "conv, 1-d": lambda a: xc.conv(a.line, a.w5, padding="causal"),
    "conv, 3-d": lambda a: xc.conv(a.cube, a.w333, padding=1),
    "conv, direct": lambda a: xc.conv(a.x, a.w, padding=1, algorithm="direct"),
    "conv, gemm": lambda a: xc.conv(a.x, a.w, padding=1, algorithm="gemm"),
    "conv, toeplitz": lambda a: xc.conv(a.x, a.w, padding=1, algorithm="toeplitz"),
    "conv, winograd": lambda a: xc.conv(a.x, a.w, padding=1, algorithm="winograd"),
    "conv, fft": lambda a: xc.conv(a.x, a.w, padding=1, algorithm="fft"),
    "conv_vjp": lambda a: xc.conv_vjp(a.dz, a.x, a.w, padding=1),
    "conv_vjp, stride 2": lambda a: xc.conv_vjp(a.dz2, a.x, a.w, padding="same", stride=2),
    "conv_vjp, depthwise": lambda a: xc.conv_vjp(a.dzd, a.x, a.wd, padding=1, groups=6),
    "conv_vjp, reflect": lambda a: xc.conv_vjp(a.dz, a.x, a.w, padding=1, padding_mode="reflect"),
    "conv_vjp, channels first": lambda a: xc.conv_vjp(a.dzf, a.xf, a.wf, padding=1, layout="channels_first"),
    "conv_vjp, winograd": lambda a: xc.conv_vjp(a.dz, a.x, a.w, padding=1, algorithm="winograd"),
    "conv_vjp, fft": lambda a: xc.conv_vjp(a.dz, a.x, a.w, padding=1, algorithm="fft"),
    "conv_input_grad": lambda a: xc.conv_input_grad(a.dz, a.w, SHAPES["x"], padding=1),
    "conv_weight_grad": lambda a: xc.conv_weight_grad(a.dz, a.x, SHAPES["w"], padding=1),
    "conv_transpose": lambda a: xc.conv_transpose(a.x, a.wt, stride=2),
    "conv_transpose_vjp": lambda a: xc.conv_transpose_vjp(a.dz, a.x, a.wt, padding=1),
    "max_pool": lambda a: xc.max_pool(a.x, 2),
    "max_pool, padded": lambda a: xc.max_pool(a.x, 3, stride=2, padding=1),
    "max_pool, indices": lambda a: xc.max_pool(a.x, 2, return_indices=True),
    "max_pool_vjp": lambda a: xc.max_pool_vjp(a.dy, a.x, 2),
    "max_pool_vjp, padded": lambda a: xc.max_pool_vjp(a.dy3, a.x, 3, stride=2, padding=1),
    "max_pool_vjp, split": lambda a: xc.max_pool_vjp(a.dy, a.x, 2, ties="split"),
    "max_pool_vjp, all": lambda a: xc.max_pool_vjp(a.dy, a.x, 2, ties="all"),
    "max_unpool": lambda a: xc.max_unpool(*xc.max_pool(a.x, 2, return_indices=True), SHAPES["x"][1:3]),
    "avg_pool": lambda a: xc.avg_pool(a.x, 2),
    "avg_pool, padded": lambda a: xc.avg_pool(a.x, 3, stride=2, padding=1, count_include_pad=False),
    "avg_pool_vjp": lambda a: xc.avg_pool_vjp(a.dy, SHAPES["x"], 2),
    "avg_pool_vjp, padded": lambda a: xc.avg_pool_vjp(a.dy3, SHAPES["x"], 3, stride=2, padding=1),
    "lp_pool": lambda a: xc.lp_pool(a.x, 3, 2),
    "lp_pool_vjp": lambda a: xc.lp_pool_vjp(a.dy, a.x, 3, 2),
    "adaptive_avg_pool": lambda a: xc.adaptive_avg_pool(a.x, (4, 3)),
    "adaptive_avg_pool_vjp": lambda a: xc.adaptive_avg_pool_vjp(a.dya, a.x, (4, 3)),
    "adaptive_max_pool": lambda a: xc.adaptive_max_pool(a.x, (4, 3)),
    "adaptive_max_pool, indices": lambda a: xc.adaptive_max_pool(a.x, (4, 3), return_indices=True),
    "adaptive_max_pool_vjp": lambda a: xc.adaptive_max_pool_vjp(a.dya, a.x, (4, 3)),
    "adaptive_max_pool_vjp, indices": lambda a: xc.adaptive_max_pool_vjp(
        a.dya, SHAPES["x"], (4, 3), indices=xc.adaptive_max_pool(a.x, (4, 3), return_indices=True)[1]
    ),
    "unfold": lambda a: xc.unfold(a.x, 3),
    "fold": lambda a: xc.fold(a.cols, SHAPES["x"], 3),
    "pad": lambda a: xc.pad(a.x, 2),
    "pad, reflect": lambda a: xc.pad(a.x, 2, mode="reflect"),
    "pad_vjp, reflect": lambda a: xc.pad_vjp(a.padded, SHAPES["x"], 2, mode="reflect"),
    "error_bound": lambda a: xc.error_bound(a.x, a.w, a.b, padding=1),
    "prepare_conv": lambda a: xc.prepare_conv(a.w, a.b, input_shape=SHAPES["x"], padding=1)(a.x),
    "conv_single_step": lambda a: xc.conv_single_step(a.w[..., 0], a.w[..., 1], a.b[:1].reshape(1, 1, 1)),
    "conv_forward": lambda a: forward(a)[0],
    "conv_backward": lambda a: xc.conv_backward(a.dz, forward(a)[1]),
    "pool_forward": lambda a: xc.pool_forward(a.x, {"f": 2, "stride": 2})[0],
    "pool_backward": lambda a: xc.pool_backward(a.dy, xc.pool_forward(a.x, {"f": 2, "stride": 2})[1]),
    "zero_pad": lambda a: xc.zero_pad(a.x, 2),
    "create_mask_from_window": lambda a: xc.create_mask_from_window(a.x[0, :, :, 0]),
    "distribute_value": lambda a: xc.distribute_value(a.b[:1], (3, 3)),
}
