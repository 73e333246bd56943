"""``python -m bench gpu``: on a CUDA device, beside PyTorch (cuDNN), JAX and a plain im2col."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import xpconv as xc
from bench import contest, gpu_cases, peers, plot, targets, torch_peer
from bench.arguments import add_files, check_files, positive_int
from bench.clocks import Pace, interleave
from bench.contest import XPCONV, Outcome
from bench.conv_report import BOTH, FORWARD
from bench.devices import FLOAT16, FLOAT32, MODES, TF32, Cuda, Device, Host, dtype_rates, find_cupy
from bench.layers import Layer
from bench.machine import available_cores, describe, threads_set
from bench.report import Table, number
from bench.session import Session
from bench.timing import Control, Settings, Timing

HELP = "time convolution and pooling on a CUDA device beside PyTorch, JAX and a plain im2col"
LIMITS = {FLOAT32: (1.3, 2.5), TF32: (3.0, None), FLOAT16: (3.0, None)}
POOL_LIMIT = 1.5
EXAMPLE_LIMIT = 300.0  # microseconds
POOLING = "pooling"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--rounds", type=positive_int, metavar="N", help="measured rounds (default 5; 2 in a dry run)")
    parser.add_argument("--modes", type=modes, default=MODES, metavar="NAME,...", help=f"of {', '.join(MODES)}")
    parser.add_argument("--without", type=peers.names, default=(), metavar="NAME,...", help="leave out torch or jax")
    parser.add_argument(
        "--seconds", type=positive_int, default=420, metavar="N", help="begin no new case after so long (default: 420)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tiny cases on the CPU in the device's place, to see that it runs"
    )
    add_files(parser)


def modes(text: str) -> tuple[str, ...]:
    """Read names of modes, separated by commas."""
    known = {name.casefold(): name for name in MODES}
    parts = [part.strip().casefold() for part in text.split(",") if part.strip()]
    if not parts or not set(parts) <= set(known):
        raise argparse.ArgumentTypeError(f"wants names of {', '.join(MODES)}; got {text!r}")
    return tuple(dict.fromkeys(known[part] for part in parts))


@dataclass
class Run:
    """What has been measured so far, and until when cases are begun."""

    device: Device
    until: float
    outcomes: list[Outcome] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)  # of cases
    left_out: list[tuple[str, str, str]] = field(default_factory=list)  # kind, name, mode
    failed: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def case(self, kind: str, name: str, mode: str, calls: Any) -> None:
        """Measure a case, whose calls by pass and competitor `calls` gives, unless the time is up."""
        if time.perf_counter() > self.until:
            self.left_out.append((kind, name, mode))
            return
        print(f"[{mode}] {name}", file=sys.stderr, flush=True)
        self.kinds[name] = kind
        try:
            for passes, timings in self._timed(calls()).items():
                self.outcomes.append(Outcome(name, f"{mode}, {passes}", timings, ("torch",)))
        except Exception as error:  # wrong results, too little memory: the device's time is worth the other cases
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            print(f"  {text}", file=sys.stderr, flush=True)
            self.failed[kind, name, mode] = text
        self.device.release()

    def _timed(self, calls: Mapping[str, gpu_cases.Calls]) -> dict[str, dict[str, Timing]]:
        return {passes: interleave(self.device.clock, one, self.device.pace) for passes, one in calls.items()}

    def ratios(self, kind: str, passes: str) -> dict[str, float | None]:
        """Give the ratios of a kind's cases in a pass."""
        chosen = [outcome for outcome in self.outcomes if self.kinds[outcome.case] == kind]
        return contest.ratios(chosen, passes)

    def complete(self, kind: str, mode: str) -> bool:
        """Say whether every case of a kind was measured in a mode."""
        return all((late, other) != (kind, mode) for late, _, other in [*self.left_out, *self.failed])


