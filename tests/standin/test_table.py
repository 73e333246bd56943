"""The table is CuPy's, and the stand-in keeps to it."""

import importlib
import inspect
from typing import Any

import numpy as np
import pytest

from tests import standin
from tests.sizes import SIZE
from tests.standin import table

TABLE = table.read()
ACTED = ("cupy", "cupy.fft", "cupy.linalg", "cupy.lib.stride_tricks", "cupy.cuda", "cupyx")


@pytest.fixture
def real() -> dict[str, Any]:
    """The table of the CuPy that is installed."""
    found = standin.real()
    assert found is not None, "the tests of this fixture are not collected then"
    own: dict[str, Any] = found["table"]
    if own["version"] != TABLE["version"] and SIZE != "nightly":  # a night's run tells of a new CuPy
        pytest.skip(f"the table is of CuPy {TABLE['version']}, CuPy {own['version']} is installed")
    return own


def test_the_table_is_the_package_s(real: dict[str, Any]) -> None:
    """Make it anew with `python -m tests.standin.table --write` where this fails."""
    assert {key: real[key] for key in ("classes", "hidden")} == {key: TABLE[key] for key in ("classes", "hidden")}
    for space, names in TABLE["spaces"].items():
        assert real["spaces"][space] == names


def test_loops_are_chosen_as_cupy_chooses(cp: Any, real: dict[str, Any]) -> None:
    """Of every ufunc, for all dtypes."""
    from cupy._ufuncs import named

    for name, choices in standin.ask("--loops").items():
        for chars, expected in choices.items():
            loop = named(name)._of_types(tuple(map(np.dtype, chars)), (False,) * len(chars))
            got = loop and "->".join("".join(t.char for t in types) for types in loop)
            if expected is not None:  # what has no loop raises, here or in NumPy's
                assert got == expected, (name, chars)


@pytest.mark.parametrize("space", ACTED, ids=str)
def test_every_name_is_there(cp: Any, space: str) -> None:
    module = importlib.import_module(space)
    assert not [name for name in TABLE["spaces"][space] if not hasattr(module, name)]


@pytest.mark.parametrize("space", ACTED, ids=str)
def test_nothing_is_there_that_cupy_has_not(cp: Any, space: str) -> None:
    module = importlib.import_module(space)
    names = {name for name in vars(module) if not name.startswith("_") and not inspect.ismodule(vars(module)[name])}
    assert names - set(TABLE["spaces"][space]) <= {"standin", "acts", "runtime", "Any", "np"}


def acted() -> list[tuple[str, str]]:
    if not standin.is_installed():
        return []
    from cupy._table import IMPLEMENTED
    from cupy._table import TABLE as here  # of the CuPy that is installed, if one is

    return [(space, name) for space, names in IMPLEMENTED.items() for name in names if name in here["spaces"][space]]


@pytest.mark.parametrize(("space", "name"), acted(), ids=str)
def test_a_function_has_cupy_s_parameters(cp: Any, space: str, name: str) -> None:
    """In CuPy's order, with CuPy's defaults; a few that are never used may be left out."""
    from cupy._table import IMPLEMENTED, parse
    from cupy._table import TABLE as here

    signature = here["spaces"][space][name]
    wanted = parse(signature).parameters
    own = inspect.signature(IMPLEMENTED[space][name]).parameters
    kept = [parameter for parameter in wanted if parameter in own]
    assert kept == list(own)
    if space != "cupy.fft" or not name.endswith("2"):
        assert {p: own[p].default for p in kept} == {p: wanted[p].default for p in kept}
    public = inspect.signature(getattr(importlib.import_module(space), name))
    assert table.parameters(public) == signature


@pytest.mark.parametrize("name", TABLE["classes"])
def test_a_class_has_cupy_s_methods(cp: Any, name: str) -> None:
    """Nothing that CuPy's has not, and what it has with CuPy's parameters."""
    from cupy._table import parse

    module, _, own = name.rpartition(".")
    attributes = TABLE["classes"][name]
    found = table.describe_class(getattr(importlib.import_module(module), own))
    private = {attribute for attribute in found if attribute.startswith("__")} - set(attributes)
    assert private <= {"__annotations__", "__weakref__", "__firstlineno__", "__static_attributes__"}
    for attribute, signature in found.items():
        if attribute.startswith("__"):
            continue
        assert attribute in attributes, f"{name} has no {attribute}"
        if signature is not None and attributes[attribute] is not None:
            plain = [parse(one).parameters.values() for one in (signature, attributes[attribute])]
            mine, theirs = ([(p.name, p.kind, p.default) for p in one] for one in plain)
            assert mine == theirs, attribute


def test_what_is_not_acted_out_says_so(cp: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"does not act out cupy\.histogram"):
        cp.histogram(cp.arange(3))
    with pytest.raises(TypeError, match="bin_count"):
        cp.histogram(cp.arange(3), bin_count=3)
    with pytest.raises(NotImplementedError, match=r"axes= of cupy\.matmul"):
        cp.matmul(cp.ones((2, 2)), cp.ones((2, 2)), axes=[(0, 1)] * 3)
    with pytest.raises(NotImplementedError, match="poly1d"):
        cp.poly1d([1])


def test_array_api_compat_takes_it_for_cupy(cp: Any, xp: Any) -> None:
    import array_api_compat as compat

    x = cp.ones(3)
    assert compat.is_cupy_array(x)
    assert compat.is_cupy_namespace(xp)
    assert compat.is_array_api_obj(x)
    assert compat.array_namespace(x) is xp
    assert compat.device(x) == cp.cuda.Device(0)
    moved = compat.to_device(x, cp.cuda.Device(1))
    assert compat.device(moved) == cp.cuda.Device(1)
    assert compat.to_device(moved, "cpu").tolist() == [1, 1, 1]
    assert compat.size(x) == 3
    assert compat.is_writeable_array(x)
