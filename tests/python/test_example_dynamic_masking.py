"""The example that learns which pixels may go: what it prints is so, and so are its parts."""

import re

import numpy as np
import pytest
from caffe2.python import model_helper, workspace

from testers.examples import NUMBER, check_picture, check_refusal, figures, run

import dynamic_masking
import ink_net
import masked_ink_net
from masked_ink_net import CHOICES, ESTIMATORS, INK, PLACES, RANDOM

# What Gate has unless it is told otherwise.
GAMMA, ZETA = -0.1, 1.1


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    output = tmp_path_factory.mktemp("dynamic-masking")
    result = run("dynamic_masking.py", "--output", str(output), "--epochs", "5", "--seeds", "1")
    assert result.returncode == 0, result.stderr
    return output, result


def rows(text):
    """{estimator: [[price, masked, before, after, lowest, highest, shuffled, three choices]]}"""
    pattern = "  {} +{{}} +{{}}% +{{}}% +{{}}% \\( *{{}}- *{{}}\\) +{{}}% +{{}}% +{{}}% +{{}}%\n"
    return {
        name: np.array(re.findall(pattern.format(name).replace("{}", NUMBER), text), dtype=float)
        for name in ESTIMATORS
    }


class TestProgram:
    def test_learns_on_whole_digits(self, short_run):
        _, result = short_run
        (majority,) = figures(result.stdout, r"majority guess +{}%")
        (peer,) = figures(result.stdout, r"logistic regression +{}%")
        before, after = figures(result.stdout, r"nothing masked +{}% before training, {}% after")
        assert max(majority, before) < 25 < 90 < min(peer, after)

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_masks_more_where_it_costs_more(self, short_run, estimator):
        table = rows(short_run[1].stdout)[estimator]
        assert list(table[:, 0]) == list(dynamic_masking.PRICES)
        shares = table[:, 1]
        assert list(shares) == sorted(shares)
        assert shares[-1] > shares[0] + 15

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_tells_more_than_by_what_is_masked_at_random(self, short_run, estimator):
        table = rows(short_run[1].stdout)[estimator]
        masking = table[(table[:, 1] > 60) & (table[:, 1] < 95)]
        assert len(masking)
        _, _, before, after, lowest, highest, shuffled, random, _, _ = masking.T
        assert (before > 80).all()
        assert (lowest == highest).all() and (lowest == after).all()
        assert (after > random + 10).all() and (after > shuffled + 20).all()

    def test_comparison_is_that_of_the_table(self, short_run):
        _, result = short_run
        for estimator, table in rows(result.stdout).items():
            for choice, others in zip(CHOICES, table[:, -len(CHOICES) :].T):
                points = table[:, 3] - others
                pattern = "  {} +{}{} +\\+- nan: one seed tells no spread\n".format(
                    estimator, choice, 5 * r" +\+?{}"
                )
                # Of figures that are rounded.
                expected = list(points) + [points.mean()]
                assert figures(result.stdout, pattern) == pytest.approx(expected, abs=0.16)

    def test_shows_progress_and_draws(self, short_run):
        output, result = short_run
        assert re.search(r"nets: 100%.* 50/50 ", result.stderr)
        check_picture(output / "dynamic_masking.png", result.stdout)

    @pytest.mark.parametrize("argument", ["--epochs=0", "--seeds=0", "--seed=-1"])
    def test_refuses_arguments(self, argument, capsys):
        check_refusal(dynamic_masking, argument, capsys)


