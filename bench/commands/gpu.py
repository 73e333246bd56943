"""``python -m bench gpu``: on a CUDA device, beside PyTorch (cuDNN), JAX and a plain im2col."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

import xpconv as xc
from bench import peers
from bench.arguments import add_files, add_seconds, add_without, names_of, positive_int
from bench.contest.check import agree
from bench.contest.contest import Contest
from bench.contest.session import Session
from bench.contest.turns import Call, OnDevice, interleave
from bench.errors import UsageError
from bench.layers import BOTH, FORWARD, Case, Layer
from bench.measure.clocks import Pace
from bench.measure.devices import (
    FLOAT16,
    FLOAT32,
    MODES,
    TF32,
    Cuda,
    Device,
    Host,
    StandIn,
    draw,
    dtype_rates,
    find_cupy,
    find_stand_in,
)
from bench.measure.machine import available_cores, describe, threads_set
from bench.measure.measurement import XPCONV, Measurement
from bench.measure.timing import Settings, Timing
from bench.peers.peer import Peer, Where
from bench.report import charts, goals
from bench.report.columns import RATIO, lay_out, times
from bench.report.numbers import milliseconds, number
from bench.report.report import Report, deliver
from bench.report.table import Table
from bench.sets import CONVNEXT, EXAMPLE, LARGE, MOBILENETV2, POOLS, QUICK, QUICK_GROUPED, QUICK_POOLS, resnet50

HELP = "time convolution and pooling on a CUDA device beside PyTorch, JAX and a plain im2col"
PASSES = (FORWARD, BOTH)
PEERS = ("torch", "jax", "im2col")
BATCH = 32
MOST_SETS = 8
RESNET, POOLING, DEPTHWISE = "ResNet-50", "pooling", "depthwise 3×3 and 7×7"
# of results beside PyTorch's: 16-bit and TF32 products round their factors to 2^-11, and errors add up over a sum, for
# weight gradients over all pixels
TOLERANCE, COARSE, WEIGHT_TIMES = 1e-3, 2e-2, 10
LIMITS = {FLOAT32: (1.3, 2.5), TF32: (3.0, None), FLOAT16: (3.0, None)}
POOL_LIMIT = 1.5
EXAMPLE_LIMIT = 300.0  # microseconds
WAITED = f"{XPCONV}, waited for"
NOTES = (
    "times: between two events in the stream, calls in a row on rotating inputs (as many sets as are larger than "
    "twice the cache), after warm-up; where a call launches more slowly than the device works, launching counts",
    "PyTorch: cuDNN's fastest algorithms, the faster of channels_last and contiguous (* contiguous); TF32 is off "
    "on both sides in float32 and on in TF32; JAX: jitted, waited for at each call; im2col: CuPy, one product",
)

# by kind; pooling is measured in float32 only
GROUPS: dict[str, tuple[Case, ...]] = {
    POOLING: tuple(replace(pool, batch=4 * pool.batch) for pool in POOLS),
    RESNET: resnet50(BATCH),
    DEPTHWISE: tuple(replace(layer, batch=BATCH) for layer in (*MOBILENETV2, *CONVNEXT)),
    "kernels of 31 and more": LARGE,
}
QUICK_GROUPS: dict[str, tuple[Case, ...]] = {
    POOLING: QUICK_POOLS[:2],
    RESNET: QUICK[:2],
    DEPTHWISE: QUICK_GROUPED[:1],
}
# one that is bound by arithmetic, one between, one by memory
LIMITED = (
    Layer(BATCH, 28, 28, 128, 128, 3, padding=1),
    Layer(BATCH, 56, 56, 64, 256, 1),
    replace(MOBILENETV2[2], batch=BATCH),
)
QUICK_LIMITED = (QUICK[0], QUICK[2], QUICK_GROUPED[0])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--rounds", type=positive_int, metavar="N", help="measured rounds (default 5; 2 in a dry run)")
    parser.add_argument(
        "--modes", type=names_of(MODES), default=MODES, metavar="NAME,...", help=f"of {', '.join(MODES)}"
    )
    add_without(parser)
    add_seconds(parser, 420)
    parser.add_argument(
        "--dry-run", action="store_true", help="tiny cases on the CPU in the device's place, to see that it runs"
    )
    add_files(parser)


def dtype_of(mode: str) -> str:
    """Name the arrays' dtype in a mode."""
    return FLOAT16 if mode == FLOAT16 else FLOAT32


