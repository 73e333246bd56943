"""The package's catalogue with what the tests add to it; data for its setups, and what the oracle says of them."""

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests import oracle
from xpconv.verify.catalogue import cases as catalogue
from xpconv.verify.catalogue.setups import Columns, Conv, Cut, Pad, Pool, Setup, Transpose

Shape = tuple[int, ...]
FIRST = "channels_first"


def in_layout(layout: str, batch: int, size: Shape, channels: int) -> Shape:
    """Shape of an array of images."""
    return (batch, *size, channels) if layout == "channels_last" else (batch, channels, *size)


def values(shape: Shape, seed: int, dtype: str, low: int | None = None, high: int | None = None) -> np.ndarray:
    """Whole numbers in [low, high] if they are given, otherwise normal numbers; a function of its arguments alone."""
    rng = np.random.default_rng([seed, *shape])
    if low is not None and high is not None:
        return rng.integers(low, high, shape, endpoint=True).astype(dtype)
    if np.dtype(dtype).kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def whole(shape: Shape, seed: int, dtype: str = "float32") -> np.ndarray:
    """Small whole numbers: their sums are exact, and ties abound."""
    return values(shape, seed, dtype, 0 if np.dtype(dtype).kind == "u" else -3, 3)


# What the catalogue has not -------------------------------------------------------------------------------------

PADDED: dict[str, Conv] = {
    "as-far-as-reflection-goes": Conv((3, 4), (3, 3), padding=(2, 3)),
    "same": Conv((5, 6), (3, 4), padding="same"),
    "same-lower-stride": Conv((5, 6), (4, 4), stride=2, padding="same_lower"),
    "causal": Conv((6, 7), (3, 2), padding="causal", dilation=(2, 3)),
    "asymmetric": Conv((4, 5), (3, 2), padding=((2, 0), (1, 3)), stride=(2, 1)),
    "stride-dilation": Conv((7, 8), (3, 2), padding=(3, 4), stride=(2, 3), dilation=(3, 4)),
    "stride-beyond-kernel": Conv((7, 5), (1, 2), padding=2, stride=(3, 4)),
    "groups": Conv((4, 4), (3, 3), padding=1, channels=4, filters=4, groups=2),
    "depthwise-first": Conv((5, 4), (3, 3), padding=1, channels=3, filters=3, groups=3, layout=FIRST),
    "1d": Conv((5,), (4,), padding=((1, 3),), stride=2),
    "1d-first": Conv((5,), (3,), padding=4, layout=FIRST),
    "3d": Conv((3, 4, 2), (2, 3, 2), padding=(1, 2, 1), stride=(1, 2, 1), batch=1),
    "3d-first": Conv((2, 3, 3), (2, 1, 2), padding=((1, 0), (0, 0), (2, 1)), layout=FIRST, batch=1),
    "empty-batch": Conv((4, 5), (3, 3), padding=1, batch=0),
}
MODES = ("reflect", "replicate", "circular")
MORE_CONV: dict[str, Conv] = {
    "one-output": Conv((3, 3), (3, 3), batch=1),
    "stride-2-first": replace(catalogue.CONV["stride-2"], layout=FIRST),
    "empty-batch-first": replace(catalogue.CONV["empty-batch"], layout=FIRST),
    **{f"{name}-{mode}": replace(case, padding_mode=mode) for mode in MODES for name, case in PADDED.items()},
    "round-and-round": Conv((2, 3), (3, 2), stride=2, padding=((7, 3), (1, 5)), padding_mode="circular"),
}
MORE_TRANSPOSE: dict[str, Transpose] = {
    "one-pixel": Transpose((1, 1), (3, 2), batch=1, channels=1, filters=1),
    "strides-differ": Transpose((3, 4), (2, 3), stride=(1, 3), padding=(0, 1), output_padding=(0, 2)),
    "stride-beyond-kernel-extra": Transpose((3, 3), (1, 2), stride=(3, 4), output_padding=(2, 3)),
    "asymmetric-padding": Transpose((4, 5), (3, 4), stride=2, padding=((2, 0), (1, 3))),
    "padding-beyond-kernel": Transpose((6, 7), (2, 2), padding=(2, 3)),
    "same-stride-1": Transpose((4, 3), (3, 4), padding="same"),
    "same-stride": Transpose((4, 3), (4, 3), stride=2, padding="same"),
    "same-lower-stride": Transpose((4, 3), (4, 3), stride=2, padding="same_lower"),
    "same-stride-beyond-kernel": Transpose((3, 2), (1, 2), stride=(3, 4), padding="same"),
    "same-lower-stride-beyond-kernel": Transpose((3, 2), (2, 1), stride=(5, 3), padding="same_lower"),
    "same-dilated": Transpose((4, 5), (3, 2), stride=2, dilation=(2, 3), padding="same"),
    "same-extra": Transpose((4, 5), (3, 3), stride=3, padding="same", output_padding=1),
    "same-lower-extra": Transpose((4, 5), (4, 5), stride=2, padding="same_lower", output_padding=1),
    "dilation-extra": Transpose((4, 3), (3, 2), dilation=(2, 4), stride=(1, 2), padding=1, output_padding=(1, 3)),
    "dilation-beyond-input": Transpose((1, 2), (3, 2), dilation=(4, 5), stride=2),
    "depthwise-stride": Transpose((3, 4), (3, 3), channels=3, filters=3, groups=3, padding=1, stride=2),
    "depthwise-multiplier": Transpose((3, 4), (2, 2), channels=2, filters=4, groups=2, stride=2),
    "1d-stride": Transpose((5,), (4,), stride=3, padding=((2, 1),)),
    "1d-same": Transpose((4,), (2,), stride=3, padding="same", groups=2, channels=2, filters=2),
    "3d-padded": Transpose((2, 3, 2), (2, 3, 2), stride=(1, 2, 3), padding=(1, 0, 1), output_padding=(0, 1, 2)),
    "3d-dilation": Transpose((2, 2, 3), (2, 2, 1), dilation=(2, 1, 3), stride=2, padding=((1, 0), (0, 1), (0, 0))),
}
for _name in ("strides-differ", "same-stride-beyond-kernel", "1d-stride", "3d-padded"):
    MORE_TRANSPOSE[f"{_name}-first"] = replace(MORE_TRANSPOSE[_name], layout=FIRST)
