"""The training loop: NumPy draws weights and batches on the host, the chosen library computes."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from xpconv._arrays.types import HostArray
from xpconv._shapes.keywords import keywords
from xpconv._tools.libraries import Library
from xpconv.nn.checkpoint import Checkpoint
from xpconv.nn.checks import Array, Params, positive_int
from xpconv.nn.loss import SoftmaxCrossEntropy
from xpconv.nn.model import Sequential
from xpconv.nn.optimizers import Optimizer
from xpconv.nn.settings import Dataset, Epoch, Progress, Result, Settings, TrainingError
from xpconv.nn.shards import Cluster, ClusterError, Local, Problem, Runner, State, rows

__all__ = ["Dataset", "Epoch", "Progress", "Result", "Settings", "TrainingError", "fit"]

FIRST_LOSSES = 10
EVALUATION_BATCH = 512
# times the first batch's loss; runs on the digits that went beyond 260 times never learned anything, 35 times did
EXPLODED = 100
Client = Any  # distributed.Client, which is imported where one is asked for


class _Silent:
    """Progress that nobody watches."""

    def batch(self, epoch: int, images: int, loss: float, accuracy: float, rate: float) -> None: ...

    def epoch(self, record: Epoch) -> None: ...


@keywords
def fit(
    model: Sequential,
    dataset: Dataset,
    library: Library,
    settings: Settings,
    *,
    progress: Progress | None = None,
    stopped: Callable[[], bool] = lambda: False,
    client: Client | None = None,
    shards: int = 1,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> Result:
    """Train a model on a dataset with one library.

    Parameters
    ----------
    model : Sequential
        From images (N, H, W, C) to logits (N, classes).
    dataset : Dataset
        What to train on and what to hold out.
    library : Library
        Library and device that compute.
    settings : Settings
        Epochs, batch size, step size, seed, optimiser.
    progress : Progress, optional
        Told about every batch and every epoch.
    stopped : callable, optional
        Asked before every batch; True ends the training there, as a KeyboardInterrupt does.
    client : distributed.Client, optional
        A cluster whose workers compute the steps. The arrays of the dataset may then lie in a store (Zarr, say), of
        which each task reads its own rows.
    shards : int, default 1
        Parts of a batch, whose gradients are computed by themselves and added in a fixed order. They decide the bits;
        whether there is a cluster, and how many workers it has, does not.
    checkpoint : str or path, optional
        A ``.npz`` or ``.safetensors`` file, to which the state of the run is written after every epoch.
    resume : bool, default False
        Go on from the checkpoint, if there is one: the run then ends with the bits that it would have had.

    Returns
    -------
    Result
        The parameters after the last batch, whatever ended the training.

    Raises
    ------
    TrainingError
        The loss explodes: it is not finite, or a hundred times what the first batch had. Or the checkpoint is that of
        another run.

    Notes
    -----
    A worker that is lost in mid-run changes nothing: what it had is computed again by another. Where the cluster itself
    is lost, the result is what was learned up to the last epoch, and its `trouble` says so.

    Examples
    --------
    >>> from xpconv import nn
    >>> images, labels = np.eye(4, dtype=np.float32), np.arange(4, dtype=np.int32)
    >>> data = Dataset(images, labels, images, labels)
    >>> model = nn.Sequential((nn.Dense(4),))
    >>> fit(model, data, nn.load_library("numpy"), Settings(epochs=20, lr=0.1)).accuracy
    1.0
    """
    positive_int("fit", "shards", shards)
    loop = _Loop(model, dataset, library, settings)
    if client is not None or shards > 1:
        loop.share(model, client, shards)
    if checkpoint is not None:
        loop.keep(Checkpoint(checkpoint, model, settings, shards), resume)
    started = time.perf_counter()
    with warnings.catch_warnings():
        # NumPy warns where a run diverges; the loop says so itself, once and on every library
        warnings.filterwarnings("ignore", "overflow|invalid value", RuntimeWarning)
        interrupted = loop.run(progress or _Silent(), stopped)
        _, accuracy, predictions = loop.evaluate()
    seconds = time.perf_counter() - started
    found = loop.epochs, loop.first_losses, predictions, accuracy, seconds, interrupted, loop.trouble
    return Result(loop.params, *found)


class _Loop:
    """The state of a run, moved on batch by batch."""

    def __init__(self, model: Sequential, dataset: Dataset, library: Library, settings: Settings) -> None:
        self.dataset, self.library, self.settings = dataset, library, settings
        optimizer = settings.make_optimizer()
        self.params = model.init(settings.generator("weights"), dataset.images.shape[1:], library)
        self.state = optimizer.init(self.params)
        self.order = settings.generator("order")
        step = library.compiled(_step(model, optimizer))
        self.runner: Runner = _Whole(dataset, library, step, State(self.params, self.state))
        self.checkpoint: Checkpoint | None = None
        self.done, self.trouble = 0, ""
        self.score = library.compiled(_score(model))
        self.epochs: list[Epoch] = []
        self.first_losses: list[float] = []
        self.number, self.images, self.hits, self.loss, self.seconds = 0, 0, 0, 0.0, 0.0

    def share(self, model: Sequential, client: Any, shards: int) -> None:
        """Compute the steps in shards, here or on a cluster."""
        data = self.dataset
        problem = Problem(model, self.settings.make_optimizer(), self.library, data.images, data.labels)
        state = State(self.params, self.state)
        self.runner = Local(problem, state, shards) if client is None else Cluster(client, problem, state, shards)

    def keep(self, checkpoint: Checkpoint, resume: bool) -> None:
        """Write the state after every epoch; with `resume` begin with what is there."""
        self.checkpoint = checkpoint
        if resume and (found := checkpoint.read(self.library)) is not None:
            state, self.epochs, self.first_losses = found
            self.params, self.state, self.done = state.params, state.optimizer, len(self.epochs)
            self.runner.begin(state)
            for _ in range(self.done):
                self.order.permutation(len(self.dataset.images))

    def run(self, progress: Progress, stopped: Callable[[], bool]) -> bool:
        """Run every epoch; say whether an interrupt, or the loss of a cluster, ended the last one early."""
        try:
            for number in range(self.done + 1, self.settings.epochs + 1):
                self.epoch(number, progress, stopped)
                progress.epoch(self.record())
                if self.checkpoint is not None:
                    state = State(self.params, self.state)
                    self.checkpoint.write(self.library, state, self.epochs, self.first_losses)
        except KeyboardInterrupt:
            if self.images:
                self.settle()
                self.record()
            return True
        except ClusterError as error:
            self.trouble = str(error)
            return True
        return False

    def settle(self) -> None:
        """Take the parameters over from whoever computes the steps."""
        self.params, self.state = self.runner.settle()[:2]

    def epoch(self, number: int, progress: Progress, stopped: Callable[[], bool]) -> None:
        """Step once through the training part, in an order of its own."""
        data = self.dataset
        self.number, self.images, self.hits, self.loss, self.seconds = number, 0, 0, 0.0, 0.0
        started = time.perf_counter()
        batches = _batches(self.order.permutation(len(data.images)), self.settings.batch_size)
        for count, loss, hits in self.runner.steps(batches, stopped):
            self._add(loss, hits, count)
            self.seconds = time.perf_counter() - started
            averages = self.loss / self.images, self.hits / self.images
            progress.batch(number, self.images, *averages, self.images / self.seconds)
        self.settle()

    def record(self) -> Epoch:
        """Close the epoch, whole or not, with a look at the held-out part."""
        loss, accuracy, _ = self.evaluate()
        averages = self.loss / self.images, self.hits / self.images
        self.epochs.append(Epoch(self.number, *averages, loss, accuracy, self.images, self.seconds))
        self.images = 0
        return self.epochs[-1]

    def evaluate(self) -> tuple[float, float, HostArray]:
        """Compute the loss, the accuracy and the predictions on the held-out part."""
        data, total, predictions = self.dataset, 0.0, []
        for batch in _batches(np.arange(len(data.held_out_images)), EVALUATION_BATCH):
            images = self.library.asarray(rows(data.held_out_images, batch))
            loss, best = self.score(self.params, images, self.library.asarray(rows(data.held_out_labels, batch)))
            total += self._number(loss) * len(batch)
            predictions.append(self.library.to_numpy(best))
        predicted = np.concatenate(predictions)
        return total / len(predicted), np.mean(predicted == data.held_out_labels).item(), predicted

    def _number(self, array: Array) -> Any:
        return self.library.to_numpy(array).item()

    def _add(self, loss: float, hits: int, images: int) -> None:
        start = self.first_losses[0] if self.first_losses else math.inf
        if not math.isfinite(loss) or loss > EXPLODED * max(start, 1.0):
            grew = f", {start:.3g} at the start" if math.isfinite(start) else ""
            lr = self.settings.step_size
            raise TrainingError(
                f"the loss is {loss:.3g} in epoch {self.number}{grew}: the steps are too large; "
                f"try a step size (lr) below {lr:g}"
            )
        self.loss, self.hits, self.images = self.loss + loss * images, self.hits + hits, self.images + images
        if len(self.first_losses) < FIRST_LOSSES:
            self.first_losses.append(loss)


class _Whole:
    """Steps in this process, of a whole batch each."""

    def __init__(self, dataset: Dataset, library: Library, step: Callable[..., Any], state: State) -> None:
        self.dataset, self.library, self.step, self.state = dataset, library, step, state

    def begin(self, state: State) -> None:
        """Go on from a state."""
        self.state = state

    def steps(self, batches: Iterator[HostArray], stopped: Callable[[], bool]) -> Iterator[tuple[int, float, int]]:
        """Make a step for each batch; give its images, loss and hits."""
        for batch in batches:
            if stopped():
                raise KeyboardInterrupt
            arrays = (rows(array, batch) for array in (self.dataset.images, self.dataset.labels))
            images, labels = map(self.library.asarray, arrays)
            params, optimizer, loss, hits = self.step(self.state.params, self.state.optimizer, images, labels)
            self.state = State(params, optimizer)
            yield len(batch), self.library.to_numpy(loss).item(), self.library.to_numpy(hits).item()

    def settle(self) -> State:
        """Give the state after the last step."""
        return self.state


def _batches(order: HostArray, size: int) -> Iterator[HostArray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _step(model: Sequential, optimizer: Optimizer) -> Callable[..., tuple[Params, Any, Array, Array]]:
    """Build the pure function (params, state, images, labels) -> (params, state, loss, hits)."""
    loss_function = SoftmaxCrossEntropy()

    def step(params: Params, state: Any, images: Array, labels: Array) -> tuple[Params, Any, Array, Array]:
        logits, caches = model.forward(params, images)
        loss, cache = loss_function.forward(logits, labels)
        grads = model.gradients(params, caches, loss_function.backward(cache))
        params, state = optimizer.update(params, grads, state)
        xp = array_namespace(logits)
        right = xp.astype(xp.argmax(logits, axis=1), labels.dtype) == labels
        return params, state, loss, xp.sum(xp.astype(right, labels.dtype))

    return step


def _score(model: Sequential) -> Callable[..., tuple[Array, Array]]:
    """Build the pure function (params, images, labels) -> (loss, predictions)."""
    loss_function = SoftmaxCrossEntropy()

    def score(params: Params, images: Array, labels: Array) -> tuple[Array, Array]:
        logits = model.predict(params, images)
        return loss_function.forward(logits, labels)[0], array_namespace(logits).argmax(logits, axis=1)

    return score
