"""Plant each of the package's faults and run the tests of its operation until one fails: `python -m tests.kill`.

`xpconv verify --self-test` asks this of the verifier; here it is asked of the test suite, in the size that people wait
for. Each fault is planted in a process of its own. Words on the command line choose the faults whose names or places
hold one of them. The status is 1 if a fault survives.
"""

import io
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout

import pytest

from xpconv.verify.faults.fault import Fault, planted
from xpconv.verify.selftest import FAULTS

QUIET = ["-q", "-x", "--numprocesses=0", "-p", "no:cacheprovider", "--no-header", "--no-summary"]
CATALOGUE = "tests/ops/test_catalogue.py"
FOLDERS = ["tests/course", "tests/ops", "tests/arrays", "tests/algorithms", "tests/convolution", "tests/pooling"]
SECONDS = 300  # a fault that makes a test endless is not caught


class Recorder:
    """The first test that fails."""

    def __init__(self) -> None:
        self.name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        if report.failed and not self.name:
            self.name = report.nodeid


def stages(fault: Fault) -> Iterator[list[str]]:
    """Give the tests to run, those of the operation first: arguments of pytest."""
    guise = "-".join(filter(None, (fault.library, fault.device)))
    yield [CATALOGUE, "-k", " or ".join(f"{guise}-{name}/" for name in fault.operations)]
    yield [*FOLDERS, "--deselect", CATALOGUE, "-k", "not torch and not jax and not dask"]


def catching(fault: Fault) -> str:
    """Name the test that catches a fault; empty if none does."""
    with planted(fault):
        for arguments in stages(fault):
            recorder = Recorder()
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                pytest.main([*QUIET, *arguments], plugins=[recorder])
            if recorder.name:
                return recorder.name
    return ""


def apart(fault: Fault) -> str:
    """Do that in a process of its own, from which nothing comes back but the name."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        signal.alarm(SECONDS)
        with os.fdopen(writer, "w") as answer:
            json.dump(catching(fault), answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else ""


def main(words: Sequence[str]) -> int:
    """Print a line for each fault."""
    faults = [f for f in FAULTS if not words or any(word in f"{f.name} {f.where}" for word in words)]
    with redirect_stdout(io.StringIO()):
        pytest.main([*QUIET, "--collect-only", CATALOGUE, *FOLDERS])  # imports what the children need
    start, survivors = time.perf_counter(), []
    for fault in faults:
        name = apart(fault)
        print(f"{fault.name:<35} {fault.where:<33} {name or 'SURVIVED'}", flush=True)
        if not name:
            survivors.append(f"{fault.name} in {fault.where}")
    print(f"{len(faults) - len(survivors)} of {len(faults)} faults caught, {time.perf_counter() - start:.0f} s")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
