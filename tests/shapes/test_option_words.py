"""The words that a type checker allows are those that the functions take, and their errors name them all."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from xpconv._compiled.build import installed
from xpconv._shapes import options
from xpconv.algorithms import EVERYWHERE, REGISTRY

X, W = np.ones((1, 4, 4, 1)), np.ones((3, 3, 1, 1))
Y = xc.max_pool(X, 2)
WORDS: dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]] = {
    "layout": (options.LAYOUTS, lambda word: xc.pad(X, 1, layout=word)),
    "padding_mode": (options.PADDING_MODES, lambda word: xc.conv(X, W, padding=1, padding_mode=word)),
    "mode": (options.PADDING_MODES, lambda word: xc.pad(X, 1, mode=word)),
    "padding": (options.PADDING_NAMES, lambda word: xc.conv(X, W, padding=word)),
    "algorithm": (options.ALGORITHM_NAMES, lambda word: xc.conv(X, W, algorithm=word)),
    "ties": (options.TIES, lambda word: xc.max_pool_vjp(Y, X, 2, ties=word)),
    "the course's mode": (options.POOL_MODES, lambda word: xc.pool_forward(X, {"f": 2, "stride": 2}, mode=word)),
}


@pytest.mark.parametrize("name", WORDS)
def test_every_word_is_taken(name: str) -> None:
    words, call = WORDS[name]
    assert len(words) > 1
    for word in words:
        served = word in ("auto", *EVERYWHERE) or (word == "compiled" and installed())
        if name == "algorithm" and not served:
            with pytest.raises(ValueError, match=f"^conv: algorithm '{word}': (serves .* only|needs Numba)"):
                call(word)
            continue
        call(word)


@pytest.mark.parametrize("name", WORDS)
def test_no_other_word_is_taken_and_the_error_names_them_all(name: str) -> None:
    words, call = WORDS[name]
    with pytest.raises(ValueError, match="nonsense") as caught:
        call("nonsense")
    rule = str(caught.value).partition("; got ")[0]
    assert [word for word in re.findall(r"\w+", rule) if word in words] == list(words)


def test_the_algorithms_are_those_of_the_registry() -> None:
    assert ("auto", *REGISTRY) == options.ALGORITHM_NAMES
