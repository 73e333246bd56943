"""The subcommands of ``python -m bench``, one file each.

A file offers HELP, ``add_arguments(parser)`` and ``run(options)``, which gives the exit status; its name is found.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def names() -> tuple[str, ...]:
    """List the subcommands; a file whose name begins with an underscore is none."""
    return tuple(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load(name: str) -> ModuleType:
    """Import a subcommand."""
    return importlib.import_module(f"{__name__}.{name}")
