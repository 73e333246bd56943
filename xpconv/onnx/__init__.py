"""ONNX's convolutions, pools and pads for ONNX's own reference evaluator, at the speed of a library.

``onnx.reference.ReferenceEvaluator`` runs every ONNX model on NumPy: pools in loops of Python, convolutions in loops or
on a copy of all windows. With `OPERATORS` it takes them from here::

    evaluator = ReferenceEvaluator(model, new_ops=xpconv.onnx.OPERATORS)

and `evaluator` makes one that hands them on to the functions and the subgraphs of a model as well. Opset 11 and newer,
in each dtype that xpconv has, float16 and bfloat16 among them. On the command line: ``xpconv run MODEL.onnx``.
"""

from __future__ import annotations

from xpconv.onnx.evaluator import Evaluator, evaluator
from xpconv.onnx.operators import OPERATORS

__all__ = ["OPERATORS", "Evaluator", "evaluator"]
