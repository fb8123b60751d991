"""Finds the two products of attention around a Softmax, and their factors as Q, K and V."""

from caffe2op_mask.fuse.declined import Declined, check_readers, known_shape
from caffe2op_mask.fuse.expressions import expand_dims, shape_of, split_heads, swap_last, transpose
from caffe2op_mask.fuse.graph import SCALES, Value, argument, list_argument
from caffe2op_mask.fuse.scores import is_identity
from caffe2op_mask.fuse.shapes import product
from caffe2op_mask.fuse.views import VIEWS

_PRODUCTS = ("BatchMatMul", "MatMul")


class Products(object):
    """The product of Q and K that scores are, and the product of weights and V.

    first   number of the first product, or None
    second  number of the second
    behind  numbers of the operators between the Softmax and the second product
    spare   numbers of operators before the first that `factors` makes superfluous, where no one else
            reads what they write
    flips   whether `factors` has found that the second product is the transpose of O
    notes   what `factors` took for granted
    """

    def __init__(self, scores):
        graph, facts = scores.graph, scores.facts
        self.scores = scores
        self.graph = graph
        self.facts = facts
        self.spare = set()
        self.flips = False
        self.notes = []
        self.first = self._before(scores.x)
        self.behind, self.second = self._after(scores.softmax)

    @property
    def are_there(self):
        return self.first is not None and self.second is not None

    @property
    def indices(self):
        return {self.first, self.second} | set(self.behind) | set(self._between)

    def _before(self, value):
        """Number of the product that a value is, perhaps with its rows regrouped."""
        self._between = []
        while self.graph.type(value) in VIEWS:
            self._between.append(value.writer)
            value = self.graph.inputs[value.writer][0]
        return value.writer if self.graph.type(value) in _PRODUCTS else None

    def _after(self, softmax):
        """What the weights go through, and the product that reads them."""
        behind, value = [], self.graph.output(softmax)
        while True:
            readers = sorted(self.graph.readers(value))
            products = [
                i
                for i in readers
                if self.graph.ops[i].type in _PRODUCTS and value in self.graph.inputs[i]
            ]
            if products:
                return behind, products[0]
            passes = [
                i
                for i in readers
                if self.graph.inputs[i][:1] == [value]
                and (
                    self.graph.ops[i].type in VIEWS
                    or is_identity(self.facts, i)
                    or self._swaps_last(i)
                )
            ]
            if len(passes) != 1:
                return behind, None
            behind.append(passes[0])
            value = self.graph.output(passes[0])

    def _swaps_last(self, index):
        """Whether an operator is a Transpose of the last two dims."""
        op = self.graph.ops[index]
        shape = self.facts.shape(self.graph.inputs[index][0])
        if op.type != "Transpose" or shape is None or len(shape) < 2:
            return False
        rank = len(shape)
        axes = list_argument(op, "axes") or tuple(range(rank))[::-1]
        return tuple(axes) == tuple(range(rank - 2)) + (rank - 1, rank - 2)

    def check(self):
        """Raises Declined where someone else reads what would not be there any more."""
        graph, scores = self.graph, self.scores
        absorbed = scores.indices | self.indices
        check_readers(graph, scores.x, absorbed)
        for index in [self.first] + self._between + [scores.softmax] + self.behind:
            check_readers(graph, graph.output(index), absorbed)
        views = [i for i in self._between + self.behind if graph.ops[i].type in VIEWS]
        if views and any(self._swaps_last(i) for i in self.behind):
            raise Declined("the weights are transposed and regrouped")
        ends = [graph.output(self.first), scores.x, self._weights()]
        through = [graph.output(index) for index in views]
        if scores.views or views:
            shapes = [known_shape(self.facts, value) for value in ends + through]
        else:
            shapes = [shape for shape in map(self.facts.shape, ends) if shape is not None]
        swaps = [i for i in self.behind if self._swaps_last(i)]
        if len(swaps) % 2 and len(shapes) > 2:
            shapes[2] = shapes[2][:-2] + shapes[2][:-3:-1]
        moved = any(shape[-2:] != shapes[0][-2:] for shape in shapes[:3])
        if scores.tail or moved or any(shape[-1:] != shapes[0][-1:] for shape in shapes):
            raise Declined("the scores are transposed, or regrouped by their columns")

    def _weights(self):
        """What the second product reads."""
        return self.graph.output(self.behind[-1] if self.behind else self.scores.softmax)

    def factors(self):
        """Q, K and V as expressions whose last two dims are theirs, and a factor of the scores."""
        graph = self.graph
        q, k = graph.inputs[self.first]
        first, second = graph.ops[self.first], graph.ops[self.second]
        weights = self._weights()
        place = graph.inputs[self.second].index(weights)
        v = graph.inputs[self.second][1 - place]
        if v == weights:
            raise Declined("{} has one factor twice".format(graph.said(self.second)))
        # O = P V, or its transpose V^T P^T.
        transposed = sum(self._swaps_last(i) for i in self.behind) % 2 == 1
        transposed ^= bool(argument(second, "trans_b" if place else "trans_a", 0))
        self.flips = place == 1
        if transposed != self.flips:
            raise Declined("{} multiplies transposed weights".format(graph.said(self.second)))
        unknown = [value for value in (q, k, v) if self.facts.shape(value) is None]
        if unknown:
            raise Declined("the shape of '{}' is not known".format(unknown[0].blob), unknown)
        if any(len(self.facts.shape(value)) < 2 for value in (q, k, v)):
            raise Declined("one of its factors is no matrix")
        for op, factors in ((first, (q, k)), (second, (weights, v))):
            ranks = {len(self.facts.shape(one) or (None, None)) for one in factors}
            names = {arg.name for arg in op.arg}
            if op.type == "MatMul" and (ranks != {2} or {"axis_a", "axis_b"} & names):
                raise Declined("{} flattens its factors".format(op.type))
        q, q_scale = self._operand(q, argument(first, "trans_a", 0))
        k, k_scale = self._operand(k, not argument(first, "trans_b", 0))
        if bool(argument(second, "trans_a" if place else "trans_b", 0)) != self.flips:
            v = swap_last(self.facts, v)
        return q, k, v, q_scale * k_scale

    def _operand(self, value, swaps):
        """A factor of the scores without numbers that scale it, its last two dims swapped or not.

        Operators that this may make superfluous are added to `spare`.
        """
        graph, facts = self.graph, self.facts
        start, scale, steps, passed, notes = value, 1.0, [], set(), []
        readers = self.scores.indices | self.indices
        while graph.is_only_read_by(value, readers | passed):
            kind, index = graph.type(value), value.writer
            if kind in SCALES:
                factor, x, constant = facts.factor(index)
                if factor is None:
                    break
                scale *= factor
                passed.add(index)
                if constant is not None and constant.writer is None:
                    notes.append(facts.as_init_fills(constant))
                elif constant is not None:
                    if graph.is_only_read_by(constant, passed):
                        passed.add(constant.writer)
                value = x
            elif kind == "Transpose":
                ranks = range(len(known_shape(facts, value)))
                axes = list_argument(graph.ops[index], "axes") or tuple(ranks)[::-1]
                if sorted(axes) != list(ranks):
                    break
                steps.append(axes)
                passed.add(index)
                value = graph.inputs[index][0]
            else:
                break
        if not swaps and scale == 1.0:
            return start, 1.0  # nothing is gained by reading it further back
        self.spare |= passed
        self.notes += notes
        one = value
        for axes in reversed(steps):
            one = transpose(facts, one, axes)
        return (swap_last(facts, one) if swaps else one), scale


def with_heads(facts, one, lead):
    """A factor of rank 2 to 4 as one of rank 4 for batch and heads `lead`; of rank 3 where it is None."""
    shape = shape_of(facts, one)
    if len(shape) == 4:
        return one
    if len(shape) == 2:
        one = expand_dims(facts, one, 0)
        return one if lead is None else expand_dims(facts, one, 0)
    if lead is None:
        return one
    if shape[0] != product(lead):
        raise Declined("{} are not the heads of {}".format(shape, lead))
    # The net itself may have merged the heads into the batch.
    if isinstance(one, Value) and facts.graph.type(one) in VIEWS:
        before = facts.graph.inputs[one.writer][0]
        if facts.shape(before) == lead + shape[1:]:
            return before
    return split_heads(facts, one, lead)
