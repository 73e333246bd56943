"""What a training run is made of and what it gives: data, settings, epochs, the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from xpconv._arrays.types import HostArray
from xpconv._shapes.keywords import keywords_of, meant
from xpconv.nn.checks import Params, positive_int, positive_number
from xpconv.nn.optimizers import SGD, Adam, Optimizer

DEFAULT_LR = {"adam": 0.002, "sgd": 0.05}
PURPOSES = ("split", "weights", "order")


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one line."""


@keywords_of
@dataclass(frozen=True)
class Dataset:
    """Images and labels on the host: a training part and a held-out part.

    Parameters
    ----------
    images : numpy.ndarray
        ``(N, *shape of one input)``, of the dtype that is computed with: float32, as `fit` draws its weights.
    labels : numpy.ndarray
        (N,), integers from 0.
    held_out_images, held_out_labels : numpy.ndarray
        As the others; at least one, never trained on, only looked at.
    """

    images: HostArray
    labels: HostArray
    held_out_images: HostArray
    held_out_labels: HostArray


@keywords_of
@dataclass(frozen=True)
class Settings:
    """What a run is made of; the same settings and data give the same bits on one library and machine.

    Parameters
    ----------
    epochs : int, default 20
        Passes over the training part.
    batch_size : int, default 32
        Images per step; the last batch of an epoch may be smaller.
    lr : float, optional
        Step size; 0.002 for Adam and 0.05 for SGD if it is None.
    seed : int, default 0
        Decides the held-out part, the first weights and the order of the images.
    optimizer : {"adam", "sgd"}, default "adam"
        SGD has momentum 0.9.

    Raises
    ------
    TypeError
        An option is not a number.
    ValueError
        An option is out of its range.
    """

    epochs: int = 20
    batch_size: int = 32
    lr: float | None = None
    seed: int = 0
    optimizer: Literal["adam", "sgd"] = "adam"

    def __post_init__(self) -> None:
        positive_int("Settings", "epochs", self.epochs)
        positive_int("Settings", "batch_size", self.batch_size)
        if self.seed < 0:
            raise ValueError(f"Settings: seed is at least 0; got {self.seed}")
        if self.optimizer not in DEFAULT_LR:
            hint = meant(self.optimizer, DEFAULT_LR)
            raise ValueError(f"Settings: optimizer is one of {', '.join(DEFAULT_LR)}; got {self.optimizer!r}{hint}")
        positive_number("Settings", "lr", self.step_size)

    @property
    def step_size(self) -> float:
        """The step size that is used."""
        return DEFAULT_LR[self.optimizer] if self.lr is None else self.lr

    def generator(self, purpose: str) -> np.random.Generator:
        """Start the stream of random numbers for one purpose, so that no purpose shifts another's numbers."""
        return np.random.default_rng([self.seed, PURPOSES.index(purpose)])

    def make_optimizer(self) -> Optimizer:
        """Build the optimiser that these settings name."""
        return SGD(lr=self.step_size) if self.optimizer == "sgd" else Adam(lr=self.step_size)


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave; its own loss and accuracy are averages taken while the weights move."""

    epoch: int
    loss: float
    accuracy: float
    held_out_loss: float
    held_out_accuracy: float
    images: int
    seconds: float


@dataclass(frozen=True)
class Result:
    """What a run leaves: parameters of the library, and its history on the host."""

    params: Params
    epochs: list[Epoch]
    first_losses: list[float]
    predictions: HostArray
    accuracy: float
    seconds: float
    interrupted: bool
    trouble: str = ""  # why a cluster's run ended early, in one line; what was learned up to the last epoch is here


class Progress(Protocol):
    """What `fit` reports to."""

    def batch(self, epoch: int, images: int, loss: float, accuracy: float, rate: float) -> None:
        """Take an epoch's images so far, their average loss and accuracy, and images per second."""
        ...

    def epoch(self, record: Epoch) -> None:
        """Take a finished epoch."""
        ...
