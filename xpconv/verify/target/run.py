"""Check somebody else's functions of the course's names, in a process of their own with a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpconv.verify.target import verdict
from xpconv.verify.target.verdict import Verdict

TIME_LIMIT = 60.0
# the child sees the modules that this process sees, whatever lies in the current folder
CHILD = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from xpconv.verify.target.child import main; main()"
Record = dict[str, Any]


class TargetError(Exception):
    """A target that is not there, or holds none of the functions; the message is one line."""


@dataclass(frozen=True)
class Outcome:
    """What came of a target."""

    target: str
    seed: int
    notes: tuple[str, ...]  # what was passed over
    verdicts: tuple[Verdict, ...]
    stopped: str = ""  # why it did not come to its end, and where; empty if it did


def check(target: str, seconds: float, seed: int) -> Outcome:
    """Check a target, ``MODULE[:NAME]``; TargetError if there is nothing to check."""
    records, end = _run(*split(target), seconds, seed)
    for record in records:
        if record["event"] == "refused":
            raise TargetError(record["text"])
    notes = tuple(record["text"] for record in records if record["event"] == "note")
    verdicts = tuple(verdict.read(record["verdict"]) for record in records if record["event"] == "verdict")
    if end:
        doing = next((record["text"] for record in reversed(records) if record["event"] == "begin"), "starting")
        end = f"{end} while {doing}"
    return Outcome(target, seed, notes, verdicts, end)


def split(target: str) -> tuple[str, str]:
    """Split ``MODULE[:NAME]``; a colon that no identifier follows belongs to MODULE."""
    source, colon, attribute = target.rpartition(":")
    if not colon or not source or not all(part.isidentifier() for part in attribute.split(".")):
        source, attribute = target, ""
    if Path(source).suffix in (".py", ".ipynb"):
        if not Path(source).is_file():
            raise TargetError(f"there is no file {source}")
    elif not all(part.isidentifier() for part in source.split(".")):
        raise TargetError(f"a target is a .py file, a notebook (.ipynb) or an importable module; got {target!r}")
    return source, attribute


def _run(source: str, attribute: str, seconds: float, seed: int) -> tuple[list[Record], str]:
    """Run the child; read its records and, if it did not come to its end, say why."""
    with tempfile.TemporaryDirectory(prefix="xpconv-") as folder:
        sheet, errors = Path(folder, "records"), Path(folder, "errors")
        paths = json.dumps([str(Path(entry).absolute()) for entry in sys.path])
        command = [sys.executable, "-P", "-c", CHILD, paths, str(sheet), source, attribute, str(seed)]
        with errors.open("wb") as sink:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=sink,
                start_new_session=True,
                env={**os.environ, "MPLBACKEND": "Agg"},
            )
            try:
                status, end = child.wait(seconds), ""
            except subprocess.TimeoutExpired:
                status, end = 0, f"stopped: no answer within {seconds:g} s"
            finally:
                _end(child)
        lines = sheet.read_text(encoding="utf-8").splitlines() if sheet.exists() else []
        records = list(_whole(lines))
        if not end and not any(record["event"] in ("end", "refused") for record in records):
            said = errors.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line.strip() for line in reversed(said) if line.strip()), "")
            end = f"the process ended with {_status(status)}" + f" ({last})" * bool(last)
    return records, end


def _whole(lines: list[str]) -> Iterator[Record]:
    """Read the records, without one that was being written when the child ended."""
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            return


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child, and what it may have started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    elif child.poll() is None:
        child.kill()
    child.wait()


def _status(status: int) -> str:
    """Name an exit status, or the signal that it stands for."""
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
