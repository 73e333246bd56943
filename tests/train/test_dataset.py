"""The digits that ship, the held-out fifth, and images of the user's own: taken, or refused in one line."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from xpconv._train.dataset import checked, digits, split, user_data
from xpconv.data import load_digits


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.needs("sklearn")
def test_the_digits_are_scikit_learns():
    """By the file that scikit-learn reads; importing it takes longer than all else here."""
    images, labels = load_digits()
    folder = Path(importlib.util.find_spec("sklearn").origin).parent
    theirs = np.loadtxt(folder / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    assert images.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(images.reshape(len(images), -1), theirs[:, :-1])
    np.testing.assert_array_equal(labels, theirs[:, -1])


def test_a_stratified_fifth_is_held_out():
    data = digits(rng())
    assert data.images.shape == (1438, 8, 8, 1)
    assert data.held_out_images.shape == (359, 8, 8, 1)
    assert data.images.dtype == data.held_out_images.dtype == np.float32
    assert data.labels.dtype == np.int32
    counts = np.bincount(load_digits()[1])
    assert np.abs(np.bincount(data.held_out_labels) - counts / 5).max() <= 1
    assert (data.scale, data.classes) == (16.0, 10)
    # nothing is lost or doubled: 16ths are exact in float32, so sums over all pixels agree
    assert (data.images.sum() + data.held_out_images.sum()) * 16 == load_digits()[0].sum()


def test_the_split_is_the_seeds():
    np.testing.assert_array_equal(digits(rng(1)).held_out_images, digits(rng(1)).held_out_images)
    assert not np.array_equal(digits(rng(1)).held_out_images, digits(rng(2)).held_out_images)


def sample(dtype="uint8", top=255):
    return rng(3).integers(0, top, (20, 6, 5)).astype(dtype), np.arange(20) % 2


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float16", "float32", "float64", "longdouble"])
def test_every_real_dtype_is_scaled_by_the_training_part(tmp_path, dtype):
    images, labels = sample(dtype, top=100)
    np.savez(tmp_path / "f.npz", images=images, labels=labels, notes=np.asarray(["left", "alone"]))
    data = user_data(tmp_path / "f.npz", rng())
    assert data.images.shape == (16, 6, 5, 1)
    assert data.images.dtype == np.float32
    assert np.abs(data.images).max() == 1
    both = np.sort(np.concatenate([data.images, data.held_out_images]).ravel())
    wanted = np.sort(images.astype("float64").ravel()) / data.scale
    np.testing.assert_allclose(
        both, wanted, rtol=2.0**-10 if dtype == "float16" else 2.0**-22
    )  # a division, a rounding


def test_the_scale_is_the_largest_magnitude_and_never_zero():
    labels = np.arange(20) % 2
    extremes = np.full((20, 4, 4), -128, dtype="int8")  # whose magnitude int8 cannot hold
    assert split(*checked(extremes, labels, "x"), rng(), "x").scale == 128
    zeros = split(*checked(np.zeros((20, 4, 4)), labels, "x"), rng(), "x")
    assert zeros.scale == 1
    assert not zeros.images.any()
    huge = split(*checked(np.full((20, 4, 4), 1e300), labels, "x"), rng(), "x")
    assert (huge.images == 1).all()


IMAGES, LABELS = sample()


COLOURED = rng(4).normal(size=(20, 6, 5, 3))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, "must hold the arrays 'images' and 'labels'; it lacks 'labels' and holds 'images'$"),
        ({"labels": LABELS}, "it lacks 'images' and holds 'labels'$"),
        ({}, "it lacks 'images' and holds nothing$"),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS},
            r"'y_test'; save them as np.savez\(FILE, images=x_train, labels=y_train\)$",
        ),
        ({"X": IMAGES, "y": LABELS}, r"save them as np.savez\(FILE, images=X, labels=y\)$"),
        ({"images": IMAGES[0], "labels": LABELS}, r"must have the shape \(N, H, W\) or \(N, H, W, C\); got \(6, 5\)$"),
        ({"images": IMAGES[None, :, :, :, None], "labels": LABELS}, "or .N, H, W, C.; got .1, 20, 6, 5, 1.$"),
        ({"images": np.ones((20, 784)), "labels": LABELS}, r"got \(20, 784\); save images.reshape\(-1, 28, 28\)$"),
        ({"images": IMAGES[:9], "labels": LABELS[:9]}, "must be at least 10 images, of which a fifth .*; got 9$"),
        ({"images": IMAGES[:, :3], "labels": LABELS}, r"at least 4 pixels high and wide.*got the shape \(20, 3, 5\)$"),
        ({"images": IMAGES[..., None][..., :0], "labels": LABELS}, r"have a channel; got the shape \(20, 6, 5, 0\)$"),
        (
            {"images": np.moveaxis(COLOURED, -1, 1), "labels": LABELS},
            r"got \(20, 3, 6, 5\), with the channels first; save np.moveaxis\(images, 1, -1\)$",
        ),
        (
            {"images": np.moveaxis(COLOURED, 0, -1), "labels": LABELS},
            r"got \(6, 5, 3, 20\), with the images on the last axis; save np.moveaxis\(images, 3, 0\)$",
        ),
        (
            {"images": np.where(np.arange(600).reshape(20, 6, 5) > 597, np.nan, 1.0), "labels": LABELS},
            r"pixels must be finite; 2 are NaN or infinite, the first in image 19; .* save np.nan_to_num\(images\)$",
        ),
        ({"images": IMAGES * 1j, "labels": LABELS}, "must be real numbers; got the dtype complex128; save their abs"),
        ({"images": IMAGES.astype(str), "labels": LABELS}, "must be real numbers; got the dtype <U"),
        (
            {"images": IMAGES, "labels": LABELS.astype(float)},
            r"must be integers of the shape \(20,\); got float64 of the shape \(20,\); save labels.astype\('int32'\)$",
        ),
        ({"images": IMAGES, "labels": LABELS > 0}, r"got bool of the shape \(20,\); save labels.astype\('int32'\)$"),
        ({"images": IMAGES, "labels": LABELS + 0.5}, r"got float64 .* save np.unique\(labels, return_inverse=True\)"),
        (
            {"images": IMAGES, "labels": LABELS.astype(str)},
            r"got <U\d+ .* save np.unique\(labels, ",
        ),
        (
            {"images": IMAGES, "labels": np.eye(2)[LABELS]},
            r"got float64 of the shape \(20, 2\); save labels.argmax\(axis=1\), if they are one-hot$",
        ),
        ({"images": IMAGES, "labels": LABELS[:, None]}, r"of the shape \(20, 1\); save labels.ravel\(\)$"),
        (
            {"images": IMAGES, "labels": LABELS[:-1]},
            r"shape \(20,\), one for each image; got int64 of the shape \(19,\)$",
        ),
        ({"images": IMAGES, "labels": LABELS - 1}, "must count from 0; the least is -1; save np.unique"),
        ({"images": IMAGES, "labels": LABELS * 20}, "must be below the number of images, 20; the largest is 20; save"),
        ({"images": IMAGES, "labels": LABELS * 0 + 3}, "must name at least two classes; all are 3$"),
        ({"images": IMAGES.astype(object), "labels": LABELS}, "pickle is refused"),
    ],
)
def test_bad_data_is_refused_in_one_line(tmp_path, arrays, message):
    """It names the file, says what must be, what is there, and how to mend it."""
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        user_data(tmp_path / "f.npz", rng())
    assert str(caught.value).startswith(str(tmp_path / "f.npz"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.moveaxis(np.moveaxis(COLOURED, -1, 1), 1, -1), LABELS),
        (np.moveaxis(np.moveaxis(COLOURED, 0, -1), 3, 0), LABELS),
        (COLOURED, np.eye(2)[LABELS].argmax(axis=1)),
        (COLOURED, np.unique(LABELS - 7, return_inverse=True)[1]),
    ],
)
def test_what_is_advised_mends_it(images, labels):
    images, labels = checked(images, labels, "x")
    np.testing.assert_array_equal(images, COLOURED)
    np.testing.assert_array_equal(labels, LABELS)
