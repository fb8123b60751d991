"""MaskedSoftmax and its gradients."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from caffe2.python import core, workspace
from hypothesis import given

from oracles.attending import Extras, kept, masked_softmax, read_extras
from oracles.attending_gradients import masked_softmax_gradient
from oracles.masking import ROW_INPUTS
from testers.arrays import (
    EMPTY_ROWS,
    PARTS,
    broadcast_shapes,
    drawn,
    mask_options,
    quarters,
    shapes,
    wave,
)
from testers.attention import (
    REALS,
    as_double,
    assert_close,
    check,
    check_both,
    check_gradient,
    expected,
    gradients_as,
    make_case,
    poisoned,
    run_as,
    ulps_off,
    used,
)
from testers.operators import Case, assert_same, run_case
from testers.threads import one_thread, threads  # noqa: F401  a fixture

pytestmark = pytest.mark.operators

OP = "MaskedSoftmax"
INF = np.inf
NAN = np.nan
X = 3 * wave((2, 3, 4, 5))
KEEP = wave((3, 4, 5), 1.3) > 0

LENGTHS = np.array([[0, 2, 5], [6, -1, 4]])
CENTERS = np.array([1, 4])
LEFT_PAD = np.array([[3, -1, 1], [5, 0, 7]])

# Arguments and optional inputs for X, each of which masks something and not everything.
MASKS = {
    "none": ({}, {}),
    "upper": ({"mode": "upper"}, {}),
    "lower": ({"mode": "lower"}, {}),
    "upperdiag": ({"mode": "upperdiag"}, {}),
    "lowerdiag": ({"mode": "lowerdiag"}, {}),
    "shifted": ({"mode": "upper", "diagonal": 1}, {}),
    "shifted back": ({"mode": "lower", "diagonal": -2}, {}),
    "diagonal alone": ({"mode": "upper+lower"}, {}),
    "band of triangles": ({"mode": "lowerdiag+upper", "diagonal": 1}, {}),
    "window left": ({"window_left": 1}, {}),
    "window right": ({"window_right": 0}, {}),
    "window": ({"window_left": 0, "window_right": 2}, {}),
    "window and triangle": ({"mode": "upper", "window_left": 2}, {}),
    "sequence": ({"mode": "sequence"}, {"lengths": LENGTHS}),
    "around centers": ({"mode": "window", "radius": 1}, {"centers": CENTERS}),
    "padded and causal": ({"mode": "sequence+upper"}, {"lengths": LENGTHS}),
    "left padded": ({"mode": "left_pad"}, {"left_pad": LEFT_PAD}),
    "left padded and causal": (
        {"mode": "upper+left_pad"},
        {"left_pad": np.array([1, 2], "int32")},
    ),
    "padded at both ends": (
        {"mode": "sequence+left_pad"},
        {"lengths": np.array([4, 5]), "left_pad": LEFT_PAD},
    ),
    "left padded, in a window": (
        {"mode": "window+left_pad", "radius": 2},
        {"centers": CENTERS, "left_pad": LEFT_PAD},
    ),
    "both indices": (
        {"mode": "window+sequence", "radius": 2},
        {"lengths": LENGTHS, "centers": CENTERS},
    ),
    "mask": ({}, {"mask": KEEP}),
    "mask and triangle": ({"mode": "lower"}, {"mask": KEEP[:, :1]}),
    "bias": ({}, {"bias": wave((4, 5), 0.4)}),
    "bias that masks": ({}, {"bias": np.where(KEEP, wave((3, 4, 5), 0.2), -INF)}),
    "everything": (
        {"mode": "sequence+window+left_pad+upper", "radius": 3, "window_left": 3, "scale": 0.5},
        {
            "lengths": LENGTHS,
            "centers": CENTERS,
            "left_pad": np.array([0, 1]),
            "mask": KEEP | (np.arange(5) == 0),
            "bias": wave((3, 1, 5)),
        },
    ),
}


def options(name):
    args, extras = MASKS[name]
    return make_case([X], args, **extras)


def run_array(x, args=None, **extras):
    """The output of float32 numbers, as an array of float32."""
    return run_as(OP, make_case([np.asarray(x, "f")], args, **extras))[0].numpy()


def ones_where(keep):
    """Softmax of equal logits."""
    return keep / np.maximum(keep.sum(-1, keepdims=True), 1)


class TestOracle(object):
    """The reference against torch's own softmax and masked_fill, and against finite differences."""

    @pytest.mark.parametrize("name", sorted(MASKS))
    def test_is_torchs(self, name):
        case = options(name)
        extras = read_extras(case.inputs[1:], case.args)
        keep = kept(X.shape, extras, **case.args)
        logits = torch.tensor(case.args.get("scale", 1.0) * X)
        if extras.bias is not None:
            logits = logits + torch.tensor(extras.bias)
        masked = torch.softmax(logits.masked_fill(torch.tensor(~keep), -INF), -1)
        wanted = masked.masked_fill(torch.isnan(masked), 0.0).numpy()
        np.testing.assert_allclose(expected(OP, case, "float64")[0], wanted, rtol=1e-13)

    @pytest.mark.parametrize("name", sorted(MASKS))
    def test_gradient_is_the_slope(self, name):
        """The loss along a direction rises as the gradients say."""
        case = options(name)
        d_output = wave(X.shape)
        for i, grad in masked_softmax_gradient(d_output, *case.inputs, **case.args).items():
            step = 1e-6 * wave(grad.shape, 1.9)
            losses = []
            for sign in (1, -1):
                inputs = list(case.inputs)
                inputs[i] = inputs[i] + sign * step
                losses.append((masked_softmax(*inputs, **case.args)[0] * d_output).sum())
            np.testing.assert_allclose(losses[0] - losses[1], 2 * (grad * step).sum(), atol=1e-14)

    def test_keeps_what_the_mode_table_says(self):
        row = np.array(2)
        for args, extras, columns in [
            ({"mode": "upper"}, {}, [0, 1, 2]),
            ({"mode": "lower"}, {}, [2, 3, 4]),
            ({"mode": "upperdiag"}, {}, [0, 1]),
            ({"mode": "lowerdiag"}, {}, [3, 4]),
            ({"mode": "upper", "diagonal": 1}, {}, [0, 1, 2, 3]),
            ({"mode": "sequence"}, {"lengths": row}, [0, 1]),
            ({"mode": "window", "radius": 1}, {"centers": row}, [1, 2, 3]),
            ({"mode": "left_pad"}, {"left_pad": row}, [2, 3, 4]),
            ({"mode": "upper+left_pad"}, {"left_pad": np.array(1)}, [1, 2]),
            ({"window_left": 1}, {}, [1, 2, 3, 4]),
            ({"window_right": 1}, {}, [0, 1, 2, 3]),
            ({"window_left": 0, "window_right": 0}, {}, [2]),
        ]:
            keep = kept((3, 5), Extras(**extras), **args)
            assert np.flatnonzero(keep[2]).tolist() == columns


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("name", sorted(MASKS))
def test_masks(name, dtype):
    check_both(OP, options(name), dtype)


