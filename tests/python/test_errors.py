"""Bad input: what the error says, and that nothing else has happened.

Each message names the operator, the input or argument, what was expected and what came.
"""

import re

import numpy as np
import pytest
from caffe2.python import core, workspace

from op_tester import Case, assert_same, create, run

F = np.ones((3, 2), "float32")
M = np.array([True, False, True])
SCALAR = np.array(1, "float32")
LENGTHS = np.array([1, 2], "int32")
HUGE = 2 ** 63 - 1


def ints(*values):
    return np.array(values, "int32")


def longs(*values):
    return np.array(values, "int64")


def bools(*shape):
    return np.ones(shape, bool)


def text():
    return np.array([b"a", b"b", b"c"], dtype=object)


def vast(dtype, *shape):
    """An empty tensor whose other dims are beyond any memory."""
    return np.zeros(0, dtype).reshape(shape)


def mask_op(message, *inputs, **args):
    return "BooleanMask", inputs, args, message


def lengths_op(message, *inputs):
    return "BooleanMaskLengths", inputs, {}, message


def jagged_op(message, *inputs):
    return "BooleanMaskJagged", inputs, {}, message


def unmask_op(message, *inputs, **args):
    return "BooleanUnmask", inputs, args, message


def sequence_op(message, *inputs, **args):
    return "SequenceMask", inputs, args, message


def fill(message, dtype, **args):
    return sequence_op(
        "argument fill_val is {}, which data of type {} cannot hold".format(message, dtype),
        np.ones((2, 2), dtype),
        mode="upper",
        **args
    )


LEADING = "mask must have at least one dim and the leading dims of "
SHAPED = "of shape \\[{}\\]"
TYPE = "must be of type {}, but is {}"
MODE = "argument mode must be mask, or shapes of .*, but is '{}'"
ROWS = "must have one entry for each of the 3 rows of data, .*, but is of shape "

