"""Exact products of integer matrices at the speed of floating-point ones.

A floating type with p bits of significand holds every integer up to 2^p, so a sum of K products of whole numbers is
exact, in any order, as long as K * max(abs(a)) * max(abs(b)) <= 2^p:

    8 bits     float32, p = 24, in stretches of at least 257 products (1,024 with a sign)
    16 bits    float64, p = 53, in stretches of at least 2^21 products
    32, 64     a = sum over i of a_i 2^(i s), pieces of s = 16 or 22 bits, so a @ b = sum over i, j of
               (a_i @ b_j) 2^((i + j) s) modulo 2^width: what is shifted out of the result is never multiplied

Each stretch is converted to integers, and those are added with wrap-around. Libraries' own integer products are loops,
some 65 times slower than NumPy's float64.
"""

from __future__ import annotations

from xpconv._arrays.arithmetic import Exact, real_types
from xpconv._arrays.dtypes import cast
from xpconv._arrays.types import Array, DType
from xpconv._shapes.geometry import Geometry
from xpconv._work.workspace import Workspace

MANY = 16  # stretches above which one in a wider type, or the library's own product, is better than many small ones


def product(work: Workspace, name: str, a: Array, b: Array, out: Array | None = None) -> Array:
    """Multiply (stacks of) matrices in the arithmetic of the workspace; the result has the dtype of the sums."""
    exact = work.arithmetic.exact
    if exact is None:
        return work.matmul(name, a, b, out)
    depth, terms = a.shape[-1], exact.terms
    real, whole = real_types(work.xp, exact)
    if exact.pieces == 1 and depth > MANY * terms and not work.traits.buffers:
        if not work.arithmetic.double:
            return work.space.matmul(cast(work.xp, a, work.sums), cast(work.xp, b, work.sums))
        real, whole, terms = work.xp.float64, work.xp.int64, terms << 29
    step = -(-depth // -(-depth // terms))  # stretches of even length
    total = None
    for start in range(0, depth, step):
        stop = min(start + step, depth)
        left, right = a[..., start:stop], b[..., start:stop, :]
        rights = [_piece(work, f"right {j}", right, j, exact, real) for j in range(exact.pieces)]
        for i in range(exact.pieces):
            part = _piece(work, "left", left, i, exact, real)
            for j in range(exact.pieces):
                shift = (i + j) * exact.bits
                if shift < exact.width:
                    found = work.matmul("real", part, rights[j])
                    total = work.add_whole(name, total, found, whole, shift, out)
    return total


def _piece(work: Workspace, name: str, array: Array, index: int, exact: Exact, real: DType) -> Array:
    """Give a piece of the numbers as floating ones; the highest keeps the sign."""
    if exact.pieces == 1:
        return cast(work.xp, array, real)
    mask = None if index == exact.pieces - 1 else (1 << exact.bits) - 1
    return work.piece(name, array, index * exact.bits, mask, real)


def scratch(exact: Exact, geometry: Geometry, elements: int, gradient: bool) -> tuple[int, int]:
    """Count the elements of work arrays that exact products need: (for each output pixel, for each worker).

    `elements` is what the algorithm holds for a pixel without them. The floating and the whole product come in both
    passes; the pieces of split numbers with the integers that they are converted from.
    """
    filters, depth = geometry.filters, min(exact.terms, geometry.products)
    split = exact.pieces > 1
    if gradient:
        return geometry.channels + split * (2 * elements + (exact.pieces + 1) * filters), 0
    left = 2 * min(depth * geometry.groups, elements)
    return geometry.channels + 2 * filters + split * left, split * (exact.pieces + 1) * depth * filters
