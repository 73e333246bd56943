"""What a network says of itself, and how records show themselves in a notebook."""

from html.parser import HTMLParser

import numpy as np
import pytest

import xpconv as xc
from xpconv.nn import AvgPool, Conv, Dense, Flatten, ReLU, Sequential, course_network


def test_counts_of_a_network_by_hand():
    found = course_network(10, features=(4, 8)).summary((8, 8, 1))
    assert [layer.shape for layer in found.layers] == [
        (8, 8, 4),
        (8, 8, 4),
        (4, 4, 4),
        (4, 4, 8),
        (4, 4, 8),
        (2, 2, 8),
        (32,),
        (10,),
    ]
    assert [layer.parameters for layer in found.layers] == [40, 0, 0, 296, 0, 0, 0, 330]
    assert [layer.multiplications for layer in found.layers] == [64 * 36, 0, 0, 16 * 288, 0, 0, 0, 320]
    assert found.parameters == 666
    assert found.size == 4 * (256 + 256 + 64 + 128 + 128 + 32 + 32 + 10)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_groups_strides_and_layouts(layout):
    shape = (9, 8, 4) if layout == "channels_last" else (4, 9, 8)
    options = {"stride": 2, "padding": "same", "groups": 2, "layout": layout}
    (layer,) = Sequential((Conv(6, (3, 2), **options),)).summary(shape, dtype="float64").layers
    assert layer.shape == ((5, 4, 6) if layout == "channels_last" else (6, 5, 4))
    assert layer.multiplications == 5 * 4 * 6 * (3 * 2 * 2)
    assert layer.size == 5 * 4 * 6 * 8
    plan = xc.explain((1, *shape), (3, 2, 2, 6) if layout == "channels_last" else (6, 2, 3, 2), **options)
    assert plan.flops == 2 * layer.multiplications


def test_a_layer_of_somebody_elses_may_say_nothing():
    class Scale:
        def init(self, rng, input_shape, dtype="float32"):
            return {"factor": np.ones((), dtype=dtype)}

        def forward(self, params, x):
            return params["factor"] * x, x

        def backward(self, params, cache, dy):
            return params["factor"] * dy, {"factor": (cache * dy).sum()}

    first, *_ = Sequential((Scale(), Flatten(), Dense(2))).summary((2, 3)).layers
    assert (first.name, first.kind, first.parameters, first.multiplications) == ("scale1", "Scale", 1, 0)


class Cells(HTMLParser):
    """The texts of a table's cells; fails where a tag is not closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.found = [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag in ("td", "th"):
            self.found.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if set(self.open) & {"td", "th"}:
            self.found[-1] += data


def test_a_summary_in_a_notebook_has_what_it_prints():
    found = Sequential((Conv(4, 3), ReLU(), AvgPool(2), Flatten(), Dense(3))).summary((8, 8, 1))
    printed = [row.split("  ") for row in str(found).splitlines()[1:]]
    assert [cell.strip() for row in printed for cell in row if cell.strip()] == list(
        filter(None, Cells(found._repr_html_()).found)
    )


@pytest.mark.parametrize("of", ["conv", "input_grad", "weight_grad"])
def test_a_plan_in_a_notebook_has_what_it_prints(of):
    plan = xc.explain((8, 28, 28, 64), (3, 3, 64, 64), padding=1, stride=2, of=of)
    cells = Cells(plan._repr_html_()).found
    assert cells
    for cell in cells:
        assert cell in str(plan)
    if of == "conv":
        assert f"<strong>{plan.algorithm}</strong>" in plan._repr_html_()


def test_what_a_cell_holds_is_text():
    from xpconv._html import table

    assert "&lt;b&gt;" in table(["<b>"], [["a & b"]], caption="<i>")
    assert Cells(table(["<b>"], [["a & b"]])).found == ["<b>", "a & b"]
