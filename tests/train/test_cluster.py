"""`xpconv train` on workers: the same bits, Ctrl-C and going on, and what it says of a cluster that is not there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import xpconv
from xpconv.cli import main
from xpconv.nn import load_parameters
from xpconv.nn.shards import connected

TOLD = ("first_losses", "held_out_accuracy", "confusion_matrix")


def log_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "log.json").read_text())
    return found


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(xpconv.__file__).parents[1])}


def same(a: Path, b: Path) -> bool:
    one, two = (load_parameters(folder / log_of(folder)["parameters"]) for folder in (a, b))
    bits = all(one[name].tobytes() == two[name].tobytes() for name in two)
    return bits and all(log_of(a)[name] == log_of(b)[name] for name in TOLD)


@pytest.mark.slow
@pytest.mark.needs("dask", "distributed")
def test_workers_change_no_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert main(["train", "--epochs", "1", "--shards", "4", "--out", str(alone)]) == 0
    capsys.readouterr()
    assert main(["train", "--epochs", "1", "--workers", "2", "--out", str(together)]) == 0
    printed = capsys.readouterr().out
    assert ", 2 workers, dashboard http://127.0.0.1:" in printed
    assert same(alone, together)
    assert log_of(together)["arguments"]["shards"] == 4
    assert not (together / "checkpoint.npz").exists()


@pytest.mark.slow
@pytest.mark.needs("dask", "distributed")
def test_ctrl_c_on_workers_keeps_a_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from xpconv.cli import main\nif __name__ == '__main__': sys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "run.py").write_text(code)
    arguments = [str(tmp_path / "run.py"), "train", "--workers", "1", "--shards", "2", "--batch-size", "256"]
    folder = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, *arguments, "--epochs", "100000", "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch"):
                break
        os.killpg(process.pid, signal.SIGINT)  # the workers get it as well, as from a terminal
        output, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "interrupted: keeping what was learned" in output
    done = log_of(folder)["epochs"]
    epochs = len(done) + 1
    again = ["train", "--shards", "2", "--batch-size", "256", "--epochs", str(epochs)]
    assert main([*again, "--resume", str(folder)]) == 0
    assert main([*again, "--out", str(tmp_path / "whole")]) == 0
    assert same(folder, tmp_path / "whole")


@pytest.mark.needs("dask", "distributed")
def test_a_scheduler_that_is_not_there_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpconv.nn.shards.TIMEOUT", 0.5)
    assert main(["train", "--scheduler", "tcp://127.0.0.1:9", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("xpconv train: no scheduler answers at tcp://127.0.0.1:9: ")
    assert error.count("\n") == 1


@pytest.mark.needs("dask", "distributed")
@pytest.mark.parametrize(("who", "package"), [("scheduler", "distributed"), ("workers", "xpconv")])
def test_other_versions_on_a_cluster_are_one_line_and_status_2(
    who: str, package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import distributed

    ask = distributed.Client.get_versions

    def older(client: Any, *arguments: Any, **options: Any) -> Any:
        found = ask(client, *arguments, **options)
        those = [found["scheduler"]] if who == "scheduler" else found["workers"].values()
        for one in those:
            one["packages"][package] = "0.0.1"
        return found

    options = {"processes": False, "dashboard_address": "127.0.0.1:0", "protocol": "tcp", "host": "127.0.0.1"}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster:
        connected(cluster.scheduler_address).close()
        monkeypatch.setattr(distributed.Client, "get_versions", older)
        assert main(["train", "--scheduler", cluster.scheduler_address, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"xpconv train: the cluster at {cluster.scheduler_address} has other versions: ")
    assert f"{package} 0.0.1, here " in error
    assert error.count("\n") == 1


def test_a_folder_without_a_checkpoint_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--resume", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"xpconv train: {tmp_path} has no checkpoint.npz")
