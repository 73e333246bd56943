"""Rules that a reader of the house relies on: short parameter lists, one file that knows libraries by name."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import xpconv as xc
from tests.house.test_imports import MODULES, ROOT, tree_of

MOST_PARAMETERS = 7
MOST_UNFORMATTED = 15
LIBRARIES = re.compile(r"\b(torch|jax|cupy|dask|dpnp)", re.IGNORECASE)
KNOWING = {"xpconv._arrays.space": {"torch", "jax", "cupy", "dask", "dpnp"}}
KNOWING |= {"xpconv._arrays.cublas": {"cupy"}, "xpconv._arrays.cufft": {"cupy"}}
KNOWING["xpconv._chunks.graph"] = {"dask"}
OPERATIONS = (
    "_shapes",
    "_arrays",
    "_work",
    "algorithms",
    "_plan",
    "_engine",
    "_convolution",
    "_pooling",
    "_chunks",
    "_ops",
)
OPERATIONS += ("bounds", "course", "nn")
PUBLIC = {*xc.__all__, *xc.bounds.__all__, "fit"}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a file with the number of its parameters, itself or its class apart."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            yield node.name, len([name for name in names if name not in ("self", "cls")])


def test_only_public_functions_have_many_parameters() -> None:
    for name, path in MODULES.items():
        long = {function for function, count in functions(path) if count > MOST_PARAMETERS}
        assert not long - PUBLIC, f"{name}: a list of more than {MOST_PARAMETERS} parameters is a missing object"


def test_the_formatter_is_hardly_ever_switched_off() -> None:
    found = [str(path) for path in MODULES.values() for _ in re.findall("fmt: (?:skip|off)", path.read_text("utf-8"))]
    assert len(found) <= MOST_UNFORMATTED, found


def code(path: Path) -> Iterator[str]:
    """The names and strings of a file's code, without its comments and docstrings."""
    text = path.read_text(encoding="utf-8")
    documentation = {
        node.body[0].value.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and ast.get_docstring(node, clean=False)
        and isinstance(node.body[0], ast.Expr)
    }
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME or (token.type == tokenize.STRING and token.start[0] not in documentation):
            yield token.string


def test_one_file_knows_libraries_by_name() -> None:
    for name in (name for name in MODULES if name.split(".")[1:2] and name.split(".")[1] in OPERATIONS):
        if name in KNOWING:
            known = {match.group().lower() for text in code(MODULES[name]) for match in LIBRARIES.finditer(text)}
            assert known == KNOWING[name], name
            continue
        found = [text for text in code(MODULES[name]) if LIBRARIES.search(text)]
        assert not found, f"{MODULES[name].relative_to(ROOT)} names a library: {found}"
