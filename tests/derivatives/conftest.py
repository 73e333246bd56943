"""Which files need a library that is not here."""

from tests.backends import usable

NEEDED = {"test_torch_autograd.py": "torch", "test_torch_transforms.py": "torch", "test_jax_autodiff.py": "jax"}
collect_ignore = [name for name, library in NEEDED.items() if not usable(library)]
