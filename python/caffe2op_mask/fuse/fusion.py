"""Puts MaskedSoftmax or MaskedAttention in the place of the operators around a Softmax."""

from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

from caffe2op_mask.fuse.declined import Declined, known_shape
from caffe2op_mask.fuse.expressions import (
    Emitter,
    expand_dims,
    shape_of,
    split_heads,
    squeeze,
    values_of,
)
from caffe2op_mask.fuse.graph import SCALES, Value, operator_like
from caffe2op_mask.fuse.products import Products, with_heads
from caffe2op_mask.fuse.scores import Scores, checked_scale
from caffe2op_mask.fuse.shapes import product
from caffe2op_mask.mask_shapes import INPUTS


def fusions_at(facts, softmax, taken):
    """Fusions around a Softmax, the best first; what stands in the way of a better one in its notes.

    After a run, which can be repeated to prove them, those come first that take more for granted of
    a finite fill. Raises Declined, with the numbers of the operators in `indices`, where there is no
    fusion. `taken` are names of blobs that are not new.
    """
    found = []
    if facts.of_a_run:
        daring = Scores(facts, softmax, dares=True)
        try:
            found = _fusions(daring, taken)
        except Declined:
            pass  # for a reason that stands without daring, too
        found = found if daring.dared else []
        for fusion in found:
            fusion.dares = True
    return found + _fusions(Scores(facts, softmax), taken)


def _fusions(scores, taken):
    facts, graph, softmax = scores.facts, scores.graph, scores.softmax
    products = None
    try:
        scores.walk()
        products = Products(scores)
        if not scores.found and products.first is None:
            raise Declined(_why_nothing(facts, scores))
        scores.check_axis_again()
        found, why_not, unknown = [], [], ()
        if products.first is None and scores.stopped is not None:
            why_not.append("not into MaskedAttention: {}".format(scores.stopped))
        elif products.first is not None and products.second is None:
            why_not.append("not into MaskedAttention: no product reads the weights")
        if products.are_there:
            try:
                found.append(_MaskedAttention(facts, scores, products, taken))
            except Declined as declined:
                why_not.append("not into MaskedAttention: {}".format(declined))
                unknown = declined.unknown
        if graph.ops[softmax].type == "Softmax" or scores.found:
            try:
                found.append(_masked_softmax(scores, taken, why_not))
                found[-1].unknown = unknown
            except Declined:
                if not found:
                    raise
        elif not found:
            raise Declined(*why_not)
        return found
    except Declined as declined:
        indices = set(declined.indices) | scores.indices
        if products is not None and products.are_there and not scores.found:
            indices |= products.indices
        if graph.type(scores.x) in Scores.MASKS + SCALES:
            indices.add(scores.x.writer)
        declined.indices = indices - scores.chain
        raise


def _masked_softmax(scores, taken, why_not):
    """The MaskedSoftmax of the scores, or of what stands behind the last regrouping of them."""
    try:
        return _MaskedSoftmax(scores.facts, scores, taken, why_not)
    except Declined:
        if not scores.views:
            raise
    behind = Scores(scores.facts, scores.softmax, regroups=False)
    behind.walk()
    if not behind.found:
        raise Declined(behind.stopped or "its rows are regrouped")
    return _MaskedSoftmax(scores.facts, behind, taken, why_not)


def _why_nothing(facts, scores):
    """Why a Softmax that nothing masks stays."""
    if scores.stopped is not None:
        return scores.stopped
    writer = scores.x.writer
    writer = "an input of the net" if writer is None else facts.graph.said(writer)
    return "no mask, bias or product before it, but {}".format(writer)


