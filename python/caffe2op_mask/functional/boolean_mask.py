"""boolean_mask: the rows of a tensor that a mask keeps."""

from typing import Optional, Tuple, Union

import torch
from torch import Tensor

from caffe2op_mask.functional import fakes, nested
from caffe2op_mask.functional.registration import Operator, gradient_operator


def boolean_mask(
    data: Tensor, mask: Tensor, *, return_indices: bool = False
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """The rows of ``data`` that ``mask`` keeps, in their order: ``data[mask]``.

    Args:
        data: ``[*mask.shape, ...]``, of any dtype.
        mask: bool; its dims are the first ones of ``data``. True keeps a row, the dims behind.
        return_indices: also return where the rows were.

    Returns:
        ``[kept, ...]``; with ``return_indices`` also int64 ``[kept]``, positions in
        ``mask.flatten()``.

    Both may be nested tensors of layout ``torch.jagged``, ``[B, j, ...]`` and ``[B, j]``: the
    result then is nested, and its sequences are what is kept of those of ``data``.

    The gradient of ``data`` has the gradient's rows where the mask is True, and 0 elsewhere.

    Raises:
        RuntimeError: mask not bool, or its dims not the first ones of data.
        ValueError: nested tensors that do not fit, or ``return_indices`` with them.

    Source: Caffe2's BooleanMask; NumPy's ``data[mask]``.
    """
    if data.is_nested or mask.is_nested:
        nested.check_absent("boolean_mask", return_indices=return_indices)
        return _nested(data, mask)
    masked, indices = _operator(data, mask, False, None, return_indices)
    return (masked, indices) if return_indices else masked


def boolean_fill(data: Tensor, mask: Tensor, fill_val: float = 0.0) -> Tensor:
    """``data`` with ``fill_val`` in the rows that ``mask`` does not keep.

    Args:
        data: ``[*mask.shape, ...]``, of any number type or bool.
        mask: bool; its dims are the first ones of ``data``. True keeps a row.
        fill_val: what stands elsewhere; must be a value of data's dtype.

    Returns:
        A tensor of data's shape and dtype. Masked entries of ``data`` have no effect, NaN included.

    Raises:
        RuntimeError: mask not bool, or its dims not the first ones of data; a fill_val that the
            dtype cannot hold.

    Source: Caffe2's BooleanMask; ``torch.where(mask, data, fill_val)``.
    """
    return _operator(data, mask, True, fill_val, False)[0]


def _nested(data, mask):
    rows, offsets = nested.cut("boolean_mask", "data", data, 1)
    keep, of_mask = nested.cut("boolean_mask", "mask", mask, 1)
    if of_mask is not offsets and not torch.equal(of_mask, offsets):
        raise ValueError(
            "boolean_mask: mask must have as many rows in each sequence as data, but has not."
        )
    kept = torch.nn.functional.pad(keep.cumsum(0), (1, 0))[offsets]
    return nested.join(_operator(rows, keep, False, None, False)[0], kept, 1)


def _fake(data, mask, keep_shape=False, fill_val=None, return_indices=False):
    none = fakes.none(data)
    if keep_shape:
        return fakes.like(data), none
    kept = torch.library.get_ctx().new_dynamic_size()
    indices = data.new_empty(kept, dtype=torch.int64) if return_indices else none
    return data.new_empty([kept, *data.shape[mask.dim() :]]), indices


def _backward(saved, needed, d_masked, _):
    return {"data": _gradient(saved.mask, d_masked, saved.keep_shape)}


def _fake_backward(mask, d_masked, keep_shape=False):
    if keep_shape:
        return fakes.like(d_masked)
    return d_masked.new_empty([*mask.shape, *d_masked.shape[1:]])


_operator = Operator("boolean_mask", _fake, _backward, saves=("mask",), differentiable=("data",))
_gradient = gradient_operator("boolean_mask_backward", _fake_backward)
