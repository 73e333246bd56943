"""`python -m bench points` runs, and what it measures is Winograd's error."""

import pytest

from bench.__main__ import main
from bench.points import errors, symmetric
from xpconv.algorithms.winograd import POINTS


def test_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["points", "--quick"]) == 0
    text = capsys.readouterr().out
    assert text.count("(taken)") == 8
    assert "F(4, 3)" in text


def test_the_taken_points_are_better_than_the_textbook_s() -> None:
    taken, textbook = (errors(6, 3, p, 8, 256, 0)[0] for p in (POINTS[6], symmetric("1 2")))
    assert 1e-7 < taken < 4e-6
    assert taken < textbook / 2
