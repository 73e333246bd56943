"""``python -m bench grad``: the input gradient and the weight gradient, each alone, beside PyTorch's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import xpconv as xc
from bench import contest, plot
from bench.arguments import add_common
from bench.check import FLOAT32, relative
from bench.contest import XPCONV, Contest, Outcome
from bench.conv import add_set, chosen_layers
from bench.errors import ResultError
from bench.layers import Array, Data, Layer, draw
from bench.session import Session, opened
from bench.torch_peer import FORMATS, tensor

HELP = "time the two gradients of convolutions, each alone, beside PyTorch"
INPUT, WEIGHT = "input gradient", "weight gradient"
NOTES = (
    "PyTorch: aten.convolution_backward with a mask of one output, the faster of channels_last and contiguous "
    "(* contiguous); padding that differs between the sides is applied to its input beforehand, for nothing",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_common(parser)
    add_set(parser)


def torch_gradients(torch: Any, layer: Layer, data: Data, form: str) -> dict[str, Callable[[], Any]]:
    """Give PyTorch's two gradients as calls, channels first in one memory format."""
    (top, bottom), (left, right) = layer.pads
    x, dz = tensor(torch, data.x, (0, 3, 1, 2), form), tensor(torch, data.dz, (0, 3, 1, 2), form)
    w = tensor(torch, data.w, (3, 2, 0, 1), form)
    padding = [top, left]
    if top != bottom or left != right:
        x, padding = torch.nn.functional.pad(x, (left, right, top, bottom)), [0, 0]

    def run(mask: list[bool]) -> Any:
        return torch.ops.aten.convolution_backward(
            dz, x, w, [layer.filters], [layer.stride] * 2, padding, [1, 1], False, [0, 0], layer.groups, mask
        )

    return {INPUT: lambda: run([True, False, False])[0], WEIGHT: lambda: run([False, True, False])[1]}


def _check(layer: Layer, passes: str, got: Array, found: Any) -> None:
    if passes == INPUT:
        (top, _), (left, _) = layer.pads
        exact = found.permute(0, 2, 3, 1).numpy()
        if exact.shape != got.shape:
            exact = exact[:, top : top + got.shape[1], left : left + got.shape[2]]
    else:
        exact = found.permute(2, 3, 1, 0).numpy()
    error = relative(got, exact)
    if not error <= FLOAT32:
        raise ResultError(f"{layer.name}: the {passes} is {error:.2g} off PyTorch's; nothing was timed")


def measure(layer: Layer, session: Session) -> list[Outcome]:
    """Compare a layer's gradients with PyTorch's, then time them."""
    data, torch = draw(layer), session.peers.torch
    own: dict[str, Callable[[], Any]] = {
        INPUT: lambda: xc.conv_input_grad(data.dz, data.w, layer.x_shape, **layer.keywords),
        WEIGHT: lambda: xc.conv_weight_grad(data.dz, data.x, layer.w_shape, **layer.keywords),
    }
    peers = {} if torch is None else {form: torch_gradients(torch, layer, data, form) for form in FORMATS}
    contests = []
    for passes, call in own.items():
        if torch is not None:
            _check(layer, passes, call(), peers["contiguous"][passes]())
        rivals = {f"torch {form}": calls[passes] for form, calls in peers.items()}
        contests.append(Contest(layer.name, passes, {**rivals, XPCONV: call}))
    return contest.hold(session, contests)


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    layers, found = chosen_layers(options), []
    with opened(options, "grad", ("torch",)) as session:
        for count, layer in enumerate(layers, 1):
            session.progress(count, len(layers), layer.name)
            found += measure(layer, session)
        picture = None
        if options.png is not None:
            values = {passes: contest.ratios(found, passes) for passes in (INPUT, WEIGHT)}
            title = "Time of xpconv ÷ time of PyTorch (less is better)"
            picture = plot.bars({title: values}, "as fast as PyTorch", session.caption)
        record = {"set": options.set, **contest.records(found)}
        return session.finish(contest.table(found, {"torch": "PyTorch", XPCONV: "xpconv"}), record, NOTES, (), picture)
