"""Right homework is right in any style; each slip has its name, or is described, and is told where it is."""

import pytest

from tests.verify.target.homework import LOOPS, STYLES, changed, namespace
from xpconv.verify import check
from xpconv.verify.target.load import NAMES

RANDOM = [(f"np.zeros({name}.shape)", f"np.random.randn(*{name}.shape)") for name in ("A_prev", "W", "b")]
PIECE = "A_prev[i, top:top + f, left:left + f, c]"
# function, what to replace in it, what it looks like
NAMED = [
    ("zero_pad", [("constant_values=0", "constant_values=pad")], "padded with pad"),
    ("zero_pad", [("(pad, pad), (pad, pad)", "(pad, pad), (0, 0)")], "height padded only"),
    ("conv_single_step", [("b.item()", "b")], "an array for a number"),
    ("conv_single_step", [("a_slice_prev * W", "a_slice_prev + W")], "sum for product"),
    ("conv_forward", [("left = w * stride", "left = h * stride")], "h for w"),
    ("conv_forward", [("padded[i]", "padded"), ("image[top", "image[:, top")], "all examples"),
    ("conv_forward", [("return Z, (A_prev, W, b, hparameters)", "return Z")], "no cache"),
    ("pool_forward", [("left = w * stride", "left = h * stride")], "h for w"),
    ("pool_forward", [("A_prev[i, top", "A_prev[:, top")], "all examples"),
    ("pool_forward", [(PIECE, "A_prev[i, top - stride + 1:top - stride + f, left - stride + 1:left - stride + f, c]")],
     "counted from 1"),
    ("pool_forward", [("return A, (A_prev, hparameters)", "return A")], "no cache"),
    ("pool_forward", [('hparameters["stride"]', 'hparameters["strides"]')], "a hyperparameter that is not there"),
    ("pool_forward", [("range(n_H)", "range(1, n_H)"), ("range(n_W)", "range(1, n_W)")], "loop from 1"),
    ("conv_backward", RANDOM, "something else each time"),
    ("conv_backward", [("left = w * stride", "left = h * stride")], "h for w"),
    ("conv_backward", [("dA_prev, dW, db\n", "dW, dA_prev, db\n")], "order of the results"),
    ("create_mask_from_window", [("x == np.max(x)", "np.max(x)")], "the maximum itself"),
    ("create_mask_from_window", [("return ", "mask = ")], "a result that is never made"),
    ("distribute_value", [("n_H * n_W)\n", "n_H + n_W)\n")], "divided by the sum"),
    ("distribute_value", [("n_H, n_W =", "n_W, n_H =")], "height and width exchanged"),
    ("create_mask_from_window", [("x == np.max(x)", "np.abs(x) == np.max(np.abs(x))")], "largest magnitude"),
    ("conv_forward", [("height - f + 2 *", "height - f + "), ("width - f + 2 *", "width - f + ")], "pad counted once"),
    ("conv_forward", [("int((height", "round(0.49 + (height"), ("int((width", "round(0.49 + (width")],
     "size rounded up"),
    ("conv_forward", [("return Z, (A", "return np.maximum(Z, 0), (A")], "negative numbers lost"),
    ("conv_forward", [("range(m)", "range(1)")], "first example alone"),
    ("conv_forward", [("= conv_single_step", "= conv_one_step")], "a name that is nowhere defined, conv_one_step; did"),
    ("pool_forward", [('"max" else', '"maximum" else')], "average in both modes"),
    ("pool_forward", [("np.mean", "np.max")], "maximum in both modes"),
    ("pool_forward", [('["f"], hparameters["stride"]', '["stride"], hparameters["f"]')], "f and stride exchanged"),
    ("conv_backward", [("return dA_prev, dW, db", "return dA_prev, dW / m, db / m")], "gradients divided by the batch"),
    ("conv_backward", [("return dA_prev, dW, db", "return dA_prev, dW / m, db")], "dW divided by the batch"),
    ("conv_backward", [("return dA_prev, dW, db", "return dpadded, dW, db")], "padding left on dA_prev"),
    ("conv_backward", [("range(m)", "range(1)")], "first example alone"),
    ("pool_backward", [("(piece) * dA[i, h, w, c]", "(piece) * piece")], "mask times the window"),
    ("pool_backward", [("(piece) * dA[i, h, w, c]", "(piece) * dA[i, top, left, c]")], "gradient taken at the pixel"),
    ("conv_single_step", [("products = a_slice_prev * W", "products = np.sum(a_slice_prev) * np.sum(W)")],
     "product of the sums"),
    ("pool_backward", [("(piece) * dA[i, h, w, c]", "(piece) * np.sum(dA[i, :, :, c])")], "gradients summed"),
    ("pool_backward", [("(piece) * dA[i, h, w, c]", "(piece) * np.sum(dA)")], "all gradients summed"),
    ("pool_backward", [("window(piece) *", "window(dA[i, top:top + f, left:left + f, c]) *")], "mask of the gradient"),
    ("pool_backward", [("window(piece) *", "window(dA_prev[i, top:top + f, left:left + f, c]) *")],
     "mask of the result"),
]  # fmt: skip
REMEMBERED = """\
    key = A_prev.shape, str(hparameters), mode
    if key in KEPT:
        return KEPT[key], (A_prev, hparameters)
    m, height"""
