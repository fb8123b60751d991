"""Layers that attend: softmax and attention over what a mask keeps."""

from caffe2op_mask.layers.arguments import (
    blob_list,
    fc,
    mode_of,
    must_not_be_given,
    operator_arguments,
    parameter,
)
from caffe2op_mask.layers.heads import Heads
from caffe2op_mask.mask_shapes import READS
from caffe2op_mask.sizes import positive_sizes


def masked_softmax(
    model,
    blob_in,
    blob_out=None,
    lengths=None,
    centers=None,
    mask=None,
    bias=None,
    left_pad=None,
    **arguments
):
    """Softmax over the last axis, of what a mask keeps.

    blob_in    scores, of any rank; float16, bfloat16, float or double
    blob_out   weights, of the shape and type of the scores
    lengths    int32 or int64, of the shape of leading dims: ``j < lengths`` is kept
    centers    the same: ``abs(j - centers) <= radius`` is kept
    mask       bool, broadcast to the scores: True is kept
    bias       of the type of the scores and broadcast to them: added before
    left_pad   as lengths: ``j >= left_pad`` is kept
    arguments  those of the operator: mode, radius, diagonal, window_left, window_right, scale,
               empty_row, log

    Lengths, centers and left_pad add "sequence", "window" and "left_pad" to the mode by themselves.
    Returns blob_out.

    Raises ValueError for a mode whose lengths, centers or left_pad are missing, TypeError for a mode
    that is no string and an argument that the operator does not have or the layer specifies itself.
    The operator, MaskedSoftmax, checks types and shapes when it runs.
    """
    blob_out = blob_out or model.net.NextName()
    extras = _extras("masked_softmax", (lengths, centers, left_pad), mask, bias, arguments)
    arguments = operator_arguments(model, "MaskedSoftmax", arguments)
    return model.net.MaskedSoftmax([blob_in] + extras, blob_out, **arguments)


def masked_attention(
    model,
    blob_in,
    blob_out=None,
    lengths=None,
    centers=None,
    mask=None,
    bias=None,
    left_pad=None,
    sinks=None,
    **arguments
):
    """Attention over what a mask keeps: softmax(scale * Q K^T + bias) V.

    blob_in    [Q, K, V]: ``[B, H, Lq, D]``, ``[B, Hkv, Lk, D]`` and ``[B, Hkv, Lk, Dv]``, with H a
               multiple of Hkv, or all three without the dim of heads; float16, bfloat16, float or
               double
    blob_out   ``[B, H, Lq, Dv]`` or ``[B, Lq, Dv]``, of the type of Q
    lengths    where keys end: int32 or int64, ``[B]``, ``[B, H]`` or ``[B, H, Lq]``
    centers    of windows on the keys: the same
    mask       bool, broadcast to ``[B, H, Lq, Lk]``: True is kept
    bias       of the type of Q, broadcast to ``[B, H, Lq, Lk]``
    left_pad   where keys begin, as those of transformers' ``padding_side="left"``: as lengths
    sinks      of the type of Q, ``[H]``, or ``[1]`` without heads: logits of one more key without a
               value
    arguments  those of the operator: mode, radius, diagonal, window_left, window_right, align,
               scale, softcap, empty_row

    Lengths, centers and left_pad add "sequence", "window" and "left_pad" to the mode by themselves.
    The logarithm of each row's sum, which gradients need, is the blob ``<blob_out>_lse``. Returns
    blob_out.

    Raises ValueError for a blob_in that is not three blobs and for a mode whose lengths, centers or
    left_pad are missing, TypeError for a mode that is no string and an argument that the operator
    does not have or the layer specifies itself. The operator, MaskedAttention, checks types and
    shapes when it runs.
    """
    blob_out = blob_out or model.net.NextName()
    blobs_in = blob_list("masked_attention", blob_in, "[Q, K, V]")
    extras = _extras("masked_attention", (lengths, centers, left_pad), mask, bias, arguments)
    must_not_be_given("masked_attention", arguments, has_sinks="sinks")
    if sinks is not None:
        extras.append(sinks)
        arguments["has_sinks"] = 1
    arguments = operator_arguments(model, "MaskedAttention", arguments)
    attended, _ = model.net.MaskedAttention(
        blobs_in + extras, [blob_out, blob_out + "_lse"], **arguments
    )
    return attended


