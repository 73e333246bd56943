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
from pathlib import Path
from typing import Any

from xpconv._tools import machine as _info
from xpconv.verify.report.screen import screen

TIME_LIMIT = 60.0
# the child sees the modules that this process sees, whatever lies in the current folder
CHILD = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from xpconv.verify.target.child import main; main()"
SHOWN_NOTES = 8  # of what could not be loaded


class TargetError(Exception):
    """A target that is not there, or holds none of the functions; the message is one line."""


def main(name: str, seconds: float, seed: int) -> int:
    """Check a target and give the exit status: 0 if all is well, 1 if something is wrong; TargetError for bad ones."""
    source, attribute = split(name)
    records, end = _run(source, attribute, seconds, seed)
    for record in records:
        if record["event"] == "refused":
            raise TargetError(record["text"])
    shown = screen()
    shown.line(f"xpconv {_info.version()} verify: target {name}, seed {seed}")
    notes = [record["text"] for record in records if record["event"] == "note"]
    for text in notes[:SHOWN_NOTES]:
        shown.line(f"  {text}")
    if len(notes) > SHOWN_NOTES:
        shown.line(f"  and {len(notes) - SHOWN_NOTES} more that could not be run")
    found = [record for record in records if record["event"] == "function"]
    for record in found:
        first, *rest = record["lines"]
        shown.line(first, good=record["good"])
        for text in rest:
            shown.line(text)
    wrong = sum(record["good"] is False for record in found)
    right = sum(record["good"] is True for record in found)
    if end:
        doing = next((record["text"] for record in reversed(records) if record["event"] == "begin"), "starting")
        shown.line(f"{end} while {doing}", good=False)
        return 1
    shown.line(f"{right} of {right + wrong} functions are right", good=not wrong)
    return int(wrong > 0)


def split(name: str) -> tuple[str, str]:
    """Split ``MODULE[:NAME]``; a colon that no identifier follows belongs to MODULE."""
    source, colon, attribute = name.rpartition(":")
    if not colon or not source or not all(part.isidentifier() for part in attribute.split(".")):
        source, attribute = name, ""
    if Path(source).suffix in (".py", ".ipynb"):
        if not Path(source).is_file():
            raise TargetError(f"there is no file {source}")
    elif not all(part.isidentifier() for part in source.split(".")):
        raise TargetError(f"a target is a .py file, a notebook (.ipynb) or an importable module; got {name!r}")
    return source, attribute


def _run(source: str, attribute: str, seconds: float, seed: int) -> tuple[list[dict[str, Any]], str]:
    """Run the child; give its records and, if it did not come to its end, why."""
    with tempfile.TemporaryDirectory(prefix="xpconv-") as folder:
        answers, errors = Path(folder, "answers"), Path(folder, "errors")
        paths = json.dumps([str(Path(entry).absolute()) for entry in sys.path])
        command = [sys.executable, "-P", "-c", CHILD, paths, str(answers), source, attribute, str(seed)]
        with errors.open("wb") as sink:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=sink,
                start_new_session=True, env={**os.environ, "MPLBACKEND": "Agg"},
            )  # fmt: skip
            try:
                status, end = child.wait(seconds), ""
            except subprocess.TimeoutExpired:
                status, end = 0, f"stopped: no answer within {seconds:g} s"
            finally:
                _end(child)
        lines = answers.read_text(encoding="utf-8").splitlines() if answers.exists() else []
        records = list(_whole(lines))
        if not end and not any(record["event"] in ("end", "refused") for record in records):
            said = errors.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line.strip() for line in reversed(said) if line.strip()), "")
            end = f"the process ended with {_status(status)}" + f" ({last})" * bool(last)
    return records, end


def _whole(lines: list[str]) -> Iterator[dict[str, Any]]:
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
