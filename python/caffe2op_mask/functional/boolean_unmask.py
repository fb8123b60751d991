"""boolean_unmask: rows that masks took go back to where they were."""

from typing import Optional, Sequence, Union

import torch
from torch import Tensor

from caffe2op_mask.functional.registration import Operator, gradient_operator


def boolean_unmask(
    masks: Union[Tensor, Sequence[Tensor]],
    values: Union[Tensor, Sequence[Tensor]],
    *,
    layout: str = "auto",
    fill_val: Optional[float] = None,
) -> Tensor:
    """Puts rows back to where masks are True: undoes ``boolean_mask``.

    Args:
        masks: a bool tensor, or several of one shape. Where several are True the first one's row is
            taken.
        values: a tensor, or one for each mask. Compact values have a row for each True of their
            mask that is theirs; dense ones a row for each entry.
        layout: "auto" (dense where the shape begins with the mask's), "compact" or "dense".
        fill_val: what stands where no mask is True. Without it, each position must be taken.

    Returns:
        ``[*mask.shape, *row]`` of the dtype of values.

    Gradients go to the rows of ``values`` that were taken; others get 0.

    Raises:
        RuntimeError: shapes or dtypes that do not go together; a position that no mask takes, and
            no fill_val.

    Source: Caffe2's BooleanUnmask, of which rows, fill_val and the gradient are extensions.
    """
    if isinstance(masks, Tensor):
        masks = [masks]
    if isinstance(values, Tensor):
        values = [values]
    return _operator(masks, values, layout, fill_val)


def _fake(masks, values, layout="auto", fill_val=None):
    mask, first = masks[0], values[0]
    dense = layout != "compact" and first.shape[: mask.dim()] == mask.shape
    row = first.shape[mask.dim() :] if dense or layout == "dense" else first.shape[1:]
    return first.new_empty([*mask.shape, *row])


def _backward(saved, needed, d_data):
    d_values = _gradient(saved.masks, saved.values, d_data, saved.layout)
    return {"values": d_values}


def _fake_backward(masks, values, d_data, layout="auto"):
    return [d_data.new_empty(one.shape) for one in values]


_operator = Operator(
    "boolean_unmask", _fake, _backward, saves=("masks", "values"), differentiable=("values",)
)
_gradient = gradient_operator("boolean_unmask_backward", _fake_backward)
