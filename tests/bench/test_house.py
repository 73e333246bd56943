"""The house's order, read from the source: nothing imports upward, and one file looks inside xpconv."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bench

ROOT = Path(bench.__file__).parent
# from the ground up; a room may import what stands below it
ROOMS = (
    ("errors",),
    ("layers",),
    ("sets", "networks"),
    ("peers",),
    ("arguments", "inside", "chunked"),
    ("measure",),
    ("contest",),
    ("report",),
    ("commands",),
    ("__main__",),
    ("gpu_all",),
)
LEVEL = {name: level for level, names in enumerate(ROOMS) for name in names}
FILES = sorted(ROOT.rglob("*.py"))
MOST_PARAMETERS = 7


def imported(path):
    """List the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path):
    """Name the room of a file."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_upward(path):
    if path == ROOT / "__init__.py":
        return
    found = {name.split(".")[1] for name in imported(path) if name.startswith("bench.")}
    assert [name for name in found if LEVEL[name] > LEVEL[room(path)]] == []


def test_only_one_file_looks_inside():
    private = ("xpconv._", "xpconv.algorithms")
    found = {str(path.relative_to(ROOT)) for path in FILES for name in imported(path) if name.startswith(private)}
    assert found == {"inside.py"}


def test_functions_have_few_parameters():
    long = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                if len([one for one in every if one.arg not in ("self", "cls")]) > MOST_PARAMETERS:
                    long.append(f"{path.name}: {node.name}")
    assert long == []


def test_gpu_all_begins_without_xpconv_and_what_it_needs():
    blocked = "sys.modules.update(dict.fromkeys(('xpconv', 'threadpoolctl', 'array_api_compat')))"
    command = f"import runpy, sys; {blocked}; runpy.run_module('bench.gpu_all', run_name='__main__')"
    found = subprocess.run(
        [sys.executable, "-c", command, "--help"],
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "FOLDER" in found.stdout