CASES = [
    # BooleanMask
    mask_op(LEADING + "data, but mask is of shape \\[2\\] and data of shape \\[3, 2\\]", F, M[:2]),
    mask_op(LEADING + "data, but mask is of shape \\[3, 3\\] and data", F, bools(3, 3)),
    mask_op(LEADING + "data, but mask is of shape \\[3, 2, 1\\] and data", F, bools(3, 2, 1)),
    mask_op(LEADING + "data, but mask is of shape \\[\\] and data of shape", F, np.array(True)),
    mask_op(LEADING + "data, but mask is of shape \\[3\\] and data of shape \\[\\]", SCALAR, M),
    mask_op("mask " + TYPE.format("bool", "uint8"), F, M.astype("uint8")),
    mask_op("mask " + TYPE.format("bool", "float32"), F, M.astype("float32"), keep_shape=1),
    mask_op("mask " + TYPE.format("bool", "string"), F, text()),
    mask_op("data must be a number or bool, but is of type string", text(), M, keep_shape=1),
    mask_op("argument keep_shape must be 0 or 1, but is 2", F, M, keep_shape=2),
    mask_op("argument keep_shape must be an integer, but is the string 'yes'", F, M,
            keep_shape="yes"),
    mask_op("argument keep_shape must be an integer, but is the number 1", F, M, keep_shape=1.0),
    mask_op("argument fill_val must be a number, but is the string 'zero'", F, M, keep_shape=1,
            fill_val="zero"),
    mask_op("argument fill_val must be a number, but is a list", F, M, keep_shape=1,
            fill_val=[1.0]),
    mask_op("argument fill_val goes with keep_shape = 1, but keep_shape is 0", F, M,
            fill_val=0.0),
    mask_op("argument fill_val is 300, which data of type uint8 cannot hold", F.astype("uint8"), M,
            keep_shape=1, fill_val=300),
    # BooleanMaskGradient
    ("BooleanMaskGradient", [M, F], {},
     "d_masked must have one row for each of the 2 True of mask, but is of shape \\[3, 2\\]"),
    ("BooleanMaskGradient", [M, SCALAR], {}, "d_masked must have at least one dim"),
    ("BooleanMaskGradient", [np.array(True), F], {}, "mask must have at least one dim"),
    ("BooleanMaskGradient", [M, F[:2]], {"keep_shape": 1}, LEADING + "d_masked, but"),
    ("BooleanMaskGradient", [F, F], {}, "mask " + TYPE.format("bool", "float32")),
    ("BooleanMaskGradient", [M, text()[:2]], {},
     "d_masked must be a number or bool, but is of type string"),
    # BooleanMaskLengths
    lengths_op("lengths must add up to the 3 entries of mask, but add up to 2", ints(1, 1), M),
    lengths_op("lengths must add up to the 3 entries of mask, but add up to 4", ints(2, 2), M),
    lengths_op("lengths must add up to the 3 entries of mask, but add up to 0", ints(), M),
    lengths_op("lengths must not be negative, but lengths\\[1\\] is -1", ints(4, -1), M),
    lengths_op("lengths must add up to the 3 entries of mask, but pass 2\\^63 - 1 at "
               "lengths\\[2\\]", longs(HUGE, 0, 4), M),
    lengths_op("add up to 4294967297", ints(*[2 ** 31 - 1] * 2 + [3]), M),
    lengths_op("lengths " + TYPE.format("int32 or int64", "float32"), F[:, 0], M),
    lengths_op("lengths " + TYPE.format("int32 or int64", "uint8"), M.astype("uint8"), M),
    lengths_op("lengths must have 1 dim, but is of shape \\[1, 2\\]", LENGTHS[None], M),
    lengths_op("mask " + TYPE.format("bool", "int32"), LENGTHS, ints(1, 1, 1)),
    lengths_op("mask must have at least one dim", LENGTHS, np.array(True)),
    lengths_op("input 0 must have the mask's first dim, but is of shape \\[3, 2\\] and mask of "
               "shape \\[2, 3\\]", F, bools(2, 3)),
    lengths_op("input 0 must have the mask's first dim, but is of shape \\[\\]", SCALAR,
               bools(2, 3)),
    # BooleanMaskJagged
    jagged_op("lengths must add up to the 3 entries of mask, but add up to 5", F, ints(5), M),
    jagged_op("lengths must not be negative, but lengths\\[0\\] is -3", F, ints(-3, 6), M),
    jagged_op("but pass 2\\^63 - 1 at lengths\\[1\\]", F, longs(HUGE, HUGE), M),
    jagged_op("lengths " + TYPE.format("int32 or int64", "float32"), F, F[:, 0], M),
    jagged_op("lengths must have 1 dim, but is of shape \\[\\]", F, np.array(3, "int32"), M),
    jagged_op("mask " + TYPE.format("bool", "int64"), F, LENGTHS, longs(1, 1, 1)),
    jagged_op("mask must have 1 dim, but is of shape \\[3, 2\\]", F, LENGTHS, bools(3, 2)),
    jagged_op(LEADING + "values, but mask is of shape \\[4\\] and values of shape \\[3, 2\\]",
              F, ints(4), bools(4)),
    jagged_op("values must be numbers or bool, but are of type string", text(), LENGTHS, M),
    # BooleanUnmask
    unmask_op("values_1 must have one row for each of the 2 positions that mask_1 is the first "
              "to claim, but is of shape \\[1, 2\\]", M, F[:1], fill_val=0),
    unmask_op("values_2 must have one row for each of the 1 positions that mask_2 is the first "
              "to claim, but is of shape \\[2\\]", M, F[:2, 0], bools(3), F[:2, 0]),
    unmask_op("every position must be True in some mask unless fill_val is given, but all masks "
              "are False at position 1", M, F[:2]),
    unmask_op("every position must be True in some mask unless fill_val is given, but all masks "
              "are False at position 4099", np.arange(5000) != 4099, np.ones(4999, "f")),
    unmask_op("inputs must be pairs of a mask and its values, but there are 1", M),
    unmask_op("inputs must be pairs of a mask and its values, but there are 3", M, F[:2], M),
    unmask_op("mask_1 " + TYPE.format("bool", "int32"), ints(1, 0, 1), F[:2]),
    unmask_op("mask_2 " + TYPE.format("bool", "float32"), M, F[:2], F[:, 0], F[:1]),
    unmask_op("all values must have one type, but values_1 is of type float32 and values_2 of "
              "type float64", M, F[:2], ~M, np.ones((1, 2))),
    unmask_op("all masks must have one shape, but mask_1 is of shape \\[3\\] and mask_2 of shape "
              "\\[3, 1\\]", M, F[:2], bools(3, 1), F[:1]),
    unmask_op("all values must have rows of one shape, but a row of values_1 is of shape \\[2\\] "
              "and one of values_2 of shape \\[\\]", M, F[:2], ~M, F[:1, 0]),
    unmask_op("mask_1 must have at least one dim", np.array(True), F[:1]),
    unmask_op("values_1 must have at least one dim", M, SCALAR),
    unmask_op("argument layout must be auto, compact or dense, but is 'sparse'", M, F,
              layout="sparse"),
    unmask_op("argument layout must be a string, but is the integer 1", M, F, layout=1),
    unmask_op("with layout = dense values_1 must have the leading dims of mask_1, \\[3\\], but is "
              "of shape \\[2, 2\\]", M, F[:2], layout="dense", fill_val=0),
    unmask_op("values_1 must have one row for each of the 2 positions .*, but is of shape "
              "\\[3, 2\\]", M, F, layout="compact", fill_val=0),
    unmask_op("argument fill_val is 2, which data of type bool cannot hold", M, M, fill_val=2),
    unmask_op("with fill_val values must be numbers or bool, but are of type string", M,
              text()[:2], fill_val=0),
    # BooleanUnmaskGradient
    ("BooleanUnmaskGradient", [M, F[:2], F[:2]], {},
     "d_data must be of the shape of data, \\[3, 2\\], but is of shape \\[2, 2\\]"),
    ("BooleanUnmaskGradient", [M, F[:1], F], {}, "values_1 must have one row for each of the 2"),
    ("BooleanUnmaskGradient", [M, F[:2], M, F], {},
     "inputs must be k pairs .* but there are 4 inputs and 1 outputs"),
    # SequenceMask: inputs
    sequence_op("lengths " + ROWS + "\\[2\\]", F, ints(1, 2), mode="sequence"),
    sequence_op("lengths " + ROWS + "\\[4\\]", F, ints(1, 2, 3, 4), mode="sequence"),
    sequence_op("centers " + ROWS + "\\[2\\]", F, ints(1, 2), mode="window"),
    sequence_op("centers " + ROWS + "\\[1\\]", F, ints(1, 1, 1), ints(1), mode="sequence+window"),
    sequence_op("left_pad " + ROWS + "\\[2\\]", F, ints(1, 2), mode="left_pad"),
    sequence_op("left_pad " + ROWS + "\\[4\\]", F, ints(1, 1, 1), ints(1, 1, 1, 1),
                mode="sequence+left_pad"),
    sequence_op("lengths " + TYPE.format("int32 or int64", "float32"), F, F[:, 0],
                mode="sequence"),
    sequence_op("left_pad " + TYPE.format("int32 or int64", "float32"), F, F[:, 0],
                mode="left_pad"),
    sequence_op("centers " + TYPE.format("int32 or int64", "bool"), F, M, mode="window"),
    sequence_op("mode 'sequence' takes 2 inputs \\(data, lengths\\), but there is 1", F,
                mode="sequence"),
    sequence_op("mode 'window' takes 2 inputs \\(data, centers\\), but there is 1", F,
                mode="window"),
    sequence_op("mode 'window\\+sequence' takes 3 inputs \\(data, lengths, centers\\), but there "
                "are 2", F, ints(1, 1, 1), mode="window+sequence"),
    sequence_op("mode 'left_pad\\+upper' takes 2 inputs \\(data, left_pad\\), but there is 1", F,
                mode="left_pad+upper"),
    sequence_op("mode 'left_pad\\+window\\+sequence' takes 4 inputs \\(data, lengths, centers, "
                "left_pad\\), but there are 3", F, ints(1, 1, 1), ints(1, 1, 1),
                mode="left_pad+window+sequence"),
    sequence_op("mode 'sequence' takes 2 inputs .*, but there are 3", F, ints(1, 1, 1),
                ints(1, 1, 1), mode="sequence"),
    sequence_op("mode 'upper' takes 1 input \\(data\\), but there are 3", F, F, F, mode="upper"),
    sequence_op("mode 'mask' takes 2 inputs \\(data, mask\\), but there is 1", F, mode="mask"),
    sequence_op("one entry for each of the 2 rows between batch and axis of data, \\[3, 2, 4\\], "
                "but is of shape \\[3\\]; lengths_of = batch is for entries by batch",
                np.ones((3, 2, 4), "f"), ints(1, 1, 1), mode="sequence", axis=2, batch=0),
    sequence_op("with lengths_of = batch lengths must have the shape of leading dims of data, "
                "\\[3, 2, 4\\], before axis 2, but is of shape \\[2\\]", np.ones((3, 2, 4), "f"),
                ints(1, 1), mode="sequence", axis=2, batch=0, lengths_of="batch"),
    sequence_op("with lengths_of = batch centers must have the shape of leading dims",
                F, ints(1, 1), mode="window", lengths_of="batch"),
    sequence_op("with lengths_of = batch left_pad must have the shape of leading dims",
                F, ints(1, 1), mode="left_pad", lengths_of="batch"),
    sequence_op("data must be a number or bool, but is of type string", text(), mode="upper",
                axis=0),
    sequence_op("mask " + TYPE.format("bool", "int32"), F, ints(1, 1, 1), mode="mask"),
    sequence_op("mask must have the leading dims of data, or 1 in their place, but mask is of "
                "shape \\[2\\] and data of shape \\[3, 2\\]", F, bools(2), mode="mask"),
    sequence_op("mask is of shape \\[3, 2, 1\\] and data of shape \\[3, 2\\]", F, bools(3, 2, 1),
                mode="mask"),
    # SequenceMask: arguments
    sequence_op(MODE.format("triangle"), F, mode="triangle"),
    sequence_op(MODE.format("upper\\+"), F, mode="upper+"),
    sequence_op(MODE.format("upper\\+mask"), F, bools(3), mode="upper+mask"),
    sequence_op(MODE.format(" upper"), F, mode=" upper"),
    sequence_op(MODE.format(""), F),
    sequence_op("argument mode must be a string, but is the integer 1", F, mode=1),
    sequence_op("argument axis must be in \\[-2, 2\\) for data of shape \\[3, 2\\], but is 2", F,
                mode="upper", axis=2),
    sequence_op("argument axis must be in \\[-2, 2\\) for data of shape \\[3, 2\\], but is -3", F,
                mode="upper", axis=-3),
    sequence_op("argument axis must be in", F, mode="upper", axis=2 ** 32),
    sequence_op("argument axis must be an integer, but is the string '1'", F, mode="upper",
                axis="1"),
    sequence_op("argument axis must be in \\[-1, 1\\) for data of shape \\[3\\], but is 1",
                F[:, 0], mode="upper"),
    sequence_op("argument batch must come before axis, but batch is 1 and axis is 1", F,
                mode="upper", axis=1, batch=1),
    sequence_op("argument batch must come before axis, but batch is 1 and axis is 0", F,
                mode="upper", axis=-2, batch=-1),
    sequence_op("argument batch must be in \\[-2, 2\\)", F, mode="upper", batch=5),
    sequence_op("argument repeat_from_axis must not come before axis, except by dims of 1, but "
                "repeat_from_axis is 0 and axis is 1 for data of shape \\[3, 2\\]\\.",
                F, ints(1, 1, 1), mode="sequence", repeat_from_axis=0),
    sequence_op("argument repeat_from_axis must be in \\[-2, 2\\)", F, mode="upper",
                repeat_from_axis=2),
    sequence_op("argument radius must not be negative, but is -1", F, ints(1, 1, 1),
                mode="window", radius=-1),
    sequence_op("argument radius must be an integer, but is the number 1.5", F, ints(1, 1, 1),
                mode="window", radius=1.5),
    sequence_op("argument diagonal must be an integer, but is the string 'k'", F, mode="upper",
                diagonal="k"),
    sequence_op("argument lengths_of must be rows or batch, but is 'heads'", F, ints(1, 1, 1),
                mode="sequence", lengths_of="heads"),
    sequence_op("argument grad must be 0 or 1, but is 3", F, mode="upper", grad=3),
    sequence_op("argument fill_val must be a number, but is the string '-infinity'", F, mode="upper",
                fill_val="-infinity"),
    fill("-inf", "int64"),
    fill("-inf", "bool"),
    fill("300", "uint8", fill_val=300),
    fill("-1", "uint16", fill_val=-1),
    fill("128", "int8", fill_val=128),
    fill("2", "bool", fill_val=2),
    fill("0.5", "int32", fill_val=0.5),
    fill("nan", "int16", fill_val=float("nan")),
    fill("2147483648", "int32", fill_val=2 ** 31),
    fill("9.223372e\\+18", "int64", fill_val=float(2 ** 63)),
    fill("1e\\+09", "float16", fill_val=1e9),
    fill("65520", "float16", fill_val=65520),
]


