"""MaskedAttentionJagged and its gradients."""

import hypothesis.strategies as st
import numpy as np
import pytest
from caffe2.python import core, gradient_checker, workspace
from hypothesis import given

from oracles.attending_jagged import masked_attention_jagged, masked_attention_jagged_gradient
from testers.arrays import EMPTY_ROWS, wave
from testers.attention import (
    REALS,
    as_double,
    assert_close,
    check,
    check_both,
    expected,
    gradients_as,
    make_case,
    make_jagged,
    poisoned,
    run_as,
)
from testers.operators import assert_same, gradients, run_case
from testers.threads import one_thread, same_for_any_threads, threads  # noqa: F401  a fixture

pytestmark = pytest.mark.operators

OP = "MaskedAttentionJagged"
INF, NAN = np.inf, np.nan
LIMIT = 2 ** 63 - 1
SINKS = np.array([0.6, -INF, 2.5, -1.4])

MASKS = {
    "none": {},
    "causal": {"mode": "upper"},
    "anti-causal": {"mode": "lower"},
    "upperdiag": {"mode": "upperdiag"},
    "lowerdiag": {"mode": "lowerdiag"},
    "shifted": {"mode": "upper", "diagonal": 2},
    "causal from the end": {"mode": "upper", "align": "bottom_right"},
    "anti-causal from the end": {"mode": "lower", "align": "bottom_right", "diagonal": -1},
    "window": {"window_left": 1, "window_right": 2},
    "window from the end": {"window_left": 2, "window_right": 0, "align": "bottom_right"},
    "open window": {"window_left": LIMIT, "window_right": -1},
    "band": {"mode": "upper+lower", "window_left": 1},
    "scale and softcap": {"mode": "upper", "scale": -0.3, "softcap": 1.5},
    "nothing": {"mode": "upper+lower", "diagonal": 40, "empty_row": "uniform"},
    "nothing, nan": {"mode": "upper", "diagonal": -2, "empty_row": "nan"},
}

# Lengths of queries, of keys, and of the keys that are there.
SEQUENCES = {
    "self": ([3, 0, 5, 1], None, None),
    "cross": ([3, 2, 5, 0], [4, 0, 1, 6], None),
    "used": ([2, 1, 3], [4, 5, 2], [3, 5, 0]),
    "used of self": ([4, 3], None, [2, 3]),
    "one": ([7], None, None),
    "nothing in them": ([0, 0], None, None),
    "no queries": ([0, 0], [3, 4], None),
    "no keys": ([3, 2], [0, 0], None),
    "none": ([], None, None),
    "none of either": ([], [], []),
}


def rows_of(total, key_total, heads=4, kv_heads=2, size=3, v_size=5):
    """Q, K and V in which no two numbers are alike."""
    return [
        1.5 * wave((total, heads, size), 0.7),
        1.5 * wave((key_total, kv_heads, size), 1.1),
        wave((key_total, kv_heads, v_size), 1.7),
    ]


def jagged(sequences, args=None, sinks=None, index="int32", outputs=2, **sizes):
    """A case of sequences as SEQUENCES has them."""
    lengths, key_lengths, used = (
        None if one is None else np.array(one, index) for one in sequences
    )
    keys = lengths if key_lengths is None else key_lengths
    first = rows_of(int(lengths.sum()), int(keys.sum()), **sizes)
    return make_jagged(first, lengths, args, key_lengths, used, sinks, outputs)


def cut(rows, lengths):
    return np.split(rows, np.cumsum(lengths)[:-1]) if len(lengths) else []


def by_itself(case):
    """For each sequence the case of MaskedAttention that it is, and how its keys are padded."""
    following = iter(case.inputs[3:])
    lengths = next(following)
    key_lengths = next(following) if case.args.get("has_key_lengths") else lengths
    used = next(following) if case.args.get("has_used_keys") else key_lengths
    sinks = next(following, None)
    args = {
        name: value for name, value in case.args.items()
        if name not in ("has_key_lengths", "has_used_keys")
    }
    q, k, v = case.inputs[:3]
    return [
        make_case(
            [rows.swapaxes(0, 1)[None] for rows in (of_q, of_k[:n], of_v[:n])],
            args, outputs=2, sinks=sinks,
        )
        for of_q, of_k, of_v, n in zip(
            cut(q, lengths), cut(k, key_lengths), cut(v, key_lengths), used
        )
    ], key_lengths


