"""The gates in float64, as their definitions have them: the oracle of the tests of all gates.

As in reference.py, each takes an operator's inputs and arguments and returns its outputs.
"""

import numpy as np


def sigmoid(z):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-z))


def softmax(z):
    """Over the last axis."""
    if z.ndim == 0:
        return np.ones_like(z)
    if z.shape[-1] == 0:
        return z.copy()
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def value(z, threshold=None, kind="sigmoid", clip=0, beta=2 / 3, gamma=-0.1, zeta=1.1, is_test=0):
    """g(Z), without noise."""
    if kind == "softmax":
        return softmax(z)
    if kind == "relu":
        return np.maximum(0, z if threshold is None else z - threshold)
    if kind == "hard_concrete":
        assert is_test
        gamma, zeta = np.array([gamma, zeta], "f").astype("float64")  # as arguments are kept
        return np.clip(sigmoid(z) * (zeta - gamma) + gamma, 0, 1)
    functions = {"sigmoid": sigmoid, "tanh": np.tanh, "hard": lambda z: (z > 0).astype(z.dtype)}
    return functions[kind](z)


def gate(x, z, threshold=None, **args):
    """``Y`` and ``G``."""
    wide = [None if array is None else array.astype("float64") for array in (x, z, threshold)]
    g = value(wide[1], wide[2], **args)
    return [np.asarray(g * wide[0]).astype(x.dtype), np.asarray(g).astype(z.dtype)]


def highway(h, x, z, **args):
    g = value(z.astype("float64"), **args)
    return [np.asarray(g * h.astype("float64") + (1 - g) * x.astype("float64")).astype(h.dtype)]


def mixture_gate(e, z, bias=None, top_k=None, renormalize=0):
    """``Y`` and ``G``, one row and one expert at a time."""
    g = softmax(z.astype("float64"))
    for row, logits in zip(g, z):
        keys = logits if bias is None else row + bias
        order = sorted(range(len(keys)), key=lambda k: (-keys[k], k))
        if top_k:
            row[order[top_k:]] = 0
        if renormalize and row.size:
            row[order[:top_k]] /= row.sum()
    y = np.zeros(e.shape[:1] + e.shape[2:])
    for n, row in enumerate(g):
        for k, weight in enumerate(row):
            if weight != 0:
                y[n] += weight * e[n, k]
    return [y.astype(e.dtype), g.astype(z.dtype)]
