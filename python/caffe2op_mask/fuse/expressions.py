"""Tensors that a fused operator reads: values of the net, or what a few operators make of them."""

import collections

from caffe2op_mask.fuse.graph import Value
from caffe2op_mask.fuse.shapes import broadcast

# An operator to add: its type, what it reads (values or other expressions), its arguments as sorted
# pairs, and the shape of what it makes, or None.
Made = collections.namedtuple("Made", "type inputs arguments shape")


def make(op_type, inputs, of_shape=None, **arguments):
    pairs = tuple((name, arguments[name]) for name in sorted(arguments))
    return Made(op_type, tuple(inputs), pairs, of_shape)


def shape_of(facts, one):
    """Shape of an expression, or None."""
    return facts.shape(one) if isinstance(one, Value) else one.shape


def values_of(one):
    """The values of the net that an expression reads."""
    if isinstance(one, Value):
        return [one]
    return [value for part in one.inputs for value in values_of(part)]


def expand_dims(facts, one, dim):
    """With a dim of 1 at `dim`, which is not negative."""
    shape = shape_of(facts, one)
    shape = None if shape is None else shape[:dim] + (1,) + shape[dim:]
    return make("ExpandDims", [one], shape, dims=(dim,))


def squeeze(facts, one, dims):
    """Without dims, which are 1 and not counted from the back."""
    shape = shape_of(facts, one)
    if shape is not None:
        shape = tuple(size for dim, size in enumerate(shape) if dim not in dims)
    return make("Squeeze", [one], shape, dims=tuple(dims))


def transpose(facts, one, axes):
    """With its dims in another order; joined with a Transpose before it, or itself where none moves."""
    if isinstance(one, Made) and one.type == "Transpose":
        before = dict(one.arguments)["axes"]
        return transpose(facts, one.inputs[0], [before[axis] for axis in axes])
    if tuple(axes) == tuple(range(len(axes))):
        return one
    shape = shape_of(facts, one)
    shape = None if shape is None else tuple(shape[axis] for axis in axes)
    return make("Transpose", [one], shape, axes=tuple(axes))


def swap_last(facts, one):
    """With its last two dims in the place of each other."""
    rank = len(shape_of(facts, one))
    return transpose(facts, one, list(range(rank - 2)) + [rank - 1, rank - 2])


def split_heads(facts, one, lead):
    """[B * H, ..] as [B, H, ..] for `lead` = (B, H); the number of heads alone is written down."""
    shape = shape_of(facts, one)
    if len(shape) > 1:
        one = expand_dims(facts, one, 1)
    # With a dim for H, a 0 keeps each dim behind it.
    dims = (-1, lead[1]) + (0,) * (len(shape) - 1)
    return make("Reshape", [one], lead + shape[1:], shape=dims)


def both(facts, op_type, first, second):
    """And, or Add, of two that broadcast."""
    shapes = [shape_of(facts, one) for one in (first, second)]
    shape = None if None in shapes else broadcast(*shapes)
    return make(op_type, [first, second], shape)


_IN_PLACE = ("ExpandDims", "Reshape", "Squeeze")


class Emitter(object):
    """Makes operators of expressions, each once.

    make    called with a type, inputs, outputs and arguments, returns an operator
    fresh   called with a name, returns one that is new
    parts   all that will be asked for
    """

    def __init__(self, make_op, fresh, parts):
        self.ops = []
        self._readers = collections.Counter()
        seen, ahead = set(), list(parts)
        while ahead:
            one = ahead.pop()
            self._readers[one] += 1
            if one not in seen and isinstance(one, Made):
                ahead += one.inputs
            seen.add(one)
        self._make = make_op
        self._fresh = fresh
        self._blobs = {}

    def blob(self, one):
        """The name of the blob that is the expression."""
        if isinstance(one, Value):
            return one.blob
        if one not in self._blobs:
            inputs = [self.blob(part) for part in one.inputs]
            name = self._fresh("_".join(inputs[:1] + [one.type.lower()]))
            if one.type in _IN_PLACE and isinstance(one.inputs[0], Made):
                if self._readers[one.inputs[0]] == 1:
                    name = inputs[0]  # a view that need not copy
            outputs = [name]
            if one.type == "Reshape":
                outputs.append(self._fresh(name + "_old_shape"))
            self.ops.append(self._make(one.type, inputs, outputs, **dict(one.arguments)))
            self._blobs[one] = name
        return self._blobs[one]