def bits(tensor):
    return as_double(tensor).tobytes()


def check_bits(case, dtype="float32"):
    """Outputs, and gradients of both, of each sequence to the bit as MaskedAttention has them."""
    parts, key_lengths = by_itself(case)
    lengths = case.inputs[3]
    o, lse = (as_double(one) for one in run_as(OP, case, dtype))
    d_o, d_lse = wave(o.shape, 0.9), wave(lse.shape, 1.9)
    grads = {
        i: as_double(grad) for i, grad in gradients_as(OP, case, [d_o, d_lse], dtype).items()
    }
    of_rows = [cut(rows, lengths) for rows in (o, lse, d_o, d_lse, grads[0])]
    of_keys = [cut(rows, key_lengths) for rows in (grads[1], grads[2])]
    for part, rows, keys in zip(parts, zip(*of_rows), zip(*of_keys)):
        n = part.inputs[1].shape[2]
        with_batch = [one.swapaxes(0, 1)[None] for one in rows]
        results = [as_double(one) for one in run_as("MaskedAttention", part, dtype)]
        wanted = gradients_as("MaskedAttention", part, with_batch[2:4], dtype)
        results += [as_double(wanted[i]) for i in range(3)]
        actual = with_batch[:2] + [with_batch[4]]
        actual += [one[:n].swapaxes(0, 1)[None] for one in keys]
        for one, other in zip(actual, results):
            assert_same(np.ascontiguousarray(one), other)
        for one in keys:
            assert not one[n:].any()


class TestOracle(object):
    @pytest.mark.parametrize("sequences", sorted(SEQUENCES))
    @pytest.mark.parametrize("name", sorted(MASKS))
    def test_gradient_is_the_slope(self, name, sequences):
        case = jagged(SEQUENCES[sequences], MASKS[name], SINKS)
        o, lse = expected(OP, case, "float64")
        d_o, d_lse = wave(o.shape), wave(lse.shape, 1.9)
        grads = masked_attention_jagged_gradient(d_o, *case.inputs, d_lse=d_lse, **case.args)
        assert sorted(grads) == [0, 1, 2, len(case.inputs) - 1]
        for i, grad in grads.items():
            step = 1e-6 * wave(grad.shape, 1.9)
            losses = []
            for sign in (1, -1):
                inputs = list(case.inputs)
                inputs[i] = inputs[i] + sign * step
                output, sums = masked_attention_jagged(*inputs, **case.args)
                of_lse = np.where(sums == -INF, 0, d_lse) * np.where(sums == -INF, 0, sums)
                losses.append(np.nan_to_num(output * d_o).sum() + of_lse.sum())
            np.testing.assert_allclose(losses[0] - losses[1], 2 * (grad * step).sum(), atol=1e-13)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("sequences", sorted(SEQUENCES))
@pytest.mark.parametrize("name", sorted(MASKS))
def test_masks(name, sequences, dtype):
    """Values and gradients of the oracle, and the bits of each sequence by itself."""
    case = jagged(SEQUENCES[sequences], MASKS[name])
    check_both(OP, case, dtype)
    check_bits(case, dtype)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("sequences", sorted(SEQUENCES))
def test_sinks(sequences, dtype):
    for args in ({}, {"mode": "upper", "empty_row": "uniform"}):
        case = jagged(SEQUENCES[sequences], args, SINKS, "int64")
        check_both(OP, case, dtype)
        check_bits(case, dtype)


@pytest.mark.parametrize("heads, kv_heads", [(1, 1), (4, 4), (6, 2), (5, 1)])
def test_grouped_heads(heads, kv_heads):
    for sequences in ("self", "cross"):
        case = jagged(SEQUENCES[sequences], {"mode": "upper"}, heads=heads, kv_heads=kv_heads)
        check_both(OP, case)
        check_bits(case)


@pytest.mark.parametrize("dtype", REALS)
def test_long_sequences(dtype):
    """Past the tiles, and with short ones between."""
    for args in ({}, {"mode": "upper"}, {"window_left": 40, "window_right": 3}):
        case = jagged(([130, 1, 300, 65], None, None), args, size=24, v_size=16)
        check_both(OP, case, dtype, ulps=256)
        check_bits(case, dtype)


