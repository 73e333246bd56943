"""What runs in the process of a target: load it, ask it, write down what comes of it, record by record."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from xpconv.verify.target.judge import Judge
from xpconv.verify.target.load import NAMES, LoadError, load
from xpconv.verify.target.room import room


class Sheet:
    """The file that the records go into; each is there as soon as it is written."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def write(self, event: str, **more: Any) -> None:
        """Write a record."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **more}) + "\n")

    def step(self, key: str) -> None:
        """Tell what comes next, for the case that it does not come back: a statement, or a function."""
        self.write("step", key=key)

    def asked(self) -> None:
        """Tell that a function has been asked everything: from here on none of its code runs."""
        self.write("asked")

    def begin(self, text: str) -> None:
        """Tell what a function is asked next."""
        self.write("begin", text=text)


def main() -> None:
    """Check the target that the arguments name: file of the records, source, attribute, seed, what is over already.

    The last is {"skip": {statement: reason}, "statuses": {function: status}}, both from processes before this one.
    The target works in a folder beside the records, where it finds what lies beside it.
    """
    records, source, attribute, seed, over = sys.argv[2:]
    path = Path(source).absolute()
    is_file = path.suffix in (".py", ".ipynb")
    beside = path.parent if is_file else Path.cwd()
    folder = Path(records).absolute().with_name("folder")
    folder.mkdir()
    if not is_file:
        sys.path.insert(0, str(beside))
    with room(folder, beside):
        _judge(Sheet(records), (source, path, attribute), int(seed), over)


def _judge(sheet: Sheet, target: tuple[str, Path, str], seed: int, over: str) -> None:
    attribute = target[2]
    before = json.loads(over)
    try:
        loaded = load(*target, sheet.step, before["skip"])
    except LoadError as error:
        sheet.write("refused", text=str(error))
        return
    for note in loaded.notes:
        sheet.write("note", text=str(note), about=note.about)
    judge = Judge(loaded, seed, before["statuses"])
    for name in NAMES if not attribute or len(loaded.functions) > 1 else loaded.functions:
        if name not in before["statuses"]:
            sheet.step(name)
            found = judge.verdict(name, sheet.begin, sheet.asked)
            sheet.write("verdict", verdict=found.record())
    sheet.write("end")
