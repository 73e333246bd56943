"""Files that are written whole or not at all."""

import os

import pytest

from xpconv._tools.files import write_atomic


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    write_atomic(tmp_path / "f", b"old")

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_relative_path_and_a_new_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_atomic("new", b"all of it")
    assert (tmp_path / "new").read_bytes() == b"all of it"
    assert os.listdir(tmp_path) == ["new"]
