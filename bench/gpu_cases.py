"""The competitors of the GPU benchmark on one case, over rotating inputs, checked before they are timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

import xpconv as xc
from bench import im2col, jax_peer, torch_peer
from bench.contest import XPCONV
from bench.conv_report import BOTH, FORWARD
from bench.devices import FLOAT16, FLOAT32, Device, fill, upload
from bench.errors import ResultError
from bench.layers import (
    CONVNEXT,
    LARGE,
    MOBILENETV2,
    QUICK,
    QUICK_GROUPED,
    Array,
    Data,
    Layer,
    resnet50,
)
from bench.pool import POOLS, QUICK_POOLS, Pool, torch_calls
from bench.timing import Call
from bench.torch_peer import FORMATS, TorchPeer

BATCH = 32
Layers = tuple[Layer, ...]
Calls = dict[str, Sequence[Call]]
# 16-bit and TF32 products round their factors to 2^-11; sums over many products add up more than one of these
TOLERANCE = {FLOAT32: 1e-3}
COARSE = 2e-2
MOST_SETS = 8

GROUPS: dict[str, Layers] = {
    "ResNet-50": resnet50(BATCH),
    "depthwise 3×3 and 7×7": tuple(replace(layer, batch=BATCH) for layer in (*MOBILENETV2, *CONVNEXT)),
    "kernels of 31 and more": LARGE,
}
QUICK_GROUPS: dict[str, Layers] = {"ResNet-50": QUICK[:2], "depthwise 3×3 and 7×7": QUICK_GROUPED[:1]}
POOLING = tuple(replace(pool, batch=4 * pool.batch) for pool in POOLS)
QUICK_POOLING = QUICK_POOLS[:2]
EXAMPLE = Layer(2, 5, 7, 4, 8, 3, stride=2, padding=1)  # the course's
# one that is bound by arithmetic, one between, one by memory
LIMITED = (
    Layer(BATCH, 28, 28, 128, 128, 3, padding=1),
    Layer(BATCH, 56, 56, 64, 256, 1),
    replace(MOBILENETV2[2], batch=BATCH),
)
QUICK_LIMITED = (QUICK[0], QUICK[2], QUICK_GROUPED[0])


def dtype_of(mode: str) -> str:
    """Give the arrays' dtype in a mode."""
    return FLOAT16 if mode == FLOAT16 else FLOAT32


def elements(layer: Layer) -> int:
    """Count the numbers of a layer's images, kernels, bias and output."""
    return prod(layer.x_shape) + prod(layer.w_shape) + layer.filters + prod(layer.output_shape)


