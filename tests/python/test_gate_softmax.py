"""Gate of kind gumbel_softmax: noise, choices, gradient; and softmax with tau and hard."""

import numpy as np
import pytest
import scipy.stats
import torch
from caffe2.python import core, workspace

from oracles import gating
from testers.arrays import BROADCASTS, some_reals
from testers.operators import REALS, Case, assert_same, create, gradients, run_case, run_seeded
from testers.reals import TOLERANCE, assert_gradients, assert_same_sequence

# Rows of Z on both sides of what the kernel takes at once, and of a group of drawn numbers.
SHAPES = BROADCASTS + [
    ((7, 0), (7, 0)),
    ((7, 1), (7, 1)),
    ((3, 5, 1), (5, 1)),
    ((20, 33), (20, 33)),
    ((9, 255), (9, 255)),
    ((2, 3, 513), (3, 513)),
    ((2, 1500), (2, 1500)),
]
ARGS = [{}, {"tau": 0.4}, {"hard": 1}, {"tau": 2.5, "hard": 1}]


def gumbel(x, z, outputs=3, **args):
    return Case([x, z], dict(args, kind="gumbel_softmax"), outputs)


def gradient_to_z(z, d_g, noise=None, tau=1.0):
    """In float64, straight through or not: that of the softmax, from the gradient of g."""
    soft = gating.value(z, kind="gumbel_softmax", is_test=1, noise=noise, tau=tau)
    weighted = (soft * d_g).sum(axis=-1, keepdims=True) if z.ndim else soft * d_g
    return soft * (d_g - weighted) / np.float32(tau)


def sum_to(shape, array):
    """Over what an array of `shape` was broadcast to."""
    array = array.sum(axis=tuple(range(array.ndim - len(shape))))
    axes = tuple(i for i, size in enumerate(shape) if size == 1)
    return np.asarray(array.sum(axis=axes, keepdims=True) if axes else array)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("args", ARGS, ids=str)
@pytest.mark.parametrize("x_shape, z_shape", SHAPES)
def test_is_what_was_drawn(x_shape, z_shape, args, dtype):
    """The output `noise` says what: forward and backward are the oracle's with it."""
    x, z = some_reals(dtype, x_shape, z_shape)
    d_y, d_g = np.asarray(np.cos(x), dtype), np.asarray(np.sin(z), dtype)
    y, g, noise = run_seeded("Gate", gumbel(x, z, **args), 11)
    assert_same(noise, np.array([11, 0]))
    expected = gating.gate(x, z, kind="gumbel_softmax", noise=noise, **args)
    bound = 0 if args.get("hard") else TOLERANCE[dtype]
    np.testing.assert_allclose(g, expected[1], rtol=20 * bound, atol=2 * bound)
    np.testing.assert_allclose(y, expected[0], rtol=20 * bound, atol=20 * bound)

    actual = gradients("Gate", gumbel(x, z, **args), [d_y, d_g, None], 11)
    wide = [one.astype("float64") for one in (x, z, d_y, d_g)]
    through = gradient_to_z(
        wide[1], sum_to(z_shape, wide[2] * wide[0]) + wide[3], noise, args.get("tau", 1.0)
    )
    assert actual[0].dtype == actual[1].dtype == np.dtype(dtype)
    np.testing.assert_allclose(actual[0], g.astype("float64") * d_y, rtol=1e-3, atol=30 * bound)
    np.testing.assert_allclose(
        actual[1], through, rtol=30 * TOLERANCE[dtype], atol=400 * TOLERANCE[dtype]
    )


