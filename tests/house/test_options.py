"""`set_options`: at once and for a block, and what it refuses."""

import pytest

import xpconv as xc

MIB = 1 << 20


def test_options_are_put_back() -> None:
    """At once, for a block, nested, and after an exception; what a block does not name it leaves alone."""
    shapes = (64, 100, 100, 16), (3, 3, 16, 16)

    def workspace() -> int:
        return xc.explain(*shapes, dtype="float32").workspace

    before = workspace()
    with xc.set_options(max_workspace=2 * MIB):
        inside = workspace()
        assert inside <= 2 * MIB
        with xc.set_options(threads=1):
            assert workspace() <= 2 * MIB
        with pytest.raises(ZeroDivisionError), xc.set_options(max_workspace=4 * MIB):
            raise ZeroDivisionError
        assert workspace() == inside
    assert workspace() == before


def test_set_options_changes_the_default_at_once() -> None:
    before = repr(xc.set_options())
    with xc.set_options(max_workspace=64 * MIB):
        xc.set_options(max_workspace=2 * MIB)
        assert xc.explain((64, 100, 100, 16), (3, 3, 16, 16), dtype="float32").workspace <= 2 * MIB
    assert repr(xc.set_options()) == before


def test_bad_options() -> None:
    for options, pattern in (
        ({"threads": 0}, r"^set_options: threads is at least 1; got 0"),
        ({"threads": 1.5}, r"^set_options: threads is an integer; got 1\.5"),
        ({"max_workspace": -1}, r"^set_options: max_workspace is at least \d+; got -1"),
        ({"max_workspace": "64 MiB"}, r"^set_options: max_workspace is an integer"),
    ):
        before = repr(xc.set_options())
        with pytest.raises(ValueError, match=pattern):
            xc.set_options(**options)
        assert repr(xc.set_options()) == before
