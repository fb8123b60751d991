"""MaskedSoftmax with ``log``, its LSE, and the gradients of both."""

import numpy as np
import pytest
import torch
from caffe2.python import core, workspace

from oracles.attending import Extras, kept, read_extras
from oracles.attending_gradients import masked_softmax_gradient
from testers.arrays import EMPTY_ROWS, wave
from testers.attention import (
    REALS,
    as_double,
    as_type,
    assert_close,
    check,
    check_both,
    expected,
    gradients_as,
    make_case,
    poisoned,
    run_as,
    wide_type,
)
from testers.operators import assert_same
from testers.threads import one_thread, threads  # noqa: F401  a fixture
from test_masked_softmax import MASKS, NOTHING_KEPT, X

OP = "MaskedSoftmax"
INF = np.inf
NAN = np.nan


def case_of(name, outputs=2, log=1):
    args, extras = MASKS[name]
    return make_case([X], dict(args, log=log), outputs, **extras)


@pytest.mark.parametrize("name", sorted(MASKS))
def test_oracle_is_torchs(name):
    case = case_of(name)
    extras = read_extras(case.inputs[1:], case.args)
    keep = torch.tensor(kept(X.shape, extras, **case.args))
    logits = torch.tensor(case.args.get("scale", 1.0) * X)
    if extras.bias is not None:
        logits = logits + torch.tensor(extras.bias)
    shown = logits.masked_fill(~keep, -INF)
    empty = (shown == -INF).all(-1, keepdim=True)
    wanted = torch.log_softmax(shown, -1).masked_fill(empty, -INF).numpy()
    y, lse = expected(OP, case, "float64")
    np.testing.assert_allclose(y, wanted, rtol=1e-13)
    np.testing.assert_allclose(lse, torch.logsumexp(shown, -1).numpy(), rtol=1e-13)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("log", [0, 1])
@pytest.mark.parametrize("name", sorted(MASKS))
def test_masks(name, log, dtype):
    if log and dtype in ("float16", "bfloat16"):
        check(OP, case_of(name, 2, log), dtype)
    else:
        check_both(OP, case_of(name, 2, log), dtype)


