"""Check somebody else's functions of the course's names, in a process of their own, each with a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpconv.verify.target import verdict
from xpconv.verify.target.load import NAMES
from xpconv.verify.target.verdict import ABSENT, FAILS, PASSES, WRONG, Finding, Verdict

TIME_LIMIT = 30.0
PATIENCE = 30  # processes that may end in the middle
POLL = 0.02
STARVED = 4  # times the limit that a process may take which hardly gets a processor
# the child sees the modules that this process sees, whatever lies in the current folder
CHILD = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from xpconv.verify.target.child import main; main()"
Record = dict[str, Any]


class TargetError(Exception):
    """A target that is not there, or holds none of the functions; the message is one line."""


@dataclass(frozen=True)
class Outcome:
    """What came of a target; `refused` says why it could not be judged."""

    target: str
    seed: int
    notes: tuple[tuple[str, str], ...] = ()  # what was passed over, and the function that it concerns, if one
    verdicts: tuple[Verdict, ...] = ()
    refused: str = ""

    @property
    def right(self) -> int:
        """How many functions are right, at least in what the course asks."""
        return sum(verdict.status in PASSES for verdict in self.verdicts)

    @property
    def of(self) -> int:
        """How many functions are there."""
        return sum(verdict.status != ABSENT for verdict in self.verdicts)

    @property
    def passed(self) -> bool:
        """Say whether nothing is wrong, unfinished or unreadable."""
        return not self.refused and all(verdict.status not in FAILS for verdict in self.verdicts)

    def public(self) -> dict[str, Any]:
        """Write what a report says of it."""
        functions = {verdict.name: verdict.public() for verdict in self.verdicts}
        return {"target": self.target, "functions": functions, "right": self.right, "of": self.of}


def check(target: str, seconds: float, seed: int) -> Outcome:
    """Check a target, ``MODULE[:NAME]``; `seconds` is what a function, or a statement, may take."""
    try:
        source, attribute = split(target)
        run = _Run(source, attribute, seconds, seed)
        run.until_the_end()
    except TargetError as error:
        return Outcome(target, seed, refused=str(error))
    verdicts = tuple(run.verdicts[name] for name in NAMES if name in run.verdicts)
    return Outcome(target, seed, run.notes, verdicts)


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


@dataclass
class _Run:
    """One process after another, until one comes to its end: each leaves out what ended those before it."""

    source: str
    attribute: str
    seconds: float
    seed: int
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    notes: tuple[tuple[str, str], ...] = ()
    _skip: dict[str, str] = field(default_factory=dict)

    def until_the_end(self) -> None:
        """Run until all is judged; TargetError if there is nothing to judge."""
        for _ in range(PATIENCE):
            records, why = self._process()
            for record in records:
                if record["event"] == "refused":
                    raise TargetError(record["text"])
                if record["event"] == "verdict":
                    found = verdict.read(record["verdict"])
                    self.verdicts[found.name] = found
            self.notes = tuple((one["text"], one["about"]) for one in records if one["event"] == "note")
            if not why:
                return
            self._leave_out(records, why)
        raise TargetError(f"{self.source} ends one process after another; the last time, {why}")

    def _leave_out(self, records: list[Record], why: str) -> None:
        """Blame what ran when a process ended."""
        steps = [record["key"] for record in records if record["event"] == "step"]
        if not steps:
            raise TargetError(f"the process of {self.source} {why}")
        last = steps[-1]
        if last not in NAMES:
            if last.startswith("importing ") or last in self._skip:
                raise TargetError(f"{self.source}: {why} while {last}")
            self._skip[last] = why
            return
        given = next((record["text"] for record in reversed(records) if record["event"] == "begin"), "")
        found = (Finding((why,), given),) if given else ()
        looks = ("an endless loop, or one that is far too slow",) if why.startswith("stopped") else ()
        self.verdicts[last] = Verdict(last, WRONG, "" if found else why, looks, findings=found)

    def _process(self) -> tuple[list[Record], str]:
        """Run a process; read its records and, if it did not come to its end, say why."""
        with tempfile.TemporaryDirectory(prefix="xpconv-") as folder:
            sheet, errors = Path(folder, "records"), Path(folder, "errors")
            paths = json.dumps([str(Path(entry).absolute()) for entry in sys.path])
            statuses = {name: found.status for name, found in self.verdicts.items()}
            over = json.dumps({"skip": self._skip, "statuses": statuses})
            arguments = [paths, str(sheet), self.source, self.attribute, str(self.seed), over]
            with errors.open("wb") as sink:
                child = subprocess.Popen(
                    [sys.executable, "-P", "-c", CHILD, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=sink,
                    start_new_session=True,
                    env={**os.environ, "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"},
                )
                try:
                    why = self._wait(child, sheet)
                finally:
                    _end(child)
            records = list(_whole(sheet))
            if not why and not any(record["event"] in ("end", "refused") for record in records):
                said = errors.read_text(encoding="utf-8", errors="replace").split("\n")
                last = next((line.strip() for line in reversed(said) if line.strip()), "")
                why = f"ended the process with {_status(child.returncode)}" + f" ({last})" * bool(last)
        return records, why

    def _wait(self, child: subprocess.Popen[bytes], sheet: Path) -> str:
        """Wait for the end of a process, or for a step that takes too long: say so."""
        steps, clock, size, theirs = 0, _Clock(child.pid), -1, True
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(POLL)
                return ""
            now = sheet.stat().st_size if sheet.exists() else 0
            if now != size:
                size = now
                events = [record["event"] for record in _whole(sheet)]
                if events.count("step") != steps:
                    steps = events.count("step")
                    clock.reset()
                theirs = events[-1:] != ["asked"]
            if clock.look() > self.seconds + (TIME_LIMIT if not steps else 0) and theirs:
                return f"stopped after {self.seconds:g} s"


class _Clock:
    """Counts the seconds that a process had: while it wants a processor and gets none, on a busy machine, a part."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.reset()

    def reset(self) -> None:
        """Begin again."""
        self.seconds, self._then, self._used = 0.0, time.monotonic(), self._state()[1]

    def look(self) -> float:
        """Count on, and tell the seconds so far; to be called often."""
        now, (wants, used) = time.monotonic(), self._state()
        passed, had = now - self._then, used - self._used
        self.seconds += max(had, passed / STARVED) if wants else passed
        self._then, self._used = now, used
        return self.seconds

    def _state(self) -> tuple[bool, float]:
        """Say whether the process runs or waits for a processor, and how long it ran; where that can be read."""
        try:
            words = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
            return words[0] == "R", (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError, AttributeError):
            return False, 0.0


def _whole(sheet: Path) -> Iterator[Record]:
    """Read the records, without one that is just being written."""
    if sheet.exists():
        for line in sheet.read_text(encoding="utf-8").splitlines():
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