class Fusion(object):
    """Operators to take away, `indices`, and `ops` that come in the place of the last of them.

    chain    those of them that only made constants and sizes
    type     of the operator that does the work
    output   the blob that is the result
    notes    what was assumed, or stayed as it was
    unknown  values whose shapes would have to be known for a better one
    dares    whether it takes more for granted of a finite fill than another that there is
    """

    unknown = ()
    dares = False

    def __init__(self, facts, indices, spare, chain, taken, notes):
        self.graph = facts.graph
        self._superfluous = self._unread(set(indices), spare)
        self.indices = set(indices) | self._superfluous
        self.last = max(indices)
        self.chain = frozenset(chain)
        self.notes = tuple(notes)
        self._taken = taken
        self._mine = set()
        self._like = self.graph.ops[self.last]
        self._check_operators()

    @property
    def key(self):
        """What two fusions have alike that are the same."""
        ops = tuple(op.SerializeToString() for op in self.ops)
        return self.type, tuple(sorted(self.indices)), ops

    @property
    def blobs(self):
        """Names of new blobs."""
        return self._mine

    def _unread(self, indices, spare):
        """Those of the operators `spare` whose outputs are read by nobody else."""
        gone = set()
        while True:
            more = {
                index
                for index in spare - gone
                if all(
                    self.graph.is_only_read_by(Value(blob, index), indices | gone)
                    for blob in self.graph.ops[index].output
                )
            }
            if not more:
                return gone
            gone |= more

    def _keep_what_is_read(self, values):
        """Gives back superfluous operators whose results are read after all."""
        ahead = [value.writer for value in values]
        while ahead:
            index = ahead.pop()
            if index in self._superfluous & self.indices:
                self.indices.discard(index)
                ahead += [value.writer for value in self.graph.inputs[index]]

    def _check_operators(self):
        graph = self.graph
        old = [graph.ops[index] for index in sorted(self.indices)]
        for op in old:
            if not engine_is_of_no_matter(op):
                raise Declined("{} is by engine {}".format(op.type, op.engine))
            if op.control_input:
                raise Declined("{} has a control input".format(op.type))
            if graph.device(op).device_type != caffe2_pb2.CPU:
                raise Declined("{} is not on the CPU".format(op.type))
            if graph.device(op) != graph.device(old[-1]):
                raise Declined("{} and {} are on different devices".format(op.type, old[-1].type))

    def _check_values(self, values, result, in_place):
        """Checks that what is read is there, and that what is written is not read, nor missed."""
        graph = self.graph
        for value in values:
            if value.writer in self.indices or not graph.is_there(value, self.last, self.indices):
                raise Declined("'{}' is written again before its result is".format(value.blob))
        for value in values[1 if in_place else 0 :]:
            if value.blob == result.blob:
                raise Declined("its result overwrites its input '{}'".format(value.blob))
        for index in self.indices:
            for blob in graph.ops[index].output:
                value = Value(blob, index)
                if value != result and not graph.is_only_read_by(value, self.indices):
                    raise Declined("'{}' is read by others too".format(blob))

    def _fresh(self, name):
        while name in self._taken or name in self._mine:
            name += "_"
        self._mine.add(name)
        return name

    def _make(self, op_type, inputs, outputs, **arguments):
        """An operator with the name and the device of the one it stands for."""
        return operator_like(self._like, op_type, inputs, outputs, **arguments)

    def _behind(self, op):
        """Adds an operator that takes the result over: what it reads gets a name of its own."""
        name = self._fresh(self.output + "_rows")
        self.ops[-1].output[0] = op.input[0] = name
        self.ops.append(op)


def engine_is_of_no_matter(op):
    """Whether an operator on the CPU is what its name says, whatever its engine is."""
    if op.engine in ("", "DEFAULT", "MASK", "CUDNN", "TENSORCORE"):
        return True
    return "{}_ENGINE_{}".format(op.type, op.engine) not in workspace.RegisteredOperators()


class _MaskedSoftmax(Fusion):
    type = "MaskedSoftmax"

    def __init__(self, facts, scores, taken, why_not):
        notes = scores.caveats() + scores.notes + why_not
        super(_MaskedSoftmax, self).__init__(
            facts, scores.indices, set(), scores.chain, taken, notes
        )
        graph = self.graph
        arguments = scores.arguments()
        if scores.scale != 1:
            arguments["scale"] = scores.scale
        x, tail = scores.x, ()
        if scores.tail:
            rank = len(known_shape(facts, x))
            tail = tuple(range(rank - scores.tail, rank))
            x = squeeze(facts, x, tail)
        parts = [x] + [one for _, one in scores.side_inputs()]
        values = [value for one in parts for value in values_of(one)]
        values += [value for index in scores.views for value in graph.inputs[index][1:]]
        result = graph.output(scores.softmax)
        self.output = result.blob
        moves = bool(tail or scores.views)
        self._check_values(values, result, in_place=not moves)
        emitter = Emitter(self._make, self._fresh, parts)
        blobs = [emitter.blob(one) for one in parts]
        self.ops = emitter.ops + [self._make(self.type, blobs, [result.blob], **arguments)]
        if tail:
            self._behind(self._make("ExpandDims", [result.blob], [result.blob], dims=list(tail)))
        for index in reversed(scores.views):
            view = caffe2_pb2.OperatorDef()
            view.CopyFrom(graph.ops[index])
            del view.output[:]
            view.output.append(result.blob)
            view.output.extend(self._fresh(blob) for blob in graph.ops[index].output[1:])
            self._behind(view)


