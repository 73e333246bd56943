"""PyTorch's tensors without data take the way of a CUDA device: shapes, dtypes, and that no value is looked at."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from bench.sets import resnet50
from tests.sizes import full
from tests.standin.operations import OPERATIONS, SHAPES, Given, Operation
from xpconv._arrays import space
from xpconv._arrays.kept import Kept
from xpconv._arrays.space import TORCH_CUDA, space_of
from xpconv._work.workspace import Workspace

pytestmark = pytest.mark.needs("torch")
DTYPES = full(["float32", "float64", "float16", "complex64", "int8", "uint8", "int64"], ["float32", "float16", "int8"])


def meta(shape: Any, dtype: Any = np.float32) -> Any:
    """Make a tensor of a shape and a dtype of NumPy's, and nothing else."""
    import torch

    return torch.empty(tuple(shape), dtype=getattr(torch, np.dtype(dtype).name), device="meta")


def outcome(operation: Operation, given: Given) -> Any:
    """The results, or what the operation says to such arrays."""
    try:
        found = operation(given)
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return [(tuple(one.shape), str(one.dtype)) for one in (found if isinstance(found, tuple) else (found,))]


def named(found: Any) -> Any:
    """Write PyTorch's dtypes as NumPy's."""
    return found if isinstance(found, str) else [(shape, dtype.removeprefix("torch.")) for shape, dtype in found]


@pytest.fixture
def doubles() -> Iterator[None]:
    """Let PyTorch divide whole numbers into float64, as NumPy does."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_shapes_and_dtypes_are_numpy_s(name: str, dtype: str) -> None:
    expected = outcome(OPERATIONS[name], Given(lambda values: values, dtype))
    found = outcome(OPERATIONS[name], Given(lambda values: meta(values.shape, values.dtype), dtype))
    assert named(found) == expected


@pytest.mark.parametrize("name", OPERATIONS)
def test_bfloat16_gives_what_float16_gives(name: str) -> None:
    """NumPy may have no such dtype; results in float32 (bounds) are the same."""
    import torch

    narrow = outcome(OPERATIONS[name], Given(lambda values: meta(values.shape, np.float16), np.float16))
    found = outcome(OPERATIONS[name], Given(lambda values: meta(values.shape).to(torch.bfloat16), np.float16))
    assert named(found) == [(shape, dtype.replace("float16", "bfloat16")) for shape, dtype in named(narrow)]


@pytest.mark.parametrize("layer", resnet50(32), ids=lambda layer: layer.name)
def test_a_network_s_layers_in_full_size(layer: Any) -> None:
    """Tiles, views and workspace as for a GPU; a host would take minutes and gigabytes."""
    x, w = meta(layer.x_shape), meta(layer.w_shape)
    options = {"stride": layer.stride, "padding": layer.padding}
    z = xc.conv(x, w, meta((layer.filters,)), **options)
    assert tuple(z.shape) == layer.output_shape
    dx, dw, db = xc.conv_vjp(z, x, w, **options)
    assert (dx.shape, dw.shape, tuple(db.shape)) == (x.shape, w.shape, (layer.filters,))
    assert all(one.is_meta for one in (z, dx, dw, db))


def test_they_are_taken_for_a_gpu_s() -> None:
    there = space_of(meta((1,)))
    assert there.traits is TORCH_CUDA
    assert there.memory is not None
    assert space_of(__import__("torch").empty(1)).traits is not TORCH_CUDA


LOOKS: dict[str, Callable[[Any], Any]] = {
    "bool": lambda one: bool(one.sum() > 0),
    "float": lambda one: float(one.sum()),
    "item": lambda one: one.sum().item(),
    "a mask": lambda one: one[one > 0],
    "numpy": lambda one: one.numpy(),
    "the host": lambda one: one.cpu(),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_value_that_is_looked_at_raises(monkeypatch: pytest.MonkeyPatch, look: str) -> None:
    right = Workspace.store

    def store(self: Workspace, target: Any, region: Any, block: Any, bias: Any) -> None:
        LOOKS[look](block)
        right(self, target, region, block, bias)

    monkeypatch.setattr(Workspace, "store", store)
    with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
        xc.conv(meta((1, 5, 5, 2)), meta((3, 3, 2, 4)))


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_comes_from_the_host_after_the_first_call(name: str) -> None:
    """No function of PyTorch is given an array of the host's: indices and small matrices are there already."""
    _, moved = from_the_host(OPERATIONS[name])
    assert moved == []


def test_a_first_call_brings_indices_from_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """As every call would, were they not kept."""
    monkeypatch.setattr(space, "_KEPT", Kept())
    first, second = from_the_host(OPERATIONS["conv, reflect"])
    assert len(first) > len(second) == 0
    monkeypatch.setattr(space, "_KEPT", Kept(room=0))
    first, second = from_the_host(OPERATIONS["conv, reflect"])
    assert len(first) == len(second) > 0


def from_the_host(operation: Operation) -> tuple[list[str], list[str]]:
    """Name the functions of a first and a second call that are given arrays of the host's."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    given = Given(lambda values: meta(values.shape, values.dtype), "float32")
    for name in SHAPES:
        getattr(given, name)
    moved: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            tensors = [one for one in torch.utils._pytree.tree_leaves(args) if isinstance(one, torch.Tensor)]
            if any(one.device.type == "cpu" and one.ndim for one in tensors):
                moved.append(str(function))
            return function(*args, **(kwargs or {}))

    with Watch():
        operation(given)
        first = list(moved)
        moved.clear()
        operation(given)
    return first, moved


def test_what_is_kept_serves_in_every_mode() -> None:
    """An array that was made in inference mode could not be used outside of it."""
    import torch

    given = Given(lambda values: meta(values.shape, values.dtype), "float32")
    space._KEPT.clear()
    with torch.inference_mode():
        OPERATIONS["conv, reflect"](given)
    kept = [one for own in space._KEPT._found.values() for one in own.values()]
    assert kept
    assert not any(one.is_inference() for one in kept)


def test_what_a_transform_makes_is_not_kept() -> None:
    import torch

    space._KEPT.clear()
    x, w = meta((3, 1, 6, 6, 2)), meta((3, 3, 2, 2))
    torch.func.vmap(lambda one: xc.conv(one, w, padding=1, padding_mode="reflect"))(x)
    torch.func.grad(lambda one: xc.conv(one, w, padding=1, padding_mode="reflect").sum())(x[0])
    assert space._KEPT.bytes(("array_api_compat.torch", "meta")) == 0
