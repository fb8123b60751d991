"""Masked softmax and masked attention in double.

What is not kept is replaced before it enters a sum or a product, so that a NaN of it shows nowhere.
"""

from collections import namedtuple

import numpy as np

from oracles.masking import MASKED, ROW_INPUTS, product

# The optional inputs, in the order in which an operator has those that are there.
Extras = namedtuple("Extras", [name for _, name in ROW_INPUTS] + ["mask", "bias", "sinks"])
Extras.__new__.__defaults__ = (None,) * len(Extras._fields)


def present(mode="", has_mask=0, has_bias=0, has_sinks=0, **_):
    """Which of the optional inputs an operator of these arguments has."""
    parts = mode.split("+")
    of_rows = [part in parts for part, _ in ROW_INPUTS]
    return Extras(*of_rows, mask=bool(has_mask), bias=bool(has_bias), sinks=bool(has_sinks))


def read_extras(inputs, args):
    """The optional inputs by name, given those that are there."""
    following = iter(inputs)
    extras = Extras(*(next(following) if there else None for there in present(**args)))
    assert next(following, None) is None, "more inputs than the arguments name"
    return extras


def before_last(index, shape):
    """What a shape reads for scores of a shape, as it broadcasts to them; exact Python ints.

    It is of leading dims, or a vector of one for each row.
    """
    rows = shape[:-1]
    dims = rows if index.shape == (product(rows),) else index.shape
    return index.astype(object).reshape(dims + (1,) * (len(shape) - len(dims)))


def kept(
    shape,
    extras,
    first_row=0,
    mode="",
    radius=10,
    diagonal=0,
    window_left=-1,
    window_right=-1,
    **_
):
    """Which entries of scores of a shape are kept; rows count from ``first_row``."""
    rank = len(shape)
    i = first_row
    if rank > 1:
        i = i + np.arange(shape[-2]).astype(object)[:, None]
    j = np.arange(shape[-1]).astype(object)
    read = {
        part: before_last(index, shape)
        for (part, _), index in zip(ROW_INPUTS, extras)
        if index is not None
    }
    masked = [
        MASKED[part](i, j, read.get(part), radius, diagonal)
        for part in mode.split("+")
        if part
    ]
    if window_left >= 0:
        masked.append(j < i - window_left)
    if window_right >= 0:
        masked.append(j > i + window_right)
    keep = np.ones(shape, bool) if extras.mask is None else np.broadcast_to(extras.mask, shape)
    for entries in masked:
        keep = keep & ~np.asarray(entries, bool)
    return keep


def first_position(shape, extras, align="top_left"):
    """Where the first query stands among the keys: one number, or one for each length."""
    if align == "top_left":
        return 0
    q_rows, k_rows = shape[-2:]
    if extras.lengths is not None:
        return before_last(np.clip(extras.lengths, 0, k_rows), shape) - q_rows
    return k_rows - q_rows


def attention_kept(q, k, inputs, align="top_left", **args):
    """Which keys each query keeps, [B, H, Lq, Lk] or, without heads, [B, Lq, Lk]."""
    extras = read_extras(inputs, args)
    shape = q.shape[:-1] + k.shape[-2:-1]
    return kept(shape, extras, first_position(shape, extras, align), **args)


def softmax(logits, keep, empty_row="zero", sinks=-np.inf):
    """Probabilities of the kept logits over the last axis, and their log-sum-exp.

    ``sinks``, which broadcast to its rows, are one more logit of each, whose probability is not
    returned.
    """
    shown = np.where(keep, logits, -np.inf)
    top = np.maximum(shown.max(-1, keepdims=True, initial=-np.inf), sinks)
    empty = top == -np.inf
    shift = np.where(empty, 0, top)
    weights = np.exp(shown - shift)
    total = weights.sum(-1, keepdims=True) + np.exp(sinks - shift)
    columns = logits.shape[-1]
    of_empty = {"zero": 0.0, "nan": np.nan, "uniform": 1 / max(columns, 1)}[empty_row]
    probabilities = np.where(empty, of_empty, np.where(keep, weights / total, 0.0))
    return probabilities, np.where(empty, -np.inf, top + np.log(total))[..., 0]


def real(number):
    """A float argument as Caffe2 keeps it."""
    return float(np.float32(number))


def log_softmax(logits, keep, empty_row="zero"):
    """Logarithms of the probabilities, -inf where masked."""
    shown = np.where(keep, logits, -np.inf)
    top = shown.max(-1, keepdims=True, initial=-np.inf)
    empty = top == -np.inf
    less = shown - np.where(empty, 0, top)
    # What is masked stays so beside a NaN.
    logs = np.where(keep, less - np.log(np.exp(less).sum(-1, keepdims=True)), -np.inf)
    columns = max(logits.shape[-1], 1)
    of_empty = {"zero": -np.inf, "nan": np.nan, "uniform": -np.log(columns)}[empty_row]
    return np.where(empty, of_empty, logs)


def masked_softmax(x, *inputs, scale=1.0, empty_row="zero", axis=-1, log=0, **args):
    """MaskedSoftmax: Y and LSE."""
    extras = read_extras(inputs, args)
    logits = real(scale) * x + (0.0 if extras.bias is None else extras.bias)
    keep = kept(x.shape, extras, **args)
    probabilities, lse = softmax(logits, keep, empty_row)
    return [log_softmax(logits, keep, empty_row) if log else probabilities, lse]


def per_query_head(keys, q):
    """K or V with a head for each head of Q; as they are where there are no heads."""
    if q.ndim == 3:
        return keys
    return keys.repeat(q.shape[1] // max(keys.shape[1], 1), axis=1)


def by_head(sinks):
    """One number for each head of Q, of which there is one where Q has no heads."""
    return sinks.reshape(-1, 1, 1)


def scale_of(q, scale=None, **_):
    """A scale that is not given is 1 / sqrt(D)."""
    return q.shape[-1] ** -0.5 if scale is None else real(scale)


def masked_attention(
    q, k, v, *inputs, scale=None, softcap=0.0, align="top_left", empty_row="zero", **args
):
    """MaskedAttention: O and LSE."""
    extras = read_extras(inputs, args)
    keep = attention_kept(q, k, inputs, align, **args)
    scores = scale_of(q, scale) * (q @ per_query_head(k, q).swapaxes(-1, -2))
    if softcap:
        scores = real(softcap) * np.tanh(scores / real(softcap))
    if extras.bias is not None:
        scores = scores + extras.bias
    sinks = -np.inf if extras.sinks is None else by_head(extras.sinks)
    weights, lse = softmax(scores, keep, empty_row, sinks)
    values = per_query_head(v, q)
    output = np.empty(q.shape[:-1] + v.shape[-1:])
    for row in np.ndindex(*q.shape[:-1]):
        # A row that is empty averages all values, any other only those that it keeps.
        some = keep[row] | (lse[row] == -np.inf)
        output[row] = weights[row][some] @ values[row[:-1]][some]
        if lse[row] == -np.inf and empty_row != "uniform":
            # Without keys there are no weights that could be NaN.
            output[row] = np.nan if empty_row == "nan" and k.shape[-2] else 0.0
    return [output, lse]
