"""`xpconv train` on the digits and on a user's images: accuracy, files, interruption, bad input."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

import xpconv
from tests.sizes import FULL
from xpconv._train.dataset import digits
from xpconv._train.progress import make_progress
from xpconv._train.report import Folder
from xpconv.cli import main
from xpconv.nn import course_network, load_metadata, load_parameters
from xpconv.nn.training import Epoch, Settings

FILES = {"parameters.safetensors", "log.json", "curves.png", "filters.png", "features.png", "confusion.png"}


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the log of `xpconv train` with its defaults, in a normal run for a few epochs."""
    folder = tmp_path_factory.mktemp("train")
    assert main(["train", "--out", str(folder), *([] if FULL else ["--epochs", "4"])]) == 0
    return folder, json.loads((folder / "log.json").read_text())


@pytest.mark.slow
def test_the_defaults_reach_98_percent(full_run):
    _, log = full_run
    assert log["held_out_accuracy"] >= 0.98
    assert not log["interrupted"]


def test_the_log_tells_the_whole_run(full_run):
    folder, log = full_run
    assert set(os.listdir(folder)) == FILES
    assert log["arguments"]["backend"] == log["backend"] == "numpy"
    assert log["device"] == "cpu"
    assert log["versions"]["numpy"] == np.__version__
    assert log["seed"] == 0
    assert log["settings"] == {
        "epochs": 20 if FULL else 4,
        "batch_size": 32,
        "lr": 0.002,
        "seed": 0,
        "optimizer": "adam",
    }
    assert [epoch["epoch"] for epoch in log["epochs"]] == list(range(1, 21 if FULL else 5))
    assert all(epoch["images"] == 1438 and epoch["seconds"] > 0 for epoch in log["epochs"])
    assert log["epochs"][-1]["loss"] < (0.1 if FULL else 0.3) * log["epochs"][0]["loss"]
    assert len(log["first_losses"]) == 10
    matrix = np.asarray(log["confusion_matrix"])
    assert matrix.sum() == log["data"]["held_out"] == 359
    assert np.trace(matrix) / 359 == log["held_out_accuracy"] == log["epochs"][-1]["held_out_accuracy"]


def test_the_saved_parameters_give_the_logged_accuracy(full_run):
    folder, log = full_run
    params = load_parameters(folder / log["parameters"])
    assert {str(value.dtype) for value in params.values()} == {"float32"}
    data = digits(Settings(seed=log["seed"]).generator("split"))
    predictions = course_network(10).predict(params, data.held_out_images).argmax(axis=1)
    assert np.mean(predictions == data.held_out_labels) == log["held_out_accuracy"]
    assert float(load_metadata(folder / log["parameters"])["scale"]) == 16


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith(".png")))
def test_the_pictures_show_something(full_run, name):
    picture = imread(full_run[0] / name)
    assert min(picture.shape[:2]) > 200
    assert len(np.unique(np.round(picture * 255).astype(np.uint8).view(np.uint32))) > 50  # a pixel is one number


def test_a_run_of_the_users_images(tmp_path, capsys):
    rng = np.random.default_rng(8)
    labels = np.arange(60) % 3
    images = rng.normal(0, 0.1, (60, 9, 6, 3)) + labels[:, None, None, None]
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)
    arguments = ["train", "--data", str(tmp_path / "mine.npz"), "--out", str(tmp_path / "out"), "--epochs", "3"]
    assert main([*arguments, "--batch-size", "8", "--lr", "0.01", "--optimizer", "sgd", "--seed", "4"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "48 images 9x6x3 to train on, 12 held out" in printed.out
    assert printed.out.count("images/s") == 3
    assert set(os.listdir(tmp_path / "out")) == FILES
    log = json.loads((tmp_path / "out" / "log.json").read_text())
    assert log["data"]["shape"] == [9, 6, 3]
    assert log["settings"]["lr"] == 0.01


def test_without_the_extras_it_says_what_is_left_out(tmp_path):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['rich', 'matplotlib', 'safetensors']))\n"
        "from xpconv.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = run_python(["-c", code, "train", "--epochs", "1", "--out", str(tmp_path)])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("skipped: ") == 1
    for word in ("rich", "matplotlib", "safetensors", "python -m pip install 'xpconv[cli]'"):
        assert word in done.stdout
    assert set(os.listdir(tmp_path)) == {"parameters.npz", "log.json"}
    assert (
        load_parameters(tmp_path / "parameters.npz").keys()
        == course_network(10).init(np.random.default_rng(0), (8, 8, 1)).keys()
    )