MORE_POOL: dict[str, Pool] = {
    "ceil-drops-last-padded": Pool((3, 6), 2, stride=4, padding=1, ceil_mode=True),
    "no-tap-inside": Pool((1, 2), 2, stride=1, dilation=(4, 3), padding=((2, 3), (1, 2))),
}
MORE_PAD: dict[str, Pad] = {
    f"{name}-{mode}": Pad(size, padding, mode=mode, layout=layout)
    for mode in MODES
    for name, size, padding, layout in (
        ("int", (4, 3), 2, "channels_last"),
        ("ints", (3, 5), (1, 3), "channels_last"),
        ("nothing", (3, 4), 0, "channels_last"),
        ("valid", (3, 4), "valid", "channels_last"),
        ("one-side", (3, 4), ((0, 0), (0, 3)), "channels_last"),
        ("1d-first", (4,), 3, FIRST),
        ("3d", (3, 2, 4), (2, 1, 3), "channels_last"),
        ("3d-first", (3, 2, 4), ((0, 2), (1, 0), (3, 3)), FIRST),
    )
} | {f"any-distance-{mode}": Pad((1, 2), ((4, 7), (0, 5)), mode=mode) for mode in ("replicate", "circular")}
MORE_CUT: dict[str, Cut] = {
    "even-int": Cut((4, 6), 2),
    "uneven-int-first": Cut((7, 5), 3, channels=3, layout=FIRST),
    "upsampling": Cut((2, 3), (5, 7)),
    "up-and-down": Cut((3, 8), (7, 3), channels=1),
    "one-pixel": Cut((1, 1), (3, 2), batch=1, channels=1),
    "one-less": Cut((6, 5), (5, 4), batch=1),
    "empty-batch-even": Cut((4, 6), 2, batch=0),
    "1d-first": Cut((10,), 7, layout=FIRST),
    "1d-upsampling": Cut((3,), 8, channels=1),
}
MORE_COLUMNS: dict[str, Columns] = {
    "padding-beyond-window": Columns((2, 3), 2, padding=3, batch=1, channels=1),
    "same-even": Columns((5, 4), (3, 4), padding="same", stride=2),
    "same-lower-stride-1": Columns((5, 4), (2, 4), padding="same_lower"),
    "causal-dilated": Columns((4, 3), (3, 2), padding="causal", dilation=2),
    "1d-first": Columns((7,), 4, dilation=2, padding=2, layout=FIRST),
    "3d-padded": Columns((3, 4, 3), (2, 1, 3), stride=(1, 2, 1), padding=(1, 0, 1), batch=1),
    "3d-dilated-first": Columns((3, 2, 3), 2, dilation=(1, 1, 2), layout=FIRST, batch=1),
}

