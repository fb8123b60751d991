"""Operators that may run on the kept rows alone, and what they are there.

Of ``[B, L, ..]`` or ``[B * L, ..]`` the kept rows are ``[T, ..]``: axes move by one, or stay. Of
heads ``[B, H, L, D]`` they are ``[T, H, D]``, on which attention runs, and what splits and joins
heads.
"""

import collections

from caffe2op_mask.fuse.graph import argument, list_argument
from caffe2op_mask.fuse.shapes import product
from caffe2op_mask.fuse.views import VIEWS
from caffe2op_mask.pack.attention import why_padded
from caffe2op_mask.pack.demands import BINARY, REDUCTIONS, UNARY, Rows, can_move, concat_axis
from caffe2op_mask.pack.layouts import behind, has_labels, leading, order

PRODUCTS = ("FC", "FCTransposed", "MatMul", "BatchMatMul")

# What an input of an operator on rows is: its own kept rows, as it is, or without its first dim.
OF_ROWS, AS_IS, WITHOUT_FIRST = "rows", "as is", "without first"

# An operator on rows: what each input is, arguments that change (None goes), and how rows stand in
# its outputs: (how many dims they are, which of batch and row is first), or None where other dims
# come between. With `is_same` it does nothing there. `op_type` is what it becomes, or None.
Form = collections.namedtuple("Form", "inputs arguments leads is_same op_type")
Form.__new__.__defaults__ = (None,)


def form_of(demands, index):
    """The Form of an operator, or why it has none, a text."""
    op, graph = demands.graph.ops[index], demands.graph
    maker = _maker(op)
    if maker is None:
        return "it does not work row by row"
    if not can_move(graph, op):
        return "it runs on a device, by an engine or in an order of its own"
    if op.type == "MaskedAttention":
        reason = why_padded(demands, index, op)
        if reason is not None:
            return reason
    layouts = [_layout(demands, index, value) for value in demands.outputs(index)]
    if op.type == "Split":
        layouts = [layout for layout in layouts if layout is not None]
    else:
        layouts = layouts[:1]
        if any(demands.of(value) is not None for value in demands.outputs(index)[1:]):
            return "more than its first output is read"
    wanted = demands.of_inputs[index]
    if not any(demands.of(value) for value in demands.outputs(index)):
        return "nobody reads more of it than sizes"
    inputs = [one.layout if isinstance(one, Rows) else None for one in wanted]
    if not layouts or None in layouts or not any(inputs):
        return "its rows are not known"
    all_rows = layouts + [one for one in inputs if one is not None]
    leads = {leading(layout) for layout in all_rows}
    if None in leads and not _may_have_heads(op):
        return "its rows are not its first dims"
    orders = {order(layout) for layout in all_rows}
    if not _regroups(op) and len(leads) > 1 or op.type != "Transpose" and len(orders) > 1:
        return "its rows stand in different orders"
    return maker(demands, index, op, leading(layouts[0]), inputs)


def _regroups(op):
    """Whether rows may come to stand in other dims."""
    return op.type in VIEWS + ("Concat", "Transpose")


def _may_have_heads(op):
    """Whether an operator is one of those that run on rows with other dims between them."""
    others = ("MaskedAttention", "Split")
    return _regroups(op) or op.type in UNARY or op.type in BINARY or op.type in others


def _layout(demands, index, value):
    layout = demands.layout(value)
    if index in demands.zeros:
        # Of its rows of padding it is known what they are.
        return demands.of_inputs[index][0].layout
    return layout


def _maker(op):
    if op.type in UNARY or op.type in ("Dropout", "ATen", "Gather"):
        return _unchanged
    if op.type in BINARY:
        return _binary
    if op.type in REDUCTIONS:
        return _reduction
    if op.type in VIEWS:
        return _view
    return _MAKERS.get(op.type)


def _form(inputs, lead, arguments=(), is_same=False):
    kinds = tuple(AS_IS if layout is None else OF_ROWS for layout in inputs)
    return Form(kinds, tuple(arguments), lead, is_same)


def _unchanged(demands, index, op, lead, inputs):
    return _form(inputs, lead)


def _with_axis(axis):
    """A maker for operators along an axis, which `axis` finds from the operator and a rank."""

    def make(demands, index, op, lead, inputs):
        rank = len(demands.shape(demands.graph.inputs[index][0]))
        moved = axis(op, rank) - lead[0] + 1
        return _form(inputs, lead, [("axis", moved), ("order", None)])

    return make