def case_bytes(case: Case, mode: str) -> int:
    """Count the bytes of a case's arrays, the result included."""
    numbers = prod(case.x_shape) + prod(case.output_shape)
    if isinstance(case, Layer):
        numbers += prod(case.w_shape) + case.filters
    return np.dtype(dtype_of(mode)).itemsize * numbers


def sets(device: Device, once: int) -> int:
    """Count the sets of so many bytes that are larger than twice the cache."""
    return max(1, min(MOST_SETS, -(-2 * device.cache_bytes // once)))


def where(device: Device, mode: str) -> Where:
    """Say where the cases of a mode run."""
    return Where(device.xp, device.torch_device, dtype_of(mode))


def enter(session: Session, device: Device, case: Case, mode: str) -> dict[str, dict[str, list[Call]]]:
    """Make the calls of a case by pass and competitor, one for each set of inputs, after a check of our results."""
    data, there = draw(case), where(device, mode)
    calls: dict[str, dict[str, list[Call]]] = {passes: {} for passes in PASSES}
    for turn in range(sets(device, case_bytes(case, mode))):
        chosen = [peer for peer in session.peers if peer.rotates or not turn]
        entries = [entry for peer in chosen for entry in peer.enter(case, data, PASSES, there)]
        if not turn:
            compared = [entry for entry in entries if entry.name in (XPCONV, "torch contiguous")]
            tolerance = TOLERANCE if mode == FLOAT32 else COARSE
            tolerances = (tolerance, WEIGHT_TIMES * tolerance)
            agree(f"{case.name}, {mode}", compared, "torch contiguous", tolerances, device.xp)
        for entry in entries:
            calls[entry.passes].setdefault(entry.name, []).append(entry.call)
    return calls


@dataclass
class Run:
    """What has been measured so far, and until when cases are begun."""

    session: Session
    device: Device
    until: float
    measurements: list[Measurement] = field(default_factory=list)
    left_out: list[tuple[str, str, str]] = field(default_factory=list)  # kind, name, mode
    failed: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def add(self, kind: str, case: Case, mode: str) -> None:
        """Measure a case, unless the time is up."""
        if time.perf_counter() > self.until:
            self.left_out.append((kind, case.name, mode))
            return
        print(f"[{mode}] {case.name}", file=sys.stderr, flush=True)
        try:
            for passes, calls in enter(self.session, self.device, case, mode).items():
                players = {name: OnDevice(every, self.device.clock, self.device.pace) for name, every in calls.items()}
                facts = {"kind": kind, "mode": mode}
                contest = Contest(case.name, f"{mode}, {passes}", players, facts, rivals=self.session.rivals)
                self.measurements += self.session.hold([contest])
        except Exception as error:  # wrong results, too little memory: the device's time is worth the other cases
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            print(f"  {text}", file=sys.stderr, flush=True)
            self.failed[kind, case.name, mode] = text
        self.device.release()

    def ratios(self, kind: str, mode: str, passes: str) -> dict[str, float | None]:
        """List the ratios of a kind's cases in a pass."""
        chosen = [one for one in self.measurements if one.facts["kind"] == kind]
        return charts.ratios(chosen).get(f"{mode}, {passes}", {})

    def complete(self, kind: str, mode: str) -> bool:
        """Whether every case of a kind was measured in a mode."""
        return all((late, other) != (kind, mode) for late, _, other in [*self.left_out, *self.failed])


def measure(session: Session, device: Device, modes: Sequence[str], seconds: float) -> Run:
    """Run every case in every mode."""
    run = Run(session, device, time.perf_counter() + seconds)
    for mode in modes:
        device.set_mode(mode)
        for kind, cases in (QUICK_GROUPS if session.quick else GROUPS).items():
            for case in cases if mode == FLOAT32 or kind != POOLING else ():
                run.add(kind, case, mode)
    return run


def example(session: Session, device: Device) -> dict[str, Timing]:
    """Time the forward call of the course's example, by itself and waited for."""
    data, there = draw(EXAMPLE), replace(where(device, FLOAT32), formats=("contiguous",))
    entries = {entry.name: entry for entry in session.enter(EXAMPLE, data, (FORWARD,), there)}
    call = entries[XPCONV].call

    def waited() -> None:
        call()
        device.synchronize()

    calls = {XPCONV: call, WAITED: waited}
    if "torch contiguous" in entries:
        calls["torch contiguous"] = entries["torch contiguous"].call
    players = {name: OnDevice([one], device.clock, device.pace) for name, one in calls.items()}
    return interleave(players, session.settings.rounds, collecting=True)


Rates = Mapping[str, Mapping[str, float]]


def floors(layer: Layer, mode: str, rates: Mapping[str, float]) -> dict[str, float]:
    """Count a forward pass's bytes, each array once, and operations, and the least seconds that both take."""
    amount = {"bytes": float(case_bytes(layer, mode)), "flops": 1e9 * layer.gflop}
    seconds = {f"{name}_seconds": amount[name] / rates[name] for name in amount}
    return {**amount, **seconds, "floor": max(seconds.values())}


def limits(run: Run, modes: Sequence[str], rates: Rates) -> Table:
    """Say for some layers what bounds a forward pass and how near it comes."""
    table = Table(
        ["what limits it", "MB", "GFLOP", "memory\nms", "arithmetic\nms", "xpconv\nms", "share of\nthe floor"]
    )
    for mode in modes:
        for layer in QUICK_LIMITED if run.session.quick else LIMITED:
            wanted = (layer.name, f"{mode}, {FORWARD}")
            seconds = next((one.seconds() for one in run.measurements if (one.case, one.passes) == wanted), None)
            floor = floors(layer, mode, rates[mode])
            cells = [floor["bytes"] / 1e6, floor["flops"] / 1e9, *(1e3 * floor[f"{n}_seconds"] for n in rates[mode])]
            share = "–" if seconds is None else f"{floor['floor'] / seconds:.0%}"
            table.rows.append((f"{layer.name}, {mode}", *map(number, cells), milliseconds(seconds), share))
    return table


def judged(run: Run, modes: Sequence[str], seconds: float) -> list[dict[str, Any]]:
    """Judge the targets, the example by its seconds; a kind of which cases were left out is not judged."""
    found = []
    kinds = [kind for kind in (QUICK_GROUPS if run.session.quick else GROUPS) if kind != POOLING]
    for mode in modes:
        mean, worst = LIMITS[mode]
        for kind in kinds:
            for passes in PASSES:
                goal = goals.Goal(f"{kind}, {mode}, {passes}, against PyTorch", mean, worst)
                found.append(goals.judge(goal, run.ratios(kind, mode, passes), run.complete(kind, mode)))
    for passes in PASSES:
        goal = goals.Goal(f"pooling, {passes}, against PyTorch", POOL_LIMIT)
        found.append(goals.judge(goal, run.ratios(POOLING, FLOAT32, passes), run.complete(POOLING, FLOAT32)))
    goal = goals.Goal("the course's (2, 5, 7, 4) example, forward", worst=EXAMPLE_LIMIT, unit=" µs")
    return [*found, goals.judge(goal, {"example": 1e6 * seconds})]


def find_device(options: argparse.Namespace) -> tuple[Device, list[Peer]]:
    """Find the device and the peers that run on it; UsageError with the reason where there is none."""
    cupy, reason = (None, "") if options.dry_run else find_cupy()
    if reason:
        raise UsageError(reason)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take most of the memory
    loaded = peers.load((*PEERS, peers.OWN), options.without)
    torch, jax = (next((p.module for p in loaded if name in p.titles), None) for name in ("torch", "jax"))
    device: Device
    if options.dry_run and (stand_in := find_stand_in()) is not None:
        device = StandIn(stand_in, Pace(options.rounds or 2, 0.0, 2))
    elif options.dry_run:
        device = Host(torch, jax, Pace(options.rounds or 2, 0.0, 2))
    else:
        device = Cuda(cupy, torch, jax, Pace(options.rounds or 5))
    return device, [peer for peer in loaded if not peer.packages or peer.module in (device.torch, device.jax)]


def opened(options: argparse.Namespace, device: Device, taking_part: Sequence[Peer]) -> Session:
    """Describe device and machine, and print them."""
    options.quick = options.dry_run
    seen = device.describe()
    versions = {name: version for peer in taking_part for name, version in peer.versions.items()}
    threads = 1 if options.dry_run else available_cores()
    machine = describe(threads, versions | seen.pop("versions")) | {"device": seen}
    pace = device.pace
    settings = Settings(pace.rounds, 0.0, 0.0, pace.least, pace.most_calls)
    session = Session(options, "gpu", taking_part, threads, settings, machine)
    print(session.caption, flush=True)
    return session


def run(options: argparse.Namespace) -> int:
    """Measure, print, write; status 1 where a case failed."""
    device, taking_part = find_device(options)
    # on the CPU, threads that wait for each other would take most of a dry run
    with threads_set(1, device.torch) if options.dry_run else nullcontext():
        session = opened(options, device, taking_part)
        rates = dtype_rates(device, options.modes)
        device.set_mode(FLOAT32)
        first = example(session, device)
        found = measure(session, device, options.modes, options.seconds)
        again = dtype_rates(device, options.modes)
        device.set_mode(FLOAT32)
    return _report(found, options, first, rates, again)


def _report(found: Run, options: argparse.Namespace, first: Mapping[str, Timing], rates: Rates, again: Rates) -> int:
    session, bounds = found.session, limits(found, options.modes, rates)
    shown = [*times(session.titles), RATIO]
    names = [name.replace("\n", " ") for name in bounds.columns]
    failed = [f"{name}, {mode}: {text}" for (_, name, mode), text in found.failed.items()]
    facts = {
        "left_out": [f"{name}, {mode}" for _, name, mode in found.left_out],
        "failed": failed,
        "rates": rates,
        "rates_after": again,
        "example": {name: timing.record() for name, timing in first.items()},
        "limits": [dict(zip(names, row, strict=True)) for row in bounds.rows],
    }
    notes = [*NOTES, *_rate_lines(rates, again), _example_line(first)]
    if found.left_out:
        notes.append(f"left out after {options.seconds} s: {len(found.left_out)} cases, in the JSON file by name")
    notes += [f"failed, not timed: {line}" for line in failed]
    deliver(
        session,
        Report(
            found.measurements,
            [lay_out(found.measurements, shown), bounds],
            shown,
            notes,
            judged(found, options.modes, first[XPCONV].seconds),
            facts,
            lambda caption: chart(found, options.modes, caption),
        ),
    )
    return int(bool(failed))


def _rate_lines(rates: Rates, again: Rates) -> list[str]:
    return [
        f"control, {mode}: copy {one['bytes'] / 1e9:,.0f} GB/s, product {one['flops'] / 1e9:,.0f} GFLOP/s; "
        f"at the end {again[mode]['bytes'] / 1e9:,.0f} and {again[mode]['flops'] / 1e9:,.0f}"
        for mode, one in rates.items()
    ]


def _example_line(first: Mapping[str, Timing]) -> str:
    listed = ", ".join(f"{name} {1e6 * timing.seconds:.0f} µs" for name, timing in first.items())
    return f"the course's (2, 5, 7, 4) example, forward: {listed} ({xc.__name__} {xc.__version__})"


def chart(found: Run, modes: Sequence[str], caption: str) -> bytes:
    """Draw the ratios, a panel for each mode."""
    ratios = charts.ratios(found.measurements)
    panels = []
    for mode in modes:
        series = {passes: ratios.get(f"{mode}, {passes}", {}) for passes in PASSES}
        title = f"{mode}: time of xpconv ÷ PyTorch (less is better)"
        panels.append(charts.Bars(title, series, "as fast as PyTorch"))
    return charts.bars(panels, caption)
