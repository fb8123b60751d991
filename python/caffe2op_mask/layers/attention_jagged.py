"""Layers that attend in sequences that lie one behind the other, without padding."""

from caffe2op_mask.layers.arguments import (
    blob_list,
    given,
    mode_of,
    must_not_be_given,
    operator_arguments,
)
from caffe2op_mask.layers.heads import Heads


def masked_attention_jagged(
    model,
    blob_in,
    blob_out=None,
    lengths=None,
    key_lengths=None,
    used_keys=None,
    sinks=None,
    **arguments
):
    """Attention of sequences that lie one behind the other, without padding, each to its own keys.

    blob_in      [Q, K, V]: ``[Tq, H, D]``, ``[Tk, Hkv, D]`` and ``[Tk, Hkv, Dv]``, with H a
                 multiple of Hkv; float16, bfloat16, float or double
    blob_out     ``[Tq, H, Dv]``, of the type of Q
    lengths      rows of Q of each sequence, and of K and V: int32 or int64, ``[B]``
    key_lengths  those of K and V where they differ: the same
    used_keys    of each sequence the keys that are there, the first so many: the same
    sinks        of the type of Q, ``[H]``: logits of one more key without a value
    arguments    those of the operator: mode, diagonal, window_left, window_right, align, scale,
                 softcap, empty_row

    The logarithm of each row's sum, which gradients need, is the blob ``<blob_out>_lse``. Returns
    blob_out.

    A padded batch becomes such rows by BooleanMask, and they a padded batch by BooleanUnmask, with
    keep bool, ``[B, L]``:

        net.BooleanMask(["x", "keep"], "rows")  # [B, L, ..] -> [T, ..]
        net.BooleanUnmask(["keep", "attended"], "padded", fill_val=0.0)  # and back

    Raises ValueError for a blob_in that is not three blobs and where lengths are missing, TypeError
    for a mode that is no string and an argument that the operator does not have or the layer
    specifies itself. The operator, MaskedAttentionJagged, checks types and shapes when it runs.
    """
    layer = "masked_attention_jagged"
    blob_out = blob_out or model.net.NextName()
    blobs_in = blob_list(layer, blob_in, "[Q, K, V]")
    if lengths is None:
        raise ValueError("{}: lengths must be given.".format(layer))
    mode_of(layer, arguments)
    must_not_be_given(
        layer,
        arguments,
        has_key_lengths="key_lengths",
        has_used_keys="used_keys",
        has_sinks="sinks",
    )
    optional = given(key_lengths=key_lengths, used_keys=used_keys, sinks=sinks)
    arguments.update({"has_" + name: 1 for name in optional})
    arguments = operator_arguments(model, "MaskedAttentionJagged", arguments)
    attended, _ = model.net.MaskedAttentionJagged(
        blobs_in + [lengths] + list(optional.values()), [blob_out, blob_out + "_lse"], **arguments
    )
    return attended


def multi_head_attention_jagged(
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
    key_lengths=None,
    used_keys=None,
    weight_init=None,
    bias_init=None,
    sinks=False,
    **arguments
):
    """`multi_head_attention` of sequences that lie one behind the other: no layer sees padding.

    blob_in       ``[T, dim_in]``, rows that attend to those of their own sequence; or
                  [query, key_value]: ``[Tq, dim_in]``, which attend to ``[Tk, dim_kv]``; float
    blob_out      ``[Tq, dim_out]``
    lengths, key_lengths, used_keys, arguments
                  as `masked_attention_jagged` takes them
    num_heads, num_kv_heads, head_dim, dim_kv, dim_out, sinks, weight_init, bias_init
                  as `multi_head_attention` takes them

    Parameters have the names and shapes that they have there, so that either layer takes those of
    the other. Heads are the blobs ``<blob_out>_queries``, ``[Tq, num_heads, head_dim]``, ``_keys``
    and ``_values``, ``[Tk, num_kv_heads, head_dim]``, and ``_attended``, of the shape of the
    queries. Returns blob_out.

    `masked_attention_jagged` says how a padded batch becomes such rows, and they one. The mean of
    each sequence is Caffe2's LengthsMean of blob_out and lengths.

    Raises ValueError for dims and numbers of heads that are not positive or do not divide,
    TypeError for those that are no integers, and what `masked_attention_jagged` raises.
    """
    layer = "multi_head_attention_jagged"
    heads = Heads(layer, blob_in, dim_in, num_heads, num_kv_heads, head_dim, dim_kv, dim_out)
    if lengths is None:
        raise ValueError("{}: lengths must be given.".format(layer))
    blob_out = blob_out or model.net.NextName()
    qkv = heads.project(model, blob_out, 1, weight_init, bias_init)
    own_sinks = heads.sinks(model, blob_out) if sinks else None
    attended = masked_attention_jagged(
        model, qkv, blob_out + "_attended", lengths, key_lengths, used_keys, own_sinks, **arguments
    )
    return heads.join(model, attended, blob_out, 1, weight_init, bias_init)