CONV = catalogue.CONV | MORE_CONV
TRANSPOSE = catalogue.TRANSPOSE | MORE_TRANSPOSE
POOL = catalogue.POOL | MORE_POOL
PAD = catalogue.PAD | MORE_PAD
CUT = catalogue.CUT | MORE_CUT
COLUMNS = catalogue.COLUMNS | MORE_COLUMNS


# Data and what the oracle says ----------------------------------------------------------------------------------


def sites(case: Any) -> oracle.Sites:
    """Which pixels each window looks at, by the oracle."""
    if isinstance(case, Conv):
        return oracle.sites(case.size, case.kernel, case.stride, case.padding, case.dilation)
    stride = case.window if case.stride is None else case.stride
    return oracle.sites(case.size, case.window, stride, case.padding, case.dilation, case.ceil_mode)


def arrays(case: Setup, dtype: str = "float32", exact: bool = True, seed: int = 0) -> dict[str, Any]:
    """Arrays by their roles: small whole numbers whose sums are exact in any dtype here, or normal numbers."""
    draw = whole if exact else values
    roles = ("x", "w", "b", "dz") if isinstance(case, (Conv, Transpose)) else ("x", "dy")
    found: dict[str, Any] = {role: draw(case.shape(role), seed + i, dtype) for i, role in enumerate(roles)}
    if not getattr(case, "bias", True):
        found["b"] = None
    return found


@functools.cache
def expected(
    case: Conv, dtype: str = "float32", exact: bool = True, seed: int = 0, absolute: bool = False
) -> dict[str, np.ndarray]:
    """What the oracle gives for that data, z, dx, dw and db, or for its absolute values."""
    a = arrays(case, dtype, exact, seed)
    if absolute:
        # real and imaginary parts meet in one complex product: abs(Re) + abs(Im) bounds both
        a = {name: None if array is None else oracle.gauge(array) for name, array in a.items()}
    dx, dw, db = oracle.conv_vjp(a["dz"], a["x"], a["w"], **case.options())
    return {"z": oracle.conv(a["x"], a["w"], a["b"], **case.options()), "dx": dx, "dw": dw, "db": db}


def terms(case: Conv) -> dict[str, int]:
    """Most products that one element of each result sums; the bias counts as one more."""
    outputs, kernel = case.batch * math.prod(sites(case).out), math.prod(case.kernel)
    return {
        "z": kernel * (case.channels // case.groups) + 1,
        "dx": kernel * (case.filters // case.groups),
        "dw": outputs,
        "db": outputs,
    }


def taps(case: Pool) -> int:
    """Taps of a window, which is also the most windows that share a pixel."""
    return math.prod(oracle.per_axis(case.window, len(case.size)))


def unaligned(array: np.ndarray) -> np.ndarray:
    """Copy an array to where its numbers are at no whole number of their bytes."""
    found = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


LAID: tuple[Callable[[np.ndarray], np.ndarray], ...] = (  # in other orders of memory, with the same values
    np.asfortranarray,
    lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    lambda array: array.astype(array.dtype.newbyteorder()),
    unaligned,
)
