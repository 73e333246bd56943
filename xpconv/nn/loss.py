"""The loss of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace, device

from xpconv._shapes.keywords import keywords_of
from xpconv.nn.checks import Array, real_floating, same_shape


@keywords_of
@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Average over a batch of −log softmax(logits)[label]: ``(N, K), (N,) -> ()``.

    Raises
    ------
    TypeError
        The logits have no real floating dtype or the labels no integer dtype.
    ValueError
        The shapes do not fit, or the batch is empty.

    Notes
    -----
    Each row is shifted by its maximum first, so that no exponential overflows. The gradient is
    (softmax(logits) − one_hot(labels)) / N. A label outside [0, K) counts as no class at all; looking at the
    values of the labels would cost a transfer from the device.

    Examples
    --------
    >>> import numpy as np
    >>> loss, cache = SoftmaxCrossEntropy().forward(np.zeros((1, 4)), np.asarray([2]))
    >>> round(loss.item(), 4), SoftmaxCrossEntropy().backward(cache).tolist()
    (1.3863, [[0.25, 0.25, -0.75, 0.25]])
    """

    def forward(self, logits: Array, labels: Array) -> tuple[Array, tuple[Array, Array]]:
        """``(N, K), (N,) -> ()``; the cache is the probabilities and the one-hot labels."""
        xp = real_floating("SoftmaxCrossEntropy", "logits", logits)
        array_namespace(logits, labels)
        if logits.ndim != 2 or logits.shape[0] == 0:
            raise ValueError(f"SoftmaxCrossEntropy: logits is (N, K) with N > 0; got {tuple(logits.shape)}")
        same_shape("SoftmaxCrossEntropy", "labels", labels, (logits.shape[0],))
        if not xp.isdtype(labels.dtype, "integral"):
            raise TypeError(f"SoftmaxCrossEntropy: labels has an integer dtype; got {labels.dtype}")
        classes = xp.arange(logits.shape[1], dtype=labels.dtype, device=device(labels))
        hot = xp.astype(xp.expand_dims(labels, axis=1) == classes, logits.dtype)  # (N, 1), (K,) -> (N, K)
        shifted = logits - xp.max(logits, axis=1, keepdims=True)
        exponentials = xp.exp(shifted)
        total = xp.sum(exponentials, axis=1, keepdims=True)
        losses = xp.log(xp.squeeze(total, axis=1)) - xp.sum(hot * shifted, axis=1)
        return xp.mean(losses), (exponentials / total, hot)

    def backward(self, cache: tuple[Array, Array]) -> Array:
        """``-> (N, K)``, the gradient by the logits."""
        probabilities, hot = cache
        return (probabilities - hot) / probabilities.shape[0]
