"""Learns which pixels of a digit may go, on the CPU with Caffe2, and what it costs to do without.

    python examples/dynamic_masking.py [--output DIR] [--epochs N] [--seeds N] [--seed N]

A net is trained on whole digits. Then brew.dynamic_mask learns, pixel by pixel, what the net needs
to see of them, while the net goes on learning: by each of its three estimators, and at several
prices of a pixel that is kept. Held-out digits are told by nets built with is_test, which draw
nothing.

What is shown, or is shown not to be: that accuracy falls less than where as many pixels are masked
at random, by the same net or by one that is trained so. Harder to beat are two choices made by
hand, with a net trained for each: the same places in all digits, those that vary most, and the
pixels of each digit that have most ink. There is a majority guess and a logistic regression, too.
"""

import collections
import functools
import os

import matplotlib
import numpy as np
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

import ink_net
from attention_picture import HATCH, HIDDEN
from caffe2op_mask import global_init
from masked_ink_net import CHOICES, ESTIMATORS, RANDOM, MaskedInkNet, chooser, everything
from program import MAX_SEED, Parser

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402  (the backend is chosen before)
from matplotlib.patches import Patch, Rectangle  # noqa: E402

EPOCHS = 20
SEEDS = 3
PRICES = (0.003, 0.01, 0.03, 0.1)
DRAWN_PRICE = PRICES[2]
SAMPLES = 6
COLORS = dict(zip(ESTIMATORS, ("#0072b2", "#d55e00", "#009e73")))
MARKERS = dict(zip(ESTIMATORS, "os^"))
LINES = dict(zip(CHOICES, (":", "--", "-.")))
HATCHING = "/////"

# Of a net with a mask: accuracies on held-out digits, what it kept of them, bool [N, PIXELS], and
# what it took them for. `shuffled` is by the same net where as much is masked at random, `others`
# those of nets that are trained with each of CHOICES.
Learned = collections.namedtuple("Learned", "before after kept answers shuffled others")
# Of a seed: the digits held out, accuracies without a mask, and {(estimator, price): Learned}.
Run = collections.namedtuple("Run", "held_out untrained whole majority peer learned")


def train_told(split, epochs, seed, start, choose):
    """Accuracy of a net that goes on from `start`, trained and tested with masks that are told."""
    net = MaskedInkNet(seed, start=start)
    net.train(split.train, epochs, choose)
    return net.accuracy(split.held_out, choose(split.held_out.images))


def learn(split, epochs, seed, start, estimator, price, progress):
    """The Learned of an estimator at a price."""
    net, held_out = MaskedInkNet(seed, estimator, price, start), split.held_out
    before = net.accuracy(held_out)
    net.train(split.train, epochs)
    answers, kept = net.tell(held_out)
    after = np.mean(answers == held_out.labels)
    progress.update()
    choices = {
        name: functools.partial(chooser(name, split.train.images, seed), share=1 - kept.mean())
        for name in CHOICES
    }
    shuffled = net.accuracy(held_out, choices[RANDOM](held_out.images))
    others = {}
    for name in CHOICES:
        others[name] = train_told(split, epochs, seed, start, choices[name])
        progress.update()
    return Learned(before, after, kept, answers, shuffled, others)


def run(epochs, seed, progress):
    """All nets of a seed."""
    split = ink_net.load(seed)
    train, held_out = split
    net = MaskedInkNet(seed)
    untrained = net.accuracy(held_out)
    net.train(train, epochs)
    start = net.parameters()
    progress.update()
    # It goes on for as long as those with masks.
    whole = train_told(split, epochs, seed, start, everything)
    progress.update()
    learned = {
        (estimator, price): learn(split, epochs, seed, start, estimator, price, progress)
        for estimator in ESTIMATORS
        for price in PRICES
    }
    majority = np.mean(held_out.labels == np.bincount(train.labels).argmax())
    peer = LogisticRegression(max_iter=1000).fit(*train).score(*held_out)
    return Run(held_out, untrained, whole, majority, peer, learned)


def masked(learned):
    return 1 - learned.kept.mean()


def mean(values):
    return float(np.mean(list(values)))


def print_table(runs):
    print(
        "Told with a mask, before and after it is trained (lowest to highest of the seeds); and "
        "with as\nmany pixels masked otherwise: by the same net, and by nets that are trained so:\n"
        "                                           mask that is learned    same net  trained so\n"
        "  estimator         kept_penalty  masked  before             after   random  "
        "random  places    ink"
    )
    for key in runs[0].learned:
        results = [run.learned[key] for run in runs]
        after = [100 * result.after for result in results]
        print(
            "  {:16} {:13} {:7.1%} {:7.1%} {:5.1f}% ({:4.1f}-{:4.1f}) {:8.1%} {:7.1%} {:7.1%} "
            "{:6.1%}".format(
                *key,
                mean(map(masked, results)),
                mean(r.before for r in results),
                mean(after),
                min(after),
                max(after),
                mean(r.shuffled for r in results),
                *(mean(r.others[name] for r in results) for name in CHOICES)
            )
        )


def advantages(runs, estimator, choice):
    """How much more of the digits an estimator's nets tell than a choice's do: [seed, price]."""
    by_seed = [[run.learned[estimator, price] for price in PRICES] for run in runs]
    return np.array([[net.after - net.others[choice] for net in nets] for nets in by_seed])


def verdict(mean, error):
    """Better or worse is what differs from 0 by more than two standard errors of the seeds."""
    if np.isnan(error):
        return "one seed tells no spread"
    if abs(mean) <= 2 * error:
        return "no better and no worse"
    return "better" if mean > 0 else "worse"


