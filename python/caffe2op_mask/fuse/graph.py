"""What a net says about its blobs: who writes and reads each value, its shape, its constant."""

import collections

from caffe2.proto import caffe2_pb2

from caffe2op_mask.fuse.shapes import argument, infer

# A blob between two writes: `writer` is the number of the operator that wrote it, or None for what
# the net found there. Blobs may be written again, in place or not; values never are.
Value = collections.namedtuple("Value", "blob writer")

_FLOAT = caffe2_pb2.TensorProto.FLOAT


def _subnet_blobs(net_or_op):
    """Blobs that nets in arguments, of If, While and their kin, name."""
    ops = [net_or_op] if isinstance(net_or_op, caffe2_pb2.OperatorDef) else net_or_op.op
    for arg in (arg for op in ops for arg in op.arg):
        for net in list(arg.nets) + ([arg.n] if arg.HasField("n") else []):
            for names in [net.external_input, net.external_output] + [
                part for op in net.op for part in (op.input, op.output)
            ]:
                for name in names:
                    yield name
            for name in _subnet_blobs(net):
                yield name


class Graph(object):
    """Values, readers, shapes and constants of a NetDef.

    net     the NetDef; not changed
    shapes  {blob: its shape}, for blobs whose shape does not follow from the net
    init    NetDef that ran before, which tells shapes and constants of what it wrote
    """

    def __init__(self, net, shapes=None, init=None):
        self.ops = list(net.op)
        self._device = net.device_option
        self.inputs = []
        self._given_shapes = shapes or {}
        self._init = Graph(init, shapes) if init is not None else None
        self._writers = collections.defaultdict(list)
        self._readers = collections.defaultdict(set)
        self._shapes = {}
        for index, op in enumerate(self.ops):
            self.inputs.append([self.last(blob) for blob in op.input])
            hidden = list(_subnet_blobs(op))
            for value in self.inputs[-1] + [self.last(b) for b in list(op.control_input) + hidden]:
                self._readers[value].add(index)
            shapes = infer(op, [self.shape(value) for value in self.inputs[-1]])
            inferred = dict(zip(op.output, shapes))
            for blob in list(op.output) + hidden:
                self._writers[blob].append(index)
                self._shapes[self.last(blob)] = inferred.get(blob)
        # What was there before the net ran is there after it, for its next run too.
        found = [value.blob for value in self._readers if value.writer is None]
        self._kept = {
            self.last(blob) for blob in found + list(net.external_input) + list(net.external_output)
        }
        self.blobs = set(self._writers) | set(found) | {value.blob for value in self._kept}

    def last(self, blob):
        """The value of a blob after the operators that the graph has seen."""
        writers = self._writers.get(blob)
        return Value(blob, writers[-1] if writers else None)

    def writer(self, value):
        """The operator that wrote a value, or None."""
        return None if value.writer is None else self.ops[value.writer]

    def device(self, op):
        """Where an operator runs: by its own word, or by the net's."""
        return op.device_option if op.HasField("device_option") else self._device

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

    def shape(self, value):
        """Shape of a value as a tuple, or None if it is not known."""
        shape = self._shapes.get(value)
        if shape is None and value.writer is None and self._init is not None:
            shape = self._init.shape(self._init.last(value.blob))
        if shape is None:
            shape = self._given_shapes.get(value.blob)
        return None if shape is None else tuple(shape)

    def constant(self, value):
        """The number that every entry of a float tensor is, or None if that is not known."""
        op = self.writer(value)
        if op is None:
            # What the net writes, too, is another number on its next run.
            if self._init is None or value.blob in self._writers:
                return None
            written = self._init.last(value.blob)
            return None if written.writer is None else self._init.constant(written)
        if argument(op, "dtype", _FLOAT) != _FLOAT:
            return None
        if op.type == "ConstantFill" and len(op.input) < 2:
            return float(argument(op, "value", 0.0))
        if op.type == "GivenTensorFill":
            numbers = {number for arg in op.arg if arg.name == "values" for number in arg.floats}
            return numbers.pop() if len(numbers) == 1 else None
        return None
