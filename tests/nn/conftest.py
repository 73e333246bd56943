"""The backends that networks are tested on, and one full training run that several tests look at."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import backends
from xpconv._tools.libraries import LibraryError
from xpconv.cli import main


@pytest.fixture(
    scope="session", params=["numpy", "numpy-readonly", "strict", "strict-device1", "torch", "jax-jit", "cupy"]
)
def backend(request: pytest.FixtureRequest) -> backends.Backend:
    """Each backend that a network may train on; those that are not installed are skipped, with the reason."""
    try:
        return backends.load(request.param)
    except LibraryError as error:
        return pytest.skip(str(error))


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the log of `xpconv train` with its defaults."""
    folder = tmp_path_factory.mktemp("train")
    assert main(["train", "--out", str(folder)]) == 0
    return folder, json.loads((folder / "log.json").read_text())
