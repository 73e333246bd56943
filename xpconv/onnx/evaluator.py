"""ONNX's reference evaluator with the operators of this package, in functions and subgraphs too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike, fspath
from typing import Any

import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from xpconv.onnx.convolution import Conv
from xpconv.onnx.operators import OPERATORS

# operators that make weights: of quantised ones, of ones in another order, of a number
WEIGHTS = frozenset(
    {"Cast", "ConstantOfShape", "DequantizeLinear", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)


class Evaluator(ReferenceEvaluator):  # type: ignore[misc]
    """A `onnx.reference.ReferenceEvaluator` that convolves, pools and pads with xpconv.

    It takes what that one takes. ONNX makes the evaluators of a model's functions and of the bodies of its loops and
    branches from the class of the model's own, so that theirs have the operators too.
    """

    operators: Sequence[type[OpRun]] = OPERATORS

    def __init__(
        self,
        proto: onnx.ModelProto | bytes,
        *arguments: Any,
        new_ops: Sequence[type[OpRun]] | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(proto, *arguments, new_ops=[*(new_ops or ()), *self.operators], **keywords)
        constants = {**self.rt_inits_, **dict(_constants(self.rt_nodes_))}
        known = {"", *constants}
        for node in self.rt_nodes_:
            if isinstance(node, Conv):
                node.constants = constants
            elif _makes_a_weight(node) and known.issuperset(node.input):
                node.run = _Kept(node, constants)
                known.add(node.output[0])


def _constants(nodes: Iterable[OpRun]) -> Iterator[tuple[str, Any]]:
    """Give what the nodes `Constant` give, the same array in each run."""
    for node in nodes:
        if (node.domain, node.op_type) == ("", "Constant") and not node.has_linked_attribute:
            yield node.output[0], node.run()[0]


def _makes_a_weight(node: OpRun) -> bool:
    return node.domain == "" and node.op_type in WEIGHTS and len(node.output) == 1 and not node.has_linked_attribute


class _Kept:
    """What a node makes of the model's own arrays, made once; of an input that stands for one it is made each time."""

    def __init__(self, node: OpRun, constants: dict[str, Any]) -> None:
        self._run, self._names, self._output = node.run, node.input, node.output[0]
        self._constants = constants
        self._made: tuple[Any, ...] | None = None

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        own = all(self._constants.get(name) is given for name, given in zip(self._names, inputs, strict=True))
        if keywords or not own:
            return self._run(*inputs, **keywords)
        if self._made is None:
            self._made = self._run(*inputs)
            self._constants[self._output] = self._made[0]
        return self._made


def evaluator(
    model: onnx.ModelProto | str | PathLike[str] | bytes,
    *,
    new_ops: Sequence[type[OpRun]] | None = None,
    verbose: int = 0,
) -> Evaluator:
    """Make an evaluator of a model whose convolutions, pools and pads are xpconv's.

    Parameters
    ----------
    model : onnx.ModelProto, path or bytes
        The model; weights that lie in files beside it are read as well.
    new_ops : sequence of classes, optional
        More operators, each a subclass of ``onnx.reference.op_run.OpRun``; they come before all others, in functions
        and subgraphs too.
    verbose : int
        As ``onnx.reference.ReferenceEvaluator`` takes it: 1 prints each node that runs, more prints values.

    Returns
    -------
    Evaluator
        A ``ReferenceEvaluator``: ``run(None, {name: array, ...})`` gives the outputs.

    Examples
    --------
    >>> import numpy as np, onnx, xpconv.onnx
    >>> model = onnx.parser.parse_model('''
    ...     <ir_version: 10, opset_import: ["": 22]>
    ...     blur (float[N, 1, H, W] x, float[1, 1, 3, 3] w) => (float[N, 1, P, Q] y)
    ...     { z = Conv<auto_pad = "SAME_UPPER">(x, w)   y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(z) }''')
    >>> x, w = np.ones((1, 1, 4, 6), np.float32), np.ones((1, 1, 3, 3), np.float32)
    >>> xpconv.onnx.evaluator(model).run(None, {"x": x, "w": w})[0][0, 0]
    array([[9., 9., 9.],
           [9., 9., 9.]], dtype=float32)
    """
    own = {"operators": (*(new_ops or ()), *OPERATORS)}
    loaded = onnx.load(fspath(model)) if isinstance(model, (str, PathLike)) else model
    made: Evaluator = type("Evaluator", (Evaluator,), own)(loaded, verbose=verbose)
    return made
