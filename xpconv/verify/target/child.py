"""What runs in the process of a target: load it, ask it, write down what comes of it, record by record."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from xpconv.verify.target.judge import Judge
from xpconv.verify.target.load import NAMES, LoadError, load


class Sheet:
    """The file that the records go into; each is there as soon as it is written."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def write(self, event: str, **more: Any) -> None:
        """Write a record."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **more}) + "\n")

    def note(self, text: str) -> None:
        """Tell what was passed over."""
        self.write("note", text=text)

    def begin(self, text: str) -> None:
        """Tell what comes next, for the case that it does not come back."""
        self.write("begin", text=text)


def main() -> None:
    """Check the target that the arguments name: file of the records, source, attribute, seed."""
    records, source, attribute, seed = sys.argv[2:]
    sheet = Sheet(records)
    try:
        functions = load(source, attribute, sheet.note, sheet.begin)
    except LoadError as error:
        sheet.write("refused", text=str(error))
        return
    judge = Judge(functions, int(seed))
    np.seterr(all="ignore")
    for name in NAMES if not attribute or len(functions) > 1 else functions:
        sheet.write("verdict", verdict=judge.verdict(name, sheet.begin).record())
    sheet.write("end")
