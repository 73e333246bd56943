"""Images in a store of Zarr's: split and trained on as those of a file are, and refused in the same words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xpconv._train.dataset import DataError, user_data
from xpconv._train.stored import Rows
from xpconv.cli import main
from xpconv.data import load_digits
from xpconv.nn import load_parameters
from xpconv.nn.shards import rows

pytestmark = pytest.mark.needs("zarr")


def stored(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    import zarr

    group = zarr.create_group(folder)
    group.create_array("images", data=images, chunks=(16, *images.shape[1:]))
    group.create_array("labels", data=labels)
    return folder


def noise(dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    return (rng.normal(labels[:, None, None], 0.5, (90, 9, 8)) * 20).astype(dtype), labels


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "uint8"])
def test_a_store_is_split_as_a_file_is(dtype: str, tmp_path: Path) -> None:
    images, labels = noise(dtype)
    np.savez(tmp_path / "f.npz", images=images, labels=labels)
    plain = user_data(tmp_path / "f.npz", np.random.default_rng(3))
    lazy = user_data(stored(tmp_path / "f.zarr", images, labels), np.random.default_rng(3))
    assert isinstance(lazy.images, Rows)
    assert (lazy.scale, lazy.classes, lazy.images.shape) == (plain.scale, plain.classes, plain.images.shape)
    index = np.random.default_rng(1).permutation(len(plain.images))[:20]
    for name in ("images", "held_out_images"):
        there, here = getattr(lazy, name), getattr(plain, name)
        assert len(there) == len(here)
        own = index[index < len(here)]
        np.testing.assert_array_equal(rows(there, own), here[own], strict=True)
        np.testing.assert_array_equal(there[:2], here[:2], strict=True)
    np.testing.assert_array_equal(lazy.labels, plain.labels, strict=True)
    np.testing.assert_array_equal(lazy.held_out_labels, plain.held_out_labels, strict=True)


def test_training_on_a_store_has_the_bits_of_training_on_a_file(tmp_path: Path) -> None:
    images, labels = (array[:400] for array in load_digits())
    np.savez(tmp_path / "f.npz", images=images, labels=labels)
    data = [str(tmp_path / "f.npz"), str(stored(tmp_path / "f.zarr", images, labels))]
    found: list[Any] = []
    for number, path in enumerate(data):
        out = tmp_path / str(number)
        assert main(["train", "--data", path, "--epochs", "2", "--shards", "2", "--out", str(out)]) == 0
        found.append(load_parameters(next(out.glob("parameters.*"))))
    assert all(found[0][name].tobytes() == found[1][name].tobytes() for name in found[0])


def test_what_is_wrong_with_a_store_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import zarr

    images, labels = noise()
    images[7, 0, 0] = np.nan
    with pytest.raises(DataError, match=r"pixels must be finite; 1 images have NaN .* the first is image 7; leave"):
        user_data(stored(tmp_path / "nan.zarr", images, labels), np.random.default_rng(0))
    with pytest.raises(DataError, match=r"labels must be integers of the shape .90,., one for each"):
        user_data(stored(tmp_path / "short.zarr", noise()[0], labels[:80]), np.random.default_rng(0))
    zarr.create_group(tmp_path / "x.zarr").create_array("pictures", data=images)
    with pytest.raises(DataError, match=r"must hold the arrays 'images' and 'labels'; it lacks 'images' and holds 'p"):
        user_data(tmp_path / "x.zarr", np.random.default_rng(0))
    array = zarr.create_array(tmp_path / "array.zarr", data=images)
    assert array.shape == images.shape
    assert main(["train", "--data", str(tmp_path / "array.zarr"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "is no group of Zarr's with the arrays 'images' and 'labels'" in error
    assert error.count("\n") == 1
