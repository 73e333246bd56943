"""The state of a training run in a file, from which it goes on."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

from xpconv._tools.libraries import Library
from xpconv.nn.checks import Params
from xpconv.nn.model import Sequential
from xpconv.nn.settings import Epoch, Settings, TrainingError
from xpconv.nn.shards import State
from xpconv.nn.storage import load_metadata, load_parameters, save_parameters


class Checkpoint:
    """The file that keeps the state of a run after each epoch."""

    def __init__(self, path: str | os.PathLike[str], model: Sequential, settings: Settings, shards: int) -> None:
        self.path = path
        # epochs may be added
        self.run = {"model": repr(model), "shards": shards, **asdict(settings), "epochs": 0}

    def write(self, library: Library, state: State, epochs: list[Epoch], first_losses: list[float]) -> None:
        """Write it, whole or not at all."""
        arrays = {f"params/{name}": value for name, value in state.params.items()}
        plain = {}
        for part, value in state.optimizer.items():
            if isinstance(value, dict):
                arrays |= {f"optimizer/{part}/{name}": array for name, array in value.items()}
            else:
                plain[part] = value
        told = {
            "run": self.run,
            "optimizer": plain,
            "epochs": [asdict(epoch) for epoch in epochs],
            "first_losses": first_losses,
        }
        save_parameters(self.path, arrays, {"checkpoint": json.dumps(told)})

    def read(self, library: Library) -> tuple[State, list[Epoch], list[float]] | None:
        """Read it; None where there is none."""
        if not os.path.exists(self.path):
            return None
        told = json.loads(load_metadata(self.path).get("checkpoint", "{}"))
        if told.get("run") != self.run:
            raise TrainingError(f"{self.path} is the checkpoint of another run: {told.get('run')}")
        params: Params = {}
        optimizer: dict[str, Any] = dict(told["optimizer"])
        for name, value in load_parameters(self.path, library).items():
            kind, _, rest = name.partition("/")
            if kind == "params":
                params[rest] = value
            else:
                part, _, key = rest.partition("/")
                optimizer.setdefault(part, {})[key] = value
        return State(params, optimizer), [Epoch(**epoch) for epoch in told["epochs"]], told["first_losses"]
