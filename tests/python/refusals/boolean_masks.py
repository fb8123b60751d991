"""What operators on masks of any content refuse: BooleanMask and its kin, and their gradients."""

import re
from functools import partial

import numpy as np

from refusals.rows import F, LEADING, M, SCALAR, TYPE, bools, ints, refusal, text

LENGTHS = np.array([1, 2], "int32")
HUGE = 2 ** 63 - 1
WRAPS = -(-(2 ** 64) // 10000)  # 10000 times it is little in 64 bits

mask_op = partial(refusal, "BooleanMask")
lengths_op = partial(refusal, "BooleanMaskLengths")
jagged_op = partial(refusal, "BooleanMaskJagged", outputs=2)
unmask_op = partial(refusal, "BooleanUnmask")


def longs(*values):
    return np.array(values, "int64")


def vast(dtype, *shape):
    """An empty tensor whose other dims are beyond any memory."""
    return np.zeros(0, dtype).reshape(shape)


def too_large(name, shape, dtype):
    message = "{} would be of shape {} and type {}, which is more than 2^63 - 1 bytes."
    return re.escape(message.format(name, list(shape), dtype))


ROWS = [
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
    refusal("BooleanMaskGradient",
            "d_masked must have one row for each of the 2 True of mask, but is of shape \\[3, "
            "2\\]", M, F),
    refusal("BooleanMaskGradient", "d_masked must have at least one dim", M, SCALAR),
    refusal("BooleanMaskGradient", "mask must have at least one dim", np.array(True), F),
    refusal("BooleanMaskGradient", LEADING + "d_masked, but", M, F[:2], keep_shape=1),
    refusal("BooleanMaskGradient", "mask " + TYPE.format("bool", "float32"), F, F),
    refusal("BooleanMaskGradient", "d_masked must be a number or bool, but is of type string", M,
            text()[:2]),
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
    refusal("BooleanUnmaskGradient",
            "d_data must be of the shape of data, \\[3, 2\\], but is of shape \\[2, 2\\]", M, F[:2],
            F[:2]),
    refusal("BooleanUnmaskGradient", "values_1 must have one row for each of the 2", M, F[:1], F),
    refusal("BooleanUnmaskGradient",
            "inputs must be k pairs .* but there are 4 inputs and 1 outputs", M, F[:2], M, F),
    # In place
    mask_op("masked must not be data itself unless keep_shape is 1", F, M, in_place=0),
    refusal("BooleanMaskGradient", "d_data must not be d_masked itself unless", M, F[:2],
            in_place=1),
    # Outputs
    mask_op("with keep_shape there is 1 output, masked, but 2 are", F, M, keep_shape=1, outputs=2),
    mask_op("with keep_shape there is 1 output, masked, but 2 are", F, M, keep_shape=1, outputs=2,
            in_place=0),
    refusal("BooleanMaskGradient", too_large("d_data", (10000, WRAPS), "uint8"), ~bools(10000),
            vast("uint8", 0, WRAPS)),
    refusal("BooleanMaskGradient", too_large("d_data", (8, 2 ** 60), "bool"), ~bools(8),
            vast("bool", 0, 2 ** 60)),
    refusal("BooleanMaskGradient", too_large("d_data", (8, 2 ** 58), "float32"), ~bools(8),
            vast("float32", 0, 2 ** 58)),
    refusal("BooleanUnmask", too_large("data", (10000, WRAPS), "uint8"), ~bools(10000),
            vast("uint8", 0, WRAPS), fill_val=0),
    refusal("BooleanUnmask", too_large("data", (8, 2 ** 32, 2 ** 30), "int8"), ~bools(8),
            vast("int8", 0, 2 ** 32, 2 ** 30), fill_val=0),
    refusal("BooleanUnmask", too_large("data", (8, 2 ** 59), "int16"), ~bools(8),
            vast("int16", 0, 2 ** 59), fill_val=0),
    refusal("BooleanMaskLengths", too_large("masked_lengths", (2 ** 62 + 1,), "int32"),
            *[vast("bool", 2 ** 62 + 1, 0)] * 2),
]
