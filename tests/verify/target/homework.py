"""Homework for the judge: the course's eight functions, right, in two styles, as text in which a slip is made."""

from __future__ import annotations

import json

HEAD = "import numpy as np"

LOOPS = {
    "zero_pad": """
def zero_pad(X, pad):
    return np.pad(X, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="constant", constant_values=0)
""",
    "conv_single_step": """
def conv_single_step(a_slice_prev, W, b):
    products = a_slice_prev * W
    return np.sum(products) + b.item()
""",
    "conv_forward": """
def conv_forward(A_prev, W, b, hparameters):
    stride, pad = hparameters["stride"], hparameters["pad"]
    m, height, width, _ = A_prev.shape
    f, n_C = W.shape[0], W.shape[3]
    n_H = int((height - f + 2 * pad) / stride) + 1
    n_W = int((width - f + 2 * pad) / stride) + 1
    Z = np.zeros((m, n_H, n_W, n_C))
    padded = zero_pad(A_prev, pad)
    for i in range(m):
        image = padded[i]
        for h in range(n_H):
            top = h * stride
            for w in range(n_W):
                left = w * stride
                piece = image[top:top + f, left:left + f, :]
                for c in range(n_C):
                    Z[i, h, w, c] = conv_single_step(piece, W[:, :, :, c], b[:, :, :, c])
    return Z, (A_prev, W, b, hparameters)
""",
    "pool_forward": """
def pool_forward(A_prev, hparameters, mode="max"):
    m, height, width, n_C = A_prev.shape
    f, stride = hparameters["f"], hparameters["stride"]
    n_H = int(1 + (height - f) / stride)
    n_W = int(1 + (width - f) / stride)
    A = np.zeros((m, n_H, n_W, n_C))
    for i in range(m):
        for h in range(n_H):
            top = h * stride
            for w in range(n_W):
                left = w * stride
                for c in range(n_C):
                    piece = A_prev[i, top:top + f, left:left + f, c]
                    A[i, h, w, c] = np.max(piece) if mode == "max" else np.mean(piece)
    return A, (A_prev, hparameters)
""",
    "conv_backward": """
def conv_backward(dZ, cache):
    A_prev, W, b, hparameters = cache
    stride, pad = hparameters["stride"], hparameters["pad"]
    height, width = A_prev.shape[1:3]
    m, n_H, n_W, n_C = dZ.shape
    f = W.shape[0]
    dA_prev, dW, db = np.zeros(A_prev.shape), np.zeros(W.shape), np.zeros(b.shape)
    padded, dpadded = zero_pad(A_prev, pad), zero_pad(dA_prev, pad)
    for i in range(m):
        for h in range(n_H):
            top = h * stride
            for w in range(n_W):
                left = w * stride
                for c in range(n_C):
                    piece = padded[i, top:top + f, left:left + f, :]
                    dpadded[i, top:top + f, left:left + f, :] += W[:, :, :, c] * dZ[i, h, w, c]
                    dW[:, :, :, c] += piece * dZ[i, h, w, c]
                    db[:, :, :, c] += dZ[i, h, w, c]
        dA_prev[i] = dpadded[i, pad:pad + height, pad:pad + width, :]
    return dA_prev, dW, db
""",
    "create_mask_from_window": """
def create_mask_from_window(x):
    return x == np.max(x)
""",
    "distribute_value": """
def distribute_value(dz, shape):
    n_H, n_W = shape
    average = dz / (n_H * n_W)
    return np.ones((n_H, n_W)) * average
""",
    "pool_backward": """
def pool_backward(dA, cache, mode="max"):
    A_prev, hparameters = cache
    f, stride = hparameters["f"], hparameters["stride"]
    m, n_H, n_W, n_C = dA.shape
    dA_prev = np.zeros(A_prev.shape)
    for i in range(m):
        for h in range(n_H):
            top = h * stride
            for w in range(n_W):
                left = w * stride
                for c in range(n_C):
                    piece = A_prev[i, top:top + f, left:left + f, c]
                    if mode == "max":
                        share = create_mask_from_window(piece) * dA[i, h, w, c]
                    else:
                        share = distribute_value(dA[i, h, w, c], (f, f))
                    dA_prev[i, top:top + f, left:left + f, c] += share
    return dA_prev
""",
}

# whole arrays, tap by tap, without the helpers
ARRAYS = LOOPS | {
    "zero_pad": """
def zero_pad(X, pad):
    m, height, width, channels = X.shape
    out = np.zeros((m, height + 2 * pad, width + 2 * pad, channels))
    out[:, pad:pad + height, pad:pad + width] = X
    return out
""",
    "conv_single_step": """
def conv_single_step(a_slice_prev, W, b):
    return np.tensordot(a_slice_prev, W, 3)[()] + np.squeeze(b)[()]
""",
    "conv_forward": """
def conv_forward(A_prev, W, b, hparameters):
    s, p, f = hparameters["stride"], hparameters["pad"], W.shape[0]
    x = np.pad(A_prev, [(0, 0), (p, p), (p, p), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (f, f), axis=(1, 2))[:, ::s, ::s]
    return np.einsum("nhwcij,ijcf->nhwf", windows, W) + b, (A_prev, W, b, hparameters)
""",
    "pool_forward": """
def pool_forward(A_prev, hparameters, mode="max"):
    s, f = hparameters["stride"], hparameters["f"]
    windows = np.lib.stride_tricks.sliding_window_view(A_prev, (f, f), axis=(1, 2))[:, ::s, ::s]
    A = windows.max((-2, -1)) if mode == "max" else windows.mean((-2, -1))
    return A, (A_prev, hparameters)
""",
    "conv_backward": """
def conv_backward(dZ, cache):
    A_prev, W, b, hparameters = cache
    s, p, f = hparameters["stride"], hparameters["pad"], W.shape[0]
    x = np.pad(A_prev, [(0, 0), (p, p), (p, p), (0, 0)])
    dx, dW = np.zeros_like(x), np.zeros_like(W)
    for i in range(f):
        for j in range(f):
            at = (slice(None), slice(i, i + s * dZ.shape[1], s), slice(j, j + s * dZ.shape[2], s))
            dx[at] += dZ @ W[i, j].T
            dW[i, j] = np.einsum("nhwc,nhwf->cf", x[at], dZ)
    height, width = A_prev.shape[1:3]
    return dx[:, p:p + height, p:p + width], dW, dZ.sum((0, 1, 2)).reshape(b.shape)
""",
}
STYLES = {"loops": LOOPS, "arrays": ARRAYS}


def changed(function, *pairs, style=LOOPS):
    """The functions with a slip in one: each pair is what to replace, once, and what to put there."""
    text = style[function]
    for old, new in pairs:
        assert text.count(old) == 1, (function, old)
        text = text.replace(old, new)
    return style | {function: text}


def namespace(functions):
    """Run the functions in a namespace, as a notebook would."""
    found = {"__name__": "__main__"}
    exec(compile("\n".join([HEAD, *functions.values()]), "<homework>", "exec"), found)
    return found


def notebook(path, texts):
    """Write a notebook of these cells."""
    cells = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": text} for text in texts
    ]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
    return path


def cells(functions, head=HEAD):
    """A cell for each function, after the imports."""
    return [head, *(text.strip() for text in functions.values())]
