"""The command itself: version, info, the hand-over to verify, and what importing loads."""

import contextlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import xpconv
from xpconv._tools import terminal
from xpconv._tools.completion import SHELLS
from xpconv._tools.machine import sections, tf32
from xpconv.cli import COMMANDS, NEEDS, main

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
    assert dict(found["options"])["max_workspace"] == "64 MiB (67,108,864 bytes)"
    assert found["BLAS and threads"]


def test_info_says_why_a_backend_is_missing(monkeypatch):
    monkeypatch.setattr("xpconv._tools.machine.installed", lambda: ["numpy", "strict"])
    monkeypatch.setitem(sys.modules, "array_api_compat.torch", None)
    modules = {"numpy": "array_api_compat.numpy", "strict": "no_such_module"}
    monkeypatch.setattr("xpconv._tools.libraries.MODULES", modules)
    backends = dict(sections()["backends"])
    assert backends["torch"] == "not found: not installed; python -m pip install torch"
    told = "not found: backend 'strict' cannot be imported: No module named 'no_such_module'"
    assert backends["strict"].startswith(told)


@pytest.mark.parametrize("terminal", [False, True])
def test_info_prints_every_section(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    for heading in HEADINGS:
        assert heading in printed
    assert np.__version__ in printed


def test_info_as_json(capsys, monkeypatch):
    monkeypatch.setattr("xpconv._tools.machine.installed", lambda: ["numpy"])
    monkeypatch.setattr("xpconv._tools.libraries.MODULES", {"numpy": "array_api_compat.numpy"})
    with xpconv.set_options(max_workspace=8 * 2**20, threads=1):
        assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["options"] == {"max_workspace": 8 * 2**20, "threads": 1}
    assert found["versions"]["xpconv"] == xpconv.__version__
    assert found["backends"]["numpy"] == np.__version__
    assert found["backends"]["dask"] is None
    assert found["missing"]["dask"] == "not installed; python -m pip install 'dask[array]'"
    assert found["processor"]["cores"] >= found["processor"]["usable_cores"] >= 1
    assert isinstance(found["blas"], list)


@pytest.mark.parametrize("no_color", [False, True])
def test_no_color_is_kept_to(monkeypatch, no_color):
    """On a terminal lines have colours, and none of them where NO_COLOR is set."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdout", written)
    terminal.say("good", "bold green")
    assert ("32m" in written.getvalue()) is not no_color
    assert "good" in written.getvalue()


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
        (["nonsense"], "xpconv: there is no command 'nonsense'; see xpconv --help"),
        (["trian"], "xpconv: there is no command 'trian'; did you mean train?"),
        (["--nonsense"], "xpconv: there is no option '--nonsense'; see xpconv --help"),
        (["info", "more"], "xpconv info: there is no argument 'more'; see xpconv info --help"),
        (["info", "--jsn"], "xpconv info: there is no option '--jsn'; did you mean --json?"),
        (["train", "--learning-rate", "1"], "xpconv train: there is no option '--learning-rate'; did you mean --lr?"),
        (["train", "--epcohs=3"], "xpconv train: there is no option '--epcohs'; did you mean --epochs?"),
        (["completion", "fish"], "xpconv completion: argument SHELL: got 'fish'; must be one of bash, zsh, tcsh"),
    ],
)
def test_a_wrong_command_is_one_line_and_status_2(capsys, arguments, words):
    try:
        status = main(arguments)
    except SystemExit as error:
        status = error.code
    assert status == 2
    printed = capsys.readouterr().err
    assert printed.startswith(words)
    assert printed.count("\n") == 1


def test_an_empty_call_shows_the_help(capsys):
    assert main([]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    with pytest.raises(SystemExit):
        main(["--help"])
    assert capsys.readouterr().out == printed.out != ""


@pytest.mark.needs("shtab")
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_options_and_files(capsys, shell):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in (*COMMANDS, "--epochs", "--self-test", "--json", "--version"):
        assert word.strip("-") in script
    bash = shutil.which("bash")  # of the path, where Windows itself would start its subsystem's
    if shell == "bash" and bash:
        ask = "COMP_WORDS=({}); COMP_CWORD={}; _shtab_xpconv; echo ${{COMPREPLY[@]}}"
        for words, wanted in (("xpconv tr", "train"), ("xpconv train --ep", "--epochs"), ("xpconv info --j", "--json")):
            question = f"{script}\n{ask.format(words, words.count(' '))}"
            done = subprocess.run([bash, "-c", question], capture_output=True, text=True, check=True)
            assert done.stdout.split() == [wanted]


def test_without_its_package_completion_says_how_to_install_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert capsys.readouterr().err == (
        "xpconv completion: the package shtab is not installed: python -m pip install 'xpconv[cli]'\n"
    )


def test_every_command_is_listed_and_has_a_help_of_its_own(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^ +{name} +{line}", listed, re.MULTILINE)
        with contextlib.suppress(SystemExit):  # verify gives its status instead
            main([name, "--help"])
        printed = capsys.readouterr()
        if name in NEEDS and importlib.util.find_spec(NEEDS[name][0]) is None:
            assert printed.err.startswith(f"xpconv: {name} needs {NEEDS[name][1]}, which is not installed: ")
        else:
            assert printed.out.startswith(f"usage: xpconv {name} ")


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
    names = ["rich", "matplotlib", "safetensors", "shtab", "torch", "jax", "cupy", "dask", "dpnp"] + ["xpconv.nn"] * (
        module == "xpconv.cli"
    )
    code = f"import sys, {module}; print([name for name in {names} if name in sys.modules])"
    assert run_python("-c", code) == "[]\n"
