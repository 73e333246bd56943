"""Verify this library on this machine: its operations, on every backend, against the definition.

``xpconv verify`` (here `main`) runs a catalogue of cases in three tiers:

- *exact*: whole numbers whose sums stay representable; results equal the definition bit for bit;
- *bound*: real numbers; errors stay within bounds that follow from the arithmetic;
- *adjoint*: gradients satisfy <f(x), g> = <x, dx>, exactly, on whole numbers.

``--self-test`` plants faults and demands that these checks catch them; ``--target`` asks somebody else's functions of
the course's names the same, and so does `check` in an open notebook; `check_library` is the run there.
"""

from xpconv.verify.command import main
from xpconv.verify.judge.reproduce import draw
from xpconv.verify.run import check_library
from xpconv.verify.target.here import check

__all__ = ["check", "check_library", "draw", "main"]
