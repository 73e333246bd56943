"""``python -m bench gpu_all``, also ``python -m bench.gpu_all``: everything that a CUDA machine is needed for.

First the verifier's core cases, so that the kernels are compiled, once, before anything is timed or limited; CuPy keeps
them on disk. Then the model of a GPU, the parity tests, the verifier with its report, a training run and the GPU
benchmark, one after another, each with a time limit and a log of its own; one that fails does not stop the others.
Nothing of xpconv is imported here: what that needs may be installed by this command.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.arguments import names_of, positive_int
from bench.errors import UsageError
from bench.measure.devices import find_cupy
from bench.report.files import write
from bench.report.predicted import beside
from bench.report.table import Table

HELP = "everything that a CUDA machine is needed for: tests, verifier, training and this benchmark, one after another"
ROOT = Path(__file__).resolve().parents[2]
# a kernel takes a quarter of a second to compile, and there are some thousands: the limit of the first is for a hang
LIMITS = {"compile": 3600, "model": 120, "tests": 420, "verify": 240, "train": 120, "gpu": 480}
STANDIN = str(ROOT / "tests" / "standin")  # on the path it is what `import cupy` gives
EXTRA = {  # environment of a step
    "model": {"CUDA_VISIBLE_DEVICES": ""},  # it counts on the stand-in, which is there where CuPy has no device
    "tests": {"JAX_PLATFORMS": "cpu"},
}
TIMED_OUT = 124
DRY_DATA = "dry-run.npz"
WORKERS = 8


@dataclass(frozen=True)
class Step:
    """A command with its time limit."""

    name: str
    command: tuple[str, ...]
    seconds: int


@dataclass(frozen=True)
class Ended:
    """How a step ended."""

    step: Step
    status: int
    seconds: float
    last: str

    @property
    def verdict(self) -> str:
        """Say it in a word."""
        return {0: "passed", TIMED_OUT: "out of time"}.get(self.status, f"failed ({self.status})")


def limit(text: str) -> tuple[str, int]:
    """Read STEP=SECONDS."""
    name, _, seconds = text.partition("=")
    if name not in LIMITS:
        raise argparse.ArgumentTypeError(f"wants STEP=SECONDS, STEP one of {', '.join(LIMITS)}; got {text!r}")
    return name, positive_int(seconds)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    default = ", ".join(f"{name}={seconds}" for name, seconds in LIMITS.items())
    parser.add_argument("out", type=Path, metavar="FOLDER", help="where logs and results go; made if it is not there")
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="install what is missing here from these wheels")
    parser.add_argument(
        "--steps", type=names_of(LIMITS), default=tuple(LIMITS), metavar="NAME,...", help="only these of the steps"
    )
    parser.add_argument(
        "--limit",
        type=limit,
        action="append",
        default=[],
        metavar="STEP=SECONDS",
        help=f"time limit of a step (default: {default})",
    )
    parser.add_argument("--without", default="", metavar="NAME,...", help="libraries that the benchmark leaves out")
    parser.add_argument("--dry-run", action="store_true", help="small steps on CuPy's stand-in, to see that it works")


def slug(name: str) -> str:
    """Make a device's name a file's: ``nvidia-h100-pcie``."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")


def device_name(dry: bool) -> str:
    """Name the device; UsageError where there is none."""
    if dry:
        return "dry-run"
    cupy, reason = find_cupy()
    if cupy is None:
        raise UsageError(reason)
    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"]
    return slug(name.decode() if isinstance(name, bytes) else str(name))


def plan(options: argparse.Namespace, report: Path, spread: bool) -> list[Step]:
    """List the steps in order; `spread` says whether the tests can run on several processes."""
    python, dry, out = sys.executable, options.dry_run, options.out.resolve()
    limits = LIMITS | dict(options.limit)
    bench = [f"--{kind}={out / 'gpu'}.{end}" for kind, end in (("json", "json"), ("markdown", "md"), ("png", "png"))]
    if importlib.util.find_spec("matplotlib") is None:
        del bench[2]
    # more than the start and the last case need, so that what was measured is written in time
    bench.append(f"--seconds={max(1, limits['gpu'] - 90)}")
    if options.without:
        bench.append(f"--without={options.without}")
    tests = ["-k", "cupy or cuda", "--backends", "numpy" if dry else "numpy,cupy", "-p", "no:cacheprovider", "-q"]
    commands = {
        "compile": ["-m", "xpconv", "verify", "--quick", "--backends", "cupy"],
        "model": ["-m", "bench", "device", f"--json={out / 'model.json'}", f"--markdown={out / 'model.md'}"],
        "tests": ["-m", "pytest", *tests, *(["-n", str(WORKERS)] if spread else [])],
        "verify": ["-m", "xpconv", "verify", "--backends", "numpy,cupy", "--report", str(report)],
        "train": ["-m", "xpconv", "train", "--backend", "cupy", "--out", str(out / "train")],
        "gpu": ["-m", "bench", "gpu", *bench],
    }
    if dry:
        commands["compile"] += ["--operations", "pad"]
        commands["model"] += ["--quick"]
        commands["tests"] += ["-n0", "tests/ops/test_cuda.py"]
        commands["verify"] += ["--quick", "--operations", "conv"]
        commands["train"] += ["--epochs", "1", "--data", str(out / DRY_DATA)]
        commands["gpu"] += ["--dry-run", "--rounds", "1"]
    return [Step(name, (python, *commands[name]), limits[name]) for name in options.steps]


