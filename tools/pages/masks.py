"""The masks that the documentation shows: each is a program that makes an operator.

An array of a program is fed to the blob of its name, so that what a page shows is what was run.
"""

import collections

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

from caffe2op_mask import plot

# stem        names the picture and the heading in the gallery
# operator    in whose section of the catalogue the picture stands
# text        says what is kept
# program     Python whose `op` is the operator
# show        arguments of `python -m caffe2op_mask show` that tell the same
# draw        what of caffe2op_mask.plot draws it: mask or gate
# look        from the blobs, by name, to what is drawn and options of the picture
# drawn       whether it has a picture; what has none is shown as text
Mask = collections.namedtuple("Mask", "stem operator text program show draw look drawn")

# A mask with what came of it: its blobs by name, what is drawn, options, and the Hidden of it.
Made = collections.namedtuple("Made", "mask blobs values options hidden")


def make(mask):
    """Runs the program of a mask and its operator."""
    found = {"np": np, "core": core, "caffe2_pb2": caffe2_pb2}
    given = set(found)
    exec(mask.program, found)
    op = found["op"]
    blobs = {
        name: value
        for name, value in found.items()
        if name not in given and isinstance(value, np.ndarray)
    }
    for name, value in blobs.items():
        workspace.FeedBlob(name, value)
    workspace.RunOperatorOnce(op)
    blobs.update((name, workspace.FetchBlob(name)) for name in op.output)
    values, options = mask.look(op, blobs)
    hidden = plot.of_mask(mask.stem, values != 0)
    return Made(mask, blobs, values, dict({"title": mask.stem}, **options), hidden)


def _filled(op, blobs):
    """Of data of ones, or of scores of zeros: an output is 0 or -inf where it was masked."""
    output = blobs[op.output[0]]
    return np.isfinite(output) & (output != 0), {}


def _weights(op, blobs):
    """As `_filled`, of the attention's first head; V is the identity, so that O is the weights."""
    keep, _ = _filled(op, blobs)
    return keep[0, 0] if keep.ndim == 4 else keep[:, 0], {}


def _compacted(op, blobs):
    """Of values that all differ: those that came through were kept."""
    keep = np.isin(blobs[op.input[0]], blobs[op.output[0]])
    if "lengths" not in blobs:
        return keep, {}
    return keep, {"column_labels": np.repeat(np.arange(len(blobs["lengths"])), blobs["lengths"])}


def _counted(op, blobs):
    return blobs["mask"], {"row_labels": blobs[op.output[0]]}


def _gates(op, blobs):
    """The gates, to 2 places: the last bits differ from machine to machine."""
    return blobs[op.output[-1]].astype(np.float64).round(2), {}


def _mask(stem, operator, text, program, show, draw="mask", look=_filled, drawn=False):
    return Mask(stem, operator, text, program.strip() + "\n", show, draw, look, drawn)


SEQUENCE_MASKS = [
    _mask(
        "sequence",
        "SequenceMask",
        "Padding: of each batch, columns before its length. Each of two batches has a panel.",
        """
scores = np.ones((2, 12, 12), np.float32)
lengths = np.array([9, 5], np.int32)
op = core.CreateOperator(
    "SequenceMask", ["scores", "lengths"], ["masked"],
    mode="sequence", axis=2, batch=0, lengths_of="batch")
""",
        "--shape 2,12,12 --mode sequence --lengths 9,5",
        drawn=True,
    ),
    _mask(
        "window",
        "SequenceMask",
        "Columns no further than the radius from the center of the row.",
        """
scores = np.ones((6, 12), np.float32)
centers = np.array([0, 1, 4, 6, 9, 11], np.int32)
op = core.CreateOperator(
    "SequenceMask", ["scores", "centers"], ["masked"], mode="window", radius=2)
""",
        "--shape 6,12 --mode window --radius 2 --centers 0,1,4,6,9,11",
        drawn=True,
    ),
    _mask(
        "upper",
        "SequenceMask",
        "Causal: row i keeps columns 0 to i. Named for what it fills, the upper triangle.",
        """
scores = np.ones((12, 12), np.float32)
op = core.CreateOperator("SequenceMask", ["scores"], ["masked"], mode="upper")
""",
        "--shape 12,12 --mode upper",
        drawn=True,
    ),
    _mask(
        "lower",
        "SequenceMask",
        "Row i keeps columns from i on.",
        """
scores = np.ones((12, 12), np.float32)
op = core.CreateOperator("SequenceMask", ["scores"], ["masked"], mode="lower")
""",
        "--shape 12,12 --mode lower",
    ),
    _mask(
        "upperdiag",
        "SequenceMask",
        "As upper, with the diagonal hidden too: row 0 keeps nothing.",
        """
scores = np.ones((12, 12), np.float32)
op = core.CreateOperator("SequenceMask", ["scores"], ["masked"], mode="upperdiag")
""",
        "--shape 12,12 --mode upperdiag",
    ),
    _mask(
        "lowerdiag",
        "SequenceMask",
        "As lower, with the diagonal hidden too: the last row keeps nothing.",
        """
scores = np.ones((12, 12), np.float32)
op = core.CreateOperator("SequenceMask", ["scores"], ["masked"], mode="lowerdiag")
""",
        "--shape 12,12 --mode lowerdiag",
    ),
    _mask(
        "padded and causal",
        "SequenceMask",
        "Shapes joined by + keep what all of them keep.",
        """
scores = np.ones((2, 12, 12), np.float32)
lengths = np.array([9, 5], np.int32)
op = core.CreateOperator(
    "SequenceMask", ["scores", "lengths"], ["masked"],
    mode="sequence+upper", axis=2, batch=0, lengths_of="batch")
""",
        "--shape 2,12,12 --mode sequence+upper --lengths 9,5",
        drawn=True,
    ),
    _mask(
        "a mask of rows",
        "SequenceMask",
        "Any bool mask, aligned to the leading dims of data; an entry covers the dims behind.",
        """
scores = np.ones((6, 12), np.float32)
mask = np.array([True, True, False, True, False, False])
op = core.CreateOperator("SequenceMask", ["scores", "mask"], ["masked"], mode="mask")
""",
        "masked.npy --as mask",
    ),
]

