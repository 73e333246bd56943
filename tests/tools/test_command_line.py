"""The command itself: version, info, the hand-over to verify, and what importing loads."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import xpconv
from xpconv._tools.machine import sections, tf32
from xpconv.cli import COMMANDS, main

HEADINGS = ("versions", "backends", "devices", "BLAS and threads", "processor", "options")


def run_python(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(xpconv.__file__).parents[1])}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def test_the_module_is_the_command():
    assert run_python("-m", "xpconv", "--version") == f"xpconv {xpconv.__version__}\n"
    assert "train" in run_python("-m", "xpconv", "--help")


def test_info_knows_this_machine():
    found = sections()
    assert tuple(found) == HEADINGS
    assert dict(found["versions"])["numpy"] == np.__version__
    assert dict(found["backends"])["numpy"] == np.__version__
    assert set(dict(found["backends"])) == {"numpy", "cupy", "torch", "jax", "strict", "dask", "dpnp"}
    assert dict(found["devices"])["numpy"] == "cpu"
    assert dict(found["options"])["threads"].isdecimal()
    assert found["BLAS and threads"]


def test_info_says_why_a_backend_is_missing(monkeypatch):
    monkeypatch.setattr("xpconv._tools.machine.installed", lambda: ["numpy", "jax"])
    monkeypatch.setitem(sys.modules, "array_api_compat.torch", None)
    monkeypatch.setattr("xpconv._tools.libraries.MODULES", {"numpy": "array_api_compat.numpy", "jax": "no_such_module"})
    backends = dict(sections()["backends"])
    assert backends["torch"] == "not found: not installed"
    assert backends["jax"].startswith("not found: backend 'jax' cannot be imported: No module named 'no_such_module'")


@pytest.mark.parametrize("terminal", [False, True])
def test_info_prints_every_section(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    for heading in HEADINGS:
        assert heading in printed
    assert np.__version__ in printed


@pytest.mark.parametrize(("value", "word"), [("1", "on"), ("0", "off"), (None, "off")])
def test_tf32_is_read_from_the_environment(monkeypatch, value, word):
    monkeypatch.delenv("CUPY_TF32", raising=False)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)  # where CuPy is loaded it is asked itself
    if value is not None:
        monkeypatch.setenv("CUPY_TF32", value)
    assert tf32().startswith(word)


@pytest.mark.parametrize("rest", [[], ["--help"], ["--backends", "numpy", "--report", "r.json"]])
def test_verify_gets_its_own_arguments(monkeypatch, rest):
    seen = []
    monkeypatch.setitem(sys.modules, "xpconv.verify", SimpleNamespace(main=lambda argv: seen.append(argv) or 7))
    assert main(["verify", *rest]) == 7
    assert seen == [rest]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "xpconv: wants a command, one of info, train, verify"),
        (["nonsense"], "xpconv: argument COMMAND: invalid choice: 'nonsense'"),
        (["info", "more"], "xpconv info: unrecognized arguments: more"),
    ],
)
def test_a_wrong_command_is_one_line_and_status_2(capsys, arguments, words):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(words)
    assert printed.count("\n") == 1


def test_every_command_is_listed_and_has_a_help_of_its_own(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^ +{name} +{line}", listed, re.MULTILINE)
        with contextlib.suppress(SystemExit):  # verify gives its status instead
            main([name, "--help"])
        assert capsys.readouterr().out.startswith(f"usage: xpconv {name} ")


def test_a_reader_that_has_gone_ends_the_command_without_a_complaint():
    code = (
        "from xpconv._tools import machine; machine.sections = lambda: {'heading': [('name', 'value')]}\n"
        "from xpconv.cli import main; raise SystemExit(main(['info']))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_an_interrupt_outside_training_is_status_130(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("xpconv._tools.machine.sections", interrupt)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "xpconv: interrupted\n"


@pytest.mark.parametrize("module", ["xpconv.cli", "xpconv.nn"])
def test_importing_loads_no_optional_package(module):
    names = ["rich", "matplotlib", "safetensors", "torch", "jax", "cupy", "dask", "dpnp"] + ["xpconv.nn"] * (
        module == "xpconv.cli"
    )
    code = f"import sys, {module}; print([name for name in {names} if name in sys.modules])"
    assert run_python("-c", code) == "[]\n"
