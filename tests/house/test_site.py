"""The site's pages: every cell runs, every page is reachable, and every public name has its entry."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import xpconv as xc

DOCS = Path(__file__).parents[2] / "docs"
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
EXECUTED = [path for path in PAGES if CELL.search(path.read_text(encoding="utf-8"))]
# what a page's cells import beside the extra "test"
NEEDS = {"onnx": "onnx", "text": "faker", "check": "IPython", "chunks": "dask"}
SLOW = ("network", "text", "denoising", "deconvolution", "edges", "hessian", "chunks")


def marks(path: Path) -> list[pytest.MarkDecorator]:
    needs = [pytest.mark.needs(NEEDS[path.stem])] if path.stem in NEEDS and path.parent.name != "reference" else []
    return needs + [pytest.mark.slow] * (path.stem in SLOW)


def named(path: Path) -> str:
    return path.relative_to(DOCS).with_suffix("").as_posix()


@pytest.mark.parametrize("path", [pytest.param(path, marks=marks(path), id=named(path)) for path in EXECUTED])
def test_the_cells_of_a_page_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": path.stem}
    with matplotlib.rc_context():
        for match in CELL.finditer(text):
            source = re.sub(r"^(:tags:.*\n)+", "", match.group(1))
            line = text.count("\n", 0, match.end(1)) - source.count("\n")
            exec(compile("\n" * line + source, str(path), "exec"), namespace)
        importlib.import_module("matplotlib.pyplot").close("all")


def test_every_page_is_in_a_list_of_contents() -> None:
    reached = {DOCS / "index.md"}
    for path in PAGES:
        for block in re.findall(
            r"^```\{toctree\}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            lines = [line for line in block.splitlines() if line and not line.startswith(":")]
            reached |= {(path.parent / line).resolve().with_suffix(".md") for line in lines}
    assert set(PAGES) == reached


def test_links_between_pages_and_to_headings() -> None:
    headings = {path: set(map(anchor, re.findall(r"^#+ (.*)$", without_code(path), re.MULTILINE))) for path in PAGES}
    for path in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(path)):
            if "://" in target:
                continue
            name, _, part = target.partition("#")
            there = (path.parent / name).resolve() if name else path
            assert there.exists(), f"{named(path)}: {target}"
            assert not part or part in headings[there], f"{named(path)}: {target}"


def without_code(path: Path) -> str:
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("reference/*.md"))
    entries = set(re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE))
    for module in ("xpconv", "xpconv.bounds", "xpconv.nn", "xpconv.testing", "xpconv.verify", "xpconv.course"):
        for name in importlib.import_module(module).__all__:
            own = f"{module}.{name}"
            top = f"xpconv.{name}" if hasattr(xc, name) else own
            assert {own, top} & entries or name in ("training", "Guise", "Library", "LibraryError"), own
