"""Where the tests of sizes that are cut into tiles run."""

import pytest

from tests.sizes import full

# a library, and how much it may hold at once
TILED = [(name, size) for name in ("numpy", "torch", "cupy") for size in (64, 2)] + [("jax-jit", 64), ("dpnp", 2)]
tiled = pytest.mark.parametrize(
    ("backend", "mebibytes"), full(TILED, [("numpy", 2), ("torch", 64), ("cupy", 2), ("dpnp", 2)]), indirect=["backend"]
)
LARGE = full(["numpy", "torch", "jax-jit", "cupy", "dpnp"], ["numpy", "cupy", "dpnp"])
