"""What the model of a GPU said beside what the GPU took, layer by layer: from the files of `device` and of `gpu`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.layers import BOTH, FORWARD, INPUT, WEIGHT
from bench.measure.devices import FLOAT32
from bench.measure.measurement import XPCONV
from bench.report.numbers import number
from bench.report.table import Table

PARTS = {FORWARD: (FORWARD,), BOTH: (INPUT, WEIGHT)}  # the modelled passes of a measured one
COLUMNS = ("kernels", "predicted\nµs", "measured\nµs", "measured /\npredicted")
Record = Mapping[str, Any]


def pairs(modelled: Record, measured: Record) -> Iterator[tuple[str, str, int, int, float, float]]:
    """Give (layer, pass, times, kernels, predicted, measured microseconds) of each layer that is in both."""
    model = {(one["case"], one["pass"]): one for one in modelled["measurements"] if "microseconds" in one}
    for one in measured["measurements"]:
        mode, _, passes = one["pass"].partition(", ")
        parts = [model.get((one["case"], part)) for part in PARTS.get(passes, ())]
        if mode != FLOAT32 or not parts or None in parts:
            continue
        told = [part for part in parts if part is not None]
        kernels, predicted = (sum(part[what] for part in told) for what in ("kernels", "microseconds"))
        yield one["case"], passes, told[0]["times"], kernels, predicted, 1e6 * one["seconds"][XPCONV]["median"]


def beside(modelled: Record, measured: Record) -> Table:
    """Lay out prediction and measurement, and the sums over the network's layers."""
    table = Table(["layer, float32", "pass", "times", *COLUMNS])
    sums: dict[str, list[float]] = {}
    for layer, passes, times, kernels, predicted, found in pairs(modelled, measured):
        cells = number(predicted), number(found), number(found / predicted)
        table.rows.append((layer, passes, str(times), str(kernels), *cells))
        total = sums.setdefault(passes, [0.0, 0.0, 0.0])
        for place, value in enumerate((kernels, predicted, found)):
            total[place] += times * value
    for passes, (started, modelled_all, measured_all) in sums.items():
        cells = number(modelled_all), number(measured_all), number(measured_all / modelled_all)
        table.summary.append(("all", passes, "", f"{started:.0f}", *cells))
    return table
