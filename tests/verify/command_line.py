"""What the tests of the command have in common: arguments of a small run, and what is read of its answer."""

FEW = ["--quick", "--backends", "numpy", "--operations", "pad,conv_forward,max_pool"]


def digests_of(data, backend="numpy"):
    rows = data["results"][backend].items()
    return {f"{case}/{kind}": found for case, row in rows for kind, found in row.items() if isinstance(found, str)}


def ratios_of(data, backend="numpy"):
    for case, row in data["results"][backend].items():
        for kind, found in row.items():
            if not isinstance(found, str):
                yield from ((f"{case}/{kind}", r) for r in (found.values() if isinstance(found, dict) else [found]))


def lines(capsys):
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def complaint(capsys):
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("xpconv verify: ")
    return line