SOFTMAX_MASKS = [
    _mask(
        "sliding window",
        "MaskedSoftmax",
        "Causal, and no further back than window_left.",
        """
scores = np.zeros((12, 12), np.float32)
op = core.CreateOperator("MaskedSoftmax", ["scores"], ["weights"], mode="upper", window_left=3)
""",
        "--shape 12,12 --mode upper --window-left 3",
        drawn=True,
    ),
    _mask(
        "left padded and causal",
        "MaskedSoftmax",
        "A causal batch that is padded at the beginning. Rows that are padding keep nothing and become "
        "zeros.",
        """
scores = np.zeros((2, 12, 12), np.float32)
left_pad = np.array([3, 7], np.int32)
op = core.CreateOperator(
    "MaskedSoftmax", ["scores", "left_pad"], ["weights"], mode="upper+left_pad")
""",
        "--shape 2,12,12 --mode upper+left_pad --left-pad 3,7",
        drawn=True,
    ),
]

ATTENTION_MASKS = [
    _mask(
        "causal from the end",
        "MaskedAttention",
        "Fewer queries than keys, and the last query stands on the last key.",
        """
Q = np.zeros((1, 1, 5, 8), np.float32)
K = np.zeros((1, 1, 12, 8), np.float32)
V = np.eye(12, dtype=np.float32).reshape(1, 1, 12, 12)
op = core.CreateOperator(
    "MaskedAttention", ["Q", "K", "V"], ["O"], mode="upper", align="bottom_right")
""",
        "O.npy",
        look=_weights,
    ),
    _mask(
        "decoding",
        "MaskedAttention",
        "A cache with room for 12 keys that holds 8: the last query stands on the last key that is "
        "there.",
        """
Q = np.zeros((1, 1, 3, 8), np.float32)
K = np.zeros((1, 1, 12, 8), np.float32)
V = np.eye(12, dtype=np.float32).reshape(1, 1, 12, 12)
lengths = np.array([8], np.int32)
op = core.CreateOperator(
    "MaskedAttention", ["Q", "K", "V", "lengths"], ["O"],
    mode="sequence+upper", align="bottom_right")
""",
        "O.npy",
        look=_weights,
        drawn=True,
    ),
    _mask(
        "sequences",
        "MaskedAttentionJagged",
        "Three sequences that lie one behind the other, each causal.",
        """
Q = np.zeros((12, 1, 8), np.float32)
K = np.zeros((12, 1, 8), np.float32)
V = np.eye(12, dtype=np.float32).reshape(12, 1, 12)
lengths = np.array([3, 4, 5], np.int32)
op = core.CreateOperator(
    "MaskedAttentionJagged", ["Q", "K", "V", "lengths"], ["O"], mode="upper")
""",
        "O.npy",
        look=_weights,
        drawn=True,
    ),
]

