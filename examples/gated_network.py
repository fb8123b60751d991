"""Trains Caffe2 nets of up to 60 layers on tables of scikit-learn, plain and with gates, residual
and skip connections, and shows which of them still learn when they are deep.

    python examples/gated_network.py [--output DIR] [--steps N] [--repeats N] [--seed N]

Plain nets are said to learn less the deeper they are, highways and residual nets not to (Srivastava
et al. 2015, He et al. 2015). That is shown to hold; on wine, though, only of highways that begin by
carrying enough. By their default, a bias of -1, a layer carries 73 % of its input, and 60 of them
nothing; so there are others that begin by changing 1/depth of it. Stacked gated_feed_forward has no
way past its gates, and is shown to fall off as plain layers do. That depth gains anything here is
shown not to be so, by a logistic regression; a majority guess is what a net that learns nothing
gives.

Then gates choose features of breast cancer: a learnable_gate that reads a constant stands before a
small net, whose loss grows with what is open.
"""

import collections
import itertools
import math
import os

import matplotlib
import numpy as np
from caffe2.python import brew, workspace
from sklearn.datasets import load_breast_cancer
from tqdm import tqdm

from caffe2op_mask import global_init, layers

import deep_net
from deep_net import CONNECTIONS, DEFAULT_HIGHWAY, GAINS, GATED, HIGHWAY, TABLES
from program import MAX_SEED, Parser

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402  (the backend is chosen before)

STEPS, GATE_STEPS = 100, 800
REPEATS = 5
RATE, GATE_RATE = 0.003, 0.01
DEPTHS = (3, 12, 30, 60)
CHOSEN_FROM = "breast cancer"
PENALTY = 1.0
# A majority guess keeps no feature, a logistic regression all.
KEPT = ([], slice(None))
KINDS = ("sigmoid", "relu", "hard_concrete")
# The chance that a gate of hard_concrete is not 0 is sigmoid(logits + STRETCH).
STRETCH = 2 / 3 * math.log(1.1 / 0.1)
# Colours that the colour-blind can tell apart (Okabe and Ito 2008).
COLORS = dict(
    zip(CONNECTIONS, ("#000000", "#999999", "#E69F00", "#D55E00", "#0072B2", "#009E73"))
)
MARKERS = dict(zip(CONNECTIONS, "oDv^sP"))
LINES = dict(zip(GAINS, ("-", "--", ":")))

# Of each repeat: accuracy before and after; what each layer of a highway carries on average.
Result = collections.namedtuple("Result", "before after carried")
# Of each repeat: accuracy, the gate of each feature, and what a logistic regression reaches by the
# features that are open, and by as many that are drawn.
Choice = collections.namedtuple("Choice", "accuracy gates opened drawn")


def add_choosing_net(model, sizes, kind, is_test):
    """Adds the same gate for all rows, a layer, and `logits`; returns what is to be paid."""
    gated = layers.learnable_gate(
        model,
        ["features", "one"],
        "chosen",
        sizes[0],
        dim_context=1,
        kind=kind,
        bias_init=("ConstantFill", {"value": 1.0}),
        is_test=int(is_test),
    )
    hidden = deep_net.feed_forward(model, gated, "hidden", sizes[0], deep_net.WIDTH, "relu")
    brew.fc(model, hidden, "logits", dim_in=deep_net.WIDTH, dim_out=sizes[1])
    net, opened = model.net, "chosen_gate"
    if kind == "hard_concrete":
        stretch = net.ConstantFill([], "stretch", shape=[1], value=STRETCH)
        logits = net.Add(["chosen_logits", stretch], "chance_logits", broadcast=1)
        opened = net.Sigmoid(logits, "chance")
    share_open = net.ReduceMean(opened, "share_open", axes=[0, 1], keepdims=0)
    return net.Scale(share_open, "penalty", scale=PENALTY)


def carried(connection, depth):
    """The share of its input that each layer of a highway carried, in the net that told last."""
    if connection not in (HIGHWAY, DEFAULT_HIGHWAY):
        return []
    logits = (workspace.FetchBlob("layer_{}_logits".format(i)) for i in range(depth))
    return [np.mean(1 - np.tanh(z / 2)) / 2 for z in logits]  # 1 - sigmoid