class _MaskedAttention(Fusion):
    type = "MaskedAttention"

    def __init__(self, facts, scores, products, taken):
        products.check()
        q, k, v, factor = products.factors()
        notes = scores.caveats() + scores.notes + products.notes
        indices = scores.indices | products.indices
        super(_MaskedAttention, self).__init__(
            facts, indices, products.spare, scores.chain, taken, notes
        )
        result = self.graph.output(products.second)
        self.output = result.blob
        sides = scores.side_inputs()
        rank = len(shape_of(facts, v))  # of the result
        lead = _lead(facts, scores, (q, k, v), sides)
        q, k, v = factors = [with_heads(facts, one, lead) for one in (q, k, v)]
        _check_factors([shape_of(facts, one) for one in factors])
        scores_rank = len(facts.shape(scores.x) or (None,) * 4)
        parts = factors + [_side(facts, name, one, scores_rank, lead) for name, one in sides]
        values = [value for one in parts for value in values_of(one)]
        self._keep_what_is_read(values)
        self._check_values(values, result, in_place=False)
        emitter = Emitter(self._make, self._fresh, parts)
        blobs = [emitter.blob(one) for one in parts]
        outputs = [result.blob, self._fresh(result.blob + "_lse")]
        arguments = dict(scores.arguments(), scale=checked_scale(scores.scale * factor))
        self.ops = emitter.ops + [self._make(self.type, blobs, outputs, **arguments)]
        if products.flips:
            axes = [0, 1, 3, 2] if len(shape_of(facts, q)) == 4 else [0, 2, 1]
            self._behind(self._make("Transpose", [result.blob], [result.blob], axes=axes))
        if rank == 3 and lead is not None:
            self._behind(self._make("MergeDim", [result.blob], [result.blob]))
        elif rank == 2:
            dims = [0] if lead is None else [0, 1]
            self._behind(self._make("Squeeze", [result.blob], [result.blob], dims=dims))


def _lead(facts, scores, factors, sides):
    """Batch and heads, or None where a head is a batch of its own; raises Declined."""
    for name, one in sides:
        if known_shape(facts, one) == () and name in INPUTS:
            raise Declined("{} have no dims".format(name))
    shapes = [shape_of(facts, one) for one in factors]
    if not all(2 <= len(shape) <= 4 for shape in shapes):
        raise Declined("Q {}, K {}, V {} are not [B, H, L, D] or [B, L, D]".format(*shapes))
    if sides and len(facts.shape(scores.x) or ()) > 4:
        raise Declined("its masks are those of scores {}".format(facts.shape(scores.x)))
    leads = [shape[:2] for shape in [facts.shape(scores.x)] + shapes if shape and len(shape) == 4]
    # Those of keys and values may be fewer, which is checked with their factors.
    if len(shapes[0]) == 4 and leads[0] != shapes[0][:2]:
        raise Declined("the heads of its scores, {}, are not those of Q".format(leads[0]))
    return leads[0] if leads else None


def _check_factors(shapes):
    """Checks that factors have one batch, and K and V the heads of Q, or one."""
    q, k, v = shapes
    fits = q[0] == k[0] == v[0] and k[-2] == v[-2] and q[-1] == k[-1]
    if len(q) == 4:
        fits = fits and k[1] == v[1] and k[1] in (1, q[1])
    if not fits:
        raise Declined("Q {}, K {}, V {} are not [B, H, L, D] or [B, L, D]".format(*shapes))


def _side(facts, name, one, rank, lead):
    """A side input of scores of a rank for those with `lead` before the rows."""
    shape = shape_of(facts, one)
    by_row = name in INPUTS
    if rank == 2 and by_row:
        one = expand_dims(facts, one, 0)
        return one if lead is None else expand_dims(facts, one, 0)
    if rank != 3 or lead is None or len(shape) < (1 if by_row else 3):
        return one
    if shape[0] == 1 and not by_row or shape[0] != product(lead):
        return one  # it broadcasts, or is one for each row
    return split_heads(facts, one, lead)