def multi_head_attention(
    model,
    blob_in,
    blob_out,
    dim_in,
    num_heads,
    num_kv_heads=None,
    head_dim=None,
    dim_kv=None,
    dim_out=None,
    lengths=None,
    centers=None,
    mask=None,
    bias=None,
    weight_init=None,
    bias_init=None,
    left_pad=None,
    sinks=False,
    **arguments
):
    """Attention with learned projections of queries, keys, values and of what is attended to.

    blob_in       ``[B, L, dim_in]``, which attends to itself; or [query, key_value]:
                  ``[B, Lq, dim_in]``, which attends to ``[B, Lk, dim_kv]``; float
    blob_out      ``[B, Lq, dim_out]``
    num_heads     heads of the queries
    num_kv_heads  heads of keys and values, each read by as many heads of the queries
                  (default num_heads)
    head_dim      size of a head (default dim_in / num_heads)
    dim_kv        last dim of key_value (default dim_in)
    dim_out       last dim of the result (default dim_in)
    lengths, centers, mask, bias, left_pad, arguments
                  as `masked_attention` takes them
    sinks         learn an attention sink for each head of the queries, which begins as 0
    weight_init, bias_init
                  as brew.fc takes them, for all four projections

    Lengths and left_pad are those of keys: what a query that is padding gives is for the next layer
    to leave out, as `masked_mean` does.

    Parameters are ``<blob_out>_q_w``, ``_q_b``, and so on with k and v; those of the last
    projection are ``<blob_out>_w`` and ``<blob_out>_b``, and sinks are ``<blob_out>_sinks``,
    ``[num_heads]``. Heads are the blobs
    ``<blob_out>_queries``, ``[B, num_heads, Lq, head_dim]``, ``_keys`` and ``_values``,
    ``[B, num_kv_heads, Lk, head_dim]``, and ``_attended``, of the shape of the queries. Returns
    blob_out.

    Raises ValueError for dims and numbers of heads that are not positive or do not divide,
    TypeError for those that are no integers, and what `masked_attention` raises.
    """
    heads = Heads(
        "multi_head_attention", blob_in, dim_in, num_heads, num_kv_heads, head_dim, dim_kv, dim_out
    )
    blob_out = blob_out or model.net.NextName()
    qkv = heads.project(model, blob_out, 2, weight_init, bias_init)
    own_sinks = heads.sinks(model, blob_out) if sinks else None
    attended = masked_attention(
        model, qkv, blob_out + "_attended", lengths, centers, mask, bias, left_pad, own_sinks,
        **arguments
    )
    by_place = model.net.Transpose(attended, blob_out + "_by_place", axes=[0, 2, 1, 3])
    return heads.join(model, by_place, blob_out, 2, weight_init, bias_init)


