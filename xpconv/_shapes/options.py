"""The types of options: which words each takes, and the forms of sizes and padding."""

from __future__ import annotations

from typing import Literal, get_args

Layout = Literal["channels_last", "channels_first"]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
PaddingName = Literal["valid", "same", "same_lower", "causal"]
AlgorithmName = Literal[
    "auto", "direct", "gemm", "toeplitz", "winograd", "fft", "rows", "compiled", "compiled_winograd"
]
Ties = Literal["first", "all", "split"]
PoolMode = Literal["max", "average"]

Shape = tuple[int, ...]
Size = int | tuple[int, ...]  # one for all spatial axes, or one each
Pairs = tuple[tuple[int, int], ...]  # (before, after) for each spatial axis
Padding = int | PaddingName | tuple[int, ...] | Pairs

LAYOUTS: tuple[Layout, ...] = get_args(Layout)
PADDING_MODES: tuple[PaddingMode, ...] = get_args(PaddingMode)
PADDING_NAMES: tuple[PaddingName, ...] = get_args(PaddingName)
ALGORITHM_NAMES: tuple[AlgorithmName, ...] = get_args(AlgorithmName)
TIES: tuple[Ties, ...] = get_args(Ties)
POOL_MODES: tuple[PoolMode, ...] = get_args(PoolMode)
