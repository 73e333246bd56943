"""Operations in long double, by the tap: what float64 can be held against, and anything large."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = np.ndarray
PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
FINER = bool(np.finfo(np.longdouble).eps < 2.0**-60)  # than float64: not on every machine


def wide(array: np.ndarray) -> np.ndarray:
    """Convert to long double, real or complex."""
    return array.astype(np.clongdouble if array.dtype.kind == "c" else np.longdouble)


def convolve(
    x: np.ndarray, w: np.ndarray, dz: np.ndarray | None = None, pads: Any = 0, mode: str = "zeros"
) -> dict[str, np.ndarray]:
    """Give z, and with dz also dx and dw; channels last, stride 1; one filter for each channel if w has depth 1."""
    rank = w.ndim - 2
    pairs = [(pads, pads)] * rank if isinstance(pads, int) else list(pads)
    x, w = wide(x), wide(w)
    depthwise = w.shape[-2] == 1 < x.shape[-1]
    padded = np.pad(x, [(0, 0), *pairs, (0, 0)], mode=PAD[mode])
    out = tuple(n - k + 1 for n, k in zip(padded.shape[1:-1], w.shape[:rank], strict=True))
    z = np.zeros((x.shape[0], *out, w.shape[-1]), x.dtype)
    results = {"z": z}
    if dz is not None:
        dz = wide(dz)
        back, dw = np.zeros_like(padded), np.zeros_like(w)
    for tap in itertools.product(*map(range, w.shape[:rank])):
        index = (slice(None), *(slice(t, t + o) for t, o in zip(tap, out, strict=True)))
        part, factor = padded[index], w[tap]
        z += part * factor[0] if depthwise else part @ factor
        if dz is None:
            continue
        back[index] += dz * factor[0].conj() if depthwise else dz @ factor.conj().T
        axes = list(range(rank + 1))
        if depthwise:
            dw[tap] = (part.conj() * dz).sum(axis=tuple(axes))
        else:
            dw[tap] = np.tensordot(part.conj(), dz, (axes, axes))
    if dz is not None:
        results |= {"dx": unpad(back, x.shape, pairs, mode), "dw": dw}
    return results


def unpad(padded: np.ndarray, shape: tuple[int, ...], pairs: list[Any], mode: str) -> np.ndarray:
    """Add the gradient of each padded pixel to the one that it repeats."""
    for axis, (before, after) in enumerate(pairs, start=1):
        n = shape[axis]
        lead = (slice(None),) * axis
        total = padded[(*lead, slice(before, before + n))].copy()
        if mode != "zeros":
            for place, source in enumerate(np.pad(np.arange(n), (before, after), mode=PAD[mode])):
                if not before <= place < before + n:
                    total[(*lead, source)] += padded[(*lead, place)]
        padded = total
    return padded


def each_tap(
    out: tuple[int, ...], kernel: Any, stride: Any, dilation: Any
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Give each tap with its pixels in a padded image."""
    for tap in itertools.product(*map(range, kernel)):
        yield (
            tap,
            (
                slice(None),
                *(
                    slice(t * d, t * d + (o - 1) * s + 1, s)
                    for t, d, o, s in zip(tap, dilation, out, stride, strict=True)
                ),
            ),
        )


def per_axis(value: Any, rank: int) -> tuple[Any, ...]:
    """Repeat a number for each axis."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


def pooled_gradient(
    dy: Array,
    x: Array,
    window: Any,
    share: Callable[[list[Array], list[Array]], list[Array]],
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Array:
    """Spread what `share` makes of dy for each tap; it gets the taps' pixels, and whether they lie in the padding."""
    rank, out = x.ndim - 2, dy.shape[1:-1]
    kernel, spread = per_axis(window, rank), per_axis(dilation, rank)
    step = kernel if stride is None else per_axis(stride, rank)
    pads = [(p, p) if isinstance(p, int) else p for p in per_axis(padding, rank)]
    ends = [(o - 1) * s + d * (k - 1) + 1 for o, s, d, k in zip(out, step, spread, kernel, strict=True)]
    sizes = [max(n + sum(p), e) for n, p, e in zip(x.shape[1:-1], pads, ends, strict=True)]
    inside = (slice(None), *(slice(a, a + n) for (a, _), n in zip(pads, x.shape[1:-1], strict=True)))
    pixels = np.full((x.shape[0], *sizes, x.shape[-1]), -np.inf, np.longdouble)
    pixels[inside] = x.real
    where = np.full((1, *sizes, 1), 2)  # 0 inside, 1 in the padding, 2 beyond
    where[(slice(None), *(slice(0, n + sum(p)) for n, p in zip(x.shape[1:-1], pads, strict=True)))] = 1
    where[inside] = 0
    taps = [index for _, index in each_tap(out, kernel, step, spread)]
    shares = share([pixels[index] for index in taps], [where[index] for index in taps])
    back = np.zeros(pixels.shape, shares[0].dtype)
    for index, part in zip(taps, shares, strict=True):
        back[index] += part
    return back[inside]


