"""What operators on scores refuse: MaskedSoftmax, MaskedAttention and their gradients."""

from functools import partial

import numpy as np

from refusals.rows import refusal

F = np.ones((2, 4, 5, 7), "f")
Q, K, V = (np.ones(shape, "f") for shape in ((2, 4, 5, 3), (2, 2, 7, 3), (2, 2, 7, 6)))
VAST = np.zeros(0, "float16").reshape(1, 1, 2 ** 61, 0)

softmax = partial(refusal, "MaskedSoftmax")
attention = partial(refusal, "MaskedAttention", outputs=2)
jagged = partial(refusal, "MaskedAttentionJagged", outputs=2)
TQ, TK, TV = (np.ones(shape, "f") for shape in ((5, 4, 3), (5, 2, 3), (5, 2, 6)))
LENGTHS = np.array([2, 3], "int32")


def ints(*shape):
    return np.ones(shape, "int32")


def of_scores(operator, first, names, scores):
    """What both operators refuse, for scores of shape [2, 4, 5, 7].

    ``first`` are the inputs that are always there, ``names`` theirs, and ``scores`` what messages
    call the scores.
    """

    def refused(message, *extras, **args):
        return operator(message, *(list(first) + list(extras)), **args)

    takes = "it takes {} inputs? \\({}{}\\), but there (is|are) {}"
    count = len(first)
    of_scores = "of {}, \\[2, 4, 5, 7\\], ".format(scores)
    came = "but is of shape \\[{}\\]"
    index = "{} must have the shape of leading dims " + of_scores + "before its last, "
    index = (index + "or one entry for each of its 40 rows, " + came).format
    broadcast = ("{} must be of a shape that broadcasts to that " + of_scores + came).format
    return [
        # How many inputs there are.
        refused(takes.format(count + 1, names, ", lengths", count), mode="sequence"),
        refused(takes.format(count + 1, names, ", centers", count), mode="window+upper"),
        refused(takes.format(count + 2, names, ", lengths, centers", count + 1), ints(2),
                mode="window+sequence"),
        refused(takes.format(count + 1, names, ", left_pad", count), mode="left_pad"),
        refused(takes.format(count + 3, names, ", lengths, centers, left_pad", count + 2), ints(2),
                ints(2), mode="left_pad+window+sequence"),
        refused(takes.format(count + 1, names, ", mask", count), has_mask=1),
        refused(takes.format(count + 2, names, ", mask, bias", count + 1), np.ones(7, "f"),
                has_bias=1, has_mask=1),
        refused(takes.format(count, names, "", count + 1), ints(2)),
        refused(takes.format(count, names, "", count + 1), ints(2), mode="upper"),
        refused(takes.format(count + 1, names, ", lengths", count + 2), ints(2), ints(2),
                mode="sequence"),
        # Lengths, centers and left padding.
        refused("lengths must be of type int32 or int64, but is float32", np.ones(2, "f"),
                mode="sequence"),
        refused("centers must be of type int32 or int64, but is uint8", np.ones(2, "uint8"),
                mode="window"),
        refused("left_pad must be of type int32 or int64, but is float64", np.ones(2),
                mode="left_pad"),
        refused("lengths must be of type int32 or int64, but is string",
                np.array([b"a"] * 2, object), mode="sequence"),
        refused(index("lengths", "3"), ints(3), mode="sequence"),
        refused(index("lengths", "1"), ints(1), mode="sequence"),
        refused(index("lengths", "8"), ints(8), mode="sequence"),
        refused(index("lengths", "2, 1"), ints(2, 1), mode="sequence"),
        refused(index("lengths", "2, 4, 7"), ints(2, 4, 7), mode="sequence"),
        refused(index("lengths", "2, 4, 5, 7"), ints(2, 4, 5, 7), mode="sequence"),
        refused(index("lengths", "2, 4, 5, 7, 1"), ints(2, 4, 5, 7, 1), mode="sequence"),
        refused(index("centers", "5"), ints(2), ints(5), mode="sequence+window"),
        refused(index("left_pad", "7"), ints(2), ints(7), mode="sequence+left_pad"),
        refused(index("left_pad", "2, 5"), ints(2, 5), mode="upper+left_pad"),
        # Mask and bias.
        refused("mask must be of type bool, but is uint8", np.ones(7, "uint8"), has_mask=1),
        refused("mask must be of type bool, but is float32", np.ones(7, "f"), has_mask=1),
        refused(broadcast("mask", "5"), np.ones(5, bool), has_mask=1),
        refused(broadcast("mask", "2, 1, 7"), np.ones((2, 1, 7), bool), has_mask=1),
        refused(broadcast("mask", "0"), np.ones(0, bool), has_mask=1),
        refused(broadcast("mask", "1, 1, 1, 1, 7"), np.ones((1, 1, 1, 1, 7), bool),
                has_mask=1),
        refused(broadcast("bias", "2, 4, 5"), np.ones((2, 4, 5), "f"), has_bias=1),
        refused(broadcast("bias", "1, 1, 1, 1, 1"), np.ones((1,) * 5, "f"), has_bias=1),
        refused("bias must be of the type of the other inputs, float32, but is float64", np.ones(7),
                has_bias=1),
        refused("bias must be of the type of the other inputs, float32, but is bool",
                np.ones(7, bool), has_bias=1),
        # Arguments.
        refused("argument mode must be empty, or shapes of sequence, window, left_pad, upper "
                "\\(causal\\), lower, upperdiag, lowerdiag joined by '\\+', but is 'triangle'",
                mode="triangle"),
        refused("argument mode must be empty, or shapes of .*, but is 'leftpad'", mode="leftpad"),
        refused("argument mode must be empty, or shapes of .*, but is 'upper\\+'", mode="upper+"),
        refused("argument mode must be empty, or shapes of .*, but is 'mask'", np.ones(7, bool),
                mode="mask"),
        refused("argument mode must be a string, but is the integer 1", mode=1),
        refused("argument radius must not be negative, but is -1", ints(2), mode="window",
                radius=-1),
        refused("argument radius must be an integer, but is the number 0.5", ints(2), mode="window",
                radius=0.5),
        refused("argument diagonal must be an integer, but is the string 'k'", mode="upper",
                diagonal="k"),
        refused("argument window_left must be -1 \\(open\\) or more, but is -2", window_left=-2),
        refused("argument window_right must be -1 \\(open\\) or more, but is -9", window_right=-9),
        refused("argument window_left must be an integer, but is the number 1.5", window_left=1.5),
        refused("argument empty_row must be zero, nan or uniform, but is 'one'", empty_row="one"),
        refused("argument empty_row must be zero, nan or uniform, but is ''", empty_row=""),
        refused("argument empty_row must be a string, but is the integer 0", empty_row=0),
        refused("argument scale must be a number, but is the string 'half'", scale="half"),
        refused("argument scale must be a finite number, but is inf", scale=np.inf),
        refused("argument scale must be a finite number, but is -inf", scale=-np.inf),
        refused("argument scale must be a finite number, but is nan", scale=np.nan),
        refused("argument has_mask must be 0 or 1, but is 2", has_mask=2),
        refused("argument has_bias must be 0 or 1, but is -1", has_bias=-1),
    ]


