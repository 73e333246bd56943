"""A library in which one function is wrong."""

import pytest

import xpconv


@pytest.fixture
def failing(monkeypatch):
    good = xpconv.pad
    monkeypatch.setattr(xpconv, "pad", lambda *a, **o: good(*a, **o) + 1)