def find_device(options: argparse.Namespace) -> tuple[Device | None, str]:
    """Give the device, or None with the reason."""
    quick = Pace(options.rounds or 2, 0.0, 2)
    wanted = ("torch", "jax")
    if options.dry_run:
        loaded = peers.load(options.without, wanted)
        return Host(loaded.torch, loaded.jax, quick), ""
    cupy, reason = find_cupy()
    if cupy is None:
        return None, reason
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take most of the memory
    loaded = peers.load(options.without, wanted)
    return Cuda(cupy, loaded.torch, loaded.jax, Pace(options.rounds or 5)), ""


def measure(device: Device, chosen: Sequence[str], quick: bool, seconds: float) -> Run:
    """Run every case in every mode."""
    run = Run(device, time.perf_counter() + seconds)
    groups = gpu_cases.QUICK_GROUPS if quick else gpu_cases.GROUPS
    pools = gpu_cases.QUICK_POOLING if quick else gpu_cases.POOLING
    for mode in chosen:
        device.set_mode(mode)
        if mode == FLOAT32:
            for pool in pools:
                run.case(POOLING, pool.name, mode, lambda pool=pool: gpu_cases.pool_calls(device, pool, FLOAT32))
        for kind, layers in groups.items():
            for layer in layers:
                run.case(kind, layer.name, mode, lambda x=layer, m=mode: gpu_cases.conv_calls(device, x, m))
    return run


def limits(run: Run, chosen: Sequence[str], rates: Mapping[str, dict[str, float]], layers: Sequence[Layer]) -> Table:
    """Say for some layers what bounds a forward pass and how near it comes."""
    table = Table(
        ["what limits it", "MB", "GFLOP", "memory\nms", "arithmetic\nms", "xpconv\nms", "share of\nthe floor"]
    )
    for mode in chosen:
        for layer in layers:
            found = [o for o in run.outcomes if (o.case, o.passes) == (layer.name, f"{mode}, {FORWARD}")]
            seconds = found[0].seconds if found else None
            floor = gpu_cases.floors(layer, mode, rates[mode])
            cells = [floor["bytes"] / 1e6, floor["flops"] / 1e9, *(1e3 * floor[f"{n}_seconds"] for n in rates[mode])]
            share = "–" if seconds is None else f"{floor['floor'] / seconds:.0%}"
            time_ = number(None if seconds is None else 1e3 * seconds)
            table.rows.append((f"{layer.name}, {mode}", *map(number, cells), time_, share))
    return table


def judged(run: Run, chosen: Sequence[str], kinds: Sequence[str], example: float) -> list[dict[str, Any]]:
    """Judge the targets; a kind of which cases were left out is not judged."""
    found = []
    for mode in chosen:
        mean, worst = LIMITS[mode]
        for kind in kinds:
            for passes in (FORWARD, BOTH):
                goal = targets.Goal(f"{kind}, {mode}, {passes}, against PyTorch", mean, worst)
                found.append(targets.judge(goal, run.ratios(kind, f"{mode}, {passes}"), run.complete(kind, mode)))
    for passes in (FORWARD, BOTH):
        goal = targets.Goal(f"pooling, {passes}, against PyTorch", POOL_LIMIT)
        found.append(targets.judge(goal, run.ratios(POOLING, f"{FLOAT32}, {passes}"), run.complete(POOLING, FLOAT32)))
    goal = targets.Goal("the course's (2, 5, 7, 4) example, forward", worst=EXAMPLE_LIMIT, unit=" µs")
    return [*found, targets.judge(goal, {"example": 1e6 * example})]


def run(options: argparse.Namespace) -> int:
    """Measure, print, write; status 1 where a case failed, 2 where there is no device."""
    check_files(options)
    device, reason = find_device(options)
    if device is None:
        print(f"bench gpu: {reason}", file=sys.stderr)
        return 2
    # on the CPU, threads that wait for each other would take most of a dry run
    with threads_set(1, device.torch) if options.dry_run else nullcontext():
        return _run(options, device)


