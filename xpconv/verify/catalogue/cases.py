"""The catalogue: shapes and options by name, no data. A change here changes VERSION, and old reports are stale then."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from xpconv.verify.catalogue.setups import Columns, Conv, Cut, Pad, Pool, Setup, Transpose, Unpool, Window

VERSION = 4


def _first(table: Mapping[str, Any], names: str, core: str = "") -> dict[str, Any]:
    """Take some cases channels first, one of them into the core."""
    return {f"{n}-first": replace(table[n], layout="channels_first", core=n == core) for n in names.split()}


CONV: dict[str, Conv] = {
    "1x1": Conv((4, 5), (1, 1), core=True),
    "1x1-stride-2": Conv((5, 4), (1, 1), stride=2),
    "3x3": Conv((5, 6), (3, 3)),
    "no-bias": Conv((5, 4), (3, 3), bias=False),
    "one-window": Conv((3, 4), (3, 4), batch=1),
    "one-pixel": Conv((1, 1), (1, 1), batch=1, channels=1, filters=1),
    "rectangular": Conv((5, 7), (2, 4), padding=(1, 2)),
    "pairs": Conv((4, 5), (3, 2), padding=((2, 0), (1, 3)), core=True),
    "padding-beyond-kernel": Conv((3, 2), (2, 2), padding=(3, 4)),
    "valid": Conv((5, 4), (3, 2), padding="valid"),
    "same": Conv((5, 4), (3, 3), padding="same", core=True),
    "same-even-kernel": Conv((5, 5), (2, 4), padding="same"),
    "same-stride-2": Conv((7, 4), (3, 3), stride=2, padding="same"),
    "same-lower": Conv((5, 5), (2, 4), padding="same_lower"),
    "same-lower-stride-2": Conv((6, 4), (3, 3), stride=2, padding="same_lower"),
    "causal": Conv((5, 4), (3, 2), padding="causal", dilation=(2, 1)),
    "stride-2": Conv((7, 6), (3, 3), stride=2, padding=1),
    "stride-leaves-a-rest": Conv((8, 9), (3, 3), stride=3),
    "stride-beyond-kernel": Conv((7, 8), (1, 2), stride=(3, 4)),
    "strides-differ": Conv((7, 9), (3, 2), stride=(1, 3), padding=(0, 1), core=True),
    "dilation-2": Conv((7, 8), (3, 3), dilation=2, padding=2),
    "dilation-3-stride-2": Conv((9, 10), (3, 2), dilation=(3, 2), stride=2, padding=(3, 1), core=True),
    "dilation-4-stride-6": Conv((13, 12), (3, 3), dilation=4, stride=6, padding=4, batch=1),
    "dilation-beyond-input": Conv((3, 4), (3, 2), dilation=(4, 5), padding=(4, 3)),
    "groups-2": Conv((5, 4), (3, 3), channels=4, filters=6, groups=2, padding=1, core=True),
    "wide-groups": Conv((4, 4), (3, 3), channels=12, filters=4, groups=2, padding=1),
    "depthwise": Conv((5, 6), (3, 3), channels=3, filters=3, groups=3, padding=1),
    "depthwise-multiplier": Conv((6, 5), (3, 2), channels=2, filters=4, groups=2, stride=2, padding=1, core=True),
    "many-channels": Conv((5, 5), (3, 3), channels=16, filters=16, padding=1),
    "one-channel": Conv((6, 6), (5, 5), channels=1, filters=1, padding=2),
    "empty-batch": Conv((4, 5), (3, 3), batch=0, padding=1, real=False),
    "1d": Conv((9,), (3,), stride=2, padding=((1, 2),), core=True),
    "1d-causal-dilated": Conv((7,), (2,), padding="causal", dilation=3),
    "1d-depthwise": Conv((8,), (4,), channels=3, filters=3, groups=3, padding="same"),
    "3d": Conv((3, 4, 3), (2, 3, 2), padding=1),
    "3d-stride-dilation": Conv(
        (5, 4, 3), (2, 1, 2), stride=(2, 3, 1), dilation=(2, 1, 2), padding=((1, 0), (0, 1), (1, 1)), core=True
    ),
    "3d-groups": Conv((3, 2, 3), (2, 2, 1), channels=4, filters=2, groups=2, batch=1),
    "reflect": Conv((4, 5), (3, 3), padding=1, padding_mode="reflect", core=True),
    "replicate": Conv((4, 3), (3, 2), padding=((2, 1), (0, 3)), padding_mode="replicate", core=True),
    "circular": Conv((5, 4), (3, 3), stride=2, padding=(2, 1), padding_mode="circular", core=True),
    "reflect-same": Conv((5, 4), (3, 3), stride=2, padding="same", padding_mode="reflect"),
    "replicate-dilated-groups": Conv(
        (5, 6), (2, 3), channels=4, filters=2, groups=2, dilation=2, padding=((3, 1), (2, 2)), padding_mode="replicate"
    ),
    "circular-3d": Conv((2, 3, 2), (2, 2, 2), padding=1, padding_mode="circular"),
    "int8-to-int32": Conv((5, 4), (3, 3), padding=1, dtype="int32", only=("int8",), core=True, real=False),
    "uint8-to-int32": Conv((4, 4), (2, 3), dtype="int32", only=("uint8",), core=True, real=False),
    "float32-to-float64": Conv((4, 5), (3, 3), padding=1, dtype="float64", only=("float32",), real=False),
    "float16-to-float32": Conv((4, 5), (2, 3), stride=2, dtype="float32", only=("float16",), real=False),
    "complex64-to-complex128": Conv((4, 3), (2, 2), dtype="complex128", only=("complex64",), real=False),
    "many-tiles": Conv((112, 96), (3, 3), channels=8, filters=8, padding=1, real=False),
    "many-tiles-stride-2": Conv((97, 63), (3, 3), channels=8, filters=16, stride=2, padding="same", real=False),
}
CONV |= _first(CONV, "same pairs strides-differ dilation-3-stride-2", core="strides-differ")
CONV |= _first(CONV, "depthwise-multiplier 1d 3d-groups replicate many-tiles")

TRANSPOSE: dict[str, Transpose] = {
    "1x1": Transpose((3, 4), (1, 1)),
    "3x3": Transpose((3, 4), (3, 3), core=True),
    "no-bias": Transpose((4, 3), (2, 2), stride=2, bias=False),
    "stride-2": Transpose((3, 4), (3, 3), stride=2, padding=1),
    "output-padding": Transpose((3, 4), (3, 3), stride=2, padding=1, output_padding=1, core=True),
    "output-padding-per-axis": Transpose((3, 2), (2, 3), stride=(2, 3), output_padding=(1, 2)),
    "output-padding-dilated": Transpose((3, 2), (2, 2), dilation=3, output_padding=(2, 0), padding=1),
    "stride-beyond-kernel": Transpose((3, 2), (1, 2), stride=(3, 4), core=True),
    "pairs": Transpose((4, 3), (3, 2), stride=2, padding=((0, 2), (1, 0)), core=True),
    "valid": Transpose((3, 3), (3, 2), stride=2, padding="valid"),
    "same": Transpose((3, 4), (3, 4), stride=2, padding="same", core=True),
    "same-lower": Transpose((3, 4), (3, 4), stride=2, padding="same_lower", core=True),
    "same-small-kernel": Transpose((2, 3), (1, 2), stride=3, padding="same"),
    "dilated": Transpose((4, 3), (3, 2), dilation=(2, 3), padding=(1, 2), core=True),
    "dilated-stride": Transpose((3, 3), (3, 2), dilation=2, stride=(3, 2), padding=1),
    "groups": Transpose((3, 4), (3, 2), channels=4, filters=6, groups=2, stride=2, core=True),
    "depthwise": Transpose((4, 3), (3, 3), channels=3, filters=3, groups=3, padding=1),
    "many-channels": Transpose((3, 3), (3, 3), channels=16, filters=12, stride=2, padding=1),
    "empty-batch": Transpose((3, 2), (2, 2), batch=0, stride=2, real=False),
    "1d": Transpose((5,), (4,), stride=2, padding=((1, 2),), core=True),
    "3d": Transpose((2, 3, 2), (2, 1, 3), stride=(2, 1, 2), output_padding=(1, 0, 0), batch=1, core=True),
    "many-tiles": Transpose((40, 37), (3, 3), channels=8, filters=8, stride=2, padding=1, real=False),
}
TRANSPOSE |= _first(TRANSPOSE, "output-padding pairs groups 1d 3d", core="output-padding")

POOL: dict[str, Pool] = {
    "2": Pool((4, 6), 2),
    "2-rest": Pool((5, 7), 2, core=True),
    "2-rest-ceil": Pool((5, 7), 2, ceil_mode=True),
    "one-window": Pool((3, 4), (3, 4), batch=1),
    "3-stride-2": Pool((7, 6), 3, stride=2),
    "3-stride-2-padded": Pool((7, 6), 3, stride=2, padding=1),
    "3-stride-2-padded-ceil": Pool((6, 8), 3, stride=2, padding=1, ceil_mode=True, core=True),
    "3-overlapping": Pool((5, 5), 3, stride=1, padding=1, core=True),
    "2-overlapping": Pool((5, 5), 2, stride=1, padding=1),
    "2-stride-3-padded-ceil": Pool((6, 8), 2, stride=3, padding=((1, 0), (0, 1)), ceil_mode=True),
    "4-stride-1": Pool((6, 5), (4, 2), stride=1),
    "padding-beyond-half": Pool((4, 5), 3, stride=1, padding=2),
    "pairs": Pool((5, 4), (3, 2), stride=(2, 1), padding=((2, 0), (0, 1))),
    "valid": Pool((5, 4), (3, 2), stride=1, padding="valid"),
    "same": Pool((5, 6), (3, 2), stride=(2, 1), padding="same"),
    "same-lower": Pool((5, 6), (3, 2), stride=(2, 1), padding="same_lower"),
    "causal": Pool((5, 4), (3, 2), stride=1, padding="causal"),
    "rectangular": Pool((5, 8), (1, 4), stride=(2, 3)),
    "stride-beyond-window": Pool((7, 8), 2, stride=(3, 5), core=True),
    "ceil-drops-last": Pool((3, 6), 2, stride=3, padding=((0, 1), (0, 1)), ceil_mode=True),
    "ceil-starts-in-leading-padding": Pool((1, 2), 3, stride=2, padding=2, ceil_mode=True),
    "ceil-window-beyond-input": Pool((2, 3), 3, stride=2, ceil_mode=True),
    "dilated": Pool((6, 7), 2, stride=1, dilation=(3, 2)),
    "dilated-padded": Pool((5, 6), (3, 2), stride=2, dilation=2, padding=(2, 1), core=True),
    "2-dilated-padded": Pool((6, 7), 2, stride=2, dilation=3, padding=(2, 1)),
    "dilated-ceil": Pool((6, 5), 2, stride=2, dilation=(2, 3), padding=1, ceil_mode=True),
    "windows-outside": Pool((2, 3), 2, stride=1, dilation=(4, 3), padding=((2, 3), (1, 2)), core=True),
    "empty-batch": Pool((4, 5), 2, batch=0, real=False),
    "1d": Pool((9,), 3, stride=2, padding=((1, 2),), core=True),
    "1d-ceil": Pool((8,), 3, stride=2, ceil_mode=True),
    "3d": Pool((4, 3, 4), (2, 1, 2), stride=(2, 1, 1)),
    "3d-ceil-padded": Pool((3, 4, 5), 2, padding=(1, 0, 1), ceil_mode=True, batch=1, core=True),
    "many-tiles": Pool((64, 48), 3, stride=2, padding=1, channels=16, real=False),
    "many-tiles-2": Pool((49, 64), 2, padding=(1, 0), channels=16, real=False),
}
POOL |= _first(POOL, "2-rest-ceil pairs 3-stride-2-padded dilated-padded 1d 3d-ceil-padded many-tiles", core="pairs")

PAD: dict[str, Pad] = {
    "none": Pad((3, 4), 0),
    "valid": Pad((3, 4), "valid"),
    "one": Pad((3, 4), 1, core=True),
    "per-axis": Pad((3, 4), (2, 0)),
    "pairs": Pad((3, 4), ((0, 2), (3, 1)), core=True),
    "pairs-first": Pad((3, 4), ((0, 2), (3, 1)), layout="channels_first", core=True),
    "empty-batch": Pad((3, 4), 1, batch=0),
    "1d": Pad((5,), ((1, 2),), core=True),
    "3d": Pad((2, 3, 2), ((1, 0), (0, 2), (1, 1))),
    "large": Pad((70, 50), (3, 5), channels=16, real=False),
    "reflect": Pad((4, 3), ((3, 1), (0, 2)), mode="reflect", core=True),
    "replicate": Pad((3, 2), ((2, 5), (4, 0)), mode="replicate", core=True),
    "circular": Pad((3, 4), ((3, 1), (2, 4)), mode="circular", core=True),
    "reflect-1d": Pad((5,), ((4, 2),), mode="reflect"),
    "replicate-3d": Pad((2, 1, 3), ((1, 0), (2, 2), (0, 1)), mode="replicate"),
    "circular-first": Pad((3, 4), (2, 1), mode="circular", layout="channels_first"),
    "reflect-one-pixel": Pad((1, 3), (0, 2), mode="reflect"),
}

CUT: dict[str, Cut] = {
    "even": Cut((4, 6), (2, 3), core=True),
    "one": Cut((3, 4), 1),
    "whole": Cut((3, 4), (3, 4)),
    "uneven": Cut((5, 7), (2, 3), core=True),
    "uneven-overlapping": Cut((5, 4), (4, 3), core=True),
    "more-than-pixels": Cut((2, 3), (5, 4), core=True),
    "powers-of-two": Cut((6, 6), (4, 5), core=True),
    "one-axis-even": Cut((4, 5), (2, 3)),
    "empty-batch": Cut((5, 4), (2, 3), batch=0, real=False),
    "1d": Cut((7,), 4, core=True),
    "3d": Cut((3, 4, 5), (2, 3, 2), batch=1, core=True),
    "large": Cut((61, 47), (9, 11), channels=16, real=False),
}
CUT |= _first(CUT, "even uneven 3d", core="uneven")

UNPOOL: dict[str, Unpool] = {
    "2": Unpool((2, 3), (4, 6), core=True),
    "rest": Unpool((2, 3), (5, 7), core=True),
    "full": Unpool((3, 4), (3, 4)),
    "one": Unpool((1, 1), (3, 2)),
    "empty-batch": Unpool((2, 2), 4, batch=0),
    "1d": Unpool((4,), 9, core=True),
    "3d": Unpool((1, 2, 2), (2, 4, 3), core=True),
    "large": Unpool((24, 31), (48, 62), channels=16),
}
UNPOOL |= _first(UNPOOL, "rest 3d", core="rest")

COLUMNS: dict[str, Columns] = {
    "2": Columns((4, 5), 2),
    "3-padded": Columns((4, 5), 3, padding=1, core=True),
    "stride": Columns((7, 6), (2, 3), stride=(3, 2), core=True),
    "stride-beyond-window": Columns((7, 8), 2, stride=(3, 4)),
    "pairs": Columns((4, 3), (3, 2), padding=((2, 0), (1, 3)), core=True),
    "valid": Columns((4, 3), 2, padding="valid"),
    "same": Columns((5, 4), (3, 2), stride=2, padding="same", core=True),
    "same-lower": Columns((5, 4), (3, 2), stride=2, padding="same_lower", core=True),
    "causal": Columns((4, 3), (3, 2), padding="causal", core=True),
    "dilated": Columns((6, 7), (3, 2), dilation=(2, 3), padding=(1, 2), core=True),
    "empty-batch": Columns((4, 3), 2, batch=0, real=False),
    "1d": Columns((9,), 3, stride=2, padding=((1, 2),), core=True),
    "3d": Columns((3, 4, 2), (2, 3, 1), padding=(1, 0, 0), batch=1, core=True),
    "large": Columns((40, 30), 3, padding=1, channels=8, real=False),
}
COLUMNS |= _first(COLUMNS, "pairs dilated 3d", core="pairs")

COURSE_CONV: dict[str, Conv] = {
    "f-2-pad-2-stride-2": Conv((4, 4), (2, 2), channels=3, filters=8, stride=2, padding=2, core=True),
    "f-3-pad-1-stride-2": Conv((5, 7), (3, 3), channels=4, filters=8, stride=2, padding=1),
    "f-3-pad-0": Conv((5, 4), (3, 3), core=True),
    "f-1-pad-1": Conv((3, 4), (1, 1), padding=1),
    "f-4-stride-3": Conv((8, 9), (4, 4), channels=1, filters=2, stride=3),
    "f-3-pad-3": Conv((2, 3), (3, 3), padding=3),
}
COURSE_POOL: dict[str, Pool] = {
    "f-2-stride-2": Pool((4, 6), 2, stride=2, core=True),
    "f-2-stride-1": Pool((5, 3), 2, stride=1, core=True),
    "f-3-stride-1": Pool((5, 5), 3, stride=1),
    "f-3-stride-2-rest": Pool((6, 4), 3, stride=2),
    "f-2-stride-3": Pool((7, 6), 2, stride=3),
    "f-1-stride-1": Pool((3, 2), 1, stride=1),
}
COURSE_PAD: dict[str, Pad] = {f"pad-{n}": Pad((3, 4), n, core=n == 2) for n in (0, 1, 2, 5)}
COURSE_WINDOW: dict[str, Window] = {
    "1": Window((1, 1, 1)),
    "3x3x2": Window((3, 3, 2)),
    "4x4x3": Window((4, 4, 3)),
    "5x5x32": Window((5, 5, 32)),
}
COURSE_AREA: dict[str, Window] = {f"{h}x{w}": Window((h, w)) for h, w in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 7))}


TABLES: tuple[Mapping[str, Setup], ...] = (CONV, TRANSPOSE, POOL, CUT, UNPOOL, COLUMNS, PAD)
TABLES += (COURSE_CONV, COURSE_POOL, COURSE_PAD, COURSE_WINDOW, COURSE_AREA)


def fingerprint() -> str:
    """Digest the catalogue, so that a change of it without a change of VERSION is seen."""
    lines = [f"{name}: {setup!r}" for table in TABLES for name, setup in table.items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
