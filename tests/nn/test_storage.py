"""Parameters in files: what is written comes back, nothing is ever half written, and bad files are named."""

import os
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tests.checks import demand_kind
from xpconv.nn import load_metadata, load_parameters, save_parameters

PARAMS = {
    "conv1.weight": np.arange(12, dtype="float32").reshape(2, 3, 2).transpose(2, 0, 1),  # not contiguous
    "dense1.bias": np.asarray([0.1, -0.0, np.inf]),
    "steps": np.asarray(7, dtype="int64"),
    "empty": np.zeros((0, 3), dtype="float16"),
}
BOTH = pytest.mark.parametrize("name", ["p.safetensors", "p.npz"])


@BOTH
def test_what_is_written_comes_back(tmp_path, name):
    save_parameters(tmp_path / name, PARAMS, {"note": "grüße"})
    loaded = load_parameters(str(tmp_path / name))
    assert loaded.keys() == PARAMS.keys()
    for key, value in PARAMS.items():
        assert loaded[key].dtype == value.dtype
        assert loaded[key].shape == value.shape
        assert loaded[key].tobytes() == value.tobytes()
    assert load_metadata(tmp_path / name) == {"note": "grüße"}
    assert os.listdir(tmp_path) == [name]


@BOTH
def test_every_librarys_arrays_are_taken_and_given(tmp_path, name, backend):
    value = np.asarray([[1.5, -2.0]], dtype="float32")
    save_parameters(tmp_path / name, {"w": backend.asarray(value)})
    loaded = load_parameters(tmp_path / name, backend.library)
    demand_kind(backend, loaded["w"], "float32", (1, 2))
    np.testing.assert_array_equal(backend.to_numpy(loaded["w"]), value)


@BOTH
def test_a_failed_write_leaves_the_old_file(tmp_path, name, monkeypatch):
    save_parameters(tmp_path / name, PARAMS)
    before = (tmp_path / name).read_bytes()

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_parameters(tmp_path / name, {"w": np.zeros(3)})
    assert (tmp_path / name).read_bytes() == before
    assert os.listdir(tmp_path) == [name]


@BOTH
def test_a_truncated_file_is_named_at_every_length(tmp_path, name):
    path = tmp_path / name
    save_parameters(path, PARAMS, {"note": "x"})
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"load_parameters: .*{name} is not a complete") as caught:
            load_parameters(path)
        assert "\n" not in str(caught.value)


@BOTH
@pytest.mark.parametrize(
    "content", [b"", b"not an archive at all, just text", b"PK\x03\x04broken", struct.pack("<Q", 2**62) + b"{}"]
)
def test_a_foreign_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for read in (load_parameters, load_metadata):
        with pytest.raises(ValueError, match=f"{read.__name__}: .*{name} is not a complete"):
            read(tmp_path / name)


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "p.npz", w=np.asarray([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="pickle is refused"):
        load_parameters(tmp_path / "p.npz")


def test_malformed_metadata_is_named(tmp_path):
    np.savez(tmp_path / "p.npz", __metadata__=np.asarray("{"), w=np.zeros(2))
    with pytest.raises(ValueError, match=r"load_metadata: .*p.npz has malformed metadata"):
        load_metadata(tmp_path / "p.npz")


def test_an_npy_file_under_another_name_is_named(tmp_path):
    with (tmp_path / "p.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="it holds a single array"):
        load_parameters(tmp_path / "p.npz")


def test_a_damaged_member_is_named(tmp_path):
    save_parameters(tmp_path / "p.npz", {"w": np.arange(100.0)})
    data = bytearray((tmp_path / "p.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "p.npz") as archive:
        start = archive.getinfo("w.npy").header_offset + 200
    data[start] ^= 0xFF
    (tmp_path / "p.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"not a complete \.npz archive"):
        load_parameters(tmp_path / "p.npz")


@pytest.mark.parametrize(
    ("name", "params", "metadata", "error", "message"),
    [
        ("p.pt", {}, None, ValueError, r"path ends in .safetensors or .npz; got '.*p.pt'"),
        ("p.npz", {3: np.zeros(1)}, None, TypeError, "keys and metadata are strings; got 3"),
        ("p.npz", {"w": np.zeros(1)}, {"epochs": 3}, TypeError, "keys and metadata are strings; got 3"),
        ("p.npz", {"__metadata__": np.zeros(1)}, None, ValueError, "'__metadata__' is reserved"),
    ],
)
def test_bad_input_is_named(tmp_path, name, params, metadata, error, message):
    with pytest.raises(error, match=f"save_parameters: {message}"):
        save_parameters(tmp_path / name, params, metadata)


def test_a_value_that_is_no_array_is_a_type_error(tmp_path):
    with pytest.raises(TypeError):
        save_parameters(tmp_path / "p.npz", {"w": "weights"})


def test_missing_files_and_packages_say_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_parameters(tmp_path / "p.npz")
    code = (
        "import sys; sys.modules['safetensors'] = None\n"
        "import numpy as np; from xpconv.nn import save_parameters\n"
        "save_parameters('p.npz', {'w': np.zeros(1)})\n"
        "try: save_parameters('p.safetensors', {'w': np.zeros(1)})\n"
        "except ImportError as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("the package safetensors is not installed: python -m pip install 'xpconv[cli]'"), done
    assert os.listdir(tmp_path) == ["p.npz"]