def sets(device: Device, once: int) -> int:
    """Give how many sets of so many bytes are needed to be larger than twice the cache."""
    return max(1, min(MOST_SETS, -(-2 * device.cache_bytes // once)))


def draw(layer: Layer) -> Data:
    """Give a layer's arrays on the host."""
    w = fill(layer.w_shape, 2) / np.float32(prod(layer.w_shape[:3]) ** 0.5)
    return Data(fill(layer.x_shape), w, fill((layer.filters,), 3), fill(layer.output_shape, 4))


def _demand(device: Device, case: str, what: str, got: Any, exact: Any, tolerance: float) -> None:
    """Compare on the device; `exact` is PyTorch's and comes without a copy."""
    xp = device.xp
    exact = xp.from_dlpack(exact.detach()).astype("float32")
    error = float(xp.max(xp.abs(got.astype("float32") - exact)) / xp.max(xp.abs(exact)))
    if not error <= tolerance:  # NaN is wrong too
        raise ResultError(f"{case}: {what} is off PyTorch's by {error:.2g}, more than {tolerance:.2g}")


def check_conv(device: Device, layer: Layer, own: Data, peer: TorchPeer, mode: str) -> None:
    """Hold xpconv's result and gradients against PyTorch's."""
    tolerance = TOLERANCE.get(mode, COARSE)
    z = xc.conv(own.x, own.w, own.b, **layer.keywords)
    dx, dw, _ = xc.conv_vjp(own.dz, own.x, own.w, **layer.keywords)
    exact_dx, exact_dw, _ = peer.both()
    device.synchronize()
    name = f"{layer.name}, {mode}"
    _demand(device, name, "the result", z, peer.forward().permute(0, 2, 3, 1), tolerance)
    _demand(device, name, "the input gradient", dx, exact_dx.permute(0, 2, 3, 1), tolerance)
    _demand(device, name, "the weight gradient", dw, exact_dw.permute(2, 3, 1, 0), 10 * tolerance)


def _conv_call(layer: Layer, own: Data, backward: bool) -> Call:
    def forward() -> Any:
        return xc.conv(own.x, own.w, own.b, **layer.keywords)

    def both() -> Any:
        return forward(), xc.conv_vjp(own.dz, own.x, own.w, **layer.keywords)

    return both if backward else forward


def _jax_call(jax: Any, layer: Layer, data: Data, dtype: str) -> Call:
    return jax_peer.conv(jax, layer, Data(*(a.astype(dtype) for a in (data.x, data.w, data.b, data.dz))))


def _im2col_call(device: Device, layer: Layer, own: Data) -> Call:
    return lambda: im2col.conv(device.xp, own.x, own.w, own.b, layer)


def conv_calls(device: Device, layer: Layer, mode: str) -> dict[str, Calls]:
    """Give the calls of a layer by pass and competitor, one for each set of inputs."""
    dtype, data = dtype_of(mode), draw(layer)
    itemsize = np.dtype(dtype).itemsize
    count = sets(device, itemsize * elements(layer))
    owns = [Data(*(upload(device, array, dtype) for array in (data.x, data.w, data.b, data.dz))) for _ in range(count)]
    forward: Calls = {}
    both: Calls = {}
    if device.torch is not None:
        for form in FORMATS:
            peers = [TorchPeer(device.torch, layer, data, form, dtype, device.torch_device) for _ in range(count)]
            if form == "contiguous":
                check_conv(device, layer, owns[0], peers[0], mode)
            forward[f"torch {form}"] = [peer.forward for peer in peers]
            both[f"torch {form}"] = [peer.both for peer in peers]
    if device.jax is not None:
        forward["jax"] = [_jax_call(device.jax, layer, data, dtype)]
    if im2col.column_bytes(layer, itemsize) <= im2col.MOST_BYTES:
        forward["im2col"] = [_im2col_call(device, layer, own) for own in owns]
    forward[XPCONV] = [_conv_call(layer, own, False) for own in owns]
    both[XPCONV] = [_conv_call(layer, own, True) for own in owns]
    return {FORWARD: forward, BOTH: both}


def _pool_call(pool: Pool, x: Any, dy: Any, backward: bool) -> Call:
    return (lambda: (pool.forward(x), pool.backward(dy, x))) if backward else (lambda: pool.forward(x))


def pool_calls(device: Device, pool: Pool, mode: str) -> dict[str, Calls]:
    """Give the calls of a pooling by pass and competitor, one for each set of inputs."""
    dtype = dtype_of(mode)
    host = fill(pool.shape)
    x = upload(device, host, dtype)
    y = pool.forward(x)
    host_dy = fill(tuple(y.shape), 4)
    dy = upload(device, host_dy, dtype)
    count = sets(device, x.nbytes + y.nbytes)
    forward: Calls = {}
    both: Calls = {}
    if device.torch is not None:
        for form in FORMATS:
            peers = [_torch_pool(device, pool, host, host_dy, dtype, form) for _ in range(count)]
            forward[f"torch {form}"] = [peer[FORWARD] for peer in peers]
            both[f"torch {form}"] = [peer[BOTH] for peer in peers]
        device.synchronize()
        tolerance = TOLERANCE.get(mode, COARSE)
        _demand(device, pool.name, "the result", y, peers[0][FORWARD]().permute(0, 2, 3, 1), tolerance)
        exact = peers[0][BOTH]()[0].permute(0, 2, 3, 1)
        _demand(device, pool.name, "the gradient", pool.backward(dy, x), exact, tolerance)
    inputs = [(x, dy), *((x.copy(), dy.copy()) for _ in range(count - 1))]
    forward[XPCONV] = [_pool_call(pool, *one, False) for one in inputs]
    both[XPCONV] = [_pool_call(pool, *one, True) for one in inputs]
    return {FORWARD: forward, BOTH: both}


def _torch_pool(device: Device, pool: Pool, x: Array, dy: Array, dtype: str, form: str) -> dict[str, Callable[[], Any]]:
    return torch_calls(device.torch, pool, x, dy, dtype, device.torch_device, form)


def example_calls(device: Device) -> Calls:
    """Give the forward call of the course's example, by itself and waited for."""
    data = draw(EXAMPLE)
    own = Data(*(upload(device, array, FLOAT32) for array in (data.x, data.w, data.b, data.dz)))
    call = _conv_call(EXAMPLE, own, False)

    def waited() -> None:
        call()
        device.synchronize()

    calls: Calls = {XPCONV: [call], "xpconv, waited for": [waited]}
    if device.torch is not None:
        peer = TorchPeer(device.torch, EXAMPLE, data, torch_peer.FORMATS[1], FLOAT32, device.torch_device)
        calls["torch contiguous"] = [peer.forward]
    return calls


def floors(layer: Layer, mode: str, rates: dict[str, float]) -> dict[str, float]:
    """Count a forward pass's bytes, each array once, and operations; give them with the least seconds of both."""
    amount = {"bytes": float(np.dtype(dtype_of(mode)).itemsize * elements(layer)), "flops": 1e9 * layer.gflop}
    seconds = {f"{name}_seconds": amount[name] / rates[name] for name in amount}
    return {**amount, **seconds, "floor": max(seconds.values())}
