"""A seeded storm of calls, legal and not: each gives what the definition says, or says what is wrong.

A case is a legal call from one of the builders below, half the time with one argument spoilt. It is a function of its
number alone: `call(number)` in an interpreter is the case again.
"""

import importlib.util
import inspect
import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import backends, checks, oracle, sizes
from tests.cases import in_layout, values

CASES = sizes.count(1_000, 1_000, 20_000)
BLOCKS = 10
LIBRARIES = ["numpy", "strict"] + ["torch"] * (importlib.util.find_spec("torch") is not None)
LAYOUTS = ("channels_last", "channels_first")
FLOATS, REALS = ("float32", "float64"), ("float32", "float64", "int32", "uint8")
NUMBERS = (*REALS, "complex64")


@dataclass(frozen=True)
class Call:
    """A call: arrays are NumPy's here, and go to the library when it is made."""

    function: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    library: str
    expected: Callable[[], Any] | None = None  # the definition's results, for whole numbers
    terms: int = 0  # roundings of a result that is not exact
    spoilt: str = ""  # the argument that is not legal, if one is

    def __str__(self) -> str:
        given = [*map(show, self.arguments), *(f"{name}={show(value)}" for name, value in self.options.items())]
        return f"xp={self.library}: xc.{self.function}({', '.join(given)})"


def show(value: Any) -> str:
    """Write a value so that it can be pasted."""
    if isinstance(value, np.ndarray):
        flat = value.tolist() if value.size <= 200 else None
        body = f"{flat}, dtype={str(value.dtype)!r}" if flat is not None else f"zeros({value.shape}, {value.dtype})"
        return f"np.array({body}).reshape({value.shape})"
    return repr(value)


# Legal calls ----------------------------------------------------------------------------------------------------


class Draw(random.Random):
    """Random pieces of calls."""

    def per_axis(self, rank: int, low: int, high: int) -> Any:
        """An int, or one per axis as a tuple or a list."""
        many = tuple(self.randint(low, high) for _ in range(rank))
        return self.choice([many[0], many, list(many)])

    def array(self, shape: Any, dtype: str) -> np.ndarray:
        """Whole numbers whose sums are exact."""
        return values(tuple(shape), self.randrange(1 << 16), dtype, 0 if dtype[0] == "u" else -3, 3)

    def padding(self, rank: int, spans: Any, least: int = 0) -> Any:
        """Every form of padding, below the span."""
        most = [max(span - 1, least) for span in spans]
        forms = ["valid", "same", "same_lower", "causal", min(most), tuple(most)]
        return self.choice([*forms, tuple((self.randint(0, m), self.randint(0, m)) for m in most)])

    def window(self, ceil: bool = False) -> tuple[tuple[int, ...], Any, dict[str, Any]]:
        """A size, a kernel and options under which there is an output."""
        rank = self.choice([1, 1, 2, 2, 3])
        kernel = tuple(self.randint(1, 3) for _ in range(rank))
        dilation, stride = self.per_axis(rank, 1, 2), self.per_axis(rank, 1, 3)
        spans = [d * (k - 1) + 1 for d, k in zip(oracle.per_axis(dilation, rank), kernel, strict=True)]
        size = tuple(span + self.randint(0, 3) for span in spans)
        options = {"stride": stride, "dilation": dilation, "padding": self.padding(rank, spans)}
        if ceil:
            options["ceil_mode"] = self.random() < 0.5
        return size, kernel, options

    def image(self) -> tuple[tuple[int, ...], str, int, int]:
        """A size, a layout, a batch and channels."""
        size = tuple(self.randint(2, 5) for _ in range(self.choice([1, 1, 2, 2, 3])))
        return size, self.choice(LAYOUTS), self.choice([0, 1, 2]), self.randint(1, 3)


