"""``python -m bench chunks``: images in a store, by blocks, beside one NumPy call, map_overlap and dask-image."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.arguments import add_common, add_seconds, names_of, positive_int
from bench.chunked import CASES, MEMORY, OWN, SCHEDULERS, WAYS, WORKERS, serves
from bench.contest.session import opened
from bench.errors import UsageError
from bench.measure.measurement import Measurement
from bench.report import charts, goals
from bench.report.numbers import number
from bench.report.report import Report, deliver
from bench.report.table import Table

HELP = "time and memory of images in a store, on threads and on a cluster, beside map_overlap and dask-image"
MIB = 2**20
SIDE, CHUNK, COLOUR = 20_000, 2048, 8192
NEEDED = ("zarr", "distributed")
FASTER, SMALLER, FLAT = 1.1, 0.5, 300.0
LONGEST = 900  # seconds that one run may take


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_common(parser, peers=False)
    add_seconds(parser, 3600)
    parser.add_argument("--side", type=positive_int, metavar="N", help=f"pixels on a side (default {SIDE})")
    parser.add_argument("--chunk", type=positive_int, metavar="N", help=f"of a chunk (default {CHUNK})")
    parser.add_argument("--cases", default="", metavar="TEXT", help="only cases whose name holds TEXT")
    for option, known in (("--ways", WAYS), ("--on", SCHEDULERS)):
        text = ", ".join(known)
        parser.add_argument(option, type=names_of(known), default=known, metavar="NAMES", help=f"only some of {text}")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where images are written (default: a temporary one)"
    )


def image(folder: Path, side: int, chunk: int, channels: int) -> None:
    """Write a picture of noise, row of chunks by row of chunks."""
    zarr: Any = importlib.import_module("zarr")
    shape, chunks = (1, side, side, channels), (1, min(chunk, side), min(chunk, side), channels)
    out = zarr.create_array(folder / "x.zarr", shape=shape, chunks=chunks, dtype="float32", compressors=None)
    rng = np.random.default_rng(0)
    for first in range(0, side, chunk):
        rows = min(chunk, side - first)
        out[:, first : first + rows] = rng.random((1, rows, side, channels), dtype=np.float32)


def one(folder: Path, case: str, way: str, scheduler: str) -> dict[str, Any]:
    """Run one way in a process of its own; ``{"failed": why}`` where it did not come to an end."""
    command = [sys.executable, "-m", "bench.chunked", str(folder), case, way, scheduler]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {LONGEST} s"}
    finally:
        for path in folder.glob("[0-9]*.zarr"):
            _remove(path)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _remove(path: Path) -> None:
    importlib.import_module("shutil").rmtree(path, ignore_errors=True)


def measure(options: argparse.Namespace, folder: Path, until: float) -> tuple[list[Measurement], list[str]]:
    """Run every way of every case, in turns; also list what was left out when the time was up."""
    side = options.side or (256 if options.quick else SIDE)
    chunk = options.chunk or (64 if options.quick else CHUNK)
    rounds = options.rounds or 1
    found: list[Measurement] = []
    late: list[str] = []
    for case in [case for case in CASES[: 1 if options.quick else None] if options.cases in case]:
        colour = case == "four layers"
        size = min(side // 2, COLOUR) if colour else side
        _remove(folder / "x.zarr")
        image(folder, size, chunk, 3 if colour else 1)
        runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for number_of in range(rounds):
            for scheduler in options.on[: 1 if options.quick else None]:
                for way in options.ways:
                    if not serves(case, way, scheduler) or (way == "dask_image" and (options.quick or not _has(way))):
                        continue
                    if time.perf_counter() > until:
                        late.append(f"{case} {way} {scheduler}")
                        continue
                    print(f"[{case} {number_of + 1}/{rounds}] {way}, {scheduler}", file=sys.stderr, flush=True)
                    runs.setdefault((way, scheduler), []).append(one(folder, case, way, scheduler))
        for (way, scheduler), results in runs.items():
            found.append(Measurement(case, f"{way}, {scheduler}", facts=_facts(results, way, scheduler, size)))
    return found, late


def _facts(results: Sequence[dict[str, Any]], way: str, scheduler: str, side: int) -> dict[str, Any]:
    """Take the fastest of several runs, and the largest peak."""
    good = [result for result in results if "failed" not in result]
    facts: dict[str, Any] = {"way": way, "scheduler": scheduler, "side": side}
    if not good:
        return facts | results[0]
    return facts | min(good, key=lambda one: one["seconds"]) | {"peak": max(one["peak"] for one in good)}


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def tabled(found: Sequence[Measurement]) -> Table:
    """Lay the figures out."""
    table = Table(["case", "way", "tasks", "threads\ns", "threads\nMiB", "cluster\ns", "cluster\nMiB a worker"])
    for case in dict.fromkeys(one.case for one in found):
        for way in WAYS:
            mine = {one.facts["scheduler"]: one.facts for one in found if one.case == case and one.facts["way"] == way}
            if not mine:
                continue
            cells = []
            for scheduler in SCHEDULERS:
                facts = mine.get(scheduler, {})
                seconds, peak = facts.get("seconds"), facts.get("peak")
                cells += ["failed" if "failed" in facts else number(seconds) if seconds else ""]
                cells += [f"{peak / MIB:,.0f}" if peak else ""]
            tasks = next((facts["tasks"] for facts in mine.values() if facts.get("tasks")), "")
            table.rows.append((case, way, f"{tasks:,}" if tasks else "", *cells))
    return table


def ratios(found: Sequence[Measurement], quantity: str, way: str, others: Sequence[str]) -> dict[str, float | None]:
    """Divide what one way takes by the least of others, by case and scheduler."""
    result: dict[str, float | None] = {}
    for case in dict.fromkeys(one.case for one in found):
        for scheduler in SCHEDULERS:
            here = {
                one.facts["way"]: one.facts.get(quantity)
                for one in found
                if (one.case, one.facts["scheduler"]) == (case, scheduler)
            }
            least = min((float(value) for name in others if (value := here.get(name))), default=None)
            own = here.get(way)
            if own and least:
                result[f"{case}, {scheduler}"] = float(own) / least
    return result


def chart(found: Sequence[Measurement], caption: str) -> bytes:
    """Draw seconds and peaks of threads."""
    panels = []
    for title, quantity, unit in (("Seconds, two threads", "seconds", 1.0), ("Peak in MiB", "peak", MIB)):
        series = {
            way: {
                one.case: one.facts[quantity] / unit
                for one in found
                if one.facts["way"] == way and one.facts["scheduler"] == "threads" and quantity in one.facts
            }
            for way in WAYS
        }
        panels.append(charts.Bars(title, {way: cases for way, cases in series.items() if cases}, line=0.0, first=""))
    return charts.bars(panels, caption)


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    missing = [package for package in NEEDED if not _has(package)]
    if missing:
        raise UsageError(f"needs {' and '.join(missing)}; install with: python -m pip install '.[dask]' zarr")
    with opened(options, "chunks") as session, tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found, late = measure(options, Path(folder), time.perf_counter() + options.seconds)
        rivals = ("map_overlap", "dask_image")
        judged = [
            goals.judge(
                goals.Goal("strips over the faster of map_overlap and dask-image, time", worst=FASTER),
                ratios(found, "seconds", "strips", rivals),
                not late,
            ),
            goals.judge(
                goals.Goal("strips over map_overlap, peak", worst=SMALLER),
                ratios(found, "peak", "strips", rivals[:1]),
                not late,
            ),
            goals.judge(
                goals.Goal("peak of a worker of the cluster, reload", worst=FLAT, unit=" MiB"),
                {
                    one.case: one.facts["peak"] / MIB
                    for one in found
                    if one.facts["way"] == "reload" and one.facts["scheduler"] == "cluster" and "peak" in one.facts
                },
                not late,
            ),
        ]
        notes = [
            f"from Zarr to Zarr, uncompressed; threads: {WORKERS} in one process, its whole peak; cluster: {WORKERS} "
            f"workers of one thread and {MEMORY} on loopback, the peak of the larger; tasks as Dask optimised them",
            "numpy: one call, with its own threads; reload: each task reads the store itself",
            *(f"{one.case}, {one.passes}: {one.facts['failed']}" for one in found if "failed" in one.facts),
        ]
        if late:
            notes.append(f"left out after {options.seconds} s: {'; '.join(late)}")
        report = Report(found, [tabled(found)], notes=notes, goals=judged, facts={"left_out": late, "ways": OWN})
        report.chart = lambda caption: chart(found, caption)
        return deliver(session, report)
