"""Layers that attend: softmax and attention over what a mask keeps."""

from caffe2.python import brew

from caffe2op_mask.layers.arguments import blob_list, operator_arguments


def masked_softmax(
    model,
    blob_in,
    blob_out=None,
    lengths=None,
    centers=None,
    mask=None,
    bias=None,
    **arguments
):
    """Softmax over the last axis, of what a mask keeps.

    blob_in    scores, of any rank; float16, bfloat16, float or double
    blob_out   weights, of the shape and type of the scores
    lengths    int32 or int64, of the shape of leading dims: ``j < lengths`` is kept
    centers    the same: ``abs(j - centers) <= radius`` is kept
    mask       bool, broadcast to the scores: True is kept
    bias       of the type of the scores and broadcast to them: added before
    arguments  those of the operator: mode, radius, diagonal, window_left, window_right, scale,
               empty_row

    Lengths and centers add "sequence" and "window" to the mode by themselves. Returns blob_out.

    Raises ValueError for a mode whose lengths or centers are missing, TypeError for an argument
    that the operator does not have. The operator, MaskedSoftmax, checks types and shapes when it
    runs.
    """
    blob_out = blob_out or model.net.NextName()
    extras = _extras("masked_softmax", lengths, centers, mask, bias, arguments)
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
    **arguments
):
    """Attention over what a mask keeps: softmax(scale * Q K^T + bias) V.

    blob_in    [Q, K, V]: ``[B, H, Lq, D]``, ``[B, Hkv, Lk, D]`` and ``[B, Hkv, Lk, Dv]``, with H a
               multiple of Hkv; float16, bfloat16, float or double
    blob_out   ``[B, H, Lq, Dv]``, of the type of Q
    lengths    of keys: int32 or int64, ``[B]``, ``[B, H]`` or ``[B, H, Lq]``
    centers    of windows on the keys: the same
    mask       bool, broadcast to ``[B, H, Lq, Lk]``: True is kept
    bias       of the type of Q, broadcast to ``[B, H, Lq, Lk]``
    arguments  those of the operator: mode, radius, diagonal, window_left, window_right, align,
               scale, softcap, empty_row

    Lengths and centers add "sequence" and "window" to the mode by themselves. The logarithm of each
    row's sum, which gradients need, is the blob ``<blob_out>_lse``. Returns blob_out.

    Raises ValueError for a blob_in that is not three blobs and for a mode whose lengths or centers
    are missing, TypeError for an argument that the operator does not have. The operator,
    MaskedAttention, checks types and shapes when it runs.
    """
    blob_out = blob_out or model.net.NextName()
    blobs_in = blob_list(blob_in)
    if len(blobs_in) != 3:
        raise ValueError(
            "masked_attention: blob_in must be [Q, K, V], but is {} blob{}.".format(
                len(blobs_in), "" if len(blobs_in) == 1 else "s"
            )
        )
    extras = _extras("masked_attention", lengths, centers, mask, bias, arguments)
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
    lengths, centers, mask, bias, arguments
                  as `masked_attention` takes them
    weight_init, bias_init
                  as brew.fc takes them, for all four projections

    Lengths are those of keys: what a query that is padding gives is for the next layer to leave
    out, as `masked_mean` does.

    Parameters are ``<blob_out>_q_w``, ``_q_b``, and so on with k and v; those of the last
    projection are ``<blob_out>_w`` and ``<blob_out>_b``. Heads are the blobs
    ``<blob_out>_queries``, ``[B, num_heads, Lq, head_dim]``, ``_keys`` and ``_values``,
    ``[B, num_kv_heads, Lk, head_dim]``, and ``_attended``, of the shape of the queries. Returns
    blob_out.

    Raises ValueError for dims and numbers of heads that do not divide, and what `masked_attention`
    raises.
    """

    def must_be_positive(**sizes):
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(
                    "multi_head_attention: {} must be positive, but is {}.".format(name, size)
                )

    blob_out = blob_out or model.net.NextName()
    blobs_in = blob_list(blob_in)
    if len(blobs_in) not in (1, 2):
        raise ValueError(
            "multi_head_attention: blob_in must be one blob or [query, key_value], but is {} "
            "blobs.".format(len(blobs_in))
        )
    must_be_positive(dim_in=dim_in, num_heads=num_heads)
    if num_kv_heads is None:
        num_kv_heads = num_heads
    if head_dim is None:
        if dim_in % num_heads:
            raise ValueError(
                "multi_head_attention: dim_in must be a multiple of num_heads where no head_dim is "
                "given, but they are {} and {}.".format(dim_in, num_heads)
            )
        head_dim = dim_in // num_heads
    dim_kv = dim_in if dim_kv is None else dim_kv
    dim_out = dim_in if dim_out is None else dim_out
    must_be_positive(
        num_kv_heads=num_kv_heads, head_dim=head_dim, dim_kv=dim_kv, dim_out=dim_out
    )
    if num_heads % num_kv_heads:
        raise ValueError(
            "multi_head_attention: num_heads must be a multiple of num_kv_heads, but they are {} "
            "and {}.".format(num_heads, num_kv_heads)
        )

    net, query, key_value = model.net, blobs_in[0], blobs_in[-1]
    inits = {"weight_init": weight_init, "bias_init": bias_init}
    inits = {name: init for name, init in inits.items() if init is not None}

    def project(blob, name, dim_from, dim_to):
        return brew.fc(model, blob, name, dim_in=dim_from, dim_out=dim_to, axis=2, **inits)

    def reshape(blob, shape):
        return net.Reshape(blob, [blob, blob + "_old_shape"], shape=shape)[0]

    def heads(blob, suffix, dim_from, count, name):
        """[B, L, dim_from] -> [B, count, L, head_dim]"""
        projected = project(blob, blob_out + suffix, dim_from, count * head_dim)
        # A dim of 0 stays what it is.
        by_place = reshape(projected, [0, 0, count, head_dim])
        return net.Transpose(by_place, blob_out + name, axes=[0, 2, 1, 3])

    qkv = [
        heads(query, "_q", dim_in, num_heads, "_queries"),
        heads(key_value, "_k", dim_kv, num_kv_heads, "_keys"),
        heads(key_value, "_v", dim_kv, num_kv_heads, "_values"),
    ]
    attended = masked_attention(
        model, qkv, blob_out + "_attended", lengths, centers, mask, bias, **arguments
    )
    by_place = net.Transpose(attended, blob_out + "_by_place", axes=[0, 2, 1, 3])
    joined = reshape(by_place, [0, 0, num_heads * head_dim])
    return project(joined, blob_out, num_heads * head_dim, dim_out)


def _extras(layer, lengths, centers, mask, bias, arguments):
    """The optional inputs that there are, in the operator's order; `arguments` comes to tell so."""
    parts = [part for part in arguments.get("mode", "").split("+") if part]
    for part, name, blob in (("sequence", "lengths", lengths), ("window", "centers", centers)):
        if part in parts and blob is None:
            raise ValueError("{}: mode {} needs {}.".format(layer, part, name))
        if part not in parts and blob is not None:
            parts.append(part)
    arguments["mode"] = "+".join(parts)
    arguments["has_mask"] = int(mask is not None)
    arguments["has_bias"] = int(bias is not None)
    return [blob for blob in (lengths, centers, mask, bias) if blob is not None]
