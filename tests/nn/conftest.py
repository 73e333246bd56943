"""The backends that networks are tested on."""

import pytest

from tests import backends
from xpconv._tools.libraries import LibraryError


@pytest.fixture(
    scope="session", params=["numpy", "numpy-readonly", "strict", "strict-device1", "torch", "jax-jit", "cupy", "dpnp"]
)
def backend(request: pytest.FixtureRequest) -> backends.Backend:
    """Each backend that a network may train on; those that are not installed are skipped, with the reason."""
    try:
        return backends.load(request.param)
    except LibraryError as error:
        return pytest.skip(str(error))
