"""The code of a notebook or a file, cut into statements that run one by one; what is not Python is left out."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import io
import json
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WHOLE_CELL = ("time", "timeit", "capture", "prun")  # cell magics whose cell is Python
# a line's indentation, then a magic, a shell command or a question; or an assignment of what the first two give
OTHER = re.compile(r"^(\s*)(?:[%!?].*|[\w.]+\?\??\s*|([\w., ]+=\s*)[%!].*)$")
# a line that begins nothing: indented, a comment, the rest of brackets or of a compound statement
GOES_ON = re.compile(r"\s|#|[)\]}]|(?:else|elif|except|finally)\b|$")
TIMED = re.compile(r"^(\s*)%(?:time|prun)\s+(?=\S)", re.MULTILINE)  # magics whose line is Python
REACH = 40  # pieces that a string over many lines may be cut into


@dataclass(frozen=True)
class Cell:
    """Code that stands together: `file` is what its functions name as theirs, `place` what a message names."""

    file: str
    place: str
    text: str


@dataclass(frozen=True)
class Step:
    """One statement, or what stands where none could be read."""

    place: str
    text: str
    node: ast.stmt | None = None
    error: SyntaxError | None = None


def notebook(path: Path) -> list[Cell]:
    """Read the code cells of a notebook; ValueError, KeyError or TypeError if it is none."""
    book = json.loads(path.read_text(encoding="utf-8-sig"))
    found = book["cells"] if "cells" in book else [cell for sheet in book["worksheets"] for cell in sheet["cells"]]
    texts = [_text(cell) for cell in found if cell["cell_type"] == "code"]
    return [Cell(f"cell {number}", f"cell {number}, ", text) for number, text in enumerate(texts, start=1)]


def script(path: Path) -> list[Cell]:
    """Read a file, in the encoding that it declares."""
    data = path.read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError):
        text = data.decode("utf-8", errors="replace")
    return [Cell(str(path), "", text.replace("\r\n", "\n"))]


def _text(cell: dict[str, Any]) -> str:
    source = cell["source"] if "source" in cell else cell["input"]
    return source if isinstance(source, str) else "".join(source)


def steps(cell: Cell) -> Iterator[Step]:
    """Cut a cell into its statements; what cannot be read is one step, and what stands around it is not lost."""
    for line, text in _pieces(python(cell.text)):
        try:
            statements = ast.parse("\n" * (line - 1) + text, cell.file).body
        except (SyntaxError, ValueError) as error:
            fault = error if isinstance(error, SyntaxError) else SyntaxError(str(error))
            yield Step(f"{cell.place}line {fault.lineno or line}", text, error=fault)
            continue
        for statement in statements:
            yield Step(f"{cell.place}line {statement.lineno}", text, statement)


def python(text: str) -> str:
    """Leave out what is not Python in a cell: magics, shell lines, questions; the numbers of the lines stay."""
    first, _, rest = text.lstrip().partition("\n")
    if first.startswith("%%"):
        if first[2:].split(maxsplit=1)[:1] not in [[name] for name in WHOLE_CELL]:
            return ""
        blank = len(text) - len(text.lstrip())
        text = f"{text[:blank]}pass\n{rest}"
    return text if _reads(text) else _without_magics(TIMED.sub(r"\1", text))


def _without_magics(text: str) -> str:
    """Let IPython's own transformer do it where it is installed and the numbers of the lines stay."""
    if importlib.util.find_spec("IPython") is not None:
        transformer = importlib.import_module("IPython.core.inputtransformer2").TransformerManager()
        head = text[: len(text) - len(text.lstrip("\n"))]  # which it would drop
        done = ""
        with contextlib.suppress(SyntaxError):
            done = f"{head}{transformer.transform_cell(text[len(head) :])}"
        if done.rstrip("\n").count("\n") == text.rstrip("\n").count("\n"):
            return done
    return "\n".join(
        OTHER.sub(lambda found: found[1] + (f"{found[2]}None" if found[2] else "pass"), line)
        for line in text.split("\n")
    )


def _reads(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Cut text that does not parse where a line begins something; give the pieces with their first lines."""
    if _reads(text):
        yield 1, text
        return
    lines = text.split("\n")
    starts = [n for n, line in enumerate(lines) if not GOES_ON.match(line) and not (n and lines[n - 1][:1] == "@")]
    starts = [*starts, len(lines)]
    at = 0
    while at + 1 < len(starts):
        ends = range(at + 1, min(at + 1 + REACH, len(starts)))
        end = next((end for end in ends if _reads("\n".join(lines[starts[at] : starts[end]]))), at + 1)
        yield starts[at] + 1, "\n".join(lines[starts[at] : starts[end]])
        at = end
