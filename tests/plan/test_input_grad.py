"""Plans of the gradient of the images are kept, for calls that are alike in all that a plan follows from."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from xpconv._arrays.call import Call
from xpconv._plan.input_grad import GradientPlan, choose_input_grad, forget
from xpconv._shapes import read
from xpconv._shapes.read import Windowing


def plan_of(dtype: str) -> GradientPlan:
    """Plan the gradient of a convolution in groups, whose weight is laid out anew in its own dtype."""
    w, dz = np.ones((3, 3, 64, 128), dtype), np.ones((1, 8, 8, 128), dtype)
    call = Call.of("conv_input_grad", dtype="float64", dz=dz, w=w)
    geometry = read.conv("conv", (1, 10, 10, 128), w.shape, Windowing(1, 0, 1, 2, "zeros", "channels_last"))
    return choose_input_grad(call, geometry, "gemm")


def test_a_plan_does_not_follow_from_calls_before() -> None:
    """Not where only the dtype of the weight differs, in which its copy is counted."""
    found = []
    for order in (("float16", "float32"), ("float32", "float16")):
        forget()
        plans = {dtype: plan_of(dtype) for dtype in order}
        assert plan_of("float16") is plans["float16"]
        found.append({dtype: [part.workspace for part in plan.planned] for dtype, plan in plans.items()})
    assert found[0] == found[1]
    assert found[0]["float16"] < found[0]["float32"]


@pytest.mark.parametrize("algorithm", [["gemm"], {}, None, "gem"])
def test_what_names_no_algorithm_is_refused_as_elsewhere(algorithm: Any) -> None:
    x, w = np.ones((1, 5, 5, 2)), np.ones((3, 3, 2, 2))
    for call in (
        lambda: xc.conv(x, w, algorithm=algorithm),
        lambda: xc.conv_input_grad(np.ones((1, 3, 3, 2)), w, x.shape, algorithm=algorithm),
    ):
        with pytest.raises(ValueError, match="algorithm is one of 'auto'"):
            call()
