"""Faults in what comes back, whatever its values: its kind, its memory, and what becomes of the arguments."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from xpconv.verify.faults.fault import Array, Fault, Function, changed, library


def _mutating(right: Function) -> Function:
    def pad(x: Array, padding: Any, **options: Any) -> Array:
        y = right(x, padding, **options)
        x[..., :1] = 7
        return y

    return pad


def _view(right: Function) -> Function:
    def pad(x: Array, padding: Any, **options: Any) -> Array:
        y = right(x, padding, **options)
        return x if y.shape == x.shape else y

    return pad


def _broken(right: Function) -> Function:
    def pad(*arguments: Any, **options: Any) -> Array:
        raise RuntimeError("no kernel image is available")

    return pad


def _on_the_host(right: Function) -> Function:
    return lambda *a, **o: np.asarray(_on_the_default_device(right)(*a, **o))


def _on_the_default_device(right: Function) -> Function:
    device = importlib.import_module("array_api_strict").Device
    return lambda *a, **o: right(*a, **o).to_device(device("CPU_DEVICE"))


FAULTS: tuple[Fault, ...] = (
    library(
        "argument mutated", "it works in place", ("pad",), ("xpconv:pad", _mutating), sign="argument x was changed"
    ),
    library(
        "argument returned",
        "the result is the argument itself where nothing is padded",
        ("pad",),
        ("xpconv:pad", _view),
        sign="shares memory",
        core=False,
    ),
    library(
        "wrong dtype",
        "float64 creeps in",
        ("pad",),
        ("xpconv:pad", changed(lambda y: y.astype(np.float64))),
        sign="wrong dtype",
    ),
    library("list returned", "no array comes back", ("pad",), ("xpconv:pad", changed(list)), sign="is no array"),
    library("exception", "the library is broken", ("pad",), ("xpconv:pad", _broken), sign="raised RuntimeError"),
    library(
        "wrong namespace",
        "a NumPy array comes back",
        ("pad",),
        ("xpconv:pad", _on_the_host),
        sign="another library",
        library="strict",
        device="device1",
    ),
    library(
        "wrong device",
        "device= is forgotten",
        ("pad",),
        ("xpconv:pad", _on_the_default_device),
        sign="wrong device",
        library="strict",
        device="device1",
    ),
    library(
        "cache without the arguments",
        "copies are kept",
        ("pool_forward",),
        ("xpconv:pool_forward", changed(lambda r: (r[0], (r[1][0].copy(), r[1][1])))),
        sign="cache does not hold",
    ),
)
