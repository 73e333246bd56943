"""Algorithms that transform: their errors spread over a tile and are amplified, so their bound is another one."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import xpconv
from xpconv.algorithms import REGISTRY
from xpconv.verify.operation import keywords
from xpconv.verify.tasks import EXACT, Task, serves

SAFETY = 4  # the gradients' transforms are not quite those of the convolution


def spread(task: Task) -> float:
    """Say how many times the largest bound of a sum bounds each result of an algorithm that transforms; 1 otherwise.

    The library's own bound for the convolution of ones, over that of `gemm`, is the amplification.
    """
    if not task.operation.algorithms or task.algorithm in EXACT:
        return 1.0
    names = [name for name in REGISTRY if name not in EXACT] if task.algorithm == "auto" else [task.algorithm]
    found = [_amplification(name, task.setup) for name in names if serves(name, task.setup, task.dtype)]
    return SAFETY * max(found) if found else 1.0


@cache
def _amplification(name: str, setup: Any) -> float:
    x, w = np.ones(setup.shape("x")), np.ones(setup.shape("w"))
    options = keywords(setup)
    promised = xpconv.error_bound(x, w, algorithm=name, **options)
    plain = xpconv.error_bound(x, w, algorithm="gemm", **options)
    return max(1.0, float(np.max(promised / np.where(plain > 0, plain, np.inf), initial=1.0)))