def _run(options: argparse.Namespace, device: Device) -> int:
    options.quick = options.dry_run
    seen = device.describe()
    torch = device.torch if device.torch is not None else torch_peer.load()
    versions = {**seen.pop("versions"), "jax": None if device.jax is None else device.jax.__version__}
    threads = 1 if options.dry_run else available_cores()
    machine = describe(threads, torch, versions) | {"device": seen}
    settings = Settings(device.pace.rounds, 0.0, 0.0, device.pace.least, device.pace.most_calls)
    session = Session(options, "gpu", peers.Peers(device.torch, None, device.jax), threads, settings,
                      Control(128), machine)  # fmt: skip
    print(session.caption, flush=True)
    quick = options.dry_run
    rates = dtype_rates(device, options.modes)
    device.set_mode(FLOAT32)
    example = interleave(device.clock, gpu_cases.example_calls(device), device.pace)
    found = measure(device, options.modes, quick, options.seconds)
    again = dtype_rates(device, options.modes)
    device.set_mode(FLOAT32)
    layers = gpu_cases.QUICK_LIMITED if quick else gpu_cases.LIMITED
    bounds = limits(found, options.modes, rates, layers)
    kinds = tuple(gpu_cases.QUICK_GROUPS if quick else gpu_cases.GROUPS)
    names = [name.replace("\n", " ") for name in bounds.columns]
    late = [f"{name}, {mode}" for _, name, mode in found.left_out]
    failed = [f"{name}, {mode}: {text}" for (_, name, mode), text in found.failed.items()]
    record = {
        **contest.records(found.outcomes), "kinds": found.kinds, "left_out": late, "failed": failed, "rates": rates,
        "rates_after": again, "example": {name: timing.record() for name, timing in example.items()},
        "limits": [dict(zip(names, row, strict=True)) for row in bounds.rows],
    }  # fmt: skip
    notes = [*_notes(rates, again), _example_line({n: t.median for n, t in example.items()})]
    if found.left_out:
        notes.append(f"left out after {options.seconds} s: {len(found.left_out)} cases, in the JSON file by name")
    notes += [f"failed, not timed: {line}" for line in failed]
    titles = {"torch": "PyTorch", "jax": "JAX", "im2col": "im2col", XPCONV: "xpconv"}
    picture = None if options.png is None else _picture(found, options.modes, session.caption)
    every = judged(found, options.modes, kinds, example[XPCONV].median)
    session.finish(contest.table(found.outcomes, titles), record, notes, every, picture, [bounds])
    return int(bool(failed))


def _notes(rates: Mapping[str, dict[str, float]], again: Mapping[str, dict[str, float]]) -> list[str]:
    lines = [
        "times: between two events in the stream, calls in a row on rotating inputs (as many sets as are larger than "
        "twice the cache), after warm-up; where a call launches more slowly than the device works, launching counts",
        "PyTorch: cuDNN's fastest algorithms, the faster of channels_last and contiguous (* contiguous); TF32 is off "
        "on both sides in float32 and on in TF32; JAX: jitted, waited for at each call; im2col: CuPy, one product",
    ]
    for mode, first in rates.items():
        last = again[mode]
        lines.append(
            f"control, {mode}: copy {first['bytes'] / 1e9:,.0f} GB/s, product {first['flops'] / 1e9:,.0f} GFLOP/s; "
            f"at the end {last['bytes'] / 1e9:,.0f} and {last['flops'] / 1e9:,.0f}"
        )
    return lines


def _example_line(medians: Mapping[str, float]) -> str:
    times = ", ".join(f"{name} {1e6 * seconds:.0f} µs" for name, seconds in medians.items())
    return f"the course's (2, 5, 7, 4) example, forward: {times} ({xc.__name__} {xc.__version__})"


def _picture(found: Run, chosen: Sequence[str], caption: str) -> bytes:
    panels = {
        f"{mode}: time of xpconv ÷ PyTorch (less is better)": {
            passes: contest.ratios(found.outcomes, f"{mode}, {passes}") for passes in (FORWARD, BOTH)
        }
        for mode in chosen
    }
    return plot.bars(panels, "as fast as PyTorch", caption)
