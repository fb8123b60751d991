"""What gates, mixtures and drawn masks refuse, and their gradients."""

import numpy as np

from refusals.rows import F, refusal

E = np.ones((3, 4, 2), "float32")
LOGITS = np.ones((3, 4), "float32")
NOISE = np.zeros(2, "int64")
MASK = np.ones((3, 2), bool)

REAL = "must be of type float16, bfloat16, float32 or float64, but is "
SHAPED = "must be of a shape that broadcasts to {}, \\[3, 2\\], but is of shape "


def gate(message, *inputs, **args):
    return refusal("Gate", message, *(inputs or (F, F)), **args)


def gate_gradient(message, *inputs, **args):
    return refusal("GateGradient", message, *inputs, **dict({"outputs": 2}, **args))


def highway(message, *inputs, **args):
    return refusal("Highway", message, *(inputs or (F, F, F)), **args)


def mixture(message, *inputs, **args):
    return refusal("MixtureGate", message, *(inputs or (E, LOGITS)), **args)


def random_mask(message, **args):
    return refusal("RandomMask", message, F, **args)


ROWS = [
    gate("X " + REAL + "int32", F.astype("int32"), F),
    gate("X " + REAL + "bool", MASK, MASK),
    gate("Z must be of the type of X, float32, but is float64", F, F.astype("float64")),
    gate("Z " + SHAPED.format("X") + "\\[2, 2\\]", F, F[:2]),
    gate("Z " + SHAPED.format("X") + "\\[1, 3, 2\\]", F, F[None]),
    gate("Z " + SHAPED.format("X") + "\\[3\\]", F, F[:, 0]),
    gate("threshold " + SHAPED.format("Z") + "\\[3\\]", F, F, F[:, 0], kind="relu"),
    gate("threshold must be of the type of Z, float32, but is float16", F, F, F.astype("f2"),
         kind="relu"),
    gate("there must be 2 inputs \\(X, Z\\), since a threshold goes with kind = relu, but there "
         "are 3", F, F, F),
    gate("there must be at most 2 outputs \\(Y, G\\), since noise goes with kind = hard_concrete "
         "or gumbel_softmax, but there are 3", outputs=3),
    gate("there must be at most 2 outputs \\(Y, G\\), .*, but there are 3", outputs=3,
         kind="softmax", hard=1),
    gate("argument kind must be sigmoid, tanh, softmax, relu, hard, hard_concrete or "
         "gumbel_softmax, but is 'soft'", kind="soft"),
    gate("argument kind must be a string, but is the integer 1", kind=1),
    gate("argument clip goes with kind = hard, but kind is sigmoid", clip=1.0),
    gate("argument beta goes with kind = hard_concrete, but kind is hard", kind="hard", beta=1.0),
    gate("argument clip must be a number that is not negative, but is -1", kind="hard", clip=-1.0),
    gate("argument clip must be a number that is not negative, but is nan", kind="hard",
         clip=float("nan")),
    gate("argument beta must be a number above 0, but is 0", kind="hard_concrete", beta=0.0),
    gate("argument beta must be a number above 0, but is inf", kind="hard_concrete",
         beta=float("inf")),
    gate("argument gamma must be a number that is at most 0, but is 0.1", kind="hard_concrete",
         gamma=0.1),
    gate("argument zeta must be a number that is at least 1, but is 0.5", kind="hard_concrete",
         zeta=0.5),
    gate("arguments gamma and zeta must differ by a finite float32, but are -3e\\+38 and 3e\\+38",
         kind="hard_concrete", gamma=-3e38, zeta=3e38),
    gate("argument zeta must be a number, but is the string 'x'", kind="hard_concrete", zeta="x"),
    gate("argument is_test must be 0 or 1, but is 2", kind="hard_concrete", is_test=2),
    gate("argument is_test must be 0 or 1, but is 2", kind="gumbel_softmax", is_test=2),
    gate("argument tau goes with kind = softmax or gumbel_softmax, but kind is hard_concrete",
         kind="hard_concrete", tau=0.5),
    gate("argument hard goes with kind = softmax or gumbel_softmax, but kind is hard", kind="hard",
         hard=1),
    gate("argument beta goes with kind = hard_concrete, but kind is gumbel_softmax",
         kind="gumbel_softmax", beta=1.0),
    gate("argument tau must be a number above 0, but is 0", kind="gumbel_softmax", tau=0.0),
    gate("argument tau must be a number above 0, but is -1", kind="softmax", tau=-1),
    gate("argument tau must be a number above 0, but is nan", kind="softmax", tau=float("nan")),
    gate("argument tau must be a number above 0, but is inf", kind="softmax", tau=float("inf")),
    gate("argument hard must be 0 or 1, but is 2", kind="softmax", hard=2),
    gate_gradient("d_Y must be of the shape of X, \\[3, 2\\], but is of shape \\[2, 2\\]", F, F,
                  F[:2]),
    gate_gradient("d_Y must be of the type of X, float32, but is float64", F, F,
                  F.astype("float64")),
    gate_gradient("d_G must be of the shape of Z, \\[2\\], but is of shape \\[3, 2\\]", F, F[0], F,
                  F),
    gate_gradient("noise must be of type int64 and of shape \\[2\\], but is of type float32 and of "
                  "shape \\[3, 2\\]", F, F, F, F, kind="hard_concrete"),
    gate_gradient("noise must be of type int64 .* of shape \\[1\\]", F, F, NOISE[:1], F,
                  kind="hard_concrete"),
    gate_gradient("noise must be of type int64 .* of shape \\[1\\]", F, F, NOISE[:1], F,
                  kind="gumbel_softmax"),
    gate_gradient("there must be 4 inputs, or one more where Y and G both .*, but there are 3", F,
                  F, F, kind="gumbel_softmax"),
    gate_gradient("there must be 4 inputs, or one more where Y and G both have a gradient, but "
                  "there are 3", F, F, F, kind="relu", outputs=3),
    gate_gradient("there must be 3 inputs, or one more where Y and G both .*, but there are 4", F,
                  F, F, F, has_d_y=0),
    gate_gradient("there must be 2 outputs, since a threshold goes with kind = relu, but there "
                  "are 3", F, F, F, F, outputs=3),
    gate_gradient("d_G must be of the shape of Z, \\[2\\], but is of shape \\[3, 2\\]", F, F[0], F,
                  has_d_y=0),
    gate_gradient("argument has_d_y must be 0 or 1, but is 2", F, F, F, has_d_y=2),
    highway("H " + REAL + "int64", F.astype("int64"), F, F),
    highway("X must be of the shape of H, \\[3, 2\\], but is of shape \\[2\\]", F, F[0], F),
    highway("X must be of the type of H, float32, but is float16", F, F.astype("f2"), F),
    highway("Z must be of the type of H, float32, but is int32", F, F, F.astype("i")),
    highway("Z " + SHAPED.format("H") + "\\[2, 2\\]", F, F, F[:2]),
    highway("argument kind must be sigmoid, softmax or hard, but is 'tanh'", kind="tanh"),
    highway("argument clip goes with kind = hard, but kind is sigmoid", clip=1.0),
    highway("it has no argument 'tau'", kind="softmax", tau=0.5),
    refusal("HighwayGradient", "d_Y must be of the shape of H, \\[3, 2\\], but is of shape \\[2\\]",
         F, F, F, F[0], outputs=3),
    mixture("E " + REAL + "uint8", E.astype("uint8"), LOGITS),
    mixture("E must have at least 2 dims, but is of shape \\[2\\]", F[0], F[0]),
    mixture("Z must be of the type of E, float32, but is float64", E, LOGITS.astype("float64")),
    mixture("Z must be of the first 2 dims of E, \\[3, 4, 2\\], but is of shape \\[3, 2\\]", E, F),
    mixture("Z must be of the first 2 dims of E, .*, but is of shape \\[3\\]", E, LOGITS[:, 0]),
    mixture("argument top_k must be at least 1, but is 0", top_k=0),
    mixture("argument top_k must be at most the 4 experts of Z, but is 5", top_k=5),
    mixture("argument top_k must be an integer, but is the number 1.5", top_k=1.5),
    mixture("argument renormalize must be 0 or 1, but is 2", renormalize=2),
    mixture("bias must be of shape \\[4\\] and type float32, but is of shape \\[4\\] and type "
            "float64", E, LOGITS, np.zeros(4)),
    mixture("bias must be of shape \\[4\\] and type float32, but is of shape \\[3\\] .* float32", E,
            LOGITS, np.zeros(3, "f")),
    mixture("bias must be of shape \\[4\\] and type float32, but is of shape \\[1, 4\\]", E, LOGITS,
            LOGITS[:1]),
    mixture("bias must be of shape \\[4\\] and type float32, but is of .* type float16",
            E.astype("f2"), LOGITS.astype("f2"), np.zeros(4, "f2")),
    refusal("MixtureGateGradient", "there must be 4 inputs, or one more where Y and G both have a "
         "gradient, but there are 3", E, LOGITS, E[:, 0], has_bias=1, outputs=2),
    refusal("MixtureGateGradient", "there must be 3 inputs, or one more .*, but there are 4", E,
            LOGITS, E[:, 0], LOGITS, has_d_y=0, outputs=2),
    refusal("MixtureGateGradient",
            "d_Y must be of shape \\[3, 2\\], as Y is, but is of shape \\[3, 4\\]", E, LOGITS,
            LOGITS, outputs=2),
    refusal("MixtureGateGradient",
            "d_G must be of the shape of Z, \\[3, 4\\], but is of shape \\[3, 2\\]", E, LOGITS, F,
            F, outputs=2),
    refusal("BernoulliMask", "Z " + REAL + "bool", MASK, outputs=2),
    refusal("BernoulliMaskGradient", "mask must be of type bool, but is float32", F, F, F),
    refusal("BernoulliMaskGradient", "mask must be of the shape of Z, \\[3, 2\\], but is of shape "
         "\\[2, 2\\]", F, MASK[:2], F),
    refusal("BernoulliMaskGradient", "d_log_prob must be of the shape of Z, .*, but is of shape "
         "\\[2\\]", F, MASK, F[0]),
    random_mask("argument p must be in \\[0, 1\\], but is 1.5", p=1.5),
    random_mask("argument p must be in \\[0, 1\\], but is -1", p=-1),
    random_mask("argument p must be in \\[0, 1\\], but is nan", p=float("nan")),
    random_mask("argument p must be a number, but is the string 'half'", p="half"),
    random_mask("argument unit must be element, row or span, but is 'column'", unit="column"),
    random_mask("argument span_length goes with unit = span, but unit is element", span_length=3),
    random_mask("argument span_length must be at least 1, but is 0", unit="span", span_length=0),
    random_mask("argument min_masked must not be negative, but is -1", min_masked=-1),
    random_mask("lengths and argument min_masked go with unit = element or span, but unit is row",
                unit="row", min_masked=1),
    refusal("RandomMask",
            "lengths and argument min_masked go with unit = element or span, but unit is row", F,
            np.zeros(3, "i"), unit="row"),
    refusal("RandomMask", "lengths must be of type int32 or int64, but is float32", F, F[:, 0]),
    refusal("RandomMask",
            "lengths must have the shape of leading dims of X, \\[3, 2\\], before its last, but "
            "is of shape \\[2\\]", F, np.zeros(2, "i")),
    refusal("RandomMask", "lengths must have the shape of leading dims of X, .* \\[3, 2\\]", F,
         np.zeros((3, 2), "i")),
    refusal("RandomMask", "lengths must have the shape of leading dims of X, \\[\\], .* \\[\\]",
         np.zeros((), "f"), np.zeros((), "i")),
]
