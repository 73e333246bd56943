"""The command ``xpconv``: arguments in, lines out; the work is done by the modules that each command calls."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import sys
from collections.abc import Sequence
from typing import NoReturn

from xpconv._tools import machine as _info
from xpconv._tools.libraries import LibraryError, load

TRAINABLE = ("numpy", "cupy", "torch", "jax")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wants an integer of at least 1; got {text!r}")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"wants an integer of at least 0; got {text!r}")
    return int(text)


def _positive_float(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"wants a finite number above 0; got {text!r}")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="xpconv", description="Convolution and pooling, forward and backward, on any array library.")
    parser.add_argument("--version", action="version", version=f"xpconv {_info.version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("info", help="versions, backends found, devices, BLAS and threads")
    train = commands.add_parser(
        "train",
        help="train the course's network on digits or on your images",
        description="Train conv, relu, max pool, conv, relu, max pool, flatten, dense on the UCI optical digits or on "
        "your own images, and write the parameters, a log and plots.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    train.add_argument("--backend", default="numpy", metavar="NAME", help=f"one of {', '.join(TRAINABLE)}")
    train.add_argument("--epochs", type=_positive_int, default=20, metavar="N", help="passes over the training part")
    train.add_argument("--batch-size", type=_positive_int, default=32, metavar="N", help="images per step")
    train.add_argument("--lr", type=_positive_float, metavar="X", help="step size (None: 0.002 for adam, 0.05 for sgd)")
    train.add_argument("--seed", type=_natural, default=0, metavar="N", help="of the split, the weights and the order")
    train.add_argument("--optimizer", choices=("adam", "sgd"), default="adam", help="sgd has momentum 0.9")
    train.add_argument("--data", metavar="FILE.npz", help="images (N, H, W[, C]) and labels (N,) (None: the digits)")
    train.add_argument("--out", metavar="DIR", help="folder to write to (None: a new runs/DATE-TIME)")
    commands.add_parser("verify", help="check every operation on every backend found (see: xpconv verify --help)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit status: 0, 1 for a failure, 2 for bad input, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["verify"]:  # verify parses its own arguments, --help included
            status: int = importlib.import_module("xpconv.verify").main(arguments[1:])
            return status
        options = _parser().parse_args(arguments)
        return _train(options) if options.command == "train" else _show_info()
    except KeyboardInterrupt:
        print("xpconv: interrupted", file=sys.stderr)
        return 130


def _fail(status: int, error: object) -> int:
    print(f"xpconv train: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def _train(options: argparse.Namespace) -> int:
    from xpconv.nn import dataset, report
    from xpconv.nn.model import course_network
    from xpconv.nn.progress import Interruptible, make_progress
    from xpconv.nn.storage import StorageError
    from xpconv.nn.training import Settings, TrainingError, fit

    settings = Settings(options.epochs, options.batch_size, options.lr, options.seed, options.optimizer)
    try:
        if options.backend not in TRAINABLE:
            raise LibraryError(f"unknown backend {options.backend!r}; choose one of {', '.join(TRAINABLE)}")
        library = load(options.backend)
        split = settings.generator("split")
        data = dataset.user_data(options.data, split) if options.data else dataset.digits(split)
        folder = report.prepare_folder(options.out)
    except (LibraryError, dataset.DataError, StorageError, OSError) as error:
        return _fail(2, error)

    model = course_network(data.classes)
    shape = "x".join(map(str, data.images.shape[1:]))
    print(f"backend  {library.name} {library.version}, device {library.device_name}, float32")
    print(f"data     {data.name}: {len(data.images)} images {shape} to train on, {len(data.held_out_images)} held out")
    print(f"network  {', '.join(model.names)}", flush=True)
    try:
        with Interruptible() as stopped:
            with make_progress(settings.epochs, len(data.images)) as progress:
                result = fit(model, data, library, settings, progress=progress, stopped=stopped)
            if result.interrupted:
                print("interrupted: keeping what was learned", flush=True)
            names = report.write(folder, model, data, library, settings, result, vars(options))
    except TrainingError as error:
        return _fail(1, error)
    except OSError as error:
        return _fail(2, error)
    print(f"held out {result.accuracy:.2%} right, {result.seconds:.1f} s")
    if report.skipped():
        print(report.skipped())
    print(f"written  {folder}: {', '.join(names)}", flush=True)
    return 130 if result.interrupted else 0


def _show_info() -> int:
    sections = _info.sections()
    if not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        for heading, rows in sections.items():
            print(heading)
            for name, value in rows:
                print(f"  {name:18} {value}")
        return 0
    table = importlib.import_module("rich.table").Table(box=importlib.import_module("rich.box").SIMPLE_HEAD)
    table.add_column("", style="bold")
    table.add_column(f"xpconv {_info.version()}", overflow="fold")
    for heading, rows in sections.items():
        table.add_row(f"[cyan]{heading}[/cyan]", "")
        for name, value in rows:
            table.add_row(f"  {name}", importlib.import_module("rich.text").Text(value))
        table.add_section()
    importlib.import_module("rich.console").Console().print(table)
    return 0
