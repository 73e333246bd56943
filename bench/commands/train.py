"""``python -m bench train``: one training step, forward, loss, backward and update, beside the same in PyTorch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.arguments import add_common
from bench.contest.contest import Contest
from bench.contest.session import opened
from bench.errors import ResultError
from bench.layers import Array
from bench.measure.measurement import XPCONV, Measurement
from bench.peers.peer import FORMATS
from bench.report import charts, goals
from bench.report.columns import RATIO, lay_out, times
from bench.report.report import Report, deliver
from xpconv import nn

HELP = "time a training step of the course's network and of the digits' beside PyTorch"
STEP = "step"
RATE = 0.002
TOLERANCE = 1e-3  # of the loss after three steps, of which only the first sees equal weights to the bit
NOTES = (
    "network: conv 3×3 32, ReLU, max pool 2, conv 3×3 64, ReLU, max pool 2, flatten, dense; cross-entropy and Adam; "
    "the same weights and images for all, float32",
    "PyTorch: torch.nn and torch.optim.Adam, the faster of channels_last and contiguous (* contiguous)",
)


@dataclass(frozen=True)
class Task:
    """A network's input and its classes."""

    title: str
    batch: int
    size: int
    channels: int
    classes: int

    @property
    def name(self) -> str:
        """What the table says."""
        return f"{self.title} {self.batch}×{self.size}×{self.size}×{self.channels}"


COURSE = Task("course's network", 32, 64, 3, 6)
DIGITS = Task("digits network", 32, 8, 1, 10)
QUICK_TASKS = (Task("course's network", 4, 8, 3, 6), Task("digits network", 4, 8, 1, 10))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_common(parser)


class Own:
    """The step with xpconv.nn; each call moves the weights on."""

    def __init__(self, task: Task, images: Array, labels: Array) -> None:
        self.model, self.loss, self.optimizer = nn.course_network(task.classes), nn.SoftmaxCrossEntropy(), nn.Adam(RATE)
        self.images, self.labels = images, labels
        self.params = self.model.init(np.random.default_rng(0), images.shape[1:])
        self.state = self.optimizer.init(self.params)

    def __call__(self) -> float:
        """Run a step and read the loss before it."""
        logits, caches = self.model.forward(self.params, self.images)
        loss, cache = self.loss.forward(logits, self.labels)
        gradients = self.model.gradients(self.params, caches, self.loss.backward(cache))
        self.params, self.state = self.optimizer.update(self.params, gradients, self.state)
        return float(loss)


class Torch:
    """The same step with torch.nn, from the weights that xpconv.nn draws."""

    def __init__(self, torch: Any, own: Own, form: str) -> None:
        self.torch = torch
        layers, params = torch.nn, own.params
        first, second = params["conv1.weight"].shape, params["conv2.weight"].shape
        features, classes = params["dense1.weight"].shape
        convolutions = [layers.Conv2d(*shape[2:], 3, padding="same") for shape in (first, second)]
        blocks = [layer for one in convolutions for layer in (one, layers.ReLU(), layers.MaxPool2d(2))]
        self.model = layers.Sequential(*blocks, layers.Flatten(), layers.Linear(features, classes))
        memory = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[form]
        self.model = self.model.to(memory_format=memory)
        self._take(params)
        # (N, H, W, C) -> (N, C, H, W)
        self.images = torch.from_numpy(own.images).permute(0, 3, 1, 2).clone(memory_format=memory)
        self.labels = torch.from_numpy(own.labels.astype(np.int64))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=RATE)
        self.loss = layers.CrossEntropyLoss()

    def _take(self, params: dict[str, Any]) -> None:
        side = int((params["dense1.weight"].shape[0] // params["conv2.weight"].shape[3]) ** 0.5)
        # features flattened as (H, W, C) -> (C, H, W)
        dense = params["dense1.weight"].reshape(side, side, -1, params["dense1.weight"].shape[1])
        values = {
            0: (params["conv1.weight"].transpose(3, 2, 0, 1), params["conv1.bias"]),
            3: (params["conv2.weight"].transpose(3, 2, 0, 1), params["conv2.bias"]),
            7: (dense.transpose(3, 2, 0, 1).reshape(dense.shape[3], -1), params["dense1.bias"]),
        }
        with self.torch.no_grad():
            for place, (weight, bias) in values.items():
                self.model[place].weight.copy_(self.torch.from_numpy(np.ascontiguousarray(weight)))
                self.model[place].bias.copy_(self.torch.from_numpy(bias))

    def __call__(self) -> float:
        """Run a step and read the loss before it."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.model(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def steps(task: Task, torch: Any) -> dict[str, Callable[[], Any]]:
    """Make the steps by competitor, after a check that the first losses agree."""
    rng = np.random.default_rng(1)
    images = rng.random((task.batch, task.size, task.size, task.channels), np.float32)
    labels = rng.integers(0, task.classes, task.batch).astype(np.int32)
    own = Own(task, images, labels)
    calls: dict[str, Callable[[], Any]] = {}
    if torch is not None:
        calls = {f"torch {form}": Torch(torch, own, form) for form in FORMATS}
    calls[XPCONV] = own
    losses = {name: [call() for _ in range(3)] for name, call in calls.items()}
    for name, values in losses.items():
        if not np.allclose(values, losses[XPCONV], rtol=TOLERANCE, atol=0):
            raise ResultError(f"{task.name}: the losses of {name} are {values}, xpconv's {losses[XPCONV]}")
    return calls


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    found: list[Measurement] = []
    with opened(options, "train", ("torch",)) as session:
        torch = session.peer("torch")
        for task in session.each(QUICK_TASKS if options.quick else (COURSE, DIGITS)):
            calls = steps(task, None if torch is None else torch.module)
            found += session.hold([Contest(task.name, STEP, calls, rivals=session.rivals)])
        goal = goals.Goal("a training step of the course's network, 32×64×64×3, against PyTorch", worst=1.0)
        judged = [goals.judge(goal, {found[0].case: found[0].ratio})]
        shown = [*times(session.titles), RATIO]
        title = "A training step: time of xpconv ÷ time of PyTorch (less is better)"
        panel = charts.Bars(title, charts.ratios(found), "as fast as PyTorch")
        table = lay_out(found, shown)
        return deliver(
            session, Report(found, [table], shown, NOTES, judged, {}, lambda caption: charts.bars([panel], caption))
        )
