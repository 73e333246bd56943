"""Optimisers as pure functions: (params, grads, state) -> (params, state), nothing written in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from array_api_compat import array_namespace

from xpconv._shapes.keywords import keywords_of
from xpconv.nn.checks import Array, Params, number_between, positive_number, same_keys

State = dict[str, Any]


class Optimizer(Protocol):
    """What the training loop asks of an optimiser."""

    def init(self, params: Params) -> State:
        """Make the state before the first step."""
        ...

    def update(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        """Make one step: ``-> params, state`` after it."""
        ...


def _zeros_like(x: Array) -> Array:
    return array_namespace(x).zeros_like(x)


@keywords_of
@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum.

    Parameters
    ----------
    lr : float, default 0.05
        Step size, above 0.
    momentum : float, default 0.9
        Share of the last velocity that is kept, in [0, 1).

    Raises
    ------
    TypeError
        An option is not a number.
    ValueError
        An option is out of its range; `grads` or `state` do not have the keys of `params`.

    Notes
    -----
    velocity ← momentum · velocity + gradient; parameter ← parameter − lr · velocity, as in PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> params, optimizer = {"w": np.asarray([1.0])}, SGD(lr=0.5)
    >>> params, state = optimizer.update(params, {"w": np.asarray([1.0])}, optimizer.init(params))
    >>> params["w"].tolist()
    [0.5]
    """

    lr: float = 0.05
    momentum: float = 0.9

    def __post_init__(self) -> None:
        # plain floats: a NumPy float64 would widen float32 parameters
        object.__setattr__(self, "lr", positive_number("SGD", "lr", self.lr))
        object.__setattr__(self, "momentum", number_between("SGD", "momentum", self.momentum, 0.0, 1.0))

    def init(self, params: Params) -> State:
        """Start with zero velocities."""
        return {"velocity": {name: _zeros_like(value) for name, value in params.items()}}

    def update(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        """Make one step: ``-> params, velocities`` after it."""
        same_keys("SGD", "grads", grads, params)
        same_keys("SGD", "state['velocity']", state["velocity"], params)
        velocity = {name: self.momentum * state["velocity"][name] + grads[name] for name in params}
        return {name: params[name] - self.lr * velocity[name] for name in params}, {"velocity": velocity}


@keywords_of
@dataclass(frozen=True)
class Adam:
    """Steps scaled by running averages of the gradient and of its square (Kingma and Ba 2015).

    Parameters
    ----------
    lr : float, default 0.001
        Step size, above 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Share of the running averages of the gradient and of its square that is kept, in [0, 1).
    eps : float, default 1e-8
        Added to the root of the averaged square, above 0.

    Raises
    ------
    TypeError
        An option is not a number.
    ValueError
        An option is out of its range; `grads` or `state` do not have the keys of `params`.

    Notes
    -----
    parameter ← parameter − lr · m̂ / (√v̂ + eps), with both averages corrected for their start at zero, as in
    PyTorch. For float16 choose an `eps` that float16 can hold.

    Examples
    --------
    >>> import numpy as np
    >>> params, optimizer = {"w": np.asarray([1.0])}, Adam(lr=0.25)
    >>> params, state = optimizer.update(params, {"w": np.asarray([4.0])}, optimizer.init(params))
    >>> params["w"].round(6).tolist(), state["steps"]
    ([0.75], 1)
    """

    lr: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", positive_number("Adam", "lr", self.lr))
        object.__setattr__(self, "beta1", number_between("Adam", "beta1", self.beta1, 0.0, 1.0))
        object.__setattr__(self, "beta2", number_between("Adam", "beta2", self.beta2, 0.0, 1.0))
        object.__setattr__(self, "eps", positive_number("Adam", "eps", self.eps))

    def init(self, params: Params) -> State:
        """Start with zero averages and a count of 0."""
        mean = {name: _zeros_like(value) for name, value in params.items()}
        square = {name: _zeros_like(value) for name, value in params.items()}
        return {"steps": 0, "mean": mean, "square": square}

    def update(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        """Make one step: ``-> params, averages and count`` after it."""
        same_keys("Adam", "grads", grads, params)
        same_keys("Adam", "state['mean']", state["mean"], params)
        steps = state["steps"] + 1
        # Python numbers on every backend but a traced one, so no array is read back for the correction
        mean_scale, square_scale = 1 - self.beta1**steps, 1 - self.beta2**steps
        mean = {k: self.beta1 * state["mean"][k] + (1 - self.beta1) * grads[k] for k in params}
        square = {k: self.beta2 * state["square"][k] + (1 - self.beta2) * grads[k] * grads[k] for k in params}
        updated = {}
        for name, value in params.items():
            root = array_namespace(value).sqrt(square[name] / square_scale)
            updated[name] = value - self.lr * (mean[name] / mean_scale) / (root + self.eps)
        return updated, {"steps": steps, "mean": mean, "square": square}
