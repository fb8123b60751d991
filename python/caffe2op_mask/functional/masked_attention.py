"""masked_attention: attention over what is kept of its scores."""

from typing import Optional, Tuple, Union

import torch
from torch import Tensor

from caffe2op_mask.functional import fakes, nested
from caffe2op_mask.functional.attention import check_heads, outputs
from caffe2op_mask.functional.autocast import lower_precision
from caffe2op_mask.functional.masked_attention_jagged import attend
from caffe2op_mask.functional.registration import Operator, gradient_operator
from caffe2op_mask.functional.scores import Window, mode_of, sides_of


def masked_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    lengths: Optional[Tensor] = None,
    left_pad: Optional[Tensor] = None,
    centers: Optional[Tensor] = None,
    radius: int = 10,
    mask: Optional[Tensor] = None,
    bias: Optional[Tensor] = None,
    sinks: Optional[Tensor] = None,
    is_causal: bool = False,
    window: Optional[Window] = None,
    align: str = "top_left",
    mode: Optional[str] = None,
    diagonal: int = 0,
    scale: Optional[float] = None,
    softcap: float = 0.0,
    empty_row: str = "zero",
    enable_gqa: bool = False,
    return_lse: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """``softmax(scores) @ v`` over what is kept of ``scores = scale * q @ k^T + bias``.

    The matrix of scores is never stored, and what is not kept is not computed, forward or backward.

    Args:
        q: ``[B, H, Lq, D]``, float16, bfloat16, float32 or float64; or ``[B, Lq, D]``, one head.
        k: ``[B, Hkv, Lk, D]``. v: ``[B, Hkv, Lk, Dv]``.
        lengths: int32 or int64; key j is kept where ``j < lengths[i]``. ``[B]``, ``[B, H]`` or
            ``[B, H, Lq]``, each entry for all rows under it.
        left_pad: the same; key j is kept where ``j >= left_pad[i]``.
        centers: the same; key j is kept where ``abs(j - centers[i]) <= radius``.
        mask: bool, of a shape that broadcasts to ``[B, H, Lq, Lk]``; True keeps.
        bias: of the dtype of q and a shape that broadcasts so; added to the scores.
        sinks: ``[H]``, a logit for each head that is in the denominator of all of its rows.
        is_causal: key j is kept where ``j <= i + diagonal``.
        window: how many keys are kept on each side of a query's own, or a pair (left, right);
            -1 is all.
        align: where query i stands among the keys, for ``is_causal``, ``mode`` and ``window``:
            "top_left", at i, or "bottom_right", at ``i + Lk - Lq``; with lengths, at
            ``i + lengths - Lq``, as in decoding with a cache of keys.
        mode: a triangle of ``sequence_mask`` that is masked beside these.
        scale: ``1 / sqrt(D)`` where it is absent.
        softcap: where it is not 0, scores become ``softcap * tanh(score / softcap)`` before the
            bias.
        empty_row: what a row is of which nothing is kept: "zero", "nan", or "uniform", the mean
            of v.
        enable_gqa: let H be a multiple of Hkv; head h of q reads head ``h // (H // Hkv)`` of k
            and v.
        return_lse: also return the log-sum-exp of each row of scores, -inf where nothing is kept.

    Returns:
        ``[B, H, Lq, Dv]`` of the dtype of q; with ``return_lse`` also ``[B, H, Lq]``, in float32,
        or float64 for that. Without the dim of heads where q has none.

    q, k and v may be views whose last dim is contiguous, such as heads of ``[B, L, H, D]``; the
    result then lies as q does. Gradients go to q, k, v, bias and sinks, from both outputs. They are
    deterministic, whatever the number of threads. Masked entries have no effect, NaN and infinity
    included. Under ``torch.autocast`` q, k, v, bias and sinks are cast as for
    ``scaled_dot_product_attention``.

    q, k and v may be nested tensors of layout ``torch.jagged``, ``[B, H, j, D]`` as
    ``scaled_dot_product_attention`` takes them, or ``[B, j, D]``. Each sequence of q attends to its
    own of k, of which there may be more or fewer rows; the result is nested as q is. They say
    themselves what is padding: lengths, left_pad, centers, mask and bias do not go with them.

    Raises:
        RuntimeError: inputs of shapes or dtypes that do not fit, or on another device.
        ValueError: heads that differ without ``enable_gqa``; nested tensors that do not fit.

    Source: Vaswani et al. 2017; ``torch.nn.functional.scaled_dot_product_attention``.
    """
    if q.is_nested or k.is_nested or v.is_nested:
        nested.check_absent(
            "masked_attention",
            lengths=lengths,
            left_pad=left_pad,
            centers=centers,
            mask=mask,
            bias=bias,
        )
        return _nested(
            (q, k, v),
            sinks,
            mode_of(mode, is_causal, None, None, None),
            diagonal,
            window,
            scale,
            empty_row,
            softcap,
            align,
            enable_gqa,
            return_lse,
        )
    check_heads("masked_attention", q, k, 4, enable_gqa)
    q, k, v, bias, sinks = lower_precision(q, k, v, bias, sinks)
    left, right = sides_of("masked_attention", window)
    o, lse = _operator(
        q,
        k,
        v,
        lengths,
        centers,
        left_pad,
        mask,
        bias,
        sinks,
        mode_of(mode, is_causal, lengths, centers, left_pad),
        radius,
        diagonal,
        left,
        right,
        scale,
        empty_row,
        softcap,
        align,
        return_lse,
    )
    return (o, lse) if return_lse else o


