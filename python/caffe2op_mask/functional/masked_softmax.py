"""masked_softmax: a softmax over what is kept of each row."""

from typing import Optional, Tuple, Union

from torch import Tensor

from caffe2op_mask.functional import fakes
from caffe2op_mask.functional.autocast import one_type
from caffe2op_mask.functional.registration import Operator, gradient_operator
from caffe2op_mask.functional.scores import Window, mode_of, sides_of


def masked_softmax(
    x: Tensor,
    *,
    lengths: Optional[Tensor] = None,
    left_pad: Optional[Tensor] = None,
    centers: Optional[Tensor] = None,
    radius: int = 10,
    mask: Optional[Tensor] = None,
    bias: Optional[Tensor] = None,
    is_causal: bool = False,
    window: Optional[Window] = None,
    mode: Optional[str] = None,
    diagonal: int = 0,
    scale: Optional[float] = None,
    empty_row: str = "zero",
    log: bool = False,
    return_lse: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """The softmax of ``scale * x + bias`` over what is kept of each row; the rest is 0.

    Args:
        x: ``[..., L]``, float16, bfloat16, float32 or float64. Rows stand at their index in the dim
            before the last.
        lengths: int32 or int64; entry j is kept where ``j < lengths[i]``. Of the shape of leading
            dims of x, each entry for all rows under it.
        left_pad: the same; entry j is kept where ``j >= left_pad[i]``.
        centers: the same; entry j is kept where ``abs(j - centers[i]) <= radius``.
        mask: bool, of a shape that broadcasts to x; True keeps.
        bias: of the dtype of x and a shape that broadcasts to x; it is added and has a gradient.
        is_causal: entry j is kept where ``j <= i + diagonal``.
        window: how many columns are kept on each side of a row's own, or a pair (left, right);
            -1 is all.
        mode: a triangle of ``sequence_mask`` that is masked beside these.
        scale: a factor, 1 where it is absent.
        empty_row: what a row is of which nothing is kept: "zero", "nan", or "uniform" (all alike).
        log: return the logarithm of the softmax; what is masked is -inf.
        return_lse: also return the log-sum-exp of each row, -inf where nothing is kept.

    Returns:
        A tensor like x; with ``return_lse`` also ``x.shape[:-1]``, in float32, or float64 for that.

    Masked entries of x, bias and mask have no effect, NaN and infinity included. 16-bit types are
    computed in float32. Under ``torch.autocast`` x and bias of two types are cast to the wider one.

    Raises:
        RuntimeError: inputs of shapes or dtypes that do not fit.

    Source: ``torch.softmax(x.masked_fill(~mask, -inf), -1)``, without its NaN in empty rows.
    """
    x, bias = one_type(x, bias)
    left, right = sides_of("masked_softmax", window)
    y, lse = _operator(
        x,
        lengths,
        centers,
        left_pad,
        mask,
        bias,
        mode_of(mode, is_causal, lengths, centers, left_pad),
        radius,
        diagonal,
        left,
        right,
        scale,
        empty_row,
        log,
        return_lse,
    )
    return (y, lse) if return_lse else y


def _fake(x, *arguments):
    return fakes.like(x), fakes.log_sum_exp(x, arguments[-1])


def _backward(saved, needed, d_y, d_lse):
    d_x, d_bias = _gradient(
        saved.y,
        d_y,
        d_lse,
        saved.x,
        saved.lengths,
        saved.centers,
        saved.left_pad,
        saved.mask,
        saved.bias,
        saved.mode,
        saved.radius,
        saved.diagonal,
        saved.window_left,
        saved.window_right,
        saved.scale,
        saved.empty_row,
        saved.log,
        "bias" in needed,
    )
    return {"x": d_x, "bias": d_bias if "bias" in needed else None}


def _fake_backward(y, d_y, d_lse, x, *arguments):
    bias, want_bias = arguments[4], arguments[-1]
    d_bias = fakes.like(bias) if want_bias else fakes.none(y)
    return fakes.like(y), d_bias


_operator = Operator(
    "masked_softmax",
    _fake,
    _backward,
    saves=("y", "lengths", "centers", "left_pad", "mask", "bias", "x"),
    differentiable=("x", "bias"),
    # Empty rows that are not zeros are recognised by x.
    unless=("x", "empty_row", "zero"),
)
_gradient = gradient_operator("masked_softmax_backward", _fake_backward)
