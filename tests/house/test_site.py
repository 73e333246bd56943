"""The site's pages: every cell runs, every page is reachable, and every public name has its entry."""

import builtins
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
EXECUTED = [path for path in PAGES if CELL.search(path.read_text(encoding="utf-8"))]
# what a page's cells import beside the extra "test"
NEEDS = {"onnx": "onnx", "text": "faker", "check": "IPython", "chunks": "dask"}
SLOW = ("digits", "upsampling", "network", "text", "denoising", "deconvolution", "edges", "hessian", "chunks")


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
            source = re.sub(r"^(:\w+:.*\n)+", "", match.group(1))
            line = text.count("\n", 0, match.end(1)) - source.count("\n")
            exec(compile("\n" * line + source, str(path), "exec"), namespace)
        importlib.import_module("matplotlib.pyplot").close("all")


@pytest.mark.parametrize("path", [pytest.param(path, id=named(path)) for path in EXECUTED])
def test_pictures_are_described(path: Path) -> None:
    """For those who do not see them; without it the name of a file would be read out."""
    for match in CELL.finditer(path.read_text(encoding="utf-8")):
        drawn = re.search(r"^(fig|_).*subplots\(", match.group(1), re.MULTILINE)
        assert not drawn or re.search(r'^:mystnb: \{image: \{alt: ".+"\}\}$', match.group(1), re.MULTILINE)


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


REFERENCE = DOCS / "reference"
ENTRY = re.compile(r"^\.\. auto(?:function|class|exception):: ([\w.]+(?:\(\))?)", re.MULTILINE)
# beside the entries of the reference: Python's own, and what the standard library and NumPy say themselves
PLAIN = set(dir(builtins)) | set(typing.__all__) - {"Any"}
PLAIN |= {"np", "random", "Generator", "os", "PathLike", "onnx", "ModelProto", "OpRun"}


def entries() -> list[tuple[str, Path]]:
    return [(name, page) for page in sorted(REFERENCE.glob("*.md")) for name in ENTRY.findall(page.read_text("utf-8"))]


def annotations(thing: Any) -> Iterator[str]:
    """Give what a signature says, but for what really takes anything: ``*args``, ``**kwargs``, any callable."""
    found = inspect.signature(thing)
    for parameter in found.parameters.values():
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            yield parameter.annotation
    yield found.return_annotation


def needed(name: str) -> list[pytest.MarkDecorator]:
    """Give the mark of an entry whose part of the package imports the library of its name."""
    part = name.split(".")[1]
    return [pytest.mark.needs(part)] if part in ("torch", "jax", "dask", "onnx") else []


MODULES = ("bounds", "nn", "nn.training", "testing", "verify", "course", "torch", "jax", "dask", "onnx")


@pytest.mark.parametrize(
    "name", ["xpconv", *(pytest.param(f"xpconv.{name}", marks=needed(f"xpconv.{name}")) for name in MODULES)]
)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    """By its own name, or where it is one of xpconv's, a bound, or one of `nn`'s, by that."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md"))
    there = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)", text, re.MULTILINE))
    data = re.findall(r"^\.\. py:data:: (\w+)\n   :module: ([\w.]+)$", text, re.MULTILINE)
    there |= {f"{home}.{one}" for one, home in data}
    module = importlib.import_module(name)
    for one in module.__all__:
        if not inspect.ismodule(getattr(module, one)):
            assert {f"{home}.{one}" for home in (name, "xpconv", "xpconv.bounds", "xpconv.nn")} & there, one


@pytest.mark.parametrize("name", [pytest.param(name, marks=needed(name)) for name, _ in entries()])
def test_the_reference_says_what_each_type_of_a_signature_is(name: str) -> None:
    types = set(
        re.findall(r"^\.\. py:(?:type|class):: (\w+)$", (REFERENCE / "types.md").read_text("utf-8"), re.MULTILINE)
    )
    known = types | {entry.rpartition(".")[2].rstrip("()") for entry, _ in entries()} | PLAIN
    module, _, last = name.rstrip("()").rpartition(".")
    thing = getattr(importlib.import_module(module), last)
    things = [thing]
    if inspect.isclass(thing):
        public = {key: value for key, value in vars(thing).items() if not key.startswith("_")}
        things = [value for value in public.values() if inspect.isfunction(value)]
        things += [value.fget for value in public.values() if isinstance(value, property)]
        made_by_hand = "__init__" in vars(thing) and not getattr(thing, "_is_protocol", False)
        things += [thing] * (made_by_hand and not name.endswith("()"))  # a record's own constructor is not shown
    for one in things:
        for annotation in annotations(one):
            if annotation is inspect.Parameter.empty:
                continue
            text = re.sub(r"Callable\[\.\.\., Any\]|'[^']*'", "", str(annotation))
            assert set(re.findall(r"[A-Za-z_]\w*", text)) <= known, f"{one.__qualname__}: {annotation}"
