"""Trains a small Caffe2 net on a few digits, on the CPU, with parts of them masked at random, and
shows what that does to the accuracy on held-out digits: on whole ones, and where a part is hidden.

    python examples/augmentation.py [--output DIR] [--examples N] [--epochs N] [--rounds N]
                                    [--seed N]

RandomMask draws anew at each step what is masked: elements, or spans as long as two rows.
BooleanMask blanks it. Held-out digits come whole, with a span hidden, or with a square hidden, of
as many pixels, a shape that no net was trained on.

Each round draws other examples and parameters, equal for all its nets, and holds out the other
digits. So nets with masks are compared in pairs with the net that had none, and the program says
whether masks raised the accuracy, lowered it, or whether it may be chance. All rounds draw from the
same 1797 digits: the spread is not that of other people's. Beside the nets: a majority guess, a
logistic regression and a support vector machine.
"""

import collections
import itertools
import os
import sys

import numpy as np
from caffe2.python import brew, core, model_helper, optimizer, workspace
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from tqdm import tqdm

import ink_net
from attention_picture import HATCH, HIDDEN, pyplot
from caffe2op_mask import global_init
from ink_net import DIGITS, PIXELS, SIDE, Digits, Split
from program import MAX_SEED, Parser, seed_nets
from topic_net import check_library

WIDTH = 128
BATCH_SIZE = 50
LEARNING_RATE = 0.003
# Pixels of a span and, at the test, of what is hidden.
SPAN = 2 * SIDE
SQUARE = 4
# Of all comparisons together: how likely chance may be to make one of them a difference.
LEVEL = 0.05

# What is masked in training: units of RandomMask, and the probability for each pixel.
Masks = collections.namedtuple("Masks", "unit p")
UNITS = {"element": {}, "span": {"span_length": SPAN}}
PROBABILITIES = (0.1, 0.3, 0.5, 0.7)
NO_MASKS = Masks("element", 0.0)
MASKS = tuple(Masks(unit, p) for unit in UNITS for p in PROBABILITIES)

VIEWS = ("whole", "span hidden", "square hidden")
MAJORITY, REGRESSION, SVM = "majority guess", "logistic regression", "support vector machine"
UNTRAINED = "net before training"

# Of accuracies: mean of the rounds, its standard error, and whether they are raised or lowered or
# it is unclear.
Difference = collections.namedtuple("Difference", "mean error verdict")


def describe(masks):
    return "net, {}".format("{0}s, p = {1}".format(*masks) if masks.p else "nothing masked")


def draw_split(examples, seed):
    """So many digits to train on; all others are held out."""
    images, labels = ink_net.load(seed, held_out=0).train
    parts = slice(examples), slice(examples, None)
    return Split(*(Digits(images[part], labels[part]) for part in parts))


def draw_hidden(count, seed):
    """Bool [count, PIXELS] for each of VIEWS: False at pixels of a span, or of a square."""
    random = np.random.RandomState(seed)
    pixels = np.arange(PIXELS)
    begins = random.randint(PIXELS - SPAN + 1, size=(count, 1))
    span = (pixels >= begins) & (pixels < begins + SPAN)
    tops, lefts = random.randint(SIDE - SQUARE + 1, size=(2, count, 1))
    rows, columns = np.divmod(pixels, SIDE)
    square = (rows >= tops) & (rows < tops + SQUARE) & (columns >= lefts)
    square &= columns < lefts + SQUARE
    return np.ones_like(span), ~span, ~square


def add_masks(net, masks):
    """Adds what blanks `images` [N, PIXELS] where `mask`, drawn at random, is False."""
    if not masks.p:
        return "images"
    mask = net.RandomMask("images", "mask", p=masks.p, unit=masks.unit, **UNITS[masks.unit])
    return net.BooleanMask(["images", mask], "masked", keep_shape=1)


def add_net(model, images):
    """Adds what leads from images [N, PIXELS] to `logits` [N, DIGITS]."""
    hidden = brew.fc(model, images, "hidden_in", dim_in=PIXELS, dim_out=WIDTH)
    hidden = brew.relu(model, hidden, "hidden")
    return brew.fc(model, hidden, "logits", dim_in=WIDTH, dim_out=DIGITS)


