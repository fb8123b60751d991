"""boolean_mask_jagged: a ragged tensor stays ragged under a mask."""

from typing import Tuple

import torch
from torch import Tensor

from caffe2op_mask.functional.boolean_mask import _gradient
from caffe2op_mask.functional.registration import Operator


def boolean_mask_jagged(values: Tensor, lengths: Tensor, mask: Tensor) -> Tuple[Tensor, Tensor]:
    """The rows of a ragged tensor that ``mask`` keeps, and the lengths that they then have.

    Args:
        values: ``[sum(lengths), ...]``, numbers or bool: segments that follow one another.
        lengths: int32 or int64 ``[n]``.
        mask: bool ``[sum(lengths)]``.

    Returns:
        ``[kept, ...]`` of the dtype of ``values``, and ``[n]`` of the dtype of ``lengths``.

    Raises:
        RuntimeError: mask not bool or not of an entry for each row; lengths negative, not 1-D, or
            not adding up to the rows.

    Source: FBGEMM's ``masked_select_jagged_1d``, for rows of any shape.
    """
    return _operator(values, lengths, mask)


def _fake(values, lengths, mask):
    kept = torch.library.get_ctx().new_dynamic_size()
    return values.new_empty([kept, *values.shape[1:]]), lengths.new_empty(lengths.shape)


def _backward(saved, needed, d_masked, _):
    return {"values": _gradient(saved.mask, d_masked, False)}


_operator = Operator(
    "boolean_mask_jagged", _fake, _backward, saves=("mask",), differentiable=("values",)
)