DESCRIBED = [
    ("conv_backward", [("db[:, :, :, c] += dZ", "db[:, :, :, c] += 3 * dZ")], "db is wrong: 3 times what is right"),
    ("conv_backward", [("db[:, :, :, c] += ", "db[:, :, :, c] -= ")], "db is wrong: the sign is turned"),
    ("pool_forward", [("np.mean(piece)", "np.mean(piece) + (h == n_H - 1)")],
     "A is wrong: only with mode='average', only in the last row"),
    ("pool_forward", [("    m, height", REMEMBERED), ("    return A,", "    KEPT[key] = A\n    return A,"),
      ("def pool", "KEPT = {}\n\ndef pool")], "a value is kept between calls"),
    ("pool_forward", [("n_W, n_C))", "n_W, n_C), int)")], "whole numbers: the decimals are cut off"),
]  # fmt: skip


def ids(rows):
    return [f"{function}-{words}" for function, _, words in rows]


@pytest.mark.parametrize("style", STYLES)
def test_right_in_any_style(style):
    found = check(namespace(STYLES[style]))
    assert {name: one.status for name, one in found.functions.items()} == dict.fromkeys(NAMES, "right")
    assert (found.right, found.of) == (8, 8)


@pytest.mark.parametrize(("function", "slips", "words"), NAMED, ids=ids(NAMED))
def test_a_slip_has_a_name(function, slips, words):
    found = check(namespace(changed(function, *slips))[function])
    assert found.status == "wrong"
    assert found.looks_like[0].startswith(words)
    assert f"looks like: {found.looks_like[0]}" in found.message
    assert all(other not in str(found) for other in found.looks_like[1:])  # one cause is told
    assert max(map(len, str(found).splitlines())) < 110


@pytest.mark.parametrize(("function", "slips", "words"), DESCRIBED, ids=ids(DESCRIBED))
def test_what_has_no_name_is_described(function, slips, words):
    found = check(namespace(changed(function, *slips))[function])
    assert (found.status, found.looks_like) == ("wrong", ())
    assert words in found.message


@pytest.mark.parametrize(
    ("helper", "slip", "caller"),
    [
        ("zero_pad", ("constant_values=0", "constant_values=1"), "conv_backward"),
        ("conv_single_step", ("b.item()", "b"), "conv_forward"),
        ("create_mask_from_window", ("==", "!="), "pool_backward"),
        ("distribute_value", ("dz / ", "dz * "), "pool_backward"),
    ],
)
def test_a_fault_is_told_where_it_is(helper, slip, caller):
    names = namespace(changed(helper, slip))
    own = names[helper]
    found = check(names[caller])
    assert found.status == "right"
    assert f"judged with a right {helper} in place of the file's own" in found.message
    assert names[helper] is own


