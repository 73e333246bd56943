"""Where the tests of sizes that are cut into tiles run."""

import pytest

from tests.sizes import full

# a library, and how much it may hold at once
TILED = [("numpy", 64), ("numpy", 2), ("torch", 64), ("torch", 2), ("jax-jit", 64), ("cupy", 64), ("cupy", 2)]
tiled = pytest.mark.parametrize(
    ("backend", "mebibytes"), full(TILED, [("numpy", 2), ("torch", 64), ("cupy", 2)]), indirect=["backend"]
)
LARGE = full(["numpy", "torch", "jax-jit", "cupy"], ["numpy", "cupy"])