@given(
    sequences=st.lists(st.tuples(*[st.integers(0, 9)] * 3), max_size=6),
    name=st.sampled_from(sorted(MASKS)),
    align=st.sampled_from(["top_left", "bottom_right"]),
    empty_row=st.sampled_from(EMPTY_ROWS),
    what=st.sampled_from(["self", "cross", "used"]),
    has_sinks=st.booleans(),
    dtype=st.sampled_from(REALS),
    index=st.sampled_from(["int32", "int64"]),
)
def test_drawn(sequences, name, align, empty_row, what, has_sinks, dtype, index):
    lengths = [q for q, _, _ in sequences]
    keys = [max(k, n) for _, k, n in sequences] if what != "self" else None
    used = [n for _, _, n in sequences] if what == "used" else None
    args = dict(MASKS[name], align=align, empty_row=empty_row)
    case = jagged((lengths, keys, used), args, SINKS if has_sinks else None, index)
    check_both(OP, case, dtype)
    check_bits(case, dtype)


def test_the_gradient_of_either_output():
    """That of LSE alone, of both, and without LSE in the forward pass."""
    case = jagged(SEQUENCES["cross"], {"mode": "upper", "empty_row": "uniform"}, SINKS)
    o, lse = expected(OP, case, "float64")
    d_o, d_lse = wave(o.shape), wave(lse.shape, 1.9)
    zeros = np.zeros_like(d_o)
    for given_o, given_lse, outputs in ((None, d_lse, 2), (d_o, d_lse, 2), (d_o, None, 1)):
        grads = gradients_as(
            OP, case._replace(outputs=outputs), [given_o, given_lse][:outputs], "float64"
        )
        wanted = masked_attention_jagged_gradient(
            zeros if given_o is None else given_o, *case.inputs, d_lse=given_lse, **case.args
        )
        assert sorted(grads) == sorted(wanted)
        for i, grad in grads.items():
            assert_close(grad, wanted[i], "float64")


def test_without_lse():
    both = jagged(SEQUENCES["self"], {"mode": "upper"})
    assert_same(run_as(OP, both._replace(outputs=1))[0].numpy(), run_as(OP, both)[0].numpy())


@pytest.mark.parametrize("dtype", REALS)
def test_what_no_query_sees_goes_nowhere(dtype):
    """Keys behind those that are there, and those of a sequence without queries."""
    case = jagged(([2, 0, 3], [4, 3, 5], [3, 3, 2]))
    used = np.repeat([True, False] * 3, [3, 1, 0, 3, 2, 3])[:, None, None]
    dirty = list(case.inputs)
    dirty[1:3] = [poisoned(keys, used, NAN) for keys in case.inputs[1:3]]
    d_output = wave((5, 4, 5))
    for one, other in zip(run_as(OP, case, dtype), run_as(OP, case._replace(inputs=dirty), dtype)):
        assert bits(one) == bits(other)
    grads = gradients_as(OP, case, [d_output], dtype)
    for i, grad in gradients_as(OP, case._replace(inputs=dirty), [d_output], dtype).items():
        assert bits(grad) == bits(grads[i])


def test_a_nan_stays_in_its_sequence():
    case = jagged(SEQUENCES["self"])
    dirty = list(case.inputs)
    dirty[1] = dirty[1].copy()
    dirty[1][2] = NAN
    clean, other = (as_double(run_as(OP, one)[0]) for one in (case, case._replace(inputs=dirty)))
    assert np.isnan(other[:3]).all()
    assert_same(clean[3:], other[3:])


def test_threads():
    sequences = ([300, 0, 7, 513, 64], None, None)
    case = jagged(sequences, {"mode": "upper"}, SINKS, size=32, v_size=32)
    case = case._replace(
        inputs=[one.astype("f") if one.dtype.kind == "f" else one for one in case.inputs]
    )
    d_output = wave((884, 4, 32)).astype("f")

    def run():
        grads = gradients(OP, case, [d_output])
        return run_case(OP, case) + [grads[i] for i in sorted(grads)]

    same_for_any_threads(run)
    with threads(2):
        check(OP, case, ulps=256)