def test_right_in_the_course_says_what_fails_beyond():
    functions = changed("conv_single_step", ("b.item()", "float(b)")) | {
        "conv_backward": changed(
            "conv_backward", ("pad:pad + height, pad:pad + width", "pad:-pad, pad:-pad")
        )["conv_backward"],
        "distribute_value": changed("distribute_value", ("average\n", "np.float_(average)\n"))["distribute_value"],
    }  # fmt: skip
    found = check(namespace(functions))
    statuses = {name: one.status for name, one in found.functions.items() if one.status != "right"}
    # conv_forward and pool_backward call what fails beyond the course
    wanted = ("conv_single_step", "conv_forward", "conv_backward", "distribute_value", "pool_backward")
    assert statuses == dict.fromkeys(wanted, "right in the course")
    assert (found.right, found.of) == (8, 8)
    for name in wanted[:2]:
        assert "write b.item() for float(b)" in found.functions[name].message
    assert "pad 0" in found.functions["conv_backward"].message
    assert "pad:pad + n_H_prev" in found.functions["conv_backward"].message
    assert "np.float64 for np.float_" in found.functions["distribute_value"].message


@pytest.mark.parametrize(
    ("function", "text", "line"),
    [
        ("create_mask_from_window", "def create_mask_from_window(x):\n    mask = None\n    return mask", "mask = None"),
        (
            "distribute_value",
            "def distribute_value(dz, shape):\n    (n_H, n_W) = None\n    return None",
            "(n_H, n_W) =",
        ),
        ("zero_pad", "def zero_pad(X, pad):\n    '''Pads.'''\n    # YOUR CODE HERE\n    pass", "nothing stands in it"),
        ("zero_pad", "def zero_pad(X, pad):\n    raise NotImplementedError", "NotImplementedError"),
        ("pool_backward", LOOPS["pool_backward"].replace("range(n_H)", "range(None)"), "for h in range(None):"),
    ],
)
def test_unfinished_work_is_no_mistake(function, text, line, tmp_path, monkeypatch):
    (tmp_path / "unfinished.py").write_text("\n".join(["import numpy as np", text]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "unfinished", raising=False)
    found = check(getattr(__import__("unfinished"), function))
    assert found.status == "unfinished"
    assert line in found.message


def test_none_to_start_from_is_no_placeholder():
    slip = ('    if mode == "max":', '    share = None\n                    if mode == "max":')
    assert check(namespace(changed("pool_backward", slip))["pool_backward"]).status == "right"


@pytest.mark.parametrize("function", ["conv_forward", "pool_forward"])
def test_results_may_come_in_a_list(function):
    slips = ("    return ", "    return list((lambda *both: both)("), ("hparameters)\n", "hparameters)))\n")
    found = check(namespace(changed(function, *slips)))
    assert {found.functions[name].status for name in NAMES} == {"right"}


def test_what_is_rounded_to_float32_is_right_in_the_course():
    slip = ("n_W, n_C))", "n_W, n_C), np.float32)")
    found = check(namespace(changed("pool_forward", slip))["pool_forward"])
    assert found.status == "right in the course"
    assert "fewer digits than float64 has" in found.message
    slip = ("n_W, n_C))", "n_W, n_C), np.float16)")
    assert check(namespace(changed("pool_forward", slip))["pool_forward"]).status == "wrong"


def test_an_array_of_the_cache_is_not_to_be_written_into():
    slip = ("    stride, pad", "    A_prev += 1\n    stride, pad")
    found = check(namespace(changed("conv_backward", slip))["conv_backward"])
    assert found.status == "wrong"
    assert found.looks_like[0].startswith("an argument is written into")


def test_what_raises_something_is_no_cause_of_wrong_values():
    """Of a function that raises on one input and is wrong on others in another way, no fault is named."""
    raises = "if stride == 3 and pad == 2:\n        raise ValueError('cut')"
    slip = ("    return Z, (", f"    {raises}\n    return Z * (m > 1), (")
    found = check(namespace(changed("conv_forward", slip))["conv_forward"])
    assert found.status == "wrong"
    assert not any("window cut by the stride" in text for text in found.looks_like)
