"""Hold every competitor's results against exact ones before any of them is timed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import xpconv as xc
from bench.course_loops import CourseLoops, Part
from bench.errors import ResultError
from bench.layers import Array, Data, Layer
from bench.onnx_peer import OnnxPeer
from bench.torch_peer import TorchPeer

FLOAT32 = 1e-3  # no bound: larger than rounding can be, smaller than any mistake that is worth finding
FLOAT64 = 1e-10


@dataclass(frozen=True)
class Errors:
    """Largest error over the largest exact value, of the result and of the three gradients, by competitor."""

    forward: dict[str, float]
    both: dict[str, float]
    over_bound: float  # xpconv's largest error over `xpconv.error_bound`, element by element
    exact: str  # what it was compared with


def relative(got: Array, exact: Array) -> float:
    """Give the largest error over the largest exact value."""
    return float(np.max(np.abs(got - exact)) / np.max(np.abs(exact)))


def worst(got: tuple[Array, ...], exact: tuple[Array, ...]) -> float:
    """Give the greatest of several relative errors."""
    return max(relative(a, b) for a, b in zip(got, exact, strict=True))


def _demand(layer: Layer, who: str, error: float, tolerance: float) -> float:
    if not error <= tolerance:  # NaN is wrong too
        raise ResultError(f"{layer.name}: {who} is off by {error:.2g}, more than {tolerance:.2g}; nothing was timed")
    return error


def check(layer: Layer, data: Data, part: Part, torch: Any, onnx: OnnxPeer | None = None) -> Errors:
    """Compare the competitors with PyTorch in double precision, and all with the course's loops on their part.

    Without PyTorch the loops alone, in double precision, say what is exact.
    """
    z = xc.conv(data.x, data.w, data.b, **layer.keywords)
    gradients = xc.conv_vjp(data.dz, data.x, data.w, **layer.keywords)
    bound = xc.error_bound(data.x, data.w, data.b, **layer.keywords)

    loops = CourseLoops(layer, data, part, np.float64)
    loops.both()
    z_part, gradients_of_part = loops.z[part.index], loops.gradients()
    dz_part = np.zeros_like(data.dz)
    dz_part[part.index] = data.dz[part.index]
    got_part = xc.conv_vjp(dz_part, data.x, data.w, **layer.keywords)
    on_part = relative(z[part.index], z_part), worst(got_part, gradients_of_part)
    if torch is None:
        forward, both = {"xpconv": on_part[0]}, {"xpconv": on_part[1]}
        over_bound = float(np.max(np.abs(z[part.index] - z_part) / bound[part.index]))
        exact = "the course's loops in float64, on a part of the output"
    else:
        z_exact, gradients_exact = TorchPeer(torch, layer, data, "contiguous", "float64").results()
        z_torch, gradients_torch = TorchPeer(torch, layer, data, "channels_last").results()
        _demand(layer, "the course's loop in float64", relative(z_part, z_exact[part.index]), FLOAT64)
        forward = {"xpconv": relative(z, z_exact), "torch": relative(z_torch, z_exact)}
        both = {"xpconv": worst(gradients, gradients_exact), "torch": worst(gradients_torch, gradients_exact)}
        over_bound = float(np.max(np.abs(z - z_exact) / bound))
        exact = "PyTorch in float64"
    _demand(layer, "xpconv's result beside the course's loops", on_part[0], FLOAT32)
    _demand(layer, "xpconv's gradient beside the course's loops", on_part[1], FLOAT32)
    if onnx is not None:
        forward["onnx"] = relative(onnx.result()[part.index], z_part)
    for name in forward:
        _demand(layer, f"the result of {name}", forward[name], FLOAT32)
    for name in both:
        _demand(layer, f"a gradient of {name}", both[name], FLOAT32)
    _demand(layer, "xpconv's result, as a part of its bound,", over_bound, 1.0)
    return Errors(forward, both, over_bound, exact)
