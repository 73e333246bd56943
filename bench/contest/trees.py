"""Two checkouts of xpconv in processes of their own, which take turns on the same case."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from bench.contest.check import FLOAT32, demand, worst
from bench.errors import ResultError, UsageError
from bench.layers import Case
from bench.measure.timing import Settings, Timing

HOME = Path(__file__).resolve().parents[2]
# xpconv comes from the first folder, with all of its modules, and the benchmark from the second
START = (
    "import sys; sys.path.insert(0, sys.argv[1]); import xpconv; sys.path[0] = sys.argv[2]; "
    "from bench.contest import worker; worker.main()"
)


class Tree:
    """A checkout with its process."""

    def __init__(self, name: str, checkout: Path, threads: int) -> None:
        if not (checkout / "xpconv" / "__init__.py").is_file():
            raise UsageError(f"{name.upper()} wants a checkout of xpconv; {checkout} holds none")
        self.name, self.checkout = name, checkout
        arguments = [str(checkout.resolve()), str(HOME), str(threads)]
        command = [sys.executable, "-P", "-c", START, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Ask for a method of `bench.contest.worker.Worker`."""
        requests, answers = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        try:
            pickle.dump((method, arguments), requests)
            requests.flush()
            right, answer = pickle.load(answers)
        except (EOFError, BrokenPipeError) as error:
            raise ResultError(f"the process of the {self.name} tree ended; nothing was timed") from error
        if not right:
            raise ResultError(f"the {self.name} tree: {answer}; nothing was timed")
        return answer

    @property
    def version(self) -> str:
        """The commit that is checked out, and whether xpconv has changed since; otherwise the folder."""
        commit, changes = self._git("rev-parse", "--short", "HEAD"), self._git("status", "--porcelain", "--", "xpconv")
        return (commit or str(self.checkout)) + (", changed" if changes else "")

    def _git(self, *arguments: str) -> str:
        try:
            found = subprocess.run(["git", *arguments], cwd=self.checkout, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return found.stdout.strip() if found.returncode == 0 else ""


class There:
    """A pass of the case that a tree has entered."""

    def __init__(self, tree: Tree, passes: str, settings: Settings) -> None:
        self.tree, self.passes, self.settings = tree, passes, settings

    def warm_up(self) -> Timing:
        """Warm up there."""
        found: Timing = self.tree.ask("warm_up", self.passes, self.settings)
        return found

    def turn(self, timing: Timing) -> None:
        """Take a turn there."""
        found: Timing = self.tree.ask("turn", self.passes)
        timing.samples, timing.first = found.samples, found.first


def enter(trees: Sequence[Tree], case: Case, passes: Sequence[str]) -> dict[str, float]:
    """Let both trees enter a case; give the difference of their results by pass, 0 for equal bits."""
    digests = [tree.ask("enter", case, passes) for tree in trees]
    found = {}
    for name in digests[0]:
        found[name] = 0.0
        if digests[0][name] != digests[1][name]:
            before, after = (tree.ask("results", name) for tree in trees)
            who = f"{case.name}: {name}, beside the {trees[0].name} tree,"
            found[name] = demand(who, worst(after, before), FLOAT32)
    return found
