"""Measurements, columns, tables, goals and numbers."""

import pytest

from bench.commands import conv, scale, trees
from bench.layers import BOTH, FORWARD
from bench.measure.measurement import Measurement
from bench.measure.timing import Timing
from bench.report import charts, goals
from bench.report.columns import BY_LAYER, RATIO, Column, fact, lay_out, times
from bench.report.goals import Goal, judge
from bench.report.numbers import geometric_mean, number
from bench.report.table import Table
from bench.sets import FIRST, MOBILENETV2, RESNET50

NAMES = [layer.name for layer in FIRST]
RIVALS = ("torch", "onnx")


def one(case, passes, seconds, **facts):
    """Make a measurement of these times."""
    timings = {name: Timing(1, samples=[value]) for name, value in seconds.items()}
    return Measurement(case, passes, timings, facts, rivals=RIVALS)


def test_a_ratio_is_against_the_fastest_rival():
    seconds = {"torch channels_last": 4.0, "torch contiguous": 2.0, "onnx": 8.0, "jax": 0.5, "xpconv": 3.0}
    found = one("case", FORWARD, seconds)
    assert found.ratio == 1.5
    assert found.best("torch") == "torch contiguous"
    assert found.over("jax") == 6.0
    assert found.over("course") is None
    record = found.record()
    assert (record["ratio"], record["fastest_rival"]) == (1.5, "torch contiguous")
    assert one("case", FORWARD, {"xpconv": 1.0}).ratio is None


def test_a_table_has_a_row_for_each_measurement_and_means_by_pass():
    found = [
        one("a", FORWARD, {"torch contiguous": 2e-3, "xpconv": 1e-3}, gflop=1.5),
        one("a", BOTH, {"torch channels_last": 1e-3, "xpconv": 1e-3}),
        one("b", FORWARD, {"torch contiguous": 1e-3, "xpconv": 2e-3}, gflop=2.0),
    ]
    columns = [
        fact("gflop", "GFLOP", ".1f"),
        *times({"torch": "PyTorch", "jax": "JAX", "xpconv": "xpconv"}),
        RATIO,
        Column("fastest", lambda m: m.ratio, mean="fastest", needs="onnx"),
    ]
    table = lay_out(found, columns)
    assert table.columns == ["case", "pass", "GFLOP", "PyTorch\nms", "xpconv\nms", "ratio"]
    assert table.rows == [
        ("a", FORWARD, "1.5", "2.00*", "1.00", "0.500"),
        ("  same", BOTH, "–", "1.00", "1.00", "1.00"),
        ("b", FORWARD, "2.0", "1.00*", "2.00", "2.00"),
    ]
    assert table.summary == [
        ("geometric mean", FORWARD, "–", "–", "–", "1.00"),
        ("geometric mean", BOTH, "–", "–", "–", "1.00"),
    ]
    by_layer = lay_out(found, columns, BY_LAYER)
    assert [row[0] for row in by_layer.rows] == ["a", "  with backward", "b"]
    assert [row[0] for row in by_layer.summary] == ["geometric mean", "  with backward"]
    assert not lay_out([one("a", FORWARD, {"xpconv": 1.0})], columns).summary


def test_targets_are_judged_by_mean_and_worst():
    goal = Goal("swift", 1.0, 2.0)
    assert judge(goal, {"a": 0.5, "b": 1.9})["met"]
    assert not judge(goal, {"a": 0.1, "b": 2.1})["met"]
    assert not judge(goal, {"a": 1.1, "b": 1.2})["met"]
    assert judge(goal, {"a": 0.5, "b": None})["met"] is None
    assert judge(goal, {})["met"] is None
    assert goals.line(judge(goal, {"a": 0.5, "b": 1.9})) == (
        "target: swift: mean at most 1, worst at most 2: met (mean 0.975, worst 1.90: b)"
    )
    assert goals.line(judge(goal, {}, False)).endswith("not measured in this run")
    least = judge(Goal("many", least=10.0), {"a": 100.0, "b": 9.0})
    assert goals.line(least) == "target: many: worst at least 10: not met (mean 30.0, worst 9.00: b)"


def test_the_first_layers_are_judged_by_the_worst():
    ratios = dict(zip(NAMES, (1.5, 1.6, 0.5, 9.0, 9.0), strict=True))
    forward = [one(name, FORWARD, {"torch": 1.0, "xpconv": r, "course": 2000 * r}) for name, r in ratios.items()]
    both = [
        one(name, BOTH, {"torch": 1.0, "xpconv": 1.7, "course": 1.7 * (2000 if name != NAMES[4] else 999)})
        for name in NAMES
    ]
    found = conv.judged_first(forward + both)
    assert [target["met"] for target in found] == [True, False, True, False]
    assert found[-1]["case"] == NAMES[4]
    assert goals.line(found[1]).startswith(
        "target: first three layers, forward + backward, against PyTorch: worst at most 1.6: not met (mean 1.70, "
    )
    assert [target["met"] for target in conv.judged_first(forward[1:] + both[1:])] == [None] * 4