def test_a_padded_batch_without_its_padding():
    """BooleanMask before and BooleanUnmask behind are what MaskedAttention has of the batch."""
    lengths = np.array([7, 2, 0, 4], "int32")
    keep = np.arange(7) < lengths[:, None]
    x = wave((4, 7, 2, 8)).astype("f")
    for name, array in (("x", x), ("heads", x.swapaxes(1, 2)), ("lengths", lengths)):
        workspace.FeedBlob(name, np.ascontiguousarray(array))
    workspace.FeedBlob("keep", keep)
    net = core.Net("net")
    net.BooleanMask(["x", "keep"], "rows")
    net.MaskedAttentionJagged(["rows", "rows", "rows", "lengths"], "packed", mode="upper")
    net.BooleanUnmask(["keep", "packed"], "o", fill_val=0.0)
    net.MaskedAttention(["heads"] * 3 + ["lengths"], "padded", mode="upper+sequence")
    workspace.RunNetOnce(net)
    padded = np.where(keep[..., None, None], workspace.FetchBlob("padded").swapaxes(1, 2), 0)
    np.testing.assert_allclose(workspace.FetchBlob("o"), padded, rtol=1e-6, atol=1e-7)


def test_gradient_checker():
    """Caffe2's own, in a net."""
    case = jagged(([3, 0, 2], [2, 1, 3], None), {"mode": "upper", "align": "bottom_right"}, SINKS)
    inputs = [one.astype("f") if one.dtype.kind == "f" else one for one in case.inputs]
    inputs[-1] = np.array([0.5, -0.3, 1.0, 0.2], "f")
    names = ["input_{}".format(i) for i in range(len(inputs))]
    op = core.CreateOperator(OP, names, ["o", "lse"], **case.args)
    checker = gradient_checker.GradientChecker(
        stepsize=0.01, threshold=0.01, device_option=core.DeviceOption(0)
    )
    for i in (0, 1, 2, 5):
        ok, grad, estimated = checker.CheckSimple(op, inputs, i, [0, 1])
        assert ok and np.abs(estimated).max() > 0.01, (i, grad, estimated)


@pytest.mark.parametrize("heads, kv_heads", [(4, 2), (1, 1)])
def test_inferred_shapes(heads, kv_heads):
    for outputs in (["o"], ["o", "lse"]):
        net = core.Net("net")
        net.MaskedAttentionJagged(["q", "k", "v", "lengths"], outputs)
        dims = {"q": [7, heads, 3], "k": [9, kv_heads, 3], "v": [9, kv_heads, 6], "lengths": [2]}
        inferred, _ = workspace.InferShapesAndTypes([net], dims)
        shapes = {"o": [7, heads, 6], "lse": [7, heads]}
        assert {name: inferred[name] for name in outputs} == {
            name: shapes[name] for name in outputs
        }


@pytest.mark.parametrize(
    "sizes", [dict(size=0), dict(v_size=0), dict(heads=0, kv_heads=0), dict(heads=0)], ids=str
)
def test_empty_dims(sizes):
    case = jagged(SEQUENCES["self"], {"scale": 1.0, "mode": "upper"}, **sizes)
    check_both(OP, case)


def test_as_packed_rows():
    """Behind BooleanMaskJagged, in a net that trains."""
    lengths = np.array([4, 0, 3], "int64")
    keep = np.array([1, 0, 1, 1, 0, 1, 1], bool)
    x = wave((7, 2, 4)).astype("f")
    for name, array in (("x", x), ("lengths", lengths), ("keep", keep)):
        workspace.FeedBlob(name, array)
    net = core.Net("net")
    rows, kept = net.BooleanMaskJagged(["x", "lengths", "keep"], ["rows", "kept"])
    o, _ = net.MaskedAttentionJagged([rows, rows, rows, kept], ["o", "lse"], mode="upper")
    workspace.FeedBlob("o_grad", wave((5, 2, 4)).astype("f"))
    net.AddExternalInput("o_grad")
    grads = net.AddGradientOperators({o: "o_grad"})
    workspace.RunNetOnce(net)
    kept_rows = x[keep].astype("float64")
    wanted = masked_attention_jagged_gradient(
        wave((5, 2, 4)), kept_rows, kept_rows, kept_rows, np.array([3, 0, 2]), mode="upper"
    )
    of_x = np.zeros(x.shape)
    of_x[keep] = wanted[0] + wanted[1] + wanted[2]
    np.testing.assert_allclose(workspace.FetchBlob(str(grads["x"])), of_x, rtol=1e-4, atol=1e-5)
