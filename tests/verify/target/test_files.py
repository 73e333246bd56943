"""Files as they are handed in: what cannot be read, run or finished, any number of them, and the reports on them."""

import json
import re
from html.parser import HTMLParser

import pytest

from tests.verify.target.homework import ARRAYS, HEAD, LOOPS, cells, changed, notebook
from xpconv.verify import main
from xpconv.verify.target.load import NAMES

STATUSES = {"right", "right in the course", "unfinished", "wrong", "unreadable", "absent"}
MAGICS = f"{HEAD}\nimport h5py_is_not_here\n%matplotlib inline\n%load_ext autoreload\nname = input('who? ')"
ENDLESS = {"zero_pad": "def zero_pad(X, pad):\n    while True: pass"}
ENDS = {"pool_forward": "def pool_forward(A_prev, hparameters, mode='max'):\n    import os\n    os._exit(3)"}
FEW = {name: ARRAYS[name] for name in ("zero_pad", "create_mask_from_window", "distribute_value")}


def judge(capsys, tmp_path, *targets, more=()):
    """The exit status, the report's targets and the lines on the screen."""
    path = tmp_path / "report.json"
    status = main(["--target", *map(str, targets), "--report", str(path), *more])
    out = capsys.readouterr().out.splitlines()
    assert max(map(len, out)) < 110 + len(str(tmp_path))
    return status, json.loads(path.read_text())["targets"], out


def statuses(target, but="right"):
    return {name: found["status"] for name, found in target["functions"].items() if found["status"] != but}


@pytest.mark.usefixtures("here")
def test_many_files_and_all_reports(capsys, tmp_path):
    right = notebook(tmp_path / "right.ipynb", cells(FEW, MAGICS))
    magics = tmp_path / "magics.py"
    magics.write_bytes(b"\xef\xbb\xbf" + "\n\n".join(cells(FEW, MAGICS)).encode())
    export = tmp_path / "export.py"
    export.write_text("\n".join(cells(FEW, f"{HEAD}\nget_ipython().run_line_magic('matplotlib', 'inline')")))
    wrong = notebook(tmp_path / "<wrong>.ipynb", cells(FEW | {"zero_pad": "def zero_pad(X, pad):\n    return X"}))
    files = [right, magics, export, wrong]
    extra = ["--report", str(tmp_path / "r.md"), "--report", str(tmp_path / "r.html")]
    status, found, out = judge(capsys, tmp_path, *files, tmp_path / "none.py", more=extra)
    assert status == 1
    assert [target["target"] for target in found] == [*map(str, files), str(tmp_path / "none.py")]
    assert [(target["right"], target["of"]) for target in found] == [(3, 3)] * 3 + [(2, 3), (0, 0)]
    for target in found[:4]:
        assert set(target) == {"target", "functions", "right", "of"}
        assert list(target["functions"]) == list(NAMES)
        for one in target["functions"].values():
            assert set(one) == {"status", "looks_like", "message"}
            assert one["status"] in STATUSES
    assert statuses(found[3], "absent") == dict.fromkeys(FEW, "right") | {"zero_pad": "wrong"}
    assert found[3]["functions"]["zero_pad"]["looks_like"] == ["padding dropped (pad is never used)"]
    assert "  cell 1, line 2: ModuleNotFoundError: No module named 'h5py_is_not_here'" in out
    assert "  line 5: EOFError: EOF when reading a line" in out
    assert f"{wrong}: 2 of 3 functions are right; 5 are absent" in out

    text = (tmp_path / "r.md").read_text()
    assert f"| `{wrong}` | 2 of 3 | wrong | absent |" in text
    page = (tmp_path / "r.html").read_text()
    assert "&lt;wrong&gt;.ipynb" in page
    seen = Page()
    seen.feed(page)
    assert seen.rows == 6
    assert seen.open == []
    assert seen.details >= 1
    assert "expected" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"https?://|src=|@import|url\(|<script", page)


