"""Images and labels to train on: read, checked, split and scaled on the host."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from xpconv._arrays.types import HostArray
from xpconv._train.stored import Extremes, Rows, is_store, opened, scaled
from xpconv.data import load_digits
from xpconv.nn.storage import read_npz
from xpconv.nn.training import Dataset

MIN_IMAGES = 10
MIN_SIDE = 4  # two 2×2 poolings leave one pixel of it
# what others call images, and labels, the likeliest first
OTHER_NAMES = (("x_train", "train_images", "x", "data", "image"), ("y_train", "train_labels", "y", "target", "label"))
NUMBERED = "save np.unique(labels, return_inverse=True)[1], which numbers the classes"


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
    arrays = read_npz("", path, keys)
    for key in keys:
        if key not in arrays:
            with np.load(path, allow_pickle=False) as archive:
                raise DataError(_lacking(os.fspath(path), key, archive.files))
    return checked(arrays["images"], arrays["labels"], str(path))


def _lacking(path: str, key: str, there: list[str]) -> str:
    """Say that an array is not there, and how to give those that are there its name."""
    names = ", ".join(map(repr, there)) or "nothing"
    told = f"{path} must hold the arrays 'images' and 'labels'; it lacks {key!r} and holds {names}"
    images, labels = (
        next((name for word in words for name in there if name.lower() == word), "") for words in OTHER_NAMES
    )
    if not (images and labels):
        return told
    return f"{told}; save them as np.savez(FILE, images={images}, labels={labels})"


def checked(images: HostArray, labels: HostArray, name: str) -> tuple[HostArray, HostArray]:
    """Refuse what cannot be trained on; the rest comes back as images (N, H, W, C) and labels (N,) int32."""
    for rule in (_kind_of_images, _shape_of_images, _pixels, _form_of_labels, _classes):
        if trouble := rule(images, labels):
            raise DataError(f"{name}: {trouble}")
    return images.reshape(*images.shape[:3], -1), labels.astype("int32")


def _kind_of_images(images: HostArray, labels: HostArray) -> str:
    if images.dtype.kind in "biuf":
        return ""
    remedy = "; save their absolute values, or real and imaginary parts as channels" if images.dtype.kind == "c" else ""
    return f"images must be real numbers; got the dtype {images.dtype}{remedy}"


def _shape_of_images(images: HostArray, labels: HostArray) -> str:
    shape, side = images.shape, MIN_SIDE
    if images.ndim not in (3, 4):
        remedy = ""
        if images.ndim == 2 and (root := math.isqrt(shape[1])) ** 2 == shape[1] and root >= side:
            remedy = f"; save images.reshape(-1, {root}, {root})"
        return f"images must have the shape (N, H, W) or (N, H, W, C); got {shape}{remedy}"
    if images.ndim == 4 and len(labels) == shape[3] != shape[0]:
        return f"images must have the shape (N, H, W, C); got {shape}, with the images on the last axis; {_moved(3, 0)}"
    if images.ndim == 4 and shape[1] < side <= min(shape[2:]):
        return f"images must have the shape (N, H, W, C); got {shape}, with the channels first; {_moved(1, -1)}"
    if shape[0] < MIN_IMAGES:
        return f"there must be at least {MIN_IMAGES} images, of which a fifth is held out; got {shape[0]}"
    if min(shape[1:3]) < side or 0 in shape:
        return (
            f"images must be at least {side} pixels high and wide, for two poolings, and have a channel; "
            f"got the shape {shape}"
        )
    return ""


def _moved(source: int, target: int) -> str:
    return f"save np.moveaxis(images, {source}, {target})"


def _pixels(images: HostArray, labels: HostArray) -> str:
    if images.dtype.kind != "f" or np.isfinite(images).all():
        return ""
    bad = ~np.isfinite(images)
    first = int(np.argmax(bad.reshape(len(images), -1).any(axis=1)))
    return (
        f"pixels must be finite; {int(bad.sum())} are NaN or infinite, the first in image {first}; leave such images "
        f"out, or save np.nan_to_num(images)"
    )


def _form_of_labels(images: HostArray, labels: HostArray) -> str:
    count = images.shape[0]
    wanted, got = f"labels must be integers of the shape {(count,)}", f"got {labels.dtype} of the shape {labels.shape}"
    if labels.ndim == 2 and labels.dtype.kind in "biuf" and labels.shape == (count, labels.size // count):
        remedy = "labels.ravel()" if labels.shape[1] == 1 else "labels.argmax(axis=1), if they are one-hot"
        return f"{wanted}; {got}; save {remedy}"
    if labels.shape != (count,):
        return f"{wanted}, one for each image; {got}"
    if labels.dtype.kind == "b" or (labels.dtype.kind == "f" and np.array_equal(labels, np.round(labels))):
        return f"{wanted}; {got}; save labels.astype('int32')"
    if labels.dtype.kind not in "iu":
        return f"{wanted}; {got}; {NUMBERED}"
    return ""


def _classes(images: HostArray, labels: HostArray) -> str:
    least, largest, count = labels.min().item(), labels.max().item(), images.shape[0]
    if least < 0:
        return f"labels must count from 0; the least is {least}; {NUMBERED}"
    if largest >= count:
        return f"labels must be below the number of images, {count}; the largest is {largest}; {NUMBERED}"
    if least == largest:
        return f"labels must name at least two classes; all are {least}"
    return ""


def split(images: HostArray, labels: HostArray, rng: np.random.Generator, name: str) -> ImageSet:
    """Hold out a fifth of the images, drawn by `rng` and stratified by label, and scale both parts.

    The images are shuffled, sorted by label (stably), and every fifth is held out: each class loses a fifth,
    give or take one image.
    """
    held_out = _held_out(labels, rng)
    train = images[~held_out]
    scale = max(train.max().item(), -train.min().item()) or 1
    return ImageSet(
        scaled(train, scale),
        labels[~held_out],
        scaled(images[held_out], scale),
        labels[held_out],
        name=name,
        classes=int(labels.max()) + 1,
        scale=float(scale),
    )


def _held_out(labels: HostArray, rng: np.random.Generator) -> HostArray:
    """Say which images are held out."""
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    found = np.zeros(len(labels), dtype=bool)
    found[order[4::5]] = True
    return found


def from_store(path: str | os.PathLike[str], rng: np.random.Generator) -> ImageSet:
    """Split images in a folder of Zarr's as those of a file are split; they are looked at once, and stay there."""
    group, name = opened(path), str(path)
    for key in ("images", "labels"):
        if key not in group:
            raise DataError(_lacking(name, key, sorted(group.array_keys())))
    images, labels = group["images"], np.asarray(group["labels"][...])
    for rule in (_kind_of_images, _shape_of_images, _form_of_labels, _classes):
        if trouble := rule(images, labels):
            raise DataError(f"{name}: {trouble}")
    extremes = Extremes.of(images)
    if bad := np.flatnonzero(~np.isfinite(extremes.most) | ~np.isfinite(extremes.least)).tolist():
        raise DataError(
            f"{name}: pixels must be finite; {len(bad)} images have NaN or infinite ones, the first is image {bad[0]}; "
            "leave such images out"
        )
    labels, held_out = labels.astype("int32"), _held_out(labels, rng)
    train, rest = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    most, least = extremes.of_rows(train)
    scale = max(most, -least) or 1
    return ImageSet(
        Rows(images, train, scale),  # type: ignore[arg-type]
        labels[train],
        Rows(images, rest, scale),  # type: ignore[arg-type]
        labels[rest],
        name=name,
        classes=int(labels.max()) + 1,
        scale=float(scale),
    )


def digits(rng: np.random.Generator) -> ImageSet:
    """Split the digits that ship with xpconv by `rng`."""
    images, labels = load_digits()
    return split(*checked(images, labels, "digits"), rng, "digits")


def user_data(path: str | os.PathLike[str], rng: np.random.Generator) -> ImageSet:
    """Read the images of an .npz file, or of a folder of Zarr's, and split them by `rng`."""
    if is_store(path):
        return from_store(path, rng)
    images, labels = read_images(path)
    return split(images, labels, rng, str(path))
