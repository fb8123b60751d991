"""The layer dynamic_mask and its loss: beside their definitions, unbiased, and learning."""

import itertools

import numpy as np
import pytest
import torch
from caffe2.python import brew, core, optimizer, workspace

from testers.arrays import wave
from testers.layers import check_by_torch, feed, new_model, run, seeded, seeds, train
from testers.runtime_facts import needs_the_same_draws
from test_gate_layers import dense, straight_through

ESTIMATORS = ("straight_through", "hard_concrete", "reinforce")
SHIFT = -2 / 3 * np.log(0.1 / 1.1)

X = wave((3, 5, 4), 0.37).astype("float32")
LENGTHS = np.array([5, 2, 0], "int32")
PADDING = np.arange(5) >= LENGTHS[:, None]
NOT_COMMAS = wave((3, 5), 2.3) > -0.5


def logits_of(b, x, real, hidden):
    z = torch.tanh(dense(b, x, "y_hidden")) if hidden else x
    return dense(b, z, "y_logits").masked_fill(~torch.tensor(real)[..., None], -np.inf)


class TestMask(object):
    @pytest.mark.parametrize("hidden", [None, 7], ids=["linear", "hidden"])
    @pytest.mark.parametrize("given", ["", "lengths", "mask", "lengths mask"])
    @pytest.mark.parametrize("context", [False, True], ids=["itself", "context"])
    @pytest.mark.parametrize("estimator", ["straight_through", "hard_concrete"])
    def test_is_its_definition(self, estimator, context, given, hidden):
        real = np.ones((3, 5), bool)
        if "lengths" in given:
            real = real & ~PADDING
        if "mask" in given:
            real = real & NOT_COMMAS
        extras = {"lengths": LENGTHS, "mask": NOT_COMMAS}
        extras = {name: extras[name] for name in given.split()}
        blobs = dict(extras, x=X)
        if context:
            blobs["c"] = 2 * np.random.RandomState(1).randn(3, 5, 6).astype("float32")

        def reference(b):
            z = logits_of(b, b["c" if context else "x"], real, hidden)
            if estimator == "straight_through":
                return straight_through(z) * b["x"]
            return torch.clamp(torch.sigmoid(z) * 1.2 - 0.1, 0, 1) * b["x"]

        check_by_torch(
            lambda model: brew.dynamic_mask(
                model,
                ["x", "c"] if context else "x",
                "y",
                4,
                estimator=estimator,
                dim_context=6 if context else None,
                dim_hidden=hidden,
                is_test=estimator == "hard_concrete",
                **{name: name for name in extras}
            ),
            reference,
            learnt=["x", "c"] if context else ["x"],
            **blobs
        )
        kept, gate = workspace.FetchBlob("y_mask"), workspace.FetchBlob("y_gate")
        assert kept.dtype == bool and kept.shape == (3, 5) and gate.shape == (3, 5, 1)
        np.testing.assert_array_equal(kept, gate[..., 0] != 0)
        assert not kept[~real].any() and kept.any()

    def test_what_reinforce_draws(self):
        model = new_model()
        with seeds(4):
            brew.dynamic_mask(model, "x", "y", 4, estimator="reinforce", lengths="lengths")
        feed(x=X, lengths=LENGTHS)
        workspace.RunNetOnce(seeded(model).param_init_net)
        workspace.CreateNet(model.net)
        kept = np.zeros((3, 5))
        for _ in range(2000):
            workspace.RunNet(model.net)
            mask = workspace.FetchBlob("y_mask")
            kept += mask
        np.testing.assert_array_equal(workspace.FetchBlob("y"), X * mask[..., None])
        np.testing.assert_array_equal(workspace.FetchBlob("y_gate"), mask[..., None])
        z = workspace.FetchBlob("y_logits")[..., 0]
        assert np.isneginf(z[PADDING]).all() and np.isfinite(z[~PADDING]).all()
        chance = 1 / (1 + np.exp(-z))
        spread = np.sqrt(chance * (1 - chance) / 2000)
        assert (abs(kept / 2000 - chance) <= 4 * spread).all()
        told = np.log(np.where(mask, chance, 1 - chance))
        np.testing.assert_allclose(workspace.FetchBlob("y_log_prob")[..., 0], told, atol=1e-5)

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_nothing_is_drawn_in_a_test(self, estimator):
        trained, still = new_model(), new_model(init_params=False)
        brew.dynamic_mask(trained, "x", "y", 4, estimator=estimator, lengths="lengths")
        brew.dynamic_mask(
            still, "x", "y", 4, estimator=estimator, lengths="lengths", is_test=True
        )
        assert not still.param_init_net.Proto().op
        run(trained, x=X, lengths=LENGTHS)
        results = []
        workspace.CreateNet(still.net)
        for _ in range(3):
            workspace.RunNet(still.net)
            results.append(workspace.FetchBlob("y"))
        z = workspace.FetchBlob("y_logits")
        gate = (z > 0).astype("float32")
        if estimator == "hard_concrete":
            gate = np.clip(1.2 / (1 + np.exp(-z)) - 0.1, 0, 1)
        for result in results:
            np.testing.assert_allclose(result, gate * X, atol=1e-6)

    @pytest.mark.parametrize(
        "blob_in, options, error, message",
        [
            ("x", {"estimator": "guess"}, ValueError,
             "dynamic_mask: estimator must be straight_through, hard_concrete or reinforce, but is "
             "guess."),
            ("x", {"dim_in": 0}, ValueError, "dynamic_mask: dim_in must be positive, but is 0."),
            ("x", {"dim_hidden": 0}, ValueError,
             "dynamic_mask: dim_hidden must be positive, but is 0."),
            (["x", "c", "d"], {}, ValueError,
             "dynamic_mask: blob_in must be X or [X, context], but is 3 blobs."),
            ("x", {"estimator": "reinforce", "clip": 1.0}, TypeError,
             "dynamic_mask: reinforce has no arguments of Gate, but clip came."),
            ("x", {"kind": "relu"}, TypeError,
             "dynamic_mask: kind must not be given, since estimator tells it, but is 'relu'."),
        ],
    )
    def test_errors(self, blob_in, options, error, message):
        model = new_model()
        with pytest.raises(error) as raised:
            brew.dynamic_mask(model, blob_in, "y", **dict({"dim_in": 4}, **options))
        assert str(raised.value) == message
        assert not model.net.Proto().op and not model.params