def print_comparison(runs):
    print(
        "Points of accuracy beyond nets that are trained with as many pixels masked otherwise, by "
        "kept_penalty\nand on average, with the standard error of the seeds:"
    )
    print("  {:29}{}".format("", "".join("{:7}".format(price) for price in PRICES)))
    for choice in CHOICES:
        for estimator in ESTIMATORS:
            points = 100 * advantages(runs, estimator, choice)
            by_seed = points.mean(axis=1)
            error = by_seed.std(ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else np.nan
            print(
                "  {:16}  {:11}{}{:+8.1f} +-{:4.1f}: {}".format(
                    estimator,
                    choice,
                    "".join("{:+7.1f}".format(by_price) for by_price in points.mean(axis=0)),
                    by_seed.mean(),
                    error,
                    verdict(by_seed.mean(), error),
                )
            )


def draw_curves(axes, runs):
    """Accuracy against the share masked: of each seed a point, and a line through their means."""
    for estimator in ESTIMATORS:
        nets = [[run.learned[estimator, price] for price in PRICES] for run in runs]
        shares = 100 * np.array([[masked(net) for net in row] for row in nets])
        after = 100 * np.array([[net.after for net in row] for row in nets])
        color = COLORS[estimator]
        marker = MARKERS[estimator]
        axes.plot(shares.ravel(), after.ravel(), marker, color=color, markersize=4, alpha=0.5)
        axes.plot(shares.mean(0), after.mean(0), marker + "-", color=color, label=estimator)
    for choice in CHOICES:
        points = sorted(
            [100 * mean(masked(net) for net in nets), 100 * mean(n.others[choice] for n in nets)]
            for nets in ([run.learned[key] for run in runs] for key in runs[0].learned)
        )
        axes.plot(*zip(*points), LINES[choice], color="#666666", label="other masks: " + choice)
    whole = 100 * mean(run.whole for run in runs)
    axes.axhline(whole, color="#cccccc", zorder=0, label="nothing masked")
    axes.set_ylim(top=100)
    axes.set_xlabel("pixels masked, %")
    axes.set_ylabel("held-out digits told, %")
    axes.legend(frameon=False, loc="lower left")
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw_digit(axes, image, kept, color, text):
    axes.imshow(image.reshape(ink_net.SIDE, ink_net.SIDE), cmap="gray_r", vmin=0, vmax=1)
    for pixel in np.flatnonzero(~kept):
        row, column = divmod(pixel, ink_net.SIDE)
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5),
                1,
                1,
                facecolor=HIDDEN,
                edgecolor=HATCH,
                hatch=HATCHING,
                linewidth=0,
            )
        )
    axes.set_xlabel(text, fontsize=9, labelpad=2)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(color)


def draw(path, runs):
    """Writes a PNG: the curves, and held-out digits with what each estimator masks of them."""
    digits = runs[0].held_out
    chosen = [np.flatnonzero(digits.labels == digit)[0] for digit in range(SAMPLES)]
    figure = pyplot.figure(figsize=(14, 6), constrained_layout=True)
    grid = figure.add_gridspec(len(ESTIMATORS) + 1, SAMPLES + 5)
    draw_curves(figure.add_subplot(grid[:, :5]), runs)
    for row, estimator in enumerate((None,) + ESTIMATORS):
        for column, i in enumerate(chosen):
            axes = figure.add_subplot(grid[row, 5 + column])
            kept, color, text = everything(digits.images[i]), "#666666", ""
            if estimator:
                net = runs[0].learned[estimator, DRAWN_PRICE]
                kept, color = net.kept[i], COLORS[estimator]
                right = net.answers[i] == digits.labels[i]
                text = "told {} {}".format(net.answers[i], "\u2713" if right else "\u2717")
            draw_digit(axes, digits.images[i], kept, color, text)
            if column == 0:
                axes.set_ylabel(estimator or "whole", color=color, fontsize=9)
    figure.legend(
        handles=[
            Patch(
                facecolor=HIDDEN,
                edgecolor=HATCH,
                hatch=HATCHING,
                label="masked, with kept_penalty {}".format(DRAWN_PRICE),
            )
        ],
        loc="upper right",
        frameon=False,
    )
    figure.suptitle(
        "What a net may do without: pixels of digits masked as three estimators learn to, or "
        "otherwise",
        x=0.01,
        ha="left",
    )
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def parse_arguments(arguments):
    parser = Parser(__doc__)
    parser.add_output()
    parser.add_number("epochs", EPOCHS, "times over the digits, without a mask and with it", 1)
    parser.add_number("seeds", SEEDS, "how many, from --seed on", 1)
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    global_init("dynamic_masking", threads=1)
    seeds = [(options.seed + i) % MAX_SEED for i in range(options.seeds)]
    nets = 2 + len(ESTIMATORS) * len(PRICES) * (1 + len(CHOICES))
    with tqdm(desc="nets", total=nets * len(seeds), unit="net") as progress:
        runs = [run(options.epochs, seed, progress) for seed in seeds]
    picture = os.path.join(options.output, "dynamic_masking.png")
    draw(picture, runs)

    print("Told of {} held-out digits, all pixels seen:".format(len(runs[0].held_out.labels)))
    print("  majority guess       {:6.1%}".format(mean(r.majority for r in runs)))
    print("  logistic regression  {:6.1%}".format(mean(r.peer for r in runs)))
    print(
        "  net, nothing masked  {:6.1%} before training, {:.1%} after".format(
            mean(r.untrained for r in runs), mean(r.whole for r in runs)
        )
    )
    print_table(runs)
    print_comparison(runs)
    print("Picture: {}".format(picture))


if __name__ == "__main__":
    main()
