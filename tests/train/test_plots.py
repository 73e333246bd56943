"""The pictures of a training run."""

import importlib

import numpy as np
import pytest

from xpconv._train import plots

pytestmark = pytest.mark.needs("matplotlib")


def test_words_above_small_shares_stay_in_the_panel(monkeypatch):
    """Of many classes each has few per cent."""
    drawn = []
    monkeypatch.setattr(plots, "_png", drawn.append)
    plots.features(np.zeros((4, 4, 1)), {"conv1": np.ones((4, 4, 2)), "dense1": np.zeros(40)}, 0, 39)
    (panel,) = [axes for axes in drawn[0].subfigs[0].axes if axes.texts]
    assert len(panel.texts) == 2
    assert all(text.get_position()[1] < panel.get_ylim()[1] for text in panel.texts)


def test_words_stand_above_the_bars_beside_them():
    figure = importlib.import_module("matplotlib.figure")
    axes = figure.Figure().subplots()
    shares = np.linspace(2, 3, 40)
    plots._bars(axes, shares, 0, 39, "dense1")
    label, prediction = (text.get_position()[1] for text in axes.texts)
    assert label > shares[8]  # which "label 2.0" reaches, written from the first bar to the right
    assert prediction > shares[39]