def add_losses(model, estimator, **options):
    """The loss of a batch whose samples cost as much as their squares: less, the more is masked."""
    with seeds(9):
        y = brew.dynamic_mask(model, "x", "y", 4, estimator=estimator, lengths="lengths")
    losses = model.net.ReduceSum(model.net.Sqr(y, "squares"), "losses", axes=[1, 2], keepdims=0)
    return brew.dynamic_mask_loss(model, [y, losses], "loss", **options)


class TestLoss(object):
    @pytest.mark.parametrize("kept_penalty", [0.0, 0.7])
    @pytest.mark.parametrize("masked_penalty", [0.0, 0.2])
    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_value(self, estimator, masked_penalty, kept_penalty):
        model = new_model()
        loss = add_losses(
            model, estimator, kept_penalty=kept_penalty, masked_penalty=masked_penalty
        )
        model.AddGradientOperators([loss])
        run(model, x=X, lengths=LENGTHS)
        kept = workspace.FetchBlob("y_mask").sum(1)
        if estimator == "hard_concrete":
            z = workspace.FetchBlob("y_logits")[..., 0]
            kept = (1 / (1 + np.exp(-z - SHIFT))).sum(1)  # how many are expected
        cost = workspace.FetchBlob("losses") + kept_penalty * kept
        cost = cost + masked_penalty * (LENGTHS - kept)
        assert float(workspace.FetchBlob("loss")) == pytest.approx(cost.mean(), rel=1e-5)

    @pytest.mark.parametrize("gamma", [0.0, 0, -0.0])
    def test_gates_that_are_always_open(self, gamma, recwarn):
        """With gamma = 0 all that is real is kept, which padding must not make NaN."""
        model = new_model()
        with seeds(9):
            y = brew.dynamic_mask(
                model, "x", "y", 4, estimator="hard_concrete", lengths="lengths", gamma=gamma
            )
        loss = brew.dynamic_mask_loss(model, [y, "costs"], "loss", kept_penalty=0.7)
        grads = model.AddGradientOperators([loss])
        run(model, x=X, lengths=LENGTHS, costs=np.zeros(3, "float32"))
        np.testing.assert_array_equal(workspace.FetchBlob("y_open")[..., 0], ~PADDING)
        wanted = pytest.approx(0.7 * LENGTHS.mean(), rel=1e-6)
        assert float(workspace.FetchBlob("loss")) == wanted
        assert not workspace.FetchBlob(str(grads["y_logits_w"])).any()
        assert not [told for told in recwarn if issubclass(told.category, RuntimeWarning)]

    def test_an_argument_of_gate_that_is_none_is_not_given(self):
        nets = []
        for options in ({}, {"gamma": None, "beta": None}):
            model = new_model()
            brew.dynamic_mask(model, "x", "y", 4, estimator="hard_concrete", **options)
            nets.append(model.net.Proto().op)
        assert nets[0] == nets[1]

    def test_gradient_of_the_penalties(self):
        """Of straight_through and hard_concrete, where the mask's use costs nothing."""
        open_share = {
            "straight_through": straight_through,
            "hard_concrete": lambda z: torch.sigmoid(z + SHIFT),
        }
        for estimator, share in open_share.items():
            def build(model):
                y = brew.dynamic_mask(model, "x", "y", 4, estimator=estimator, lengths="lengths")
                sums = model.net.ReduceSum(y, "sums", axes=[1, 2], keepdims=0)
                nothing = model.net.Scale(sums, "nothing", scale=0.0)
                return brew.dynamic_mask_loss(
                    model, [y, nothing], "loss", kept_penalty=0.7, masked_penalty=0.2
                )

            def reference(b):
                kept = share(logits_of(b, b["x"], ~PADDING, None)).sum((1, 2))
                masked = torch.tensor(LENGTHS) - kept
                return (0.7 * kept + 0.2 * masked).mean()

            check_by_torch(build, reference, x=X, lengths=LENGTHS)

    @pytest.mark.parametrize("steps_before", [0, 3], ids=["first step", "with a baseline"])
    def test_reinforce_has_no_bias(self, steps_before):
        """The mean gradient of many draws is that of the expected cost, by all masks there are."""
        x, lengths = X[:2, :3], np.array([3, 2], "int32")
        model = new_model()
        loss = add_losses(model, "reinforce", kept_penalty=0.3, baseline_decay=0.5)
        grads = model.AddGradientOperators([loss])
        feed(x=x, lengths=lengths)
        workspace.RunNetOnce(seeded(model).param_init_net)
        w = wave((1, 4), 1.7).astype("float32")
        feed(y_logits_w=w, y_logits_b=np.array([0.2], "float32"))

        weight = torch.tensor(w.astype("float64"), requires_grad=True)
        chance = torch.sigmoid((torch.tensor(x.astype("float64")) * weight).sum(-1) + 0.2)
        squares = torch.tensor((x.astype("float64") ** 2).sum(-1))
        wanted = 0.0
        for b, length in enumerate(lengths):
            for mask in itertools.product([0.0, 1.0], repeat=int(length)):
                mask = torch.tensor(mask, dtype=torch.float64)
                p, cost = chance[b, :length], (mask * (squares[b, :length] + 0.3)).sum()
                wanted = wanted + torch.prod(mask * p + (1 - mask) * (1 - p)) * cost / 2
        wanted.backward()

        workspace.CreateNet(model.net)
        baseline = ["y_baseline_total", "y_baseline_weight"]
        for _ in range(steps_before):
            workspace.RunNet(model.net)
        usual = {name: workspace.FetchBlob(name) for name in baseline}
        assert bool(steps_before) == (float(usual["y_baseline_total"]) != 0)
        draws = []
        for _ in range(4000):
            feed(**usual)
            workspace.RunNet(model.net)
            draws.append(workspace.FetchBlob(str(grads["y_logits_w"])).ravel())
        draws = np.array(draws, "float64")
        error = draws.std(0) / np.sqrt(len(draws))
        assert (error < 0.2 * np.abs(weight.grad.numpy()).max()).all()
        assert (abs(draws.mean(0) - weight.grad.numpy().ravel()) < 4 * error).all()

    def test_the_baseline_takes_variance_away(self):
        """The gradients of a cost that is nearly the same for all masks, with and without it."""
        spread = {}
        for decay in (0.0, 0.9):
            workspace.ResetWorkspace()
            model = new_model()
            with seeds(2):
                y = brew.dynamic_mask(model, "x", "y", 4, estimator="reinforce")
            losses = model.net.Add(
                [model.net.ReduceMean(model.net.Sqr(y), axes=[1, 2], keepdims=0), "much"]
            )
            loss = brew.dynamic_mask_loss(model, [y, losses], "loss", baseline_decay=decay)
            grads = model.AddGradientOperators([loss])
            feed(x=X, much=np.full(3, 100, "float32"))
            workspace.RunNetOnce(seeded(model).param_init_net)
            workspace.CreateNet(model.net)
            draws = []
            for step in range(200):
                if decay == 0:
                    feed(y_baseline_total=np.zeros(1, "float32"))
                workspace.RunNet(model.net)
                draws.append(workspace.FetchBlob(str(grads["y_logits_w"])))
            spread[decay] = np.array(draws[20:]).std()
        assert spread[0.9] < 0.05 * spread[0.0]

    def test_the_baseline_is_the_running_mean_before(self):
        model = new_model()
        loss = add_losses(model, "reinforce", baseline_decay=0.75)
        assert model.AddGradientOperators([loss])
        assert {"y_baseline_total", "y_baseline_weight"} <= set(map(str, model.GetComputedParams()))
        assert {"y_logits_w", "y_logits_b"} == set(map(str, model.GetParams()))
        feed(x=X, lengths=LENGTHS)
        workspace.RunNetOnce(seeded(model).param_init_net)
        workspace.CreateNet(model.net)
        costs = []
        for step in range(6):
            workspace.RunNet(model.net)
            weights = 0.75 ** np.arange(step)[::-1]
            wanted = (weights * costs).sum() / weights.sum() if costs else 0.0
            assert float(workspace.FetchBlob("y_baseline")) == pytest.approx(wanted, rel=1e-5)
            costs.append(float(workspace.FetchBlob("loss")))
        assert len(set(costs)) > 1

    @pytest.mark.parametrize("decay", [-0.1, 1.0, np.nan])
    def test_refuses_a_decay(self, decay):
        model = new_model()
        brew.dynamic_mask(model, "x", "y", 4, estimator="reinforce")
        with pytest.raises(ValueError) as raised:
            brew.dynamic_mask_loss(model, ["y", "losses"], "loss", baseline_decay=decay)
        assert str(raised.value) == (
            "dynamic_mask_loss: baseline_decay must be at least 0 and below 1, but is "
            "{}.".format(decay)
        )

    def test_refuses_what_is_no_dynamic_mask(self):
        model = new_model()
        brew.dynamic_mask(model, "x", "y", 4, is_test=True)
        for name in ("x", "y"):
            with pytest.raises(ValueError) as raised:
                brew.dynamic_mask_loss(model, [name, "losses"], "loss")
            assert str(raised.value) == (
                "dynamic_mask_loss: {} is no dynamic_mask of this model, made without "
                "is_test.".format(name)
            )
        with pytest.raises(ValueError, match=r"blob_in must be \[masked, losses\], but is 1 blob"):
            brew.dynamic_mask_loss(model, "y", "loss")