def max_gradient(dy: Array, x: Array, window: Any, ties: str, **options: Any) -> Array:
    """Give the gradient of max pooling."""

    def share(pixels: list[Array], where: list[Array]) -> list[Array]:
        hit = np.stack(pixels) == np.max(np.stack(pixels), axis=0)
        if ties == "first":
            hit &= hit.cumsum(axis=0) == 1
        count = hit.sum(axis=0).astype(np.longdouble) if ties == "split" else 1
        return [np.where(own, wide(dy), 0) / count for own in hit]

    return pooled_gradient(dy, x, window, share, **options)


def mean_gradient(dy: Array, x: Array, window: Any, count_include_pad: bool = True, **options: Any) -> Array:
    """Give the gradient of average pooling."""

    def share(pixels: list[Array], where: list[Array]) -> list[Array]:
        count = sum((place <= count_include_pad).astype(np.longdouble) for place in where)
        return [wide(dy) / np.maximum(count, 1)] * len(where)

    return pooled_gradient(dy, x, window, share, **options)


def means(x: Array, out: tuple[int, ...], window: Any, count_include_pad: bool, **options: Any) -> Array:
    """Give the means of a real image's windows."""
    found = []

    def share(pixels: list[Array], where: list[Array]) -> list[Array]:
        count = sum((place <= count_include_pad).astype(np.longdouble) for place in where)
        total = sum(np.where(place == 0, own, 0) for own, place in zip(pixels, where, strict=True))
        found.append(total / np.maximum(count, 1))
        return [found[0]] * len(where)

    pooled_gradient(np.zeros(out), x, window, share, **options)
    return found[0]


def transposed(x: Array, w: Array, b: Array | None, out: tuple[int, ...], **options: Any) -> Array:
    """Give the transposed convolution, of `out` pixels."""
    rank, groups = x.ndim - 2, options.get("groups", 1)
    step, spread = (per_axis(options.get(key, 1), rank) for key in ("stride", "dilation"))
    pads = per_axis(options.get("padding", 0), rank)
    size = [
        max((n - 1) * s + d * (k - 1) + 1, p + o)
        for n, s, d, k, p, o in zip(x.shape[1:-1], step, spread, w.shape, pads, out, strict=False)
    ]
    x, w = wide(x), wide(w)
    depth, each = w.shape[-2], x.shape[-1] // groups
    z = np.zeros((x.shape[0], *size, depth * groups), x.dtype)
    for tap, index in each_tap(x.shape[1:-1], w.shape[:rank], step, spread):
        for g in range(groups):
            own = slice(g * each, (g + 1) * each)
            z[(*index, slice(g * depth, (g + 1) * depth))] += x[..., own] @ w[tap][:, own].T
    z = z[(slice(None), *(slice(p, p + o) for p, o in zip(pads, out, strict=True)))]
    return z if b is None else z + wide(b)


def ratio(got: np.ndarray, exact: np.ndarray, bound: np.ndarray) -> float:
    """Give the largest error over its bound; infinity if an error is beyond, also where a result is not finite."""
    got, bound = wide(got), bound.astype(np.longdouble)
    assert got.shape == exact.shape == bound.shape
    assert not np.isnan(bound).any()
    with np.errstate(all="ignore"):
        error = abs(got - exact)
        found = np.where(np.isinf(bound) | (error == 0), 0, error / bound)
    return float(np.max(np.where(np.isnan(found), np.inf, found), initial=0))
