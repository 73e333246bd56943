"""The verifier's definition, evaluated once for all tests of a process that ask for the same numbers."""

from xpconv.verify.judge.oracle import Oracle

ORACLE = Oracle(0)