def convolutions(draw: Draw, function: str) -> Call:
    size, kernel, options = draw.window()
    groups = draw.choice([1, 1, 2])
    channels, filters, batch = groups * draw.randint(1, 2), groups * draw.randint(1, 2), draw.choice([0, 1, 2])
    dtype = draw.choice(NUMBERS)
    layout = options["layout"] = draw.choice(LAYOUTS)
    options["groups"] = groups
    sites = oracle.sites(size, kernel, options["stride"], options["padding"], options["dilation"])
    mode = draw.choice(["zeros", "zeros", "reflect", "replicate", "circular"])
    if mode == "reflect" and any(max(pair) >= n for pair, n in zip(sites.pads, size, strict=True)):
        mode = "zeros"
    x = draw.array(in_layout(layout, batch, size, channels), dtype)
    w_last = (*kernel, channels // groups, filters)
    w = draw.array(w_last if layout == "channels_last" else (filters, channels // groups, *kernel), dtype)
    dz = draw.array(in_layout(layout, batch, sites.out, filters), dtype)
    b = draw.choice([None, draw.array((filters,), dtype)])
    arguments = {
        "conv": (x, w, b),
        "error_bound": (x, w, b),
        "conv_vjp": (dz, x, w),
        "conv_input_grad": (dz, w, x.shape),
        "conv_weight_grad": (dz, x, w.shape),
        "explain": (x.shape, w.shape),
        "prepare_conv": (w, b),
    }[function]
    given = dict(options, padding_mode=mode)

    def expected() -> Any:
        if function == "conv":
            return oracle.conv(x, w, b, **given)
        found = oracle.conv_vjp(dz, x, w, **given)
        return {"conv_vjp": found, "conv_input_grad": found[0], "conv_weight_grad": found[1]}[function]

    extra: dict[str, Any] = {"algorithm": draw.choice(["auto", "direct", "gemm"])}
    if function == "prepare_conv":
        extra["input_shape"] = x.shape
    wanted = None if function in ("explain", "error_bound", "prepare_conv") else expected
    return Call(function, arguments, {**given, **extra}, draw.choice(LIBRARIES), wanted)


def transposes(draw: Draw, function: str) -> Call:
    _, kernel, options = draw.window()
    rank, groups, layout = len(kernel), draw.choice([1, 2]), draw.choice(LAYOUTS)
    size = tuple(draw.randint(2, 4) for _ in kernel)
    stride, dilation = (oracle.per_axis(options[name], rank) for name in ("stride", "dilation"))
    options["output_padding"] = tuple(draw.randrange(max(pair)) for pair in zip(stride, dilation, strict=True))
    options["padding"] = draw.choice(["same", "same_lower", "valid", 0])
    options |= {"groups": groups, "layout": layout}
    channels, filters, batch = groups * draw.randint(1, 2), groups * draw.randint(1, 2), draw.choice([0, 1, 2])
    dtype = draw.choice(NUMBERS)
    x = draw.array(in_layout(layout, batch, size, channels), dtype)
    last = layout == "channels_last"
    w = draw.array((*kernel, filters // groups, channels) if last else (channels, filters // groups, *kernel), dtype)
    _, out = oracle.transpose_pads(
        size, kernel, options["stride"], options["padding"], options["output_padding"], options["dilation"]
    )
    if function == "conv_transpose":
        arguments = (x, w, draw.choice([None, draw.array((filters,), dtype)]))
    else:
        arguments = (draw.array(in_layout(layout, batch, out, filters), dtype), x, w)
    definition = getattr(oracle, function)
    return Call(function, arguments, options, draw.choice(LIBRARIES), lambda: definition(*arguments, **options))


def pools(draw: Draw, function: str) -> Call:
    size, window, options = draw.window(ceil=True)
    layout = options["layout"] = draw.choice(LAYOUTS)
    batch, channels, most = draw.choice([0, 1, 2]), draw.randint(1, 2), function.startswith("max")
    dtype = draw.choice(REALS if most else FLOATS)
    x = draw.array(in_layout(layout, batch, size, channels), dtype)
    sites = oracle.sites(size, window, options["stride"], options["padding"], options["dilation"], options["ceil_mode"])
    dy = draw.array(in_layout(layout, batch, sites.out, channels), dtype)
    p, terms = draw.choice([1, 2, 3.5, math.inf]), 0
    if function == "max_pool":
        arguments, options["return_indices"] = (x, window), True
    elif function == "max_pool_vjp":
        arguments, options["ties"] = (dy, x, window), draw.choice(["first", "all"])
    elif function.startswith("avg"):
        options["count_include_pad"] = draw.random() < 0.5
        arguments = (x, window) if function == "avg_pool" else (dy, x.shape, window)
        terms = 2 * math.prod(window) + 2
    else:
        arguments = (x, p, window) if function == "lp_pool" else (dy, x, p, window)
        terms = 64 + 8 * math.prod(window)  # above what `test_lp` derives, for every p here
    definition = getattr(oracle, function)
    given = {name: value for name, value in options.items() if name != "return_indices"}
    return Call(function, arguments, options, draw.choice(LIBRARIES), lambda: definition(*arguments, **given), terms)


def adaptive(draw: Draw, function: str) -> Call:
    size, layout, batch, channels = draw.image()
    dtype = draw.choice(REALS if "max" in function else FLOATS)
    out = draw.per_axis(len(size), 1, 6)
    x = draw.array(in_layout(layout, batch, size, channels), dtype)
    dy = draw.array(in_layout(layout, batch, oracle.per_axis(out, len(size)), channels), dtype)
    arguments = (dy, x, out) if function.endswith("vjp") else (x, out)
    options: dict[str, Any] = {"layout": layout}
    given = dict(options)
    if function == "adaptive_max_pool":
        options["return_indices"] = True
    definition, terms = getattr(oracle, function), 0 if "max" in function else 300
    return Call(function, arguments, options, draw.choice(LIBRARIES), lambda: definition(*arguments, **given), terms)


def unpools(draw: Draw, function: str) -> Call:
    size, layout, batch, channels = draw.image()
    x = np.arange(1, batch * channels * math.prod(size) + 1, dtype="float32")
    y, indices = oracle.max_pool(x.reshape(in_layout(layout, batch, size, channels)), 2, layout=layout)
    return Call(
        function,
        (y, indices, size),
        {"layout": layout},
        draw.choice(LIBRARIES),
        lambda: oracle.max_unpool(y, indices, size, layout=layout),
    )


def folds(draw: Draw, function: str) -> Call:
    size, window, options = draw.window()
    layout = options["layout"] = draw.choice(LAYOUTS)
    x = draw.array(in_layout(layout, draw.choice([0, 1, 2]), size, draw.randint(1, 2)), draw.choice(NUMBERS))
    arguments: tuple[Any, ...] = (x, window)
    if function == "fold":
        cols = oracle.unfold(x, window, **options)
        arguments = (draw.array(cols.shape, str(x.dtype)), x.shape, window)
    definition = getattr(oracle, function)
    return Call(function, arguments, options, draw.choice(LIBRARIES), lambda: definition(*arguments, **options))


def pads(draw: Draw, function: str) -> Call:
    size, layout, batch, channels = draw.image()
    padding = draw.choice([1, tuple(draw.randint(0, n - 1) for n in size), tuple((0, n - 1) for n in size), "valid"])
    options = {"layout": layout, "mode": draw.choice(["zeros", "reflect", "replicate", "circular"])}
    x = draw.array(in_layout(layout, batch, size, channels), draw.choice(NUMBERS))
    arguments: tuple[Any, ...] = (x, padding)
    if function == "pad_vjp":
        arguments = (oracle.pad(x, padding, **options), x.shape, padding)
    definition = getattr(oracle, function)
    return Call(function, arguments, options, draw.choice(LIBRARIES), lambda: definition(*arguments, **options))


def course(draw: Draw, function: str) -> Call:
    x, f, stride = draw.array((2, 5, 4, 2), "float64"), draw.randint(1, 3), draw.randint(1, 2)
    w, b, pad = draw.array((f, f, 2, 3), "float64"), draw.array((1, 1, 1, 3), "float64"), draw.randint(0, 2)
    out = oracle.sites((5, 4), (f, f), stride, pad, 1).out
    dz, mode = draw.array((2, *out, 3), "float64"), draw.choice(["max", "average"])
    pooled = oracle.sites((5, 4), (f, f), stride, 0, 1).out
    how, window = {"stride": stride, "pad": pad}, {"f": f, "stride": stride}
    given = {
        "zero_pad": ((x, pad), lambda: oracle.pad(x, pad)),
        "conv_single_step": ((w[..., 0], w[..., 1], b[..., 0]), lambda: (w[..., 0] * w[..., 1]).sum() + b[0, 0, 0, 0]),
        "conv_forward": ((x, w, b, how), lambda: oracle.conv(x, w, b[0, 0, 0], stride=stride, padding=pad)),
        "conv_backward": ((dz, (x, w, b, how)), None),
        "pool_forward": ((x, window, mode), None),
        "pool_backward": ((draw.array((2, *pooled, 2), "float64"), (x, window), mode), None),
        "create_mask_from_window": ((x[0],), lambda: x[0] == x[0].max()),
        "distribute_value": ((draw.randint(1, 9), (2, 4)), None),
        "set_options": ((), None),
    }
    arguments, expected = given[function]
    options = {"threads": 2} if function == "set_options" else {}
    return Call(function, arguments, options, "numpy", expected)


BUILDERS: dict[str, Callable[[Draw, str], Call]] = {}
for _builder, _names in (
    (convolutions, "conv conv_vjp conv_input_grad conv_weight_grad explain error_bound prepare_conv"),
    (transposes, "conv_transpose conv_transpose_vjp"),
    (pools, "max_pool max_pool_vjp avg_pool avg_pool_vjp lp_pool lp_pool_vjp"),
    (adaptive, "adaptive_avg_pool adaptive_avg_pool_vjp adaptive_max_pool adaptive_max_pool_vjp"),
    (unpools, "max_unpool"),
    (folds, "unfold fold"),
    (pads, "pad pad_vjp"),
    (
        course,
        "zero_pad conv_single_step conv_forward conv_backward pool_forward pool_backward create_mask_from_window "
        "distribute_value set_options",
    ),
):
    BUILDERS |= dict.fromkeys(_names.split(), _builder)

# Spoilt arguments -----------------------------------------------------------------------------------------------

POSITIVE = (0, -1, 1.5, "one", True, {}, (), (1, 2, 3, 4), (1.0, 1), math.nan, b"1", [[1]], {1}, np.float32(1))
SHAPES = (0, 5, None, "abc", 2.5, (), (1,), (2, -1, 3), (1, 2.5, 1), {}, (1,) * 7, ("a", "b", "c"), [None, 1, 1])
WORDS = ("", "NHWC", None, 3, [], {}, ("zeros",), True, 1.5)
JUNK: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("stride", "dilation"), POSITIVE),
    **dict.fromkeys(("window", "output_shape"), (*POSITIVE, None)),
    "output_padding": (-1, 1.5, "one", {}, (), (1, 2, 3, 4), 1000, None, True),
    "groups": (0, -1, 1.5, "one", None, {}, [1], 7, True, (1,)),
    "padding": (-1, 1.5, "SAME", None, {}, (), ((1, 2, 3),) * 2, (-1, -1), ((0, -1),), [None], {1}, True, b"same"),
    **dict.fromkeys(("layout", "padding_mode", "mode", "algorithm", "ties"), WORDS),
    "p": (0, -1, math.nan, "2", None, True, 1j, [], {}, (2,)),
    **dict.fromkeys(("input_shape", "kernel_shape", "x_shape", "w_shape"), SHAPES),
    "shape": (0, None, "ab", (1,), (0, 2), (1.5, 2), {}, (1, 2, 3)),
    "pad": (-1, 1.5, None, "1", (), True, {}),
    "hparameters": (None, 3, {}, [], {"stride": 0, "pad": 0, "f": 0}, {"stride": 1.5, "pad": 1, "f": 1}, "ab", (1, 2)),
    "cache": (None, 3, (), (1, 2), "ab", (1, 2, 3, 4), {}),
    "threads": (0, -1, 1.5, "2", True, {}),
    "max_workspace": (0, -1, 1.5, "2", True, {}, 1000),
}
NO_ARRAYS = (3, 2.5, "x", {}, [1.0, 2.0], (1,), np.float64(3))
ODD_DTYPES = ("bool", "object", "U3", "datetime64[s]", "V4")


def spoil_array(draw: Draw, array: np.ndarray) -> Any:
    """Something that no function takes in the place of an array."""
    kind = draw.choice(["no array", "dtype", "axes", "empty", "masked", "0-d"])
    if kind == "no array":
        return draw.choice((*NO_ARRAYS, None))
    if kind == "dtype":
        return np.zeros(array.shape, draw.choice(ODD_DTYPES))
    if kind == "axes":
        return array.reshape((1,) * 7 + array.shape)
    if kind == "empty":
        return np.zeros((*array.shape[:-1], 0, 0), array.dtype)
    if kind == "masked":
        return np.ma.masked_array(array)
    return array.dtype.type(1) if draw.random() < 0.5 else np.zeros((), array.dtype)


def spoil(draw: Draw, call: Call) -> Call:
    """Replace one argument by something that is never legal."""
    names = list(inspect.signature(getattr(xc, call.function)).parameters)[: len(call.arguments)]
    arrays = [i for i, a in enumerate(call.arguments) if isinstance(a, np.ndarray)]
    places = [n for n in (*names, *call.options) if n in JUNK]
    if arrays and (not places or draw.random() < 0.4):
        place, library = draw.choice(arrays), call.library
        bad = spoil_array(draw, call.arguments[place])
        whole = isinstance(bad, np.ndarray) and bad.dtype.kind in "iufc"
        if bad is None and names[place] == "b":
            bad = 3
        library = library if whole and type(bad) is np.ndarray else "numpy"
        arguments = (*call.arguments[:place], bad, *call.arguments[place + 1 :])
        anything = (call.function, names[place]) in (("create_mask_from_window", "x"), ("conv_single_step", "b"))
        if anything and whole:
            return call  # a window of any shape, one number in any shape
        return replace(call, arguments=arguments, library=library, spoilt=names[place])
    if not places:
        return call
    name = draw.choice(places)
    bad = draw.choice(JUNK[name])
    if name in names:
        place = names.index(name)
        return replace(call, arguments=(*call.arguments[:place], bad, *call.arguments[place + 1 :]), spoilt=name)
    return replace(call, options={**call.options, name: bad}, spoilt=name)


def call(number: int) -> Call:
    """Give the case of that number."""
    draw = Draw(number)
    function = draw.choice(sorted(BUILDERS))
    legal = BUILDERS[function](draw, function)
    return spoil(draw, legal) if draw.random() < 0.5 else legal


# The storm ------------------------------------------------------------------------------------------------------


# what the course's backward functions take inside `cache`
CACHED = {"conv_backward": ("A_prev", "W", "b", "hparameters"), "pool_backward": ("A_prev", "hparameters")}


def outcome(case: Call) -> tuple[str, Any]:
    """Make the call: ("returned", results) or ("raised", error)."""
    library = backends.load(case.library)
    here = [library.asarray(a) if type(a) is np.ndarray and case.library != "numpy" else a for a in case.arguments]
    try:
        with xc.set_options():
            result = getattr(xc, case.function)(*here, **case.options)
    except Exception as error:  # whatever it is, the caller judges it
        return "raised", error
    return "returned", result


def complaint(case: Call) -> str:
    """Say what is wrong with the outcome of a case; empty if nothing is."""
    what, found = outcome(case)
    if what == "raised":
        if not case.spoilt:
            return f"a legal call raised {found!r}"
        if type(found) not in (ValueError, TypeError):
            return f"raised {type(found).__name__}: {found}"
        if not str(found).startswith(f"{case.function}: "):
            return f"the message does not start with the function's name: {found}"
        parameters = [*inspect.signature(getattr(xc, case.function)).parameters, *CACHED.get(case.function, ())]
        names = "|".join([*parameters, "kernel", "arrays"])
        return "" if re.search(rf"\b({names})\b", str(found)) else f"the message names no argument: {found}"
    if case.spoilt:
        return f"{case.spoilt} is not legal, and the call returned {type(found).__name__}"
    if case.expected is None:
        return ""
    return difference(case, found)


def difference(case: Call, found: Any) -> str:
    """Hold the results against the definition."""
    library, expected = backends.load(case.library), case.expected()
    if case.function == "conv_forward":
        found = found[0]
    several = isinstance(expected, tuple)
    for got, wanted in zip(found if several else (found,), expected if several else (expected,), strict=True):
        mine, wanted = library.to_numpy(got) if case.library != "numpy" else np.asarray(got), np.asarray(wanted)
        try:
            assert mine.shape == wanted.shape, f"shape {mine.shape}, wanted {wanted.shape}"
            if case.terms:
                # whole numbers up to 3: no window's sum of magnitudes, and no sum of shares, is beyond this
                magnitude = np.full(wanted.shape, 3.0 * case.terms)
                checks.demand_close(mine, wanted, checks.tolerance(magnitude, case.terms, str(mine.dtype)))
            else:
                checks.demand_same(mine, wanted)
        except AssertionError as error:
            return f"a silent wrong result: {error}"
    return ""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_call_returns_what_is_right_or_says_what_is_wrong(block: int) -> None:
    complaints = []
    for number in range(block * CASES // BLOCKS, (block + 1) * CASES // BLOCKS):
        case = call(number)
        found = complaint(case)
        if found:
            complaints.append(f"case {number}, {case}\n    {found}")
    assert not complaints, f"{len(complaints)} complaints:\n" + "\n".join(complaints)


def test_the_storm_reaches_everything() -> None:
    """Every public name, spoilt and unspoilt, in the first thousand cases."""
    cases = [call(number) for number in range(1_000)]
    assert set(BUILDERS) == set(xc.__all__)
    for legal in (True, False):
        assert {case.function for case in cases if legal is not bool(case.spoilt)} == set(BUILDERS)
    spoilt = {case.spoilt for case in cases} - {""}
    assert spoilt >= {"x", "w", "dz", "stride", "padding", "layout", "window", "groups", "input_shape", "output_shape"}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_storm_is_the_same_every_day(number: int) -> None:
    assert str(call(number)) == str(call(number))


def test_a_wrong_result_and_a_wrong_error_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(c for c in map(call, range(1_000)) if c.function == "conv" and not c.spoilt and c.arguments[0].size)
    right = xc.conv
    assert not complaint(case)

    def raises(x: Any, w: Any, b: Any = None, **_: Any) -> Any:
        raise IndexError("conv: x")

    def nameless(x: Any, w: Any, b: Any = None, **_: Any) -> Any:
        raise ValueError("unhashable")

    monkeypatch.setattr(xc, "conv", lambda *a, **o: right(*a, **o) + 1)
    assert "silent wrong result" in complaint(case)
    monkeypatch.setattr(xc, "conv", raises)
    assert "a legal call raised" in complaint(case)
    assert "raised IndexError" in complaint(replace(case, spoilt="x"))
    monkeypatch.setattr(xc, "conv", nameless)
    assert "does not start" in complaint(replace(case, spoilt="x"))
    monkeypatch.setattr(xc, "conv", lambda x, w, b=None, **_: x)
    assert "is not legal" in complaint(replace(case, spoilt="x"))