ROWS = of_scores(softmax, [F], "X", "X")
ROWS += of_scores(attention, [Q, K, V], "Q, K, V", "the scores")
ROWS += [
    # MaskedSoftmax
    softmax("X must be of type float16, .* or float64, but is int32", F.astype("int32")),
    softmax("X must be of type .*, but is string", np.array([b"a"], object)),
    softmax("X must have at least 1 dim, but has none", np.array(1, "f")),
    softmax("argument axis must be the last of X, 3 or -1, but is 1", F, axis=1),
    softmax("argument axis must be the last of X, 3 or -1, but is 4", F, axis=4),
    softmax("argument axis must be the last of X, 3 or -1, but is -2", F, axis=-2),
    softmax("argument axis must be .*, but is -9223372036854775808", F, axis=-(2 ** 63)),
    softmax("argument axis must be an integer, but is the string 'last'", F, axis="last"),
    softmax("lengths must have the shape of leading dims of X, \\[7\\], before", F[0, 0, 0],
            np.array([1, 1], "int32"), mode="sequence"),
    softmax("argument log must be 0 or 1, but is 2", F, log=2, outputs=2),
    softmax("argument log must be an integer, but is the string 'yes'", F, log="yes", outputs=2),
    # MaskedAttention
    attention("Q must be of shape \\[B, H, Lq, D\\] or \\[B, Lq, D\\], but is of shape \\[5, 3\\]",
              Q[0, 0], K[0, 0], V[0, 0]),
    attention("Q must be .*, but is of shape \\[1, 2, 4, 5, 3\\]", Q[None], K, V),
    attention("K must be of shape \\[B, Lk, D\\], but is of shape \\[2, 2, 7, 3\\] where Q is of "
              "shape \\[2, 5, 3\\]", Q[:, 0], K, V),
    attention("V must be of shape \\[B, Lk, Dv\\] of K, .*\\[2, 2, 7, 6\\]", Q[:, 0], K[:, 0], V),
    attention("K must .*\\[1, 7, 3\\]", Q[:, 0], K[:1, 0], V[:, 0]),
    attention("V must .*\\[2, 6, 6\\]", Q[:, 0], K[:, 0], V[:, 0, :6]),
    attention("mask must be of a shape that broadcasts to that of the scores, \\[2, 5, 7\\]",
              Q[:, 0], K[:, 0], V[:, 0], np.ones((2, 1, 5, 7), bool), has_mask=1),
    attention("lengths must have the shape of leading dims of the scores, \\[2, 5, 7\\]", Q[:, 0],
              K[:, 0], V[:, 0], np.ones((2, 1, 5), "int32"), mode="sequence"),
    attention("K must be of shape \\[B, Hkv, Lk, D\\].*\\[2, 7, 3\\]", Q, K[0], V),
    attention("V must be of shape \\[B, Hkv, Lk, Dv\\].*\\[2, 7, 6\\]", Q, K, V[0]),
    attention("Q must be of type .*, but is int32", Q.astype("int32"), K, V),
    attention("K .*float32.*float64", Q, K.astype("float64"), V),
    attention("V .*float32.*float16", Q, K, V.astype("float16")),
    attention("K .*\\[1, 2, 7, 3\\]", Q, K[:1], V),
    attention("K .*\\[2, 2, 7, 2\\]", Q, K[..., :2], V),
    attention("V .*\\[1, 2, 7, 6\\]", Q, K, V[:1]),
    attention("V .*\\[2, 1, 7, 6\\]", Q, K, V[:, :1]),
    attention("V .*\\[2, 2, 6, 6\\]", Q, K, V[:, :, :6]),
    attention("heads", Q[:, :3], K, V),
    attention("heads", Q[:, :1], K, V),
    attention("heads", Q, K[:, :0], V[:, :0]),
    attention("argument align .*'left'", Q, K, V, align="left"),
    attention("argument align must be a string, but is the integer 1", Q, K, V, align=1),
    attention("argument softcap .*-1", Q, K, V, softcap=-1.0),
    attention("by its mode and arguments has_\\* it takes 4 inputs \\(Q, K, V, sinks\\), but "
              "there are 3", Q, K, V, has_sinks=1),
    attention("it takes 4 inputs", Q, K, V, Q[0, :, 0, 0], Q[0, :, 0, 0], has_sinks=1),
    attention("argument has_sinks must be 0 or 1, but is 2", Q, K, V, has_sinks=2),
    attention("sinks must be of shape \\[H\\], but is of shape \\[2\\] where Q is of shape \\[2, "
              "4, 5, 3\\]", Q, K, V, np.ones(2, "f"), has_sinks=1),
    attention("sinks .*\\[4, 1\\]", Q, K, V, np.ones((4, 1), "f"), has_sinks=1),
    attention("sinks .*shape \\[\\]", Q, K, V, np.ones((), "f"), has_sinks=1),
    attention("sinks must be of shape \\[1\\], but is of shape \\[2\\]", Q[:, 0], K[:, 0], V[:, 0],
              np.ones(2, "f"), has_sinks=1),
    attention("sinks must be of the type of Q, float32, but is float64", Q, K, V, np.ones(4),
              has_sinks=1),
    attention("LSE would be of shape \\[1, 1, {}\\] and type float32, which is more than 2\\^63 - "
              "1 bytes".format(2 ** 61), VAST, VAST[:, :, :5], VAST[:, :, :5]),
    attention("argument softcap must be a number, but is the string", Q, K, V, softcap="off"),
    # Their gradients
    refusal("MaskedSoftmaxGradient", "argument scale must be a finite number, but is nan", F, F,
            scale=np.nan),
]
ROWS += [
    refusal("MaskedSoftmaxGradient",
            "dLSE must be of shape \\[2, 3, 4\\] and type float32, but is of shape ",
            *[np.ones((2, 3, 4, 5), "f")] * 2 + [d_lse], has_d_lse=1)
    for d_lse in (np.ones((2, 3), "f"), np.ones((2, 3, 4)), np.ones((2, 3, 4, 1), "f"))
]
ROWS += [
    refusal("MaskedAttentionGradient",
            "LSE must be of shape \\[{}\\] and type float32, but is".format(meaning), q,
            np.ones(q.shape[:-2] + (4,), "f"), q, q, q, q, outputs=3)
    for q, meaning in ((np.ones((2, 2, 5, 3), "f"), "B, H, Lq"), (np.ones((2, 5, 3), "f"), "B, Lq"))
]
ROWS += [
    # MaskedAttentionJagged
    jagged("Q must be of shape \\[Tq, H, D\\], but is of shape \\[2, 4, 5, 3\\]", Q, TK, TV, ints(7)),
    jagged("Q must be of type .*, but is int32", TQ.astype("int32"), TK, TV, LENGTHS),
    jagged("K must be of shape \\[Tk, Hkv, D\\], but is of shape \\[2, 2, 7, 3\\] where Q is of "
           "shape \\[5, 4, 3\\]", TQ, K, TV, LENGTHS),
    jagged("K .*float32.*float64", TQ, TK.astype("float64"), TV, LENGTHS),
    jagged("V must be of shape \\[Tk, Hkv, Dv\\] of K, but is of shape \\[4, 2, 6\\]", TQ, TK, TV[1:],
           LENGTHS),
    jagged("the heads of Q must be a multiple of those of K and V, but Q has 3 and K has 2",
           TQ[:, :3], TK, TV, LENGTHS),
    jagged("lengths must be of type int32 or int64, but is float32", TQ, TK, TV, np.ones(5, "f")),
    jagged("lengths must have 1 dim, but is of shape \\[1, 5\\]", TQ, TK, TV, ints(1, 5)),
    jagged("lengths must not be negative, but lengths\\[1\\] is -1", TQ, TK, TV, np.array([2, -1])),
    jagged("lengths must add up to the 5 rows of Q, but add up to 4", TQ, TK, TV, ints(4)),
    jagged("lengths must add up to the 5 rows of Q, but pass them at lengths\\[1\\]", TQ, TK, TV,
           np.array([4, 2 ** 62])),
    jagged("lengths must add up to the 5 rows of Q, but add up to 0", TQ, TK, TV, ints(0)),
    jagged("lengths must add up to the 4 rows of K, but pass them at lengths\\[4\\]", TQ, TK[:4],
           TV[:4], ints(5)),
    jagged("key_lengths must add up to the 5 rows of K, but add up to 1", TQ, TK, TV, LENGTHS,
           ints(1), has_key_lengths=1),
    jagged("key_lengths must be of as many sequences as lengths, 2, but is of 5", TQ, TK, TV,
           LENGTHS, ints(5), has_key_lengths=1),
    jagged("key_lengths must be of type int32 or int64, but is bool", TQ, TK, TV, LENGTHS,
           np.ones(5, bool), has_key_lengths=1),
    jagged("used_keys must have an entry for each sequence, 2, but has 1", TQ, TK, TV, LENGTHS,
           ints(1), has_used_keys=1),
    jagged("used_keys must be between 0 and the keys of its sequence, 3, but used_keys\\[1\\] is 4",
           TQ, TK, TV, LENGTHS, np.array([2, 4]), has_used_keys=1),
    jagged("used_keys must be .*, but used_keys\\[0\\] is -1", TQ, TK, TV, LENGTHS,
           np.array([-1, 3]), has_used_keys=1),
    jagged("by its mode and arguments has_\\* it takes 7 inputs \\(Q, K, V, lengths, key_lengths, "
           "used_keys, sinks\\), but there are 4", TQ, TK, TV, LENGTHS, has_key_lengths=1,
           has_used_keys=1, has_sinks=1),
    jagged("it takes 4 inputs \\(Q, K, V, lengths\\), but there are 5", TQ, TK, TV, LENGTHS, LENGTHS),
    jagged("sinks must be of shape \\[H\\], but is of shape \\[2\\]", TQ, TK, TV, LENGTHS,
           np.ones(2, "f"), has_sinks=1),
    jagged("argument mode must be of shapes that read no input, but 'upper\\+sequence' reads "
           "lengths", TQ, TK, TV, LENGTHS, mode="upper+sequence"),
    jagged("argument mode must be empty, or shapes of .*, but is 'triangle'", TQ, TK, TV, LENGTHS,
           mode="triangle"),
    jagged("argument align must be top_left or bottom_right, but is 'left'", TQ, TK, TV, LENGTHS,
           align="left"),
    jagged("argument softcap must be a number of at least 0, but is -1", TQ, TK, TV, LENGTHS,
           softcap=-1.0),
    jagged("argument scale must be a finite number, but is nan", TQ, TK, TV, LENGTHS,
           scale=np.nan),
    jagged("argument window_left must be -1 \\(open\\) or more, but is -2", TQ, TK, TV, LENGTHS,
           window_left=-2),
    jagged("argument empty_row must be zero, nan or uniform, but is 'one'", TQ, TK, TV, LENGTHS,
           empty_row="one"),
    jagged("argument has_used_keys must be 0 or 1, but is 2", TQ, TK, TV, LENGTHS,
           has_used_keys=2),
    jagged("it has no argument 'has_mask'", TQ, TK, TV, LENGTHS, has_mask=1),
    refusal("MaskedAttentionJaggedGradient",
            "LSE must be of shape \\[5, 2\\] and type float32, but is of shape \\[5, 3\\]", TK, TK[:, 0],
            TK, TK, TK, TK, ints(5), outputs=3),
    refusal("MaskedAttentionJaggedGradient",
            "dO must be of shape \\[Tq, H, Dv\\], but is of shape \\[5, 2, 6\\]", TK, TK[..., 0], TV, TK,
            TK, TK, ints(5), outputs=3),
    refusal("MaskedAttentionJaggedGradient",
            "by its arguments has_\\* it has 4 outputs, but there are 3", TK, TK[..., 0], TK, TK, TK,
            TK, ints(5), TK[0, :, 0], has_sinks=1, outputs=3),
]
H, S = np.ones((1, 1, 1, 1), "float16"), np.ones((1, 1, 1, 1), "float32")
ROWS += [
    refusal("MaskedAttentionGradient", "O must be of the type of Q, float16, but is float32", S,
            S[0], H, H, H, H, outputs=3),
]