def make_nets(masks, seed):
    """Nets that train and predict, with the parameters made; they begin equal for all masks."""
    workspace.ResetWorkspace()
    model = model_helper.ModelHelper("train")
    logits = add_net(model, add_masks(model.net, masks))
    _, loss = model.net.SoftmaxWithLoss([logits, "labels"], ["probabilities", "loss"])
    model.AddGradientOperators([loss])
    optimizer.build_adam(model, LEARNING_RATE)
    seed_nets(seed, model.param_init_net, model.net)
    predict = model_helper.ModelHelper("predict", init_params=False)
    add_net(predict, "images")
    workspace.RunNetOnce(model.param_init_net)
    for net in (model.net, predict.net):
        workspace.CreateNet(net, input_blobs=["images", "labels"])
    return model.net.Name(), predict.net.Name()


def train(masks, split, views, epochs, seed):
    """Accuracy on each view of the held-out digits, before training and after."""
    train_net, predict_net = make_nets(masks, seed)

    def accuracy(images):
        workspace.FeedBlob("images", images)
        workspace.RunNet(predict_net)
        return np.mean(workspace.FetchBlob("logits").argmax(axis=1) == split.held_out.labels)

    before = [accuracy(view) for view in views]
    random = np.random.RandomState(seed)
    for _ in range(epochs):
        order = random.permutation(len(split.train.labels))
        for begin in range(0, len(order), BATCH_SIZE):
            chosen = order[begin : begin + BATCH_SIZE]
            workspace.FeedBlob("images", split.train.images[chosen])
            workspace.FeedBlob("labels", split.train.labels[chosen])
            workspace.RunNet(train_net)
    return before, [accuracy(view) for view in views]


def run_round(options, seed, bar):
    """{who: accuracy on each view} of the peers and of the nets, which are told by their Masks."""
    split = draw_split(options.examples, seed)
    labels = split.held_out.labels
    views = [split.held_out.images * kept for kept in draw_hidden(len(labels), seed)]
    guess = np.bincount(split.train.labels).argmax()
    scores = {MAJORITY: [np.mean(labels == guess)] * len(VIEWS)}
    for name, peer in ((REGRESSION, LogisticRegression(max_iter=1000)), (SVM, SVC())):
        peer.fit(*split.train)
        scores[name] = [peer.score(view, labels) for view in views]
    for masks in (NO_MASKS,) + MASKS:
        scores[UNTRAINED], scores[masks] = train(masks, split, views, options.epochs, seed)
        bar.update()
    return scores


def run_rounds(options):
    """{who: accuracies [rounds, VIEWS]}, under a progress bar."""
    seeds = np.random.RandomState(options.seed).choice(MAX_SEED, options.rounds, replace=False)
    with tqdm(total=options.rounds * (1 + len(MASKS)), desc="training", unit="net") as bar:
        rounds = [run_round(options, int(seed), bar) for seed in seeds]
    return {who: np.array([scores[who] for scores in rounds]) for who in rounds[0]}


