"""examples/gated_network.py: deep nets that learn and that do not, and gates that choose."""

import re
from unittest import mock

import numpy as np
import pytest
from caffe2.python import model_helper, workspace
from sklearn.datasets import load_wine

from testers.examples import NUMBER, check_picture, check_refusal, figures, run
from testers.runtime_facts import needs_the_same_draws

import deep_net
import gated_network

DEPTHS = gated_network.DEPTHS
# What a layer of NumPy does; none is the code of the example.
ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    output = tmp_path_factory.mktemp("gated-network")
    options = ["--output", str(output), "--steps", "40", "--repeats", "1"]
    result = run("gated_network.py", *options)
    assert result.returncode == 0, result.stderr
    return output, result


class TestShortRun:
    @pytest.fixture(scope="class")
    def rows(self, short_run):
        """{(connection, activation): ([before], [after])} of wine, by depth."""
        text = short_run[1].stdout
        text = text[text.index("wine:") : text.index("breast cancer:")]
        rows = {}
        for name in deep_net.CONNECTIONS:
            for activation in deep_net.GAINS:
                row = re.search(r"\n  {} +{} (.*)".format(name, activation), text)
                if row:
                    cells = re.findall(r"{0}% -> {0}% \+- {0}".format(NUMBER), row.group(1))
                    before, after, _ = zip(*(map(float, cell) for cell in cells))
                    rows[name, activation] = before, after
        return rows

    def test_all_learn_when_shallow(self, rows, short_run):
        assert len(rows) == 16
        (majority,) = figures(short_run[1].stdout, r"wine: majority guess {}%")
        for before, after in rows.values():
            assert len(after) == len(DEPTHS)
            assert after[0] > 80 > 70 > max(before[0], majority)

    @needs_the_same_draws
    @pytest.mark.parametrize("activation", list(deep_net.GAINS))
    def test_plain_nets_do_not_learn_when_deep(self, rows, activation):
        for connection in (deep_net.PLAIN, deep_net.DEFAULT_HIGHWAY):
            assert rows[connection, activation][1][-1] < 75
        for connection in (deep_net.HIGHWAY, deep_net.RESIDUAL, deep_net.SKIP):
            assert rows[connection, activation][1][-1] > 85

    def test_nothing_surpasses_a_logistic_regression(self, rows, short_run):
        (peer,) = figures(short_run[1].stdout, r"wine: .* logistic regression {}%")
        # One of 44 rows is 2.3 %.
        assert max(max(after) for _, after in rows.values()) < peer + 2.3

    def test_what_highways_carry(self, short_run):
        pattern = r"\n  wine +{} +tanh +{{}}% +{{}}%".format
        (first, _) = figures(short_run[1].stdout, pattern(deep_net.HIGHWAY))
        assert 93 < first <= 99
        (first, _) = figures(short_run[1].stdout, pattern(deep_net.DEFAULT_HIGHWAY))
        assert 65 < first < 80

    def test_what_gates_leave_open(self, short_run):
        opened = {}
        for kind in gated_network.KINDS:
            least, most, right = figures(
                short_run[1].stdout, r"\n  " + kind + r" +{} to {} +{}% \+- "
            )
            assert least == most and right > 85
            opened[kind] = most
        assert opened["sigmoid"] == 30
        for kind in ("relu", "hard_concrete"):
            assert 0 < opened[kind] < 20
        assert short_run[1].stdout.count("open most often: ") == 2

    def test_shows_progress_and_draws(self, short_run):
        output, result = short_run
        assert re.search(r"wine, plain: .*net/s", result.stderr)
        assert re.search(r"gates of features: 100%", result.stderr)
        check_picture(output / "gated_network.png", result.stdout)


