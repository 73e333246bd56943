"""What somebody else's functions are asked: the course's cases of the catalogue, and smaller ones to show a fault on.

float64 alone, as the course has it; no NaN and no infinities. The course does not say what becomes of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from xpconv.verify.catalogue.course import COURSE
from xpconv.verify.catalogue.operation import Operation
from xpconv.verify.catalogue.setups import Conv, Pad, Pool, Window
from xpconv.verify.catalogue.tasks import Task

KINDS = ("whole", "equal", "signed")
ONE: dict[str, Any] = {"batch": 1, "channels": 1}
SINGLE: dict[str, Any] = {**ONE, "filters": 1}

TINY_CONV: dict[str, Conv] = {
    "tiny": Conv((1, 1), (1, 1), **SINGLE),
    "tiny-pad": Conv((1, 1), (1, 1), padding=1, **SINGLE),
    "tiny-row": Conv((1, 2), (1, 1), **SINGLE),
    "tiny-filters": Conv((1, 1), (1, 1), batch=1, channels=1, filters=2),
    "tiny-channels": Conv((1, 1), (1, 1), batch=1, channels=2, filters=1),
    "tiny-batch": Conv((1, 1), (1, 1), batch=2, channels=1, filters=1),
    "tiny-stride": Conv((3, 3), (1, 1), stride=2, **SINGLE),
    "tiny-window": Conv((2, 2), (2, 2), **SINGLE),
    "tiny-window-pad": Conv((2, 2), (2, 2), padding=1, stride=2, **SINGLE),
    "tiny-overlap": Conv((2, 3), (2, 2), **SINGLE),
    "tiny-overlap-pad": Conv((2, 2), (2, 2), padding=1, **SINGLE),
    "tiny-rest": Conv((3, 4), (2, 2), stride=2, **SINGLE),
    "tiny-row-pad": Conv((1, 2), (2, 2), padding=1, **SINGLE),
    "tiny-filters-pad": Conv((1, 1), (2, 2), padding=1, batch=1, channels=1, filters=2),
    "tiny-channels-pad": Conv((1, 1), (2, 2), padding=1, batch=1, channels=2, filters=1),
    "tiny-batch-pad": Conv((1, 1), (2, 2), padding=1, batch=2, channels=1, filters=1),
    "tiny-rest-pad": Conv((3, 2), (2, 2), padding=1, stride=2, **SINGLE),
    "f-4-stride-3-pad-2": Conv((6, 7), (4, 4), stride=3, padding=2),
    "f-3-pad-1": Conv((4, 3), (3, 3), padding=1),
}
TINY_POOL: dict[str, Pool] = {
    "tiny": Pool((1, 1), 1, stride=1, **ONE),
    "tiny-window": Pool((2, 2), 2, stride=2, **ONE),
    "tiny-channels": Pool((2, 2), 2, stride=2, batch=1, channels=2),
    "tiny-batch": Pool((2, 2), 2, stride=2, batch=2, channels=1),
    "tiny-overlap": Pool((2, 3), 2, stride=1, **ONE),
    "tiny-stride": Pool((2, 4), 2, stride=2, **ONE),
    "tiny-gap": Pool((1, 3), 1, stride=2, **ONE),
}
TINY_PAD: dict[str, Pad] = {
    "tiny": Pad((1, 1), 1, **ONE),
    "tiny-row": Pad((1, 2), 1, **ONE),
    "tiny-none": Pad((1, 1), 0, **ONE),
}
TINY_WINDOW: dict[str, Window] = {
    "tiny-row": Window((1, 2, 1)),
    "tiny-square": Window((2, 2, 1)),
    "tiny-deep": Window((1, 1, 2)),
}
# a window of the course's mask is (f, f)
TINY_MASK: dict[str, Window] = {"tiny-row": Window((1, 2)), "tiny-square": Window((2, 2)), "flat": Window((3, 4))}
TINY_AREA: dict[str, Window] = {"tiny-row": Window((1, 2)), "tiny-column": Window((2, 1))}

TINY: dict[str, Mapping[str, Any]] = {
    "zero_pad": TINY_PAD,
    "conv_single_step": TINY_WINDOW,
    "conv_forward": TINY_CONV,
    "conv_backward": TINY_CONV,
    "pool_forward": TINY_POOL,
    "pool_backward": TINY_POOL,
    "create_mask_from_window": TINY_MASK,
    "distribute_value": TINY_AREA,
}

OPERATIONS: tuple[Operation, ...] = tuple(
    replace(operation, table={**TINY[operation.name], **operation.table}) for operation in COURSE
)


def questions(name: str) -> Iterator[Task]:
    """Go through what a function is asked, in the modes that it has."""
    for operation in OPERATIONS:
        if operation.name != name:
            continue
        for case, setup in operation.table.items():
            if name == "create_mask_from_window" and len(setup.size) > 2:
                continue
            for kind in KINDS:
                # real numbers for what is summed, or compared; equal ones for what has ties
                asked = kind in operation.kinds or (kind == "signed" and operation.sums is not None)
                if asked and (kind != "equal" or setup.core):
                    yield Task(operation, case, kind, "float64", "", "exact" if operation.sums is None else "bound")


def asked_by_the_course(task: Task) -> bool:
    """Say whether the course asks that: it never pads with nothing."""
    return getattr(task.setup, "padding", 1) != 0 or task.operation.name.startswith("pool")
