"""What masked_attention and varlen_attention share."""


def check_heads(who, q, k, rank, enable_gqa):
    """Raises ValueError where q and k, of that rank, differ in heads, which are the dim 1."""
    if not enable_gqa and q.dim() == k.dim() == rank and q.size(1) != k.size(1):
        raise ValueError(
            "{}: q and k must have the same number of heads unless enable_gqa=True, but have {} "
            "and {}.".format(who, q.size(1), k.size(1))
        )


def outputs(operator, saved, arguments):
    """O and LSE as they were saved; computed again where LSE, which the gradient reads, was not."""
    if saved.return_lse:
        return saved.o, saved.lse
    return operator(*arguments, True)
