"""How much masks hide: of arrays, and of what the operators of a net see."""

import collections

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core, utils, workspace

from caffe2op_mask import blobs
from caffe2op_mask.checks import check_counts
from caffe2op_mask.fuse.graph import argument
from caffe2op_mask.text import columns

# What a mask hid: the share of its entries, and how many of its rows have nothing left. `share` is
# None where there are no entries.
Hidden = collections.namedtuple("Hidden", "name shape share empty_rows rows")

_PROBE = "caffe2op_mask/hidden/"


def as_mask(name, keep):
    """An array whose True or non-zero keeps, as bool."""
    keep = np.asarray(keep)
    nan = np.argwhere(keep != keep)
    if nan.size:
        raise ValueError(
            "{} must have no NaN, which neither keeps nor hides, but has it at {}.".format(
                name, tuple(nan[0].tolist())
            )
        )
    return keep.astype(bool)


def of_mask(name, keep, axis=-1):
    """The Hidden of a mask; True or non-zero keeps. Its columns are the dims from `axis` on."""
    keep = as_mask(name, keep)
    if keep.ndim == 0:
        raise ValueError("A mask must have at least 1 dim, but '{}' has none.".format(name))
    if not -keep.ndim <= axis < keep.ndim:
        raise ValueError(
            "axis must be in [{0}, {1}) for a mask of {1} dims, but is {2}.".format(
                -keep.ndim, keep.ndim, axis
            )
        )
    axis = axis % keep.ndim
    rows, columns = (int(np.prod(dims)) for dims in (keep.shape[:axis], keep.shape[axis:]))
    kept_of_row = keep.reshape(rows, columns).sum(axis=1)
    return _of_counts(name, keep.shape, kept_of_row, columns)


def _of_counts(name, shape, kept_of_row, columns):
    entries = kept_of_row.size * columns
    share = 1 - int(kept_of_row.sum()) / entries if entries else None
    empty = int(np.count_nonzero(kept_of_row == 0))
    return Hidden(name, tuple(shape), share, empty, kept_of_row.size)


def of_operator(op):
    """What an operator hides of its inputs as the workspace has them now, as a Hidden.

    None if it is no operator that masks. It is the operator itself that is asked, by running it on
    data that shows what it keeps, with all of its other inputs. What a gate draws at random it draws
    again. A bias hides where it is -inf. No blob of the net changes.

    Raises ValueError for inputs or outputs that its schema does not have.
    """
    ask = _ASK.get(op.type)
    if ask is None:
        return None
    check_counts("of_operator", [op])
    return ask("{} -> '{}'".format(op.type, op.output[0]), op)


def of_net(net):
    """Runs a net, operator by operator, and yields the Hidden of each that masks."""
    for op in net.op:
        if not op.HasField("device_option"):
            op = _copy(op)
            op.device_option.CopyFrom(net.device_option)
        hidden = of_operator(op)
        if hidden is not None:
            yield hidden
        workspace.RunOperatorOnce(op)


def table(masks):
    """Lines that say of each mask how much it hid.

    masks   Hiddens, or (name, bool array) with True for what is kept
    """
    lines = [("mask", "shape", "hidden", "rows wholly hidden")]
    for mask in masks:
        hidden = mask if isinstance(mask, Hidden) else of_mask(*mask)
        lines.append(
            (
                hidden.name,
                " x ".join(map(str, hidden.shape)),
                "-" if hidden.share is None else "{:.1%}".format(hidden.share),
                "{} of {}".format(hidden.empty_rows, hidden.rows),
            )
        )
    return columns(lines)


def _copy(op):
    copy = caffe2_pb2.OperatorDef()
    copy.CopyFrom(op)
    return copy


def _shape(blob):
    """Shape of a tensor of any type, without fetching it."""
    return tuple(_run(core.CreateOperator("Shape", [blob], [""]), 0).tolist())


def _run(op, output, replaced=(), arguments=(), dropped=()):
    """Output number `output` of a changed copy of an operator, none of which stays behind.

    replaced    (number of an input, array that takes its place)
    arguments   (name, value) that take the place of the operator's own
    dropped     names of arguments that the copy does without
    """
    copy = _copy(op)
    outputs = [_PROBE + "output_{}".format(i) for i in range(max(len(op.output), output + 1))]
    del copy.output[:]
    copy.output.extend(outputs)
    replaced = [(i, _PROBE + "input_{}".format(i), array) for i, array in replaced]
    for i, name, _ in replaced:
        copy.input[i] = name
    changed = set(dropped) | {name for name, _ in arguments}
    del copy.arg[:]
    copy.arg.extend(arg for arg in op.arg if arg.name not in changed)
    copy.arg.extend(utils.MakeArgument(name, value) for name, value in arguments)
    try:
        for _, name, array in replaced:
            workspace.FeedBlob(name, array)
        workspace.RunOperatorOnce(copy)
        return blobs.fetch(outputs[output])
    finally:
        for name in outputs + [name for _, name, _ in replaced]:
            if workspace.HasBlob(name):
                workspace.C.Workspace.current.remove_blob(name)


def _boolean_mask(name, op):
    return of_mask(name, blobs.fetch(op.input[-1]))


def _sequence_mask(name, op):
    shape = _shape(op.input[0])
    op = _copy(op)
    op.engine = "MASK"  # stock's takes float alone
    keep = _run(op, 0, [(0, np.ones(shape, bool))], [("fill_val", 0)])
    is_mask = argument(op, "mode", "") == "mask"
    return of_mask(name, keep, -1 if is_mask else argument(op, "axis", 1))


def _bias(op, dtype):
    """The bias of an operator on scores with 0 for all that is finite, as `_run` takes it."""
    if not argument(op, "has_bias", 0):
        return []
    place = len(op.input) - (2 if argument(op, "has_sinks", 0) else 1)
    bias = blobs.fetch(op.input[place])
    return [(place, np.where(np.isneginf(bias), bias, 0).astype(dtype))]


def _masked_softmax(name, op):
    scores = np.zeros(_shape(op.input[0]), np.float32)
    replaced = [(0, scores)] + _bias(op, scores.dtype)
    return of_mask(name, _run(op, 0, replaced, [("empty_row", "zero")], ["scale"]) > 0)


def _masked_attention(name, op):
    # Scores of 0 make LSE the logarithm of how many keys a query keeps: the matrix is never there.
    shapes = [_shape(blob) for blob in op.input[:3]]
    replaced = [(i, np.zeros(shape[:-1] + (1,))) for i, shape in enumerate(shapes)]
    replaced += _bias(op, np.float64)
    if argument(op, "has_sinks", 0):  # no key, and none where -inf
        replaced.append((len(op.input) - 1, np.full(_shape(op.input[-1]), -np.inf)))
    lse = _run(op, 1, replaced, [("empty_row", "zero")], ["scale", "softcap"])
    # Where sequences lie one behind the other, keys of another one are hidden, too.
    keys = shapes[1][0 if op.type == "MaskedAttentionJagged" else -2]
    return _of_counts(name, lse.shape + (keys,), np.rint(np.exp(lse)).ravel(), keys)


def _gate(name, op):
    return of_mask(name, _run(op, 1) != 0)


_ASK = {
    "BooleanMask": _boolean_mask,
    "BooleanMaskJagged": _boolean_mask,
    "Gate": _gate,
    "MaskedAttention": _masked_attention,
    "MaskedAttentionJagged": _masked_attention,
    "MaskedSoftmax": _masked_softmax,
    "SequenceMask": _sequence_mask,
}
