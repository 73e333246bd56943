"""A loop that adds arrays of any strides, whose rows are too short for a call of NumPy's to be worth its while."""

from __future__ import annotations

from typing import Any

Array = Any


def add(place: Array, values: Array) -> None:
    """Add values to their places, both of seven axes."""
    for a in range(place.shape[0]):
        for b in range(place.shape[1]):
            for c in range(place.shape[2]):
                for d in range(place.shape[3]):
                    for e in range(place.shape[4]):
                        for f in range(place.shape[5]):
                            own, more = place[a, b, c, d, e, f], values[a, b, c, d, e, f]
                            for i in range(own.size):
                                own[i] += more[i]