class Page(HTMLParser):
    """Counts rows and details, and keeps account of what is open."""

    def __init__(self):
        super().__init__()
        self.rows, self.details, self.open = 0, 0, []

    def handle_starttag(self, tag, attributes):
        self.rows += tag == "tr"
        self.details += tag == "details"
        if tag not in ("meta", "wbr", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.usefixtures("here")
def test_a_syntax_error_is_told_before_what_matters_less(capsys, tmp_path):
    broken = LOOPS["conv_backward"].replace("    return dA_prev", "      return dA_prev")
    tests = "from tests_of_the_course import *\n" + "\n".join(f"test_{number}()" for number in range(9))
    path = notebook(tmp_path / "broken.ipynb", [*cells(FEW, MAGICS), tests, broken.strip()])
    beside = tmp_path / "beside.py"
    text = FEW["zero_pad"].replace("X.shape", "X.shape(")
    beside.write_text("\n".join([HEAD, text, FEW["distribute_value"]]))
    status, (one, two), out = judge(capsys, tmp_path, path, beside)
    assert status == 1
    assert statuses(one, "absent") == dict.fromkeys(FEW, "right") | {"conv_backward": "unreadable"}
    assert re.search(r"cell 6, line 20: IndentationError", one["functions"]["conv_backward"]["message"])
    assert (one["right"], one["of"]) == (3, 4)
    notes = [line for line in out if line.startswith("  cell ")]
    assert notes[0].startswith("  cell 6, line 20: IndentationError")
    assert any("tests_of_the_course" in line and line.endswith("; 9 more after it for that") for line in out)
    # what stands beside it in a file is read
    assert statuses(two, "absent") == {"zero_pad": "unreadable", "distribute_value": "right"}
    assert re.search(r"line \d+: SyntaxError", two["functions"]["zero_pad"]["message"])


def test_what_does_not_come_back_leaves_the_rest(capsys, tmp_path):
    texts = cells(FEW | ENDLESS | ENDS)
    texts[2:2] = ["exit()", "import os\nos._exit(3)", "%%bash\nls", "!ls\nx = !ls", "await thing()"]
    path = notebook(tmp_path / "ends.ipynb", [*texts, "import time\ntime.sleep(1000)"])
    status, (found,), out = judge(capsys, tmp_path, path, more=["--time-limit", "1"])
    assert status == 1
    right = dict.fromkeys(("create_mask_from_window", "distribute_value"), "right")
    assert statuses(found, "absent") == right | {"zero_pad": "wrong", "pool_forward": "wrong"}
    assert "stopped after 1 s, with X (1, 1, 1, 1), pad=1" in found["functions"]["zero_pad"]["message"]
    assert "ended the process with status 3, with A_prev" in found["functions"]["pool_forward"]["message"]
    told = "\n".join(out)
    assert "cell 3, line 1: called sys.exit(None)" in told or "cell 3, line 1: called sys.exit()" in told
    assert "cell 4, line 2: ended the process with status 3" in told
    assert re.search(r"cell \d+, line 2: stopped after 1 s", told)
    assert "  stopped after 1 s" in out


@pytest.mark.usefixtures("here")
def test_a_name_that_is_nearly_right(capsys, tmp_path):
    path = notebook(tmp_path / "near.ipynb", cells(changed("zero_pad", ("def zero_pad", "def zeropad"), style=FEW)))
    status, (found,), out = judge(capsys, tmp_path, path)
    assert status == 0
    assert found["functions"]["zero_pad"]["status"] == "absent"
    assert "there is zeropad; did you mean zero_pad?" in found["functions"]["zero_pad"]["message"]
    assert out[-2] == "2 of 2 functions are right; 6 are absent"


@pytest.mark.usefixtures("here")
def test_a_function_whose_decorator_is_not_there_is_judged_without_it(capsys, tmp_path):
    path = tmp_path / "fast.py"
    text = "from numba_is_not_here import njit\n\n@njit(cache=True)" + LOOPS["zero_pad"] + LOOPS["distribute_value"]
    path.write_text(f"{HEAD}\n{text.replace('distribute_value(dz,', 'distribute_value(dz: Number,')}")
    status, (found,), out = judge(capsys, tmp_path, path)
    assert status == 0
    assert statuses(found, "absent") == {"zero_pad": "right", "distribute_value": "right"}
    assert "  line 5: NameError: name 'njit' is not defined; judged without its decorators" in out


@pytest.mark.usefixtures("here")
def test_nothing_to_judge(capsys, tmp_path):
    (tmp_path / "empty.py").write_text("")
    assert main(["--target", str(tmp_path / "empty.py"), str(tmp_path / "none.ipynb")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [line.startswith("xpconv verify: --target: ") for line in errors] == [True, True]


@pytest.mark.parametrize("name", ["r.xml", "r.pdf"])
def test_a_report_of_another_kind_is_refused_first(name, capsys, tmp_path):
    assert main(["--target", "none.py", "--report", str(tmp_path / name)]) == 2
    assert ".json, .md, .html" in capsys.readouterr().err