@pytest.mark.parametrize("diagonal", [-(2 ** 63), -4, -1, 0, 2, 5, 2 ** 63 - 1])
@pytest.mark.parametrize("mode", ["upper", "lower", "upperdiag", "lowerdiag"])
def test_diagonal(mode, diagonal):
    check_both(OP, make_case([X], {"mode": mode, "diagonal": diagonal}))


@pytest.mark.parametrize("right", [-1, 0, 3, 2 ** 63 - 1])
@pytest.mark.parametrize("left", [-1, 0, 1, 9, 2 ** 63 - 1])
def test_window_around_the_row(left, right):
    case = make_case([X], {"window_left": left, "window_right": right})
    check_both(OP, case)
    i, j = np.arange(4)[:, None], np.arange(5)
    keep = ((left < 0) | (i - j <= left)) & ((right < 0) | (j - i <= right))
    got = run_array(np.zeros(X.shape), case.args)
    np.testing.assert_allclose(got, np.broadcast_to(ones_where(keep), X.shape), rtol=1e-6)


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("rank", range(4))
def test_index_of_every_prefix(rank, index):
    """An entry for everything, each batch, each head, each row."""
    shape = X.shape[:rank]
    lengths = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 7 - 1).astype(index)
    # With rank 3 also a vector of one for each row, as stock has it.
    for entries in [lengths, lengths.ravel()] if rank == 3 else [lengths]:
        check_both(OP, make_case([X], {"mode": "sequence"}, lengths=entries))
        check_both(OP, make_case([X], {"mode": "window", "radius": 1}, centers=entries))
        check_both(OP, make_case([X], {"mode": "left_pad"}, left_pad=entries))
    for whole in range(4):
        centers = np.full(X.shape[:whole], 2, "int64")
        args = {"mode": "sequence+window", "radius": 1}
        check(OP, make_case([X], args, lengths=lengths, centers=centers))


