"""The example that masks digits in training, shortened, and its parts."""

import re

import numpy as np
import pytest
from caffe2.python import core, workspace
from scipy import stats

from testers.examples import NUMBER, check_picture, check_refusal, figures, run

import augmentation
from augmentation import MASKS, NO_MASKS, PIXELS, SIDE, SPAN, SQUARE, UNITS, VIEWS, Masks

EXAMPLES = 100
ROUNDS = 4


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    output = tmp_path_factory.mktemp("augmentation")
    counts = {"examples": EXAMPLES, "rounds": ROUNDS, "epochs": 100, "seed": 1}
    arguments = ["--{}={}".format(*item) for item in counts.items()]
    result = run("augmentation.py", "--output", str(output), *arguments)
    assert result.returncode == 0, result.stderr
    return output, result


def accuracies(printed, who):
    """Mean and standard error in each of VIEWS, in percent."""
    cells = figures(printed, "\n  " + re.escape(who) + r" +{} \+- {}%" * len(VIEWS))
    return np.array(cells).reshape(len(VIEWS), 2)


def differences(printed, masks):
    """(mean, standard error, verdict) in each of VIEWS."""
    table = printed[printed.index("Points above") :]
    name = re.escape(augmentation.describe(masks))
    line = re.search(r"\n  {} (.*)".format(name), table).group(1)
    cells = re.findall(r"\+?{0} \+- {0} (\w+)".format(NUMBER), line)
    assert len(cells) == len(VIEWS)
    return [(float(mean), float(error), verdict) for mean, error, verdict in cells]


def test_learns(short_run):
    printed = short_run[1].stdout
    majority = accuracies(printed, "majority guess")[0, 0]
    peers = [accuracies(printed, who)[0, 0] for who in (augmentation.REGRESSION, augmentation.SVM)]
    before = accuracies(printed, "net before training")
    assert majority < 15 < 80 < min(peers)
    for masks in (NO_MASKS,) + MASKS:
        after = accuracies(printed, augmentation.describe(masks))
        assert after[0, 0] > 70
        assert (after[:, 0] > 3 * majority).all() and (after[:, 0] > 3 * before[:, 0]).all()


def test_masks_help_where_a_part_is_hidden_and_not_elsewhere(short_run):
    printed = short_run[1].stdout
    for p in augmentation.PROBABILITIES:
        elements, spans = (differences(printed, Masks(unit, p)) for unit in UNITS)
        for whole, *hidden in (elements, spans):
            assert whole[2] != "raised" and whole[0] < 2
            assert all(verdict != "lowered" for _, _, verdict in hidden)
        # What it was trained on and, by less, what it was not.
        assert spans[1][0] > 8 and spans[1][0] > elements[1][0]
        assert spans[2][0] > 3


def test_differences_are_those_of_the_table(short_run):
    printed = short_run[1].stdout
    plain = accuracies(printed, augmentation.describe(NO_MASKS))
    for masks in MASKS:
        after = accuracies(printed, augmentation.describe(masks))
        means = [mean for mean, _, _ in differences(printed, masks)]
        np.testing.assert_allclose(means, (after - plain)[:, 0], atol=0.16)


def test_verdicts_are_counted(short_run):
    printed = short_run[1].stdout
    verdicts = ("raised", "lowered", "unclear")
    seen = set()
    for column, view in enumerate(VIEWS):
        for unit in UNITS:
            of_unit = [differences(printed, m)[column] for m in MASKS if m.unit == unit]
            pattern = (
                r"\n  {} +{}s +raised accuracy at {{}} of {{}} p, lowered {{}}, unclear {{}}: "
                r"\+?{{}} to \+?{{}}\n"
            )
            said = figures(printed, pattern.format(view, unit))
            raised, lowered, unclear = (sum(v == d[2] for d in of_unit) for v in verdicts)
            assert said[:4] == [raised, len(of_unit), lowered, unclear]
            assert said[4:] == [min(d[0] for d in of_unit), max(d[0] for d in of_unit)]
            seen.update(d[2] for d in of_unit)
    assert {"raised", "unclear"} <= seen


def test_shows_progress_and_draws(short_run):
    output, result = short_run
    assert re.search(r"training: 100%.* {0}/{0} ".format(ROUNDS * (1 + len(MASKS))), result.stderr)
    check_picture(output / "augmentation.png", result.stdout)


def test_verdict_is_that_of_a_paired_t_test():
    """By SciPy's own, at the level that is left for one comparison."""
    random = np.random.RandomState(0)
    verdicts = set()
    for shift in np.linspace(-0.1, 0.1, 41):
        plain = random.normal(0.9, 0.02, size=10)
        masked = plain + random.normal(shift, 0.02, size=10)
        for comparisons in (1, 24):
            mean, error, verdict = augmentation.compare(masked, plain, comparisons)
            t, chance = stats.ttest_rel(masked, plain)
            assert mean == pytest.approx(np.mean(masked) - np.mean(plain))
            assert mean / error == pytest.approx(t)
            sure = chance < 0.05 / comparisons
            assert verdict == (("raised" if t > 0 else "lowered") if sure else "unclear")
            verdicts.add((comparisons, verdict))
    assert len(verdicts) == 6


