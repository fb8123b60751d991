"""MaskedAttention and its gradients."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from caffe2.python import core, workspace
from hypothesis import given

from oracles.attending import Extras, attention_kept, masked_attention, read_extras, scale_of
from oracles.attending_gradients import masked_attention_gradient
from testers.arrays import EMPTY_ROWS, drawn, mask_options, quarters, wave
from testers.attention import (
    REALS,
    as_double,
    as_type,
    assert_close,
    check,
    check_both,
    check_gradient,
    expected,
    expected_gradient,
    gradients_as,
    make_case,
    poisoned,
    run_as,
)
from testers.operators import assert_same
from testers.threads import one_thread, threads  # noqa: F401  a fixture

pytestmark = pytest.mark.operators

OP = "MaskedAttention"
INF = np.inf
NAN = np.nan
LIMIT = 2 ** 63 - 1


def qkv(batch=2, heads=4, kv_heads=2, q_rows=5, k_rows=7, size=3, v_size=4):
    """Q, K and V in which no two numbers are alike."""
    return [
        1.5 * wave((batch, heads, q_rows, size), 0.7),
        1.5 * wave((batch, kv_heads, k_rows, size), 1.1),
        wave((batch, kv_heads, k_rows, v_size), 1.7),
    ]


def attention(first, args=None, **extras):
    """A case with both outputs, as training needs it."""
    return make_case(first, args, outputs=2, **extras)


QKV = qkv()
LENGTHS = np.array([6, 3])
HEAD_LENGTHS = np.array([[7, 3, 0, 1], [9, -1, 5, 4]])
CENTERS = np.arange(40).reshape(2, 4, 5) % 8
LEFT_PAD = np.array([0, 3])
KEEP = wave((2, 1, 5, 7), 1.3) > -0.2
SINKS = np.array([0.6, -INF, 2.5, -1.4])  # of each of the 4 heads of QKV

# Arguments and optional inputs for QKV.
MASKS = {
    "none": ({}, {}),
    "causal": ({"mode": "upper"}, {}),
    "anti-causal": ({"mode": "lower"}, {}),
    "upperdiag": ({"mode": "upperdiag"}, {}),
    "lowerdiag": ({"mode": "lowerdiag"}, {}),
    "shifted": ({"mode": "upper", "diagonal": 2}, {}),
    "causal from the end": ({"mode": "upper", "align": "bottom_right"}, {}),
    "anti-causal from the end": ({"mode": "lower", "align": "bottom_right", "diagonal": -1}, {}),
    "window": ({"window_left": 1, "window_right": 2}, {}),
    "window from the end": ({"window_left": 2, "window_right": 0, "align": "bottom_right"}, {}),
    "causal window": ({"mode": "upper", "window_left": 1}, {}),
    "padded": ({"mode": "sequence"}, {"lengths": LENGTHS}),
    "padded by head": ({"mode": "sequence"}, {"lengths": HEAD_LENGTHS}),
    "padded by row": ({"mode": "sequence"}, {"lengths": CENTERS}),
    "padded and causal": ({"mode": "sequence+upper"}, {"lengths": LENGTHS}),
    "padded and causal from the end": (
        {"mode": "upper+sequence", "align": "bottom_right"},
        {"lengths": LENGTHS.astype("int32")},
    ),
    "padded by head, from the end": (
        {"mode": "upper+sequence", "align": "bottom_right"},
        {"lengths": HEAD_LENGTHS},
    ),
    "left padded": ({"mode": "left_pad"}, {"left_pad": LEFT_PAD}),
    "left padded by head": ({"mode": "left_pad"}, {"left_pad": HEAD_LENGTHS}),
    "left padded by row": ({"mode": "left_pad"}, {"left_pad": CENTERS.astype("int32")}),
    "left padded and causal": ({"mode": "upper+left_pad"}, {"left_pad": LEFT_PAD}),
    "left padded and causal from the end": (
        {"mode": "upper+left_pad", "align": "bottom_right"},
        {"left_pad": LEFT_PAD.astype("int32")},
    ),
    "padded at both ends, from the end": (
        {"mode": "sequence+left_pad+upper", "align": "bottom_right"},
        {"lengths": LENGTHS, "left_pad": np.array([2, 1])},
    ),
    "around centers": ({"mode": "window", "radius": 1}, {"centers": CENTERS}),
    "around centers by batch": (
        {"mode": "window", "radius": 2, "align": "bottom_right"},
        {"centers": np.array([2, 5], "int32")},
    ),
    "mask": ({}, {"mask": KEEP}),
    "mask of keys": ({}, {"mask": np.arange(7) % 3 > 0}),
    "bias": ({}, {"bias": wave((4, 5, 7), 0.4)}),
    "bias that masks": ({}, {"bias": np.where(KEEP, wave((1, 5, 7), 0.4), -INF)}),
    "softcap": ({"softcap": 1.5, "mode": "upper"}, {}),
    "scale": ({"scale": -0.3}, {}),
    "sinks": ({}, {"sinks": SINKS}),
    "sinks and rows of nothing": (
        {"mode": "sequence+upper", "empty_row": "uniform"},
        {"lengths": HEAD_LENGTHS, "sinks": SINKS},
    ),
    "sinks and everything": (
        {"mode": "sequence+window+upper", "radius": 3, "window_left": 4, "softcap": 2.0,
         "scale": 0.8, "diagonal": 1},
        {"lengths": LENGTHS, "centers": np.full((2, 4), 3), "mask": KEEP | (np.arange(7) == 0),
         "bias": wave((4, 1, 7)), "sinks": SINKS},
    ),
    "everything": (
        {"mode": "sequence+window+left_pad+upper", "radius": 3, "window_left": 4, "softcap": 2.0,
         "scale": 0.8, "diagonal": 1},
        {"lengths": LENGTHS, "centers": np.full((2, 4), 3), "left_pad": np.array([0, 1]),
         "mask": KEEP | (np.arange(7) == 0), "bias": wave((4, 1, 7))},
    ),
}


# Without heads: the dim is absent from all inputs.
HEADLESS = [array[:, 0] for array in qkv(heads=1, kv_heads=1)]
ROW_LENGTHS = np.arange(10).reshape(2, 5) * 3 % 9
HEADLESS_MASKS = {
    "none": ({}, {}),
    "causal": ({"mode": "upper"}, {}),
    "causal from the end": ({"mode": "upper", "align": "bottom_right"}, {}),
    "window from the end": ({"window_left": 2, "window_right": 0, "align": "bottom_right"}, {}),
    "padded": ({"mode": "sequence"}, {"lengths": LENGTHS}),
    "padded by row": ({"mode": "sequence"}, {"lengths": ROW_LENGTHS}),
    "padded by a vector of rows": ({"mode": "sequence"}, {"lengths": ROW_LENGTHS.ravel()}),
    "padded and causal from the end": (
        {"mode": "upper+sequence", "align": "bottom_right"},
        {"lengths": LENGTHS.astype("int32")},
    ),
    "padded by row, from the end": (
        {"mode": "upper+sequence", "align": "bottom_right"},
        {"lengths": ROW_LENGTHS},
    ),
    "padded by a vector of rows, from the end": (
        {"mode": "upper+sequence", "align": "bottom_right"},
        {"lengths": ROW_LENGTHS.ravel()},
    ),
    "around centers": ({"mode": "window", "radius": 1}, {"centers": ROW_LENGTHS.ravel()}),
    "left padded and causal": ({"mode": "upper+left_pad"}, {"left_pad": LEFT_PAD}),
    "left padded by a vector of rows": ({"mode": "left_pad"}, {"left_pad": ROW_LENGTHS.ravel()}),
    "mask": ({}, {"mask": wave((2, 5, 7), 1.3) > -0.2}),
    "mask of one batch": ({}, {"mask": wave((1, 5, 7), 1.3) > -0.2}),
    "mask of keys": ({}, {"mask": np.arange(7) % 3 > 0}),
    "bias": ({}, {"bias": wave((2, 5, 7), 0.4)}),
    "bias of keys by batch": ({}, {"bias": wave((2, 1, 7), 0.4)}),
    "bias of rows": ({}, {"bias": wave((5, 1), 0.4)}),
    "bias of one": ({}, {"bias": np.array(0.4)}),
    "sinks": ({"mode": "sequence"}, {"lengths": ROW_LENGTHS, "sinks": np.array([0.3])}),
    "bias and sinks": ({}, {"bias": wave((2, 1, 7), 0.4), "sinks": np.array([-0.8])}),
    "everything": (
        {"mode": "sequence+window+upper", "radius": 3, "window_left": 4, "softcap": 2.0,
         "scale": 0.8, "diagonal": 1, "empty_row": "uniform"},
        {"lengths": LENGTHS, "centers": np.full((2, 5), 3), "mask": wave((2, 5, 7), 1.3) > -0.2,
         "bias": wave((2, 1, 7))},
    ),
}


def options(name):
    args, extras = MASKS[name]
    return attention(QKV, args, **extras)


def headless(name):
    args, extras = HEADLESS_MASKS[name]
    return attention(HEADLESS, args, **extras)


def one_head(case):
    """A case without heads as one of a single head."""
    inputs = list(case.inputs)
    for i, array in enumerate(inputs):
        real_or_mask = array.dtype.kind in "fb"
        if array.ndim == (3 if real_or_mask else 2):
            inputs[i] = array[:, None]
    return case._replace(inputs=inputs)


def equal_values(keep):
    """The output for equal scores where each key's value is its own unit vector."""
    keys = keep.shape[-1]
    q, k = np.zeros(keep.shape[:3] + (2,)), np.zeros((len(keep), 1, keys, 2))
    v = np.tile(np.eye(keys), (len(keep), 1, 1, 1))
    return q, k, v


