"""What runs in the process of a target: load it, ask it, write down what comes of it, line by line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from xpconv.verify.catalogue.operation import Array
from xpconv.verify.target.judge import Answers, Judge, Wrong, Wrongs, describe, smallest
from xpconv.verify.target.load import NAMES, LoadError, load

CALLED = {
    "conv_forward": ("zero_pad", "conv_single_step"),
    "conv_backward": ("zero_pad",),
    "pool_backward": ("create_mask_from_window", "distribute_value"),
}  # in the course's own text
ROWS = 12  # lines of an array that is shown whole


class Sheet:
    """The file that the answers go into; each record is there as soon as it is written."""

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
    """Check the target that the arguments name: answers, source, attribute, seed."""
    answers, source, attribute, seed = sys.argv[2:]
    sheet = Sheet(answers)
    try:
        functions = load(source, attribute, sheet.note, sheet.begin)
    except LoadError as error:
        sheet.write("refused", text=str(error))
        return
    judge = Judge(functions, int(seed))
    np.seterr(all="ignore")
    bad: set[str] = set()
    for name in NAMES if not attribute or len(functions) > 1 else functions:
        if name not in functions:
            sheet.write("function", good=None, lines=[f"{name}: not there"])
            continue
        found, wrongs = judge.ask(name, sheet.begin)
        sheet.begin(f"comparing {name} with the known faults")
        if wrongs:
            causes = [cause for cause in CALLED.get(name, ()) if cause in bad]
            sheet.write("function", good=False, lines=_told(judge, name, found, wrongs, causes))
            bad.add(name)
        else:
            sheet.write("function", good=True, lines=[f"{name}: right on {len(found)} inputs"])
    sheet.write("end")


def _told(judge: Judge, name: str, answers: Answers, wrongs: Wrongs, causes: list[str]) -> list[str]:
    """Put a function's faults in lines: what they look like, and the smallest input that shows each."""
    count = len({wrong.task.key for wrong in wrongs})
    lines = [f"{name}: WRONG on {count} of {len(answers)} inputs"]
    if causes:
        lines.append(f"  begin with {' and '.join(causes)}: the course calls that here")
    numbers = list(dict.fromkeys(wrong.number for wrong in wrongs))
    for number in numbers:
        mine = [wrong for wrong in wrongs if wrong.number == number]
        wrong = smallest(mine)
        alike = judge.alike(name, number, answers, wrongs, partly=not causes)
        if alike or not (causes or (number is None and len(numbers) > 1)):
            alike = f"  looks like: {alike or 'none of the known faults'}"
            lines += [] if alike in lines else [alike]
        lines.append(f"  {wrong.what}, with {describe(wrong.task)}")
        if wrong.number is not None:
            lines += _shown(judge, wrong)
    return lines


def _shown(judge: Judge, wrong: Wrong) -> list[str]:
    drawn = judge.data(wrong.task)
    names = wrong.task.operation.call(wrong.task.setup, "").names()
    rows = [(name, drawn[name]) for name in names]
    rows += [("expected", wrong.expected), ("got", wrong.got)]
    lines = []
    for name, array in rows:
        first, *rest = _array(array)
        lines += [f"    {name:12} {first}", *(f"    {'':12} {line}" for line in rest)]
    return lines


def _array(array: Array) -> list[str]:
    """Print an array that is short; of a long one say how large it is."""
    flat = np.squeeze(array)
    text = np.array2string(flat, precision=6, threshold=64, max_line_width=100).split("\n")
    text = [line for line in text if line.strip()]
    if flat.size > 64 or len(text) > ROWS:
        return [f"{tuple(array.shape)}, {array.size} numbers"]
    shape = "" if flat.shape == array.shape else f"  shape {tuple(array.shape)}"
    text[-1] += shape
    return text or ["[]" + shape]
