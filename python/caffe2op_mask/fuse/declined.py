"""Why operators are left alone."""

from caffe2op_mask.fuse.expressions import shape_of, values_of


class Declined(Exception):
    """Why operators are left alone; `indices` are their numbers, `unknown` values without shape."""

    def __init__(self, reason, unknown=()):
        super(Declined, self).__init__(reason)
        self.unknown = tuple(unknown)
        self.indices = frozenset()


def from_the_end(axis, rank):
    """An axis as a negative number; None if the rank that takes is not known."""
    if axis < 0:
        return axis
    return None if rank is None else axis - rank


def known_shape(facts, value):
    """Shape of a value or expression; raises Declined where it is not known."""
    shape = shape_of(facts, value)
    if shape is None:
        values = values_of(value)
        raise Declined("the shape of '{}' is not known".format(values[0].blob), values)
    return shape


def check_readers(graph, value, indices):
    """Checks that nobody but the operators `indices` reads a value."""
    if graph.is_kept(value):
        raise Declined("'{}' is an input or output of the net".format(value.blob))
    for index in sorted(graph.readers(value) - indices):
        raise Declined("'{}' is read by {} too".format(value.blob, graph.said(index)))