class TestOracle(object):
    """The reference against torch's matmul, masked_fill and softmax, and finite differences."""

    @pytest.mark.parametrize("name", sorted(MASKS))
    def test_is_torchs(self, name):
        case = options(name)
        q, k, v = (torch.tensor(array) for array in QKV)
        k, v = (keys.repeat_interleave(2, dim=1) for keys in (k, v))
        extras = read_extras(case.inputs[3:], case.args)
        scores = scale_of(QKV[0], **case.args) * torch.matmul(q, k.transpose(-1, -2))
        if "softcap" in case.args:
            scores = case.args["softcap"] * torch.tanh(scores / case.args["softcap"])
        if extras.bias is not None:
            scores = scores + torch.tensor(extras.bias)
        keep = torch.tensor(attention_kept(QKV[0], QKV[1], case.inputs[3:], **case.args))
        scores = scores.masked_fill(~keep, -INF)
        if extras.sinks is not None:
            column = torch.tensor(extras.sinks).reshape(4, 1, 1).expand(2, 4, 5, 1)
            scores = torch.cat([scores, column], -1)
        output, lse = expected(OP, case, "float64")
        weights = torch.softmax(scores, -1)[..., :7]
        wanted = torch.matmul(weights.masked_fill(torch.isnan(weights), 0.0), v)
        if case.args.get("empty_row") == "uniform":
            empty = (scores == -INF).all(-1, keepdim=True)
            assert empty.any()
            wanted = torch.where(empty, v.mean(-2, keepdim=True), wanted)
        np.testing.assert_allclose(output, wanted.numpy(), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(lse, torch.logsumexp(scores, -1).numpy(), rtol=1e-12)

    @pytest.mark.parametrize("name", sorted(MASKS))
    def test_gradient_is_the_slope(self, name):
        case = options(name)
        d_output, d_lse = wave((2, 4, 5, 4)), wave((2, 4, 5), 1.9)
        grads = masked_attention_gradient(d_output, *case.inputs, d_lse=d_lse, **case.args)
        for i, grad in grads.items():
            step = 1e-6 * wave(grad.shape, 1.9)
            losses = []
            for sign in (1, -1):
                inputs = list(case.inputs)
                inputs[i] = inputs[i] + sign * step
                output, lse = masked_attention(*inputs, **case.args)
                of_lse = np.where(lse == -INF, 0, lse * d_lse)
                losses.append((output * d_output).sum() + of_lse.sum())
            np.testing.assert_allclose(losses[0] - losses[1], 2 * (grad * step).sum(), atol=1e-13)

    @pytest.mark.parametrize("name", sorted(HEADLESS_MASKS))
    def test_without_heads_is_one_head(self, name):
        case, same = headless(name), one_head(headless(name))
        d_output = wave((2, 5, 4))
        for one, other in zip(expected(OP, case), expected(OP, same)):
            np.testing.assert_array_equal(one, other[:, 0])
        grads = masked_attention_gradient(d_output, *case.inputs, **case.args)
        others = masked_attention_gradient(d_output[:, None], *same.inputs, **same.args)
        assert sorted(grads) == sorted(others)
        for i, grad in grads.items():
            np.testing.assert_array_equal(grad, others[i].reshape(grad.shape))

    @pytest.mark.parametrize(
        "align, lengths, columns",
        [
            ("top_left", None, [0, 1]),
            ("bottom_right", None, [0, 1, 2, 3]),
            ("top_left", np.array([3]), [0, 1]),
            ("bottom_right", np.array([3]), [0, 1]),
            ("bottom_right", np.array([4]), [0, 1, 2]),
            ("bottom_right", np.array([[3]]), [0, 1]),
            ("bottom_right", np.array([9]), [0, 1, 2, 3]),
            ("bottom_right", np.array([[[5, 5, 3]]]), [0, 1, 2, 3]),
        ],
    )
    def test_where_queries_stand(self, align, lengths, columns):
        """The keys that query 1 of 3 keeps of 5."""
        args = {"mode": "upper" if lengths is None else "upper+sequence", "align": align}
        q, k, v = qkv(1, 1, 1, 3, 5)
        keep = attention_kept(q, k, [] if lengths is None else [lengths], **args)
        assert np.flatnonzero(keep[0, 0, 1]).tolist() == columns


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("name", sorted(MASKS))
def test_masks(name, dtype):
    check_both(OP, options(name), dtype)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("name", sorted(HEADLESS_MASKS))
def test_without_heads(name, dtype):
    """3 dims: the values and gradients of the oracle, and the bits of a dim of one head."""
    case, same = headless(name), one_head(headless(name))
    check_both(OP, case, dtype)
    for one, other in zip(run_as(OP, case, dtype), run_as(OP, same, dtype)):
        assert_same(as_double(one), as_double(other)[:, 0])
    d_output = wave((2, 5, 4))
    grads = gradients_as(OP, case, [d_output], dtype)
    for i, grad in gradients_as(OP, same, [d_output[:, None]], dtype).items():
        assert_same(as_double(grads[i]), as_double(grad).reshape(grads[i].shape))


@pytest.mark.parametrize("name", ["none", "padded and causal", "everything"])
def test_without_lse(name):
    """One output is enough where nothing is trained, and is the same."""
    both = options(name)
    assert_same(run_as(OP, both._replace(outputs=1))[0].numpy(), run_as(OP, both)[0].numpy())


@pytest.mark.parametrize("heads, kv_heads", [([4], [2]), ([], [])], ids=["heads", "no heads"])
def test_inferred_shapes(heads, kv_heads):
    """Of one output or two."""
    dims = {"q": [2] + heads + [5, 3], "k": [2] + kv_heads + [7, 3], "v": [2] + kv_heads + [7, 6]}
    for outputs in (["o"], ["o", "lse"]):
        net = core.Net("net")
        net.MaskedAttention(["q", "k", "v"], outputs)
        inferred, _ = workspace.InferShapesAndTypes([net], dims)
        shapes = {"o": [2] + heads + [5, 6], "lse": [2] + heads + [5]}
        assert {name: inferred[name] for name in outputs} == {
            name: shapes[name] for name in outputs
        }


def test_nothing_to_write():
    """However many rows there are of nothing."""
    net = core.Net("net")
    for name in "qkv":
        net.ConstantFill([], name, shape=[2 ** 20, 2 ** 20, 1, 0])
    net.Shape(net.MaskedAttention(["q", "k", "v"], "o"), "shape")
    workspace.RunNetOnce(net)
    assert workspace.FetchBlob("shape").tolist() == [2 ** 20, 2 ** 20, 1, 0]


@pytest.mark.parametrize("align", ["top_left", "bottom_right"])
@pytest.mark.parametrize("mode", ["upper", "lower", "upperdiag", "lowerdiag"])
@pytest.mark.parametrize("rows", [(5, 9), (9, 5), (6, 6), (1, 8), (8, 1)], ids=str)
def test_triangles(rows, mode, align):
    """More queries than keys, more keys than queries, and every row at its place."""
    first = qkv(1, 2, 1, *rows)
    for diagonal in (-(2 ** 63), -2, 0, 3, LIMIT):
        check_both(OP, attention(first, {"mode": mode, "align": align, "diagonal": diagonal}))


@pytest.mark.parametrize("align", ["top_left", "bottom_right"])
@pytest.mark.parametrize("rows", [(5, 9), (9, 5)], ids=str)
def test_windows(rows, align):
    first = qkv(1, 2, 2, *rows)
    for left in (-1, 0, 2, LIMIT):
        for right in (-1, 0, 3, LIMIT):
            args = {"window_left": left, "window_right": right, "align": align}
            check_both(OP, attention(first, args))


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_index_of_every_prefix(rank, index):
    shape = (2, 4, 5)[:rank]
    entries = (np.arange(np.prod(shape)).reshape(shape) * 5 % 10 - 1).astype(index)
    for align in ("top_left", "bottom_right"):
        for mode in ("sequence", "sequence+upper"):
            check_both(OP, attention(QKV, {"mode": mode, "align": align}, lengths=entries))
    check_both(OP, attention(QKV, {"mode": "window", "radius": 1}, centers=entries))
    check_both(OP, attention(QKV, {"mode": "left_pad"}, left_pad=entries))
    for other in ((2,), (2, 4), (2, 4, 5)):
        args = {"mode": "sequence+window", "radius": 2}
        check(OP, attention(QKV, args, lengths=entries, centers=np.full(other, 3)))


@pytest.mark.parametrize(
    "shape",
    [
        (), (1,), (7,), (5, 1), (5, 7), (1, 7), (4, 1, 1), (4, 1, 7), (4, 5, 7), (1, 5, 7),
        (2, 1, 1, 1), (2, 1, 1, 7), (2, 4, 1, 1), (2, 1, 5, 7), (1, 4, 5, 1), (2, 4, 5, 7),
    ],
    ids=str,
)
def test_broadcast(shape):
    """Masks and biases of every shape, and the bias's gradient summed back to it."""
    mask, bias = wave(shape, 1.1) > -0.3, wave(shape)
    check_both(OP, attention(QKV, mask=mask))
    check_both(OP, attention(QKV, {"mode": "upper", "softcap": 2.0}, mask=mask, bias=bias))
    check_both(OP, attention(QKV, bias=bias), "float64")


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("heads, kv_heads", [(1, 1), (4, 4), (4, 2), (6, 2), (5, 1)])
def test_grouped_heads(heads, kv_heads, dtype):
    """Query head h reads key head h // (H / Hkv); gradients of a group are summed."""
    lengths = 1 + np.arange(2 * heads).reshape(2, heads) % 7
    first = qkv(heads=heads, kv_heads=kv_heads)
    check_both(OP, attention(first), dtype)
    check_both(OP, attention(first, {"mode": "sequence+upper"}, lengths=lengths), dtype)
    check_both(OP, attention(first, {"mode": "upper"}, sinks=wave((heads,))), dtype)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(
    "sizes", [(1, 1), (1, 5), (5, 1), (7, 33), (16, 16), (17, 15), (64, 64), (80, 128)], ids=str
)
def test_head_sizes(sizes, dtype):
    first = qkv(1, 2, 1, 9, 11, *sizes)
    check_both(OP, attention(first, {"mode": "upper", "diagonal": 1}), dtype)


BORDERS = [1, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 256, 257, 511, 513]
BORDER_MASKS = {
    "none": lambda q_rows, k_rows: ({}, {}),
    "causal": lambda q_rows, k_rows: ({"mode": "upper"}, {}),
    "causal from the end": lambda q_rows, k_rows: (
        {"mode": "upper", "align": "bottom_right"},
        {},
    ),
    "band": lambda q_rows, k_rows: ({"window_left": 40, "window_right": 3}, {}),
    "padded": lambda q_rows, k_rows: (
        {"mode": "sequence"},
        {"lengths": np.array([k_rows - 1])},
    ),
    # A mask that keeps whole tiles, none of others, and part of those between.
    "blocks": lambda q_rows, k_rows: (
        {},
        {"mask": (np.arange(q_rows)[:, None] // 70 + np.arange(k_rows) // 70) % 2 == 0},
    ),
    "specks": lambda q_rows, k_rows: ({}, {"mask": wave((q_rows, k_rows), 1.3) > 0.97}),
}


@pytest.mark.parametrize("name", sorted(BORDER_MASKS))
@pytest.mark.parametrize("rows", BORDERS)
def test_across_tiles(rows, name):
    """As many queries as keys, and two other numbers of keys that reach into the next tile."""
    for k_rows in {rows, rows + 2, 65}:
        first = qkv(1, 2, 1, rows, k_rows, 2, 2)
        args, extras = BORDER_MASKS[name](rows, k_rows)
        check(OP, attention(first, args, **extras), ulps=256)
    check_both(OP, attention(first, args, **extras), ulps=256)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("first_kept", [0, 64, 250, 299])
def test_tiles_before_and_after_what_is_kept(first_kept, dtype):
    """Rows whose first tiles, or last, are masked: no maximum is known yet, or it stays."""
    first = qkv(1, 1, 1, 70, 300, 4, 4)
    mask = (np.arange(300) >= first_kept) & (np.arange(300) < first_kept + 40)
    check_both(OP, attention(first, mask=mask), dtype, ulps=256)
    bias = np.where(mask, 0.0, -INF)
    check_both(OP, attention(first, bias=bias), dtype, ulps=256)


def rising_scores(rows, direction):
    """Scores that span +-600 exactly: each tile moves the maximum, or none after the first."""
    q = np.ones((1, 1, 3, 4))
    k = np.zeros((1, 1, rows, 4))
    k[..., 0] = direction * np.round(np.linspace(-600, 600, rows))
    return [q, k, wave((1, 1, rows, 5), 1.7)]


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("rows", [10, 300, 1030])
def test_large_range_of_logits(rows, direction):
    """The online softmax rescales; exp of the scores themselves is inf."""
    first = rising_scores(rows, direction)
    for dtype in ("float32", "float64"):
        # dq adds up ds k, which cancel, with k of hundreds.
        check_both(OP, attention(first, {"scale": 1.0}), dtype, ulps=1024)
        check(OP, attention(first, {"scale": 1.0, "mode": "upper"}), dtype, ulps=256)
    check(OP, attention(first, {"scale": 1.0, "softcap": 30.0}), ulps=1024)


@pytest.mark.parametrize("low", [-1e9, float(np.finfo("float32").min)])
@pytest.mark.parametrize("count", [1, 2])
def test_rows_under_the_lowest_bias(count, low):
    """Padding as it is often written: LSE has no room for the log of how many there are."""
    q, k, v = qkv(1, 1, 1, 6, 300, 4, 5)
    q[:, :, 3:] = 0
    bias = np.zeros((6, 1))
    bias[3:] = low
    with threads(count):
        check_both(OP, attention([q, k, v], bias=bias), ulps=256)
        check_both(OP, attention([q, k, v], bias=bias, sinks=np.array([low])), ulps=256)


def test_scores_of_any_size():
    """+-3e37, far over what exp can take."""
    q, k, v = qkv(1, 1, 1, 2, 3, 1, 1)
    q[:] = 1e19
    k[:, :, :, 0] = [1e18, -3e18, 3e18]
    output, lse = run_as(OP, attention([q, k, v], {"scale": 1.0}))
    np.testing.assert_array_equal(output.numpy()[0, 0, :, 0], np.float32([v[0, 0, 2, 0]] * 2))
    np.testing.assert_allclose(lse.numpy(), 3e37, rtol=1e-6)


@pytest.mark.parametrize("dtype", REALS)
def test_lse(dtype):
    """Of equal scores: their value and the log of how many there are, -inf of none."""
    q, k, v = qkv(1, 1, 1, 3, 300, 4, 4)
    q[:], k[:] = 1, 2
    lengths = np.array([[[300, 0, 17]]])
    case = attention([q, k, v], {"mode": "sequence"}, lengths=lengths)
    lse = run_as(OP, case, dtype)[1]
    assert lse.shape == (1, 1, 3)
    wanted = 4 + np.log(np.array([[[300, 1, 17]]]))
    wanted[0, 0, 1] = -INF
    assert_close(lse, wanted, "float64" if dtype == "float64" else "float32", ulps=4)


NOTHING_KEPT = {
    "lengths": ({"mode": "sequence"}, {"lengths": np.array([7, 0])}),
    "lengths by head": ({"mode": "sequence"}, {"lengths": np.array([[7, 0, 3, 0], [-1, 7, 7, 7]])}),
    "mask": ({}, {"mask": np.array([True, False]).reshape(2, 1, 1, 1)}),
    "mask of everything": ({}, {"mask": np.array(False)}),
    "mask of rows": ({}, {"mask": np.arange(5)[:, None] % 2 == 0}),
    "triangle": ({"mode": "upper", "diagonal": -2}, {}),
    "window beyond the keys": ({"mode": "upper+lower", "diagonal": 4}, {}),
    "bias": ({}, {"bias": np.where(np.arange(5)[:, None] % 2 == 0, 0, -INF)}),
    "bias of what is kept": (
        {"mode": "sequence"},
        {"lengths": np.array([3, 7]), "bias": np.where(np.arange(7) < 3, -INF, 0)},
    ),
}


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("empty_row", [None] + list(EMPTY_ROWS))
@pytest.mark.parametrize("why", sorted(NOTHING_KEPT))
def test_empty_rows(why, empty_row, dtype):
    """What they become; no gradient comes from them, but for the mean of values to V."""
    args, extras = NOTHING_KEPT[why]
    if empty_row is not None:
        args = dict(args, empty_row=empty_row)
    case = attention(QKV, args, **extras)
    check_both(OP, case, dtype)
    empty = expected(OP, case)[1] == -INF
    assert empty.any()
    d_output = wave((2, 4, 5, 4))
    wanted = gradients_as(OP, case, [d_output], dtype)
    assert_same(as_double(wanted[0])[empty], np.zeros((empty.sum(), 3)))
    grads = gradients_as(OP, case, [poisoned(d_output, ~empty[..., None], NAN)], dtype)
    if empty_row == "uniform":
        del grads[2]
    for i, grad in grads.items():
        assert_close(grad, as_double(wanted[i]), dtype)


@pytest.mark.parametrize("poison", [NAN, INF])
@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("rows", [(5, 7), (70, 90)], ids=str)
def test_masked_numbers_go_nowhere(rows, dtype, poison):
    """What no query keeps of K, V and bias, and what empty rows have in Q and the gradient of O."""
    clean = qkv(2, 2, 1, *rows)
    mask = wave(rows, 1.3) > -0.5
    mask[rows[0] // 2] = False
    mask[:, 2] = False
    lengths = np.array([rows[1] - 2, 3])
    bias = wave((2, 1) + rows)
    keep = mask & (np.arange(rows[1]) < lengths[:, None, None, None])
    queries, keys = keep.any(-1)[..., None], keep.any(-2)[..., None]
    dirty = [poisoned(array, seen, poison) for array, seen in zip(clean, (queries, keys, keys))]
    d_output = wave((2, 2, rows[0], 4))
    results = []
    for first, of_bias, of_output in [
        (clean, bias, d_output),
        (dirty, poisoned(bias, keep, poison), poisoned(d_output, queries, poison)),
    ]:
        case = attention(first, {"mode": "sequence"}, lengths=lengths, mask=mask, bias=of_bias)
        grads = gradients_as(OP, case, [of_output], dtype)
        results.append(run_as(OP, case, dtype) + [grads[i] for i in sorted(grads)])
    for one, other in zip(*results):
        assert_close(other, as_double(one), dtype)


@pytest.mark.parametrize("poison", [NAN, INF])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("sinks", [None, np.array([0.7])], ids=["none", "sinks"])
def test_numbers_that_some_keep(sinks, which, dtype, poison):
    """A NaN of one key or query shows with those that keep it and with nobody else."""
    rows = 9
    first = qkv(1, 1, 1, rows, rows, 3, 4)
    d_output = wave((1, 1, rows, 4))
    target = (first + [d_output])[which]
    target[0, 0, 4] = poison
    case = attention(first, {"mode": "upper"}, sinks=sinks)
    earlier, later = slice(0, 4), slice(5, None)
    output, lse = (as_double(tensor)[0, 0] for tensor in run_as(OP, case, dtype))
    wanted = expected(OP, case, dtype)
    unseen = {0: [earlier, later], 1: [earlier], 2: [earlier], 3: [slice(None)]}[which]
    for part in unseen:
        np.testing.assert_allclose(output[part], wanted[0][0, 0][part], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(lse[part], wanted[1][0, 0][part], rtol=1e-4)
    if which != 3:
        assert not np.isfinite(output[4]).any()
    if which in (1, 2):
        assert not np.isfinite(output[later]).any()
    with np.errstate(all="ignore"):
        exact = masked_attention_gradient(d_output, *case.inputs, **case.args)
    grads = gradients_as(OP, case, [d_output], dtype)
    for i, grad in grads.items():
        finite = np.isfinite(exact[i])
        np.testing.assert_allclose(as_double(grad)[finite], exact[i][finite], rtol=1e-4, atol=1e-5)
        assert not np.isfinite(as_double(grad)[~finite]).any()


@pytest.mark.parametrize("sizes", [(0, 5, 7), (2, 0, 7), (2, 5, 0)], ids=str)
def test_empty_tensors_without_heads(sizes):
    batch, q_rows, k_rows = sizes
    first = [array[:, 0] for array in qkv(batch, 1, 1, q_rows, k_rows)]
    bias = wave((batch, 1, k_rows))
    check_both(OP, attention(first, {"mode": "sequence"}, lengths=np.full(batch, 3), bias=bias))


EMPTY = [
    (dict(batch=0), {}, {}),
    (dict(batch=0), {"mode": "sequence"}, {"lengths": np.zeros(0, "int32")}),
    (dict(q_rows=0), {"mode": "upper"}, {}),
    (dict(q_rows=0), {"mode": "sequence"}, {"lengths": np.array([2, 3])}),
    (dict(q_rows=0), {"align": "bottom_right", "mode": "upper"}, {"bias": wave((1, 7))}),
    (dict(k_rows=0), {}, {}),
    (dict(k_rows=0), {"empty_row": "nan"}, {}),
    (dict(k_rows=0), {"empty_row": "uniform"}, {}),
    (dict(k_rows=0), {"mode": "sequence+upper"}, {"lengths": np.array([0, 2])}),
    (dict(k_rows=0), {"mode": "left_pad"}, {"left_pad": np.array([0, 2])}),
    (dict(q_rows=0), {"mode": "left_pad"}, {"left_pad": np.array([0, 2])}),
    (dict(k_rows=0), {"align": "bottom_right"}, {"mask": np.ones((5, 1), bool)}),
    (dict(k_rows=0), {}, {"bias": wave((4, 1, 1))}),
    (dict(q_rows=0, k_rows=0), {"window_left": 1}, {}),
    (dict(v_size=0), {"mode": "upper"}, {}),
    (dict(size=0), {"scale": 1.0, "mode": "upper"}, {}),
    (dict(heads=0), {}, {}),
    (dict(batch=0), {}, {"sinks": wave((4,))}),
    (dict(q_rows=0), {}, {"bias": wave((1, 7)), "sinks": wave((4,))}),
    (dict(k_rows=0), {"empty_row": "nan"}, {"sinks": wave((4,))}),
    (dict(v_size=0), {}, {"sinks": wave((4,))}),
    (dict(heads=0), {}, {"sinks": np.zeros(0)}),
]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("sizes, args, extras", EMPTY, ids=str)
def test_empty_tensors(sizes, args, extras, dtype):
    """No queries, nothing to look at, no features: gradients of what is there are 0."""
    check_both(OP, attention(qkv(**sizes), args, **extras), dtype)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_decoding(kv_heads):
    """One query at a time against a cache with room left: rows of the causal attention."""
    q, k, v = qkv(2, 4, kv_heads, 12, 12, 8, 6)
    lengths = np.array([12, 9])
    whole = expected(OP, attention([q, k, v], {"mode": "upper"}), "float64")[0]
    args = {"mode": "sequence+upper", "align": "bottom_right"}
    for back in range(4):
        at = lengths - 1 - back
        query = np.stack([q[b, :, at[b] : at[b] + 1] for b in range(2)])
        seen = np.arange(12)[:, None] <= at[:, None, None, None]
        cache = [poisoned(keys, seen, NAN) for keys in (k, v)]
        output, _ = run_as(OP, attention([query] + cache, args, lengths=at + 1), "float64")
        for b in range(2):
            np.testing.assert_allclose(output[b, :, 0], whole[b, :, at[b]], rtol=1e-12)
        check_gradient(
            OP, attention([query, k, v], args, lengths=at + 1), wave(query.shape[:3] + (6,))
        )


def test_several_queries_at_the_end_of_a_cache():
    """bottom_right: the last query stands on the last key of its batch element."""
    q, k, v = qkv(2, 2, 1, 12, 12)
    lengths = np.array([12, 9])
    whole = expected(OP, attention([q, k, v], {"mode": "upper", "window_left": 4}), "float64")[0]
    tail = np.stack([q[b, :, n - 3 : n] for b, n in enumerate(lengths)])
    args = {"mode": "sequence+upper", "window_left": 4, "align": "bottom_right"}
    output = as_double(run_as(OP, attention([tail, k, v], args, lengths=lengths), "float64")[0])
    for b, n in enumerate(lengths):
        np.testing.assert_allclose(output[b], whole[b, :, n - 3 : n], rtol=1e-12)


def with_a_key_of_zeros(case):
    """A case with sinks as one without: a key and value of zeros more, whose bias is the sink."""
    q, k, v = case.inputs[:3]
    extras = read_extras(case.inputs[3:], case.args)
    shape = q.shape[:-1] + (k.shape[-2],)
    keep = attention_kept(q, k, case.inputs[3:], **case.args)
    bias = np.broadcast_to(0.0 if extras.bias is None else extras.bias, shape)
    sinks = np.broadcast_to(extras.sinks.reshape(-1, 1, 1), shape[:-1] + (1,))
    k, v = (np.concatenate([keys, np.zeros_like(keys[..., :1, :])], -2) for keys in (k, v))
    mask = np.concatenate([keep, np.ones_like(keep[..., :1])], -1)
    args = {name: case.args[name] for name in ("scale", "softcap") if name in case.args}
    return attention([q, k, v], args, mask=mask, bias=np.concatenate([bias, sinks], -1))


@pytest.mark.parametrize(
    "case",
    [
        attention(qkv(*sizes), args, sinks=0.8 * wave(sizes[1:2], 0.9), **extras)
        for sizes, args, extras in [
            ((2, 4, 2, 5, 7), {}, {}),
            ((2, 4, 2, 5, 7), {"softcap": 1.5, "scale": -0.3, "mode": "upper"}, {}),
            ((2, 4, 1, 5, 7), {"mode": "sequence"}, {"lengths": HEAD_LENGTHS}),
            ((2, 4, 2, 5, 7), {"empty_row": "nan"}, {"mask": KEEP, "bias": wave((4, 5, 7))}),
            ((2, 1, 1, 1, 700), {"mode": "sequence"}, {"lengths": np.array([600, 0])}),
            ((1, 2, 1, 150, 300), {"window_left": 30, "mode": "upper", "diagonal": -1}, {}),
        ]
    ]
    + [headless("bias and sinks")],
    ids=["all", "scores alone", "lengths", "mask and bias", "decoding", "tiles", "no heads"],
)
@pytest.mark.parametrize("count", [1, 7])
def test_a_sink_is_a_key_without_a_value(case, count):
    """With no oracle: O, LSE and all gradients, from those of both."""
    same = with_a_key_of_zeros(case)
    rows = case.inputs[0].shape[:-1]
    d_outputs = [wave(rows + (4,)), wave(rows, 1.9)]
    with threads(count):
        outputs, wanted = run_as(OP, case, "float64"), run_as(OP, same, "float64")
        grads = gradients_as(OP, case, d_outputs, "float64")
        wanted_grads = gradients_as(OP, same, d_outputs, "float64")
    for one, other in zip(outputs, wanted):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-12, atol=1e-14)
    of_inputs = [wanted_grads[0], wanted_grads[1][..., :-1, :], wanted_grads[2][..., :-1, :]]
    of_bias = wanted_grads[4].numpy()
    of_sinks = of_bias[..., -1].sum((0, -1)).reshape(-1)
    for i, wanted in enumerate(of_inputs):
        np.testing.assert_allclose(grads[i].numpy(), wanted.numpy(), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(grads[max(grads)].numpy(), of_sinks, rtol=1e-10, atol=1e-13)
    if case.args.get("has_bias"):
        part = of_bias[..., :-1]
        bias = case.inputs[max(grads) - 1]
        one = grads[max(grads) - 1].numpy()
        summed = tuple(d for d in range(-bias.ndim, 0) if bias.shape[d] == 1)
        part = part.sum(tuple(range(part.ndim - bias.ndim))).sum(summed, keepdims=True)
        np.testing.assert_allclose(one, part, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("empty_row", EMPTY_ROWS)
@pytest.mark.parametrize("why", sorted(NOTHING_KEPT))
def test_rows_that_keep_nothing_beside_a_sink(why, empty_row, dtype):
    """They are 0, whatever an empty row is, and LSE is the sink; but for a head without one."""
    args, extras = NOTHING_KEPT[why]
    case = attention(QKV, dict(args, empty_row=empty_row), sinks=SINKS, **extras)
    check_both(OP, case, dtype)
    empty = expected(OP, attention(QKV, args, **extras))[1] == -INF
    output, lse = (as_double(tensor) for tensor in run_as(OP, case, dtype))
    sinks = np.broadcast_to(as_double(as_type(SINKS, dtype))[:, None], empty.shape)
    np.testing.assert_array_equal(lse[empty], sinks[empty].astype(lse.dtype))
    assert (output[empty & (sinks != -INF)] == 0).all()


@pytest.mark.parametrize("sink", [NAN, INF])
def test_a_sink_that_is_not_finite_shows(sink):
    """In its head alone, forward and backward, also in rows of nothing else."""
    sinks = np.array([0.5, sink, -INF, 1.0])
    case = attention(QKV, {"mode": "sequence"}, lengths=HEAD_LENGTHS, sinks=sinks)
    finite = np.where(np.arange(4) == 1, 0.0, sinks)
    clean = attention(QKV, {"mode": "sequence"}, lengths=HEAD_LENGTHS, sinks=finite)
    d_output = wave((2, 4, 5, 4))
    grads, wanted = (gradients_as(OP, one, [d_output]) for one in (case, clean))
    for one, other in zip(run_as(OP, case) + [grads[0]], run_as(OP, clean) + [wanted[0]]):
        one, other = one.numpy(), other.numpy()
        assert_same(one[:, [0, 2, 3]], other[:, [0, 2, 3]])
    for one in run_as(OP, case):
        assert np.isnan(one.numpy()[:, 1]).all()
    # Of K and V the heads 0 and 1 read the first.
    for i in (1, 2):
        assert_same(grads[i].numpy()[:, 1], wanted[i].numpy()[:, 1])
    assert np.isnan(grads[4].numpy()).tolist() == [False, True, False, False]


@pytest.mark.parametrize("index", ["int32", "int64"])
def test_sentences_that_are_padded_at_the_beginning(index):
    """As transformers' padding_side="left" has them: each as if it were alone, and so gradients.

    All queries at once, then the last one alone against a cache, as each step of decoding has it.
    """
    q, k, v = qkv(3, 4, 2, 9, 9)
    left_pad = np.array([0, 4, 8], index)
    words = (np.arange(9) >= left_pad[:, None])[:, None, :, None]
    padded = [poisoned(array, words, NAN) for array in (q, k, v)]
    args = {"mode": "upper+left_pad", "align": "bottom_right"}
    d_output = wave((3, 4, 9, 4))
    for last in (9, 1):
        first = [padded[0][:, :, -last:]] + padded[1:]
        case = attention(first, args, left_pad=left_pad)
        output = as_double(run_as(OP, case, "float64")[0])
        d_first = poisoned(d_output, words, 0)[:, :, -last:]
        grads = {i: as_double(d) for i, d in gradients_as(OP, case, [d_first], "float64").items()}
        for b, pad in enumerate(left_pad):
            queries = min(last, 9 - pad)
            alone = [q[b : b + 1, :, -queries:], k[b : b + 1, :, pad:], v[b : b + 1, :, pad:]]
            alone = attention(alone, {"mode": "upper", "align": "bottom_right"})
            wanted = expected(OP, alone, "float64")[0][0]
            np.testing.assert_allclose(output[b, :, -queries:], wanted, rtol=1e-12)
            assert not output[b, :, :-queries].any()
            d_alone = d_output[b : b + 1, :, -queries:]
            for i, grad in expected_gradient(OP, alone, d_alone, "float64").items():
                rows = grad.shape[2]
                np.testing.assert_allclose(grads[i][b, :, -rows:], grad[0], rtol=1e-9, atol=1e-12)
                assert not grads[i][b, :, :-rows].any()


def composed(q, k, v, args, extras, scale):
    """BatchMatMul, MaskedSoftmax, BatchMatMul: the outputs and the gradients of Q, K and V."""
    for name, array in zip("qkv", (q, k, v)):
        workspace.FeedBlob(name, array.astype("f"))
    names = ["scores"]
    for name in Extras._fields:
        if name in extras:
            entry = extras[name]
            workspace.FeedBlob(name, entry.astype("f") if name == "bias" else entry)
            names.append(name)
    net = core.Net("composed")
    net.BatchMatMul(["q", "k"], ["scores"], trans_b=1)
    net.MaskedSoftmax(
        names, ["weights"], scale=scale, has_mask=int("mask" in extras),
        has_bias=int("bias" in extras), **args
    )
    net.BatchMatMul(["weights", "v"], ["output"])
    net.ConstantFill(["output"], ["ones"], value=1.0)
    grads = net.AddGradientOperators({"output": "ones"})
    workspace.RunNetOnce(net)
    return [workspace.FetchBlob(name) for name in ["output"] + [str(grads[name]) for name in "qkv"]]


@pytest.mark.parametrize(
    "name",
    ["none", "causal", "window", "padded and causal", "left padded", "around centers", "mask",
     "bias that masks"],
)
def test_is_the_composition(name):
    """Also a net's way to ask for the same with three operators."""
    args, extras = MASKS[name]
    first = qkv(kv_heads=4)
    case = attention(first, args, **extras)
    wanted = composed(*first, args=args, extras=extras, scale=float(np.float32(3 ** -0.5)))
    grads = gradients_as(OP, case, [np.ones((2, 4, 5, 4))])
    actual = [run_as(OP, case)[0]] + [grads[i] for i in range(3)]
    for one, other in zip(actual, wanted):
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("name", ["none", "causal", "padded", "mask of keys", "bias", "sinks"])
def test_threads(name, dtype):
    """The same bits from one thread and from several."""
    rows = 150
    args, extras = {
        "none": ({}, {}),
        "causal": ({"mode": "upper", "align": "bottom_right"}, {}),
        "padded": ({"mode": "sequence"}, {"lengths": np.array([140, 31])}),
        "mask of keys": ({}, {"mask": np.arange(rows) % 3 > 0}),
        "bias": ({"softcap": 3.0}, {"bias": wave((rows, rows))}),
        "sinks": ({"mode": "upper"}, {"sinks": wave((4,))}),
    }[name]
    case = attention(qkv(2, 4, 2, rows, rows, 16, 16), args, **extras)
    d_output = wave((2, 4, rows, 16))
    results = []
    for count in (1, 2, 5):
        with threads(count):
            grads = gradients_as(OP, case, [d_output], dtype)
            results.append(run_as(OP, case, dtype) + [grads[i] for i in sorted(grads)])
    for several in results[1:]:
        for one, other in zip(results[0], several):
            assert_same(as_double(other), as_double(one))


def sgd_net(args, extras, rate):
    """A net whose every run is one step of Q, K, V and the bias towards a target."""
    net = core.Net("train")
    names = ["q", "k", "v"] + sorted(extras, key=Extras._fields.index)
    output, _ = net.MaskedAttention(
        names, ["output", "lse"], has_mask=int("mask" in extras), has_bias=1, **args
    )
    distance = net.SquaredL2Distance([output, "target"], ["distance"])
    loss = net.SumElements([distance], ["loss"])
    grads = net.AddGradientOperators([loss])
    workspace.FeedBlob("one", np.array([1], "f"))
    workspace.FeedBlob("rate", np.array([-rate], "f"))
    for name in ("q", "k", "v", "bias"):
        net.WeightedSum([name, "one", grads[name], "rate"], [name])
    return net


@pytest.mark.parametrize("masked", ["causal", "padded", "mask"])
def test_trains_in_a_net(masked):
    """Ten steps of gradient descent are those of the oracle in double, and lower the loss."""
    args, extras = {
        "causal": ({"mode": "upper"}, {}),
        "padded": ({"mode": "sequence", "softcap": 5.0}, {"lengths": LENGTHS}),
        "mask": ({"window_left": 3}, {"mask": KEEP}),
    }[masked]
    learned = dict(zip("qkv", qkv()), bias=np.zeros((4, 1, 7)))
    target = wave((2, 4, 5, 4), 2.3)
    for name, array in list(learned.items()) + [("target", target)]:
        workspace.FeedBlob(name, array.astype("f"))
    for name, array in extras.items():
        workspace.FeedBlob(name, array)
    rate = 0.1
    net = sgd_net(args, dict(extras, bias=learned["bias"]), rate)
    workspace.CreateNet(net)
    losses = []
    for _ in range(10):
        workspace.RunNet(net)
        case = attention([learned[n] for n in "qkv"], args, bias=learned["bias"], **extras)
        output = masked_attention(*case.inputs, **case.args)[0]
        losses.append(0.5 * ((output - target) ** 2).sum())
        np.testing.assert_allclose(workspace.FetchBlob("loss"), losses[-1], rtol=1e-4)
        grads = masked_attention_gradient(output - target, *case.inputs, **case.args)
        for name, i in zip(["q", "k", "v", "bias"], sorted(grads)):
            learned[name] = learned[name] - rate * grads[i]
    assert losses[-1] < 0.9 * losses[0]
    for name, array in learned.items():
        np.testing.assert_allclose(workspace.FetchBlob(name), array, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("case", [options(name) for name in sorted(MASKS)] + [headless("padded")],
                         ids=sorted(MASKS) + ["no heads"])
def test_gradient_without_lse(case, dtype):
    """A net that does not name LSE gets the same bits."""
    d_output = wave(case.inputs[0].shape[:-1] + (4,))
    wanted = gradients_as(OP, case, [d_output, None], dtype)
    grads = gradients_as(OP, case._replace(outputs=1), [d_output], dtype)
    assert sorted(grads) == sorted(wanted)
    for i, grad in grads.items():
        assert_same(as_double(grad), as_double(wanted[i]))


@pytest.mark.parametrize("sizes, args, extras", EMPTY, ids=str)
def test_empty_gradient_without_lse(sizes, args, extras):
    case = attention(qkv(**sizes), args, **extras)
    d_output = np.zeros(expected(OP, case)[0].shape)
    for i, grad in gradients_as(OP, case._replace(outputs=1), [d_output]).items():
        assert_same(grad.numpy(), np.zeros(case.inputs[i].shape, "f"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("with_o", [False, True])
@pytest.mark.parametrize("case", [options(name) for name in sorted(MASKS)] + [headless("padded")],
                         ids=sorted(MASKS) + ["no heads"])
def test_gradient_of_lse(case, with_o, dtype):
    """Alone or beside that of O. Alone, no value has a part in it, be it NaN."""
    rows = case.inputs[0].shape[:-1]
    d_output, d_lse = wave(rows + (4,)) if with_o else None, wave(rows, 1.9)
    exact = [as_double(as_type(array, dtype)) for array in case.inputs]
    wanted = masked_attention_gradient(d_output, *exact, d_lse=d_lse, **case.args)
    if not with_o:
        inputs = list(case.inputs)
        inputs[2] = np.full(inputs[2].shape, NAN)
        case = case._replace(inputs=inputs)
    grads = gradients_as(OP, case, [d_output, d_lse], dtype)
    assert sorted(grads) == sorted(wanted)
    for i, grad in grads.items():
        assert_close(grad, wanted[i], dtype)


def test_sparse_gradient():
    op = core.CreateOperator(OP, ["q", "k", "v"], ["output"])
    sparse = core.GradientSlice(indices="indices", values="values")
    with pytest.raises(Exception, match="MaskedAttention: the gradient of O must be dense, but is"):
        core.GradientRegistry.GetGradientForOp(op, [sparse])


@st.composite
def cases(draw):
    """Small attention of any sizes and masks."""
    batch, kv_heads, group = (draw(st.integers(1, 2)) for _ in range(3))
    q_rows, k_rows = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    size, v_size = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape, kv_shape = (batch, kv_heads * group, q_rows, k_rows), (batch, kv_heads)
    if draw(st.booleans()):  # without heads
        shape, kv_shape = (batch, q_rows, k_rows), (batch,)
    args, extras = draw(mask_options(shape, min_prefix=1))
    if draw(st.booleans()):
        args["scale"] = draw(quarters(1))
    if draw(st.booleans()):
        args["softcap"] = draw(st.sampled_from([0.5, 2.0, 30.0]))
    if draw(st.booleans()):
        args["align"] = draw(st.sampled_from(["top_left", "bottom_right"]))
    if draw(st.booleans()):
        heads = (kv_heads * group,) if len(shape) == 4 else (1,)
        extras["sinks"] = draw(drawn(quarters() | st.just(-np.inf), heads))
    first = [
        draw(drawn(quarters(2), sizes))
        for sizes in (
            shape[:-1] + (size,),
            kv_shape + (k_rows, size),
            kv_shape + (k_rows, v_size),
        )
    ]
    return attention(first, args, **extras)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@given(data=st.data())
def test_drawn(dtype, data):
    """Results and gradients of drawn numbers, sizes and masks."""
    check_both(OP, data.draw(cases()), dtype)


@given(data=st.data())
def test_order_of_keys_does_not_matter(data):
    """With no oracle: keys, values and mask reversed together change nothing."""
    q_rows, k_rows = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    q, k, v = (data.draw(drawn(quarters(2), (1, 2, n, 2))) for n in (q_rows, k_rows, k_rows))
    mask = data.draw(drawn(st.booleans(), (q_rows, k_rows))) != 0
    one = run_as(OP, attention([q, k, v], mask=mask))
    other = run_as(OP, attention([q, k[:, :, ::-1], v[:, :, ::-1]], mask=mask[:, ::-1]))
    for forward, reversed_ in zip(one, other):
        np.testing.assert_allclose(forward.numpy(), reversed_.numpy(), rtol=1e-5, atol=1e-6)


Q, K, V = (np.ones(shape, "f") for shape in ((2, 4, 5, 3), (2, 2, 7, 3), (2, 2, 7, 6)))

