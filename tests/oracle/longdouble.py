"""A convolution and its gradients in long double, by the tap: what float64 can be held against, and anything large."""

import itertools
from typing import Any

import numpy as np

PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
FINER = np.finfo(np.longdouble).eps < 2.0**-60  # than float64: not on every machine


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


def ratio(got: np.ndarray, exact: np.ndarray, bound: np.ndarray) -> float:
    """Give the largest error over its bound; infinity if an error is beyond, also where a result is not finite."""
    got, bound = wide(got), bound.astype(np.longdouble)
    assert got.shape == exact.shape == bound.shape
    assert not np.isnan(bound).any()
    with np.errstate(all="ignore"):
        error = abs(got - exact)
        found = np.where(np.isinf(bound) | (error == 0), 0, error / bound)
    return float(np.max(np.where(np.isnan(found), np.inf, found), initial=0))
