"""Somebody else's functions: what is right passes, what is wrong is named, and nothing that they do ends the run."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from xpconv.verify import main
from xpconv.verify.target.cells import python
from xpconv.verify.target.load import NAMES

RIGHT = Path(__file__).parent / "notebooks" / "right.ipynb"

INDENT = 20 * " "
# what to replace in the right notebook -> the fault that each function has to be told
SLIPS = {
    "padding": (
        [("a_slice_prev = a_prev_pad[vert_start", "a_slice_prev = A_prev[i, vert_start")],
        {"conv_forward": "windows of the unpadded image"},
    ),
    "bias": ([(" + float(b[0, 0, 0])", "")], {"conv_single_step": "bias forgotten"}),
    "stride": (
        [
            (
                f"vert_start = h * stride\n{INDENT}horiz_start = w * stride\n{INDENT}a_prev_slice",
                f"vert_start = h\n{INDENT}horiz_start = w\n{INDENT}a_prev_slice",
            )
        ],
        {"pool_forward": "stride left out of the loop"},
    ),
    "overlap": ([("+= mask *", "= mask *")], {"pool_backward": "= for +="}),
    "ties": (
        [("(x == np.max(x))", "np.arange(x.size).reshape(x.shape) == np.argmax(x)")],
        {"create_mask_from_window": "first maximum only"},
    ),
    "share": (
        [("average = dz / (n_H * n_W)", "average = dz")],
        {"distribute_value": "not divided"},
    ),
    "two gradients": (
        [("dW[:, :, :, c] += a_slice", "dW[:, :, :, c] = a_slice"), ("db[:, :, :, c] += ", "db[:, :, :, c] = ")],
        {"conv_backward": "= for += in dW"},
    ),
}


def check(capsys, target, *more):
    """The exit status, the lines of each function and the other lines."""
    status = main(["--target", str(target), *more])
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    told, name = {"": []}, ""
    for line in lines:
        word = line.partition(":")[0]
        name = word if word in NAMES else name if line.startswith("  ") else ""
        told.setdefault(name, []).append(line)
    return status, told, lines


def write(path, text):
    path.write_text(textwrap.dedent(text))
    return path


def test_a_right_notebook_passes(capsys, tmp_path):
    status, told, lines = check(capsys, RIGHT)
    assert status == 0
    assert lines[-1] == "8 of 8 functions are right"
    assert all(" right on " in told[name][0] for name in NAMES)
    loading = "\n".join(told[""] + lines)
    assert "cell 1, line 2: ModuleNotFoundError: No module named 'course_helpers'" in loading
    assert "more after it for that" in loading  # the course's tests, which come from there
    assert "conv_forward_test" not in loading


@pytest.mark.parametrize("name", SLIPS)
@pytest.mark.usefixtures("here")
def test_a_slip_is_named(name, capsys, tmp_path):
    slips, looks = SLIPS[name]
    book = json.loads(RIGHT.read_text())
    for old, new in slips:
        changed = 0
        for cell in book["cells"]:
            text = "".join(cell["source"])
            changed += text.count(old)
            cell["source"] = text.replace(old, new)  # a string is as good as a list of lines
        assert changed == 1
    path = tmp_path / "mine.ipynb"
    path.write_text(json.dumps(book))
    status, told, lines = check(capsys, path)
    assert status == 1
    wrong = {function.strip() for function in looks}
    assert lines[-1] == f"{8 - len(wrong)} of 8 functions are right"
    for function in NAMES:
        assert ("WRONG on" in told[function][0]) == (function in wrong)
    for function, fault in looks.items():
        assert any(line.startswith(f"  looks like: {fault} (") for line in told[function.strip()])
    for function in wrong:
        text = "\n".join(told[function])
        assert "raised ValueError" in text or ("expected " in text and "got " in text)
        assert max(map(len, told[function])) < 110


@pytest.mark.usefixtures("here")
def test_the_smallest_input_is_shown(capsys, tmp_path):
    path = write(
        tmp_path / "pads.py",
        """
        import numpy as np

        def zero_pad(X, pad):
            return np.pad(X, ((0, 0), (0, 2 * pad), (0, 2 * pad), (0, 0)))
        """,
    )
    status, told, _ = check(capsys, path)
    assert status == 1
    assert told["zero_pad"][1] == "  looks like: padding on one side (all of it below and on the right)"
    assert told["zero_pad"][2:4] == ["  padded: 2 of 9 numbers are wrong", "  with X (1, 1, 1, 1), pad=1"]
    (number,) = told["zero_pad"][4].split()[1:2]
    rows = [line.split("shape")[0] for line in told["zero_pad"][-6:]]
    assert [re.findall(r"-?\d\.", row) for row in rows] == [
        ["0.", "0.", "0."],
        ["0.", number, "0."],
        ["0.", "0.", "0."],
        [number, "0.", "0."],
        ["0.", "0.", "0."],
        ["0.", "0.", "0."],
    ]
    assert [told[name] for name in NAMES[1:3]] == [["conv_single_step: absent"], ["conv_forward: absent"]]


@pytest.mark.usefixtures("here")
def test_the_library_s_own_module_is_right(capsys):
    status, _, lines = check(capsys, "xpconv.course")
    assert (status, lines[-1]) == (0, "8 of 8 functions are right")


@pytest.mark.usefixtures("here")
def test_one_function_a_class_and_an_object(capsys, tmp_path):
    path = write(
        tmp_path / "layers.py",
        """
        import types
        from xpconv.course import *
        import xpconv

        class Methods:
            def pool_forward(self, A_prev, hparameters, mode="max"):
                return xpconv.pool_forward(A_prev, hparameters, mode)
            def create_mask_from_window(self, x):
                return x == x

        class Static:
            distribute_value = staticmethod(xpconv.distribute_value)

        inner = types.SimpleNamespace(here=types.SimpleNamespace(zero_pad=xpconv.zero_pad))
        """,
    )
    for name in ("zero_pad", "Static", "inner.here", "pool_backward"):
        status, told, lines = check(capsys, f"{path}:{name}")
        assert (status, lines[-1].partition(";")[0]) == (0, "1 of 1 functions are right")
    assert list(told) == ["", "pool_backward"]
    status, told, lines = check(capsys, f"{path}:Methods")
    assert (status, lines[-1]) == (1, "1 of 2 functions are right; 6 are absent")
    assert "  looks like: everything (x is compared with itself)" in told["create_mask_from_window"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return A_prev", "gives one ndarray, not (Z, cache)"),
        ("Z = A_prev.sum()", "gives None, not (Z, cache)"),
        ("return None, ()", "Z "),
        ("return 'text', ()", "Z is one str, not an array of numbers"),
        ("A_prev[...] = 0; return A_prev, ()", "changes its argument A_prev"),
        ("import sys; sys.exit('enough')", "raised called sys.exit('enough')"),
        ("return conv_forward(A_prev, W, b, hparameters)", "raised RecursionError"),
        ("import numpy as np; Z = np.zeros(1); Z[0] = W", "looks like: an array where one number belongs"),
        ("return undefined", "raised NameError: name 'undefined' is not defined"),
        ("raise ValueError('a\\n b')", "raised ValueError: a b"),
    ],
)
@pytest.mark.usefixtures("here")
def test_strange_answers(body, words, capsys, tmp_path):
    path = write(tmp_path / "strange.py", f"def conv_forward(A_prev, W, b, hparameters):\n    {body}\n")
    status, told, lines = check(capsys, f"{path}:conv_forward")
    assert (status, lines[-1]) == (1, "0 of 1 functions are right")
    assert any(line.startswith(f"  {words}") for line in told["conv_forward"])


def test_crashing(capsys, tmp_path):
    """A process that ends is not one that comes to its end, whatever its status."""
    text = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\ndef zero_pad(X, pad):\n    os._exit(0)"
    ended = "SIGSEGV" if os.name == "posix" else f"status {int(signal.SIGSEGV)}"
    status, told, lines = check(capsys, write(tmp_path / "bad.py", text))
    assert status == 1
    assert any(line.startswith(f"  line 2: ended the process with {ended}") for line in lines)
    assert any(line.startswith("  ended the process with status 0") for line in told["zero_pad"])


@pytest.mark.usefixtures("here")
def test_what_stands_around_an_error_is_checked(capsys, tmp_path):
    text = "from xpconv import zero_pad\nimport sys\n{}\nfrom xpconv import pool_forward\n"
    for line, words in (("sys.exit(3)", "called sys.exit(3)"), ("1 / 0", "ZeroDivisionError: division by zero")):
        path = write(tmp_path / "half.py", text.format(line))
        status, told, lines = check(capsys, path)
        assert (status, lines[-1]) == (0, "2 of 2 functions are right; 6 are absent")
        assert lines[1] == f"  line 3: {words}"
        assert "right" in told["pool_forward"][0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_file.py", "there is no file no_such_file.py"),
        ("no_such_file.ipynb:zero_pad", "there is no file no_such_file.ipynb"),
        ("no_such_module", "there is no module no_such_module"),
        ("no_such_module.inner:zero_pad", "there is no module no_such_module.inner"),
        ("notes.txt-", "a target is a .py file, a notebook (.ipynb) or an importable module; got 'notes.txt-'"),
        ("xpconv.course:nothing", "there is no nothing in xpconv.course"),
        ("math", "math has none of the course's functions: zero_pad, "),
        ("math:pi", "math:pi has none of the course's functions: zero_pad, "),
        ("this_is_broken", "this_is_broken cannot be imported: SyntaxError: "),
        ("broken.ipynb", "broken.ipynb is no notebook: JSONDecodeError"),
        ("other.ipynb", "other.ipynb is no notebook: KeyError"),
        ("empty.ipynb", "empty.ipynb has none of the course's functions"),
    ],
)
@pytest.mark.usefixtures("here")
def test_bad_targets(name, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "this_is_broken.py", "def")
    write(tmp_path / "broken.ipynb", "{")
    write(tmp_path / "other.ipynb", "{}")
    write(tmp_path / "empty.ipynb", '{"cells": []}')
    assert main(["--target", name]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith(f"xpconv verify: --target: {words}")
    assert captured.out == ""


@pytest.mark.parametrize(
    ("cell", "left"),
    [
        ("x = 1\n%matplotlib inline\ny = 2", "x = 1\npass\ny = 2"),
        ("%%bash\nls", ""),
        ("%%time\nx = 1", "pass\nx = 1"),
        ("!ls\nfiles = !ls\nnp.pad?\n  ?x", "pass\nfiles = None\npass\n  pass"),
        ('"""\n%d in text\n"""', '"""\n%d in text\n"""'),
        ("x = 5 \\\n%3", "x = 5 \\\n%3"),
    ],
)
def test_cells_without_magics(cell, left, monkeypatch):
    monkeypatch.setattr("xpconv.verify.target.cells.importlib.util.find_spec", lambda name: None)  # of IPython
    assert python(cell) == left


@pytest.mark.needs("IPython")
def test_cells_by_ipython_itself():
    """Which knows of its own what the rules for other machines guess; what it runs does nothing, on the same lines."""
    lines = python("x = 1\n%matplotlib inline\nfiles = !ls\nnp.pad?\ny = 2").rstrip("\n").split("\n")
    assert lines[::4] == ["x = 1", "y = 2"]
    assert [line.partition("(")[0] for line in lines[1:4]] == ["get_ipython", "files = get_ipython", "get_ipython"]


def test_modules_beside_the_file_and_from_anywhere(tmp_path):
    write(tmp_path / "beside.py", "from xpconv import zero_pad")
    write(tmp_path / "mine.py", "from beside import zero_pad\nprint('noise')\ninput()")
    (tmp_path / "away").mkdir()
    write(tmp_path / "away" / "json.py", "1 / 0")  # a module of that name in the current folder disturbs nothing
    command = [sys.executable, "-m", "xpconv", "verify", "--target", "../mine.py"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, cwd=tmp_path / "away", capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "noise" not in done.stdout
    assert "line 3: EOFError: EOF when reading a line" in done.stdout
    shutil.rmtree(tmp_path / "away")