def test_all_but_one_of_the_shapes():
    """With the sides of a band; all of the shapes keep nothing."""
    extras = dict.fromkeys([name for _, name in ROW_INPUTS], LENGTHS)
    extras.update(centers=CENTERS, left_pad=LEFT_PAD - 2)
    for left_out in [None] + PARTS:
        parts = [part for part in PARTS if part != left_out]
        args = {"mode": "+".join(parts), "window_left": 2, "window_right": 2}
        read = {name: extras[name] for part, name in ROW_INPUTS if part in parts}
        check_both(OP, make_case([X], args, **read))


@pytest.mark.parametrize("index", ["int32", "int64"])
def test_index_at_its_limits(index):
    limits = np.iinfo(index)
    entries = np.array([[limits.min, limits.max, 3], [0, -1, 5]], index)
    check_both(OP, make_case([X], {"mode": "sequence"}, lengths=entries))
    check_both(OP, make_case([X], {"mode": "left_pad"}, left_pad=entries))
    for radius in (0, 1, 2 ** 63 - 1):
        check_both(OP, make_case([X], {"mode": "window", "radius": radius}, centers=entries))


BROADCASTS = [
    (), (1,), (5,), (4, 1), (4, 5), (1, 5), (3, 1, 1), (3, 1, 5), (3, 4, 5), (1, 4, 1),
    (2, 1, 1, 1), (2, 1, 1, 5), (2, 3, 1, 1), (2, 1, 4, 5), (1, 1, 1, 1), (2, 3, 4, 5),
]


@pytest.mark.parametrize("shape", BROADCASTS, ids=str)
def test_broadcast(shape):
    """Masks and biases of every shape, and the bias's gradient summed back to it."""
    mask, bias = wave(shape, 1.1) > -0.3, wave(shape)
    check_both(OP, make_case([X], mask=mask))
    check_both(OP, make_case([X], bias=bias))
    check_both(OP, make_case([X], {"mode": "upper", "scale": -0.5}, mask=mask, bias=bias))
    check_both(OP, make_case([X], mask=KEEP, bias=bias), "float16")


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("scale", [1.0, 0.3, -2.0, 0.0, 4])
def test_scale(scale, dtype):
    for extras in ({}, {"bias": wave((4, 5))}):
        check_both(OP, make_case([X], {"scale": scale, "mode": "upper"}, **extras), dtype)


