"""What rows of the table are made of."""

from collections import namedtuple

import numpy as np

from testers.operators import Case

# The sentence is a regular expression for what follows the operator's name.
Refusal = namedtuple("Refusal", "op_type case sentence")

F = np.ones((3, 2), "float32")
M = np.array([True, False, True])
SCALAR = np.array(1, "float32")

LEADING = "mask must have at least one dim and the leading dims of "
TYPE = "must be of type {}, but is {}"


def refusal(op_type, sentence, *inputs, **args):
    """A row; ``outputs`` and ``in_place`` are those of the case, the others arguments."""
    outputs, in_place = args.pop("outputs", 1), args.pop("in_place", None)
    return Refusal(op_type, Case(list(inputs), args, outputs, in_place), sentence)


def ints(*values):
    return np.array(values, "int32")


def bools(*shape):
    return np.ones(shape, bool)


def text():
    return np.array([b"a", b"b", b"c"], dtype=object)
