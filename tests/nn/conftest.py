"""The backends that networks are tested on."""

import pytest

from tests import backends


@pytest.fixture(
    scope="session", params=["numpy", "numpy-readonly", "strict", "strict-device1", "torch", "jax-jit", "cupy", "dpnp"]
)
def backend(request: pytest.FixtureRequest) -> backends.Backend:
    """Each backend that a network may train on, of those whose library is here."""
    return backends.load(request.param)