NOTHING_KEPT = {
    "mask": lambda x: (x, {}, {"mask": np.arange(3)[:, None] != 1}),
    "lengths": lambda x: (x, {"mode": "sequence"}, {"lengths": np.array([4, 0, 2])}),
    "left_pad": lambda x: (x, {"mode": "left_pad"}, {"left_pad": np.array([1, 4, 0])}),
    "triangle": lambda x: (x, {"mode": "lowerdiag", "diagonal": 2}, {}),
    "-inf": lambda x: (np.where(np.arange(3)[:, None] == 1, -INF, x), {}, {}),
    "-inf of bias": lambda x: (x, {}, {"bias": np.where(np.arange(3)[:, None] == 1, -INF, 0)}),
    "-inf of what is kept": lambda x: (
        np.where(np.arange(4) < np.array([0, 3, 1])[:, None], -INF, x),
        {"mode": "sequence"},
        {"lengths": np.array([4, 3, 3])},
    ),
    "-inf of both": lambda x: (
        np.where((np.arange(3)[:, None] == 1) & (np.arange(4) < 2), -INF, x),
        {},
        {"bias": np.where((np.arange(3)[:, None] == 1) & (np.arange(4) >= 2), -INF, 0.0)},
    ),
}


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("empty_row", [None] + list(EMPTY_ROWS))
@pytest.mark.parametrize("why", sorted(NOTHING_KEPT))
def test_empty_rows(why, empty_row, dtype):
    x, args, extras = NOTHING_KEPT[why](wave((3, 4)))
    if empty_row is not None:
        args = dict(args, empty_row=empty_row)
    case = make_case([x], args, **extras)
    check_both(OP, case, dtype)
    row = 2 if why == "triangle" else 1
    fill = {None: 0, "zero": 0, "nan": NAN, "uniform": 0.25}[empty_row]
    np.testing.assert_array_equal(as_double(run_as(OP, case, dtype)[0])[row], np.full(4, fill))
    for d_output in (np.ones((3, 4)), np.full((3, 4), NAN), np.full((3, 4), -INF)):
        grads = gradients_as(OP, case, [d_output], dtype)
        assert_same(as_double(grads[0])[row], np.zeros(4))
        if "bias" in extras and extras["bias"].shape == (3, 1):
            assert as_double(grads[1])[row] == 0


@pytest.mark.parametrize("empty_row", EMPTY_ROWS)
def test_every_row_empty(empty_row):
    """As padding of a whole batch is."""
    for args, extras in (({"mode": "sequence"}, {"lengths": np.array(0)}),
                         ({}, {"mask": np.array(False)})):
        case = make_case([X], dict(args, empty_row=empty_row), **extras)
        check_both(OP, case)


@pytest.mark.parametrize("poison", [NAN, INF, -INF])
@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("name", sorted(set(MASKS) - {"none", "bias", "bias that masks"}))
def test_masked_numbers_go_nowhere(name, dtype, poison):
    """Whatever stands under the mask of X, bias or the gradient of Y, the bits are the same."""
    args, extras = MASKS[name]
    extras = dict({"bias": wave((1, 3, 1, 5))}, **extras)
    clean = make_case([X], args, **extras)
    keep = kept(X.shape, Extras(**extras), **args)
    extras["bias"] = poisoned(extras["bias"], used(keep, extras["bias"].shape), poison)
    dirty = make_case([poisoned(X, keep, poison)], args, **extras)
    assert_same(as_double(run_as(OP, dirty, dtype)[0]), as_double(run_as(OP, clean, dtype)[0]))
    wanted = gradients_as(OP, clean, [wave(X.shape)], dtype)
    grads = gradients_as(OP, dirty, [poisoned(wave(X.shape), keep, poison)], dtype)
    for i, grad in grads.items():
        assert_same(as_double(grad), as_double(wanted[i]))


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("bad", [NAN, INF])
def test_kept_nan_and_infinity_show(bad, dtype):
    """In all that their row keeps, and in no other row; a NaN is not -inf."""
    x = np.array([[bad, 1, 2], [0, 1, bad], [-INF, bad, 5], [3, bad, 1]])
    case = make_case([x], {"mode": "sequence"}, lengths=np.array([3, 2, 2, 1]))
    wanted = np.array([[NAN] * 3, [0, 0, 0], [NAN, NAN, 0], [1, 0, 0]])
    wanted[1, :2] = np.exp([0, 1]) / np.exp([0, 1]).sum()
    assert_close(run_as(OP, case, dtype)[0], wanted, dtype)
    grad = as_double(gradients_as(OP, case, [np.ones((4, 3))], dtype)[0])
    assert np.isnan(grad[0]).all() and np.isnan(grad[2, :2]).all()
    assert np.isfinite(grad[1]).all() and grad[2, 2] == 0 and (grad[3] == 0).all()
    by_bias = make_case([np.zeros((2, 3))], bias=np.array([[bad, 0, 0], [0, 0, 0]]))
    assert np.isnan(as_double(run_as(OP, by_bias, dtype)[0])).tolist() == [[True] * 3, [False] * 3]


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("columns", [2, 9, 40])
def test_masked_entries_are_0_beside_a_nan(columns, bad, dtype):
    """Between those that are kept, too."""
    x = np.zeros((2, columns))
    x[0, 1] = bad
    mask = np.arange(columns) % 2 == 1
    case = make_case([x], mask=mask)
    wanted = np.where(mask, [[NAN], [1 / mask.sum()]], 0.0)
    assert_close(run_as(OP, case, dtype)[0], wanted, dtype)
    grads = as_double(gradients_as(OP, case, [wave(x.shape)], dtype)[0])
    assert_same(grads[:, ~mask], np.zeros((2, columns - mask.sum())))
    assert np.isnan(grads[0, mask]).all() and np.isfinite(grads[1]).all()