@pytest.mark.parametrize(
    "op_type, inputs, args, message", CASES, ids=["{0}: {3}".format(*case) for case in CASES]
)
def test_message(op_type, inputs, args, message):
    outputs = 2 if op_type == "BooleanMaskJagged" else 1
    op = create(op_type, Case(inputs, args, outputs))
    before = dict(zip(op.input, inputs))
    before.update((name, np.array([4.0, 2.0])) for name in op.output)
    for name, array in before.items():
        workspace.FeedBlob(name, array)
    with pytest.raises(RuntimeError, match=r"\b{}: [^\n]*{}".format(op_type, message)):
        workspace.RunOperatorOnce(op)
    # All is checked before anything is written ...
    for name, array in before.items():
        assert_same(workspace.FetchBlob(name), np.asarray(array))
    # ... and the process goes on.
    assert run("SequenceMask", np.ones((2, 2), "f"), mode="upper", fill_val=0.0).sum() == 3


WRAPS = -(-(2 ** 64) // 10000)  # 10000 times it is little in 64 bits


@pytest.mark.parametrize(
    "op_type, inputs, args, output",
    [
        ("BooleanMaskGradient", [~bools(10000), vast("uint8", 0, WRAPS)], {},
         ("d_data", (10000, WRAPS), "uint8")),
        ("BooleanMaskGradient", [~bools(8), vast("bool", 0, 2 ** 60)], {},
         ("d_data", (8, 2 ** 60), "bool")),
        ("BooleanMaskGradient", [~bools(8), vast("float32", 0, 2 ** 58)], {},
         ("d_data", (8, 2 ** 58), "float32")),
        ("BooleanUnmask", [~bools(10000), vast("uint8", 0, WRAPS)], {"fill_val": 0},
         ("data", (10000, WRAPS), "uint8")),
        ("BooleanUnmask", [~bools(8), vast("int8", 0, 2 ** 32, 2 ** 30)], {"fill_val": 0},
         ("data", (8, 2 ** 32, 2 ** 30), "int8")),
        ("BooleanUnmask", [~bools(8), vast("int16", 0, 2 ** 59)], {"fill_val": 0},
         ("data", (8, 2 ** 59), "int16")),
        ("BooleanMaskLengths", [vast("bool", 2 ** 62 + 1, 0)] * 2, {},
         ("masked_lengths", (2 ** 62 + 1,), "int32")),
    ],
    ids=str,
)
def test_output_past_all_memory(op_type, inputs, args, output):
    """Such inputs are not fetched: the runtime itself ends at that."""
    op = create(op_type, Case(inputs, args))
    for name, array in zip(op.input, inputs):
        workspace.FeedBlob(name, array)
    workspace.FeedBlob(op.output[0], LENGTHS)
    name, shape, dtype = output
    message = "{}: {} would be of shape {} and type {}, which is more than 2^63 - 1 bytes.".format(
        op_type, name, list(shape), dtype
    )
    with pytest.raises(RuntimeError, match=re.escape(message)):
        workspace.RunOperatorOnce(op)
    assert_same(workspace.FetchBlob(op.output[0]), LENGTHS)


@pytest.mark.parametrize("in_place", [None, 0])
def test_indices_go_with_compaction_only(in_place):
    case = Case([F, M], {"keep_shape": 1}, 2, in_place)
    with pytest.raises(RuntimeError, match="with keep_shape there is 1 output, masked, but 2 are"):
        for name, array in zip(("input_0", "input_1"), case.inputs):
            workspace.FeedBlob(name, array)
        workspace.RunOperatorOnce(create("BooleanMask", case))
    assert_same(workspace.FetchBlob("input_0"), F)


@pytest.mark.parametrize(
    "op_type, inputs, output, message",
    [
        ("BooleanMask", [F, M], 0, "masked must not be data itself unless keep_shape is 1"),
        ("BooleanMaskGradient", [M, F[:2]], 1, "d_data must not be d_masked itself unless"),
        ("BooleanMask", [F, M], 1, "did not pass schema checking"),
        ("BooleanMaskLengths", [LENGTHS, M], 0, "did not pass schema checking"),
        ("BooleanMaskJagged", [F, LENGTHS, M], 0, "did not pass schema checking"),
        ("BooleanUnmask", [M, F], 1, "did not pass schema checking"),
        ("SequenceMask", [F, ints(1, 1, 1)], 1, "did not pass schema checking"),
    ],
)
def test_in_place_where_it_cannot_be(op_type, inputs, output, message):
    args = {"mode": "sequence"} if op_type == "SequenceMask" else {}
    outputs = 2 if op_type == "BooleanMaskJagged" else 1
    op = create(op_type, Case(inputs, args, outputs, in_place=output))
    for name, array in zip(op.input, inputs):
        workspace.FeedBlob(name, array)
    with pytest.raises(RuntimeError, match=message):
        workspace.RunOperatorOnce(op)
    assert_same(workspace.FetchBlob(op.output[0]), inputs[output])


@pytest.mark.parametrize(
    "op_type, count",
    [
        ("BooleanMask", 1),
        ("BooleanMask", 3),
        ("BooleanMaskLengths", 1),
        ("BooleanMaskJagged", 2),
        ("BooleanUnmask", 0),
        ("BooleanUnmaskGradient", 2),
        ("SequenceMask", 0),
        ("SequenceMask", 5),
    ],
)
def test_input_count(op_type, count):
    """The runtime's own check of the schema, whose limits test_registry.py has."""
    inputs = ["input_{}".format(i) for i in range(count)]
    op = core.CreateOperator(op_type, inputs, ["output"], mode="upper")
    for name in inputs:
        workspace.FeedBlob(name, F)
    with pytest.raises(RuntimeError, match="(?s)did not pass schema checking.*" + op_type):
        workspace.RunOperatorOnce(op)


@pytest.mark.parametrize(
    "op_type, inputs, outputs, args",
    [
        ("BernoulliMask", 1, 2, {}),
        ("BooleanMask", 2, 2, {}),
        ("BooleanMaskJagged", 3, 2, {}),
        ("BooleanUnmaskGradient", 5, 2, {}),
        ("Gate", 2, 2, {}),
        ("Gate", 2, 3, {"kind": "hard_concrete"}),
        ("Gate", 2, 3, {"kind": "gumbel_softmax"}),
        ("GateGradient", 3, 2, {}),
        ("HighwayGradient", 4, 3, {}),
        ("MaskedAttention", 3, 2, {}),
        ("MaskedAttentionGradient", 6, 3, {}),
        ("MaskedSoftmaxGradient", 3, 2, {"has_bias": 1}),
        ("MixtureGate", 2, 2, {}),
        ("MixtureGateGradient", 3, 2, {}),
    ],
)
def test_one_blob_for_two_outputs(op_type, inputs, outputs, args):
    """The second would take the memory that the first is written to."""
    names = ["input_{}".format(i) for i in range(inputs)]
    for name in names:
        workspace.FeedBlob(name, F)
    for first, second in ((0, outputs - 1), (outputs - 2, outputs - 1)):
        blobs = ["output_{}".format(i) for i in range(outputs)]
        blobs[second] = blobs[first]
        op = core.CreateOperator(op_type, names, blobs, **args)
        message = "{}: outputs must be different blobs, but {} and {} are both '{}'".format(
            op_type, first, second, blobs[first]
        )
        with pytest.raises(RuntimeError, match=message):
            workspace.RunOperatorOnce(op)


def test_gradient_of_two_types():
    """What attention gave must be of the type of what it was given."""
    half, single = np.ones((1, 1, 1, 1), "float16"), np.ones((1, 1, 1, 1), "float32")
    inputs = [single, single[0], half, half, half, half]
    op = create("MaskedAttentionGradient", Case(inputs, {}, 3))
    for name, array in zip(op.input, inputs):
        workspace.FeedBlob(name, array)
    message = "MaskedAttentionGradient: O must be of the type of Q, float16, but is float32"
    with pytest.raises(RuntimeError, match=message):
        workspace.RunOperatorOnce(op)


def test_input_without_data():
    """A blob that exists but holds nothing."""
    workspace.FeedBlob("mask", M)
    workspace.CreateBlob("nothing")
    for op in (
        core.CreateOperator("BooleanMask", ["nothing", "mask"], ["output"]),
        core.CreateOperator("BooleanMask", ["mask", "nothing"], ["output"]),
        core.CreateOperator("SequenceMask", ["nothing"], ["output"], mode="upper"),
        core.CreateOperator("BooleanUnmask", ["mask", "nothing"], ["output"]),
        core.CreateOperator("BooleanMaskLengths", ["nothing", "mask"], ["output"]),
    ):
        with pytest.raises(RuntimeError):
            workspace.RunOperatorOnce(op)
    assert run("BooleanMask", F, M).shape == (2, 2)


def test_the_same_net_runs_after_its_input_was_mended():
    """An operator keeps nothing of a run that failed."""
    workspace.FeedBlob("mask", M)
    workspace.FeedBlob("values", F)
    net = core.Net("net")
    net.BooleanUnmask(["mask", "values"], ["data"], layout="compact", fill_val=0.0)
    workspace.CreateNet(net)
    with pytest.raises(RuntimeError, match="values_1 must have one row"):
        workspace.RunNet(net)
    workspace.FeedBlob("values", F[:2])
    workspace.RunNet(net)
    assert_same(workspace.FetchBlob("data"), F * M[:, None])
    # Another size of mask, too.
    workspace.FeedBlob("mask", np.arange(9000) % 2 == 0)
    workspace.FeedBlob("values", np.arange(4500, dtype="f"))
    workspace.RunNet(net)
    assert workspace.FetchBlob("data")[8998] == 4499
