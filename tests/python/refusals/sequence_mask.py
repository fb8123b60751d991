"""What SequenceMask refuses."""

from functools import partial

import numpy as np

from refusals.rows import F, M, TYPE, bools, ints, refusal, text

sequence_op = partial(refusal, "SequenceMask")


def fill(message, dtype, **args):
    return sequence_op(
        "argument fill_val is {}, which data of type {} cannot hold".format(message, dtype),
        np.ones((2, 2), dtype),
        mode="upper",
        **args
    )


MODE = "argument mode must be mask, or shapes of .*, but is '{}'"
PER_ROW = "must have one entry for each of the 3 rows of data, .*, but is of shape "

ROWS = [
    # SequenceMask: inputs
    sequence_op("lengths " + PER_ROW + "\\[2\\]", F, ints(1, 2), mode="sequence"),
    sequence_op("lengths " + PER_ROW + "\\[4\\]", F, ints(1, 2, 3, 4), mode="sequence"),
    sequence_op("centers " + PER_ROW + "\\[2\\]", F, ints(1, 2), mode="window"),
    sequence_op("centers " + PER_ROW + "\\[1\\]", F, ints(1, 1, 1), ints(1),
                mode="sequence+window"),
    sequence_op("left_pad " + PER_ROW + "\\[2\\]", F, ints(1, 2), mode="left_pad"),
    sequence_op("left_pad " + PER_ROW + "\\[4\\]", F, ints(1, 1, 1), ints(1, 1, 1, 1),
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
    sequence_op("argument fill_val must be a number, but is the string '-infinity'", F,
                mode="upper", fill_val="-infinity"),
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