def test_kept_nan_of_the_gradient_shows():
    d_output = np.zeros((2, 3))
    d_output[0, 1] = NAN
    grads = gradients_as(OP, make_case([np.zeros((2, 3))], {"mode": "sequence"},
                                       lengths=np.array([2, 2])), [d_output])
    assert np.isnan(grads[0].numpy()).tolist() == [[True, True, False], [False] * 3]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("repeats", [1, 7, 40])
def test_a_gradient_that_overflows_is_infinite(repeats, dtype):
    """Also where the difference of dY and its mean does before the scale."""
    y = np.tile(np.array([0.09003057, 0.24472848, 0.66524094]) / repeats, repeats)
    d_y = np.tile(np.array([0.88, 0.88, -0.88]), repeats) * np.finfo(dtype).max
    d_x = np.tile([INF, INF, -INF], repeats)
    arrays = [y.astype(dtype)[None], d_y.astype(dtype)[None]]
    for scale in (1000.0, -1000.0):
        grad = run_case(OP + "Gradient", Case(arrays, {"scale": scale}))[0]
        np.testing.assert_array_equal(grad[0], np.sign(scale) * d_x)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gradients_under_a_mask_have_no_sign(dtype):
    """Whatever they are scaled by."""
    y, d_y = np.full((2, 2, 9), 1 / 9, dtype)
    mask = np.arange(9) % 2 == 0
    case = Case([y, d_y, mask], {"scale": -2.0, "has_mask": 1})
    assert_same(run_case(OP + "Gradient", case)[0][:, ~mask], np.zeros((2, 4), dtype))


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("name", ["none", "padded and causal", "mask", "everything"])
def test_in_place(name, dtype):
    """The same bits and gradients."""
    case = options(name)
    wanted = run_as(OP, case, dtype)[0]
    assert_same(as_double(run_as(OP, case._replace(in_place=0), dtype)[0]), as_double(wanted))
    apart = gradients_as(OP, case, [wave(X.shape)], dtype)
    for i, grad in gradients_as(OP, case._replace(in_place=0), [wave(X.shape)], dtype).items():
        assert_same(as_double(grad), as_double(apart[i]))


EMPTY = [
    ((0,), {}, {}),
    ((0, 5), {"mode": "upper"}, {}),
    ((3, 0), {"mode": "lower"}, {}),
    ((3, 0), {"mode": "sequence"}, {"lengths": np.array([0, 1, 2])}),
    ((0, 5), {"mode": "sequence"}, {"lengths": np.zeros(0, "int64")}),
    ((0, 5), {"mode": "sequence"}, {"lengths": np.array(2)}),
    ((2, 0, 3), {"mode": "window"}, {"centers": np.zeros((2, 0), "int32")}),
    ((2, 0, 3), {"mode": "window"}, {"centers": np.zeros(2, "int32")}),
    ((2, 0, 3), {"mode": "left_pad"}, {"left_pad": np.zeros(2, "int32")}),
    ((2, 3, 0), {"mode": "left_pad"}, {"left_pad": np.zeros((2, 3), "int32")}),
    ((0, 2, 3), {}, {"mask": np.ones((2, 3), bool), "bias": np.ones((2, 3))}),
    ((2, 0), {}, {"mask": np.ones((2, 1), bool), "bias": np.ones((2, 1))}),
    ((2, 0), {}, {"mask": np.ones((1, 0), bool), "bias": np.ones(0)}),
    ((0, 0), {"window_left": 1}, {"bias": np.array(1.0)}),
]


