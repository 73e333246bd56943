"""Images in a store (Zarr): looked at once, in its own order, then read row by row, by whoever trains on them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpconv._arrays.types import HostArray
from xpconv.nn.shards import rows

PIECE = 64 << 20  # bytes that are looked at together, at least one row


@dataclass(frozen=True)
class Rows:
    """Some rows of images (N, H, W) or (N, H, W, C) in a store, divided by a scale when they are read: float32."""

    images: Any
    index: HostArray
    scale: float
    dtype = np.dtype("float32")

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W, C)."""
        return (len(self.index), *channels_last(self.images.shape)[1:])

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Any) -> HostArray:
        """Read rows, in any order."""
        found = rows(self.images, self.index[index])
        return scaled(found.reshape(channels_last(found.shape)), self.scale)


def channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(N, H, W) or (N, H, W, C) -> (N, H, W, C)."""
    return shape if len(shape) == 4 else (*shape, 1)


def scaled(images: HostArray, scale: float) -> HostArray:
    """Divide images by their scale."""
    wide = np.result_type(images.dtype, np.float32)  # float64 stays until after the division: 1e300 is no float32
    return np.true_divide(images, scale, dtype=wide).astype("float32")


def is_store(path: str | os.PathLike[str]) -> bool:
    """Say whether there is a group of Zarr's, of either format."""
    return any(os.path.isfile(os.path.join(path, name)) for name in ("zarr.json", ".zgroup"))


def opened(path: str | os.PathLike[str]) -> Any:
    """Open a group of Zarr's; OSError says in one line why not."""
    try:
        zarr: Any = importlib.import_module("zarr")
    except ImportError:
        raise OSError(f"{path} takes the package zarr: python -m pip install zarr") from None
    try:
        return zarr.open_group(os.fspath(path), mode="r")
    except (FileNotFoundError, ValueError, KeyError) as error:  # an array, say
        raise OSError(f"{path} is no group of Zarr's with the arrays 'images' and 'labels'") from error


def pieces(images: Any) -> Iterator[HostArray]:
    """Read all rows, as many chunks at a time as are held easily."""
    step = (getattr(images, "chunks", None) or (1,))[0]
    row = max(int(np.prod(images.shape[1:])) * images.dtype.itemsize, 1)
    step *= max(PIECE // (step * row), 1)
    for start in range(0, images.shape[0], step):
        yield np.asarray(images[start : start + step])


@dataclass(frozen=True)
class Extremes:
    """The largest and the least pixel of each image."""

    most: HostArray
    least: HostArray

    @staticmethod
    def of(images: Any) -> Extremes:
        """Look at all images; NaN is both."""
        found = [(part.reshape(len(part), -1).max(1), part.reshape(len(part), -1).min(1)) for part in pieces(images)]
        most, least = map(np.concatenate, zip(*found, strict=True))
        return Extremes(most, least)

    def of_rows(self, index: HostArray) -> tuple[Any, Any]:
        """Give the largest and the least of some images."""
        return self.most[index].max().item(), self.least[index].min().item()
