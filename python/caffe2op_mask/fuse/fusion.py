"""Puts MaskedSoftmax or MaskedAttention in the place of the operators around a Softmax."""

from caffe2.proto import caffe2_pb2
from caffe2.python import utils

from caffe2op_mask.fuse.scores import Declined, Scores, check_readers, from_the_end
from caffe2op_mask.fuse.shapes import argument

# Engines by which each operator is what its name says; that of CUDNN, say, is not looked into.
_ENGINES = ("", "DEFAULT", "MASK")


def fusion_at(graph, softmax, fresh_name):
    """The Fusion around a Softmax, or None where there is nothing to fuse.

    Raises Declined, with the numbers of the operators in `indices`, where there is but it would not
    give equal results. `fresh_name` makes a name for a new blob.
    """
    scores = Scores(graph, softmax)
    try:
        scores.walk()
        products = _products(graph, scores, softmax)
        if not scores.found and products is None:
            return None
        shape = graph.shape(graph.inputs[softmax][0]) or graph.shape(scores.x)
        axis = argument(graph.ops[softmax], "axis", 1)
        axis = from_the_end(axis, None if shape is None else len(shape))
        if axis is None:
            raise Declined(
                "the rank of '{}' is not known, so axis {} of Softmax may not be the last".format(
                    scores.x.blob, argument(graph.ops[softmax], "axis", 1)
                )
            )
        if axis != -1:
            raise Declined("the axis of Softmax is not the last")
        if products is not None:
            try:
                return _masked_attention(graph, scores, products, fresh_name)
            except Declined as declined:
                if not scores.found:
                    scores.indices.update(products)
                    raise
                scores.notes.append("not into MaskedAttention: {}".format(declined))
        return _masked_softmax(graph, scores, softmax)
    except Declined as declined:
        seen = {scores.x.writer} if graph.type(scores.x) in scores.KINDS else set()
        declined.indices = scores.indices | seen
        raise


class Fusion(object):
    """Operators to take away, `indices`, and `ops` that come in the place of the last of them."""

    def __init__(self, graph, indices, scores, op_type, inputs, outputs, arguments):
        last = max(indices)
        self.indices = indices
        self.last = last
        self.type = op_type
        self.notes = list(scores.notes)
        if scores.is_finite:
            self.notes.insert(
                0,
                "equal unless all that a row keeps is below {:g}".format(scores.highest_to_vanish),
            )
        old = [graph.ops[index] for index in sorted(indices)]
        for op in old:
            if op.engine not in _ENGINES:
                raise Declined("{} is by engine {}".format(op.type, op.engine))
            if op.control_input:
                raise Declined("{} has a control input".format(op.type))
            if graph.device(op).device_type != caffe2_pb2.CPU:
                raise Declined("{} is not on the CPU".format(op.type))
            if graph.device(op) != graph.device(old[-1]):
                raise Declined("{} and {} are on different devices".format(op.type, old[-1].type))
        for value in inputs:
            if not graph.is_there(value, last, indices):
                raise Declined("'{}' is written again before its result is".format(value.blob))
        blobs = [value.blob for value in inputs]
        result = graph.ops[last].output[0]
        if result in blobs[1:] or (result in blobs and op_type != "MaskedSoftmax"):
            raise Declined("its result overwrites its input '{}'".format(result))
        self._like = graph.ops[last]
        self.ops = [self.make(op_type, blobs, outputs, **arguments)]

    def make(self, op_type, inputs, outputs, **arguments):
        """An operator with the name and the device of the one it stands for."""
        op = caffe2_pb2.OperatorDef(type=op_type, input=inputs, output=outputs)
        op.name = self._like.name
        if self._like.HasField("device_option"):
            op.device_option.CopyFrom(self._like.device_option)
        op.arg.extend(utils.MakeArgument(name, arguments[name]) for name in sorted(arguments))
        return op


def _masked_softmax(graph, scores, softmax):
    arguments = scores.arguments()
    if scores.scale != 1:
        arguments["scale"] = scores.scale
    inputs = [scores.x] + [value for _, value in scores.side_inputs()]
    outputs = [graph.ops[softmax].output[0]]
    return Fusion(graph, scores.indices, scores, "MaskedSoftmax", inputs, outputs, arguments)


def _products(graph, scores, softmax):
    """Numbers of the BatchMatMul before the scores and behind the Softmax, or None."""
    weights = graph.output(softmax)
    readers = [i for i in sorted(graph.readers(weights)) if graph.inputs[i][:1] == [weights]]
    readers = [i for i in readers if graph.ops[i].type == "BatchMatMul"]
    if graph.type(scores.x) != "BatchMatMul" or not readers:
        return None
    return scores.x.writer, readers[0]


def _masked_attention(graph, scores, products, fresh_name):
    first, second = products
    q, k = graph.inputs[first]
    weights, v = graph.inputs[second]
    check_readers(graph, scores.x, scores.indices)
    check_readers(graph, weights, {second})
    for index, transposed in ((first, 1), (second, 0)):
        op = graph.ops[index]
        if argument(op, "trans_a", 0) or argument(op, "trans_b", 0) != transposed:
            raise Declined("{} has not trans_b = {} alone".format(graph.said(index), transposed))
    shapes = [graph.shape(value) for value in (q, k, v)]
    for value, shape in zip((q, k, v), shapes):
        if shape is None:
            raise Declined("the shape of '{}' is not known".format(value.blob))
    rank = len(shapes[0])
    if rank not in (3, 4) or any(shape[:-2] != shapes[0][:-2] for shape in shapes):
        raise Declined("Q {}, K {}, V {} are not [B, H, L, D] or [B, L, D]".format(*shapes))
    for name, value in scores.side_inputs():
        if graph.shape(value) is None:
            raise Declined("the shape of '{}' is not known".format(value.blob))
        if graph.shape(value) == () and name in ("lengths", "centers"):
            raise Declined("{} have no dims".format(name))
    arguments = dict(scores.arguments(), scale=scores.scale)
    inputs = [q, k, v] + [value for _, value in scores.side_inputs()]
    result = graph.ops[second].output[0]
    outputs = [result, fresh_name(result + "_lse")]
    indices = scores.indices | {first, second}
    fusion = Fusion(graph, indices, scores, "MaskedAttention", inputs, outputs, arguments)
    if rank == 3:
        _as_one_head(graph, fusion, scores, fresh_name)
    return fusion


def _as_one_head(graph, fusion, scores, fresh_name):
    """Makes [B, L, D] a [B, 1, L, D] on the way in, and back on the way out."""
    (attention,) = fusion.ops
    dims_before_head = [3, 3, 3] + [
        2 if name in ("lengths", "centers") else 3 for name, _ in scores.side_inputs()
    ]
    ranks = [3, 3, 3] + [len(graph.shape(value)) for _, value in scores.side_inputs()]
    before, with_head = [], {}
    for i, blob in enumerate(list(attention.input)):
        if ranks[i] < dims_before_head[i]:
            continue
        if blob not in with_head:
            with_head[blob] = fresh_name(blob + "_head")
            before.append(fusion.make("ExpandDims", [blob], [with_head[blob]], dims=[1]))
        attention.input[i] = with_head[blob]
    result = attention.output[0]
    attention.output[0] = fresh_name(result + "_head")
    after = fusion.make("Squeeze", [attention.output[0]], [result], dims=[1])
    fusion.ops = before + [attention, after]
