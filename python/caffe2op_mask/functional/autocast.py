"""What functions do under ``torch.autocast``."""

from typing import Optional

import torch
from torch import Tensor


def lower_precision(*tensors: Optional[Tensor]):
    """The tensors as ``torch.autocast`` has products of matrices take them."""
    if not torch.is_autocast_enabled("cpu"):
        return tensors
    return _cast(tensors, torch.get_autocast_dtype("cpu"))


def one_type(*tensors: Optional[Tensor]):
    """The tensors in the widest type of theirs, as ``torch.autocast`` has sums take them."""
    if not torch.is_autocast_enabled("cpu"):
        return tensors
    widest = None
    for one in tensors:
        if one is not None and one.dtype in _CAST:
            widest = one.dtype if widest is None else torch.promote_types(widest, one.dtype)
    return _cast(tensors, widest)


def _cast(tensors, dtype):
    return tuple(one if one is None or one.dtype not in _CAST else one.to(dtype) for one in tensors)


_CAST = (torch.float16, torch.bfloat16, torch.float32)
