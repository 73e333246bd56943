"""Fit an algorithm into the workspace: its weight, its partial sums, its tile, and how many workers have room."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from xpconv._plan.case import Case
from xpconv._plan.record import Plan, size
from xpconv._plan.tiles import choose_tile, tile_bytes
from xpconv._shapes.cuts import PARTS
from xpconv._shapes.geometry import Geometry
from xpconv._work import panels
from xpconv._work.memory import UFUNC_BUFFERS
from xpconv._work.products import ADDED, stacked
from xpconv.algorithms import FALLBACK, REGISTRY
from xpconv.algorithms.cost import Work
from xpconv.algorithms.exact import scratch

SPARE = 8  # part of the workspace that pieces of a product's sum may take on a GPU
AREAS = 4  # part of the workspace that plans of transforms may keep, where a library's have work areas
SPLIT = 32  # channels at least that are taken by themselves only to share work among cores


@dataclass
class _Needs:
    """Bytes that a plan needs beside its tiles."""

    fixed: int = 0  # once
    worker: int = 0  # for each worker
    pieces: tuple[int, int] = (1, 1)
    panels: int = 0
    spare: int = 0  # of `worker`, for pieces of a product's sum


def fit(name: str, work: Work, case: Case, room: int) -> Plan | str:
    """Cut tiles so that a tile stays in the cache and all workers together in `room` bytes; or say why that fails."""
    max_workspace, itemsize = room, case.numbers.itemsize
    fallback: Plan | None = None
    if REGISTRY[name].spreads and case.traits.looks:
        found = _fall_back(case, room)
        if isinstance(found, str):
            return found
        fallback = found
    areas = 0
    if case.traits.plans and REGISTRY[name].fourier:
        areas = room // AREAS
        # beside those that are kept there is the one that is being made
        work = replace(work, elements=work.elements + work.area, prepared=work.prepared + work.fixed_area)
    blocks = _channel_blocks(name, work, case, room)
    if case.gradient:
        needs, work = _gradient_needs(name, work, case, room, blocks)
        if work.domain and needs.pieces[1] > 2 and blocks == 1 and not REGISTRY[name].clips:
            return f"would go over the output's gradient {needs.pieces[1]} times, for its sums to fit the workspace"
    else:
        needs, work = _forward_needs(name, work, case, room, blocks)
        if fallback is not None:
            needs.worker += fallback.workspace
    needs.worker += work.strip * itemsize
    if case.numbers.exact is not None:
        pixel, worker = scratch(case.numbers.exact, case.geometry, work.elements, case.gradient)
        work, needs.worker = replace(work, elements=work.elements + pixel), needs.worker + worker * itemsize
    needs.fixed += areas
    room -= needs.fixed
    geometry = case.geometry
    single_taps = REGISTRY[name].by_tap and max(geometry.dilation) > 1 and not geometry.depthwise
    if single_taps:
        case = replace(case, geometry=replace(geometry.single((0,) * geometry.rank), output=geometry.output))
        work = replace(work, elements=work.elements + geometry.filters)
    tile = choose_tile(work, case, room - needs.worker - UFUNC_BUFFERS)
    buffered = UFUNC_BUFFERS if case.traits.buffers else 0
    least = needs.worker + tile_bytes(work, case.geometry, tile, itemsize) + buffered
    if least > room:
        return (
            f"needs {size(needs.fixed + least)} of workspace for a single pixel, max_workspace leaves it "
            f"{size(max_workspace)}; raise it with set_options"
        )
    workers = max(1, min(case.threads, room // max(least, 1)) if case.traits.threads else 1)
    return Plan(
        geometry,
        name,
        tile,
        workers,
        needs.fixed + workers * least,
        pieces=needs.pieces,
        step=work.step,
        single_taps=single_taps,
        panels=needs.panels,
        spare=needs.spare,
        areas=areas,
        fallback=fallback,
    )


def in_parts(name: str, case: Case, room: int, parts: Sequence[Geometry]) -> Plan | None:
    """Plan blocks of filters that are taken one after another; None if they do not fit."""
    found = {}
    for part in set(parts):
        one = fit(name, REGISTRY[name].forward_work(part), replace(case, geometry=part), room)
        if isinstance(one, str):
            return None
        found[part] = one
    most = max(one.workspace for one in found.values())
    return replace(found[parts[0]], geometry=case.geometry, workspace=most, parts=tuple(found[part] for part in parts))


def _gradient_needs(name: str, work: Work, case: Case, room: int, blocks: int) -> tuple[_Needs, Work]:
    """Count what the partial sums of a weight gradient need."""
    geometry, itemsize = case.geometry, case.numbers.itemsize
    domain = (work.domain or geometry.products * geometry.filters) * itemsize
    parts = 1 if case.traits.kind != "cpu" else PARTS  # no threads that want pieces of their own
    sums, cuts = _pieces(geometry, domain, room, parts, transformed=work.domain > 0)
    pieces = (sums, max(cuts, blocks))
    in_place = case.traits.buffers and not work.domain
    needs = _Needs(
        fixed=(sums - in_place) * domain,  # the partial sums; the first may be the result itself
        worker=_contribution(name, -(-domain // pieces[1]), case),
        pieces=pieces,
    )
    if case.traits.overlaps:
        needs.spare = room // SPARE
        needs.worker += needs.spare
    return needs, replace(work, elements=work.elements // pieces[1] + geometry.filters)


def _forward_needs(name: str, work: Work, case: Case, room: int, blocks: int) -> tuple[_Needs, Work]:
    """Count what the weight needs."""
    geometry, itemsize = case.geometry, case.numbers.itemsize
    if blocks > 1:
        most = -(-geometry.groups // blocks)  # groups in a block
        worker = -(-work.prepared * most // geometry.groups) * itemsize
        elements = work.elements * most // geometry.groups + geometry.filters
        return _Needs(worker=worker, pieces=(1, blocks)), replace(work, elements=elements)
    weight = geometry.products * geometry.filters * itemsize
    converted = case.numbers.converted
    fixed = max(work.prepared, (weight // itemsize) * converted) * itemsize
    columns = _panel_width(name, case, room)
    if columns and not work.step:
        fixed = weight * (1 + converted)  # the panels, and the weight in the dtype of the sums
    if work.step:
        fixed += weight  # for computing again
    return _Needs(fixed=fixed, panels=columns), work


def _fall_back(case: Case, room: int) -> Plan | str:
    """Plan how a tile that is not finite is computed again, in small tiles if they will do; a gradient as a whole."""
    algorithm = REGISTRY[FALLBACK]
    found: Plan | str = ""
    work = algorithm.weight_grad_work(case.geometry) if case.gradient else algorithm.forward_work(case.geometry)
    for part in (room,) if case.gradient else (room // 16, room // 4):
        # so few tiles are not worth panels
        found = fit(FALLBACK, work, replace(case, threads=1, panels=False), part)
        if not isinstance(found, str):
            break
    return found


def _panel_width(name: str, case: Case, room: int) -> int:
    """Choose the columns of the panels that a weight may be laid out in; 0 for none."""
    matrix = REGISTRY[name].panelled(case.geometry)
    numbers = case.numbers
    if not case.panels or not case.traits.buffers or numbers.exact is not None or numbers.complex or matrix is None:
        return 0
    if not REGISTRY[name].transforms and math.prod(matrix) * numbers.itemsize > room // 4:
        return 0
    return panels.width(*matrix)


def _contribution(name: str, size: int, case: Case) -> int:
    """Count the bytes that one tile's contribution of `size` bytes to a weight gradient takes."""
    if REGISTRY[name].transforms:
        return size
    itemsize, exact = case.numbers.itemsize, case.numbers.exact is not None
    # a second one that is added to it, and a stack of them
    stack = 0 if case.numbers.complex else stacked(size // itemsize, itemsize)
    return min(size, ADDED * itemsize) + stack + (3 * size if exact else size)


def _channel_blocks(name: str, work: Work, case: Case, room: int) -> int:
    """Count the blocks of channels that a layer is cut into, each in a transformed domain of its own.

    Where every channel is convolved on its own that saves memory, and there may be too few tiles to share among cores.
    """
    geometry = case.geometry
    if not (REGISTRY[name].fourier and geometry.depthwise):
        return 1
    tile = (work.elements * math.prod(work.step) + work.prepared) * case.numbers.itemsize
    blocks = min(-(-6 * tile // room), geometry.groups)
    tiles = geometry.batch * math.prod(-(-n // m) for n, m in zip(geometry.output, work.step, strict=True))
    if blocks > 1 or tiles < PARTS:
        blocks = max(blocks, min(PARTS, geometry.groups // SPLIT))
    return blocks


def _pieces(geometry: Geometry, domain: int, max_workspace: int, parts: int, *, transformed: bool) -> tuple[int, int]:
    """Cut the weight gradient into (partial sums over the pixels, blocks of channels), `parts` together at most.

    More blocks only if the sums would not fit the workspace otherwise.

    `domain` is the bytes of one partial sum. Where it has another form than the result (`transformed`, or that of
    toeplitz) each block would go over the output's gradient anew, so there are few.
    """
    cuts = geometry.groups if geometry.groups > 1 else geometry.channels
    if transformed:
        sums = max(parts // 2, 1)
        while sums > 1 and sums * domain > max_workspace // 2:
            sums //= 2
        blocks = 2 if parts > 1 and sums <= 2 and cuts >= 128 else 1
        while blocks < cuts and domain // blocks > max_workspace // 8:
            blocks = min(2 * blocks, cuts)
        return sums, blocks
    blocks = 1
    while blocks < parts and domain // blocks > 1 << 19 and cuts // (2 * blocks) >= 16:
        blocks *= 2
    sums = max(parts // blocks, 1)
    while sums > 1 and sums * domain > max_workspace // 4:
        sums //= 2
    while blocks < cuts and domain // blocks > max_workspace // 8:
        blocks = min(2 * blocks, cuts)
    return sums, blocks
