"""Constants that stay on a device: how many, how large, which go first, and that what is held stays as it is."""

from typing import Any

import numpy as np
import pytest

from xpconv._arrays.kept import BLOCK, Kept


class Made:
    """Asks for arrays of so many bytes by number, and writes down what was made and how often was waited."""

    def __init__(self, kept: Kept) -> None:
        self.kept, self.made, self.waits = kept, list[int](), 0

    def ask(self, number: int, nbytes: int = BLOCK, device: str = "cuda:0") -> Any:
        def make() -> Any:
            self.made.append(number)
            return np.full(nbytes, number, np.uint8)

        def wait() -> None:
            self.waits += 1

        return self.kept.get(device, number, make, wait)


def test_an_array_is_made_once_for_each_device() -> None:
    asks = Made(Kept())
    first = asks.ask(1)
    assert asks.ask(1) is first
    assert asks.ask(1, device="cuda:1") is not first
    assert asks.made == [1, 1]
    assert asks.waits == 0
    assert asks.kept.bytes("cuda:0") == asks.kept.bytes("cuda:1") == BLOCK


@pytest.mark.parametrize("limits", [(8, 1 << 30), (1 << 30, 8 * BLOCK)], ids=["number", "bytes"])
def test_the_older_half_goes_first(limits: tuple[int, int]) -> None:
    asks = Made(Kept(*limits))
    for number in range(8):
        asks.ask(number, nbytes=BLOCK - number)  # each takes a whole block
    assert asks.waits == 0
    asks.ask(8)
    assert asks.waits == 1
    assert asks.kept.bytes("cuda:0") == 5 * BLOCK
    asks.made.clear()
    for number in (4, 5, 6, 7, 8):
        asks.ask(number)
    assert asks.made == []
    asks.ask(3)
    assert asks.made == [3]


def test_one_large_array_makes_room_for_itself() -> None:
    asks = Made(Kept(room=8 * BLOCK))
    for number in range(4):
        asks.ask(number)
    asks.ask(4, nbytes=7 * BLOCK)
    assert asks.kept.bytes("cuda:0") == 8 * BLOCK
    asks.made.clear()
    asks.ask(3)
    asks.ask(4)
    assert asks.made == []


def test_one_that_is_larger_than_all_room_is_not_kept() -> None:
    asks = Made(Kept(room=8 * BLOCK))
    asks.ask(0)
    large = asks.ask(1, nbytes=9 * BLOCK)
    assert large.nbytes == 9 * BLOCK
    assert asks.waits == 0
    asks.ask(0)
    asks.ask(1, nbytes=9 * BLOCK)
    assert asks.made == [0, 1, 1]
    assert asks.kept.bytes("cuda:0") == BLOCK


def test_an_array_that_is_held_stays_as_it_is() -> None:
    asks = Made(Kept(most=2))
    held = asks.ask(7)
    view = held[3:5]
    for number in range(100, 110):
        asks.ask(number)
    assert (held == 7).all()
    assert (view == 7).all()
    assert asks.ask(7) is not held


def test_devices_do_not_push_each_other_out() -> None:
    asks = Made(Kept(most=4))
    asks.ask(0)
    for number in range(20):
        asks.ask(number, device="cuda:1")
    asks.made.clear()
    asks.ask(0)
    assert asks.made == []
    asks.kept.clear()
    assert asks.kept.bytes("cuda:0") == 0
    asks.ask(0)
    assert asks.made == [0]