@pytest.mark.parametrize("tau", [1.0, 0.3])
@pytest.mark.parametrize("x_shape, z_shape", BROADCASTS)
def test_gradient_by_the_same_noise(x_shape, z_shape, tau):
    """Differences of the forward pass under one seed are what the gradient must be."""
    x, z = some_reals("float64", x_shape, z_shape)
    d_y, d_g = np.cos(np.arange(x.size)).reshape(x_shape), np.asarray(np.sin(z))
    assert_gradients("Gate", gumbel(x, z, tau=tau), [d_y, d_g, None], [0, 1], seed=5)
    assert_gradients("Gate", gumbel(x, z, tau=tau), [d_y, None, None], [0, 1], seed=5)
    assert_gradients("Gate", Case([x, z], {"kind": "softmax", "tau": tau}, 2), [d_y, d_g], [0, 1])


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("kind", ["softmax", "gumbel_softmax"])
@pytest.mark.parametrize("x_shape, z_shape", SHAPES)
def test_hard_is_straight_through(x_shape, z_shape, kind, dtype):
    """One-hot where the soft sample is greatest; Z has the sample's gradient, to the bit."""
    x, z = some_reals(dtype, x_shape, z_shape)
    d_y, d_g = np.asarray(np.cos(x), dtype), np.asarray(np.sin(z), dtype)
    soft = Case([x, z], {"kind": kind, "tau": 0.75}, 3 if kind == "gumbel_softmax" else 2)
    hard = soft._replace(args=dict(soft.args, hard=1))
    g, sample = run_seeded("Gate", hard, 3)[1], run_seeded("Gate", soft, 3)[1]
    assert_same(np.unique(g), np.unique(g).astype(bool).astype(dtype))
    if z.size:
        assert (g.reshape(-1, z_shape[-1] if z_shape else 1).sum(axis=1) == 1).all()
        rows = z.reshape(-1, 1) if z.ndim == 0 else z
        of_soft = np.take_along_axis(
            sample.reshape(rows.shape), g.reshape(rows.shape).argmax(axis=-1)[..., None], -1
        )
        assert (of_soft == sample.reshape(rows.shape).max(axis=-1, keepdims=True)).all()
    for d_outputs in ([d_y, d_g], [d_y, None], [None, d_g]):
        d_outputs = d_outputs + [None] * (soft.outputs - 2)
        actual = gradients("Gate", hard, d_outputs, 3)
        assert_same(actual[1], gradients("Gate", soft, d_outputs, 3)[1])
        expected = np.zeros_like(x) if d_outputs[0] is None else d_y * g
        np.testing.assert_array_equal(actual[0], expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("tau", [1.0, 0.5, 3.0])
def test_is_that_of_torch(tau, hard, dtype, monkeypatch):
    """torch.nn.functional.gumbel_softmax and its gradient, where it draws what Gate has drawn."""
    x, z = some_reals(dtype, (4, 6), (4, 6))
    d_y = np.cos(np.arange(24)).reshape(4, 6).astype(dtype)
    case = gumbel(x, z, tau=tau, hard=int(hard))
    y, g, noise = run_seeded("Gate", case, 2)
    exponential = torch.tensor(-np.log(gating.drawn(noise, z.shape)).astype(dtype))
    monkeypatch.setattr(
        torch.Tensor, "exponential_", lambda self: self.copy_(exponential), raising=False
    )
    leaves = [torch.tensor(one, requires_grad=True) for one in (x, z)]
    expected = torch.nn.functional.gumbel_softmax(leaves[1], tau=tau, hard=hard)
    (expected * leaves[0]).backward(torch.tensor(d_y))
    bound = 20 * TOLERANCE[dtype]
    np.testing.assert_allclose(g, expected.detach().numpy(), rtol=bound, atol=bound)
    actual = gradients("Gate", case, [d_y, None, None], 2)
    for i, one in enumerate(leaves):
        np.testing.assert_allclose(actual[i], one.grad.numpy(), rtol=bound, atol=bound)


class TestSamples(object):
    Z = {
        "few": np.array([0.5, -1, 2, 0, 1, -2.5]),
        "two": np.array([0.25, -0.25]),
        "many": np.linspace(-2, 2, 40),
        "not all": np.array([1, -np.inf, 0.5, -np.inf]),
    }

    @pytest.mark.parametrize("dtype", REALS)
    @pytest.mark.parametrize("z", sorted(Z))
    def test_choices_are_those_of_softmax(self, z, dtype):
        """A chi-square test of how often each is chosen, which is so seldom that bad by chance."""
        count = 100000
        z = self.Z[z].astype(dtype)
        rows = np.tile(z, (count, 1))
        g = run_seeded("Gate", gumbel(np.ones_like(rows), rows, hard=1), 1)[1]
        found = g.astype("float64").sum(axis=0)
        expected = count * gating.softmax(z.astype("float64"))
        assert not found[expected == 0].any()
        kept = expected > 0
        assert scipy.stats.chisquare(found[kept], expected[kept]).pvalue > 1e-3

    def test_neighbours_are_independent(self):
        """Of pairs of rows, and of what two runs choose, all are as frequent."""
        z = np.zeros((200000, 3), "f")
        workspace.FeedBlob("x", z + 1)
        workspace.FeedBlob("z", z)
        net = core.Net("net")
        option = core.DeviceOption(0, random_seed=4)
        args = {"kind": "gumbel_softmax", "hard": 1}
        net.Gate(["x", "z"], ["y", "g", "noise"], device_option=option, **args)
        workspace.CreateNet(net)
        runs = []
        for _ in range(2):
            workspace.RunNet(net)
            runs.append(workspace.FetchBlob("g").argmax(axis=1))
        for a, b in ((runs[0][::2], runs[0][1::2]), runs):
            assert scipy.stats.chisquare(np.bincount(3 * a + b, minlength=9)).pvalue > 1e-3

    def test_noise_is_gumbel(self):
        """By the Kolmogorov-Smirnov distance of what differences of logits of a sample are."""
        z = np.zeros((100000, 2))
        g = run_seeded("Gate", gumbel(np.ones_like(z), z), 6)[1]
        # Of two Gumbel numbers the difference is logistic.
        difference = np.log(g[:, 0]) - np.log(g[:, 1])
        assert scipy.stats.kstest(difference, "logistic").pvalue > 1e-3
        single = gating.drawn([6, 0], (100000,))
        assert scipy.stats.kstest(-np.log(-np.log(single)), "gumbel_r").pvalue > 1e-3

    def test_tau_changes_no_choice(self):
        z = np.tile(self.Z["few"].astype("f"), (5000, 1))
        ones = np.ones_like(z)
        choices = [
            run_seeded("Gate", gumbel(ones, z, hard=1, tau=tau), 8)[1].argmax(axis=1)
            for tau in (0.01, 0.5, 1, 30)
        ]
        samples = [run_seeded("Gate", gumbel(ones, z, tau=tau), 8)[1] for tau in (0.1, 1, 10)]
        for other in choices[1:]:
            # But for two that rounding makes equal.
            assert (choices[0] == other).mean() > 0.9995
        sizes = [sample.max(axis=1).mean() for sample in samples]
        assert sizes[0] > 0.95 and sizes[0] > sizes[1] > sizes[2] and sizes[2] < 0.25
        np.testing.assert_allclose(samples[1].sum(axis=1), 1, rtol=1e-6)

    def test_types_draw_the_same(self):
        z = np.linspace(-2, 2, 120).reshape(12, 10)
        single = run_seeded("Gate", gumbel(np.ones((12, 10), "f"), z.astype("f")), 9)[1]
        double = run_seeded("Gate", gumbel(np.ones((12, 10)), z), 9)[1]
        half = run_seeded("Gate", gumbel(np.ones((12, 10), "f2"), z.astype("f2")), 9)[1]
        np.testing.assert_allclose(single, double, atol=1e-6)
        np.testing.assert_allclose(half, double, atol=4e-3)

    def test_sequence(self):
        assert_same_sequence("Gate", {"kind": "gumbel_softmax", "hard": 1}, outputs=2, output=1)


def test_gradient_of_each_run_of_a_net():
    """The net draws anew, and its gradient operator what the forward one has just drawn."""
    x, z = some_reals("float64", (4, 5), (4, 5))
    net = core.Net("net")
    net.Gate(["x", "z"], ["y", "g", "noise"], kind="gumbel_softmax", hard=1, tau=0.5)
    grads = net.AddGradientOperators({"y": "x"})
    workspace.FeedBlob("x", x)
    workspace.FeedBlob("z", z)
    workspace.CreateNet(net)
    seen = []
    for run_number in range(3):
        workspace.RunNet(net)
        noise = workspace.FetchBlob("noise")
        assert noise[1] == run_number
        np.testing.assert_allclose(
            workspace.FetchBlob(grads["z"]), gradient_to_z(z, x * x, noise, 0.5), rtol=1e-9
        )
        seen.append(workspace.FetchBlob("g").tobytes())
    assert len(set(seen)) > 1


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("hard", [0, 1])
@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_a_test_has_no_noise(tau, hard, dtype):
    """It is softmax, to the bit, and its noise, if named, is 0."""
    x, z = some_reals(dtype, (6, 40), (6, 40))
    args = {"tau": tau, "hard": hard}
    y, g, noise = run_case("Gate", gumbel(x, z, is_test=1, **args))
    assert_same(noise, np.zeros(2, "int64"))
    plain = Case([x, z], dict(args, kind="softmax"), 2)
    for actual, expected in zip((y, g), run_case("Gate", plain)):
        assert_same(actual, expected)
    if hard:
        assert_same(g.argmax(axis=1), z.argmax(axis=1))
    d_outputs = [x, z]
    test = gradients("Gate", gumbel(x, z, outputs=2, is_test=1, **args), d_outputs)
    expected = gradients("Gate", plain, d_outputs)
    for i in expected:
        assert_same(test[i], expected[i])


def test_tau_of_1_is_no_division():
    x, z = some_reals("float32", (6, 40), (6, 40))
    plain, of_1 = Case([x, z], {"kind": "softmax"}, 2), Case([x, z], dict(kind="softmax", tau=1), 2)
    for actual, expected in zip(run_case("Gate", of_1), run_case("Gate", plain)):
        assert_same(actual, expected)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("hard", [0, 1])
@pytest.mark.parametrize("is_test", [0, 1])
@pytest.mark.parametrize("filler", [0, 60])
def test_nan_and_infinity_as_in_torch(filler, is_test, hard, dtype):
    inf, nan = np.inf, np.nan
    z = [[1, nan, 2], [nan, 1, 2], [1, inf, 2], [inf, inf, -inf], [-inf, -inf, -inf],
         [-inf, 3, -inf], [1, -inf, 1]]
    z = np.hstack([np.array(z), np.full((len(z), filler), -inf)]).astype(dtype)
    x = np.ones_like(z)
    case = gumbel(x, z, is_test=is_test, hard=hard)
    y, g, noise = run_seeded("Gate", case, 3)
    expected = torch.softmax(torch.tensor(z.astype("float64")), -1).numpy()
    np.testing.assert_array_equal(np.isnan(g), np.isnan(expected))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    assert np.isnan(g[:5]).all()
    assert_same(g[5, :3], np.array([0, 1, 0], dtype))
    assert g[6, 1] == 0 and abs(g[6].sum() - 1) < 1e-3
    d_z = gradients("Gate", case, [x, None, None], 3)[1]
    assert np.isnan(d_z[:5]).all() and np.isfinite(d_z[5:]).all()


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("kind", ["softmax", "gumbel_softmax"])
def test_what_is_not_chosen_goes_nowhere(kind, dtype):
    """Not to Y and not to X; straight through Z learns from it, as with kind = hard."""
    x = np.array([[np.nan, 2, np.inf]], dtype)
    z = np.array([[-90, 90, -90]], dtype)
    case = Case([x, z], {"kind": kind, "hard": 1}, 3 if kind == "gumbel_softmax" else 2)
    d_y = np.array([[np.inf, 3, np.nan]], dtype)
    assert_same(run_case("Gate", case)[0], np.array([[0, 2, 0]], dtype))
    grads = gradients("Gate", case, [d_y] + [None] * (case.outputs - 1))
    assert_same(grads[0], np.array([[0, 3, 0]], dtype))
    assert np.isnan(grads[1]).any()


def test_extreme_temperatures():
    z = np.array([[1, 2, 3], [-1e30, 0, 1]], "f")
    ones = np.ones_like(z)
    cold = run_case("Gate", Case([ones, z], {"kind": "softmax", "tau": 1e-3}, 2))[1]
    np.testing.assert_array_equal(cold, [[0, 0, 1], [0, 0, 1]])
    warm = run_case("Gate", Case([ones[:1], z[:1]], {"kind": "softmax", "tau": 1e30}))[0]
    np.testing.assert_allclose(warm, np.full((1, 3), 1 / 3), rtol=1e-6)
    # The least that float32 holds: Z / tau is an infinity, as in torch.
    least = run_case("Gate", Case([ones, z], {"kind": "softmax", "tau": "1e-45"}, 2))[1]
    assert np.isnan(least).all()


def test_the_gate_learns_to_choose():
    """Of ten inputs one is the target: the straight-through gradient finds it."""
    random = np.random.RandomState(2)
    x = random.randn(64, 10).astype("f")
    logits = np.zeros((1, 10), "f")
    for step in range(300):
        case = gumbel(x, logits, hard=1, tau=1.0)
        y = run_seeded("Gate", case, step)[0]
        error = y.sum(axis=1, keepdims=True) - x[:, 6:7]
        d_y = np.repeat(2 * error / 64, 10, axis=1)
        logits = logits - 0.3 * gradients("Gate", case, [d_y, None, None], step)[1]
    assert logits.argmax() == 6
    assert gating.softmax(logits)[0, 6] > 0.9


def test_gradient_needs_the_noise():
    op = create("Gate", gumbel(None, None, outputs=2))
    with pytest.raises(Exception, match="kind = gumbel_softmax a gradient needs the 3 outputs Y"):
        core.GradientRegistry.GetGradientForOp(op, ["output_0_grad", None])
