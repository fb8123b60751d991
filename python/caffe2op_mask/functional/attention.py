"""What masked_attention and varlen_attention share."""

import torch


def check_heads(who, q, k, rank, enable_gqa):
    """Raises ValueError where q and k, of that rank, differ in heads, which are the dim 1."""
    if not enable_gqa and q.dim() == k.dim() == rank and q.shape[1] != k.shape[1]:
        raise ValueError(
            "{}: q and k must have the same number of heads unless enable_gqa=True, but have {} "
            "and {}.".format(who, q.shape[1], k.shape[1])
        )


def learns(*tensors):
    """Whether one of them, each of which may be absent, will have a gradient, which reads LSE."""
    return torch.is_grad_enabled() and any(
        one is not None and one.requires_grad for one in tensors
    )


def outputs(operator, saved, arguments):
    """O and LSE as they were saved; computed again where LSE, which the gradient reads, was not."""
    if saved.return_lse:
        return saved.o, saved.lse
    return operator(*arguments, True)
