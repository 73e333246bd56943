"""PyTorch's tensors without data take the way of a CUDA device: shapes, dtypes, and that no value is looked at."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from bench.sets import resnet50
from tests.sizes import full
from tests.standin.operations import OPERATIONS, Given, Operation
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
    space = space_of(meta((1,)))
    assert space.traits is TORCH_CUDA
    assert space.memory is not None
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
