"""What fake kernels give: outputs with a shape and no data, which lie as those of the operators."""

import torch


def like(tensor, dtype=None):
    """A contiguous tensor of the same shape."""
    return torch.empty_like(tensor, dtype=dtype, memory_format=torch.contiguous_format)


def none(tensor):
    """What stands for an output that was not asked for."""
    return tensor.new_empty(0, dtype=torch.float32)


def log_sum_exp(scores, wanted):
    """An entry for each row, in the type that is computed in."""
    dtype = torch.float64 if scores.dtype == torch.float64 else torch.float32
    return scores.new_empty(scores.shape[:-1] if wanted else [0], dtype=dtype)