def train_deep_net(splits, connection, activation, depth, steps, bar):
    """The Result of a net that is trained on each split, by {seed: Split}, from its seed."""

    sizes = deep_net.sizes_of(splits[min(splits)])

    def add(model, is_test):
        deep_net.add_deep_net(model, sizes, connection, activation, depth)

    net, results = deep_net.Net(add, RATE), []
    for seed, (train, held_out) in splits.items():
        net.begin(held_out, seed)
        before = net.accuracy(held_out)
        net.train(train, steps, seed)
        results.append((before, net.accuracy(held_out), carried(connection, depth)))
        bar.update()
    return Result(*map(np.array, zip(*results)))


def choose_features(splits, kind, steps, bar):
    """The Choice of a gate that is trained on each split, by {seed: Split}, from its seed."""

    sizes = deep_net.sizes_of(splits[min(splits)])

    def add(model, is_test):
        return add_choosing_net(model, sizes, kind, is_test)

    net, choices = deep_net.Net(add, GATE_RATE), []
    for seed, split in splits.items():
        net.begin(split.held_out, seed)
        net.train(split.train, steps, seed)
        accuracy, gates = net.accuracy(split.held_out), workspace.FetchBlob("chosen_gate")[0]
        opened = gates > 0
        drawn = np.random.RandomState(seed).permutation(opened)
        peers = (deep_net.regression(split, kept) for kept in (opened, drawn))
        choices.append((accuracy, gates) + tuple(peers))
        bar.update()
    return Choice(*map(np.array, zip(*choices)))


def train_all(splits, options):
    """{(table, connection, activation, depth): Result} and {kind: Choice}, under a progress bar."""
    cases = [
        case
        for case in itertools.product(TABLES, CONNECTIONS, GAINS, DEPTHS)
        # Its own activation is tanh.
        if case[1] != GATED or case[2] == "tanh"
    ]
    gate_steps = options.steps * GATE_STEPS // STEPS
    results, choices = {}, {}
    with tqdm(total=(len(cases) + len(KINDS)) * options.repeats, unit="net") as bar:
        for case in cases:
            bar.set_description("{}, {}".format(*case), refresh=False)
            results[case] = train_deep_net(splits[case[0]], *case[1:], options.steps, bar)
        bar.set_description("gates of features", refresh=False)
        for kind in KINDS:
            choices[kind] = choose_features(splits[CHOSEN_FROM], kind, gate_steps, bar)
    return results, choices


def share(values, digits=1):
    """The mean of shares, and their standard deviation."""
    return "{0:.{2}%} +- {1:.{2}f}".format(np.mean(values), 100 * np.std(values), digits)


def print_results(table, results, baselines):
    print("{}: majority guess {}, logistic regression {}".format(table, *map(share, baselines)))
    line = "  {:19}{:6}" + len(DEPTHS) * "{:>19}"
    print(line.format("layers", "", *DEPTHS))
    for connection, activation in itertools.product(CONNECTIONS, GAINS):
        found = [results.get((table, connection, activation, depth)) for depth in DEPTHS]
        if None not in found:
            cells = ("{:.0%} -> {}".format(r.before.mean(), share(r.after, 0)) for r in found)
            print(line.format(connection, activation, *cells))


def print_carried(results):
    print("What a layer of a trained highway of {} carries, first to last:".format(DEPTHS[-1]))
    for table, connection, activation in itertools.product(
        TABLES, (DEFAULT_HIGHWAY, HIGHWAY), GAINS
    ):
        mean = results[table, connection, activation, DEPTHS[-1]].carried.mean(axis=0)
        chosen = np.linspace(0, DEPTHS[-1] - 1, 7).astype(int)
        cells = "".join("{:5.0%}".format(mean[i]) for i in chosen)
        print("  {:14}{:17}{:5}{}".format(table, connection, activation, cells))


def print_choices(choices):
    names = load_breast_cancer().feature_names
    print(
        "Gates before the {} features of {}; a logistic regression by those left open, and by as "
        "many drawn:".format(len(names), CHOSEN_FROM)
    )
    print("  {:14}{:>10}{:>16}{:>16}{:>16}".format("gate", "open", "net", "by open", "by drawn"))
    for kind, choice in choices.items():
        opened = choice.gates > 0
        counts = "{} to {}".format(opened.sum(axis=1).min(), opened.sum(axis=1).max())
        cells = map(share, (choice.accuracy, choice.opened, choice.drawn))
        print("  {:14}{:>10}{:>16}{:>16}{:>16}".format(kind, counts, *cells))
        if not opened.all():
            times = opened.sum(axis=0)
            often = np.argsort(-times, kind="stable")[:4]
            told = ("{} ({} of {})".format(names[i], times[i], len(opened)) for i in often)
            print("    open most often: {}".format(", ".join(told)))