def mean_and_error(values):
    """Over the rounds, axis 0."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


def compare(masked, plain, comparisons):
    """The Difference of two nets in one view, which is one of so many that are compared."""
    mean, error = mean_and_error(masked - plain)
    # Paired t test; by Bonferroni, chance has a part of LEVEL for each comparison.
    limit = error * stats.t.ppf(1 - LEVEL / 2 / comparisons, len(plain) - 1)
    verdict = "raised" if mean > limit else "lowered" if mean < -limit else "unclear"
    return Difference(mean, error, verdict)


def compare_all(scores):
    """{masks: the Difference in each of VIEWS to the net without masks}."""
    comparisons = len(MASKS) * len(VIEWS)
    plain = scores[NO_MASKS].T
    return {m: [compare(a, b, comparisons) for a, b in zip(scores[m].T, plain)] for m in MASKS}


def print_table(scores, differences):
    print("Told of held-out digits, mean of the rounds and its standard error:")
    print(" " * 26 + " ".join("{:>15}".format(view) for view in VIEWS))
    for who in (MAJORITY, REGRESSION, SVM, UNTRAINED, NO_MASKS) + MASKS:
        cells = zip(*mean_and_error(100 * scores[who]))
        name = who if isinstance(who, str) else describe(who)
        row = " ".join("{:>7.1f} +- {:.1f}%".format(*cell) for cell in cells)
        print("  {:24}{}".format(name, row))
    print("Points above the net of the same round that had nothing masked:")
    for masks in MASKS:
        row = " ".join(
            "{:+6.1f} +- {:.1f} {:7}".format(100 * mean, 100 * error, verdict)
            for mean, error, verdict in differences[masks]
        )
        print("  {:24}{}".format(describe(masks), row.rstrip()))


def print_verdicts(differences):
    """What the differences say, in a line for each view and unit."""
    print("What masks did, in points, by paired t tests at {:.0%} for all:".format(LEVEL))
    line = "  {:13} {:8} raised accuracy at {} of {} p, lowered {}, unclear {}: {:+.1f} to {:+.1f}"
    for view, unit in itertools.product(VIEWS, UNITS):
        several = [differences[m][VIEWS.index(view)] for m in MASKS if m.unit == unit]
        verdicts = [difference.verdict for difference in several]
        raised, lowered, unclear = map(verdicts.count, ("raised", "lowered", "unclear"))
        means = [100 * difference.mean for difference in several]
        counts = raised, len(several), lowered, unclear, min(means), max(means)
        print(line.format(view, unit + "s", *counts))


def masked_digits(image, seed):
    """(title, pixels kept) of a digit, as in training with all masks and as with parts hidden."""
    # Of as many draws, the one that masks most nearly the share p is what p looks like.
    workspace.FeedBlob("images", np.repeat(image[np.newaxis], BATCH_SIZE, axis=0))
    for masks in MASKS:
        net = core.Net("masks")
        add_masks(net, masks)
        seed_nets(seed, net)
        workspace.RunNetOnce(net)
        kept = workspace.FetchBlob("mask")
        yield "{}s\np = {}".format(*masks), kept[abs(1 - masks.p - kept.mean(axis=1)).argmin()]
    for view, kept in list(zip(VIEWS, draw_hidden(1, seed)))[1:]:
        yield view.replace(" ", "\n"), kept[0]


def draw_curves(axes, scores, column):
    """Accuracy against p in one view, for both units, beside no masks and the best peer."""
    for unit, color, marker in zip(UNITS, ("#0072b2", "#d55e00"), "os"):
        curve = [NO_MASKS] + [masks for masks in MASKS if masks.unit == unit]
        mean, error = zip(*(mean_and_error(100 * scores[masks][:, column]) for masks in curve))
        style = {"color": color, "marker": marker, "capsize": 3, "label": unit + "s masked"}
        axes.errorbar([masks.p for masks in curve], mean, yerr=error, **style)
    peer = 100 * scores[SVM][:, column].mean()
    axes.axhline(peer, color="#555555", linestyle=":", label=SVM + ", nothing masked")
    axes.set_title("held-out digits: " + VIEWS[column], loc="left", fontsize=10)
    axes.set_xlabel("p, probability that a pixel is masked")
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw(path, scores, image, seed):
    """Writes a PNG: accuracy against p in each view; below, a digit as masks leave it."""
    figure = pyplot.figure(figsize=(11, 6.3), constrained_layout=True)
    above, below = figure.add_gridspec(2, 1, height_ratios=[3, 1])
    panels = above.subgridspec(1, len(VIEWS)).subplots(sharey=True)
    for column, axes in enumerate(panels):
        draw_curves(axes, scores, column)
    panels[0].set_ylabel("told, % (mean and standard error)")
    panels[0].legend(frameon=False, fontsize=8, loc="lower left")
    digits = list(masked_digits(image, seed))
    for axes, (title, kept) in zip(below.subgridspec(1, len(digits)).subplots(), digits):
        axes.patch.set(facecolor=HIDDEN, edgecolor=HATCH, hatch="////", linewidth=0)
        pixels = np.ma.masked_where(~kept, image).reshape(SIDE, SIDE)
        axes.imshow(pixels, cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(title, fontsize=8)
        axes.set(xticks=[], yticks=[])
    title = "Nets trained on digits with pixels masked at random; hatched: masked, or hidden"
    figure.suptitle(title, x=0.01, ha="left")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def parse_arguments(arguments):
    parser = Parser(__doc__)
    parser.add_output()
    parser.add_number("examples", 150, "digits to train on", 50, 1500)
    parser.add_number("epochs", 600, "times over the examples", 1)
    parser.add_number("rounds", 10, "draws of examples and parameters", 2, 1000)
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    # Nets this small gain nothing from threads.
    global_init("augmentation", threads=1)
    try:
        check_library()
    except RuntimeError as error:
        sys.exit(str(error))

    train_digits, held_out = draw_split(options.examples, options.seed)
    print(
        "{} rounds of {} digits to train on and {} held out, of which {} of {} pixels are "
        "hidden.".format(options.rounds, options.examples, len(held_out.labels), SPAN, PIXELS)
    )
    scores = run_rounds(options)
    differences = compare_all(scores)
    print_table(scores, differences)
    print_verdicts(differences)
    picture = os.path.join(options.output, "augmentation.png")
    draw(picture, scores, train_digits.images[0], options.seed)
    print("Picture: {}".format(picture))


if __name__ == "__main__":
    main()
