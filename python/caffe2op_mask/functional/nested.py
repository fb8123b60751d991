"""Nested tensors of layout ``torch.jagged``: their rows lie one behind the other."""

import torch


def cut(who, name, tensor, dim):
    """The rows of a tensor that is ragged in `dim`, ``[T, ...]``, and their offsets."""
    if not tensor.is_nested:
        raise ValueError(
            "{}: {} must be a nested tensor, as others of its inputs are, but is not.".format(
                who, name
            )
        )
    if tensor.layout != torch.jagged:
        raise ValueError(
            "{}: {} must be a nested tensor of layout torch.jagged, but is of {}.".format(
                who, name, tensor.layout
            )
        )
    if tensor.dim() <= dim or isinstance(tensor.size(dim), int):
        raise ValueError(
            "{}: {} must be ragged in its dim {}, but is of shape {}.".format(
                who, name, dim, list(tensor.shape)
            )
        )
    if tensor.lengths() is not None:
        raise ValueError(
            "{}: {} must have no gaps between its sequences, but has; contiguous() closes "
            "them.".format(who, name)
        )
    rows = tensor if dim == 1 else tensor.transpose(1, dim)
    return rows.values(), rows.offsets()


def join(rows, offsets, dim):
    """The inverse of `cut`."""
    tensor = torch.nested.nested_tensor_from_jagged(rows, offsets)
    return tensor if dim == 1 else tensor.transpose(1, dim)


def refuse(who, **tensors):
    """Raises where one of the tensors, each of which may be absent, is nested."""
    for name, one in tensors.items():
        if isinstance(one, torch.Tensor) and one.is_nested:
            raise ValueError("{}: {} must not be a nested tensor, but is.".format(who, name))


def check_absent(who, **values):
    """Raises where one of the values, which do not go with nested tensors, is given."""
    for name, one in values.items():
        if one is not None and one is not False:
            raise ValueError(
                "{}: {} must not be given with nested tensors, but is.".format(who, name)
            )
