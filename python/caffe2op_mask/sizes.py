"""Sizes that a user gives; for both runtimes."""

import operator


def positive_sizes(who, **sizes):
    """The sizes, in their order, as ints of Python; `who` is what errors call who takes them.

    Raises TypeError for a size that is no integer, ValueError for one that is not above 0.
    """
    found = []
    for name, size in sizes.items():
        try:
            size = operator.index(size)
        except TypeError:
            raise TypeError("{}: {} must be an integer, but is {!r}.".format(who, name, size))
        if size < 1:
            raise ValueError("{}: {} must be positive, but is {}.".format(who, name, size))
        found.append(size)
    return found


def is_shape(dims):
    """Whether integers can be a shape: none negative, and entries that an int64 counts."""
    entries = 1
    for size in dims:
        if size < 0:
            return False
        entries *= max(size, 1)  # what is beside a 0 must have a range, too
    return entries < 1 << 63