def test_all_are_compared():
    """Each with no masks, in its own view, at a level that is shared by all comparisons."""
    random = np.random.RandomState(0)
    scores = {masks: random.normal(0.8, 0.02, size=(6, len(VIEWS))) for masks in MASKS}
    scores[NO_MASKS] = random.normal(0.77, 0.02, size=(6, len(VIEWS)))
    compared = augmentation.compare_all(scores)
    assert set(compared) == set(MASKS)
    seen = set()
    for masks, row in compared.items():
        for column, (mean, _, verdict) in enumerate(row):
            pair = scores[masks][:, column], scores[NO_MASKS][:, column]
            assert mean == pytest.approx(np.mean(pair[0] - pair[1]))
            chance = stats.ttest_rel(*pair)[1]
            seen.add((verdict != "unclear", chance < 0.05))
            assert (verdict != "unclear") == (chance < 0.05 / 24)
    # Some are sure for one comparison and not for so many.
    assert (False, True) in seen


def test_split():
    """Every digit is either trained on or held out; another round trains on others."""
    splits = [augmentation.draw_split(EXAMPLES, seed) for seed in (0, 0, 1)]
    rows = [np.concatenate([part.images for part in split]) for split in splits]
    assert all(len(split.train.labels) == EXAMPLES for split in splits)
    for images in rows:
        assert len(np.unique(images, axis=0)) == len(images) == 1797
    assert np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[0], rows[2])


def test_hidden():
    whole, span, square = augmentation.draw_hidden(2000, seed=3)
    assert whole.shape == span.shape == square.shape == (2000, PIXELS)
    assert whole.all()
    places = set()
    for kept_span, kept_square in zip(span, square):
        hidden = np.flatnonzero(~kept_span)
        assert len(hidden) == SPAN and hidden[-1] - hidden[0] == SPAN - 1
        rows, columns = np.nonzero(~kept_square.reshape(SIDE, SIDE))
        assert len(rows) == SQUARE ** 2 == SPAN
        assert np.ptp(rows) == np.ptp(columns) == SQUARE - 1
        places.add(("span", hidden[0]))
        places.add(("square", rows[0], columns[0]))
    # All that there are.
    assert len(places) == (PIXELS - SPAN + 1) + (SIDE - SQUARE + 1) ** 2


@pytest.mark.parametrize("masks", MASKS)
def test_masks_blank_what_they_mask(masks):
    images = np.random.RandomState(0).uniform(0.1, 1, size=(5000, PIXELS)).astype(np.float32)
    workspace.ResetWorkspace()
    workspace.FeedBlob("images", images)
    net = core.Net("masks")
    masked = augmentation.add_masks(net, masks)
    workspace.CreateNet(net)
    drawn = []
    for _ in range(2):
        workspace.RunNet(net.Name())
        mask = workspace.FetchBlob("mask")
        assert np.array_equal(workspace.FetchBlob(str(masked)), np.where(mask, images, 0))
        # Pixels of a span are masked together, so that there are fewer independent ones.
        assert (~mask).mean() == pytest.approx(masks.p, abs=0.02)
        drawn.append(mask)
    assert not np.array_equal(*drawn)
    if masks.unit == "span":
        # A span is shorter only where its row ends.
        begins = drawn[0][:, 1:] < drawn[0][:, :-1]
        assert begins.any()
        for row in range(200):
            for begin in np.flatnonzero(begins[row]) + 1:
                assert not drawn[0][row, begin : begin + SPAN].any()


def parameters(masks, seed):
    augmentation.make_nets(masks, seed)
    return [workspace.FetchBlob(name + s) for name in ("hidden_in", "logits") for s in ("_w", "_b")]


def test_nets_of_a_round_begin_equal():
    plain, elements, spans = (parameters(m, seed=5) for m in (NO_MASKS, MASKS[0], MASKS[-1]))
    for a, b, c in zip(plain, elements, spans):
        assert np.array_equal(a, b) and np.array_equal(a, c)
    assert not np.array_equal(plain[0], parameters(NO_MASKS, seed=6)[0])


def test_net_is_asked_without_masks_and_trained_with_them():
    """It learns no pixel where all are masked, and yet reads them when it is asked."""
    split = augmentation.draw_split(EXAMPLES, seed=0)
    views = [split.held_out.images, np.zeros_like(split.held_out.images)]
    masks = Masks("element", 1.0)
    begun = parameters(masks, seed=0)
    augmentation.train(masks, split, views, epochs=5, seed=0)
    assert np.array_equal(workspace.FetchBlob("hidden_in_w"), begun[0])
    # Biases alone are learned.
    assert not np.array_equal(workspace.FetchBlob("logits_b"), begun[3])
    assert np.ptp(workspace.FetchBlob("logits"), axis=0).max() == 0
    augmentation.train(masks, split, views[:1], epochs=1, seed=0)
    assert np.ptp(workspace.FetchBlob("logits"), axis=0).max() > 0.1


@pytest.mark.parametrize(
    "argument, bounds",
    [
        ("--examples=49", "from 50 to 1500"),
        ("--examples=1501", "from 50 to 1500"),
        ("--epochs=0", "at least 1"),
        ("--rounds=1", "from 2 to 1000"),
        ("--seed=-1", r"from 0 to \d+"),
    ],
)
def test_refuses_arguments(argument, bounds, capsys):
    check_refusal(augmentation, argument, capsys, bounds)


def test_refuses_the_runtime_s_own_masks(tmp_path):
    result = run("augmentation.py", "--output", str(tmp_path), CAFFE2OP_MASK_OVERRIDE="0")
    assert result.returncode == 1
    assert "Caffe2 prefers its own BooleanMask" in result.stderr
