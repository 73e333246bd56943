"""What is still to be filled in: the course hands out functions with None where the work is to be done."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any


def placeholder(function: Callable[..., Any]) -> str:
    """Quote the first line that is still as it was handed out, with its place; empty if there is none."""
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return ""
    body = getattr(tree.body[0], "body", []) if tree.body else []
    work = [node for node in body if not _says_nothing(node)]
    if not work:
        return "nothing stands in it"
    if isinstance(work[0], ast.Raise) and "NotImplemented" in ast.unparse(work[0]):
        return "it raises NotImplementedError"
    found = min((node.lineno for node in _unfilled(tree)), default=0)
    if not found:
        return ""
    file = inspect.getsourcefile(inspect.unwrap(function)) or ""
    place = f"{file}, " if file.startswith("cell ") else ""
    return f"{place}line {first + found - 1} still reads {lines[found - 1].strip()!r}"


def _says_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Return):
        return node.value is None or _is_none(node.value)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _is_none(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Tuple):
        return bool(node.elts) and all(map(_is_none, node.elts))
    return isinstance(node, ast.Constant) and node.value is None


def _unfilled(tree: ast.AST) -> Iterator[ast.stmt]:
    """Find what has None for a value; a name that gets another value elsewhere only starts from it."""
    filled = set(_filled(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _is_none(node.value):
            names = {name for target in node.targets for name in _stored(target)}
            if not names or names - filled or isinstance(node.targets[0], ast.Tuple):
                yield node
        elif isinstance(node, (ast.AugAssign, ast.Return, ast.Expr)):
            if _is_none(node.value):
                yield node
        elif isinstance(node, ast.For) and isinstance(node.iter, ast.Call) and any(map(_is_none, node.iter.args)):
            yield node


def _filled(tree: ast.AST) -> Iterator[str]:
    """Name what gets a value that is not None."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and not _is_none(node.value):
            for target in node.targets:
                yield from _stored(target)
        elif isinstance(node, (ast.For, ast.AugAssign, ast.AnnAssign, ast.NamedExpr)):
            yield from _stored(node.target)


def _stored(target: ast.AST) -> Iterator[str]:
    for part in ast.walk(target):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id