def _nested(tensors, *options):
    """Attention of the sequences of nested tensors, each to its own."""
    dim = 1 if tensors[0].dim() == 3 else 2
    rows, offsets = zip(
        *(nested.cut("masked_attention", name, one, dim) for name, one in zip("qkv", tensors))
    )
    of_q, of_k, of_v = offsets
    if of_v is not of_k and not torch.equal(of_v, of_k):
        raise ValueError(
            "masked_attention: v must have as many rows in each sequence as k, but has not."
        )
    if len(of_q) != len(of_k):
        raise ValueError(
            "masked_attention: k must have as many sequences as q, {}, but has {}.".format(
                len(of_q) - 1, len(of_k) - 1
            )
        )
    if dim == 1:
        rows = [one.unsqueeze(1) for one in rows]
    output = attend("masked_attention", rows, (of_q, of_k, None), *options)
    o, lse = output if options[-1] else (output, None)
    if dim == 1:
        o = o.squeeze(1)
    o = nested.join(o, of_q, dim)
    if lse is None:
        return o
    lse = lse.transpose(0, 1)
    return o, nested.join(lse.squeeze(1) if dim == 1 else lse, of_q, dim)


def _rows_like(like, depth):
    """Rows that lie as those of a tensor do: heads beside one another, or one behind the other."""
    shape = [*like.shape[:-1], depth]
    if like.dim() != 4 or like.stride(1) >= like.stride(2):
        return like.new_empty(shape)
    batch, heads, rows, _ = shape
    return like.new_empty([batch, rows, heads, depth]).transpose(1, 2)


def _fake(q, k, v, *arguments):
    return _rows_like(q, v.shape[-1]), fakes.log_sum_exp(q, arguments[-1])


_SCORES = ("lengths", "centers", "left_pad", "mask", "bias", "sinks")
_OPTIONS = (
    "mode",
    "radius",
    "diagonal",
    "window_left",
    "window_right",
    "scale",
    "empty_row",
    "softcap",
    "align",
)


def _backward(saved, needed, d_o, d_lse):
    arguments = [getattr(saved, name) for name in ("q", "k", "v") + _SCORES + _OPTIONS]
    o, lse = outputs(_operator, saved, arguments)
    d_q, d_k, d_v, d_bias, d_sinks = _gradient(o, lse, d_o, d_lse, *arguments, "bias" in needed)
    return {
        "q": d_q,
        "k": d_k,
        "v": d_v,
        "bias": d_bias if "bias" in needed else None,
        "sinks": d_sinks if "sinks" in needed else None,
    }


def _fake_backward(o, lse, d_o, d_lse, q, k, v, *arguments):
    bias, sinks, want_bias = arguments[4], arguments[5], arguments[-1]
    return (
        *(_rows_like(one, one.shape[-1]) for one in (q, k, v)),
        fakes.like(bias) if want_bias else fakes.none(q),
        fakes.none(q) if sinks is None else fakes.like(sinks),
    )


_operator = Operator(
    "masked_attention",
    _fake,
    _backward,
    saves=("q", "k", "v", "o", "lse") + _SCORES,
    differentiable=("q", "k", "v", "bias", "sinks"),
    reads="return_lse",
)
_gradient = gradient_operator("masked_attention_backward", _fake_backward)
