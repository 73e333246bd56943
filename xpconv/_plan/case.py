"""What a plan is made for."""

from __future__ import annotations

from dataclasses import dataclass

from xpconv._arrays.arithmetic import Numbers
from xpconv._arrays.types import Traits
from xpconv._shapes.geometry import Geometry


@dataclass(frozen=True)
class Case:
    """Everything a plan follows from, beside the algorithm and the room."""

    geometry: Geometry
    traits: Traits
    numbers: Numbers
    threads: int
    gradient: bool = False  # of the weight
    panels: bool = True  # may be taken
    compact: bool = False  # tiles are short along every axis, so that a block of the output meets few of them
    compiled: str = ""  # why no compiled kernel may be taken; empty if one may
