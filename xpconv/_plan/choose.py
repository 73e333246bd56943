"""Choose the algorithm, the tile and the number of workers; sees shapes and traits only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache

from xpconv._arrays.space import Traits
from xpconv._plan.rates import RATES, UNMEASURED, exact_work, predict
from xpconv._plan.tiles import PARTS, UFUNC_BUFFERS, block
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work import panels as _panels
from xpconv._work.products import ADDED, stacked
from xpconv._work.workspace import Exact
from xpconv.algorithms import REGISTRY
from xpconv.algorithms.cost import Work
from xpconv.algorithms.exact import scratch

CHOICES = ("auto", *REGISTRY)
AMPLIFIED = 1000.0  # of rounding errors; Winograd's F(4x4, 3x3) has 150, F(2x2, 7x7) 1,500
PREFERENCE = 1.1  # an algorithm with larger errors is taken if it is predicted to be faster by more than this
TRANSFORM_FLOPS = 1 << 24  # less than this, and a transform saves less than a tenth of a millisecond
# seconds of one thread below which an algorithm of many short array calls stays on it: two threads wait for each other.
# Measured with Winograd, one thread and two, after a pause: 3.0 and 3.8 ms, 7.2 and 7.9 ms; in a loop 8.7 and 5.5 ms
ALONE = 5e-3
APART = 32  # channels at least that are taken apart from others only to share work among cores
SMALL_TILE = 1 << 20  # bytes of a tile that is not made smaller for the sake of many workers
TILE_FLOPS = 32_000_000  # less than this in a tile, and what two threads wait for each other shows


@dataclass(frozen=True)
class Candidate:
    """One algorithm as the plan saw it."""

    algorithm: str
    seconds: float  # predicted, for one worker
    workspace: int  # bytes
    reason: str  # why it was taken or not
    error: float = math.nan  # bound, for numbers of at most 1 and weights whose absolute values sum up to 1


@dataclass(frozen=True)
class Plan:
    """What a call will run."""

    algorithm: str
    tile: Ints  # output pixels: (n, *output)
    workers: int  # at most so many at once, for the workspace
    workspace: int  # bytes beside the results, at most
    flops: int
    candidates: tuple[Candidate, ...] = field(default=())
    pieces: tuple[int, int] = (1, 1)  # partial sums of the weight gradient; channel blocks
    rates: str = ""
    step: Ints = ()  # outputs of the algorithm's own tiles, of which a tile holds whole ones
    apart: bool = False  # each tap's pixels are read for themselves: dilated windows span far more than they read
    panels: int = 0  # columns of the panels that a weight may be laid out in (`_panels.repaid` says whether), or 0
    safe: Plan | None = None  # what computes again what is not finite, where the algorithm spreads

    def __str__(self) -> str:
        rows = [("algorithm", "predicted", "workspace", "error", "")]
        for c in self.candidates:
            known = math.isfinite(c.seconds)
            rows.append(
                (
                    c.algorithm,
                    f"{c.seconds * 1e3:.3g} ms" if known else "-",
                    _size(c.workspace) if known else "-",
                    f"{c.error:.1e}" if c.error == c.error else "-",
                    c.reason,
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)) for row in rows]
        tile = " x ".join(map(str, self.tile))
        head = f"{self.algorithm}: tiles of {tile} output pixels, {_size(self.workspace)} workspace, "
        head += f"{self.flops / 1e6:,.1f} Mflop"
        return "\n".join(line.rstrip() for line in (head, *lines, f"constants: {self.rates}"))


def _size(count: int) -> str:
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


def choose(
    function: str, algorithm: str, geometry: Geometry, traits: Traits, itemsize: int, max_workspace: int, threads: int,
    gradient: bool = False, exact: Exact | None = None, converted: bool = False, whole: bool = False,
    roundoff: float = 0.0, real: bool = True,
) -> Plan:  # fmt: skip
    """Plan a correlation, or with `gradient` a weight gradient; a named algorithm is obeyed or refused.

    `itemsize` is that of the widest work array, `exact` how integers are multiplied; `converted`: not in the dtype
    that they come in, so that the weight is copied; `whole`: of whole numbers; `real`: not complex. `roundoff` is
    the unit roundoff of the sums.
    """
    if algorithm not in CHOICES:
        raise ValueError(
            f"{function}: algorithm is one of {', '.join(map(repr, CHOICES))}; got algorithm={algorithm!r}"
        )
    plan, trouble = _plan(
        algorithm, geometry, traits, itemsize, max_workspace, threads, gradient, exact, converted, whole,
        roundoff, real,
    )  # fmt: skip
    if plan is None:
        raise ValueError(f"{function}: {trouble}")
    return plan


@lru_cache(maxsize=4096)
def _plan(
    wanted: str,
    geometry: Geometry,
    traits: Traits,
    itemsize: int,
    max_workspace: int,
    threads: int,
    gradient: bool,
    exact: Exact | None,
    converted: bool,
    whole: bool,
    roundoff: float,
    real: bool,
) -> tuple[Plan | None, str]:
    rates = RATES.get(traits.kind, UNMEASURED)
    case = Case(geometry, traits, itemsize, threads, gradient, exact, converted, real)
    plans: dict[str, Plan] = {}
    seconds: dict[str, float] = {}
    refusals: dict[str, str] = {}
    for name, algorithm in REGISTRY.items():
        if reason := _refusal(name, case, whole, wanted):
            refusals[name] = reason
            continue
        work = algorithm.weight_grad_work(geometry) if gradient else algorithm.forward_work(geometry)
        if exact is not None:
            work = exact_work(work, exact, geometry, itemsize)
        found = _fit(name, work, case, max_workspace)
        if isinstance(found, str):
            refusals[name] = found
        else:
            plans[name] = found
            seconds[name] = predict(work, geometry, rates, itemsize, found.tile, found.apart)
    if wanted == "auto":
        best = min(
            plans, key=lambda name: seconds[name] * (PREFERENCE if REGISTRY[name].transforms else 1), default=None
        )
    else:
        best = wanted if wanted in plans else None
    if best is None:
        names = [wanted] if wanted != "auto" else list(refusals)
        return None, "; ".join(f"algorithm {name!r}: {refusals.get(name, 'is not available')}" for name in names)
    candidates = []
    for name in REGISTRY:
        reason = refusals.get(name) or _reason(name, best, wanted, seconds)
        size = plans[name].workspace if name in plans else 0
        error = _error(name, geometry, roundoff) if name in plans and not gradient else math.nan
        candidates.append(Candidate(name, seconds.get(name, math.inf), size, reason, error))
    note = rates.measured or f"none measured for {traits.kind} devices; ratios of a typical one were assumed"
    chosen = plans[best]
    if REGISTRY[best].transforms and seconds[best] < ALONE:
        chosen = replace(chosen, workers=1)
    return replace(chosen, candidates=tuple(candidates), rates=note), ""


def _error(name: str, geometry: Geometry, roundoff: float) -> float:
    """Bound the rounding error of an output relative to max(abs(x)) times the sum of abs(w) of its filter."""
    count = REGISTRY[name].summed(geometry)
    if REGISTRY[name].spreads:  # a tile may be computed again
        count = max(count, geometry.products)
    relative = count * roundoff
    return math.inf if relative >= 1 else relative / (1 - relative) * REGISTRY[name].amplification(geometry)


def _refusal(name: str, case: Case, whole: bool, wanted: str) -> str:
    """Say why an algorithm is out of the question, whatever it costs."""
    algorithm = REGISTRY[name]
    if reason := algorithm.refuses(case.geometry):
        return reason
    if whole and not algorithm.exact:
        return "serves floating dtypes only"
    if algorithm.fourier and case.traits.lazy:
        return f"serves no arrays of {case.traits.name}"
    if algorithm.spreads and wanted == "auto":
        if not case.traits.looks:
            return "not taken: a NaN would spread, and results are not looked at on this kind of device"
        if algorithm.amplification(case.geometry) > AMPLIFIED:
            return "not taken: rounding errors would be magnified too much"
        if algorithm.transforms and case.geometry.flops < TRANSFORM_FLOPS:
            return "not taken: for little work an algorithm that is exact on whole numbers"
    return ""


def _reason(name: str, best: str, wanted: str, seconds: dict[str, float]) -> str:
    if name == best:
        if wanted != "auto":
            return "taken: named by the caller"
        least = seconds[best] == min(seconds.values())
        return "taken: the least predicted time" if least else "taken: smaller errors, and hardly slower"
    if wanted != "auto":
        return "not taken: another was named"
    if seconds[name] < seconds[best]:
        return f"not taken: larger errors for {1 - seconds[name] / seconds[best]:.0%} less time"
    return f"not taken: {seconds[name] / seconds[best]:.1f} times the predicted time"


@dataclass(frozen=True)
class Case:
    """What a plan is made for, beside the algorithm and the room."""

    geometry: Geometry
    traits: Traits
    itemsize: int
    threads: int
    gradient: bool
    exact: Exact | None
    converted: bool
    real: bool  # numbers, not complex ones
    panels: bool = True  # may be taken


def _fit(name: str, work: Work, case: Case, room: int) -> Plan | str:
    """Cut tiles so that a tile stays in the cache and all workers together in `room` bytes."""
    geometry, itemsize, max_workspace = case.geometry, case.itemsize, room
    weight = geometry.products * geometry.filters * itemsize
    pieces, fixed, product, panels = (1, 1), 0, 0, 0
    safe: Plan | None = None
    if REGISTRY[name].spreads and case.traits.looks:
        found = _again(case, room)
        if isinstance(found, str):
            return found
        safe = found
        if not case.gradient:
            product += safe.workspace
    blocks = _channel_blocks(name, work, geometry, itemsize, room)
    if case.gradient:
        domain = work.domain * itemsize or weight
        pieces = _pieces(geometry, domain, room, apart=work.domain > 0)
        pieces = (pieces[0], max(pieces[1], blocks))
        if work.domain and pieces[1] > 2 and blocks == 1:
            return f"would go over the output's gradient {pieces[1]} times, for its sums to fit the workspace"
        in_place = case.traits.buffers and not work.domain
        fixed = (pieces[0] - in_place) * domain  # the partial sums; the first may be the result itself
        product += _contribution(name, -(-domain // pieces[1]), case)
        work = replace(work, elements=work.elements // pieces[1] + geometry.filters)
    elif blocks > 1:
        pieces = (1, blocks)
        most = -(-geometry.groups // blocks)  # groups in a block
        product += -(-work.prepared * most // geometry.groups) * itemsize
        work = replace(work, elements=work.elements * most // geometry.groups + geometry.filters)
    else:
        fixed = max(work.prepared, (weight // itemsize) * case.converted) * itemsize
        panels = _panel_width(name, case, room)
        if panels and not work.step:
            fixed = weight * (1 + case.converted)  # the panels, and the weight in the dtype of the sums
        if work.step:
            fixed += weight  # for computing again
    if case.exact is not None:
        pixel, worker = scratch(case.exact, geometry, work.elements, case.gradient)
        work, product = replace(work, elements=work.elements + pixel), product + worker * itemsize
    room -= fixed
    apart = REGISTRY[name].by_tap and max(geometry.dilation) > 1 and not geometry.depthwise
    if apart:
        case = replace(case, geometry=replace(geometry.single((0,) * geometry.rank), output=geometry.output))
        work = replace(work, elements=work.elements + geometry.filters)
    tile = _tile(work, case, room - product - UFUNC_BUFFERS)
    buffered = UFUNC_BUFFERS if case.traits.buffers else 0
    least = product + _tile_bytes(work, case.geometry, tile, itemsize) + buffered
    if least > room:
        return (
            f"needs {_size(fixed + least)} of workspace for a single pixel, max_workspace leaves it "
            f"{_size(max_workspace)}; raise it with set_options"
        )
    workers = max(1, min(case.threads, room // max(least, 1)) if case.traits.threads else 1)
    size = fixed + workers * least
    return Plan(
        name, tile, workers, size, geometry.flops, pieces=pieces, step=work.step, apart=apart, panels=panels, safe=safe
    )


def _again(case: Case, room: int) -> Plan | str:
    """Plan how a tile that is not finite is computed again, in small tiles if they will do; a gradient as a whole."""
    gemm = REGISTRY["gemm"]
    found: Plan | str = ""
    work = gemm.weight_grad_work(case.geometry) if case.gradient else gemm.forward_work(case.geometry)
    for share in (room,) if case.gradient else (room // 16, room // 4):
        # so few tiles are not worth panels
        found = _fit("gemm", work, replace(case, threads=1, panels=False), share)
        if not isinstance(found, str):
            break
    return found


def _panel_width(name: str, case: Case, room: int) -> int:
    """Choose the columns of the panels that a weight may be laid out in; 0 for none."""
    geometry = case.geometry
    if not case.panels or not case.traits.buffers or case.exact is not None or not case.real or geometry.groups > 1:
        return 0
    if name == "winograd":
        return _panels.width(geometry.channels, geometry.filters)
    if name != "gemm" or geometry.products * geometry.filters * case.itemsize > room // 4:
        return 0
    return _panels.width(geometry.products, geometry.filters)


def _contribution(name: str, size: int, case: Case) -> int:
    """Give the bytes that one tile's contribution of `size` bytes to a weight gradient takes."""
    if REGISTRY[name].transforms:
        return size
    # a second one that is added to it, and a stack of them
    added = min(size, ADDED * case.itemsize) + case.real * stacked(size // case.itemsize, case.itemsize)
    return added + (3 * size if case.exact is not None else size)


def _channel_blocks(name: str, work: Work, geometry: Geometry, itemsize: int, room: int) -> int:
    """Count the blocks of channels that a layer is taken apart into, each in a transformed domain of its own.

    Where every channel is convolved on its own that saves memory, and there may be too few tiles to share among cores.
    """
    if not (REGISTRY[name].fourier and geometry.depthwise):
        return 1
    tile = (work.elements * math.prod(work.step) + work.prepared) * itemsize
    blocks = min(-(-6 * tile // room), geometry.groups)
    tiles = geometry.batch * math.prod(-(-n // m) for n, m in zip(geometry.output, work.step, strict=True))
    if blocks > 1 or tiles < PARTS:
        blocks = max(blocks, min(PARTS, geometry.groups // APART))
    return blocks


def _pieces(geometry: Geometry, domain: int, max_workspace: int, apart: bool) -> tuple[int, int]:
    """Cut the weight gradient into (partial sums over the pixels, blocks of channels), PARTS together at most.

    `domain` is the bytes of one partial sum. Where it has a form `apart` from the result's (of a transform, or of
    toeplitz) each block would go over the output's gradient anew, so there are few.
    """
    cuts = geometry.groups if geometry.groups > 1 else geometry.channels
    if apart:
        sums = PARTS // 2
        while sums > 1 and sums * domain > max_workspace // 2:
            sums //= 2
        blocks = 2 if sums <= 2 and cuts >= 128 else 1
        while blocks < cuts and domain // blocks > max_workspace // 8:
            blocks = min(2 * blocks, cuts)
        return sums, blocks
    blocks = 1
    while blocks < PARTS and domain // blocks > 1 << 19 and cuts // (2 * blocks) >= 16:
        blocks *= 2
    sums = PARTS // blocks
    while sums > 1 and sums * domain > max_workspace // 4:
        sums //= 2
    while blocks < cuts and domain // blocks > max_workspace // 8:
        blocks = min(2 * blocks, cuts)
    return sums, blocks


def _tile_bytes(work: Work, geometry: Geometry, tile: Ints, itemsize: int) -> int:
    step = work.step or (1,) * geometry.rank
    whole = [-(-n // m) * m for n, m in zip(tile[1:], step, strict=True)]
    slab = tile[0] * math.prod(geometry.slab_size(a, n) for a, n in enumerate(whole)) * (geometry.channels + work.read)
    return (slab + tile[0] * math.prod(whole) * work.elements) * itemsize


def _tile(work: Work, case: Case, room: int) -> Ints:
    geometry, traits, itemsize = case.geometry, case.traits, case.itemsize
    flops = max(2 * geometry.products * geometry.filters, 1)
    share = room // 2 if traits.cache is None else room // (4 if traits.threads else 1)
    cache = share if traits.cache is None else min(traits.cache, share)
    if traits.threads:  # on many cores all tiles together have to fit the room
        cache = min(cache, max(room // 16, SMALL_TILE))
    pixels = max(cache // max((work.elements + work.read) * itemsize, 1), 1)
    if traits.threads:
        # thin enough to share among cores, but thick enough not to be bound by packing the weight, or by adding up
        # the parts of its gradient
        size = geometry.products * geometry.filters
        thick = work.thick or (min(size >> 9, 1024) if case.gradient else min(size >> 11, 256))
        thin = max(-(-geometry.positions // PARTS), TILE_FLOPS // flops, 1)
        pixels = min(max(min(pixels, thin), thick), max(share // max((work.elements + work.read) * itemsize, 1), 1))
    step = (1, *(work.step or (1,) * geometry.rank))
    shape = [-(-n // m) for n, m in zip((geometry.batch, *geometry.output), step, strict=True)]
    count = max(pixels // math.prod(step), 1)
    while True:
        tile = tuple(n * m for n, m in zip(block(tuple(shape), count), step, strict=True))
        if count <= 1 or _tile_bytes(work, geometry, tile, itemsize) <= room:
            return tile
        count = min(count, math.prod(tile) // math.prod(step)) // 2