def test_convolutions_are_judged_by_kind():
    def measured(layer):
        return [
            one(layer.name, FORWARD, {"torch contiguous": 2.0, "onnx": 0.4, "xpconv": 1.0}),
            one(layer.name, BOTH, {"torch contiguous": 2.0, "xpconv": 1.0}),
        ]

    layers = MOBILENETV2[:2]
    found = conv.judged(layers, [m for layer in layers for m in measured(layer)])
    # forward is held against the faster, ONNX Runtime; with backward against PyTorch
    assert [(target["met"], target["mean"]) for target in found] == [(False, pytest.approx(2.5)), (True, 0.5)]
    assert conv.judged(RESNET50[1:2], measured(RESNET50[1])) == []
    every = conv.judged(RESNET50, [m for layer in RESNET50 for m in measured(layer)])
    assert [target["target"].split(",")[0] for target in every] == ["3×3"] * 2 + ["every convolution of ResNet-50"] * 2


def test_means_and_numbers():
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0)
    assert geometric_mean([0.5, None]) is None
    assert geometric_mean([]) is None
    wanted = {0.123456: "0.123", 1.0: "1.00", 12.34: "12.3", 123456.7: "123,457", 0.0: "0", None: "–"}
    assert {value: number(value) for value in wanted} == wanted


def test_a_table_lines_up():
    table = Table(["name", "a\nb"], [("x", "1")], [("mean", "10")])
    assert list(table.plain()) == ["       a", "name   b", "----  --", "x      1", "----  --", "mean  10"]
    assert list(table.markdown()) == ["| name | a b |", "| --- | ---: |", "| x | 1 |", "| **mean** | **10** |"]


@pytest.mark.needs("matplotlib")
def test_a_chart_of_nothing_says_so(monkeypatch):
    monkeypatch.setattr(charts, "DPI", 20)
    captions = []
    right = charts._png
    monkeypatch.setattr(charts, "_png", lambda drawn, caption: captions.append(caption) or right(drawn, caption))
    charts.bars([charts.Bars("nobody", {FORWARD: {"a": None}})], "a machine")
    charts.bars([charts.Bars("loops", {FORWARD: {"a": 2000.0}}, "1,000", 1000.0, True)], "a machine")
    assert captions == ["nothing to compare with; a machine", "a machine"]


@pytest.mark.parametrize(("first", "order"), [("least", "bcad"), ("most", "acbd"), ("", "abcd")])
def test_bars_are_sorted_by_the_mean_of_their_ratios(first, order):
    series = {FORWARD: dict(zip("abcd", (2.0, 0.5, 1.0, None), strict=True)), BOTH: {"a": 1.0, "b": 0.5, "c": 1.5}}
    assert "".join(charts._cases([charts.Bars("ratios", series, first=first)])) == order


def test_the_chart_of_scaling_has_what_one_costs_and_what_threads_gain(monkeypatch):
    drawn = []
    monkeypatch.setattr(charts, "curves", lambda panels, caption, below: drawn.append((panels, below)) or b"")

    def curve(over, case, seconds, name="xpconv"):
        points = [
            Measurement(case, passes, {name: Timing(1, samples=[value])}, {"over": over, "size": size})
            for passes in (FORWARD, BOTH)
            for size, value in seconds.items()
        ]
        return scale.Curve(over, case, points, name)

    threads = [curve("threads", "a", {1: 3e-3, 2: 2e-3}), curve("threads", "b", {1: 2e-3, 2: 1e-3})]
    scale.chart([curve("batch", "a", {1: 1e-3, 4: 2e-3}), *threads], "a machine")
    ((panel,), (gains,)) = drawn[0]
    assert panel.lines[FORWARD] == ([1, 4], [1.0, 0.5])
    assert gains.series == {passes: {"a": 1.5, "b": 2.0} for passes in (FORWARD, BOTH)}
    fast = curve("threads, fast", "a", {1: 3e-3, 2: 1e-3}, "fast")
    scale.chart([*threads, fast], "a machine")
    panels, (alone, loops) = drawn[1]
    assert panels == []
    assert alone == gains
    assert loops.series == {passes: {"a": 3.0} for passes in (FORWARD, BOTH)}
    assert "compiled" in loops.title


def test_trees_are_told_by_mean_and_worst():
    def measured(case, old, new, difference):
        timings = {name: Timing(1, samples=samples) for name, samples in (("old", old), ("new", new))}
        return Measurement(case, FORWARD, timings, {"difference": difference}, "new", ("old",))

    found = [measured("a", [1e-3], [2e-3], 0.0), measured("b", [3e-3, 2e-3, 1e-3], [1e-3, 4e-3, 5e-4], 1e-6)]
    table = lay_out(found, trees.COLUMNS)
    assert table.columns == ["case", "pass", "old\nms", "new\nms", "new ÷\nold", "least ÷\nleast", "bits"]
    assert [row[-3:] for row in table.rows] == [("2.00", "2.00", "same"), ("0.500", "0.500", "1.0e-06")]
    assert trees.summary(found) == [
        "new ÷ old, forward: geometric mean 1.00, worst 2.00: a, 2 cases",
        "least new ÷ least old, forward: geometric mean 1.00, worst 2.00: a, 2 cases",
    ]
    assert trees.example_line(found[1:]) == (
        "the course's (2, 5, 7, 4) example, forward: old 2000.0 µs, new 1000.0 µs, new ÷ old 0.500"
    )
