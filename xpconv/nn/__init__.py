"""Networks with explicit forward and backward passes over any array library: no tape, nothing hidden.

A layer is a frozen record of options. Parameters are a flat dictionary of arrays that travels beside it, and no array
that a caller or a cache holds is written to, so that one source serves NumPy, CuPy, PyTorch, JAX and every other Array
API library.
"""

from xpconv._tools.libraries import Library
from xpconv._tools.libraries import load as load_library
from xpconv.nn import training
from xpconv.nn.layers import Dense, Flatten, Layer, ReLU
from xpconv.nn.loss import SoftmaxCrossEntropy
from xpconv.nn.model import Sequential, course_network
from xpconv.nn.optimizers import SGD, Adam, Optimizer
from xpconv.nn.storage import load_metadata, load_parameters, save_parameters
from xpconv.nn.summary import LayerSummary, Summary
from xpconv.nn.windowed import AvgPool, Conv, MaxPool

__all__ = [
    "SGD",
    "Adam",
    "AvgPool",
    "Conv",
    "Dense",
    "Flatten",
    "Layer",
    "LayerSummary",
    "Library",
    "MaxPool",
    "Optimizer",
    "ReLU",
    "Sequential",
    "SoftmaxCrossEntropy",
    "Summary",
    "course_network",
    "load_library",
    "load_metadata",
    "load_parameters",
    "save_parameters",
    "training",
]