def draw_accuracy(axes, table, activation, results, baselines):
    for place, connection in enumerate(CONNECTIONS):
        found = [results.get((table, connection, activation, depth)) for depth in DEPTHS]
        if None in found:
            continue
        after = np.array([100 * r.after for r in found])
        # Side by side, or most would hide behind the last.
        places = np.arange(len(DEPTHS)) + 0.06 * (place - 2.5)
        style = {"color": COLORS[connection], "marker": MARKERS[connection], "capsize": 2}
        axes.errorbar(places, after.mean(axis=1), after.std(axis=1), label=connection, **style)
    names = ("majority guess", "logistic regression")
    for name, right, line in zip(names, baselines, (":", "--")):
        axes.axhline(100 * np.mean(right), color="#777777", linestyle=line, linewidth=1, label=name)
    axes.set_xticks(range(len(DEPTHS)))
    axes.set_xticklabels(DEPTHS)
    axes.set_ylim(35, 104)
    axes.set_xlabel("layers")
    axes.set_title("{}, {}".format(table, activation), fontsize=10, loc="left")


def draw_carried(axes, table, results):
    depth = DEPTHS[-1]
    starts = ((HIGHWAY, 1 - 1 / depth), (DEFAULT_HIGHWAY, 1 / (1 + math.exp(-1))))
    for connection, start in starts:
        color = COLORS[connection]
        axes.axhline(100 * start, color=color, linewidth=5, alpha=0.25)
        for activation in GAINS:
            mean = 100 * results[table, connection, activation, depth].carried.mean(axis=0)
            axes.plot(range(1, depth + 1), mean, color=color, linestyle=LINES[activation])
    for activation in GAINS:
        axes.plot([], [], color="#555555", linestyle=LINES[activation], label=activation)
    axes.plot([], [], color="#555555", linewidth=5, alpha=0.25, label="at first")
    axes.set_ylim(45, 101)
    axes.set_xlabel("layer of {}".format(depth))
    axes.set_ylabel("carried of its input, %")
    axes.set_title("{}, highways, trained".format(table), fontsize=10, loc="left")
    axes.legend(fontsize=8, ncol=2, loc="lower left", frameon=False)


def draw(path, results, baselines, repeats):
    """Writes a PNG: for each table accuracy by depth, and what the layers of highways carry."""
    figure, grid = pyplot.subplots(len(TABLES), len(GAINS) + 1, figsize=(14, 7))
    for row, table in zip(grid, TABLES):
        for axes, activation in zip(row, GAINS):
            draw_accuracy(axes, table, activation, results, baselines[table])
        row[0].set_ylabel("right on held-out rows, %")
        draw_carried(row[-1], table, results)
    for axes in grid.flat:
        axes.grid(alpha=0.25)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    place = {"loc": "upper left", "bbox_to_anchor": (0.003, 0.96), "ncol": 8}
    figure.legend(handles, labels, fontsize=9, frameon=False, **place)
    figure.suptitle(
        "Accuracy by depth, mean of {} and standard deviation, and what the layers of highways "
        "carry".format(repeats),
        x=0.01,
        ha="left",
    )
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def parse_arguments(arguments):
    parser = Parser(__doc__)
    parser.add_output()
    parser.add_number("steps", STEPS, "of training a deep net; gates have 8 times as many", 1)
    parser.add_number("repeats", REPEATS, "of each training, from other splits and seeds", 1)
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    # Nets this small gain nothing from threads.
    global_init("gated_network", threads=1)
    seeds = np.random.RandomState(options.seed).choice(MAX_SEED, options.repeats).tolist()
    splits = {table: {seed: deep_net.load(table, seed) for seed in seeds} for table in TABLES}
    baselines = {
        table: [[deep_net.regression(split, kept) for split in by_seed.values()] for kept in KEPT]
        for table, by_seed in splits.items()
    }
    results, choices = train_all(splits, options)
    picture = os.path.join(options.output, "gated_network.png")
    draw(picture, results, baselines, options.repeats)
    print(
        "Right on held-out rows, before training -> after {} steps, mean of {} and standard "
        "deviation.".format(options.steps, options.repeats)
    )
    for table in TABLES:
        print_results(table, results, baselines[table])
    print_carried(results)
    print_choices(choices)
    print("Picture: {}".format(picture))


if __name__ == "__main__":
    main()
