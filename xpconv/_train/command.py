"""The command line of ``xpconv train``: what it takes, the order of things, and which failure has which status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xpconv._tools import terminal
from xpconv._tools.arguments import Parser, choice, natural, path, positive_float, positive_int
from xpconv._tools.libraries import Library, LibraryError, load, unknown_backend
from xpconv._train import dataset, report
from xpconv._train.cluster import SHARDS, cluster
from xpconv._train.dataset import DataError, ImageSet
from xpconv._train.interrupt import Interruptible
from xpconv._train.progress import make_progress
from xpconv._train.report import Folder
from xpconv.nn.model import Sequential, course_network
from xpconv.nn.shards import ClusterError
from xpconv.nn.storage import StorageError
from xpconv.nn.training import Result, Settings, TrainingError, fit

PROGRAM = "xpconv train"
LIBRARIES = ("numpy", "cupy", "torch", "jax", "dpnp")
OPTIMIZERS = ("adam", "sgd")
CHECKPOINT = "checkpoint.npz"


def parser() -> Parser:
    """Build the parser of this command."""
    parser = Parser(
        prog=PROGRAM,
        description="Train conv, relu, max pool, conv, relu, max pool, flatten, dense on the UCI optical digits or on "
        "your own images, and write the parameters, a log and plots.",
        epilog="Exit status: 0, 1 if the loss explodes, 2 for bad input, 130 after Ctrl-C and 143 after SIGTERM, which "
        "keep what was learned.",
    )
    default = "(default: %(default)s)"
    backends = ", ".join(LIBRARIES)
    parser.add_argument("--backend", default="numpy", metavar="NAME", help=f"one of {backends} {default}")
    parser.add_argument(
        "--epochs", type=positive_int, default=20, metavar="N", help=f"passes over the training part {default}"
    )
    parser.add_argument("--batch-size", type=positive_int, default=32, metavar="N", help=f"images per step {default}")
    parser.add_argument(
        "--lr", type=positive_float, metavar="X", help="step size (default: 0.002 for adam, 0.05 for sgd)"
    )
    parser.add_argument(
        "--seed", type=natural, default=0, metavar="N", help=f"of the split, the weights and the order {default}"
    )
    parser.add_argument(
        "--optimizer",
        type=choice(*OPTIMIZERS),
        default="adam",
        metavar="NAME",
        help=f"adam, or sgd with momentum 0.9 {default}",
    )
    parser.add_argument(
        "--data",
        type=path,
        metavar="FILE.npz",
        help="images (N, H, W[, C]) and labels (N,), in a file or a folder of Zarr's (default: the digits)",
    )
    parser.add_argument("--out", type=path, metavar="DIR", help="folder to write to (default: a new runs/DATE-TIME)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=positive_int, metavar="N", help="compute on so many processes of this machine")
    where.add_argument("--scheduler", metavar="ADDRESS", help="compute on the Dask cluster of tcp://HOST:PORT")
    parser.add_argument(
        "--shards",
        type=positive_int,
        metavar="N",
        help=f"parts of a batch, which decide the bits (default: {SHARDS} on a cluster, else 1)",
    )
    parser.add_argument(
        "--resume", type=path, metavar="DIR", help="go on from the checkpoint in the folder of an interrupted run"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Train, write what was learned, and give the exit status.

    Parameters
    ----------
    argv : sequence of str
        The arguments after ``xpconv train``.

    Returns
    -------
    int
        0, 1 if the loss exploded or a cluster was lost, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM.

    """
    options = parser().parse_args(argv)
    settings = Settings(options.epochs, options.batch_size, options.lr, options.seed, options.optimizer)
    clustered = options.workers is not None or options.scheduler is not None
    options.shards = options.shards or (SHARDS if clustered else 1)
    try:
        library = _library(options.backend)
        split = settings.generator("split")
        data = dataset.user_data(options.data, split) if options.data else dataset.digits(split)
        folder = Folder(_resumed(options.out, options.resume))
    except (LibraryError, DataError, StorageError, OSError) as error:
        return terminal.complain(PROGRAM, error, 2)
    with folder:
        return _train(library, data, settings, folder.path, vars(options))


def _train(library: Library, data: ImageSet, settings: Settings, folder: Path, arguments: Mapping[str, Any]) -> int:
    model = course_network(data.classes)
    _announce(library, data, model)
    try:
        with cluster(arguments["workers"], arguments["scheduler"]) as client, Interruptible() as stopped:
            with make_progress(settings.epochs, len(data.images)) as progress:
                result = fit(
                    model,
                    data,
                    library,
                    settings,
                    progress=progress,
                    stopped=stopped,
                    client=client,
                    shards=arguments["shards"],
                    checkpoint=folder / CHECKPOINT if client is not None or arguments["resume"] else None,
                    resume=arguments["resume"] is not None,
                )
            if result.interrupted:
                terminal.say("interrupted: keeping what was learned", "bold yellow")
            else:
                (folder / CHECKPOINT).unlink(missing_ok=True)
            names = report.write(folder, model, data, library, settings, result, arguments)
    except TrainingError as error:
        return terminal.complain(PROGRAM, error, 1)
    except ClusterError as error:
        return terminal.complain(PROGRAM, error, 2)
    except OSError as error:
        return terminal.complain(PROGRAM, error, 2)
    _conclude(result, folder, names)
    if result.trouble:
        return terminal.complain(PROGRAM, ClusterError(result.trouble), 1)
    return stopped.status if result.interrupted else 0


def _resumed(out: str | None, resume: str | None) -> str | None:
    """Give the folder to write to: that of the run that goes on, if one does."""
    if resume is None:
        return out
    if out is not None:
        raise DataError("--resume names the folder that is written to; leave out --out")
    if not (Path(resume) / CHECKPOINT).is_file():
        raise DataError(f"{resume} has no {CHECKPOINT}; a run on a cluster leaves one there when it is interrupted")
    return resume


def _library(name: str) -> Library:
    if name not in LIBRARIES:
        raise LibraryError(unknown_backend(name, LIBRARIES))
    return load(name)


def _announce(library: Library, data: ImageSet, model: Sequential) -> None:
    shape = "x".join(map(str, data.images.shape[1:]))
    terminal.say(f"backend  {library.name} {library.version}, device {library.device_name}, float32", "dim")
    held_out = f"{len(data.held_out_images)} held out"
    terminal.say(f"data     {data.name}: {len(data.images)} images {shape} to train on, {held_out}", "dim")
    terminal.say(f"network  {', '.join(model.names)}", "dim")


def _conclude(result: Result, folder: Path, names: list[str]) -> None:
    terminal.say(f"held out {result.accuracy:.2%} right, {result.seconds:.1f} s", "bold green")
    if report.skipped():
        terminal.say(report.skipped(), "yellow")
    terminal.say(f"written  {folder}: {', '.join(names)}")
