"""What follows from the shapes of a pooling and from the options in force, found once for all calls that are alike."""

from __future__ import annotations

from dataclasses import dataclass

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._pooling.windows import Windows


@dataclass(frozen=True, eq=False)
class Plan:
    """The windows of calls that are alike, whose passes in loops are noted; known by its identity."""

    windows: Windows
    workspace: int  # bytes beside the result, at most
    noted: bool  # loops may serve
    padded: bool  # averages count taps in the padding

    @staticmethod
    def of(call: Call, windows: Windows, padded: bool = True) -> Plan:
        """Plan a pooling, of which all that is decided beforehand is its windows."""
        return Plan(windows, call.options.room, not build.refusal(call.options.compiled), padded)


def ready(call: Call) -> int:
    """Count the kernels that calls may take: with another one that is ready, another route may be taken."""
    return build.ledger.built if call.options.compiled is None else 0
