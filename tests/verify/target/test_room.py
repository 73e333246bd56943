"""A file that is judged works in a folder of its own: it reads what lies beside it, and changes nothing there."""

import os
import shutil

import pytest

from tests.verify.target.homework import HEAD, LOOPS, cells, notebook
from xpconv.verify import main
from xpconv.verify.target.room import room

FEW = {"zero_pad": LOOPS["zero_pad"]}
LITTER = f"""{HEAD}
assert open('data.txt').read() == 'kept' and open('images/cat.txt').read() == 'kept'
open('new.txt', 'w').write('new')
open('data.txt', 'a').write('more')
open('images/cat.txt', 'w').write('gone')
import shutil; shutil.rmtree('images')
assert open('data.txt').read() == 'keptmore'
"""


def tree(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def beside(tmp_path):
    """A folder with a file and a folder in it."""
    folder = tmp_path / "beside"
    (folder / "images").mkdir(parents=True)
    (folder / "data.txt").write_text("kept")
    (folder / "images" / "cat.txt").write_text("kept")
    return folder


@pytest.mark.parametrize("name", ["work.ipynb", "work.py"])
def test_nothing_is_littered_by_a_file(beside, name, capsys, monkeypatch):
    path = beside / name
    if path.suffix == ".py":
        path.write_text("\n".join(cells(FEW, LITTER)))
    else:
        notebook(path, cells(FEW, LITTER))
    before = tree(beside)
    monkeypatch.chdir(beside)
    assert main(["--target", name]) == 0
    out = capsys.readouterr().out
    assert "Error" not in out
    assert "1 of 1 functions are right" in out
    assert tree(beside) == before


WAYS = {
    "write": lambda path: (path / "data.txt").write_text("gone"),
    "new": lambda path: (path / "new.txt").write_text("new"),
    "remove": lambda path: (path / "data.txt").unlink(),
    "rename": lambda path: (path / "data.txt").rename(path / "images" / "other.txt"),
    "take away": lambda path: (path / "data.txt").rename("mine.txt"),
    "truncate": lambda path: os.truncate(path / "data.txt", 0),
    "folder": lambda path: (path / "new").mkdir(),
    "tree": lambda path: shutil.rmtree(path / "images"),
    "permissions": lambda path: (path / "data.txt").chmod(0),
    "link": lambda path: (path / "new.txt").symlink_to("nowhere"),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_lies_beside_is_refused_by_its_whole_path(beside, tmp_path, way):
    before = tree(beside)
    (tmp_path / "run" / "folder").mkdir(parents=True)
    with room(tmp_path / "run" / "folder", beside):
        assert (beside / "data.txt").read_text() == "kept"
        with pytest.raises(PermissionError, match="would change what lies beside the file that is judged"):
            WAYS[way](beside)
    assert tree(beside) == before
    (beside / "data.txt").write_text("as ever")  # the guard ends with the block


def test_caches_and_files_elsewhere_are_written(beside, tmp_path):
    (tmp_path / "run" / "folder").mkdir(parents=True)
    with room(tmp_path / "run" / "folder", beside):
        (beside / ".cache").mkdir()
        (beside / ".cache" / "fonts").write_text("a cache")
        (tmp_path / "elsewhere").write_text("new")
        (tmp_path / "run" / "records").write_text("new")
    assert (beside / ".cache" / "fonts").exists()
    assert (tmp_path / "elsewhere").read_text() == "new"