@pytest.mark.parametrize("log", [0, 1])
def test_without_lse(log):
    """The same bits."""
    with_lse, without = case_of("everything", 2, log), case_of("everything", 1, log)
    assert_same(run_as(OP, without)[0].numpy(), run_as(OP, with_lse)[0].numpy())
    wanted = gradients_as(OP, with_lse, [wave(X.shape)])
    for i, grad in gradients_as(OP, without, [wave(X.shape)]).items():
        assert_same(grad.numpy(), wanted[i].numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", sorted(MASKS))
def test_gradient_of_16_bits(name, dtype):
    """It starts from logarithms that were rounded, as torch's does."""
    case = case_of(name, 1)
    grads = gradients_as(OP, case, [wave(X.shape)], dtype)
    inputs = [as_double(as_type(array, dtype)) for array in case.inputs]
    d_output = as_double(as_type(wave(X.shape), dtype))
    wanted = masked_softmax_gradient(d_output, *inputs, **case.args)
    logs = expected(OP, case, dtype)[0]
    largest = np.abs(logs[np.isfinite(logs)]).max(initial=1.0)
    eps = torch.finfo(getattr(torch, dtype)).eps
    total = np.abs(d_output).sum(-1).max() * (4 if len(grads) > 1 else 1)
    for i, grad in grads.items():
        np.testing.assert_allclose(as_double(grad), wanted[i], rtol=eps, atol=eps * largest * total)


@pytest.mark.parametrize("dtype, with_y", [("float32", False), ("float64", True)])
@pytest.mark.parametrize("empty_row", EMPTY_ROWS)
@pytest.mark.parametrize("log", [0, 1])
@pytest.mark.parametrize("name", sorted(MASKS))
def test_gradient_of_lse(name, log, empty_row, with_y, dtype):
    """Alone or beside that of Y."""
    case = case_of(name, 2, log)
    case.args["empty_row"] = empty_row
    d_output, d_lse = wave(X.shape) if with_y else None, wave(X.shape[:-1], 1.9)
    inputs = [as_double(as_type(array, dtype)) for array in case.inputs]
    wanted = masked_softmax_gradient(d_output, *inputs, d_lse=d_lse, **case.args)
    grads = gradients_as(OP, case, [d_output, d_lse], dtype)
    assert sorted(grads) == sorted(wanted)
    for i, grad in grads.items():
        assert_close(grad, wanted[i], dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gradient_of_lse_is_the_softmax(dtype):
    """Of 16-bit types too, whose LSE is a float."""
    case = make_case([X], {"mode": "upper"}, 2)
    grads = gradients_as(OP, case, [None, np.ones(X.shape[:-1])], dtype)
    assert_same(as_double(grads[0]), as_double(run_as(OP, case, dtype)[0]))


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("empty_row", EMPTY_ROWS)
@pytest.mark.parametrize("why", sorted(NOTHING_KEPT))
def test_empty_rows(why, empty_row, dtype):
    """The logarithm of what they are without ``log``; their LSE is -inf; they have no gradient."""
    x, args, extras = NOTHING_KEPT[why](wave((3, 4)))
    case = make_case([x], dict(args, empty_row=empty_row, log=1), 2, **extras)
    check(OP, case, dtype)
    row = 2 if why == "triangle" else 1
    y, lse = (as_double(one) for one in run_as(OP, case, dtype))
    fill = as_double(as_type(np.array([-INF, NAN, -np.log(4)]), dtype))
    np.testing.assert_array_equal(y[row], np.full(4, fill[EMPTY_ROWS.index(empty_row)]))
    assert lse[row] == -INF
    for d_output in (np.ones((3, 4)), np.full((3, 4), NAN)):
        grads = gradients_as(OP, case, [d_output, np.ones(3)], dtype)
        assert_same(as_double(grads[0])[row], np.zeros(4))


@pytest.mark.parametrize("poison", [NAN, INF, -INF])
@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("name", ["padded and causal", "mask", "window"])
def test_masked_numbers_go_nowhere(name, dtype, poison):
    args, extras = MASKS[name]
    clean = make_case([X], dict(args, log=1), 2, **extras)
    keep = kept(X.shape, Extras(**extras), **args)
    dirty = clean._replace(inputs=[poisoned(X, keep, poison)] + list(clean.inputs[1:]))
    for one, other in zip(run_as(OP, dirty, dtype), run_as(OP, clean, dtype)):
        assert_same(as_double(one), as_double(other))
    d_outputs = [wave(X.shape), wave(X.shape[:-1])]
    wanted = gradients_as(OP, clean, d_outputs, dtype)
    grads = gradients_as(OP, dirty, [poisoned(d_outputs[0], keep, poison), d_outputs[1]], dtype)
    assert_same(as_double(grads[0]), as_double(wanted[0]))


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("columns", [2, 9, 40])
def test_masked_entries_are_minus_infinity_beside_a_nan(columns, bad, dtype):
    x = np.zeros((2, columns))
    x[0, 1] = bad
    mask = np.arange(columns) % 2 == 1
    case = make_case([x], {"log": 1}, 2, mask=mask)
    y, lse = run_as(OP, case, dtype)
    assert_close(y, np.where(mask, [[NAN], [-np.log(mask.sum())]], -INF), dtype)
    assert_close(lse, np.array([NAN, np.log(mask.sum())]), wide_type(dtype))


def test_a_kept_score_of_minus_infinity():
    """Has no probability, and all of its gradient, as in torch."""
    x = np.array([[0.0, -INF, 1.0]])
    case = make_case([x], {"log": 1})
    leaf = torch.tensor(x, requires_grad=True)
    y = torch.log_softmax(leaf, -1)
    assert_close(run_as(OP, case)[0], y.detach().numpy())
    y.backward(torch.tensor([[0.5, 0.25, 2.0]], dtype=torch.float64))
    assert_close(gradients_as(OP, case, [np.array([[0.5, 0.25, 2.0]])])[0], leaf.grad.numpy())


@pytest.mark.parametrize("spread", [1e-3, 1.0, 20.0, 1e4, 3e38])
@pytest.mark.parametrize("columns", [1, 3, 16, 100, 1000, 5000])
def test_accuracy(columns, spread):
    """To 2 ulp or 2^-24, whatever the size of the scores."""
    x = (spread * wave((8, columns), 1.7)).astype("f")
    for args, extras in (({}, {}), ({}, {"mask": wave((8, columns), 0.9) > -0.5})):
        case = make_case([x], dict(args, log=1), 2, **extras)
        with np.errstate(over="ignore"):
            for actual, exact in zip(run_as(OP, case), expected(OP, case)):
                exact = exact.copy()
                exact[exact < -np.finfo("f").max] = -INF
                finite = np.isfinite(exact)
                assert_same(actual.numpy()[~finite], exact[~finite].astype("f"))
                spacing = np.spacing(np.abs(exact[finite]).astype("f")).astype("float64")
                off = np.abs(actual.numpy()[finite] - exact[finite])
                assert (off <= np.maximum(2 * spacing, 2.0 ** -24)).all()


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("name", ["none", "padded and causal", "mask", "everything"])
def test_in_place(name, dtype):
    case = case_of(name)
    for one, other in zip(run_as(OP, case._replace(in_place=0), dtype), run_as(OP, case, dtype)):
        assert_same(as_double(one), as_double(other))


def test_rows_without_columns_have_an_lse():
    case = make_case([np.zeros((3, 2, 0))], outputs=2)
    y, lse = run_as(OP, case)
    assert y.shape == (3, 2, 0)
    assert_same(lse.numpy(), np.full((3, 2), -INF, "f"))
    assert run_as(OP, make_case([np.zeros((0, 4))], outputs=2))[1].shape == (0,)
    assert run_as(OP, make_case([np.array([0.0, 0.0])], outputs=2))[1].shape == ()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_threads(dtype):
    """The same bits from one thread and from several, of long rows and of many."""
    for shape in ((2, 3, 256, 192), (1, 200000)):
        case = make_case([wave(shape)], {"mode": "upper", "diagonal": 100000, "log": 1}, 2)
        results = []
        for count in (1, 2, 5):
            with threads(count):
                d_outputs = [wave(shape, 0.3), wave(shape[:-1], 0.4)]
                grads = gradients_as(OP, case, d_outputs, dtype)
                results.append(run_as(OP, case, dtype) + [grads[0]])
        for several in results[1:]:
            for one, other in zip(results[0], several):
                assert_same(as_double(other), as_double(one))


def test_shapes_are_inferred():
    net = core.Net("shapes")
    net.MaskedSoftmax(["x"], ["y", "lse"], log=1)
    net.MaskedSoftmax(["wide"], ["wide_y", "wide_lse"])
    workspace.FeedBlob("x", np.zeros((2, 3, 4), "float16"))
    workspace.FeedBlob("wide", np.zeros((5,)))
    shapes, types = workspace.InferShapesAndTypes([net])
    workspace.RunNetOnce(net)
    for name in ("y", "lse", "wide_y", "wide_lse"):
        assert tuple(shapes[name]) == workspace.FetchBlob(name).shape
    assert types["lse"] == types["y"].__class__(core.DataType.FLOAT)
    assert types["wide_lse"] == core.DataType.DOUBLE


def test_trains_by_cross_entropy():
    """Gradients by AddGradientOperators: what is learned is the distribution."""
    target = np.array([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4]], "f")
    for name, array in (("x", np.zeros((2, 3), "f")), ("target", target),
                        ("rate", np.array([-1], "f")), ("one", np.array([1], "f"))):
        workspace.FeedBlob(name, array)
    net = core.Net("train")
    net.MaskedSoftmax(["x"], ["logs"], log=1)
    loss = net.Negative(net.SumElements(net.Mul(["logs", "target"])), ["loss"])
    grads = net.AddGradientOperators([loss])
    net.WeightedSum(["x", "one", grads["x"], "rate"], ["x"])
    workspace.CreateNet(net)
    for _ in range(100):
        workspace.RunNet(net)
    np.testing.assert_allclose(np.exp(workspace.FetchBlob("logs")), target, atol=0.01)


def test_gradient_of_lse_alone_is_not_in_place():
    """The schema lets dX be dY; where there is none it would be dLSE, whose memory is another's."""
    workspace.FeedBlob("y", np.full((2, 5), 0.2, "f"))
    workspace.FeedBlob("d_lse", np.ones(2, "f"))
    args = dict(has_d_y=0, has_d_lse=1)
    op = core.CreateOperator(OP + "Gradient", ["y", "d_lse"], ["d_lse"], **args)
    message = "dX must be another blob than input 1, but both are 'd_lse'"
    with pytest.raises(RuntimeError, match=OP + "Gradient: without a dY " + message):
        workspace.RunOperatorOnce(op)
    np.testing.assert_array_equal(workspace.FetchBlob("d_lse"), np.ones(2, "f"))
