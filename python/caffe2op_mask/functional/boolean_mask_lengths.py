"""boolean_mask_lengths: how much of each segment a mask keeps."""

import torch
from torch import Tensor

from caffe2op_mask.functional.registration import Operator


def boolean_mask_lengths(lengths: Tensor, mask: Tensor) -> Tensor:
    """How many True each segment of ``mask`` has.

    Args:
        lengths: int32 or int64 ``[n]``; they cut a 1-D mask into segments that follow one another.
            Where the mask has two or more dims, its rows are the segments, and this may be any
            tensor with the mask's first dim.
        mask: bool, ``[sum(lengths)]`` or ``[n, ...]``.

    Returns:
        ``[n]``; of the dtype of ``lengths``, and int32 where that is no int64.

    Raises:
        RuntimeError: mask not bool; lengths negative, not 1-D, or not adding up to the mask's size.

    Source: Caffe2's BooleanMaskLengths; NumPy's ``mask.sum(axis=1)``.
    """
    return _operator(lengths, mask)


def _fake(lengths, mask):
    dtype = torch.int64 if lengths.dtype == torch.int64 else torch.int32
    counted = mask if mask.dim() > 1 else lengths
    return lengths.new_empty(counted.shape[:1], dtype=dtype)


_operator = Operator("boolean_mask_lengths", _fake)
