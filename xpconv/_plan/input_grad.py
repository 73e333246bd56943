"""Plan an input gradient: a stride-1 correlation for each stride phase, or col2im where that is less work."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from xpconv import _html
from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import itemsize
from xpconv._plan.bands import Bands, cheaper
from xpconv._plan.choose import case_of, check, choose, copying
from xpconv._plan.record import Candidate, Plan, mflop, size, table
from xpconv._shapes.cuts import Strip, intervals, padding_strips
from xpconv._shapes.geometry import Geometry, Interval, Ints


@dataclass(frozen=True, repr=False)
class GradientPlan:
    """What the gradient of the images will run."""

    geometry: Geometry  # of the convolution
    phases: tuple[Plan | None, ...]  # in the order of `geometry.phases`; None where no tap reaches the phase
    bands: Bands | None  # of col2im, if that is cheaper
    together: bool  # the phases share one run of the threads
    asked: str  # the algorithm that was named, or "auto"
    phase_quarters: int  # of the workspace

    @property
    def planned(self) -> Iterator[Plan]:
        """Give the plans of the phases that taps reach."""
        return (plan for plan in self.phases if plan is not None)

    @property
    def longest(self) -> Plan | None:
        """Give the plan of the phase with the most work."""
        return max(self.planned, key=lambda plan: plan.flops, default=None)

    @property
    def algorithm(self) -> str:
        """Name what runs: col2im, or the algorithm of the longest phase."""
        if self.bands is not None:
            return "col2im"
        return "none" if self.longest is None else self.longest.algorithm

    @property
    def tile(self) -> Ints:
        """Give the pixels (n, *size) of a tile: of a band of the images, or of the longest phase."""
        if self.bands is not None:
            return (self.bands.images, self.bands.rows, *self.geometry.input[1:])
        return () if self.longest is None else self.longest.tile

    @property
    def workspace(self) -> int:
        """Count the bytes beside the result, at most."""
        if self.bands is not None:
            return self.bands.workspace
        sizes = [plan.workspace for plan in self.planned]
        return sum(sizes) if self.together else max(sizes, default=0)

    @cached_property
    def flops(self) -> int:
        """Count multiplications and additions, those on padding included."""
        return self.geometry.flops if self.bands is not None else sum(plan.flops for plan in self.planned)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Give the algorithms as the plan of the longest phase saw them."""
        return () if self.longest is None else self.longest.candidates

    @property
    def head(self) -> str:
        """Give the plan in a line."""
        tile = " x ".join(map(str, self.tile))
        return f"{self.algorithm}: tiles of {tile} pixels, {size(self.workspace)} workspace, {mflop(self.flops)}"

    def __repr__(self) -> str:
        return f"<GradientPlan {self.head}>"

    def _heads(self) -> list[str]:
        if self.bands is None:
            return [self.head]
        phases = sum(plan.seconds for plan in self.planned)
        return [self.head, f"col2im: predicted {self.bands.seconds * 1e3:.3g} ms, stride phases {phases * 1e3:.3g} ms"]

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("phase", "algorithm", "tile", "")]
        for phase, plan in zip(self.geometry.phases, self.phases, strict=True):
            first = " ".join(str(target.start) for target in phase.target)
            if plan is None:
                rows.append((first, "-", "-", "no tap reaches it: zero"))
                continue
            reason = next(c.reason for c in plan.candidates if c.algorithm == plan.algorithm)
            rows.append((first, plan.algorithm, " x ".join(map(str, plan.tile)), reason))
        return rows

    def __str__(self) -> str:
        return "\n".join((*self._heads(), *table(self._rows())))

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        return _html.table(head, rows, caption="; ".join(self._heads()))


MOST_PLANS = 1024
_PLANS: dict[Hashable, GradientPlan] = {}


