"""The command line of ``xpconv train``: what it takes, the order of things, and which failure has which status."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xpconv._tools import terminal
from xpconv._tools.arguments import Parser, natural, positive_float, positive_int
from xpconv._tools.libraries import Library, LibraryError, load
from xpconv._train import dataset, report
from xpconv._train.cluster import SHARDS, cluster
from xpconv._train.dataset import DataError, ImageSet
from xpconv._train.interrupt import Interruptible
from xpconv._train.progress import make_progress
from xpconv.nn.model import Sequential, course_network
from xpconv.nn.shards import ClusterError
from xpconv.nn.storage import StorageError
from xpconv.nn.training import Result, Settings, TrainingError, fit

PROGRAM = "xpconv train"
CHECKPOINT = "checkpoint.npz"
LIBRARIES = ("numpy", "cupy", "torch", "jax")


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        description="Train conv, relu, max pool, conv, relu, max pool, flatten, dense on the UCI optical digits or on "
        "your own images, and write the parameters, a log and plots.",
    )
    default = "(default: %(default)s)"
    names = ", ".join(LIBRARIES)
    parser.add_argument("--backend", default="numpy", metavar="NAME", help=f"one of {names} {default}")
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
    parser.add_argument("--optimizer", choices=("adam", "sgd"), default="adam", help=f"sgd has momentum 0.9 {default}")
    parser.add_argument(
        "--data", metavar="FILE.npz", help="images (N, H, W[, C]) and labels (N,) (default: the digits)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder to write to (default: a new runs/DATE-TIME)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=positive_int, metavar="N", help="compute on so many processes of this machine")
    where.add_argument("--scheduler", metavar="ADDRESS", help="compute on the Dask cluster of tcp://HOST:PORT")
    parser.add_argument(
        "--shards",
        type=positive_int,
        metavar="N",
        help=f"parts of a batch that are computed by themselves, which decide the bits (default: {SHARDS} on a "
        "cluster, else 1)",
    )
    parser.add_argument(
        "--resume", metavar="DIR", help="go on from the checkpoint of an interrupted run, and write to its folder"
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
        0, 1 if the loss stopped being finite or a cluster was lost, 2 for bad input, 130 after Ctrl-C.

    """
    options = _parser().parse_args(argv)
    settings = Settings(options.epochs, options.batch_size, options.lr, options.seed, options.optimizer)
    clustered = options.workers is not None or options.scheduler is not None
    options.shards = options.shards or (SHARDS if clustered else 1)
    try:
        library = _library(options.backend)
        split = settings.generator("split")
        data = dataset.user_data(options.data, split) if options.data else dataset.digits(split)
        folder = _folder(options.out, options.resume)
    except (LibraryError, DataError, StorageError, OSError) as error:
        return terminal.complain(PROGRAM, error, 2)
    model = course_network(data.classes)
    _announce(library, data, model)
    try:
        with cluster(options.workers, options.scheduler) as client, Interruptible() as stopped:
            with make_progress(settings.epochs, len(data.images)) as progress:
                result = fit(
                    model,
                    data,
                    library,
                    settings,
                    progress=progress,
                    stopped=stopped,
                    client=client,
                    shards=options.shards,
                    checkpoint=folder / CHECKPOINT if clustered or options.resume else None,
                    resume=options.resume is not None,
                )
            if result.interrupted:
                print("interrupted: keeping what was learned", flush=True)
            else:
                (folder / CHECKPOINT).unlink(missing_ok=True)
            names = report.write(folder, model, data, library, settings, result, vars(options))
    except TrainingError as error:
        return terminal.complain(PROGRAM, error, 1)
    except ClusterError as error:
        return terminal.complain(PROGRAM, error, 2)
    except OSError as error:
        return terminal.complain(PROGRAM, error, 2)
    _conclude(result, folder, names)
    if result.trouble:
        return terminal.complain(PROGRAM, TrainingError(result.trouble), 1)
    return 130 if result.interrupted else 0


def _folder(out: str | None, resume: str | None) -> Path:
    """Make the folder to write to, or find that of the run that goes on."""
    if resume is None:
        return report.prepare_folder(out)
    if out is not None:
        raise DataError("--resume names the folder that is written to; --out is for a new one")
    if not (Path(resume) / CHECKPOINT).is_file():
        raise DataError(f"{resume} has no {CHECKPOINT}; runs on a cluster leave one when they are interrupted")
    return Path(resume)


def _library(name: str) -> Library:
    if name not in LIBRARIES:
        raise LibraryError(f"unknown backend {name!r}; choose one of {', '.join(LIBRARIES)}")
    return load(name)


def _announce(library: Library, data: ImageSet, model: Sequential) -> None:
    shape = "x".join(map(str, data.images.shape[1:]))
    print(f"backend  {library.name} {library.version}, device {library.device_name}, float32")
    print(f"data     {data.name}: {len(data.images)} images {shape} to train on, {len(data.held_out_images)} held out")
    print(f"network  {', '.join(model.names)}", flush=True)


def _conclude(result: Result, folder: Path, names: list[str]) -> None:
    print(f"held out {result.accuracy:.2%} right, {result.seconds:.1f} s")
    if report.skipped():
        print(report.skipped())
    print(f"written  {folder}: {', '.join(names)}", flush=True)
