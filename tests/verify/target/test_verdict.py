"""Verdicts travel from the process of a target as JSON, and are told in lines."""

import json

from xpconv.verify.target.report import lines
from xpconv.verify.target.verdict import MISSING, RIGHT, WRONG, Finding, Verdict, read

FINDINGS = (
    Finding(
        "dW: 1 of 1 elements differ", "W (1, 1, 1, 1)", "a fault (why)", (("W", ("1.",)), ("got", ("[1.", " 2.]")))
    ),
    Finding("db: 1 of 1 elements differ", "W (1, 1, 1, 1)", "a fault (why)"),
    Finding("raised ValueError: no", "W (1, 1, 1, 1)"),
)
VERDICTS = (
    Verdict("zero_pad", RIGHT, 7),
    Verdict("pool_forward", MISSING),
    Verdict("conv_backward", WRONG, 36, 22, ("zero_pad",), FINDINGS),
)


def test_a_verdict_travels():
    for verdict in VERDICTS:
        assert read(json.loads(json.dumps(verdict.record()))) == verdict


def test_what_a_fault_looks_like_is_told_once():
    assert [lines(verdict) for verdict in VERDICTS] == [
        ["zero_pad: right on 7 inputs"],
        ["pool_forward: not there"],
        [
            "conv_backward: WRONG on 22 of 36 inputs",
            "  begin with zero_pad: the course calls that here",
            "  looks like: a fault (why)",
            "  dW: 1 of 1 elements differ, with W (1, 1, 1, 1)",
            "    W            1.",
            "    got          [1.",
            "                  2.]",
            "  db: 1 of 1 elements differ, with W (1, 1, 1, 1)",
            "  raised ValueError: no, with W (1, 1, 1, 1)",
        ],
    ]