def choose_input_grad(call: Call, geometry: Geometry, algorithm: str, *, phase_quarters: int = 4) -> GradientPlan:
    """Plan the gradient of the images of a convolution, of which a phase may take so many quarters of the workspace.

    A named algorithm is obeyed, phase by phase, or refused. Where the padding holds pixels of the image, this is the
    plan of what the pixels get themselves; `batches` and `strips` say what runs.
    """
    call = call.with_quarters(1) if geometry.mode != "zeros" else call  # strips of padding take a quarter
    check(call, algorithm)
    # copies of the weight are counted in its own dtype
    key = case_of(call, geometry), call.arithmetic.inputs, algorithm, call.options, call.quarters, phase_quarters
    found = _PLANS.get(key)
    if found is None:
        found = _plan(call, geometry, algorithm, phase_quarters)
        if len(_PLANS) >= MOST_PLANS:
            forget()
        _PLANS[key] = found
    return found


def forget() -> None:
    """Forget the plans that were made."""
    _PLANS.clear()


def _plan(call: Call, geometry: Geometry, algorithm: str, phase_quarters: int) -> GradientPlan:
    own = call.with_quarters(min(phase_quarters, call.quarters))
    phases = tuple(
        None if phase.geometry is None else _with_copies(own, choose(own, phase.geometry, algorithm), algorithm)
        for phase in geometry.phases
    )
    planned = [plan for plan in phases if plan is not None]
    # also where col2im is taken in the end: its time is compared with theirs
    bands = cheaper(call, geometry, planned) if algorithm == "auto" else None
    # work arrays of all phases are held until the end
    together = call.traits.mutable and sum(plan.workspace for plan in planned) <= call.room
    together = together and not any(plan.parts for plan in planned)
    return GradientPlan(geometry, phases, bands, together, algorithm, phase_quarters)


def _with_copies(call: Call, plan: Plan, algorithm: str) -> Plan:
    """Count what no view gives: a conjugate weight, and one whose groups are laid out anew."""
    geometry, complex_data = plan.geometry, call.arithmetic.is_complex
    size = geometry.products * geometry.filters * itemsize(call.xp, call.arithmetic.inputs)
    moved = geometry.groups > 1 and not geometry.depthwise
    return copying(call, plan, algorithm, size * complex_data, size * moved)


def _again(call: Call, plan: GradientPlan, geometry: Geometry) -> GradientPlan:
    """Plan a part of an input gradient, whose geometry is another."""
    return choose_input_grad(call, geometry, plan.asked, phase_quarters=plan.phase_quarters)


def batches(call: Call, plan: GradientPlan) -> list[tuple[Interval, GradientPlan]]:
    """Cut the images, where a padding of pixels of the image is summed in a wider dtype: (images, their plan).

    Empty where that is not so, or one image is too large: all are taken at once.
    """
    geometry, sums = plan.geometry, call.arithmetic.sums
    if geometry.mode == "zeros" or call.arithmetic.result == sums or not call.traits.mutable:
        return []
    step = strip_elements(call) // math.prod(geometry.input_shape[1:])
    if step == 0:
        return []
    cuts = intervals(geometry.batch, step)
    return [((a, b), _again(call, plan, replace(geometry, batch=b - a))) for a, b in cuts]


def strips(call: Call, plan: GradientPlan) -> Iterator[tuple[Strip, GradientPlan]]:
    """Cut a padding of pixels of the image into strips, whose gradients are added to the pixels that they repeat."""
    call, geometry = call.with_quarters(1), plan.geometry
    for strip in padding_strips(geometry, strip_elements(call)):
        pads = tuple((before + low, 0) for (before, _), (low, _) in zip(geometry.padding, strip.pixels, strict=True))
        size = tuple(high - low for low, high in strip.pixels)
        start, stop = strip.images
        part = replace(geometry, batch=stop - start, input=size, padding=pads, mode="zeros")
        yield strip, _again(call, plan, part)


def strip_elements(call: Call) -> int:
    """Say how many elements a strip may have, so that it takes a quarter of the workspace."""
    return max(call.options.max_workspace // (4 * itemsize(call.xp, call.arithmetic.sums)), 1)