class TestComparison:
    def runs(self, *after):
        """A run for each accuracy, where nets of all choices tell half of the digits."""

        def learned(accuracy):
            return dynamic_masking.Learned(
                0.9, accuracy, np.array([True]), None, 0.1, dict.fromkeys(CHOICES, 0.5)
            )

        return [
            dynamic_masking.Run(
                None,
                *4 * [None],
                {
                    (estimator, price): learned(value + 0.01 * i)
                    for estimator in ESTIMATORS
                    for i, price in enumerate(dynamic_masking.PRICES)
                }
            )
            for value in after
        ]

    def test_advantages(self):
        points = dynamic_masking.advantages(self.runs(0.6, 0.4), ESTIMATORS[1], INK)
        np.testing.assert_allclose(
            points, [[0.1, 0.11, 0.12, 0.13], [-0.1, -0.09, -0.08, -0.07]], atol=1e-9
        )

    @pytest.mark.parametrize(
        "mean, error, said",
        [
            (2.0, 0.9, "better"),
            (-2.0, 0.9, "worse"),
            (2.0, 1.1, "no better and no worse"),
            (-2.0, 1.1, "no better and no worse"),
            (0.0, 0.0, "no better and no worse"),
            (9.0, np.nan, "one seed tells no spread"),
        ],
    )
    def test_verdict(self, mean, error, said):
        assert dynamic_masking.verdict(mean, error) == said

    def test_prints_the_standard_error_of_the_seeds(self, capsys):
        # On average of the prices 3.5, 1.5 and 8.5 points: 4.5, and sqrt(13 / 3) of error.
        dynamic_masking.print_comparison(self.runs(0.52, 0.5, 0.57))
        lines = capsys.readouterr().out.split("\n")
        assert lines[2].split() == ["0.003", "0.01", "0.03", "0.1"]
        for choice in CHOICES:
            for estimator in ESTIMATORS:
                assert (
                    "  {:16}  {:11}   +3.0   +4.0   +5.0   +6.0    +4.5 +- 2.1: better".format(
                        estimator, choice
                    )
                    in lines
                )


class TestChoices:
    images = np.random.RandomState(0).permutation(40 * 64).reshape(40, 64).astype(np.float32)
    # Of pixels that vary more, the further behind.
    train = np.random.RandomState(1).random_sample((100, 64)) * np.arange(1, 65) ** 2

    def kept(self, choice, share, seed=0):
        return masked_ink_net.chooser(choice, self.train, seed)(self.images, share)

    def test_at_random(self):
        kept = self.kept(RANDOM, 0.75)
        assert kept.dtype == bool and kept.shape == self.images.shape
        assert 0.2 < kept.mean() < 0.3
        assert len(np.unique(kept, axis=0)) == len(kept)
        assert (kept != self.kept(RANDOM, 0.75, seed=1)).any()
        # Each step of a training has masks of its own.
        choose = masked_ink_net.chooser(RANDOM, self.train, 0)
        assert (choose(self.images, 0.75) != choose(self.images, 0.75)).any()

    def test_same_places(self):
        kept = self.kept(PLACES, 0.75)
        assert (kept == (np.argsort(np.argsort(self.train.std(axis=0))) >= 48)).all()
        assert kept[:, 40:].mean() > 0.5 > kept[:, :40].mean() == 0

    def test_most_ink(self):
        kept = self.kept(INK, 0.75)
        assert (kept.sum(axis=1) == 16).all()
        least = np.where(kept, self.images, np.inf).min(axis=1)
        assert (least > np.where(kept, -np.inf, self.images).max(axis=1)).all()

    @pytest.mark.parametrize("choice", CHOICES)
    def test_all_and_nothing(self, choice):
        assert self.kept(choice, 0.0).all() and not self.kept(choice, 1.0).any()


@pytest.fixture(scope="module")
def digits():
    """Two batches."""
    return ink_net.Digits(*(array[:128] for array in ink_net.load(seed=0).train))


def dense(rows, name):
    weight, bias = (workspace.FetchBlob(name + part) for part in ("_w", "_b"))
    return rows @ weight.T + bias


def gates(estimator, digits):
    """By NumPy, what a mask that is learned multiplies the pixels by, where nothing is drawn."""
    pixels = ink_net.encode(digits)["pixels"]
    logits = dense(np.tanh(dense(pixels, "shown_hidden")), "shown_logits")[..., 0]
    if estimator == "hard_concrete":
        return np.clip((ZETA - GAMMA) / (1 + np.exp(-logits)) + GAMMA, 0, 1)
    return (logits > 0).astype(np.float32)


def probabilities(digits, gate):
    """By NumPy, of a gate for each pixel."""
    seen = np.stack([digits.images, np.ones_like(digits.images)], axis=-1) * gate[..., np.newaxis]
    hidden = np.maximum(dense(seen.reshape(len(seen), -1), "hidden_in"), 0)
    powers = np.exp(dense(hidden, "logits"))
    return powers / powers.sum(axis=1, keepdims=True)


