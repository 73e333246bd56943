"""Images and labels to train on: read, checked, split and scaled on the host."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from xpconv.data import load_digits
from xpconv.nn.storage import read_npz
from xpconv.nn.training import Dataset, HostArray

MIN_IMAGES = 10
MIN_SIDE = 4  # two 2×2 poolings leave one pixel of it


class DataError(ValueError):
    """Images or labels that cannot be trained on; the message is one line."""


@dataclass(frozen=True)
class ImageSet(Dataset):
    """Images split and scaled, and what the log tells of them.

    They are (N, H, W, C), float32, divided by `scale`, the largest magnitude in the training part (1 if that is zero).
    Labels are (N,), int32, in [0, `classes`).
    """

    name: str
    classes: int
    scale: float


def read_images(path: str | os.PathLike[str]) -> tuple[HostArray, HostArray]:
    """Read ``images`` and ``labels`` from an .npz file and check them.

    Parameters
    ----------
    path : str or path
        An archive with ``images``, (N, H, W) or (N, H, W, C), of a real or integer dtype, and ``labels``, (N,),
        integers from 0. Other arrays in it are left alone.

    Returns
    -------
    images : numpy.ndarray
        (N, H, W, C), the dtype of the file.
    labels : numpy.ndarray
        (N,), int32.

    Raises
    ------
    ValueError
        What is wrong with the file, in one line.
    OSError
        The file is missing or cannot be read.
    """
    keys = ("images", "labels")
    arrays = read_npz("train", path, keys)
    for key in keys:
        if key not in arrays:
            raise DataError(f"train: {path} holds the arrays 'images' and 'labels'; it lacks {key!r}")
    return checked(arrays["images"], arrays["labels"], str(path))


def checked(images: HostArray, labels: HostArray, name: str) -> tuple[HostArray, HostArray]:
    """Refuse what cannot be trained on; the rest comes back as images (N, H, W, C) and labels (N,) int32."""
    if images.dtype.kind not in "biuf":
        raise DataError(f"train: images in {name} are real numbers; got the dtype {images.dtype}")
    if images.ndim not in (3, 4):
        raise DataError(f"train: images in {name} are (N, H, W) or (N, H, W, C); got the shape {images.shape}")
    if len(images) < MIN_IMAGES:
        raise DataError(f"train: at least {MIN_IMAGES} images are needed to hold out a fifth; {name} has {len(images)}")
    if min(images.shape[1:3]) < MIN_SIDE or 0 in images.shape:
        raise DataError(
            f"train: images in {name} are at least {MIN_SIDE} pixels high and wide, for two poolings, and have a "
            f"channel; got the shape {images.shape}"
        )
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise DataError(f"train: images in {name} are finite; some pixel is NaN or infinite")
    if labels.dtype.kind not in "iu":
        raise DataError(f"train: labels in {name} are integers; got the dtype {labels.dtype}")
    if labels.shape != (len(images),):
        raise DataError(f"train: {name} has one label per image, the shape {(len(images),)}; got {labels.shape}")
    least, largest = labels.min().item(), labels.max().item()
    if least < 0:
        raise DataError(f"train: labels in {name} count from 0; the least is {least}")
    if largest >= len(images):
        raise DataError(f"train: labels in {name} are class numbers below the number of images; got {largest}")
    if least == largest:
        raise DataError(f"train: labels in {name} name at least two classes; all are {least}")
    return images.reshape(*images.shape[:3], -1), labels.astype("int32")


def split(images: HostArray, labels: HostArray, rng: np.random.Generator, name: str) -> ImageSet:
    """Hold out a fifth of the images, drawn by `rng` and stratified by label, and scale both parts.

    The images are shuffled, sorted by label (stably), and every fifth is held out: each class loses a fifth,
    give or take one image.
    """
    order = rng.permutation(len(images))
    order = order[np.argsort(labels[order], kind="stable")]
    held_out = np.zeros(len(images), dtype=bool)
    held_out[order[4::5]] = True
    train = images[~held_out]
    scale = max(train.max().item(), -train.min().item()) or 1
    return ImageSet(
        _scaled(train, scale),
        labels[~held_out],
        _scaled(images[held_out], scale),
        labels[held_out],
        name=name,
        classes=int(labels.max()) + 1,
        scale=float(scale),
    )


def _scaled(images: HostArray, scale: float) -> HostArray:
    wide = np.result_type(images.dtype, np.float32)  # float64 stays until after the division: 1e300 is no float32
    return np.true_divide(images, scale, dtype=wide).astype("float32")


def digits(rng: np.random.Generator) -> ImageSet:
    """Split the digits that ship with xpconv by `rng`."""
    images, labels = load_digits()
    return split(*checked(images, labels, "digits"), rng, "digits")


def user_data(path: str | os.PathLike[str], rng: np.random.Generator) -> ImageSet:
    """Read the images of an .npz file and split them by `rng`."""
    images, labels = read_images(path)
    return split(images, labels, rng, str(path))