@pytest.mark.slow
def test_a_terminal_gets_a_live_bar(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["train", "--epochs", "2", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("held out") == 4  # the data, two epochs, the result
    assert "epoch 2/2" in printed


DATA = {"parameters.safetensors", "log.json"}


# pictures take a second to draw, so in a normal run the signals are sent to processes without matplotlib
@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send these signals to another process")
@pytest.mark.parametrize(
    ("number", "status", "missing", "files"),
    [
        (signal.SIGINT, 130, ["matplotlib"] * (not FULL), FILES if FULL else DATA),
        (signal.SIGTERM, 143, ["matplotlib"], DATA),
    ],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_ends_early_and_everything_is_saved(tmp_path, number, status, missing, files):
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.modules.update(dict.fromkeys({missing}))\n"
        "from xpconv.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    np.savez(tmp_path / "few.npz", images=np.random.default_rng(0).random((30, 9, 6, 3)), labels=np.arange(30) % 3)
    out = tmp_path / "out"
    arguments = ["-c", code, "train", "--data", str(tmp_path / "few.npz"), "--epochs", "100000", "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        for line in process.stdout:
            if line.startswith("epoch"):
                break
        process.send_signal(number)
        output, errors = process.communicate(timeout=600)
    assert process.returncode == status, errors
    assert errors == ""
    assert "interrupted: keeping what was learned" in output
    assert set(os.listdir(out)) == files
    log = json.loads((out / "log.json").read_text())
    assert log["interrupted"]
    assert 1 <= len(log["epochs"]) < 100000
    assert load_parameters(out / "parameters.safetensors")["dense1.bias"].any()


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(xpconv.__file__).parents[1])}


def run_python(arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment(), timeout=600, check=False
    )


def status_of(arguments):
    try:
        return main(arguments)
    except SystemExit as error:
        return error.code


def refused(capsys, arguments, status=2):
    """Run a command that must fail and give its one line of stderr."""
    assert status_of(arguments) == status
    printed = capsys.readouterr()
    assert printed.err.startswith("xpconv train: ")
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "tensorflow"], "unknown backend 'tensorflow'; choose one of numpy, cupy, torch, jax, dpnp"),
        (["--backend", "dask"], "unknown backend 'dask'"),
        (["--epochs", "0"], "argument --epochs: must be an integer of at least 1; got '0'"),
        (["--epochs", "2.5"], "argument --epochs: must be an integer of at least 1; got '2.5'"),
        (["--batch-size", "-3"], "argument --batch-size: must be an integer of at least 1; got '-3'"),
        (["--lr", "0"], "argument --lr: must be a finite number above 0; got '0'"),
        (["--lr", "nan"], "argument --lr: must be a finite number above 0; got 'nan'"),
        (["--lr", "fast"], "argument --lr: must be a finite number above 0; got 'fast'"),
        (["--seed", "-1"], "argument --seed: must be an integer of at least 0; got '-1'"),
        (["--backend", "trch"], "choose one of numpy, cupy, torch, jax, dpnp; did you mean torch?"),
        (["--optimizer", "lbfgs"], "argument --optimizer: got 'lbfgs'; must be one of adam, sgd"),
        (["--optimizer", "adm"], "must be one of adam, sgd; did you mean adam?"),
        (["--data", "missing.npz"], "xpconv train: missing.npz: no such file or directory"),
        (["--data", "."], "xpconv train: .: is a directory"),
        (["--data", ""], "argument --data: must name a file or a folder; got ''"),
        (["--data", "text.npz"], "xpconv train: text.npz is not a complete .npz archive"),
        (["--out", "text.npz"], "xpconv train: text.npz: is a file; --out must name a folder"),
        (["--out", "text.npz/inside"], "xpconv train: text.npz/inside: not a directory"),
        (["--out", ""], "argument --out: must name a file or a folder; got ''"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.npz").write_text("no archive")
    assert message in refused(capsys, ["train", *arguments])
    assert os.listdir(tmp_path) == ["text.npz"]


def test_no_cuda_device_is_one_line_and_status_2(monkeypatch, capsys, tmp_path):
    cupy = SimpleNamespace(cuda=SimpleNamespace(is_available=bool))
    monkeypatch.setattr("xpconv._tools.libraries.importlib", SimpleNamespace(import_module=lambda name: cupy))
    line = refused(capsys, ["train", "--backend", "cupy", "--out", str(tmp_path)])
    assert "no CUDA device is available" in line


def test_a_step_size_that_diverges_is_one_line_and_status_1(tmp_path, capsys):
    line = refused(capsys, ["train", "--optimizer", "sgd", "--lr", "1e30", "--out", str(tmp_path)], status=1)
    assert "try a step size (lr) below 1e+30" in line
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", "1000"), ("adam", "1"), ("sgd", "10")])
def test_a_loss_that_explodes_stops_and_says_so(tmp_path, monkeypatch, capsys, optimizer, lr):
    """And it leaves no empty folder behind."""
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, ["train", "--optimizer", optimizer, "--lr", lr], status=1)
    told = r"the loss is \S+ in epoch 1, 3.18 at the start: the steps are too large; try a step size \(lr\) below "
    assert re.search(told + lr, line)
    assert os.listdir(tmp_path) == []


def test_a_fresh_folder_is_made_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [Folder(None) for _ in range(3)]
    paths = {folder.path for folder in folders}
    assert len(paths) == 3
    assert all(path.is_dir() and path.parent == Path("runs") for path in paths)


def test_folders_that_nothing_was_written_into_are_taken_away_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with Folder(None), Folder("new/er"), Folder("mine/inner"), Folder("mine"):
        assert sorted(os.listdir(tmp_path)) == ["mine", "new", "runs"]
    assert os.listdir(tmp_path) == ["mine"]
    with Folder("new/er") as folder:
        (folder.path / "file").touch()
    assert (tmp_path / "new" / "er" / "file").exists()


def test_a_terminal_gets_colours(monkeypatch, capsys):
    """The best epochs so far and the result are green."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    with make_progress(3, 10) as progress:
        for number, accuracy in enumerate((0.5, 0.7, 0.6), start=1):
            progress.epoch(Epoch(number, 1.0, 0.5, 1.0, accuracy, 10, 1.0))
    lines = [line for line in capsys.readouterr().out.splitlines() if "held out" in line]
    assert ["\x1b[32m" in line for line in lines] == [True, True, False]
