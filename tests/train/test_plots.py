"""The pictures of a training run."""

import numpy as np
import pytest

from xpconv._train import plots


def test_words_above_small_shares_stay_in_the_panel(monkeypatch):
    """Of many classes each has few per cent."""
    pytest.importorskip("matplotlib", reason="the pictures need matplotlib")
    drawn = []
    monkeypatch.setattr(plots, "_png", drawn.append)
    plots.features(np.zeros((4, 4, 1)), {"conv1": np.ones((4, 4, 2)), "dense1": np.zeros(40)}, 0, 39)
    (panel,) = [axes for axes in drawn[0].subfigs[0].axes if axes.texts]
    assert len(panel.texts) == 2
    assert all(text.get_position()[1] < panel.get_ylim()[1] for text in panel.texts)
