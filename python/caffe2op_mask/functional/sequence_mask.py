"""sequence_mask: fills what a shape, or a mask, does not keep."""

from typing import Optional

from torch import Tensor

from caffe2op_mask.functional import fakes
from caffe2op_mask.functional.registration import Operator


def sequence_mask(
    data: Tensor,
    mode: str = "sequence",
    *,
    lengths: Optional[Tensor] = None,
    centers: Optional[Tensor] = None,
    left_pad: Optional[Tensor] = None,
    mask: Optional[Tensor] = None,
    axis: int = 1,
    batch: Optional[int] = None,
    repeat_from_axis: Optional[int] = None,
    radius: int = 10,
    diagonal: int = 0,
    lengths_of: str = "rows",
    fill_val: Optional[float] = None,
) -> Tensor:
    """``data`` with ``fill_val`` in the entries that ``mode`` masks.

    Entry j of row i, counted along the dims from ``axis`` on, is kept where

    ========== =============================== ==================
    mode       keeps                           reads
    ========== =============================== ==================
    sequence   ``j < lengths[i]``              lengths
    window     ``abs(j - centers[i]) <= radius`` centers
    left_pad   ``j >= left_pad[i]``            left_pad
    upper      ``j <= i + diagonal`` (causal)
    lower      ``j >= i + diagonal``
    upperdiag  ``j < i + diagonal``
    lowerdiag  ``j > i + diagonal``
    mask       the mask is True                mask
    ========== =============================== ==================

    Modes but "mask" can be joined with "+": what any of them masks is masked.

    Args:
        data: of any number type or bool.
        mode: one of these, or several.
        lengths, centers, left_pad: int32 or int64, an entry for each row, or as ``lengths_of``
            says.
        mask: bool, broadcast over the leading dims of data.
        axis: where the masked dims begin; all dims before are rows.
        batch: the dim whose rows begin anew, as in Caffe2.
        repeat_from_axis: dims from here on are masked alike.
        radius: of mode window.
        diagonal: of the triangles, as NumPy's k.
        lengths_of: "rows", or "batch" for an entry for each of the first dim.
        fill_val: -inf where it is absent, 0 with mode "mask"; must be a value of data's dtype.

    Returns:
        A tensor of data's shape and dtype. The gradient of ``data`` is 0 in what is masked.

    Raises:
        RuntimeError: an unknown mode, an input that the mode reads and is absent, shapes that do
            not fit, or a fill_val that the dtype cannot hold.

    Source: Caffe2's SequenceMask, of which joined modes, left_pad and mask are extensions.
    """
    return _operator(
        data,
        mode,
        lengths,
        centers,
        left_pad,
        mask,
        axis,
        batch,
        repeat_from_axis,
        radius,
        diagonal,
        lengths_of,
        fill_val,
        False,
    )


def _fake(data, *arguments, **options):
    return fakes.like(data)


def _backward(saved, needed, d_masked):
    d_data = _operator(
        d_masked,
        saved.mode,
        saved.lengths,
        saved.centers,
        saved.left_pad,
        saved.mask,
        saved.axis,
        saved.batch,
        saved.repeat_from_axis,
        saved.radius,
        saved.diagonal,
        saved.lengths_of,
        None,
        True,
    )
    return {"data": d_data}


_operator = Operator(
    "sequence_mask",
    _fake,
    _backward,
    saves=("lengths", "centers", "left_pad", "mask"),
    differentiable=("data",),
)
