"""A training step in shards: gradients of parts of a batch, added in a fixed order, wherever each is computed.

The shards decide the bits; workers do not. A step is a few tasks: one gradient for each shard, and one that adds them
up and updates. Parameters stay where they are made, and steps are handed in ahead, so that no worker waits.
"""

from __future__ import annotations

import importlib
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from array_api_compat import array_namespace

from xpconv import _options
from xpconv._tools.libraries import Library
from xpconv.nn.checks import Params
from xpconv.nn.loss import SoftmaxCrossEntropy
from xpconv.nn.model import Sequential
from xpconv.nn.optimizers import Optimizer

AHEAD = 4  # steps that are handed in before the first of them is done
LARGE = 4 << 20  # bytes that do not go through the scheduler
TIMEOUT = 10.0  # seconds for a scheduler to answer
COMPUTES = ("numpy", "xpconv")  # packages that workers have in one version, beside those that all talk by
PATIENCE = 60.0  # seconds without a single worker, after which the run is given up
Index = np.ndarray[Any, Any]
LOSS = SoftmaxCrossEntropy()


class ClusterError(RuntimeError):
    """A cluster cannot be reached, or was lost; the message is one line."""


class Problem(NamedTuple):
    """What every task of a run needs; it is sent to each worker once."""

    model: Sequential
    optimizer: Optimizer
    library: Library
    images: Any  # on the host, or in a store, of which a task reads the rows of its shard
    labels: Any

    @property
    def nbytes(self) -> int:
        """Count the bytes that are on the host."""
        return sum(array.nbytes for array in (self.images, self.labels) if isinstance(array, np.ndarray))


class State(NamedTuple):
    """Where a run stands after a step, and the step's loss and hits."""

    params: Params
    optimizer: Any
    loss: float = 0.0
    hits: int = 0


class Part(NamedTuple):
    """The gradient of a shard's part of a batch's mean loss, that part, and how many images were right."""

    grads: Params
    loss: float
    hits: int


def _same(value: Any) -> Any:
    return value


def rows(array: Any, index: Index) -> Index:
    """Read rows in any order; a store is read in its own."""
    if isinstance(array, np.ndarray):
        return array[index]
    order = np.argsort(index, kind="stable")
    found = np.asarray(getattr(array, "oindex", array)[index[order]])
    out = np.empty_like(found)
    out[order] = found
    return out


def gradient(problem: Problem, state: State, index: Index, batch: int) -> Part:
    """Compute a shard's part of the gradient of a batch of so many images."""
    library, params = problem.library, state.params
    if not len(index):
        xp = {name: array_namespace(value) for name, value in params.items()}
        return Part({name: xp[name].zeros_like(value) for name, value in params.items()}, 0.0, 0)
    images, labels = (library.asarray(rows(array, index)) for array in (problem.images, problem.labels))
    logits, caches = problem.model.forward(params, images)
    loss, cache = LOSS.forward(logits, labels)
    dy, share = LOSS.backward(cache), len(index) / batch
    grads = problem.model.gradients(params, caches, dy if share == 1 else dy * share)
    xp = array_namespace(logits)
    right = xp.sum(xp.astype(xp.astype(xp.argmax(logits, axis=1), labels.dtype) == labels, labels.dtype))
    return Part(grads, library.to_numpy(loss).item() * share, library.to_numpy(right).item())


