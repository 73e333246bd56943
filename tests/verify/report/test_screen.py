"""The run on a terminal and elsewhere."""

import importlib.util
import re

from xpconv.verify import main
from xpconv.verify.report import screen as show


def test_rich_on_a_terminal_and_text_elsewhere(monkeypatch):
    assert isinstance(show.screen(), show.PlainScreen)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert isinstance(show.screen(), show.RichScreen)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert isinstance(show.screen(), show.PlainScreen)


def test_the_table_fits_a_terminal_of_100_columns(failing, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    screen = show.RichScreen()
    monkeypatch.setattr("xpconv.verify.command.screen", lambda: screen)
    arguments = ["--quick", "--backends", "numpy,strict", "--operations", "pad,create_mask_from_window,conv_forward"]
    assert main(arguments) == 1
    found = capsys.readouterr().out.splitlines()
    table = [line for line in found if "create_mask_from_window" in line or "backend" in line]
    assert len(table) == 3
    assert all(len(line.rstrip()) <= 100 for line in table)
    assert not any("…" in line for line in table)
    assert any(re.search(r"pad +(\d+) +\1 FAILED", line) for line in found)
    assert any(line.startswith("  import xpconv as xc; ") and len(line) > 100 for line in found)
