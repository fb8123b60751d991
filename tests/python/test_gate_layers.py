"""Layers with gates, connections around layers, mixtures: by their definitions, and learning."""

import numpy as np
import pytest
import torch
from caffe2.python import brew, optimizer, workspace

from testers.arrays import wave
from testers.layers import (
    check_by_torch,
    feed,
    new_model,
    run,
    seeded,
    seeds,
    train,
    with_gradients,
)
from testers.runtime_facts import needs_the_same_draws

linear = torch.nn.functional.linear

X = wave((5, 6), 0.37).astype("float32")
ROWS = wave((2, 3, 6), 0.73).astype("float32")
ACTIVATIONS = {
    "elu": torch.nn.functional.elu,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def straight_through(z):
    """1 where z > 0, with the gradient of the sigmoid."""
    soft = torch.sigmoid(z)
    return (z > 0).double() + soft - soft.detach()


def one_of(z):
    """One-hot at the greatest of a row, with the gradient of the softmax of 2 z."""
    soft = torch.softmax(2 * z, -1)
    return (z == z.max(-1, keepdim=True)[0]).double() + soft - soft.detach()


def gate_of(kind, z, threshold=None):
    if kind == "relu":
        return torch.relu(z - threshold)
    if kind == "softmax":
        return torch.softmax(z, -1)
    if kind == "hard_concrete":
        return torch.clamp(torch.sigmoid(z) * 1.2 - 0.1, 0, 1)
    others = {
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "hard": straight_through,
        "gumbel_softmax": one_of,
    }
    return others[kind](z)


KINDS = {
    "sigmoid": {},
    "tanh": {},
    "softmax": {},
    "relu": {},
    "hard": {},
    "hard_concrete": {"is_test": 1},
    "gumbel_softmax": {"is_test": 1, "tau": 0.5, "hard": 1},
}


def dense(blobs, blob, name):
    return linear(blob, blobs[name + "_w"], blobs[name + "_b"])


class TestLearnableGate(object):
    @pytest.mark.parametrize("kind", sorted(KINDS))
    @pytest.mark.parametrize("x", [X, ROWS], ids=["rows", "sequences"])
    def test_is_its_definition(self, kind, x):
        def reference(b):
            return b["x"] * gate_of(kind, dense(b, b["x"], "y_logits"), b.get("y_threshold"))

        model = check_by_torch(
            lambda model: brew.learnable_gate(model, "x", "y", 6, kind=kind, **KINDS[kind]),
            reference,
            x=x,
        )
        assert [str(p) for p in model.params][2:] == ["y_threshold"] * (kind == "relu")
        gate, logits = workspace.FetchBlob("y_gate"), workspace.FetchBlob("y_logits")
        assert gate.shape == logits.shape == x.shape
        np.testing.assert_allclose(workspace.FetchBlob("y"), gate * x, atol=1e-6)

    @pytest.mark.parametrize("kind", ["sigmoid", "relu", "hard"])
    def test_a_gate_for_each_row_by_a_context(self, kind):
        def reference(b):
            return b["x"] * gate_of(kind, dense(b, b["c"], "y_logits"), b.get("y_threshold"))

        check_by_torch(
            lambda model: brew.learnable_gate(
                model, ["x", "c"], "y", 6, dim_context=4, per_row=True, kind=kind
            ),
            reference,
            learnt=["x", "c"],
            x=ROWS,
            c=wave((2, 3, 4), 1.1).astype("float32"),
        )
        assert workspace.FetchBlob("y_gate").shape == (2, 3, 1)

    @pytest.mark.parametrize(
        "kind, args", [("hard_concrete", {}), ("gumbel_softmax", {"tau": 0.5, "hard": 1})]
    )
    def test_a_random_gate_trains_and_is_still_in_a_test(self, kind, args):
        model = new_model()
        with seeds(5):
            brew.learnable_gate(model, ["x", "c"], "y", 6, kind=kind, **args)
        grads = with_gradients(model, "y", "x", "y_logits_w")
        run(model, x=X, c=X, y_d=np.ones_like(X))
        first, gate = workspace.FetchBlob("y"), workspace.FetchBlob("y_gate")
        np.testing.assert_array_equal(first, gate * X)
        np.testing.assert_array_equal(workspace.FetchBlob(grads["x"]), gate)
        assert workspace.FetchBlob(grads["y_logits_w"]).any()
        workspace.CreateNet(model.net)
        draws = []
        for _ in range(2):
            workspace.RunNet(model.net)
            draws.append(workspace.FetchBlob("y_gate"))
        assert not np.array_equal(*draws)

        still = new_model(init_params=False)
        brew.learnable_gate(still, ["x", "c"], "y", 6, kind=kind, is_test=1, **args)
        (_, op) = still.net.Proto().op
        assert list(op.output) == ["y", "y_gate"]
        workspace.CreateNet(still.net, overwrite=True)
        results = []
        for _ in range(2):
            workspace.RunNet(still.net)
            results.append(workspace.FetchBlob("y"))
        np.testing.assert_array_equal(*results)

    def test_descends(self):
        """The seed's gate, whose update had the wrong sign: here the loss falls, step by step."""
        random = np.random.RandomState(0)
        x = random.randn(64, 4).astype("float32")
        target = x * (x[:, :1] > 0)  # open where the first entry is positive
        model = new_model()
        y = brew.learnable_gate(model, "x", "y", 4)
        loss = model.net.AveragedLoss(
            model.net.SquaredL2Distance([y, "target"], "distances"), "loss"
        )
        losses = train(model, loss, 200, optimizer.build_sgd, 0.5, x=x, target=target)
        assert (np.diff(losses[:20]) < 0).all()
        assert losses[-1] < 0.1 * losses[0], losses[::20]

    @pytest.mark.parametrize("kind", ["hard", "hard_concrete"])
    def test_finds_the_features_that_count(self, kind):
        """One gate a feature: of eight features three make up the target, and only they stay."""
        wanted = np.array([0, 0, 1, 0, 0, -2, 0, 0.5], dtype="float32")
        random = np.random.RandomState(1)
        x = random.randn(256, 8).astype("float32")
        model = new_model()
        with seeds(3):
            # The same context for all rows makes a gate that depends on no row.
            y = brew.learnable_gate(
                model,
                ["x", "same"],
                "y",
                8,
                dim_context=1,
                kind=kind,
                bias_init=("ConstantFill", {"value": 1.0}),
            )
        distances = model.net.SquaredL2Distance(
            [brew.fc(model, y, "told", 8, 1), "target"], "distances"
        )
        # Open gates cost something, or nothing would make one close.
        price = model.net.Scale(
            model.net.ReduceMean("y_gate", "open", axes=[1], keepdims=0), "price", scale=0.4
        )
        loss = model.net.AveragedLoss(model.net.Add([distances, price], "cost"), "loss")
        # A fixed context would leave weight and bias of the gate the same: one of them learns.
        blobs = dict(x=x, target=x.dot(wanted)[:, None], same=np.zeros((256, 1), "float32"))
        losses = train(model, loss, 1500, optimizer.build_adam, 0.02, **blobs)
        assert losses[-1] < 0.2 * losses[0]
        gate = workspace.FetchBlob("y_logits")[0]
        assert ((gate > 0) == (wanted != 0)).all(), gate

    @pytest.mark.parametrize(
        "blob_in, options, error, message",
        [
            ("x", {}, ValueError, "learnable_gate: dim_in must be given."),
            ("x", {"dim_in": 0}, ValueError, "learnable_gate: dim_in must be positive, but is 0."),
            (["x", "c"], {"dim_in": 2, "dim_context": -1}, ValueError,
             "learnable_gate: dim_context must be positive, but is -1."),
            (["x", "c", "d"], {"dim_in": 2}, ValueError,
             "learnable_gate: blob_in must be X or [X, context], but is 3 blobs."),
        ],
    )
    def test_errors(self, blob_in, options, error, message):
        model = new_model()
        with pytest.raises(error) as raised:
            brew.learnable_gate(model, blob_in, "y", **options)
        assert str(raised.value) == message
        assert not model.net.Proto().op and not model.params

    def test_refuses_an_unknown_argument(self):
        with pytest.raises(TypeError, match="^Gate has no argument width; it has "):
            brew.learnable_gate(new_model(), "x", "y", 3, width=2)


class TestGatedFeedForward(object):
    @pytest.mark.parametrize("kind", ["sigmoid", "tanh", "softmax", "relu", "hard"])
    @pytest.mark.parametrize("dim_hidden", [7, (3, 5)], ids=str)
    def test_is_its_definition(self, kind, dim_hidden):
        def reference(b):
            first = torch.tanh(dense(b, b["x"], "y_hidden_1"))
            second = torch.tanh(dense(b, first, "y_hidden_2"))
            gate = gate_of(kind, dense(b, second, "y_gated_logits"), b.get("y_gated_threshold"))
            return dense(b, gate * second, "y")

        check_by_torch(
            lambda model: brew.gated_feed_forward(model, "x", "y", 6, dim_hidden, 4, kind=kind),
            reference,
            x=ROWS,
        )

    def test_gradients_are_differences(self):
        """Of the layer itself: central differences of its float32 results, along each parameter."""
        model = new_model()
        out = brew.gated_feed_forward(model, "x", "y", 6, 5, 3)
        params = [str(param) for param in model.params]
        assert len(params) == 8
        alone = new_model(init_params=False)
        brew.gated_feed_forward(alone, "x", "y", 6, 5, 3)
        grads = with_gradients(model, out, *(params + ["x"]))
        d_y = wave((5, 3), 0.9).astype("float32")
        run(model, x=X, y_d=d_y)
        found = {name: workspace.FetchBlob(grads[name]).astype("float64") for name in grads}
        workspace.CreateNet(alone.net, overwrite=True)
        random = np.random.RandomState(2)
        for name in params + ["x"]:
            value = workspace.FetchBlob(name)
            for _ in range(3):
                direction = random.randn(*value.shape)
                direction /= np.sqrt((direction ** 2).sum())
                told = []
                for sign in (-1, 1):
                    feed(**{name: (value + sign * 1e-2 * direction).astype("float32")})
                    workspace.RunNet(alone.net)
                    told.append((workspace.FetchBlob("y").astype("float64") * d_y).sum())
                feed(**{name: value})
                assert (told[1] - told[0]) / 2e-2 == pytest.approx(
                    (found[name] * direction).sum(), rel=2e-3, abs=2e-3
                ), name

    def test_learns(self):
        random = np.random.RandomState(0)
        x = random.uniform(-1, 1, (256, 2)).astype("float32")
        model = new_model()
        y = brew.gated_feed_forward(model, "x", "y", 2, 16, 1)
        distances = model.net.SquaredL2Distance([y, "target"], "distances")
        loss = model.net.AveragedLoss(distances, "loss")
        target = (np.sign(x[:, :1] * x[:, 1:])).astype("float32")  # exclusive or
        losses = train(model, loss, 400, optimizer.build_adam, 0.01, x=x, target=target)
        assert losses[-1] < 0.2 * losses[0], losses[::40]
        assert (np.sign(workspace.FetchBlob("y")) == target).mean() > 0.95

    @pytest.mark.parametrize("dims", [(0, 3, 2), (3, 0, 2), (3, (2, 0), 2), (3, 3, 0)])
    def test_errors(self, dims):
        name = "dim_out" if dims[2] == 0 else "dim_in" if dims[0] == 0 else "dim_hidden"
        message = "^gated_feed_forward: {} must be positive, but is 0.$".format(name)
        with pytest.raises(ValueError, match=message):
            brew.gated_feed_forward(new_model(), "x", "y", *dims)


class TestHighway(object):
    @pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
    @pytest.mark.parametrize("kind", ["sigmoid", "softmax", "hard"])
    def test_is_its_definition(self, activation, kind):
        def reference(b):
            changed = ACTIVATIONS[activation](dense(b, b["x"], "y_changed"))
            gate = gate_of(kind, dense(b, b["x"], "y_logits"))
            return gate * changed + (1 - gate) * b["x"]

        check_by_torch(
            lambda model: brew.highway(model, "x", "y", 6, activation, kind=kind), reference, x=ROWS
        )

    def test_carries_most_at_first(self):
        model = new_model()
        brew.highway(model, "x", "y", 6, weight_init=("ConstantFill", {"value": 0.0}))
        run(model, x=X)
        np.testing.assert_allclose(workspace.FetchBlob("y"), X / (1 + np.exp(-1)), rtol=1e-6)

    def test_errors(self):
        message = "^highway: activation must be one of elu, relu, sigmoid, tanh, but is cube.$"
        with pytest.raises(ValueError, match=message):
            brew.highway(new_model(), "x", "y", 3, "cube")
        message = "^highway: activation must be one of elu, .*, but is \\['relu'\\].$"
        with pytest.raises(ValueError, match=message):
            brew.highway(new_model(), "x", "y", 3, ["relu"])
        with pytest.raises(ValueError, match="^highway: dim_in must be positive, but is 0.$"):
            brew.highway(new_model(), "x", "y", 0)
        with pytest.raises(TypeError, match="^Highway has no argument zeta; it has "):
            brew.highway(new_model(), "x", "y", 3, zeta=2)


class TestTaskGate(object):
    @pytest.mark.parametrize("index", ["int32", "int64"])
    @pytest.mark.parametrize("kind", ["sigmoid", "hard", "relu"])
    def test_a_task_that_is_told(self, kind, index):
        task = np.array([2, 0, 2, 1, 2], index)

        def reference(b):
            return b["x"] * gate_of(kind, b["y_tasks"][b["t"].long()], b.get("y_threshold"))

        check_by_torch(
            lambda model: brew.task_gate(model, "x", "y", 6, 3, task="t", kind=kind),
            reference,
            x=X,
            t=task,
        )

    def test_a_task_that_it_chooses(self):
        def reference(b):
            choice = torch.softmax(dense(b, b["x"], "y_choice_logits"), -1)
            return b["x"] * torch.sigmoid(choice @ b["y_tasks"])

        check_by_torch(lambda model: brew.task_gate(model, "x", "y", 6, 3), reference, x=X)
        np.testing.assert_allclose(workspace.FetchBlob("y_choice").sum(1), 1, rtol=1e-6)

    def test_refuses_a_task_that_there_is_not(self):
        model = new_model()
        brew.task_gate(model, "x", "y", 6, 3, task="t")
        for task in (3, -4):
            with pytest.raises(RuntimeError):
                run(model, x=X, t=np.array([0, 1, 2, task, 0], "int32"))

    def test_errors(self):
        with pytest.raises(ValueError, match="^task_gate: num_tasks must be positive, but is 0.$"):
            brew.task_gate(new_model(), "x", "y", 6, 0)


class TestConnections(object):
    def test_residual(self):
        check_by_torch(
            lambda model: brew.residual(
                model, "x", "y", "gated_feed_forward", dim_in=6, dim_hidden=4, dim_out=6
            ),
            lambda b: b["x"]
            + dense(
                b,
                (lambda h: h * torch.sigmoid(dense(b, h, "y_change_gated_logits")))(
                    torch.tanh(
                        dense(b, torch.tanh(dense(b, b["x"], "y_change_hidden_1")),
                              "y_change_hidden_2")
                    )
                ),
                "y_change",
            ),
            x=ROWS,
        )

    def test_residual_projects_where_dims_differ(self):
        model = check_by_torch(
            lambda model: brew.residual(model, "x", "y", "fc", dim_in=6, dim_out=4),
            lambda b: dense(b, b["x"], "y_shortcut") + dense(b, b["x"], "y_change"),
            x=X,
        )
        assert len(model.params) == 4

    @pytest.mark.parametrize("dims", [{}, {"dim_in": 6}], ids=["none", "one"])
    def test_residual_passes_on_what_it_is_given(self, dims):
        seen = []

        def layer(model, blob_in, blob_out, **arguments):
            seen.append(arguments)
            return model.net.Tanh(blob_in, blob_out)

        check_by_torch(
            lambda model: brew.residual(model, "x", "y", layer, width=3, **dims),
            lambda b: b["x"] + torch.tanh(b["x"]),
            x=ROWS,
        )
        assert seen == [dict(dims, width=3)]

    def test_skip(self):
        check_by_torch(
            lambda model: brew.skip(model, "x", "y", "highway", dim_in=6, activation="tanh"),
            lambda b: torch.cat(
                [
                    b["x"],
                    (lambda g: g * torch.tanh(dense(b, b["x"], "y_added_changed")) +
                     (1 - g) * b["x"])(torch.sigmoid(dense(b, b["x"], "y_added_logits"))),
                ],
                -1,
            ),
            x=ROWS,
        )
        assert workspace.FetchBlob("y").shape == (2, 3, 12)

    def test_of_several_results_the_first_counts(self):
        model = new_model()
        brew.skip(model, "x", "y", "layer_norm", dim_in=6, axis=1)
        run(model, x=X)
        result = workspace.FetchBlob("y")
        np.testing.assert_array_equal(result[:, :6], X)
        np.testing.assert_allclose(result[:, 6:].mean(1), 0, atol=1e-6)

    @pytest.mark.parametrize("name", ["residual", "skip"])
    def test_refuses_a_layer_that_brew_does_not_know(self, name):
        with pytest.raises(ValueError, match="^{}: brew has no layer convolve.$".format(name)):
            getattr(brew, name)(new_model(), "x", "y", "convolve")

    @pytest.mark.parametrize("layer", [None, 5, b"fc"])
    @pytest.mark.parametrize(
        "name, argument",
        [("residual", "layer"), ("skip", "layer"), ("mixture_of_experts", "expert")],
    )
    def test_refuses_what_is_no_layer(self, name, argument, layer):
        sizes = dict(dim_in=4, dim_out=3)
        if name == "mixture_of_experts":
            sizes["num_experts"] = 2
            layer = () if layer is None else layer  # None is fc
        with pytest.raises(TypeError) as raised:
            getattr(brew, name)(new_model(), "x", "y", **dict(sizes, **{argument: layer}))
        assert str(raised.value) == (
            "{}: {} must be the name of a layer of brew or a function, but is {!r}.".format(
                name, argument, layer
            )
        )

    @needs_the_same_draws
    def test_stacked_they_learn_what_a_plain_stack_does_not(self):
        """Twenty layers of tanh, which learn by their connections."""
        random = np.random.RandomState(0)
        x = random.randn(128, 8).astype("float32")
        labels = (x[:, 0] * x[:, 1] > 0).astype("int32")

        def plain(model, blob_in, blob_out):
            return model.net.Tanh(brew.fc(model, blob_in, blob_out + "_in", 8, 8), blob_out)

        stacks = {
            "plain": plain,
            "residual": lambda model, *blobs: brew.residual(model, *blobs, layer=plain),
            "highway": lambda model, *blobs: brew.highway(model, *blobs, 8, "tanh"),
        }
        last = {}
        for name, layer in stacks.items():
            workspace.ResetWorkspace()
            model, hidden = new_model(), "x"
            for number in range(20):
                hidden = layer(model, hidden, "layer_{}".format(number))
            logits = brew.fc(model, hidden, "logits", 8, 2)
            _, loss = model.net.SoftmaxWithLoss([logits, "labels"], ["p", "loss"])
            losses = train(model, loss, 80, optimizer.build_adam, 0.005, x=x, labels=labels)
            last[name] = losses[-1]
        assert max(last["highway"], last["residual"]) < 0.5 * last["plain"], last


class TestMixtureOfExperts(object):
    @pytest.mark.parametrize("top_k", [None, 1, 2, 4])
    def test_is_its_definition(self, top_k):
        def reference(b):
            gate = torch.softmax(dense(b, b["x"], "y_logits"), -1)
            if top_k:
                kept = torch.topk(gate.detach(), top_k, dim=-1).indices
                gate = gate * torch.zeros_like(gate).scatter(-1, kept, 1.0)
            told = [dense(b, b["x"], "y_expert_{}".format(k)) for k in range(4)]
            return (gate[:, :, None] * torch.stack(told, 1)).sum(1)

        check_by_torch(
            lambda model: brew.mixture_of_experts(model, "x", "y", 6, 3, 4, top_k=top_k),
            reference,
            x=np.random.RandomState(0).randn(40, 6).astype("float32"),
        )
        gate = workspace.FetchBlob("y_gate")
        assert gate.shape == (40, 4)
        assert ((gate > 0).sum(1) == (top_k or 4)).all()

    def test_renormalized(self):
        def reference(b):
            gate = torch.softmax(dense(b, b["x"], "y_logits"), -1)
            kept = torch.topk(gate.detach(), 2, dim=-1).indices
            gate = gate * torch.zeros_like(gate).scatter(-1, kept, 1.0)
            gate = gate / gate.sum(-1, keepdim=True)
            told = [dense(b, b["x"], "y_expert_{}".format(k)) for k in range(4)]
            return (gate[:, :, None] * torch.stack(told, 1)).sum(1)

        check_by_torch(
            lambda model: brew.mixture_of_experts(
                model, "x", "y", 6, 3, 4, top_k=2, renormalize=True, bias_rate=0.0
            ),
            reference,
            x=np.random.RandomState(0).randn(40, 6).astype("float32"),
        )

    def test_routing_bias_balances(self):
        """Experts that no row would choose are chosen in the end, without a loss that says so."""
        model = new_model()
        y = brew.mixture_of_experts(model, "x", "y", 6, 3, 4, top_k=2, bias_rate=0.005)
        model.AddGradientOperators({str(y): model.net.Copy(y, "d_y")})
        assert model.GetParams() and "y_bias" not in map(str, model.GetParams())
        feed(x=np.random.RandomState(1).randn(400, 6).astype("float32"))
        workspace.RunNetOnce(model.param_init_net)
        logits_w = 0.5 * np.random.RandomState(2).randn(4, 6)
        feed(y_logits_w=logits_w.astype("float32"), y_logits_b=np.array([2, 0, 1, -2], "float32"))
        workspace.CreateNet(model.net)

        def loads():
            workspace.RunNet(model.net)
            return (workspace.FetchBlob("y_gate") > 0).sum(0)

        first = loads()
        # The rate, by the sign of what an expert is short of the mean of 200 rows.
        expected = 0.005 * np.sign(200 - first)
        np.testing.assert_allclose(workspace.FetchBlob("y_bias"), expected, rtol=1e-6)
        assert first.min() < 60
        for _ in range(300):
            last = loads()
        assert last.sum() == 800 and last.min() > 150
        # Gradients are of what was chosen, by the bias from before it moved.
        d_b = workspace.FetchBlob("y_expert_3_b_grad")
        assert np.abs(d_b).max() > 0

    def test_experts_of_another_kind_and_a_gate_by_a_context(self):
        def reference(b):
            gate = torch.softmax(dense(b, b["c"], "y_logits"), -1)
            told = [torch.tanh(dense(b, b["x"], "y_expert_{}_in".format(k))) for k in range(2)]
            return (gate[:, :, None, None] * torch.stack(told, 1)).sum(1)

        def expert(model, blob_in, blob_out, dim_in, dim_out):
            hidden = brew.fc(
                model, blob_in, blob_out + "_in", dim_in=dim_in, dim_out=dim_out, axis=2
            )
            return model.net.Tanh(hidden, blob_out)

        check_by_torch(
            lambda model: brew.mixture_of_experts(
                model, ["x", "c"], "y", 6, 3, 2, dim_context=4, expert=expert
            ),
            reference,
            learnt=["x", "c"],
            x=ROWS,
            c=wave((2, 4), 1.3).astype("float32"),
        )

    @pytest.mark.parametrize("expert", [None, "fc", brew.fc], ids=["default", "name", "function"])
    def test_an_expert_by_its_name(self, expert):
        models = new_model(), new_model()
        brew.mixture_of_experts(models[0], "x", "y", 6, 3, 2)
        brew.mixture_of_experts(models[1], "x", "y", 6, 3, 2, expert=expert)
        assert models[0].net.Proto().op == models[1].net.Proto().op

    def test_balance(self):
        """0 where all experts weigh alike, num_experts - 1 where one has it all; its gradient."""
        model = new_model()
        y = brew.mixture_of_experts(model, "x", "y", 6, 3, 4, balance=True)
        model.net.AddExternalInputs("one", "none")
        grads = model.AddGradientOperators({"y_balance": "one", str(y): "none"})
        zeros = {"y_logits_w": np.zeros((4, 6), "float32"), "y_logits_b": np.zeros(4, "float32")}
        feed(x=X, one=np.array(1, "float32"), none=np.zeros((5, 3), "float32"))
        workspace.RunNetOnce(seeded(model).param_init_net)
        workspace.CreateNet(model.net)

        def balance(**params):
            feed(**dict(zeros, **params))
            workspace.RunNet(model.net)
            return float(workspace.FetchBlob("y_balance"))

        assert balance() == pytest.approx(0, abs=1e-6)
        assert balance(y_logits_b=np.array([99, 0, 0, 0], "float32")) == pytest.approx(3)

        w = wave((4, 6), 0.8).astype("float32")
        found = balance(y_logits_w=w)
        leaf = torch.tensor(w.astype("float64"), requires_grad=True)
        weights = torch.softmax(torch.tensor(X.astype("float64")) @ leaf.T, -1).sum(0)
        wanted = weights.var(unbiased=False) / weights.mean() ** 2
        wanted.backward()
        assert found == pytest.approx(float(wanted), rel=1e-5)
        np.testing.assert_allclose(
            workspace.FetchBlob(str(grads["y_logits_w"])), leaf.grad.numpy(), atol=1e-6
        )

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"num_experts": 0}, "num_experts must be positive, but is 0"),
            ({"top_k": 0}, "top_k must be positive, but is 0"),
            ({"top_k": 3}, "top_k must be at most num_experts, 2, but is 3"),
            ({"dim_out": -1}, "dim_out must be positive, but is -1"),
            ({"expert": "convolve"}, "brew has no layer convolve"),
            ({"bias_rate": -1}, "bias_rate must be a number of at least 0, but is -1"),
        ],
    )
    def test_errors(self, options, message):
        options = dict(dict(dim_in=4, dim_out=3, num_experts=2), **options)
        with pytest.raises(ValueError, match="^mixture_of_experts: {}.$".format(message)):
            brew.mixture_of_experts(new_model(), "x", "y", **options)


