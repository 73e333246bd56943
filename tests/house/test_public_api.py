"""The contract's names, keywords and defaults against reality, and every example of docstrings and documents."""

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import xpconv as xc
from tests.backends import usable
from tests.house.test_imports import MODULES as FILES

EMPTY = inspect.Parameter.empty
ANY = object()  # a default that the contract leaves open

CONV = {
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "groups": 1,
    "padding_mode": "zeros",
    "layout": "channels_last",
    "algorithm": "auto",
    "dtype": None,
}
TRANSPOSE = {
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "dilation": 1,
    "groups": 1,
    "layout": "channels_last",
}
FOLD = {"stride": 1, "padding": 0, "dilation": 1, "layout": "channels_last"}
LAYOUT = {"layout": "channels_last"}
POOL = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "layout": "channels_last"}

# name -> (positional parameters, keyword-only parameters), with their defaults
SIGNATURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "conv": ({"x": EMPTY, "w": EMPTY, "b": None}, CONV),
    "conv_vjp": ({"dz": EMPTY, "x": EMPTY, "w": EMPTY}, CONV),
    "conv_input_grad": ({"dz": EMPTY, "w": EMPTY, "input_shape": EMPTY}, CONV),
    "conv_weight_grad": ({"dz": EMPTY, "x": EMPTY, "kernel_shape": EMPTY}, CONV),
    "prepare_conv": ({"w": EMPTY, "b": None}, {"input_shape": EMPTY, **CONV}),
    "conv_transpose": ({"x": EMPTY, "w": EMPTY, "b": None}, TRANSPOSE),
    "conv_transpose_vjp": ({"dz": EMPTY, "x": EMPTY, "w": EMPTY}, TRANSPOSE),
    "max_pool": ({"x": EMPTY, "window": EMPTY}, {**POOL, "return_indices": False}),
    "max_pool_vjp": ({"dy": EMPTY, "x": EMPTY, "window": EMPTY}, {**POOL, "ties": "first", "indices": None}),
    "max_unpool": ({"y": EMPTY, "indices": EMPTY, "output_shape": EMPTY}, LAYOUT),
    "avg_pool": ({"x": EMPTY, "window": EMPTY}, {**POOL, "count_include_pad": True}),
    "avg_pool_vjp": ({"dy": EMPTY, "input_shape": EMPTY, "window": EMPTY}, {**POOL, "count_include_pad": True}),
    "lp_pool": ({"x": EMPTY, "p": EMPTY, "window": EMPTY}, POOL),
    "lp_pool_vjp": ({"dy": EMPTY, "x": EMPTY, "p": EMPTY, "window": EMPTY}, POOL),
    "adaptive_avg_pool": ({"x": EMPTY, "output_shape": EMPTY}, LAYOUT),
    "adaptive_avg_pool_vjp": ({"dy": EMPTY, "x": EMPTY, "output_shape": EMPTY}, LAYOUT),
    "adaptive_max_pool": ({"x": EMPTY, "output_shape": EMPTY}, {**LAYOUT, "return_indices": False}),
    "adaptive_max_pool_vjp": ({"dy": EMPTY, "x": EMPTY, "output_shape": EMPTY}, {**LAYOUT, "indices": None}),
    "unfold": ({"x": EMPTY, "window": EMPTY}, FOLD),
    "fold": ({"cols": EMPTY, "input_shape": EMPTY, "window": EMPTY}, FOLD),
    "pad": ({"x": EMPTY, "padding": EMPTY}, {"mode": "zeros", **LAYOUT}),
    "pad_vjp": ({"dy": EMPTY, "input_shape": EMPTY, "padding": EMPTY}, {"mode": "zeros", **LAYOUT}),
    "explain": ({"x_shape": EMPTY, "w_shape": EMPTY}, {**CONV, "dtype": ANY, "of": "conv", "device": None}),
    "error_bound": ({"x": EMPTY, "w": EMPTY, "b": None}, CONV),
    "set_options": ({}, {"max_workspace": None, "threads": None, "compiled": None}),
    "zero_pad": ({"X": EMPTY, "pad": EMPTY}, {}),
    "conv_single_step": ({"a_slice_prev": EMPTY, "W": EMPTY, "b": EMPTY}, {}),
    "conv_forward": ({"A_prev": EMPTY, "W": EMPTY, "b": EMPTY, "hparameters": EMPTY}, {}),
    "conv_backward": ({"dZ": EMPTY, "cache": EMPTY}, {}),
    "pool_forward": ({"A_prev": EMPTY, "hparameters": EMPTY, "mode": "max"}, {}),
    "pool_backward": ({"dA": EMPTY, "cache": EMPTY, "mode": "max"}, {}),
    "create_mask_from_window": ({"x": EMPTY}, {}),
    "distribute_value": ({"dz": EMPTY, "shape": EMPTY}, {}),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name: str) -> None:
    positional, keywords = SIGNATURES[name]
    parameters = inspect.signature(getattr(xc, name)).parameters.values()
    only = inspect.Parameter.KEYWORD_ONLY
    assert {p.name: p.default for p in parameters if p.kind is not only} == positional
    assert [p.name for p in parameters if p.kind is not only] == list(positional)
    found = {p.name: p.default for p in parameters if p.kind is only}
    assert found == {key: found.get(key) if value is ANY else value for key, value in keywords.items()}
    assert not any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def test_all_is_what_there_is() -> None:
    """Every name of `__all__` exists and is documented; nothing public is left out; the list is in order."""
    assert sorted(set(xc.__all__)) == sorted(xc.__all__)
    assert set(SIGNATURES) == set(xc.__all__)
    for name in xc.__all__:
        assert inspect.getdoc(getattr(xc, name)), name
    public = {
        name
        for name, value in vars(xc).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert public == set(xc.__all__)


def test_the_course_is_re_exported() -> None:
    for name in list(SIGNATURES)[-8:]:
        assert getattr(xc.course, name) is getattr(xc, name)


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", xc.__version__)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_docstring_says_shapes_parameters_and_shows_an_example(name: str) -> None:
    text = inspect.getdoc(getattr(xc, name))
    first = text.splitlines()[0]
    assert first.endswith((".", ":")), first
    assert ">>>" in text
    parameters = inspect.signature(getattr(xc, name)).parameters
    for parameter in parameters:
        assert re.search(rf"\b{parameter}\b", text), f"{name}: {parameter} is not mentioned"


def package_modules() -> list[str]:
    """Every module of the package, except the one that runs when imported."""
    found = [m.name for m in pkgutil.walk_packages(xc.__path__, "xpconv.") if not m.name.endswith("__main__")]
    return ["xpconv", *found]


def needed(name: str) -> list[pytest.MarkDecorator]:
    """Give the mark of a module that imports a library, all of whose part of the package does."""
    part = name.split(".")[1:2]
    return [pytest.mark.needs(*part)] if part in (["torch"], ["jax"], ["dask"], ["onnx"]) else []


SHOWING = [name for name in package_modules() if ">>>" in FILES[name].read_text(encoding="utf-8")]
MODULES = [pytest.param(name, marks=needed(name)) for name in SHOWING]


def test_every_module_can_be_imported() -> None:
    for name in package_modules():
        if all(usable(library) for mark in needed(name) for library in mark.args):
            importlib.import_module(name)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    outcome = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert outcome.failed == 0


ROOT = Path(__file__).parents[2]
ELSEWHERE = ("_build", "recipes")  # the recipes have tests of their own
DOCUMENTS = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if not set(path.parts) & set(ELSEWHERE)),
]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


NEEDED = {"chunks.md": ("dask", "zarr", "distributed")}  # what a document's examples cannot run without


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.relative_to(ROOT).as_posix(), marks=pytest.mark.needs(*NEEDED.get(path.name, ())))
        for path in DOCUMENTS
    ],
)
def test_document_examples(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the ```python blocks of a document in order, in one namespace, in an empty folder."""
    text = path.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": path.stem}
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(1))
        code = compile("\n" * line + match.group(1), str(path), "exec")  # so that an error names the line
        exec(code, namespace)


def test_readme_has_an_example() -> None:
    assert BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
