"""Gates in float64, as their definitions have them."""

import numpy as np


def sigmoid(z):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-z))


def softmax(z):
    """Over the last axis."""
    if z.ndim == 0:
        return np.asarray(softmax(z[None])[0])
    if z.shape[-1] == 0:
        return z.copy()
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def one_hot(z):
    """1 at the greatest of the last axis, the first of equals; NaN where the softmax is."""
    if 0 in z.shape:
        return z.copy()
    rows = z.reshape(-1, z.shape[-1] if z.ndim else 1)
    chosen = np.zeros_like(rows)
    chosen[np.arange(len(rows)), rows.argmax(axis=1)] = 1
    return np.where(np.isnan(softmax(z)), np.nan, chosen.reshape(z.shape))


def drawn(noise, shape):
    """What a run draws of (0, 1) for each entry, by Philox4x32-10 of the entry's place."""
    low = np.uint64(2 ** 32 - 1)
    seed, run = np.asarray(noise, "int64").astype("uint64")
    place = np.arange(int(np.prod(shape)), dtype="uint64")
    # Of 256 places those 64 apart share a counter.
    counter = place // np.uint64(256) * np.uint64(64) + place % np.uint64(64)
    words = [counter & low, counter >> np.uint64(32), run & low, run >> np.uint64(32)]
    keys = [int(seed & low), 0]
    for _ in range(10):
        a, b = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        first = (b >> np.uint64(32)) ^ words[1] ^ np.uint64(keys[0])
        third = (a >> np.uint64(32)) ^ words[3] ^ np.uint64(keys[1])
        words = [first, b & low, third, a & low]
        keys = [(keys[0] + 0x9E3779B9) % 2 ** 32, (keys[1] + 0xBB67AE85) % 2 ** 32]
    number = np.choose((place % np.uint64(256) // np.uint64(64)).astype("int64"), words)
    return ((number >> np.uint64(9)) + 0.5).reshape(shape) / 2 ** 23


def logits(z, tau=1, noise=None):
    """What the softmax of gumbel_softmax is taken of, with the noise that was drawn, if any."""
    if noise is not None:
        z = z - np.log(-np.log(drawn(noise, z.shape)))
    return z / float(np.float32(tau))  # as arguments are kept


def value(
    z,
    threshold=None,
    kind="sigmoid",
    clip=0,
    beta=2 / 3,
    gamma=-0.1,
    zeta=1.1,
    is_test=0,
    tau=1,
    hard=0,
    noise=None,
):
    """g(Z), without noise but for that of gumbel_softmax, if it is given."""
    if kind in ("softmax", "gumbel_softmax"):
        assert kind == "softmax" or is_test or noise is not None
        return (one_hot if hard else softmax)(logits(z, tau, noise))
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