def _tail(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:160] if lines else ""


def run_step(step: Step, log: Path, environment: Mapping[str, str]) -> Ended:
    """Run a step in a process group of its own, which ends with it."""
    started = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            step.command,
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(step.seconds)
        except subprocess.TimeoutExpired:
            status = TIMED_OUT
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return Ended(step, status, time.perf_counter() - started, _tail(log))


def missing_wheels(folder: Path) -> list[str]:
    """List the distributions among these wheels that are not installed."""
    if not folder.is_dir():
        raise UsageError(f"--wheels wants a folder; {folder} is none")
    names = sorted({path.name.split("-")[0] for path in folder.glob("*.whl")})
    if not names:
        raise UsageError(f"--wheels: there is no wheel in {folder}")
    return [name for name in names if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def prepare(site: Path, wheels: Path | None) -> None:
    """Put what is missing into a folder on the path: wheels, and xpconv's own metadata where it is not installed."""
    site.mkdir(parents=True, exist_ok=True)
    names = [] if wheels is None else missing_wheels(wheels)
    if names:
        print(f"installing {', '.join(names)}", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-cache-dir"]
        if subprocess.run([*pip, "--find-links", str(wheels), "--target", str(site), *names], check=False).returncode:
            raise UsageError(f"pip cannot install {', '.join(names)} from {wheels}")
    if not _installed("xpconv"):  # its version is read from there
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        folder = site / f"xpconv-{project['version']}.dist-info"
        folder.mkdir(exist_ok=True)
        metadata = f"Metadata-Version: 2.1\nName: xpconv\nVersion: {project['version']}\n"
        (folder / "METADATA").write_text(metadata, encoding="utf-8")


def environment(site: Path) -> dict[str, str]:
    """Make the environment of the steps."""
    path = os.pathsep.join(filter(None, (str(ROOT), str(site), os.environ.get("PYTHONPATH", ""))))
    # JAX would take most of the device's memory, in each process of the tests
    return os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def extra(step: str, dry: bool, path: str) -> dict[str, str]:
    """Say what a step's environment has beside; in a dry run CuPy's stand-in is CuPy, where a step wants CuPy."""
    if dry and step not in ("model", "tests"):  # these put it there themselves
        return {"PYTHONPATH": os.pathsep.join((STANDIN, path))}
    return EXTRA.get(step, {})


def few_images(path: Path) -> None:
    """Write images and labels for a dry run of the training."""
    import numpy as np

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80)
    np.savez(path, images=rng.random((80, 8, 8)) + labels[:, None, None], labels=labels)


def compare(out: Path) -> None:
    """Write what the model said beside what was measured, where both files are there."""
    records = [out / "model.json", out / "gpu.json"]
    if all(path.exists() for path in records):
        table = beside(*(json.loads(path.read_text(encoding="utf-8")) for path in records))
        write(out / "predicted.md", "\n".join(table.markdown()) + "\n")
        table.show()


def summary(ended: Sequence[Ended]) -> Table:
    """Lay out how the steps ended."""
    rows = [(one.step.name, one.verdict, f"{one.seconds:.0f}", str(one.step.seconds), one.last) for one in ended]
    return Table(["step", "result", "seconds", "limit", "last line"], list(rows))


def run(options: argparse.Namespace) -> int:
    """Run the steps and give 0 if all passed, otherwise 1."""
    try:
        return _run(options)
    except OSError as error:
        raise UsageError(str(error)) from error


def _run(options: argparse.Namespace) -> int:
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        prepare(site, options.wheels)
        sys.path.append(str(site))  # for what this process looks up itself
        name = device_name(options.dry_run)
        evidence = options.out if options.dry_run else ROOT / "tests" / "evidence"
        report = (evidence / f"cuda-{name}.json").resolve()
        if options.dry_run:
            few_images(options.out / DRY_DATA)
        ended = []
        for step in plan(options, report, _installed("pytest-xdist") and not options.dry_run):
            print(f"{step.name}: {shlex.join(step.command[1:])} (at most {step.seconds} s)", flush=True)
            usual = environment(site)
            special = extra(step.name, options.dry_run, usual["PYTHONPATH"])
            ended.append(run_step(step, options.out / f"{step.name}.log", usual | special))
            print(f"  {ended[-1].verdict}, {ended[-1].seconds:.0f} s: {ended[-1].last}", flush=True)
            # after each step, so that it is there whatever ends this command
            write(options.out / "summary.md", "\n".join(summary(ended).markdown()) + "\n")
        compare(options.out)
        if report.exists() and report.parent != options.out.resolve():
            shutil.copy(report, options.out)
        sys.path.remove(str(site))
    summary(ended).show()
    return int(any(one.status for one in ended))