BOOLEAN_MASKS = [
    _mask(
        "rows in their places",
        "BooleanMask",
        "With keep_shape rows stay where they are, and the others are filled.",
        """
data = np.ones((6, 12), np.float32)
mask = np.array([True, True, False, True, False, False])
op = core.CreateOperator("BooleanMask", ["data", "mask"], ["masked"], keep_shape=1)
""",
        "masked.npy --as mask",
    ),
    _mask(
        "segments",
        "BooleanMaskJagged",
        "Of 12 values in segments of 3, 4, 0 and 5; the columns are labelled by segment.",
        """
values = np.arange(1, 13, dtype=np.float32)
lengths = np.array([3, 4, 0, 5], np.int32)
mask = np.arange(12) % 4 != 2
op = core.CreateOperator(
    "BooleanMaskJagged", ["values", "lengths", "mask"], ["masked_values", "masked_lengths"])
""",
        "mask.npy",
        look=_compacted,
        drawn=True,
    ),
    _mask(
        "counted rows",
        "BooleanMaskLengths",
        "How much a mask keeps of each row; the rows are labelled by what came out.",
        """
mask = np.arange(12) < np.array([[9], [12], [0], [4]])
op = core.CreateOperator("BooleanMaskLengths", ["mask", "mask"], ["masked_lengths"])
""",
        "mask.npy",
        look=_counted,
    ),
    _mask(
        "two masks and a fill",
        "BooleanUnmask",
        "Values return to where their masks are True; hidden is what no mask claims.",
        """
mask_1 = np.tile([True, False, False], (6, 4))
values_1 = np.full(24, 1, np.float32)
mask_2 = np.arange(12) < np.arange(6).reshape(6, 1)
values_2 = np.full(np.count_nonzero(mask_2 & ~mask_1), 2, np.float32)
op = core.CreateOperator(
    "BooleanUnmask", ["mask_1", "values_1", "mask_2", "values_2"], ["data"], fill_val=0.0)
""",
        "data.npy --as mask",
        drawn=True,
    ),
]

DRAWN_MASKS = [
    _mask(
        "drawn spans",
        "RandomMask",
        "Spans of 8, which may overlap; an entry is hidden with the same probability p.",
        """
X = np.zeros((12, 40), np.float32)
seeded = core.DeviceOption(caffe2_pb2.CPU, random_seed=1)
op = core.CreateOperator(
    "RandomMask", ["X"], ["mask"], p=0.3, unit="span", span_length=8, device_option=seeded)
""",
        "mask.npy",
        drawn=True,
    ),
    _mask(
        "drawn from logits",
        "BernoulliMask",
        "Each entry is kept with probability sigmoid(Z), and Z grows from left to right.",
        """
Z = np.tile(np.linspace(-4, 4, 40, dtype=np.float32), (12, 1))
seeded = core.DeviceOption(caffe2_pb2.CPU, random_seed=1)
op = core.CreateOperator("BernoulliMask", ["Z"], ["mask", "log_prob"], device_option=seeded)
""",
        "mask.npy",
    ),
]

GATES = [
    _mask(
        "a gate for each row",
        "Gate",
        "Hard gates of rows mask what is behind them: X is 1, and Y is what was let through.",
        """
X = np.ones((6, 12), np.float32)
Z = np.array([[2], [-1], [3], [-2], [0], [1]], np.float32)
op = core.CreateOperator("Gate", ["X", "Z"], ["Y"], kind="hard")
""",
        "Y.npy --as gate",
        draw="gate",
        look=_gates,
    ),
    _mask(
        "layer or input",
        "Highway",
        "How much comes from H, which is 1 here, and not from X, which is 0; Z grows to the right.",
        """
H = np.ones((6, 12), np.float32)
X = np.zeros((6, 12), np.float32)
Z = np.tile(np.linspace(-4, 4, 12, dtype=np.float32), (6, 1))
op = core.CreateOperator("Highway", ["H", "X", "Z"], ["Y"])
""",
        "Y.npy --as gate",
        draw="gate",
        look=_gates,
        drawn=True,
    ),
    _mask(
        "two experts of six",
        "MixtureGate",
        "The weights G that each row gives to its experts: with top_k the others are not read.",
        """
E = np.ones((8, 6, 2), np.float32)
Z = (np.arange(48, dtype=np.float32) * 37 % 48 / 12).reshape(8, 6)
op = core.CreateOperator("MixtureGate", ["E", "Z"], ["Y", "G"], top_k=2)
""",
        "G.npy --as gate",
        draw="gate",
        look=_gates,
    ),
]

# Title of a part of the gallery, a sentence on it, its masks.
FAMILIES = [
    (
        "Shapes",
        "SequenceMask fills what a shape excludes. MaskedSoftmax and MaskedAttention take the same "
        "modes, but for mask, which is an input of theirs.",
        SEQUENCE_MASKS,
    ),
    (
        "Shapes of a softmax",
        "Windows around a row belong to MaskedSoftmax and MaskedAttention alone.",
        SOFTMAX_MASKS,
    ),
    (
        "Queries that are fewer than keys",
        "Where a query stands among the keys is told by `align` of MaskedAttention.",
        ATTENTION_MASKS,
    ),
    (
        "Masks of any content",
        "What BooleanMask and its kin keep, and what they put back.",
        BOOLEAN_MASKS,
    ),
    (
        "Masks that are drawn",
        "The seed makes them what they are here, on every machine and by any number of threads.",
        DRAWN_MASKS,
    ),
    ("Gates", "Numbers from 0 to 1 in place of True and False; those that are 0 hide.", GATES),
]

MASKS = [mask for _, _, masks in FAMILIES for mask in masks]