def adaptive_attention(
    model,
    blob_in,
    blob_out,
    dim_in,
    num_heads,
    num_tasks=None,
    task=None,
    gate_bias_init=None,
    **arguments
):
    """Attention whose queries say how much they attend: ``Y = g * attended + (1 - g) * query``.

    ``g = sigmoid([query, attended] W^T + b)``, one for each query

    blob_in     [query, key_value]: ``[B, Lq, dim_in]``, such as the steps of a decoder, and
                ``[B, Lk, dim_kv]``, what they may look at; or ``[B, L, dim_in]``, which attends to
                itself or, with num_tasks, is attended to by tasks; float
    blob_out    ``[B, Lq, dim_in]``; with num_tasks ``[B, num_tasks, dim_in]``, or with task
                ``[B, 1, dim_in]``
    num_tasks   attend as each of so many tasks does: their queries are learned
    task        int32 or int64, ``[B]``: with num_tasks, the one task of each of the batch, from 0
                to num_tasks - 1; without, all of them attend
    gate_bias_init
                that of the gate, as brew.fc takes it (default zeros: half and half)
    arguments   others of `multi_head_attention`, but for dim_out, which is dim_in

    Blobs are ``<blob_out>_attended_to``, the result of `multi_head_attention`, which has its blobs
    and parameters under that name; ``<blob_out>_gate``, ``[B, Lq, 1]``, near 0 where nothing was
    worth a look; and with num_tasks the parameter ``<blob_out>_tasks``, ``[num_tasks, dim_in]``.
    The gate's parameters are ``<blob_out>_logits_w`` and ``_b``. Returns blob_out.

    Raises ValueError for a task without num_tasks, tasks with queries of the batch, and what
    `multi_head_attention` raises. Operators check shapes, types and tasks when they run.

    Source: Lu, Xiong, Parikh and Socher 2017 (the gate on the decoding step; there a sentinel is
    mixed with what is attended to, here the query itself).
    """
    layer, net = "adaptive_attention", model.net
    blobs = blob_list(layer, blob_in, "one blob", "[query, key_value]")
    blob_out = blob_out or net.NextName()
    query = blobs[0]
    dim_in, num_heads = positive_sizes(layer, dim_in=dim_in, num_heads=num_heads)
    if num_tasks is None and task is not None:
        raise ValueError("{}: a task needs num_tasks.".format(layer))
    if num_tasks is not None:
        if len(blobs) == 2:
            raise ValueError(
                "{}: with num_tasks blob_in must be one blob, but is 2 blobs.".format(layer)
            )
        (num_tasks,) = positive_sizes(layer, num_tasks=num_tasks)
        query = _task_queries(model, blobs[0], blob_out, dim_in, num_tasks, task)
    attended = multi_head_attention(
        model,
        [query, blobs[-1]],
        blob_out + "_attended_to",
        dim_in,
        num_heads,
        dim_out=dim_in,
        **arguments
    )
    both, _ = net.Concat([query, attended], [blob_out + "_both", blob_out + "_split"], axis=2)
    logits = fc(model, both, blob_out + "_logits", 2 * dim_in, 1, bias_init=gate_bias_init)
    net.Sigmoid(logits, blob_out + "_gate")
    return net.Highway([attended, query, logits], blob_out)


def _task_queries(model, blob_in, blob_out, dim_in, num_tasks, task):
    """``[B, num_tasks, dim_in]``, the same queries for all; with task ``[B, 1, dim_in]``."""
    net = model.net
    table = parameter(model, blob_out + "_tasks", [num_tasks, dim_in], "XavierFill")
    if task is not None:
        # A sparse gradient would update a task once for each of its rows.
        own = net.Gather([table, task], blob_out + "_own", dense_gradient=True)
        return net.ExpandDims(own, blob_out + "_query", dims=[1])
    # From a blob of the batch, not from its Shape, by which the runtime would infer nothing.
    zeros = net.ConstantFill(blob_in, blob_out + "_zeros", value=0.0)
    zeros = net.ReduceSum(zeros, blob_out + "_rows", axes=[1, 2], keepdims=1)
    zeros = net.StopGradient(zeros, zeros)
    return net.Add([zeros, net.ExpandDims(table, blob_out + "_row", dims=[0])], blob_out + "_query")


def _extras(layer, of_rows, mask, bias, arguments):
    """The optional inputs that there are, in the operator's order; `arguments` comes to say so."""
    must_not_be_given(layer, arguments, has_mask="mask", has_bias="bias")
    parts = [part for part in mode_of(layer, arguments).split("+") if part]
    for (name, part), blob in zip(READS, of_rows):
        if part in parts and blob is None:
            raise ValueError("{}: mode {} needs {}.".format(layer, part, name))
        if part not in parts and blob is not None:
            parts.append(part)
    arguments["mode"] = "+".join(parts)
    arguments["has_mask"] = int(mask is not None)
    arguments["has_bias"] = int(bias is not None)
    return [blob for blob in of_rows + (mask, bias) if blob is not None]