def _concat(demands, index, op, lead, inputs):
    return _along(op, demands.layout(demands.graph.output(index)), lead, inputs)


def _split(demands, index, op, lead, inputs):
    return _along(op, inputs[0], lead, inputs)


def _along(op, layout, lead, inputs):
    """A Form along the dim of rows that a dim of a layout becomes."""
    axis = 1 + len(behind(layout[: concat_axis(op, len(layout))]))
    return _form(inputs, lead, [("axis", axis), ("order", None)])


def _axis_of_one(op, rank):
    return argument(op, "axis", 1) % rank


def _reduction(demands, index, op, lead, inputs):
    rank = len(demands.shape(demands.graph.inputs[index][0]))
    axes = [axis % rank - lead[0] + 1 for axis in list_argument(op, "axes")]
    return _form(inputs, lead, [("axes", tuple(axes))])


def _mat_mul(demands, index, op, lead, inputs):
    if len(demands.shape(demands.graph.inputs[index][1])) != 2:
        return "its second factor is no matrix"
    return _form(inputs, lead)


def _view(demands, index, op, lead, inputs):
    """A view that has the same dims behind the rows is the same rows."""
    before, after = (
        tuple(product(factors) for factors in behind(layout))
        for layout in (inputs[0], demands.layout(demands.graph.output(index)))
    )
    if before == after:
        return _form(inputs, lead, is_same=True)
    if 0 in after:
        return "its rows come to have other dims"
    return _form(inputs[:1], lead, [("shape", (0,) + after)])._replace(op_type="Reshape")


def _transpose(demands, index, op, lead, inputs):
    """Dims behind the rows may stay where they are."""
    axes = list_argument(op, "axes") or tuple(reversed(range(len(inputs[0]))))
    rest = [axis for axis in axes if behind(inputs[0][axis : axis + 1])]
    moved = tuple(sorted(rest).index(axis) + 1 for axis in rest)
    if moved == tuple(sorted(moved)):
        return _form(inputs, lead, is_same=True)
    return _form(inputs, lead, [("axes", (0,) + moved)])._replace(op_type="Transpose")


def _attention(demands, index, op, lead, inputs):
    return _form(inputs, lead)._replace(op_type="MaskedAttentionJagged")


def _binary(demands, index, op, lead, inputs):
    if lead is None:
        return _binary_of_heads(demands, index, op, inputs)
    rank = len(demands.shape(demands.graph.output(index)))
    legacy, kinds = argument(op, "broadcast", 0), []
    for value, layout in zip(demands.graph.inputs[index], inputs):
        shape = demands.shape(value)
        rest = rank - lead[0]  # dims behind the rows
        if layout is not None:
            kinds.append(OF_ROWS)
        elif len(shape) <= rest:
            kinds.append(AS_IS)
        elif legacy or any(size != 1 for size in shape[: len(shape) - rest]):
            return "'{}' is not the same for each row".format(value.blob)
        else:
            kinds.append(AS_IS if len(shape) == rest + 1 else WITHOUT_FIRST)
    # Where operands are broadcast from the last dim on, an axis says no more.
    return Form(tuple(kinds), (("axis", None),) if legacy else (), lead, False)


def _binary_of_heads(demands, index, op, inputs):
    layout = demands.layout(demands.graph.output(index))
    last = max(dim for dim in range(len(layout)) if has_labels(layout[dim : dim + 1]))
    ranks = {len(behind(one)) for one in inputs if one is not None}
    if argument(op, "broadcast", 0) or ranks != {len(behind(layout))}:
        return "its rows come to have other dims"
    for value, one in zip(demands.graph.inputs[index], inputs):
        if one is None and len(demands.shape(value)) > len(layout) - 1 - last:
            return "'{}' is not the same for each row".format(value.blob)
    return _form(inputs, None)


_MAKERS = {
    "BatchMatMul": _mat_mul,
    "Concat": _concat,
    "FC": _with_axis(_axis_of_one),
    "FCTransposed": _with_axis(_axis_of_one),
    "LayerNorm": _with_axis(_axis_of_one),
    "MaskedAttention": _attention,
    "MatMul": _mat_mul,
    "Softmax": _with_axis(_axis_of_one),
    "Split": _split,
    "Transpose": _transpose,
}
