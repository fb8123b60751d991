"""Who writes and who reads each value of a net."""

import collections

from caffe2.proto import caffe2_pb2
from caffe2.python import utils

# A blob between two writes: `writer` is the number of the operator that wrote it, or None for what
# the net found there. Blobs may be written again, in place or not; values never are.
Value = collections.namedtuple("Value", "blob writer")

# Operators that may multiply by one number.
SCALES = ("Scale", "Mul", "Div")


_KINDS = {int: ("an integer", (int,)), float: ("a number", (int, float)), str: ("a text", (str,))}


def argument(op, name, default, kind=None):
    """An argument of an operator, or the default.

    Raises ValueError where it is not of `kind`, which is int, float, str, or by default the type of
    the default; object is any of them.
    """
    for arg in op.arg:
        if arg.name == name:
            for field in ("f", "i", "s"):
                if arg.HasField(field):
                    value = getattr(arg, field)
                    value = value.decode("utf-8", "replace") if field == "s" else value
                    return _of_kind(op, name, value, kind or type(default))
    return default


def _of_kind(op, name, value, kind):
    said, kinds = _KINDS.get(kind, ("", (object,)))
    if not isinstance(value, kinds):
        raise ValueError(
            "{}: argument '{}' must be {}, but is {!r}.".format(op.type, name, said, value)
        )
    return value


def number_argument(op, name, default):
    """An argument that is a number, or a text that has all bits of one, as a float."""
    value = argument(op, name, default, object)
    try:
        return float(value)
    except ValueError:
        return _of_kind(op, name, value, float)


def list_argument(op, name):
    """An argument of an operator that is a list of integers, as a tuple; None where it has none."""
    for arg in op.arg:
        if arg.name == name:
            return tuple(arg.ints)
    return None


def sub_nets(op):
    """Nets in the arguments of an operator: of If, While, RecurrentNetwork and their kin."""
    for arg in op.arg:
        for net in list(arg.nets) + ([arg.n] if arg.HasField("n") else []):
            yield arg.name, net


def all_operators(net):
    """Operators of a net and of the nets in their arguments."""
    for op in net.op:
        yield op
        for _, inner in sub_nets(op):
            for one in all_operators(inner):
                yield one


def _hidden_blobs(op):
    """Blobs that nets in the arguments of an operator name."""
    for _, net in sub_nets(op):
        for names in [net.external_input, net.external_output] + [
            part for inner in net.op for part in (inner.input, inner.output)
        ]:
            for name in names:
                yield name
        for inner in net.op:
            for name in _hidden_blobs(inner):
                yield name


class Graph(object):
    """Values, readers and writers of a NetDef.

    net     the NetDef; not changed
    kept    blobs that somebody reads after the net ran, beside its external outputs
    """

    def __init__(self, net, kept=()):
        self.ops = list(net.op)
        self.inputs = []
        self.named = []  # of each operator, what its control inputs and the nets in it name
        self._device = net.device_option
        self._external_output = set(net.external_output)
        self._writers = collections.defaultdict(list)
        self._readers = collections.defaultdict(set)
        for index, op in enumerate(self.ops):
            self.inputs.append([self.last(blob) for blob in op.input])
            hidden = list(_hidden_blobs(op))
            self.named.append([self.last(blob) for blob in list(op.control_input) + hidden])
            for value in self.inputs[-1] + self.named[-1]:
                self._readers[value].add(index)
            for blob in list(op.output) + hidden:
                self._writers[blob].append(index)
        # What was there before the net ran is there after it, for its next run too.
        found = [value.blob for value in self._readers if value.writer is None]
        self._kept = {
            self.last(blob)
            for blob in found + list(net.external_input) + list(net.external_output) + list(kept)
        }
        self.blobs = set(self._writers) | set(found) | {value.blob for value in self._kept}

    def last(self, blob):
        """The value of a blob after the operators that the graph has seen."""
        writers = self._writers.get(blob)
        return Value(blob, writers[-1] if writers else None)

    def writer(self, value):
        """The operator that wrote a value, or None."""
        return None if value.writer is None else self.ops[value.writer]

    def is_written(self, blob):
        """Whether any operator writes a blob."""
        return blob in self._writers

    def found(self):
        """Blobs that are read as the net finds them, sorted."""
        return sorted(value.blob for value in self._readers if value.writer is None)

    def device(self, op):
        """Where an operator runs: by its own word, or by the net's."""
        return op.device_option if op.HasField("device_option") else self._device

    def runnable(self, op):
        """A copy of an operator that runs by itself as it does in the net."""
        copy = caffe2_pb2.OperatorDef()
        copy.CopyFrom(op)
        copy.device_option.CopyFrom(self.device(op))
        return copy

    def type(self, value):
        """Type of the operator that wrote a value, or None."""
        return None if value.writer is None else self.ops[value.writer].type

    def output(self, index):
        """The first output of an operator."""
        return Value(self.ops[index].output[0], index)

    def said(self, index):
        """An operator as a report names it."""
        op = self.ops[index]
        return "{} -> {}".format(op.type, ", ".join("'{}'".format(blob) for blob in op.output))

    def readers(self, value):
        return self._readers[value]

    def is_kept(self, value):
        """Whether someone may read a value after the net ran."""
        return value in self._kept

    def is_only_read_by(self, value, indices):
        return not self.is_kept(value) and self.readers(value) <= indices

    def is_there(self, value, index, without):
        """Whether operator `index` would find a value, did the operators `without` not exist."""
        writers = [w for w in self._writers[value.blob] if w < index and w not in without]
        return (writers[-1] if writers else None) == value.writer

    def outputs(self):
        """What the net is run for: its external outputs that it writes, or else what none reads."""
        written = {blob for op in self.ops for blob in op.output}
        named = written & self._external_output
        if not named:
            named = {blob for blob in written if not self._readers[self.last(blob)]}
        return sorted(named)


def operator_like(like, op_type, inputs, outputs, engine="", **arguments):
    """An operator with the name and the device of another."""
    op = caffe2_pb2.OperatorDef(type=op_type, input=inputs, output=outputs, engine=engine)
    op.name = like.name
    if like.HasField("device_option"):
        op.device_option.CopyFrom(like.device_option)
    op.arg.extend(utils.MakeArgument(name, arguments[name]) for name in sorted(arguments))
    return op
