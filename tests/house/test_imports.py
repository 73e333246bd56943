"""The house's order, read from the source: nothing imports upward, nothing optional is loaded unasked."""

import ast
import functools
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SPEC = importlib.util.find_spec("xpconv")
ROOT = Path(SPEC.origin).parent

# from the ground up; a folder may import what stands below it, and its neighbours on the same line
LAYERS = (
    ("_html", "_options", "_shapes", "_version"),
    ("_arrays",),
    ("_work", "_tools", "_compiled", "data"),
    ("algorithms",),
    ("_plan",),
    ("_engine",),
    ("_convolution", "_pooling"),
    ("_chunks",),
    ("_ops",),
    ("torch", "jax", "onnx"),
    ("course",),
    ("nn",),
    ("_train",),
    ("bounds",),
    ("dask",),
    ("testing",),
    ("pytest_plugin",),
    ("verify",),
    ("cli", "__main__"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# a folder that holds folders has its own order, by the same rule
INSIDE = {
    "verify": (
        ("definition", "faults"),
        ("catalogue",),
        ("judge",),
        ("report",),
        ("run", "selftest", "target"),
        ("command",),
    ),
}
LEVEL_INSIDE = {
    f"{outer}.{room}": level for outer, layers in INSIDE.items() for level, rooms in enumerate(layers) for room in rooms
}
# for one library each, which they import; they use the package's public names, and it never loads them
BINDINGS = ("torch", "jax", "onnx")
ALLOWED_EARLY = {"numpy", "array_api_compat", "array_api_extra", "threadpoolctl"}  # the core's dependencies
OPTIONAL = (
    "torch",
    "jax",
    "onnx",
    "cupy",
    "dask",
    "dpnp",
    "dpctl",
    "rich",
    "matplotlib",
    "safetensors",
    "shtab",
    "scipy",
    "sklearn",
    "hypothesis",
    "array_api_strict",
    "numba",
)


def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Parse a file, once for all rules."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports(path: Path, name: str) -> tuple[tuple[str, bool], ...]:
    """Every module that a file imports, by its dotted name, and whether that is at the top of the file."""
    return tuple(_imports(path, name))


def _imports(path: Path, name: str) -> Iterator[tuple[str, bool]]:
    tree = tree_of(path)
    inner = {id(node) for outer in ast.walk(tree) if isinstance(outer, FUNCTIONS) for node in ast.walk(outer)}
    for node in ast.walk(tree):
        at_top = id(node) not in inner
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, at_top
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            if isinstance(node.args[0], ast.Constant):
                yield node.args[0].value, at_top
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield (whole if whole in MODULES else base), at_top


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def layer(name: str) -> str:
    """Give the part of the house that a module of the package belongs to; empty for the package itself."""
    return name.split(".")[1] if "." in name else ""


def test_nothing_imports_upward() -> None:
    for name in MODULES:
        demand_nothing_from_above(name)


def demand_nothing_from_above(name: str) -> None:
    here = layer(name)
    if not here:
        return  # the package itself gathers the public names
    assert here in LEVEL, f"give {here} its place in LAYERS"
    for imported, _ in imports(MODULES[name], name):
        if imported == "xpconv":
            above = LEVEL[here] >= LEVEL["verify"] or here in BINDINGS
            assert above, f"{name} imports the whole package, which is above it"
        elif imported.startswith("xpconv."):
            assert LEVEL[layer(imported)] <= LEVEL[here], f"{name} imports {imported}, which is above it"


def room(name: str) -> str:
    """Name the innermost part of the house that a module belongs to: ``verify.judge``, or ``_engine``."""
    outer, *inner = name.split(".")[1:] or [""]
    return f"{outer}.{inner[0]}" if outer in INSIDE and inner else outer


def test_nothing_imports_upward_inside_a_folder_of_folders() -> None:
    for name in (name for name in MODULES if room(name) != layer(name)):
        here = room(name)
        assert here in LEVEL_INSIDE, f"give {here} its place in INSIDE"
        for imported, _ in imports(MODULES[name], name):
            assert imported != f"xpconv.{layer(name)}", f"{name} imports the folder that it lies in"
            if imported.startswith(f"xpconv.{layer(name)}."):
                assert LEVEL_INSIDE[room(imported)] <= LEVEL_INSIDE[here], f"{name} imports {imported}, above it"


def test_every_folder_of_folders_has_an_order_inside() -> None:
    folders = {path.parent.relative_to(ROOT).parts for path in MODULES.values()}
    assert {parts[0] for parts in folders if len(parts) > 1} == set(INSIDE)
    assert all(len(parts) <= 2 for parts in folders), "a third storey needs an order of its own"


def test_a_binding_serves_one_library_and_nothing_imports_it() -> None:
    for name, path in MODULES.items():
        seen = imports(path, name)
        others = {imported.split(".")[0] for imported, at_top in seen if at_top} & set(BINDINGS) - {layer(name)}
        assert not others, f"{name} imports {others} at the top"
        taken = {imported for imported, _ in seen} & {f"xpconv.{binding}" for binding in BINDINGS}
        assert not taken or not layer(name), f"{name} imports {taken}"  # the package names them, for type checkers only


def test_no_module_imports_itself_in_a_circle() -> None:
    assert seen_without_a_circle(graph()) == set(MODULES)


def test_no_room_imports_itself_in_a_circle() -> None:
    """Neighbours on one line too: one of the two stands on the other."""
    rooms: dict[str, set[str]] = {}
    for name, found in graph().items():
        if room(name):
            rooms.setdefault(room(name), set()).update(filter(None, map(room, found)))
    assert seen_without_a_circle(rooms) == set(rooms)


def graph() -> dict[str, set[str]]:
    """Every module with those of the package that it imports, for typing only or within a function as well."""
    found = {name: {i for i, _ in imports(path, name) if i in MODULES} for name, path in MODULES.items()}
    return {name: imported - {name, "xpconv"} for name, imported in found.items()}


def seen_without_a_circle(graph: dict[str, set[str]]) -> set[str]:
    """Go through a graph, down every arrow; fail at the first circle."""
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for below in sorted(graph[name] - {name}):
                visit(below, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    return done


def test_a_circle_is_seen() -> None:
    with pytest.raises(AssertionError, match="a -> b -> c -> b"):
        seen_without_a_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})


def test_the_core_imports_its_dependencies_and_nothing_else() -> None:
    """At the top of a file, below the tools: the standard library and the four core dependencies."""
    for name, path in MODULES.items():
        if layer(name) and LEVEL.get(layer(name), 99) >= LEVEL["bounds"]:
            continue
        for imported, at_top in imports(path, name):
            root = imported.split(".")[0]
            if at_top and root != "xpconv" and root not in sys.stdlib_module_names:
                own = layer(name) in BINDINGS and root == layer(name)
                assert own or root in ALLOWED_EARLY, f"{name} imports {root} at the top"


RUN = ("xpconv.onnx.command",)  # somebody runs it, among operations
PROGRAMS = ("_tools", "nn", "_train", "testing", "pytest_plugin", "verify", "cli")


def test_an_operation_uses_no_tools() -> None:
    """Libraries by name, the machine, the terminal and files are for what somebody runs."""
    for name in (name for name in MODULES if layer(name) not in PROGRAMS and name not in RUN):
        taken = {imported for imported, _ in imports(MODULES[name], name) if imported.startswith("xpconv._tools")}
        assert not taken, f"{name} imports {taken}"


DRAWING = ("_tools", "_train", "verify")


def test_only_commands_draw() -> None:
    """Not within a function either."""
    for name in (name for name in MODULES if layer(name) not in DRAWING and name not in RUN):
        roots = {imported.split(".")[0] for imported, _ in imports(MODULES[name], name)}
        assert not roots & {"rich", "matplotlib"}, name


ARRAYLESS = ("_shapes", "_options")


def test_the_ground_floor_never_sees_an_array() -> None:
    """Shapes are Python integers there."""
    for name in (name for name in MODULES if layer(name) in ARRAYLESS):
        roots = {imported.split(".")[0] for imported, _ in imports(MODULES[name], name)}
        assert not roots & {"numpy", "array_api_compat", "array_api_extra"}, name


def loaded_by(statement: str) -> set[str]:
    """Give the top-level packages in `sys.modules` after a statement, in a fresh interpreter."""
    script = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_loads_nothing_optional() -> None:
    loaded = loaded_by("import xpconv")
    assert "xpconv" in loaded
    assert not loaded & set(OPTIONAL)


def test_a_numpy_call_loads_no_other_library() -> None:
    loaded = loaded_by(
        "import numpy as np, xpconv as xc\n"
        "x, w = np.ones((2, 9, 9, 4), 'float32'), np.ones((3, 3, 4, 4), 'float32')\n"
        "z = xc.conv(x, w)\nxc.conv_vjp(z, x, w)\nxc.max_pool_vjp(xc.max_pool(x, 2), x, 2)\nxc.avg_pool(x, 2)\n"
        "xc.error_bound(x, w)\nxc.explain(x.shape, w.shape)\nxc.conv_transpose_vjp(xc.conv_transpose(x, w), x, w)\n"
        "xc.lp_pool_vjp(xc.lp_pool(x, 2, 2), x, 2, 2)\nxc.fold(xc.unfold(x, 2), x.shape, 2)\n"
        "xc.adaptive_avg_pool_vjp(xc.adaptive_avg_pool(x, 4), x, 4)\n"
        "y, i = xc.adaptive_max_pool(x, 4, return_indices=True)\nxc.adaptive_max_pool_vjp(y, x, 4)\n"
        "xc.max_unpool(y, i, 9)\nxc.pad_vjp(xc.pad(x, 2, mode='reflect'), x.shape, 2, mode='reflect')"
    )
    assert not loaded & set(OPTIONAL)


def test_the_reader_of_imports_sees_them(tmp_path: Path) -> None:
    path = tmp_path / "pool.py"
    path.write_text(
        "import os.path\nfrom xpconv._engine import jobs\nfrom xpconv._ops.conv import conv\nfrom . import course\n"
        "def f():\n    import torch\n    importlib.import_module('rich.progress')\n"
    )
    seen = dict(imports(path, "xpconv.pool"))
    assert seen["os.path"]
    assert {"xpconv._engine.jobs", "xpconv._ops.conv", "xpconv.course"} <= set(seen)
    assert seen["torch"] is False
    assert seen["rich.progress"] is False
