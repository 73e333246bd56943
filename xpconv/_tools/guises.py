"""The array libraries in guises that show mistakes: arrays that cannot be written, a device other than the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpconv._arrays.types import Array, DType
from xpconv._tools import libraries as _libraries
from xpconv._tools.libraries import Library, LibraryError

# name -> library, device, whether its arrays are read-only
GUISES: dict[str, tuple[str, str | None, bool]] = {
    "numpy": ("numpy", None, False),
    "numpy-readonly": ("numpy", None, True),
    "cupy": ("cupy", None, False),
    "torch": ("torch", None, False),
    "jax": ("jax", None, False),
    "strict": ("strict", None, False),
    "strict-device1": ("strict", "device1", False),
    "dask": ("dask", None, False),
    "dpnp": ("dpnp", None, False),
}


@dataclass(frozen=True)
class Guise(Library):
    """An array library on one device, as a test wants it.

    `asarray` puts data on the device, read-only if that is the guise, and `to_numpy` gets them back; everything else
    is the library's own namespace, so ``xp.sum`` and ``xp.float32`` are what they are there.
    """

    guise: str = ""
    readonly: bool = False

    def asarray(self, data: object, dtype: DType | None = None) -> Array:
        """Copy data to this library and device, with NumPy's dtype for it or the one given, of this library."""
        array = super().asarray(data)
        if dtype is not None:
            array = self.xp.astype(array, dtype)
        if self.readonly:
            array.flags.writeable = False
        return array

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "xp":
            raise AttributeError(name)
        return getattr(self.xp, name)

    def __str__(self) -> str:
        return self.guise


def names() -> list[str]:
    """Name the guises whose library is installed, whether or not it works; nothing is imported."""
    here = _libraries.installed()
    return [name for name, (library, _, _) in GUISES.items() if library in here]


def guise(name: str) -> Guise:
    """Import a library and give it in the guise `name`; LibraryError says in one line why not."""
    if name not in GUISES:
        raise LibraryError(f"unknown backend {name!r}; choose from {', '.join(GUISES)}")
    library, device, readonly = GUISES[name]
    loaded = _libraries.load(library, device)
    return Guise(loaded.name, loaded.xp, loaded.device, name, readonly)