class TestTables:
    def test_scales_by_what_it_trains_on(self):
        split, data = deep_net.load("wine", seed=3), load_wine()
        train, held_out = split
        assert len(train.labels) == 134 and len(held_out.labels) == 44
        np.testing.assert_allclose(train.features.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(train.features.std(axis=0), 1, rtol=1e-5)
        assert abs(held_out.features.mean(axis=0)).max() > 0.01
        # Scaled back, each row is there once.
        features = np.concatenate([train.features, held_out.features])
        labels = np.concatenate([train.labels, held_out.labels])
        order, expected = np.lexsort(features.T), np.lexsort(data.data.T)
        np.testing.assert_array_equal(labels[order], data.target[expected])
        one, other = features[order], data.data[expected]
        for column in range(one.shape[1]):
            assert np.corrcoef(one[:, column], other[:, column])[0, 1] > 0.99999

    def test_peers(self):
        def rows(*firsts):
            features = np.array([[first, 0] for first in firsts], "f")
            return deep_net.Rows(features, (features[:, 0] > 0).astype("i"))

        split = deep_net.Split(rows(-2, -1, 1), rows(-3, 2, 9, 4))
        assert deep_net.regression(split, []) == 0.25
        assert deep_net.regression(split) == 1.0
        assert deep_net.regression(split, np.array([False, True])) == 0.25


def make_deep_net(connection, activation, depth=3, seed=1):
    """A Net that has begun, and the 7 rows that it was shown."""
    features = np.random.RandomState(0).randn(7, 5).astype("f")
    rows = deep_net.Rows(features, np.arange(7, dtype="i") % 3)

    def add(model, is_test):
        deep_net.add_deep_net(model, (5, 3), connection, activation, depth)

    net = deep_net.Net(add, rate=0.01)
    net.begin(rows, seed)
    return net, rows


def repeated(rows):
    """So that there is a batch of them."""
    return deep_net.Rows(np.tile(rows.features, (5, 1)), np.tile(rows.labels, 5))


def numpy_layer(x, name, connection, activation):
    """One layer, of the parameters in the workspace."""

    def fc(x, blob):
        return x @ workspace.FetchBlob(blob + "_w").T + workspace.FetchBlob(blob + "_b")

    f = ACTIVATIONS[activation]
    if connection == deep_net.RESIDUAL:
        return x + f(fc(x, name + "_change"))
    if connection == deep_net.SKIP:
        return np.concatenate([x, f(fc(x, name + "_added"))], axis=1)
    if connection == deep_net.GATED:
        h = np.tanh(fc(np.tanh(fc(x, name + "_hidden_1")), name + "_hidden_2"))
        return fc(sigmoid(fc(h, name + "_gated_logits")) * h, name)
    if connection == deep_net.PLAIN:
        return f(fc(x, name))
    gate = sigmoid(fc(x, name + "_logits"))
    return gate * f(fc(x, name + "_changed")) + (1 - gate) * x


class TestDeepNets:
    @pytest.mark.parametrize("connection", deep_net.CONNECTIONS)
    @pytest.mark.parametrize("activation", list(deep_net.GAINS))
    def test_agree_with_numpy(self, connection, activation):
        net, rows = make_deep_net(connection, activation)
        net.train(repeated(rows), 3, seed=0)
        right = net.accuracy(rows)
        x = numpy_layer(rows.features, "first", deep_net.PLAIN, activation)
        for i in range(1 if connection == deep_net.GATED else 3):
            x = numpy_layer(x, "layer_{}".format(i), connection, activation)
        w, b = (workspace.FetchBlob("logits" + suffix) for suffix in ("_w", "_b"))
        logits = x @ w.T + b
        np.testing.assert_allclose(workspace.FetchBlob("logits"), logits, rtol=1e-4, atol=1e-5)
        assert right == np.mean(logits.argmax(axis=1) == rows.labels)

    @pytest.mark.parametrize("connection", deep_net.CONNECTIONS)
    def test_learns_by_heart(self, connection):
        net, rows = make_deep_net(connection, "tanh")
        net.train(repeated(rows), 100, seed=0)
        assert net.accuracy(rows) == 1.0

    @pytest.mark.parametrize(
        "connection, share", [(deep_net.HIGHWAY, 1 - 1 / 12), (deep_net.DEFAULT_HIGHWAY, 0.7311)]
    )
    def test_highways_begin_as_they_say(self, connection, share):
        net, rows = make_deep_net(connection, "tanh", depth=12)
        for i in range(12):
            bias = workspace.FetchBlob("layer_{}_logits_b".format(i))
            np.testing.assert_allclose(1 - sigmoid(bias), share, atol=1e-4)
        net.accuracy(rows)
        told = gated_network.carried(connection, 12)
        x = numpy_layer(rows.features, "first", deep_net.PLAIN, "tanh")
        for i in range(12):
            w, b = (workspace.FetchBlob("layer_{}_logits{}".format(i, s)) for s in ("_w", "_b"))
            assert told[i] == pytest.approx(np.mean(1 - sigmoid(x @ w.T + b)), rel=1e-4)
            x = numpy_layer(x, "layer_{}".format(i), connection, "tanh")
        assert gated_network.carried(deep_net.PLAIN, 12) == []

    @pytest.mark.parametrize("activation, variance", [("tanh", 1), ("relu", 2), ("elu", 1.25 ** 2)])
    def test_begin_with_weights_of_their_variance(self, activation, variance):
        def spread(connection, blob):
            make_deep_net(connection, activation, depth=30)
            return np.std([workspace.FetchBlob(blob.format(i)) for i in range(30)])

        plain = np.sqrt(variance / deep_net.WIDTH)
        assert spread(deep_net.PLAIN, "layer_{}_w") == pytest.approx(plain, rel=0.05)
        residual = plain / np.sqrt(30)
        assert spread(deep_net.RESIDUAL, "layer_{}_change_w") == pytest.approx(residual, rel=0.05)

    def test_draws_by_its_seed(self):
        weights = []
        for seed in (1, 1, 2):
            make_deep_net(deep_net.PLAIN, "tanh", seed=seed)
            weights.append([workspace.FetchBlob("layer_{}_w".format(i)) for i in range(3)])
        np.testing.assert_array_equal(weights[0], weights[1])
        assert not np.array_equal(weights[0], weights[2])
        assert not np.array_equal(weights[0][0], weights[0][1])


class TestChoosing:
    def make(self, kind, is_test, logits):
        """The net with logits of the gate as given; fed with ones, 2000 rows."""
        workspace.ResetWorkspace()
        model = model_helper.ModelHelper("choosing")
        penalty = gated_network.add_choosing_net(model, (len(logits), 2), kind, is_test)
        workspace.RunNetOnce(model.param_init_net)
        np.testing.assert_allclose(workspace.FetchBlob("chosen_logits_b"), 1)
        workspace.FeedBlob("chosen_logits_b", np.array(logits, "f"))
        workspace.FeedBlob("chosen_logits_w", np.zeros((len(logits), 1), "f"))
        workspace.FeedBlob("features", np.ones((2000, len(logits)), "f"))
        workspace.FeedBlob("one", np.ones((2000, 1), "f"))
        workspace.RunNetOnce(model.net)
        return workspace.FetchBlob("chosen_gate"), float(workspace.FetchBlob(penalty))

    def test_hard_concrete_pays_for_the_chance_that_it_is_open(self):
        logits = [-3, -1.5, 0, 1.5]
        gates, penalty = self.make("hard_concrete", False, logits)
        opened = (gates > 0).mean(axis=0)
        assert 0.1 < opened[0] < opened[-1] < 1
        # Of 8000 gates; the deviation of their mean is below 0.0056.
        assert penalty == pytest.approx(gated_network.PENALTY * opened.mean(), abs=0.02)

    @pytest.mark.parametrize("kind, gate", [("sigmoid", sigmoid), ("relu", ACTIVATIONS["relu"])])
    def test_others_pay_for_what_they_let_through(self, kind, gate):
        logits = np.array([-3, -1.5, 0, 1.5])
        gates, penalty = self.make(kind, False, logits)
        np.testing.assert_allclose(gates, np.tile(gate(logits), (2000, 1)), rtol=1e-5)
        assert penalty == pytest.approx(gated_network.PENALTY * gate(logits).mean(), rel=1e-4)

    def test_tells_without_noise(self):
        gates, _ = self.make("hard_concrete", True, [-3, -1.5, 0, 3])
        assert (gates == gates[0]).all() and gates[0, 0] == 0 and gates[0, -1] == 1

    def test_finds_the_feature_that_tells(self):
        random = np.random.RandomState(0)
        features = random.randn(400, 6).astype("f")
        labels = (features[:, 2] > 0).astype("i")
        train = deep_net.Rows(features[:300], labels[:300])
        split = deep_net.Split(train, deep_net.Rows(features[300:], labels[300:]))

        bar = mock.Mock()
        choice = gated_network.choose_features({5: split, 6: split}, "hard_concrete", 300, bar)
        assert bar.update.call_count == 2
        assert choice.gates.shape == (2, 6)
        assert (choice.gates[:, 2] > 0.5).all() and (choice.gates > 0).sum() <= 4
        assert (choice.accuracy > 0.9).all() and (choice.opened > 0.9).all()


@pytest.mark.parametrize("argument", ["--steps=0", "--repeats=0", "--seed=-1", "--seed=4294967296"])
def test_refuses_arguments(argument, capsys):
    check_refusal(gated_network, argument, capsys)
