"""The command ``xpconv run``."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.onnx.runtime import packages
from xpconv.cli import main

MODEL = """
<ir_version: 10, opset_import: ["": 21]>
graph (float[N, 1, H, W] x, float[2, 1, 3, 3] w) => (float[N, 2, P, Q] y, int64[4] size) {
    z = Conv <auto_pad = "SAME_UPPER"> (x, w)
    y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (z)
    size = Shape (y)
}
"""
needs_onnx = pytest.mark.needs("onnx")


@pytest.fixture
def model(tmp_path: Path) -> str:
    return save(tmp_path, MODEL)


def save(folder: Path, text: str) -> str:
    onnx, parser = packages("onnx", "onnx.parser")
    onnx.save(parser.parse_model(text), folder / "model.onnx")
    return str(folder / "model.onnx")


@needs_onnx
def test_a_model_runs_on_arrays_from_a_file(tmp_path: Path, model: str, capsys: Any) -> None:
    x, w = np.ones((3, 1, 4, 6), np.float32), np.ones((2, 1, 3, 3), np.float32)
    np.savez(tmp_path / "in.npz", x=x, w=w)
    assert (
        main(["run", model, "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out"), "--profile"]) == 0
    )
    printed = capsys.readouterr().out
    assert "input    x: float32 (3, 1, 4, 6)\n" in printed
    assert "output   y: float32 (3, 2, 2, 3), 9 to 9, mean 9\n" in printed
    assert "ran      3 nodes in" in printed
    rows = {line.split()[0]: line.split()[1:3] for line in printed.partition("operator")[2].splitlines()[1:4]}
    assert rows == {"Conv": ["xpconv", "1"], "MaxPool": ["xpconv", "1"], "Shape": ["onnx", "1"]}
    with np.load(tmp_path / "out") as written:
        np.testing.assert_array_equal(written["y"], np.full((3, 2, 2, 3), 9, np.float32))
        assert written["size"].tolist() == [3, 2, 2, 3]


@needs_onnx
def test_without_a_file_inputs_are_drawn_the_same_each_time(capsys: Any, tmp_path: Path) -> None:
    model, results = save(tmp_path, MODEL.replace("H, W", "8, 8")), []
    for name in ("first.npz", "second.npz"):
        assert main(["run", model, "--output", str(tmp_path / name)]) == 0
        with np.load(tmp_path / name) as written:
            results.append(written["y"])
    assert "input    x: float32 (1, 1, 8, 8), drawn" in capsys.readouterr().out
    assert results[0].std() > 0
    np.testing.assert_array_equal(*results)


@needs_onnx
def test_drawn_inputs_have_the_declared_types_and_sizes() -> None:
    (feeds,) = packages("xpconv.onnx.feeds")
    wanted = [
        feeds.Wanted("a", np.dtype("float16"), (2, "N", 3)),
        feeds.Wanted("b", np.dtype("int64"), (50,)),
        feeds.Wanted("c", np.dtype("bool"), ()),
    ]
    drawn = feeds.draw(wanted)
    assert {name: (array.dtype.name, array.shape) for name, array in drawn.items()} == {
        "a": ("float16", (2, 1, 3)),
        "b": ("int64", (50,)),
        "c": ("bool", ()),
    }
    assert set(drawn["b"]) == {0, 1}
    with pytest.raises(feeds.FeedError, match=r"takes d of any type any shape, which cannot be drawn"):
        feeds.draw([feeds.Wanted("d", None, None)])


@needs_onnx
def test_a_bar_on_a_terminal(model: str, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.ones((1, 1, 4, 4), np.float32), w=np.ones((2, 1, 3, 3), np.float32))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["run", model, "--input", str(tmp_path / "in.npz")]) == 0
    assert "output   y" in capsys.readouterr().out


BAD_INPUTS: list[tuple[dict[str, Any], str]] = [
    ({"x": np.ones((1, 1, 4, 4), np.float32)}, "the input lacks w; the model takes x float32 (N, 1, H, W); w float32"),
    ({"x": 0, "w": 0, "v": 0}, "the input has also v;"),
    ({"x": np.ones((1, 1, 4, 4)), "w": np.ones((2, 1, 3, 3), np.float32)}, "the input x is float64; the model takes x"),
    (
        {"x": np.ones((1, 2, 4, 4), np.float32), "w": np.ones((2, 1, 3, 3), np.float32)},
        "the input x has the shape (1, 2, 4, 4); the model takes x float32 (N, 1, H, W)",
    ),
]


@needs_onnx
@pytest.mark.parametrize(("arrays", "message"), BAD_INPUTS)
def test_inputs_that_do_not_fit(arrays: dict[str, Any], message: str, model: str, tmp_path: Path, capsys: Any) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    assert main(["run", model, "--input", str(tmp_path / "in.npz")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@needs_onnx
def test_files_that_are_not_what_they_should_be(model: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "no.npz").write_bytes(b"nothing")
    np.save(tmp_path / "one.npy", np.ones(3))
    for arguments, message in (
        ([model, "--input", str(tmp_path / "no.npz")], "no.npz: "),
        ([model, "--input", str(tmp_path / "one.npy")], "one.npy is one array"),
        ([model, "--input", str(tmp_path / "absent.npz")], "no such file"),
        ([str(tmp_path / "no.npz")], "no.npz is no ONNX model"),
        ([str(tmp_path / "absent.onnx")], "no such file"),
    ):
        assert main(["run", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


@needs_onnx
def test_missing_operators_are_named(tmp_path: Path, capsys: Any) -> None:
    text = """
    <ir_version: 10, opset_import: ["": 21, "com.example": 1]>
    graph (float[1, 1, 4] x, bool b) => (float[1, 1, 4] y) {
        a = com.example.Fused (x)
        y = If (b) <
            then_branch = one () => (float[1, 1, 4] c) { c = Frobnicate (a) },
            else_branch = two () => (float[1, 1, 4] d) { d = Relu (a) }
        >
    }
    """
    assert main(["run", save(tmp_path, text)]) == 2
    error = capsys.readouterr().err
    assert "needs what ONNX's reference evaluator has not: Frobnicate (node c), com.example.Fused (node a)\n" in error


@needs_onnx
def test_a_node_that_fails_is_named(model: str, tmp_path: Path, capsys: Any) -> None:
    text = MODEL.replace('auto_pad = "SAME_UPPER"', "group = 3")
    assert main(["run", save(tmp_path, text)]) == 1
    error = capsys.readouterr().err
    assert "node z (Conv): conv: the kernel has 1 input channels x 3 groups, x has 1" in error
    assert error.count("\n") == 1


FROM_ONE_TO_THE_NEXT = """
<ir_version: 10, opset_import: ["": 22]>
graph (KIND[2, N] x) => (KIND[2, M] y) { y = Concat <axis = 1> (x, x) }
"""


@needs_onnx
@pytest.mark.parametrize("kind", ["bfloat16", "float8e5m2", "float16", "string", "bool"])
def test_what_one_model_writes_another_reads(kind: str, tmp_path: Path, capsys: Any) -> None:
    (feeds,) = packages("xpconv.onnx.feeds")
    model = save(tmp_path, FROM_ONE_TO_THE_NEXT.replace("KIND", kind))
    (wanted,) = feeds.wanted(packages("onnx")[0].load(model).graph)
    first = np.array([["1", ""], ["0", "1"]]) if kind == "string" else np.asarray([[1, 0], [0, 1]]).astype(wanted.dtype)
    np.savez(tmp_path / "first.npz", x=feeds.storable(first))
    assert main(["run", model, "--input", str(tmp_path / "first.npz"), "--output", str(tmp_path / "y.npz")]) == 0
    with np.load(tmp_path / "y.npz") as written:
        np.savez(tmp_path / "second.npz", x=written["y"])
    assert main(["run", model, "--input", str(tmp_path / "second.npz"), "--output", str(tmp_path / "z.npz")]) == 0
    printed = capsys.readouterr().out
    assert printed.count(", 0 to 1, mean 0.5") == (0 if kind == "string" else 2)
    with np.load(tmp_path / "z.npz") as written:
        last = written["y"] if kind == "string" else written["y"].view(wanted.dtype)
    np.testing.assert_array_equal(last, np.concatenate([first] * 4, axis=1))


@needs_onnx
def test_bytes_of_another_size_are_no_bfloat16(tmp_path: Path, capsys: Any) -> None:
    model = save(tmp_path, FROM_ONE_TO_THE_NEXT.replace("KIND", "bfloat16"))
    np.savez(tmp_path / "in.npz", x=np.zeros((2, 3), "V4"))
    assert main(["run", model, "--input", str(tmp_path / "in.npz")]) == 2
    assert "the input x is |V4; the model takes x bfloat16 (2, N)" in capsys.readouterr().err


@needs_onnx
def test_a_node_that_fails_on_drawn_sizes_says_what_to_give(model: str, tmp_path: Path, capsys: Any) -> None:
    text = MODEL.replace('auto_pad = "SAME_UPPER"', "pads = [0, 0, 0, 0]")
    assert main(["run", save(tmp_path, text)]) == 1
    error = capsys.readouterr().err
    assert "the output would be empty" in error
    assert error.endswith("sizes that the model leaves open were drawn as 1: give x with --input\n")
    fixed = text.replace("N, 1, H, W", "1, 1, 1, 1")
    assert main(["run", save(tmp_path, fixed)]) == 1
    assert "--input" not in capsys.readouterr().err


def test_without_onnx_the_command_says_what_to_install(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["run", "model.onnx"]) == 2
    assert 'run needs ONNX, which is not installed: python -m pip install "xpconv[onnx]"' in capsys.readouterr().err
