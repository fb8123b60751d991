"""Reads digits by the pixels that have ink, on the CPU with Caffe2, and shows what it saves to
compute only on what is not zero.

    python examples/sparse_inputs.py [--output DIR] [--epochs N] [--rounds N] [--seed N]

Two layers are applied to each pixel. One net computes them for all pixels and masks what comes out;
the other takes out what is kept with BooleanMask, computes, and puts the results back with
BooleanUnmask. Both are timed by the share of pixels kept, compared, and trained on the pixels that
have ink, beside a majority guess and a logistic regression.
"""

import collections
import copy
import os
import sys
import time

import matplotlib
import numpy as np
from caffe2.python import model_helper, optimizer, workspace
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

import ink_net
from caffe2op_mask import global_init
from program import Parser, seed_nets
from topic_net import check_library

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402  (the backend is chosen before)

EPOCHS = 20
ROUNDS = 25
BATCH_SIZE = 64
LEARNING_RATE = 0.02
MOMENTUM = 0.9
SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
ALL_PIXELS = "all pixels, then masked"
KEPT_PIXELS = "kept pixels alone"
NETS = (ALL_PIXELS, KEPT_PIXELS)
MASKED = "#dcd6f0"

# Of a share: the best milliseconds of each net, and how far its results and gradients are from
# those of the other, as part of the largest of them.
Timing = collections.namedtuple("Timing", "share milliseconds results gradients")
# Of a net: accuracy on held-out digits before and after, each loss, and the seconds of the steps.
Training = collections.namedtuple("Training", "before after losses seconds")


def most_ink(images, share):
    """Bool [N, PIXELS]: so many of each image's pixels, those that have most ink."""
    order = np.argsort(-images, axis=1, kind="stable")
    kept = np.zeros(images.shape, dtype=bool)
    np.put_along_axis(kept, order[:, : round(share * ink_net.PIXELS)], True, axis=1)
    return kept


def draw_parameters(model, seed):
    """Equal parameters for both nets: each operator draws by its own seed."""
    seed_nets(seed, model.param_init_net)
    workspace.RunNetOnce(model.param_init_net)


def feed(batch):
    for blob, value in batch.items():
        workspace.FeedBlob(blob, value)


class PixelLayers:
    """The layers and their gradients in a workspace of their own."""

    def __init__(self, name, seed):
        self._name = name
        workspace.SwitchWorkspace(name, True)
        workspace.ResetWorkspace()
        model = model_helper.ModelHelper("layers")
        features = ink_net.add_pixel_layers(model, compact=name == KEPT_PIXELS)
        gradient = model.net.AddExternalInput("features_gradient")
        gradients = model.net.AddGradientOperators({features: gradient})
        draw_parameters(model, seed)
        self._net, self._created = model.net, False
        self._features = features
        self._gradients = [gradients[str(p)] for p in ["pixels"] + list(model.params)]

    def feed(self, batch, gradient):
        workspace.SwitchWorkspace(self._name)
        feed(dict(batch, features_gradient=gradient))
        if not self._created:
            workspace.CreateNet(self._net)
            self._created = True

    def run(self):
        """The seconds that it took."""
        workspace.SwitchWorkspace(self._name)
        begin = time.perf_counter()
        workspace.RunNet(self._net.Name())
        return time.perf_counter() - begin

    def fetch(self):
        """What came out, and the gradients of the pixels and of all parameters."""
        workspace.SwitchWorkspace(self._name)
        return workspace.FetchBlob(self._features), workspace.FetchBlobs(self._gradients)


def difference(actual, expected):
    """The largest, as part of the largest number there is; 0 where both are nothing but zeros."""
    largest = abs(expected).max()
    return float(abs(actual - expected).max() / largest) if largest else float(abs(actual).max())


def time_shares(digits, shares, rounds, seed):
    """A Timing of each share; the nets take turns, the best of the rounds counts."""
    layers = {name: PixelLayers(name, seed) for name in NETS}
    chosen = ink_net.Digits(digits.images[:BATCH_SIZE], digits.labels[:BATCH_SIZE])
    random = np.random.RandomState(seed)
    shape = chosen.images.shape + (ink_net.WIDTH,)
    gradient = random.standard_normal(shape).astype(np.float32)
    timings = []
    for share in tqdm(shares, desc="timing", unit="share"):
        kept = most_ink(chosen.images, share)
        batch = ink_net.encode(chosen, kept)
        best = dict.fromkeys(NETS, np.inf)
        for name in NETS:
            layers[name].feed(batch, gradient)
            layers[name].run()
        for _ in range(rounds):
            for name in NETS:
                best[name] = min(best[name], 1000 * layers[name].run())
        (expected, d_expected), (actual, d_actual) = (layers[name].fetch() for name in NETS)
        timings.append(
            Timing(
                kept.mean(),
                best,
                difference(actual, expected),
                max(difference(a, e) for a, e in zip(d_actual, d_expected)),
            )
        )
    return timings