@pytest.mark.parametrize("empty_row", EMPTY_ROWS)
@pytest.mark.parametrize("shape, args, extras", EMPTY, ids=str)
def test_empty_tensors(shape, args, extras, empty_row):
    """The bias of nothing has the gradient 0."""
    check_both(OP, make_case([np.zeros(shape)], dict(args, empty_row=empty_row), **extras))


def test_rows_without_columns_are_not_gone_through():
    """However many they are."""
    workspace.FeedBlob("x", np.zeros(0, "f").reshape(2 ** 20, 2 ** 20, 0))
    workspace.RunOperatorOnce(core.CreateOperator(OP, ["x"], ["y"], mode="upper"))
    for shape in ((), (1,), (2 ** 20, 1), (2 ** 20, 1, 1), (2 ** 20, 1, 0)):
        bias = np.ones(shape, "f")
        workspace.FeedBlob("bias", bias)
        inputs, outputs = ["y", "x", "bias"], ["d_x", "d_bias"]
        workspace.RunOperatorOnce(core.CreateOperator(OP + "Gradient", inputs, outputs, has_bias=1))
        if bias.size:
            assert_same(workspace.FetchBlob("d_bias"), np.zeros(bias.shape, "f"))


@pytest.mark.parametrize(
    "args, extras",
    [
        ({}, {}),
        ({"mode": "upper"}, {}),
        ({"mode": "lower", "diagonal": 3}, {}),
        ({"window_right": 2}, {}),
        ({"mode": "sequence"}, {"lengths": np.array(4)}),
        ({"mode": "window", "radius": 1}, {"centers": np.array(3, "int32")}),
        ({}, {"mask": np.arange(7) % 2 == 0, "bias": np.arange(7.0)}),
        ({}, {"bias": np.array(2.0)}),
    ],
    ids=str,
)
def test_rank_1(args, extras):
    """One row, at position 0."""
    check_both(OP, make_case([wave((7,))], args, **extras))


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(
    "columns", list(range(1, 20)) + [31, 32, 33, 63, 64, 65, 127, 129, 255, 257, 1000, 4099]
)
def test_columns(columns, dtype):
    """Around every width of a vector, whole and cut short at both ends."""
    x = 4 * wave((3, columns))
    check_both(OP, make_case([x]), dtype)
    check_both(OP, make_case([x], mask=wave((3, columns), 2.1) > 0, bias=wave((columns,))), dtype)
    lengths = np.array([columns - 1, columns // 2, 1])
    ends = make_case([x], {"mode": "sequence+lower", "diagonal": columns // 3}, lengths=lengths)
    check_both(OP, ends, dtype)


def assert_within_2_ulp(x, args=None, **extras):
    """Of the exact softmax of the scores, each rounded once."""
    case = make_case([np.asarray(x, "f")], args, **extras)
    off = ulps_off(run_as(OP, case)[0].numpy(), expected(OP, case)[0])
    where = np.unravel_index(off.argmax(), off.shape)
    assert off.max() <= 2, "{} ulp at {}".format(off.max(), where)


@pytest.mark.parametrize("spread", [1e-3, 1.0, 20.0, 88.0, 103.0, 1e4])
@pytest.mark.parametrize("columns", [1, 3, 16, 100, 1000, 5000])
def test_accuracy(columns, spread):
    """To 2 ulp, through results that are denormal, whatever the size of the logits."""
    x = (spread * wave((8, columns), 1.7)).astype("f")
    assert_within_2_ulp(x)
    assert_within_2_ulp(x, mask=wave((8, columns), 0.9) > -0.5)
    assert_within_2_ulp(x + np.float32(spread), {"window_left": columns // 2})


def test_accuracy_where_results_are_denormal():
    """From the least normal number down to 0, one result in each row next to a 1."""
    x = np.zeros((4096, 2), "f")
    x[:, 1] = -np.linspace(86, 105, 4096)
    assert_within_2_ulp(x)
    y = run_array(x)[:, 1]
    tiny = np.finfo("f").tiny
    assert (y == 0).any() and ((y > 0) & (y < tiny)).any() and (y >= tiny).any()


@pytest.mark.parametrize("base", [-3e38, -1e4, -200.0, 89.0, 200.0, 1e4, 3e38])
def test_logits_whose_exponential_overflows(base):
    """exp(x) is inf or 0 for all of them, exp(x - max) is not."""
    x = np.float32(base) + np.linspace(-3, 3, 64, dtype="f").reshape(2, 32)
    assert_within_2_ulp(x)
    assert_within_2_ulp(x, {"mode": "sequence"}, lengths=np.array([5, 31]))


def test_range_of_all_floats():
    """The difference of two logits may overflow, and is no NaN."""
    top = np.finfo("f").max
    np.testing.assert_array_equal(run_array([[top, -top, 0], [-top, -top, -INF]]),
                                  [[1, 0, 0], [0.5, 0.5, 0]])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(
    "name, bias",
    [
        ("none", ()),
        ("padded and causal", (192,)),
        ("window", (3, 1, 192)),
        ("mask and triangle", (1, 256, 1)),
        ("everything", (2, 3, 256, 192)),
    ],
)
def test_threads(name, bias, dtype):
    """The same bits from one thread and from several, and the bias's sums too."""
    args, extras = MASKS[name]
    shape = (2, 3, 256, 192)
    extras = dict(extras)
    if "mask" in extras:
        extras["mask"] = wave((3, 1, 192), 1.3) > 0
    if "lengths" in extras:
        extras["lengths"] = extras["lengths"] * 30
    extras["bias"] = wave(bias)
    case = make_case([wave(shape)], args, **extras)
    results = []
    for count in (1, 2, 5):
        with threads(count):
            grads = gradients_as(OP, case, [wave(shape, 0.3)], dtype)
            results.append(run_as(OP, case, dtype) + [grads[i] for i in sorted(grads)])
    for several in results[1:]:
        for one, other in zip(results[0], several):
            assert_same(as_double(other), as_double(one))


def test_plain_is_the_stock_softmax():
    x = (5 * wave((40, 33))).astype("f")
    workspace.FeedBlob("x", x)
    workspace.RunOperatorOnce(core.CreateOperator("Softmax", ["x"], ["y"]))
    np.testing.assert_allclose(run_array(x), workspace.FetchBlob("y"), rtol=1e-5)


@pytest.mark.parametrize("mode", ["sequence", "upper", "lowerdiag+sequence", "left_pad"])
def test_is_sequence_mask_and_softmax(mode):
    """What a stock net writes as two operators, where no row is empty."""
    x = wave((4, 6)).astype("f")
    entries = {"lengths": np.array([6, 5, 4, 6], "i"), "left_pad": np.array([0, 2, -1, 5], "i")}
    extras = {name: entries[name] for part, name in ROW_INPUTS if part in mode.split("+")}
    for name, array in dict(extras, x=x).items():
        workspace.FeedBlob(name, array)
    net = core.Net("stock")
    masked = net.SequenceMask(["x"] + list(extras), ["masked"], mode=mode, axis=1)
    net.Softmax([masked], ["y"])
    workspace.RunNetOnce(net)
    y = workspace.FetchBlob("y")
    np.testing.assert_allclose(run_array(x, {"mode": mode}, **extras), y, rtol=1e-6)


def test_trains_in_a_net():
    """Gradients by AddGradientOperators, X in place, down to a bias that is learned."""
    target = np.array([[0.7, 0.2, 0.1, 0.0], [0.5, 0.5, 0.0, 0.0]], "f")
    for name, array in (("x", np.zeros((2, 4), "f")), ("bias", np.zeros(4, "f")),
                        ("lengths", np.array([3, 2])), ("target", target),
                        ("rate", np.array([-1], "f")), ("one", np.array([1], "f"))):
        workspace.FeedBlob(name, array)
    net = core.Net("train")
    scores = net.Copy(["x"], ["scores"])
    net.MaskedSoftmax([scores, "lengths", "bias"], [scores], mode="sequence", has_bias=1)
    distance = net.SquaredL2Distance([scores, "target"], ["distance"])
    loss = net.SumElements([distance], ["loss"])
    grads = net.AddGradientOperators([loss])
    for name in ("x", "bias"):
        net.WeightedSum([name, "one", grads[name], "rate"], [name])
    workspace.CreateNet(net)
    losses = []
    for _ in range(200):
        workspace.RunNet(net)
        losses.append(float(workspace.FetchBlob("loss")))
    assert losses[-1] < 1e-3 * losses[0]
    np.testing.assert_allclose(workspace.FetchBlob("scores"), target, atol=0.02)


@st.composite
def cases(draw, x_elements, shape=None):
    shape = draw(shapes(1, 4, 5)) if shape is None else shape
    args, extras = draw(mask_options(shape))
    if draw(st.booleans()):
        args["scale"] = draw(quarters(2))
    x = draw(drawn(x_elements, shape))
    return make_case([x], args, in_place=draw(st.sampled_from([None, 0])), **extras)


@pytest.mark.parametrize("dtype", REALS)
@given(data=st.data())
def test_forward(dtype, data):
    check(OP, data.draw(cases(quarters() | quarters() | st.sampled_from([NAN, -INF]))), dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@given(data=st.data())
def test_gradient(dtype, data):
    case = data.draw(cases(quarters()))._replace(in_place=None)
    d_output = data.draw(drawn(quarters(), case.inputs[0].shape))
    check_gradient(OP, case, d_output, dtype)


@given(data=st.data())
def test_rows_sum_to_1(data):
    """With no oracle: results are probabilities, 0 where masked."""
    case = data.draw(cases(quarters(60)))
    y = run_as(OP, case)[0].numpy()
    x = case.inputs[0]
    keep = kept(x.shape, read_extras(case.inputs[1:], case.args), **case.args)
    sums = y.sum(-1)
    empty = {"zero": 0, "nan": NAN, "uniform": 1}[case.args.get("empty_row", "zero")]
    alive = keep.any(-1)
    if not case.args.get("has_bias"):
        np.testing.assert_allclose(sums[alive], 1, rtol=1e-6)
        assert not y[alive][~keep[alive]].any()
    if x.shape[-1]:
        np.testing.assert_allclose(sums[~alive], empty, rtol=1e-6)


@given(data=st.data())
def test_bias_is_added_scores(data):
    """A bias and the sum written out give the same bits."""
    shape = data.draw(shapes(1, 3))
    x, bias = (data.draw(drawn(quarters(), s)) for s in (shape, data.draw(broadcast_shapes(shape))))
    args, extras = data.draw(mask_options(shape))
    extras.pop("bias", None)
    summed = run_array(x + bias, args, **extras)
    assert_same(run_array(x, args, bias=bias.astype("f"), **extras), summed)


F = np.ones((2, 4, 5, 7), "f")


@pytest.mark.parametrize("empty_row", ["nan", "uniform"])
def test_in_place_has_a_gradient_where_empty_rows_are_zeros(empty_row):
    """Rows that only X tells from others need it."""
    op = core.CreateOperator(OP, ["x"], ["x"], empty_row=empty_row)
    with pytest.raises(Exception, match="MaskedSoftmax: its gradient reads input 0"):
        core.GradientRegistry.GetGradientForOp(op, ["d_output"])


@pytest.mark.parametrize("axis", [-1, 3])
def test_axis_may_name_the_last(axis):
    assert_same(run_array(F, {"axis": axis, "mode": "upper"}), run_array(F, {"mode": "upper"}))
