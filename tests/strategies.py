"""Legal geometries, built and never filtered: what a call needs is drawn first, and the size follows from it."""

from typing import Any

from hypothesis import strategies as st

from tests import oracle
from xpconv.verify.catalogue.setups import Conv, Pool

LAYOUTS = ("channels_last", "channels_first")

seeds = st.integers(0, 2**16)


@st.composite
def an_int_or_one_per_axis(draw: Any, rank: int, low: int, high: int) -> Any:
    """An int, or a tuple with one per axis."""
    number = st.integers(low, high)
    return draw(number | st.tuples(*[number] * rank))


@st.composite
def paddings(draw: Any, rank: int, spans: tuple[int, ...], below_span: bool) -> Any:
    """Every padding form; a pool's padding stays below its window's span."""
    most = [span - 1 if below_span else span + 1 for span in spans]
    form = draw(st.sampled_from(["valid", "same", "same_lower", "causal", "int", "ints", "pairs"]))
    if form == "int":
        return draw(st.integers(0, min(most)))
    if form == "ints":
        return tuple(draw(st.integers(0, m)) for m in most)
    if form == "pairs":
        return tuple((draw(st.integers(0, m)), draw(st.integers(0, m))) for m in most)
    return form


def least_size(padding: Any, kernel: Any, stride: Any, dilation: Any) -> tuple[int, ...]:
    """The smallest size, at least 1, that gives one output along each axis."""
    if padding in ("same", "same_lower", "causal"):
        return (1,) * len(kernel)
    pairs = oracle.padding_pairs(padding, (1,) * len(kernel), kernel, stride, dilation)
    return tuple(
        max(d * (k - 1) + 1 - before - after, 1) for k, d, (before, after) in zip(kernel, dilation, pairs, strict=True)
    )


@st.composite
def windows(draw: Any, rank: int, below_span: bool, ceil_mode: bool = False) -> dict[str, Any]:
    """Draw kernel, stride, dilation and padding, then a size that is large enough, for 1 to 3 axes."""
    longest = {1: 5, 2: 4, 3: 3}[rank]
    kernel = tuple(draw(st.integers(1, longest)) for _ in range(rank))
    stride = draw(an_int_or_one_per_axis(rank, 1, 4 if rank < 3 else 3))
    dilation = draw(an_int_or_one_per_axis(rank, 1, 4 if rank < 3 else 2))
    per_axis = oracle.per_axis(stride, rank), oracle.per_axis(dilation, rank)
    spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, per_axis[1], strict=True))
    padding = draw(paddings(rank, spans, below_span))
    more = {1: 12, 2: 7, 3: 3}[rank]
    least = least_size(padding, kernel, *per_axis)
    if ceil_mode:  # a window that begins inside may end outside
        least = tuple(max(n - s + 1, 1) for n, s in zip(least, per_axis[0], strict=True))
    size = tuple(n + draw(st.integers(0, more)) for n in least)
    return {"size": size, "kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}


@st.composite
def convolutions(draw: Any) -> Conv:
    """A legal convolution."""
    shape = draw(windows(draw(st.integers(1, 3)), below_span=False))
    groups = draw(st.integers(1, 3))
    channels_of_group, filters_of_group = draw(st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 3), (3, 2)]))
    return Conv(
        **shape,
        batch=draw(st.integers(0, 3)),
        groups=groups,
        channels=groups * channels_of_group,
        filters=groups * filters_of_group,
        layout=draw(st.sampled_from(LAYOUTS)),
        bias=draw(st.booleans()),
    )


@st.composite
def pools(draw: Any) -> Pool:
    """A legal pooling, with every padding below the window's span."""
    ceil_mode = draw(st.booleans())
    shape = draw(windows(draw(st.integers(1, 3)), below_span=True, ceil_mode=ceil_mode))
    kernel = shape.pop("kernel")
    if len(set(kernel)) == 1 and draw(st.booleans()):
        kernel = kernel[0]  # one int for every axis
    return Pool(
        **shape,
        window=kernel,
        batch=draw(st.integers(0, 3)),
        channels=draw(st.integers(1, 3)),
        ceil_mode=ceil_mode,
        layout=draw(st.sampled_from(LAYOUTS)),
    )


@st.composite
def pads(draw: Any) -> dict[str, Any]:
    """Draw the shape of an array, its layout, and a padding in numbers."""
    rank = draw(st.integers(1, 3))
    size = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    pair = st.tuples(st.integers(0, 3), st.integers(0, 3))
    padding = draw(an_int_or_one_per_axis(rank, 0, 3) | st.tuples(*[pair] * rank))
    layout = draw(st.sampled_from(LAYOUTS))
    batch, channels = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    shape = (batch, *size, channels) if layout == "channels_last" else (batch, channels, *size)
    return {"shape": shape, "padding": padding, "layout": layout}