class TestNet:
    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_keeps_what_numpy_keeps_and_draws_nothing(self, digits, estimator):
        net = masked_ink_net.MaskedInkNet(0, estimator)
        # At first all would be kept.
        workspace.FeedBlob("shown_logits_w", 10 * workspace.FetchBlob("shown_logits_w"))
        workspace.FeedBlob("shown_logits_b", np.zeros(1, np.float32))
        gate = gates(estimator, digits)
        assert 0.05 < np.mean(gate == 0) < 0.95
        for _ in range(2):
            answers, kept = net.tell(digits)
            np.testing.assert_array_equal(kept, gate > 0)
            expected = probabilities(digits, gate)
            np.testing.assert_allclose(workspace.FetchBlob("probabilities"), expected, atol=1e-5)
            np.testing.assert_array_equal(answers, expected.argmax(axis=1))

    @pytest.mark.parametrize("estimator", (None,) + ESTIMATORS)
    def test_sees_what_it_is_told(self, digits, estimator):
        """Also where it has learned a mask; nothing that is hidden has an effect, NaN neither."""
        net = masked_ink_net.MaskedInkNet(0, estimator)
        told = np.random.RandomState(0).random_sample(digits.images.shape) > 0.5
        _, kept = net.tell(digits, told)
        np.testing.assert_array_equal(kept, told)
        expected = probabilities(digits, told)
        np.testing.assert_allclose(workspace.FetchBlob("probabilities"), expected, atol=1e-5)
        net.tell(digits._replace(images=np.where(told, digits.images, np.nan)), told)
        np.testing.assert_allclose(workspace.FetchBlob("probabilities"), expected, atol=1e-5)

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_begins_by_keeping_all_and_goes_on_from_parameters(self, digits, estimator):
        net = masked_ink_net.MaskedInkNet(0)
        net.train(digits, epochs=40)
        start, answers = net.parameters(), net.tell(digits)[0]
        assert np.mean(answers == digits.labels) > 0.9
        net = masked_ink_net.MaskedInkNet(1, estimator, start=start)
        assert net.tell(digits)[1].all()
        np.testing.assert_array_equal(net.tell(digits, digits.images >= 0)[0], answers)

    def test_a_seed_tells_all_that_is_drawn(self, digits):
        results = []
        for seed in (0, 0, 1):
            net = masked_ink_net.MaskedInkNet(seed, "reinforce", price=0.1)
            net.train(digits, epochs=4)
            results.append(workspace.FetchBlob("shown_logits_w"))
        np.testing.assert_array_equal(results[0], results[1])
        assert (results[0] != results[2]).any()

    def test_a_pixel_is_judged_by_itself(self, digits):
        """Ink elsewhere does not change whether a pixel is kept, though it changes what is told."""
        net = masked_ink_net.MaskedInkNet(0, "straight_through")
        workspace.FeedBlob("shown_logits_b", np.zeros(1, np.float32))
        _, kept = net.tell(digits)
        changed = digits.images.copy()
        changed[:, 32:] = 1 - changed[:, 32:]
        _, now = net.tell(digits._replace(images=changed))
        np.testing.assert_array_equal(now[:, :32], kept[:, :32])
        assert (now[:, 32:] != kept[:, 32:]).any()

    def test_the_price_is_part_of_the_loss(self, digits):
        """What the train net minimizes, beside its definition."""
        losses = []
        for price in (0.0, 0.5):
            net = masked_ink_net.MaskedInkNet(0, "straight_through", price)
            net.train(ink_net.Digits(digits.images[:64], digits.labels[:64]), epochs=1)
            losses.append(float(workspace.FetchBlob("loss")))
            assert workspace.FetchBlob("shown_gate").all()
        assert losses[1] - losses[0] == pytest.approx(0.5 * ink_net.PIXELS, rel=1e-5)


def test_a_model_for_use_has_no_parameters_of_its_own():
    model = model_helper.ModelHelper("predict", init_params=False)
    masked_ink_net.add_net(model, "reinforce", is_test=True)
    assert not model.param_init_net.Proto().op
    assert "BernoulliMask" not in {op.type for op in model.net.Proto().op}