def update(problem: Problem, state: State, *parts: Part) -> State:
    """Add the parts up, in pairs, and make the step."""
    level = list(parts)
    while len(level) > 1:
        pairs = [_add(*level[i : i + 2]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) // 2 * 2 :]
    params, optimizer = problem.optimizer.update(state.params, level[0].grads, state.optimizer)
    return State(params, optimizer, level[0].loss, level[0].hits)


def _add(a: Part, b: Part) -> Part:
    return Part({name: a.grads[name] + b.grads[name] for name in a.grads}, a.loss + b.loss, a.hits + b.hits)


def on_one_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with one thread of xpconv's: a worker has threads of its own."""
    with _options.limited(threads=1):
        return function(*arguments)


def numbers(state: State) -> tuple[float, int]:
    """Give a step's loss and hits alone."""
    return state.loss, state.hits


class Runner(Protocol):
    """Who computes the steps of a run."""

    def begin(self, state: State) -> None:
        """Go on from a state."""
        ...

    def steps(self, batches: Iterator[Index], stopped: Callable[[], bool]) -> Iterator[tuple[int, float, int]]:
        """Make a step for each batch; give its images, loss and hits. KeyboardInterrupt where it is stopped."""
        ...

    def settle(self) -> State:
        """Give the state after the last step."""
        ...


@dataclass
class Local:
    """Steps in this process."""

    problem: Problem
    state: State
    shards: int

    def begin(self, state: State) -> None:
        """Go on from a state."""
        self.state = state

    def steps(self, batches: Iterator[Index], stopped: Callable[[], bool]) -> Iterator[tuple[int, float, int]]:
        """Make a step for each batch; give its images, loss and hits."""
        for batch in batches:
            if stopped():
                raise KeyboardInterrupt
            parts = [
                gradient(self.problem, self.state, index, len(batch)) for index in np.array_split(batch, self.shards)
            ]
            self.state = update(self.problem, self.state, *parts)
            yield len(batch), self.state.loss, self.state.hits

    def settle(self) -> State:
        """Give the state after the last step."""
        return self.state


class Cluster:
    """Steps on the workers of a cluster."""

    def __init__(self, client: Any, problem: Problem, state: State, shards: int) -> None:
        self.client, self.shards, self.state = client, shards, state
        self.tag, self.number, self.begun = uuid.uuid4().hex[:8], 0, 0
        with _told():
            self.problem = self._hold("problem", problem, problem.nbytes)
            self.begin(state)

    def begin(self, state: State) -> None:
        """Go on from a state."""
        self.begun += 1
        sizes = [array.size * array.dtype.itemsize for array in state.params.values()]
        self.latest = self._hold(f"state-{self.begun}", state, 3 * sum(sizes))

    def _hold(self, what: str, value: Any, nbytes: int) -> Any:
        """Send a value to the workers; what is small the scheduler keeps too, and no loss of a worker loses it."""
        if nbytes > LARGE:
            return self.client.scatter(value, broadcast=True, hash=False)
        return self.client.submit(_same, value, key=f"{what}-{self.tag}", pure=False)

    def steps(self, batches: Iterator[Index], stopped: Callable[[], bool]) -> Iterator[tuple[int, float, int]]:
        """Hand steps in ahead; give the images, loss and hits of each when it is done."""
        waiting: deque[tuple[int, Any]] = deque()
        halted = False
        with _told():
            for batch in batches:
                if halted := stopped():
                    break
                waiting.append((len(batch), self._hand_in(batch)))
                if len(waiting) > AHEAD:
                    yield self._done(waiting.popleft())
            while waiting:
                yield self._done(waiting.popleft())
        if halted:
            raise KeyboardInterrupt

    def _hand_in(self, batch: Index) -> Any:
        place = f"{self.tag}-{self.number}"
        parts = [
            self._submit(f"gradient-{place}-{shard}", gradient, self.problem, self.latest, index, len(batch))
            for shard, index in enumerate(np.array_split(batch, self.shards))
        ]
        self.latest = self._submit(f"update-{place}", update, self.problem, self.latest, *parts)
        self.number += 1
        return self._submit(f"loss-{place}", numbers, self.latest)

    def _submit(self, key: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.client.submit(on_one_thread, function, *arguments, key=key, pure=False)

    def _done(self, step: tuple[int, Any]) -> tuple[int, float, int]:
        loss, hits = self._wait(step[1])
        return step[0], loss, hits

    def _wait(self, future: Any) -> Any:
        """Wait for a result, as long as there is somebody who works on it."""
        alone = None
        while True:
            try:
                return future.result(timeout=1)
            except TimeoutError:
                here = bool(self.client.scheduler_info(n_workers=-1)["workers"])
                alone = None if here else alone or time.monotonic()
                if alone is not None and time.monotonic() - alone > PATIENCE:
                    raise ClusterError(f"the cluster has had no worker for {PATIENCE:.0f} s") from None

    def settle(self) -> State:
        """Fetch the state after the last step, and begin with it anew: the scheduler forgets the steps before."""
        with _told():
            self.state = self._wait(self.latest)
            self.begin(self.state)
        return self.state


class _told:
    """Say in one line how a cluster was lost."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None or isinstance(error, ClusterError):
            return
        distributed: Any = importlib.import_module("distributed")
        client, comm, scheduler = distributed.client, distributed.comm, distributed.scheduler
        if isinstance(error, (scheduler.KilledWorker, comm.CommClosedError, client.FutureCancelledError)):
            raise ClusterError(f"the cluster was lost: {_line(error)}") from error


def _line(error: BaseException) -> str:
    """Say an error in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def connected(address: str, timeout: float | None = None) -> Any:
    """Connect to a scheduler, whose versions are those here; ClusterError says in one line why not."""
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise ClusterError("a cluster needs the package distributed: python -m pip install distributed") from None
    try:
        with warnings.catch_warnings():  # of other versions, which are told below
            warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
            client = distributed.Client(address, timeout=timeout or TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(f"no scheduler answers at {address}: {_line(error)}") from error
    talks = ("python", *distributed.versions.required_packages)
    if others := _others(client.get_versions(packages=["xpconv"]), talks):
        client.close()
        raise ClusterError(f"the cluster at {address} has other versions: {'; '.join(others)}")
    return client


def _others(found: Any, talks: tuple[str, ...]) -> list[str]:
    """Say who has which package in another version than this process."""
    here = found["client"]["packages"]
    there: list[tuple[str, Any, tuple[str, ...]]] = [("the scheduler", found["scheduler"], talks)]
    there += [(f"worker {address}", one, (*talks, *COMPUTES)) for address, one in found["workers"].items()]
    others = []
    for who, one, names in there:
        packages = one["packages"] if one else {}
        for name in names:
            theirs, ours = (str(known.get(name) or "none") for known in (packages, here))
            same = theirs.split(".")[:2] == ours.split(".")[:2] if name == "python" else theirs == ours
            others += [] if same else [f"{who} {name} {theirs}, here {ours}"]
    return others
