"""The digits that ship, the held-out fifth, and images of the user's own: taken, or refused in one line."""

import numpy as np
import pytest

from xpconv._train.dataset import checked, digits, split, user_data
from xpconv.data import load_digits


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_digits_are_scikit_learns():
    sklearn = pytest.importorskip("sklearn.datasets", reason="scikit-learn is the oracle here and is not installed")
    images, labels = load_digits()
    theirs = sklearn.load_digits()
    assert images.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(images, theirs.images)
    np.testing.assert_array_equal(labels, theirs.target)


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


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, "it lacks 'labels'"),
        ({"labels": LABELS}, "it lacks 'images'"),
        ({"images": IMAGES[0], "labels": LABELS}, r"are \(N, H, W\) or \(N, H, W, C\); got the shape \(6, 5\)"),
        ({"images": IMAGES[None, :, :, :, None], "labels": LABELS}, "are .N, H, W. or .N, H, W, C.; got the shape"),
        ({"images": IMAGES[:9], "labels": LABELS[:9]}, "at least 10 images are needed to hold out a fifth; .* has 9"),
        ({"images": IMAGES[:, :3], "labels": LABELS}, r"at least 4 pixels high and wide.*got the shape \(20, 3, 5\)"),
        ({"images": IMAGES[..., None][..., :0], "labels": LABELS}, r"have a channel; got the shape \(20, 6, 5, 0\)"),
        (
            {"images": np.where(IMAGES[0, 0, 0] == IMAGES, np.nan, 1.0), "labels": LABELS},
            "some pixel is NaN or infinite",
        ),
        ({"images": IMAGES * 1j, "labels": LABELS}, "are real numbers; got the dtype complex128"),
        ({"images": IMAGES.astype(str), "labels": LABELS}, "are real numbers; got the dtype <U"),
        ({"images": IMAGES, "labels": LABELS.astype(float)}, "are integers; got the dtype float64"),
        ({"images": IMAGES, "labels": LABELS - 1}, "count from 0; the least is -1"),
        ({"images": IMAGES, "labels": LABELS * 20}, "are class numbers below the number of images; got 20"),
        ({"images": IMAGES, "labels": LABELS * 0 + 3}, "name at least two classes; all are 3"),
        ({"images": IMAGES, "labels": LABELS[:-1]}, r"one label per image, the shape \(20,\); got \(19,\)"),
        ({"images": IMAGES, "labels": LABELS[:, None]}, r"one label per image, the shape \(20,\); got \(20, 1\)"),
        ({"images": IMAGES.astype(object), "labels": LABELS}, "pickle is refused"),
    ],
)
def test_bad_data_is_refused_in_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        user_data(tmp_path / "f.npz", rng())
    assert str(caught.value).startswith("train: ")
    assert "f.npz" in str(caught.value)
    assert "\n" not in str(caught.value)
