"""Runs operators in Caffe2 and saves their inputs and outputs, for test_same_bits.py to compare.

    .venv/bin/python tests/torch/caffe2_results.py results.npz

An array is named CASE/NAME, where NAME is that of an input or an output.
"""

import sys

import numpy as np
from caffe2.python import core, workspace

import caffe2op_mask  # noqa: F401  loads the operators

RNG = np.random.RandomState(7)
SAVED = {}


def run(case, op_type, inputs, outputs, **arguments):
    """Runs an operator on arrays by name; saves both."""
    for name, array in inputs:
        workspace.FeedBlob(name, array)
    operator = core.CreateOperator(op_type, [name for name, _ in inputs], outputs, **arguments)
    workspace.RunOperatorOnce(operator)
    for name in [name for name, _ in inputs] + outputs:
        array = workspace.FetchBlob(name)
        SAVED[case + "/" + name] = array


def normal(*shape):
    return RNG.randn(*shape).astype("float32")


def main(path):
    mask = RNG.rand(4099) < 0.5
    data = normal(4099, 3)
    run("boolean_mask", "BooleanMask", [("data", data), ("mask", mask)], ["masked", "indices"])
    run(
        "boolean_mask_jagged",
        "BooleanMaskJagged",
        [("values", data), ("lengths", np.array([99, 0, 4000], "int64")), ("mask", mask)],
        ["masked", "counts"],
    )
    run(
        "boolean_mask_lengths",
        "BooleanMaskLengths",
        [("lengths", np.array([99, 0, 4000], "int32")), ("mask", mask)],
        ["counts"],
    )
    run(
        "boolean_unmask",
        "BooleanUnmask",
        [("mask", mask), ("values", normal(int(mask.sum()), 3))],
        ["data"],
        fill_val=-1.5,
    )
    lengths = np.array([0, 7, 300], "int32")
    x = normal(3, 5, 300)
    run(
        "sequence_mask",
        "SequenceMask",
        [("data", x), ("lengths", lengths)],
        ["masked"],
        mode="sequence",
        axis=2,
        batch=0,
        lengths_of="batch",
    )
    run(
        "masked_softmax",
        "MaskedSoftmax",
        [("x", x), ("lengths", lengths)],
        ["y", "lse"],
        mode="sequence+upper",
    )
    q, k, v = normal(2, 4, 130, 24), normal(2, 2, 300, 24), normal(2, 2, 300, 16)
    lengths = np.array([300, 41], "int64")
    attention = dict(mode="sequence+upper", softcap=3.0, align="bottom_right", window_left=90)
    run(
        "masked_attention",
        "MaskedAttention",
        [("q", q), ("k", k), ("v", v), ("lengths", lengths)],
        ["o", "lse"],
        **attention
    )
    o, lse = SAVED["masked_attention/o"], SAVED["masked_attention/lse"]
    run(
        "masked_attention_backward",
        "MaskedAttentionGradient",
        [("o", o), ("lse", lse), ("d_o", normal(*o.shape)), ("q", q), ("k", k), ("v", v)]
        + [("lengths", lengths)],
        ["d_q", "d_k", "d_v"],
        **attention
    )
    q, k, v = normal(130, 4, 24), normal(300, 2, 24), normal(300, 2, 16)
    inputs = [("q", q), ("k", k), ("v", v), ("lengths", np.array([89, 0, 41], "int32"))]
    inputs += [("key_lengths", np.array([200, 60, 40], "int64"))]
    inputs += [("used_keys", np.array([170, 60, 40], "int64")), ("sinks", normal(4))]
    jagged = dict(mode="upper", softcap=3.0, align="bottom_right", window_left=90)
    jagged.update(has_key_lengths=1, has_used_keys=1, has_sinks=1)
    run("varlen_attention", "MaskedAttentionJagged", inputs, ["o", "lse"], **jagged)
    o, lse = SAVED["varlen_attention/o"], SAVED["varlen_attention/lse"]
    run(
        "varlen_attention_backward",
        "MaskedAttentionJaggedGradient",
        [("o", o), ("lse", lse), ("d_o", normal(*o.shape))] + inputs,
        ["d_q", "d_k", "d_v", "d_sinks"],
        **jagged
    )
    z = normal(64, 1)
    x = normal(64, 70)
    for kind in ("sigmoid", "tanh", "relu", "hard"):
        run("gate_" + kind, "Gate", [("x", x), ("z", z)], ["y", "g"], kind=kind)
    run(
        "gate_hard_concrete",
        "Gate",
        [("x", x), ("z", x)],
        ["y", "g", "noise"],
        kind="hard_concrete",
    )
    run("highway", "Highway", [("h", x), ("x", normal(64, 70)), ("z", z)], ["y"])
    run(
        "mixture_gate",
        "MixtureGate",
        [("e", normal(9, 6, 20)), ("z", normal(9, 6))],
        ["y", "g"],
        top_k=2,
    )
    np.savez(path, **SAVED)


if __name__ == "__main__":
    main(sys.argv[1])
