"""What each operation may cost on a GPU: the table of docs/device.md is a ceiling, and the budgets are met."""

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from bench.commands.device import PASSES, budgets, convolutions, operations, total
from bench.layers import FORWARD
from bench.measure.measurement import Measurement
from bench.measure.model import H200
from bench.sets import depthwise, resnet50
from tests import standin

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "device.md"


def documented() -> Iterator[tuple[str, list[str]]]:
    """The rows of the page's tables, by their first cell."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            yield name, cells


@pytest.fixture(scope="module")
def small() -> list[Measurement]:
    standin.install()
    return operations()


@pytest.fixture(scope="module")
def network() -> list[Measurement]:
    standin.install()
    return convolutions(resnet50(32))


@pytest.mark.usefixtures("cp")
def test_no_operation_costs_more_than_the_page_says(small: list[Measurement]) -> None:
    page = {name: cells for name, cells in documented() if cells[0].isdecimal()}
    for one in small:
        kernels, waits, transfers = map(int, page[one.case][:3])
        assert one.facts["kernels"] <= kernels, one.case
        assert one.facts["waits"] <= waits, one.case
        assert one.facts["transfers"] <= transfers, one.case


@pytest.mark.usefixtures("cp")
def test_the_network_costs_no_more_than_the_page_says(network: list[Measurement]) -> None:
    page = {name: cells for name, cells in documented() if "→" in name}
    for one in network:
        algorithm, kernels, _ = page[one.case][1 + 3 * PASSES.index(one.passes) :][:3]
        assert one.facts["kernels"] <= int(kernels), (one.case, one.passes)
        assert one.facts["algorithm"] == algorithm, (one.case, one.passes)


@pytest.mark.usefixtures("cp")
def test_the_budgets_are_met(small: list[Measurement], network: list[Measurement]) -> None:
    judged = budgets(small, network)
    assert len(judged) == 9
    assert [one["target"] for one in judged if not one["met"]] == []
    assert sum(one.facts["times"] for one in network if one.passes == FORWARD) == 53


@pytest.mark.usefixtures("cp")
def test_depthwise_layers_of_real_networks() -> None:
    found = convolutions([depthwise(112, 32, 3, batch=32), depthwise(14, 576, 3, 2, batch=32)])
    assert max(one.facts["kernels"] for one in found if one.passes == FORWARD) <= 20


def test_the_model_is_the_data_sheet(cp: Any) -> None:
    """A square product of whole waves takes its arithmetic, a copy its bytes, a small kernel the host's time."""
    with standin.counting():
        a, b = cp.empty((128 * 132, 4096), "f"), cp.empty((4096, 128 * 10), "f")
        with standin.watch() as product:
            a @ b
        with standin.watch() as copy:
            a.copy()
        with standin.watch() as tiny:
            cp.empty(3, "f").copy()
    flops = 2 * 128 * 132 * 4096 * 1280
    assert H200.call_of(product.kernels) == pytest.approx(flops / (0.78 * 67e12) + 10e-6)
    assert H200.call_of(copy.kernels) == pytest.approx(2 * a.nbytes / (0.75 * 4.8e12) + 10e-6)
    assert H200.call_of(tiny.kernels) == pytest.approx(8e-6 + 10e-6)


def test_every_pass_is_counted(network: list[Measurement]) -> None:
    assert {one.passes for one in network} == set(PASSES)
    assert total(network, "kernels") == sum(total(network, "kernels", passes) for passes in PASSES)
