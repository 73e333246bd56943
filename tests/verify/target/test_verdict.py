"""Verdicts travel from the process of a target as JSON, and are told in lines."""

import json

from xpconv.verify.target.report import lines
from xpconv.verify.target.verdict import ABSENT, RIGHT, WRONG, Finding, Verdict, read

FINDINGS = (
    Finding(("dW is wrong", "db is wrong"), "W (1, 1, 1, 1)", (("W", ("1.",)), ("got dW", ("[1.", " 2.]")))),
    Finding(("raised ValueError: no",), "W (2, 1, 1, 1)"),
)
VERDICTS = (
    Verdict("zero_pad", RIGHT, inputs=7),
    Verdict("pool_forward", ABSENT, "there is pool; did you mean pool_forward?"),
    Verdict("conv_backward", WRONG, "db: all zeros", ("a fault (why)", "another"), 36, 22, FINDINGS, ("zero_pad",)),
)


def test_a_verdict_travels():
    for verdict in VERDICTS:
        assert read(json.loads(json.dumps(verdict.record()))) == verdict


def test_a_verdict_in_lines():
    assert [lines(verdict) for verdict in VERDICTS] == [
        ["zero_pad: right on 7 inputs"],
        ["pool_forward: absent", "  there is pool; did you mean pool_forward?"],
        [
            "conv_backward: WRONG on 22 of 36 inputs",
            "  looks like: a fault (why)",
            "  db: all zeros",
            "  judged with a right zero_pad in place of the file's own",
            "  dW is wrong",
            "  db is wrong",
            "  with W (1, 1, 1, 1)",
            "    W             1.",
            "    got dW        [1.",
            "                   2.]",
            "  raised ValueError: no",
            "  with W (2, 1, 1, 1)",
        ],
    ]


def test_what_a_report_says_of_it():
    public = VERDICTS[2].public()
    assert (public["status"], public["looks_like"]) == ("wrong", ["a fault (why)", "another"])
    assert public["message"].startswith("WRONG on 22 of 36 inputs; looks like: a fault (why); db: all zeros; ")