@pytest.mark.parametrize(
    "add",
    [
        lambda model: brew.learnable_gate(model, "x", "y", 6, kind="relu"),
        lambda model: brew.gated_feed_forward(model, "x", "y", 6, 5, 3),
        lambda model: brew.highway(model, "x", "y", 6),
        lambda model: brew.task_gate(model, "x", "y", 6, 3),
        lambda model: brew.residual(model, "x", "y", "fc", dim_in=6, dim_out=4),
        lambda model: brew.skip(model, "x", "y", "fc", dim_in=6, dim_out=4),
        lambda model: brew.mixture_of_experts(model, "x", "y", 6, 3, 4, top_k=2),
    ],
    ids=["learnable_gate", "feed_forward", "highway", "task_gate", "residual", "skip", "mixture"],
)
def test_takes_parameters_that_are_there(add):
    """As a model for prediction does, with ``init_params=False``; and empty batches."""
    trained, predict = new_model(), new_model(init_params=False)
    for model in (trained, predict):
        assert str(add(model)) == "y"
    assert not predict.param_init_net.Proto().op
    run(trained, x=X)
    y = workspace.FetchBlob("y")
    workspace.RunNetOnce(predict.net)
    np.testing.assert_array_equal(workspace.FetchBlob("y"), y)
    feed(x=X[:0])
    workspace.RunNetOnce(predict.net)
    assert workspace.FetchBlob("y").shape == (0,) + y.shape[1:]
