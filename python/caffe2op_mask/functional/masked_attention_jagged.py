"""varlen_attention: attention of sequences that lie one behind the other, without padding."""

from typing import Optional, Tuple, Union

from torch import Tensor

from caffe2op_mask.functional import fakes
from caffe2op_mask.functional.attention import check_heads, outputs
from caffe2op_mask.functional.autocast import lower_precision
from caffe2op_mask.functional.registration import Operator, gradient_operator
from caffe2op_mask.functional.scores import Window, sides_of


def varlen_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Optional[Tensor] = None,
    *,
    seqused_k: Optional[Tensor] = None,
    sinks: Optional[Tensor] = None,
    is_causal: bool = False,
    window: Optional[Window] = None,
    align: str = "bottom_right",
    scale: Optional[float] = None,
    softcap: float = 0.0,
    empty_row: str = "zero",
    enable_gqa: bool = False,
    return_lse: bool = False
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """Attention of each sequence to itself, or to one of other keys; no padding is computed.

    Sequences lie one behind the other, as ``boolean_mask`` of a padded batch leaves them.

    Args:
        q: ``[Tq, H, D]``, float16, bfloat16, float32 or float64.
        k: ``[Tk, Hkv, D]``, of the dtype of q.
        v: ``[Tk, Hkv, Dv]``, of the dtype of q.
        cu_seq_q: int32 or int64 ``[N + 1]``: 0, then where the queries of each sequence end.
        cu_seq_k: the same of keys; those of queries where it is absent.
        seqused_k: int32 or int64 ``[N]``: of each sequence only that many keys are there.
        sinks: ``[H]``, of the dtype of q: a logit for each head that is in the denominator of all
            of its rows.
        is_causal: a query sees keys up to its own place.
        window: how many keys are kept on each side of a query's place, or a pair (left, right); -1
            is all.
        align: where query i of a sequence stands among its keys, for ``is_causal`` and ``window``:
            "bottom_right", at i + its keys - its queries, or "top_left", at i.
        scale: ``1 / sqrt(D)`` where it is absent.
        softcap: where it is not 0, scores become ``softcap * tanh(score / softcap)``.
        empty_row: what a row is of which nothing is kept: "zero", "nan", or "uniform", the mean of
            the sequence's v.
        enable_gqa: let H be a multiple of Hkv; head h of q reads head ``h // (H // Hkv)``.
        return_lse: also return the log-sum-exp of each row of scores, -inf where nothing is kept.

    Returns:
        ``[Tq, H, Dv]`` of the dtype of q; with ``return_lse`` also ``[H, Tq]``, in float32, or
        float64 for that. A sequence has the bits that it has by itself.

    q, k and v may be views whose last dim is contiguous, such as parts of ``[T, 3, H, D]``.
    Gradients go to q, k, v and sinks, from both outputs; those of keys that are not there are 0.

    Raises:
        RuntimeError: inputs of shapes or dtypes that do not fit, or on another device; offsets that
            do not begin at 0, decrease, or do not end at the number of rows.
        ValueError: heads that differ without ``enable_gqa``, or a window that is not one.

    Source: ``torch.nn.attention.varlen.varlen_attn``, whose window_size of (-1, 0) is is_causal.
    """
    return attend(
        "varlen_attention",
        (q, k, v),
        (cu_seq_q, cu_seq_k, seqused_k),
        sinks,
        "upper" if is_causal else "",
        0,
        window,
        scale,
        empty_row,
        softcap,
        align,
        enable_gqa,
        return_lse,
    )


def attend(
    who, rows, places, sinks, mode, diagonal, window, scale, empty_row, softcap, align, gqa, lse
):
    """What varlen_attention computes, with any triangle in place of is_causal."""
    q, k, v = rows
    check_heads(who, q, k, 3, gqa)
    q, k, v, sinks = lower_precision(q, k, v, sinks)
    left, right = sides_of(who, window)
    o, of_rows = _operator(
        q,
        k,
        v,
        *places,
        sinks,
        mode,
        diagonal,
        left,
        right,
        scale,
        empty_row,
        softcap,
        align,
        lse,
    )
    return (o, of_rows.transpose(0, 1)) if lse else o


def _fake(q, k, v, *arguments):
    o = q.new_empty([*q.shape[:-1], v.shape[-1]])
    return o, fakes.log_sum_exp(q, arguments[-1])


_INPUTS = ("q", "k", "v", "cu_seq_q", "cu_seq_k", "seqused_k", "sinks")
_OPTIONS = (
    "mode",
    "diagonal",
    "window_left",
    "window_right",
    "scale",
    "empty_row",
    "softcap",
    "align",
)


def _backward(saved, needed, d_o, d_lse):
    arguments = [getattr(saved, name) for name in _INPUTS + _OPTIONS]
    o, lse = outputs(_operator, saved, arguments)
    d_q, d_k, d_v, d_sinks = _gradient(o, lse, d_o, d_lse, *arguments)
    return {"q": d_q, "k": d_k, "v": d_v, "sinks": d_sinks if "sinks" in needed else None}


def _fake_backward(o, lse, d_o, d_lse, q, k, v, *arguments):
    sinks = arguments[3]
    return (
        *(fakes.like(one) for one in (q, k, v)),
        fakes.none(q) if sinks is None else fakes.like(sinks),
    )


_operator = Operator(
    "varlen_attention",
    _fake,
    _backward,
    saves=_INPUTS + ("o", "lse"),
    differentiable=("q", "k", "v", "sinks"),
    reads="return_lse",
)
_gradient = gradient_operator("varlen_attention_backward", _fake_backward)