@pytest.mark.parametrize("penalty", ["kept_penalty", "masked_penalty"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@needs_the_same_draws
def test_learns_which_rows_matter(estimator, penalty):
    """Of six rows two, which a mark tells, make up the label; the others are noise.

    A price on what is kept makes the noise go; a price on what is masked that is more than the
    noise does harm keeps all.
    """
    random = np.random.RandomState(0)
    marked = np.array([random.permutation(6) < 2 for _ in range(128)])
    values = random.randn(128, 6)
    blobs = {
        "x": values[..., None].astype("float32"),
        "mark": marked[..., None].astype("float32"),
        "labels": (values * marked).sum(1, keepdims=True).astype("float32"),
    }
    model = new_model()
    with seeds(6):
        y = brew.dynamic_mask(
            model, ["x", "mark"], "y", 1, estimator=estimator, dim_context=1, dim_hidden=4,
            bias_init=("ConstantFill", {"value": 1.0}),
        )
    # The model behind the mask sees the value of each row that is kept, and adds them up.
    rows = model.net.ReduceSum(y, "rows", axes=[1], keepdims=0)
    told = brew.fc(model, rows, "told", 1, 1)
    distances = model.net.SquaredL2Distance([told, "labels"], "distances")
    price = {penalty: 0.1 if penalty == "kept_penalty" else 5.0}
    loss = brew.dynamic_mask_loss(model, [y, distances], "loss", baseline_decay=0.9, **price)
    train(model, loss, 600, optimizer.build_adam, 0.02, **blobs)
    kept = workspace.FetchBlob("y_logits")[..., 0] > 0
    if penalty == "masked_penalty":
        assert kept.all()
    else:
        assert (kept == marked).all(), (kept[~marked].mean(), kept[marked].mean())


def test_two_masks_in_scopes_share_nothing():
    model = new_model()
    for name in ("first", "second"):
        with core.NameScope(name):
            y = brew.dynamic_mask(model, "x", "y", 4, estimator="reinforce")
            losses = model.net.ReduceMean(y, "losses", axes=[1, 2], keepdims=0)
            brew.dynamic_mask_loss(model, [y, losses], "loss")
    names = [str(p) for p in model.params] + [str(p) for p in model.GetComputedParams()]
    assert len(set(names)) == 8
    run(model, **{"first/x": X, "second/x": X})
    assert workspace.FetchBlob("first/loss") != workspace.FetchBlob("second/loss")
