"""What a wrong keyword is told: the name that was meant, where it is a slip or another library's word for it.

A call with right keywords stays a plain call: a public function is entered through one of the same parameters, which
looks at nothing but whether something is left over or missing.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)

NEAR = 0.6  # how alike a misspelt name is, of 1
MISSING = object()  # the value of an argument that was not given

# what PyTorch, TensorFlow, Keras, JAX, ONNX, SciPy and the course call it -> what it may be here, the likeliest first
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "auto_pad": ("padding",),
    "bias": ("b", "bias"),
    "border_mode": ("padding_mode", "mode"),
    "boundary": ("padding_mode", "mode"),
    "ceil": ("ceil_mode",),
    "data_format": ("layout",),
    "dilation_rate": ("dilation",),
    "dilations": ("dilation",),
    "dout": ("dz", "dy", "dZ", "dA"),
    "dy": ("dz",),
    "dz": ("dy",),
    "exclude_pad": ("count_include_pad",),
    "f": ("window", "kernel"),
    "feature_group_count": ("groups",),
    "filter": ("w", "W"),
    "filter_sizes": ("kernel_shape",),
    "filters": ("features", "w", "W"),
    "grad_output": ("dz", "dy", "dZ", "dA"),
    "group": ("groups",),
    "hparams": ("hparameters",),
    "hyperparameters": ("hparameters",),
    "in1": ("x",),
    "in2": ("w",),
    "in_channels": ("w",),
    "inp": ("x",),
    "input": ("x", "A_prev", "X"),
    "input_size": ("input_shape",),
    "inputs": ("x", "A_prev", "X"),
    "kernel": ("w", "window", "W"),
    "kernel_dilation": ("dilation",),
    "kernel_shape": ("window", "kernel", "w_shape", "w"),
    "kernel_size": ("window", "kernel", "kernel_shape", "w_shape", "w"),
    "ksize": ("window", "kernel", "w"),
    "learning_rate": ("lr",),
    "lhs": ("x",),
    "lhs_dilation": ("stride",),
    "method": ("algorithm",),
    "mode": ("padding_mode",),
    "norm_type": ("p",),
    "num_threads": ("threads",),
    "number_of_groups": ("groups",),
    "out_channels": ("features", "w"),
    "out_features": ("features",),
    "output_size": ("output_shape",),
    "pad": ("padding",),
    "pad_mode": ("padding_mode", "mode"),
    "pad_width": ("padding",),
    "padding_mode": ("mode",),
    "pads": ("padding",),
    "pool_size": ("window",),
    "preferred_element_type": ("dtype",),
    "rhs": ("w",),
    "rhs_dilation": ("dilation",),
    "return_argmax": ("return_indices",),
    "shape": ("input_shape", "output_shape", "x_shape"),
    "size": ("window", "kernel", "output_shape"),
    "units": ("features",),
    "weight": ("w", "W"),
    "weight_shape": ("w_shape", "kernel_shape"),
    "weight_size": ("kernel_shape",),
    "weights": ("w", "W"),
    "window_dilation": ("dilation",),
    "window_shape": ("window",),
    "window_strides": ("stride",),
    "workspace": ("max_workspace",),
}
# other libraries' words for an option's value
WORDS_ELSEWHERE = {
    "constant": "zeros",
    "edge": "replicate",
    "nchw": "channels_first",
    "ncdhw": "channels_first",
    "ncw": "channels_first",
    "ndhwc": "channels_last",
    "nhwc": "channels_last",
    "none": "valid",
    "notset": "valid",
    "nwc": "channels_last",
    "same_upper": "same",
    "wrap": "circular",
    "avg": "average",
    "mean": "average",
    "maximum": "max",
}
FROM_SHAPE = {"in_channels", "kernel_shape", "kernel_size", "ksize", "out_channels"}  # what an array's shape says


def near(name: str, names: Iterable[str]) -> str:
    """Find the one of these names that was meant by another; empty if none comes near."""
    names = list(names)
    meant = next((own for own in ELSEWHERE.get(name.lower(), ()) if own in names), "")
    plain = {own.lower().replace("_", ""): own for own in reversed(names)}
    close = difflib.get_close_matches(name.lower().replace("_", ""), plain, 1, NEAR)
    return meant or (plain[close[0]] if close else "")


def meant(word: Any, words: Iterable[str]) -> str:
    """Ask whether one of these words was meant by another, as the end of a message; empty if none comes near."""
    words = list(words)
    if not isinstance(word, str):
        return ""
    lower = WORDS_ELSEWHERE.get(word.lower(), word.lower())
    close = [lower] if lower in words else difflib.get_close_matches(lower, words, 1, NEAR)
    return f"; did you mean {close[0]!r}?" if close else ""


def keywords(function: F) -> F:
    """Make an unknown keyword of a public function a TypeError that names the near one."""
    parameters = list(inspect.signature(function).parameters.values())
    plain = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert plain + named == parameters, "a public function has plain parameters"
    required = [p.name for p in parameters if p.default is p.empty]
    takes = ", ".join([*(p.name for p in plain), "*_more", *(p.name for p in named), "**_unknown"])
    gives = ", ".join([*(p.name for p in plain), *(f"{p.name}={p.name}" for p in named)])
    given = ", ".join(f"{p.name!r}: {p.name}" for p in parameters)
    wrong = " or ".join(["_unknown", "_more", *(f"{name} is _missing" for name in required)])
    source = (
        f"def {function.__name__}({takes}):\n"
        f"    if {wrong}:\n"
        f"        _refuse(_function, {{{given}}}, _more, _unknown)\n"
        f"    return _function({gives})\n"
    )
    names: dict[str, Any] = {"_function": function, "_missing": MISSING, "_refuse": _refuse}
    exec(compile(source, f"<keywords of {function.__module__}>", "exec"), names)
    entered = names[function.__name__]
    entered.__defaults__ = tuple(MISSING if p.default is p.empty else p.default for p in plain)
    entered.__kwdefaults__ = {p.name: MISSING if p.default is p.empty else p.default for p in named}
    functools.update_wrapper(entered, function)
    return entered  # type: ignore[no-any-return]


def keywords_of(kind: C) -> C:
    """Do the same for the constructor of a class."""
    kind.__init__ = keywords(kind.__init__)  # type: ignore[misc]
    return kind


def _refuse(
    function: Callable[..., Any], given: Mapping[str, Any], more: tuple[Any, ...], unknown: Mapping[str, Any]
) -> None:
    """Raise the TypeError of a call that does not fit: what is missing is told in Python's own words."""
    owner = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
    if unknown:
        names = [name for name in given if name != "self"]
        raise TypeError(f"{owner}: {'; '.join(_told(name, names) for name in unknown)}")
    parameters = inspect.signature(function).parameters.values()
    plain = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    if more:
        by_name = ", ".join(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
        most, count = (len(names) - ("self" in names[:1]) for names in (plain, [*plain, *more]))
        hint = f"; by keyword: {by_name}" if by_name else ""
        raise TypeError(f"{owner}: takes {most} positional arguments but {count} were given{hint}")
    function(**{name: value for name, value in given.items() if value is not MISSING})


def _told(name: str, names: list[str]) -> str:
    meant = near(name, names)
    hint = f"did you mean {meant}?" if meant else f"it takes {', '.join(names) or 'none'}"
    if meant == "w" and name in FROM_SHAPE:
        hint = "the shape of w says it"
    return f"got an unexpected keyword argument {name!r}; {hint}"
