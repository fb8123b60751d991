"""Masked softmax and masked attention in double: the oracle, and what the tests of both share.

Results are plain NumPy, gradients torch's autograd. What is not kept is replaced before it enters a
sum or a product, so that a NaN of it shows nowhere, forward or backward.
"""

from collections import namedtuple
from contextlib import contextmanager

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from caffe2.python import core, workspace

import reference
from op_tester import Case, create

# Every type of the contract; torch feeds bfloat16, which NumPy does not have.
REALS = ("float16", "bfloat16", "float32", "float64")
EMPTY_ROWS = ("zero", "nan", "uniform")
PARTS = sorted(reference.MASKED)

ROW_INPUTS = reference.ROW_INPUTS
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


def make_case(first, args=None, outputs=1, in_place=None, **extras):
    """A Case of the inputs that are always there, the arguments, and optional inputs by name."""
    extras = Extras(**extras)
    args = dict(args or {})
    for name in ("mask", "bias", "sinks"):
        if getattr(extras, name) is not None:
            args["has_" + name] = 1
    inputs = list(first) + [extra for extra in extras if extra is not None]
    return Case(inputs, args, outputs, in_place)


def before_last(index, shape):
    """What a shape reads for scores of a shape, as it broadcasts to them; exact Python ints.

    It is of leading dims, or a vector of one for each row.
    """
    rows = shape[:-1]
    dims = rows if index.shape == (reference.product(rows),) else index.shape
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
        reference.MASKED[part](i, j, read.get(part), radius, diagonal)
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
    return keys.repeat(q.shape[1] // keys.shape[1], axis=1)


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


def _shown(keep, tensor):
    return torch.where(keep, tensor, torch.zeros((), dtype=tensor.dtype))


def _torch_softmax(logits, keep):
    """torch's masked_fill and softmax, 0 where masked and in empty rows, and what is in neither."""
    shown = logits.masked_fill(~keep, -np.inf)
    alive = (shown != -np.inf).any(-1, keepdim=True)
    counts = keep & alive
    return _shown(counts, torch.softmax(_shown(alive, shown), -1)), counts


def _torch_lse(logits, keep, alive):
    """Of an empty row it is constant here, as no gradient goes from -inf."""
    return torch.logsumexp(_shown(alive, logits.masked_fill(~keep, -np.inf)), -1)


def _torch_attention(q, k, v, bias, sinks, keep, scale, softcap, empty_row):
    """One product for each pair of a query and a key, as what one keeps another may mask.

    Sinks are a key more, which is kept everywhere.
    """
    if q.dim() == 4:
        groups = q.shape[1] // max(k.shape[1], 1)
        k, v = (keys.repeat_interleave(groups, 1) for keys in (k, v))
    pair = keep[..., None]
    keys = _shown(pair, k[..., None, :, :])
    scores = scale * (_shown(pair, q[..., None, :]) * keys).sum(-1)
    if softcap:
        scores = real(softcap) * torch.tanh(scores / real(softcap))
    logits = scores if bias is None else scores + _shown(keep, bias)
    if sinks is not None:
        column = by_head(sinks).expand(logits.shape[:-1] + (1,))
        logits = torch.cat([logits, column], -1)
        keep = torch.cat([keep, torch.ones_like(column, dtype=torch.bool)], -1)
    weights, counts = _torch_softmax(logits, keep)
    alive = counts.any(-1, keepdim=True)
    lse = _torch_lse(logits, keep, alive)
    weights, counts = (of_keys[..., : k.shape[-2]] for of_keys in (weights, counts))
    values = _shown(counts[..., None], v[..., None, :, :])
    output = (weights[..., None] * values).sum(-2)
    if empty_row == "uniform":
        output = torch.where(alive, output, v.mean(-2, keepdim=True))
    return output, lse


def _leaf(array):
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def _backward(outputs, d_outputs, leaves):
    """A dict from input number to gradient; outputs whose gradient is None have none."""
    pairs = [(out, torch.tensor(d)) for out, d in zip(outputs, d_outputs) if d is not None]
    torch.autograd.backward(*zip(*pairs))
    return {
        i: (torch.zeros_like(leaf) if leaf.grad is None else leaf.grad).numpy()
        for i, leaf in leaves.items()
    }


def masked_softmax_gradient(
    d_output, x, *inputs, scale=1.0, empty_row="zero", axis=-1, log=0, d_lse=None, **args
):
    """Gradients of MaskedSoftmax by the number of the input, from those of Y, LSE or both."""
    extras = read_extras(inputs, args)
    keep = torch.tensor(kept(x.shape, extras, **args))
    leaves = {0: _leaf(x)}
    logits = real(scale) * _shown(keep, leaves[0])
    if extras.bias is not None:
        leaves[len(inputs)] = _leaf(extras.bias)
        logits = logits + _shown(keep, leaves[len(inputs)])
    output, counts = _torch_softmax(logits, keep)
    alive = counts.any(-1, keepdim=True)
    if log:
        shown = _shown(alive, logits.masked_fill(~keep, -np.inf))
        output = _shown(counts, torch.log_softmax(shown, -1))
    return _backward([output, _torch_lse(logits, keep, alive)], [d_output, d_lse], leaves)


def masked_attention_gradient(
    d_output, q, k, v, *inputs, scale=None, softcap=0.0, align="top_left", empty_row="zero",
    d_lse=None, **args
):
    """Gradients of MaskedAttention by the number of the input, from those of O, LSE or both."""
    extras = read_extras(inputs, args)
    keep = torch.tensor(attention_kept(q, k, inputs, align, **args))
    leaves = {i: _leaf(array) for i, array in enumerate((q, k, v))}
    bias, sinks = None, None
    if extras.bias is not None:
        behind = 0 if extras.sinks is None else 1
        bias = leaves[2 + len(inputs) - behind] = _leaf(extras.bias)
    if extras.sinks is not None:
        sinks = leaves[2 + len(inputs)] = _leaf(extras.sinks)
    outputs = _torch_attention(
        leaves[0], leaves[1], leaves[2], bias, sinks, keep, scale_of(q, scale), softcap, empty_row
    )
    return _backward(outputs, [d_output, d_lse], leaves)


REFERENCES = {
    "MaskedSoftmax": (masked_softmax, masked_softmax_gradient),
    "MaskedAttention": (masked_attention, masked_attention_gradient),
}


def as_type(array, dtype):
    """An input as a tensor of its own; real numbers become ``dtype``."""
    tensor = torch.tensor(np.array(array, order="C"))
    return tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor


def wide_type(dtype):
    """The type computed in, which is that of LSE."""
    return "float64" if dtype == "float64" else "float32"


def as_double(tensor):
    """A tensor's numbers as an array, in double where they are real."""
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy().copy()


def run(op_type, case, dtype="float32"):
    """The outputs of a case with real inputs of a type, as tensors."""
    op = create(op_type, case)
    for name, array in zip(op.input, case.inputs):
        workspace.FeedBlob(name, as_type(array, dtype))
    workspace.RunOperatorOnce(op)
    return [workspace.FetchTorch(name).clone() for name in op.output]


def run_gradients(op_type, case, d_outputs, dtype="float32"):
    """Runs a case and its gradient from those of its outputs, of which some may be None: a dict from
    input number to a tensor. Outputs behind the first are of the type that is computed in."""
    run(op_type, case, dtype)
    op = create(op_type, case)
    names = [None if d is None else "d_output_{}".format(i) for i, d in enumerate(d_outputs)]
    for name, d, of in zip(names, d_outputs, [dtype] + [wide_type(dtype)] * len(names)):
        if name:
            workspace.FeedBlob(name, as_type(d, of))
    grad_ops, grads = core.GradientRegistry.GetGradientForOp(op, names)
    workspace.RunOperatorsOnce(grad_ops)
    return {i: workspace.FetchTorch(grad).clone() for i, grad in enumerate(grads) if grad}


def run_gradient(op_type, case, d_output, dtype="float32"):
    """The same from the gradient of the first output alone."""
    return run_gradients(op_type, case, [d_output] + [None] * (case.outputs - 1), dtype)


@contextmanager
def threads(count):
    """A number of threads for the operators that run inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """For modules that import it: tensors are small, and several threads would wait for each other.

    What more threads do is tested on larger ones.
    """
    with threads(1):
        yield


def expected(op_type, case, dtype="float32"):
    """What the oracle makes of a case whose real inputs were rounded to a type."""
    inputs = [as_double(as_type(array, dtype)) for array in case.inputs]
    return REFERENCES[op_type][0](*inputs, **case.args)


def expected_gradient(op_type, case, d_output, dtype="float32"):
    """The oracle's gradients by input number."""
    inputs = [as_double(as_type(array, dtype)) for array in [d_output] + list(case.inputs)]
    return REFERENCES[op_type][1](*inputs, **case.args)


def assert_close(actual, wanted, dtype="float32", ulps=64, terms=1.0):
    """NaN and infinities where wanted; else within roundings of the largest, in the type that sums.

    Results are sums of terms of about 1, which may cancel, or of ``terms``. 16-bit types are summed
    in float32 and rounded once more, into the result.
    """
    info = torch.finfo(getattr(torch, dtype))
    sums = torch.finfo(torch.float64 if dtype == "float64" else torch.float32)
    actual = as_double(actual)
    assert actual.shape == wanted.shape
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(actual[~finite], wanted[~finite])
    largest = np.abs(wanted[finite]).max(initial=terms)
    atol = ulps * sums.eps * largest + (info.tiny * info.eps if info.bits == 16 else 0.0)
    np.testing.assert_allclose(
        actual, wanted, atol=atol, rtol=0.0 if sums.bits == info.bits else 0.51 * info.eps
    )


def check(op_type, case, dtype="float32", ulps=64):
    """Outputs of their types that are the oracle's."""
    outputs = run(op_type, case, dtype)
    assert outputs[0].dtype == getattr(torch, dtype)
    for lse in outputs[1:]:
        assert lse.dtype == getattr(torch, wide_type(dtype))
    types = [dtype, wide_type(dtype)]
    for actual, wanted, of_type in zip(outputs, expected(op_type, case, dtype), types):
        assert_close(actual, wanted, of_type, ulps, 0.0 if op_type == "MaskedSoftmax" else 1.0)


def check_gradient(op_type, case, d_output, dtype="float32", ulps=64):
    """Gradients of every differentiable input that are the oracle's.

    What is of 16 bits starts from results that were rounded, which costs more than one rounding.
    """
    grads = run_gradient(op_type, case, d_output, dtype)
    wanted = expected_gradient(op_type, case, d_output, dtype)
    assert sorted(grads) == sorted(wanted)
    info = torch.finfo(getattr(torch, dtype))
    for i, actual in grads.items():
        assert actual.dtype == getattr(torch, dtype)
        if info.bits > 16:
            assert_close(actual, wanted[i], dtype, ulps)
            continue
        finite = np.isfinite(wanted[i])
        largest = np.abs(wanted[i][finite]).max(initial=1.0)
        atol = 4 * info.eps * largest
        np.testing.assert_allclose(as_double(actual), wanted[i], rtol=0, atol=atol)


def check_both(op_type, case, dtype="float32", ulps=64):
    """Results and gradients; the gradient of the output is a wave that no symmetry cancels."""
    check(op_type, case, dtype, ulps)
    output = expected(op_type, case, dtype)[0]
    check_gradient(op_type, case, wave(output.shape), dtype, ulps)


def wave(shape, step=0.7):
    """Numbers of [-1, 1] that hardly repeat."""
    return np.sin(step * np.arange(1, reference.product(shape) + 1)).reshape(shape)


def ulps_off(actual, exact):
    """How far a float32 array is from the double one, in spaces between float32 numbers."""
    return np.abs(actual.astype("float64") - exact) / np.spacing(np.abs(exact).astype("float32"))


def used(keep, shape):
    """Which entries of a tensor of a shape that broadcasts to ``keep``'s a kept entry reads."""
    keep = keep.any(axis=tuple(range(keep.ndim - len(shape))))
    return keep.any(axis=tuple(d for d, size in enumerate(shape) if size == 1), keepdims=True)


def poisoned(array, used_entries, poison):
    """The array with ``poison`` wherever nobody should look."""
    return np.where(used_entries, array, poison)


def assert_refused(op_type, case, message):
    """The operator throws one sentence that names it, and leaves its outputs alone."""
    op = create(op_type, case)
    for name, array in zip(op.input, case.inputs):
        workspace.FeedBlob(name, array)
    before = np.array([4.0, 2.0])
    for name in op.output:
        workspace.FeedBlob(name, before)
    with pytest.raises(RuntimeError, match=r"\b{}: [^\n]*{}".format(op_type, message)):
        workspace.RunOperatorOnce(op)
    for name in op.output:
        np.testing.assert_array_equal(workspace.FetchBlob(name), before)


def score_errors(first, names, scores):
    """What both operators refuse, as (inputs, args, message), for scores of shape [2, 4, 5, 7].

    ``first`` are the inputs that are always there, ``names`` theirs, and ``scores`` what messages
    call the scores.
    """

    def refused(message, *extras, **args):
        return list(first) + list(extras), args, message

    def ints(*shape):
        return np.ones(shape, "int32")

    takes = "it takes {} inputs? \\({}{}\\), but there (is|are) {}"
    count = len(first)
    of_scores = "of {}, \\[2, 4, 5, 7\\], ".format(scores)
    came = "but is of shape \\[{}\\]"
    index = "{} must have the shape of leading dims " + of_scores + "before its last, "
    index = (index + "or one entry for each of its 40 rows, " + came).format
    broadcast = ("{} must be of a shape that broadcasts to that " + of_scores + came).format
    return [
        # How many inputs there are.
        refused(takes.format(count + 1, names, ", lengths", count), mode="sequence"),
        refused(takes.format(count + 1, names, ", centers", count), mode="window+upper"),
        refused(takes.format(count + 2, names, ", lengths, centers", count + 1), ints(2),
                mode="window+sequence"),
        refused(takes.format(count + 1, names, ", left_pad", count), mode="left_pad"),
        refused(takes.format(count + 3, names, ", lengths, centers, left_pad", count + 2), ints(2),
                ints(2), mode="left_pad+window+sequence"),
        refused(takes.format(count + 1, names, ", mask", count), has_mask=1),
        refused(takes.format(count + 2, names, ", mask, bias", count + 1), np.ones(7, "f"),
                has_bias=1, has_mask=1),
        refused(takes.format(count, names, "", count + 1), ints(2)),
        refused(takes.format(count, names, "", count + 1), ints(2), mode="upper"),
        refused(takes.format(count + 1, names, ", lengths", count + 2), ints(2), ints(2),
                mode="sequence"),
        # Lengths, centers and left padding.
        refused("lengths must be of type int32 or int64, but is float32", np.ones(2, "f"),
                mode="sequence"),
        refused("centers must be of type int32 or int64, but is uint8", np.ones(2, "uint8"),
                mode="window"),
        refused("left_pad must be of type int32 or int64, but is float64", np.ones(2),
                mode="left_pad"),
        refused("lengths must be of type int32 or int64, but is string",
                np.array([b"a"] * 2, object), mode="sequence"),
        refused(index("lengths", "3"), ints(3), mode="sequence"),
        refused(index("lengths", "1"), ints(1), mode="sequence"),
        refused(index("lengths", "8"), ints(8), mode="sequence"),
        refused(index("lengths", "2, 1"), ints(2, 1), mode="sequence"),
        refused(index("lengths", "2, 4, 7"), ints(2, 4, 7), mode="sequence"),
        refused(index("lengths", "2, 4, 5, 7"), ints(2, 4, 5, 7), mode="sequence"),
        refused(index("lengths", "2, 4, 5, 7, 1"), ints(2, 4, 5, 7, 1), mode="sequence"),
        refused(index("centers", "5"), ints(2), ints(5), mode="sequence+window"),
        refused(index("left_pad", "7"), ints(2), ints(7), mode="sequence+left_pad"),
        refused(index("left_pad", "2, 5"), ints(2, 5), mode="upper+left_pad"),
        # Mask and bias.
        refused("mask must be of type bool, but is uint8", np.ones(7, "uint8"), has_mask=1),
        refused("mask must be of type bool, but is float32", np.ones(7, "f"), has_mask=1),
        refused(broadcast("mask", "5"), np.ones(5, bool), has_mask=1),
        refused(broadcast("mask", "2, 1, 7"), np.ones((2, 1, 7), bool), has_mask=1),
        refused(broadcast("mask", "0"), np.ones(0, bool), has_mask=1),
        refused(broadcast("mask", "1, 1, 1, 1, 7"), np.ones((1, 1, 1, 1, 7), bool),
                has_mask=1),
        refused(broadcast("bias", "2, 4, 5"), np.ones((2, 4, 5), "f"), has_bias=1),
        refused(broadcast("bias", "1, 1, 1, 1, 1"), np.ones((1,) * 5, "f"), has_bias=1),
        refused("bias must be of the type of the other inputs, float32, but is float64", np.ones(7),
                has_bias=1),
        refused("bias must be of the type of the other inputs, float32, but is bool",
                np.ones(7, bool), has_bias=1),
        # Arguments.
        refused("argument mode must be empty, or shapes of sequence, window, left_pad, upper "
                "\\(causal\\), lower, upperdiag, lowerdiag joined by '\\+', but is 'triangle'",
                mode="triangle"),
        refused("argument mode must be empty, or shapes of .*, but is 'leftpad'", mode="leftpad"),
        refused("argument mode must be empty, or shapes of .*, but is 'upper\\+'", mode="upper+"),
        refused("argument mode must be empty, or shapes of .*, but is 'mask'", np.ones(7, bool),
                mode="mask"),
        refused("argument mode must be a string, but is the integer 1", mode=1),
        refused("argument radius must not be negative, but is -1", ints(2), mode="window",
                radius=-1),
        refused("argument radius must be an integer, but is the number 0.5", ints(2), mode="window",
                radius=0.5),
        refused("argument diagonal must be an integer, but is the string 'k'", mode="upper",
                diagonal="k"),
        refused("argument window_left must be -1 \\(open\\) or more, but is -2", window_left=-2),
        refused("argument window_right must be -1 \\(open\\) or more, but is -9", window_right=-9),
        refused("argument window_left must be an integer, but is the number 1.5", window_left=1.5),
        refused("argument empty_row must be zero, nan or uniform, but is 'one'", empty_row="one"),
        refused("argument empty_row must be zero, nan or uniform, but is ''", empty_row=""),
        refused("argument empty_row must be a string, but is the integer 0", empty_row=0),
        refused("argument scale must be a number, but is the string 'half'", scale="half"),
        refused("argument scale must be a finite number, but is inf", scale=np.inf),
        refused("argument scale must be a finite number, but is -inf", scale=-np.inf),
        refused("argument scale must be a finite number, but is nan", scale=np.nan),
        refused("argument has_mask must be 0 or 1, but is 2", has_mask=2),
        refused("argument has_bias must be 0 or 1, but is -1", has_bias=-1),
    ]


def drawn(elements, shape):
    """Arrays of a shape of drawn numbers."""
    count = reference.product(shape)
    return st.lists(elements, min_size=count, max_size=count).map(
        lambda numbers: np.array(numbers, "float64").reshape(shape)
    )


def quarters(limit=4):
    """Numbers that every type holds, and their products nearly so."""
    return st.integers(-4 * limit, 4 * limit).map(lambda n: n / 4)


@st.composite
def broadcast_shapes(draw, shape):
    """Shapes that broadcast to a shape."""
    rank = draw(st.integers(0, len(shape)))
    return tuple(draw(st.sampled_from([size, 1])) for size in shape[len(shape) - rank :])


@st.composite
def mask_options(draw, shape, min_prefix=0):
    """What masks scores of a shape: arguments and optional inputs by name."""
    columns = shape[-1]
    parts = draw(st.lists(st.sampled_from(PARTS), max_size=3, unique=True))
    args, extras = {"mode": "+".join(parts)}, {}
    for part, name in ROW_INPUTS:
        if part in parts:
            prefix = shape[: draw(st.integers(min_prefix, max(min_prefix, len(shape) - 1)))]
            entries = draw(drawn(st.integers(-2, columns + 2), prefix))
            if len(prefix) == len(shape) - 1 and draw(st.booleans()):
                entries = entries.ravel()  # one for each row
            extras[name] = entries.astype(draw(st.sampled_from(["int32", "int64"])))
    for name, numbers in (
        ("radius", st.integers(0, 3) | st.just(2 ** 63 - 1)),
        ("diagonal", st.integers(-3, 3) | st.sampled_from([-(2 ** 63), 2 ** 63 - 1])),
        ("window_left", st.integers(-1, 3) | st.just(2 ** 63 - 1)),
        ("window_right", st.integers(-1, 3) | st.just(2 ** 63 - 1)),
        ("empty_row", st.sampled_from(EMPTY_ROWS)),
    ):
        if draw(st.booleans()):
            args[name] = draw(numbers)
    if draw(st.booleans()):
        extras["mask"] = draw(drawn(st.booleans(), draw(broadcast_shapes(shape)))) != 0
    if draw(st.booleans()):
        entries = quarters() | quarters() | st.just(-np.inf)
        extras["bias"] = draw(drawn(entries, draw(broadcast_shapes(shape))))
    return args, extras