def train(name, split, epochs, seed):
    """Trains a net under a progress bar, on the pixels that have ink."""
    workspace.SwitchWorkspace("train " + name, True)
    workspace.ResetWorkspace()
    compact = name == KEPT_PIXELS
    model = model_helper.ModelHelper("train")
    logits = ink_net.add_ink_net(model, compact)
    _, loss = model.net.SoftmaxWithLoss([logits, "labels"], ["probabilities", "loss"])
    model.AddGradientOperators([loss])
    optimizer.build_sgd(model, LEARNING_RATE, momentum=MOMENTUM)
    draw_parameters(model, seed)
    predict = model_helper.ModelHelper("predict", init_params=False)
    ink_net.add_ink_net(predict, compact)

    def accuracy():
        feed(ink_net.encode(split.held_out))
        workspace.RunNetOnce(predict.net)
        return np.mean(workspace.FetchBlob("logits").argmax(axis=1) == split.held_out.labels)

    before, losses, seconds = accuracy(), [], 0.0
    workspace.CreateNet(model.net)
    batches = ink_net.batches(split.train, BATCH_SIZE, epochs, seed)
    steps = epochs * ink_net.steps_an_epoch(split.train, BATCH_SIZE)
    for batch in tqdm(batches, desc=name, total=steps, unit="step"):
        feed(batch)
        begin = time.perf_counter()
        workspace.RunNet(model.net.Name())
        seconds += time.perf_counter() - begin
        losses.append(float(workspace.FetchBlob("loss")))
    return Training(before, accuracy(), losses, seconds)


def draw(path, timings, images):
    """Writes a PNG: time against share kept, and, below, what is kept of a digit at each share."""
    figure = pyplot.figure(figsize=(9, 6.5), constrained_layout=True)
    grid = figure.add_gridspec(2, len(timings), height_ratios=[3, 1])
    axes = figure.add_subplot(grid[0, :])
    shares = [100 * timing.share for timing in timings]
    for name, color in zip(NETS, ("#8c8c8c", "#2f6fb0")):
        times = [timing.milliseconds[name] for timing in timings]
        axes.plot(shares, times, marker="o", color=color, label=name)
    axes.set_xlim(0, 103)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("pixels kept, %")
    axes.set_ylabel("ms, forward and backward")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    colors = copy.copy(pyplot.get_cmap("gray_r"))
    colors.set_bad(MASKED)
    for column, timing in enumerate(timings):
        axes = figure.add_subplot(grid[1, column])
        image = np.ma.masked_where(~most_ink(images[:1], timing.share), images[:1])
        axes.imshow(image.reshape(ink_net.SIDE, ink_net.SIDE), cmap=colors, vmin=0, vmax=1)
        axes.set_title("{:.0%} kept".format(timing.share), fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.suptitle(
        "Two layers on the pixels of {} digits; what is masked is violet".format(BATCH_SIZE),
        x=0.01,
        ha="left",
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def parse_arguments(arguments):
    parser = Parser(__doc__)
    parser.add_output()
    parser.add_number("epochs", EPOCHS, "times over the digits", 1)
    parser.add_number("rounds", ROUNDS, "of which the best counts, for each share", 1)
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    # One thread: what is compared is work, not how it is spread.
    global_init("sparse_inputs", threads=1)
    try:
        check_library()
    except RuntimeError as error:
        sys.exit(str(error))

    split = ink_net.load(options.seed)
    train_digits, held_out = split
    print(
        "{} digits of {} pixels, of which {:.0%} have ink; {} are held out.".format(
            len(train_digits.labels) + len(held_out.labels),
            ink_net.PIXELS,
            np.mean(train_digits.images > 0),
            len(held_out.labels),
        )
    )
    timings = time_shares(train_digits, SHARES, options.rounds, options.seed)
    trainings = {name: train(name, split, options.epochs, options.seed) for name in NETS}
    picture = os.path.join(options.output, "sparse_inputs.png")
    draw(picture, timings, train_digits.images)

    print(
        "Layers on {} digits, forward and backward, best of {}; differences are parts of the "
        "largest:".format(BATCH_SIZE, options.rounds)
    )
    print("  kept   all pixels   kept pixels   time saved   results differ   gradients differ")
    for share, milliseconds, results, gradients in timings:
        dense, compact = (milliseconds[name] for name in NETS)
        print(
            "  {:4.0%} {:9.2f} ms {:10.2f} ms {:12.0%} {:16.1e} {:18.1e}".format(
                share, dense, compact, 1 - compact / dense, results, gradients
            )
        )
    majority = np.mean(held_out.labels == np.bincount(train_digits.labels).argmax())
    peer = LogisticRegression(max_iter=1000).fit(*train_digits).score(*held_out)
    print("Told held-out digits, by the pixels that have ink:")
    print("  majority guess                      {:6.1%}".format(majority))
    print("  logistic regression, all pixels     {:6.1%}".format(peer))
    for name in NETS:
        before, after, _, seconds = trainings[name]
        print(
            "  net, {:31}{:6.1%} before training, {:.1%} after {:.1f} s of steps".format(
                name, before, after, seconds
            )
        )
    losses = np.array([trainings[name].losses for name in NETS])
    print(
        "Loss {:.4f} at first, {:.4f} at last; those of the two nets differ by at most {:.1e} in "
        "all {} steps.".format(
            losses[1, 0], losses[1, -1], abs(losses[0] - losses[1]).max(), losses.shape[1]
        )
    )
    print("Picture: {}".format(picture))


if __name__ == "__main__":
    main()
