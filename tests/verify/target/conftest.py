"""Processes of targets: where a test is not about them, a target is judged in this one, and what is known is kept."""

import contextlib
import os
import sys
from unittest import mock

import pytest

from xpconv.verify.target import child, run


class Here:
    """A process that has run in this one when it is made; the arguments and the file of its errors are the child's."""

    returncode = 0

    def __init__(self, command, *, stderr, env, **_):
        arguments = command[command.index("-c") + 2 :]
        kept, folder = dict(sys.modules), os.getcwd()
        with (
            open(os.devnull) as nothing,
            open(os.devnull, "w") as sink,
            mock.patch.object(sys, "argv", ["-c", *arguments]),
            mock.patch.object(sys, "path", list(sys.path)),
            mock.patch.object(sys, "stdin", nothing),
            contextlib.redirect_stdout(sink),
        ):
            try:
                child.main()
            finally:
                os.chdir(folder)
                for name in set(sys.modules) - set(kept):
                    if not name.startswith("xpconv."):
                        del sys.modules[name]
                sys.modules.update(kept)
        self.pid = os.getpid()

    def wait(self, timeout=None):
        return 0

    def poll(self):
        return 0


@pytest.fixture
def here(monkeypatch):
    """Judge targets in this process."""
    monkeypatch.setattr(run.subprocess, "Popen", Here)
    monkeypatch.setattr(run, "_end", lambda process: None)
