"""A loop of the gradient of averages along one axis, for windows too long for lists of what each pixel is the sum of.

Arrays are (A, n, B): what lies outside of the axis, the axis, and what lies inside. ``spans`` holds for each residue of
the pixels modulo the stride where its list begins, and where the last one ends; a list begins with whether sums begin
with 0, and then has the first pixel of its residue and the one after the last that a window gives to, and that window,
for pixel 0: one after another, in the order of the sum.
"""

from __future__ import annotations

from typing import Any

from xpconv._compiled.lanes import LANES, add, fill, load, store

Array = Any

PAIR = 2 * LANES


def sums(g: Array, home: Array, spans: Array, stride: int) -> None:
    """Sum up what windows give each pixel: (A, m, B) -> home (A, n, B)."""
    shares, target, size, inner = g.reshape(-1), home.reshape(-1), home.shape[1], home.shape[2]
    zero = home.dtype.type(0)
    for a in range(home.shape[0]):
        line = a * g.shape[1] * inner
        for u in range(size):
            residue, q = u % stride, u // stride
            begin, end = spans[residue] + 1, spans[residue + 1]
            to, b = (a * size + u) * inner, 0
            start = zero if spans[begin - 1] != 0 else -zero  # which leaves a -0 alone
            head = fill(home, start)
            while b + PAIR <= inner:
                s0, s1 = head, head
                for e in range(begin, end, 3):
                    if spans[e] <= q and q < spans[e + 1]:
                        spot = line + (q + spans[e + 2]) * inner + b
                        s0, s1 = add(s0, load(shares, spot)), add(s1, load(shares, spot + LANES))
                store(target, to + b, s0)
                store(target, to + b + LANES, s1)
                b += PAIR
            while b + LANES <= inner:
                s0 = head
                for e in range(begin, end, 3):
                    if spans[e] <= q and q < spans[e + 1]:
                        s0 = add(s0, load(shares, line + (q + spans[e + 2]) * inner + b))
                store(target, to + b, s0)
                b += LANES
            for c in range(b, inner):
                s = start
                for e in range(begin, end, 3):
                    if spans[e] <= q and q < spans[e + 1]:
                        s += shares[line + (q + spans[e + 2]) * inner + c]
                target[to + c] = s
