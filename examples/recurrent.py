"""Trains Caffe2's LSTM to tell, word by word, the topic of Python's help that a sentence is from,
on the CPU, and shows what SequenceMask on its outputs and on its loss is good for.

    python examples/recurrent.py [--output DIR] [--epochs N] [--seed N]

Sentences of different lengths are padded into batches. Caffe2's LSTM takes the lengths and holds
its last state behind the end of a sentence. What counts each place, the mean of the outputs and the
loss at every word, would count that state once more for each padded place: SequenceMask takes it
out. Beside the net: the same without SequenceMask, a majority guess and a logistic regression.
"""

import collections
import os
import sys
import time

import numpy as np
from caffe2.python import brew, core, model_helper, optimizer, rnn_cell, workspace
from caffe2.python.modeling.initializers import ExternalInitializer, Initializer
from matplotlib import pyplot
from matplotlib.patches import Patch, Rectangle
from tqdm import tqdm

import demo
import help_topics
from attention_picture import HATCH, HIDDEN
from caffe2op_mask import global_init
from program import Parser, seed_nets
from topic_net import check_library

EPOCHS = 10
WIDTH = 128
DROPOUT = 0.5
LEARNING_RATE = 0.005
# How much the loss at the words weighs, that of the answer being 1.
PLACE_LOSS = 0.3
WITH_MASKS = "with masks"
WITHOUT_MASKS = "without masks"
NETS = (WITH_MASKS, WITHOUT_MASKS)
PICTURED_SENTENCES = 16
PICTURED_WORDS = 15

# Share of right answers, in padded batches and to each sentence alone; mean loss of a sentence in
# padded batches; by how much, at most, that of a sentence differs when it comes alone; how many
# answers do.
Result = collections.namedtuple("Result", "accuracy alone loss apart changed")


def feed(encoder, sentences):
    """Feeds a batch; returns its topics."""
    batch = encoder(sentences)
    words, topics = batch["words"], batch["topics"]
    workspace.FeedBlob("words", words)
    workspace.FeedBlob("lengths", np.array([len(s.words) for s in sentences], dtype=np.int32))
    workspace.FeedBlob("topics", topics)
    # The topic is told behind every word.
    workspace.FeedBlob("topic_by_place", np.repeat(topics, words.shape[1]))
    return topics


def add_net(model, sizes, masks, is_test):
    """Adds what leads from `words`, int64 [N, L], and `lengths`, int32 [N], to `loss`.

    `sentence_loss` [N] is the loss of each sentence, of which `loss` is the mean, `probabilities`
    [N, topics] are the answers, and `place_probabilities` [N * L, topics] those behind each word.
    """
    net = model.net

    def dropout(blob_in, name):
        return brew.dropout(model, blob_in, name, ratio=DROPOUT, is_test=is_test)

    def mean(blob_in, name, **arguments):
        """Over the places of a sentence, axis 1: over the words or, without masks, over all."""
        if not masks:
            return net.ReduceMean(blob_in, name, axes=[1], keepdims=0)
        real = net.SequenceMask(
            [blob_in, "lengths"], name + "_real", mode="sequence", axis=1, fill_val=0.0, **arguments
        )
        total = net.ReduceSum(real, name + "_total", axes=[1], keepdims=0)
        return net.Div([total, counts], name, broadcast=1, axis=0)

    def cross_entropy(logits, labels, name):
        probabilities = brew.softmax(model, logits, name)
        return net.LabelCrossEntropy([probabilities, labels], name + "_loss")

    counts = net.StopGradient(net.Cast("lengths", "counts", to=core.DataType.FLOAT), "counts")
    initializer = Initializer("GaussianFill", std=0.1)
    if not model.init_params:
        initializer = ExternalInitializer()
    table = model.create_param("table", shape=[sizes.words, WIDTH], initializer=initializer)
    rows = net.Gather([table, net.FlattenToVec("words", "words_flat")], "rows")
    width = net.GivenTensorInt64Fill([], "width", shape=[1], values=[WIDTH])
    places = net.Shape("words", "places")
    dims, _ = net.Concat([places, width], ["dims", "dims_split"], axis=0)
    embedded, _ = net.Reshape([dropout(rows, "rows_out"), dims], ["embedded", "rows_shape"])
    by_time = net.Transpose(embedded, "embedded_by_time", axes=[1, 0, 2])
    # An initial state of None is one that is learned.
    outputs, _, _, _ = rnn_cell.LSTM(
        model, by_time, "lengths", None, WIDTH, WIDTH, scope="lstm", forward_only=is_test
    )
    outputs = dropout(net.Transpose(outputs, "outputs", axes=[1, 0, 2]), "outputs_out")

    summary = mean(outputs, "summary", repeat_from_axis=2)
    logits = brew.fc(model, summary, "logits", dim_in=WIDTH, dim_out=sizes.topics)
    answer_loss = cross_entropy(logits, "topics", "probabilities")

    logits = brew.fc(model, outputs, "place_logits", dim_in=WIDTH, dim_out=sizes.topics, axis=2)
    logits, _ = net.Reshape(
        logits, ["place_logits_flat", "place_logits_shape"], shape=[-1, sizes.topics]
    )
    losses = cross_entropy(logits, "topic_by_place", "place_probabilities")
    losses, _ = net.Reshape([losses, places], ["place_loss", "place_loss_shape"])
    place_loss = net.Scale(mean(losses, "mean_place_loss"), "weighed_loss", scale=PLACE_LOSS)
    sentence_loss = net.Add([answer_loss, place_loss], "sentence_loss")
    return net.AveragedLoss(sentence_loss, "loss")


class Net:
    """The net with its parameters, in a workspace of its own."""

    def __init__(self, name, sizes, seed):
        self._name = name
        workspace.SwitchWorkspace(name, True)
        workspace.ResetWorkspace()
        masks = name == WITH_MASKS
        train = model_helper.ModelHelper("train")
        loss = add_net(train, sizes, masks, is_test=False)
        train.AddGradientOperators([loss])
        # A word that occurs twice in a batch is updated once, by the sum.
        optimizer.build_adam(train, LEARNING_RATE, sparse_dedup_aggregator="sum")
        seed_nets(seed, train.param_init_net, train.net)
        predict = model_helper.ModelHelper("predict", init_params=False)
        add_net(predict, sizes, masks, is_test=True)
        self._nets = {"train": train.net, "predict": predict.net}
        self._created = set()
        workspace.RunNetOnce(train.param_init_net)

    def run(self, part, encoder, sentences, fetch):
        """Runs "train" or "predict" on a batch; returns its topics and the blobs of `fetch`."""
        workspace.SwitchWorkspace(self._name)
        topics = feed(encoder, sentences)
        if part not in self._created:
            workspace.CreateNet(self._nets[part])
            self._created.add(part)
        workspace.RunNet(self._nets[part].Name())
        return [topics] + [workspace.FetchBlob(blob) for blob in fetch]


def chunks(sentences, size):
    return [sentences[begin : begin + size] for begin in range(0, len(sentences), size)]


def train(net, encoder, sentences, options, label):
    """Trains under a progress bar; returns the seconds it took."""
    begin = time.time()
    random = np.random.RandomState(options.seed)
    steps = options.epochs * -(-len(sentences) // demo.BATCH_SIZE)
    with tqdm(total=steps, desc=label, unit="step") as bar:
        for _ in range(options.epochs):
            shuffled = [sentences[i] for i in random.permutation(len(sentences))]
            for batch in chunks(shuffled, demo.BATCH_SIZE):
                _, loss = net.run("train", encoder, batch, ["loss"])
                bar.set_postfix(loss="{:.3f}".format(float(loss)), refresh=False)
                bar.update()
    return time.time() - begin


def evaluate(net, encoder, sentences):
    """What the net answers in padded batches, and to each sentence alone, as a Result."""

    def told(size):
        parts = [
            net.run("predict", encoder, batch, ["probabilities", "sentence_loss"])
            for batch in chunks(sentences, size)
        ]
        topics, probabilities, losses = (np.concatenate(part) for part in zip(*parts))
        return topics, probabilities.argmax(axis=1), losses

    topics, answers, losses = told(demo.BATCH_SIZE)
    _, answers_alone, losses_alone = told(1)
    return Result(
        accuracy=np.mean(answers == topics),
        alone=np.mean(answers_alone == topics),
        loss=losses.mean(),
        apart=abs(losses - losses_alone).max(),
        changed=int(np.sum(answers != answers_alone)),
    )


def draw(path, net, encoder, sentences):
    """Writes a PNG of a padded batch: what the net gives the right topic behind each word."""
    short = [s for s in sentences if len(s.words) <= PICTURED_WORDS]
    short.sort(key=lambda s: len(s.words))
    batch = [short[i] for i in np.linspace(0, len(short) - 1, PICTURED_SENTENCES).astype(int)]
    topics, chances, answers = net.run(
        "predict", encoder, batch, ["place_probabilities", "probabilities"]
    )
    answers = answers.argmax(axis=1)
    chances = chances.reshape(len(batch), -1, chances.shape[1])
    chances = chances[np.arange(len(batch)), :, topics]
    columns = chances.shape[1]
    padding = np.arange(columns) >= np.array([[len(sentence.words)] for sentence in batch])
    figure, axes = pyplot.subplots(
        figsize=(2.5 + 0.95 * columns, 1.1 + 0.34 * len(batch)), constrained_layout=True
    )
    real = np.ma.masked_where(padding, chances)
    image = axes.imshow(real, cmap="Greens", vmin=0, vmax=1, aspect="auto")
    for row, sentence in enumerate(batch):
        length = len(sentence.words)
        axes.add_patch(
            Rectangle(
                (length - 0.5, row - 0.5),
                columns - length,
                1,
                facecolor=HIDDEN,
                edgecolor=HATCH,
                hatch="///",
                linewidth=0,
            )
        )
        for column, word in enumerate(sentence.words):
            color = "white" if chances[row, column] > 0.6 else "#222222"
            axes.text(column, row, word, ha="center", va="center", fontsize=8, color=color)
    axes.set_yticks(range(len(batch)))
    axes.set_yticklabels(
        [
            s.topic + (" \u2713" if answer == topic else " \u2717 " + encoder.topics[answer])
            for s, answer, topic in zip(batch, answers, topics)
        ],
        fontsize=8,
    )
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=30, pad=0.01)
    bar.set_label("chance of the right topic, behind the word", fontsize=9)
    figure.suptitle(
        "An LSTM reads held-out sentences, and their topics: told (\u2713) or taken for another "
        "(\u2717)",
        x=0.01,
        ha="left",
        fontsize=13,
    )
    figure.legend(
        handles=[Patch(facecolor=HIDDEN, edgecolor=HATCH, hatch="///", label="padding, masked")],
        loc="upper right",
        fontsize=9,
        frameon=False,
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def parse_arguments(arguments):
    parser = Parser(__doc__)
    parser.add_output()
    parser.add_number("epochs", EPOCHS, "times over the sentences", 1)
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    # Nets this small gain nothing from threads.
    global_init("recurrent", threads=1)
    try:
        check_library()
    except RuntimeError as error:
        sys.exit(str(error))

    split = help_topics.split(help_topics.load(), options.seed)
    encoder = help_topics.Encoder(split.train)
    lengths = [len(sentence.words) for sentence in split.train + split.held_out]
    print(
        "{} sentences of {} to {} words from {} topics of Python's help; {} are held out.".format(
            len(lengths), min(lengths), max(lengths), len(encoder.topics), len(split.held_out)
        )
    )
    picture = os.path.join(options.output, "recurrent.png")
    before, after, seconds = {}, {}, {}
    for name in NETS:
        net = Net(name, encoder.sizes, options.seed)
        before[name] = evaluate(net, encoder, split.held_out)
        seconds[name] = train(net, encoder, split.train, options, name)
        after[name] = evaluate(net, encoder, split.held_out)
        if name == WITH_MASKS:
            draw(picture, net, encoder, split.held_out)

    print("Told the topic of held-out sentences:")
    print("  majority guess                      {:6.1%}".format(demo.majority_accuracy(split)))
    print("  bag of words, logistic regression   {:6.1%}".format(demo.bag_of_words_accuracy(split)))
    for name in reversed(NETS):
        print(
            "  LSTM {:31}{:6.1%}, {:.1%} before it was trained for {:.1f} s, and {:.1%} where each "
            "sentence comes alone".format(
                name, after[name].accuracy, before[name].accuracy, seconds[name], after[name].alone
            )
        )
    print("Loss of held-out sentences:")
    for name in reversed(NETS):
        print(
            "  LSTM {:31}{:6.3f}, {:.3f} before; that of a sentence alone differs by at most "
            "{:.1e}, and {} of {} answers do".format(
                name,
                after[name].loss,
                before[name].loss,
                after[name].apart,
                after[name].changed,
                len(split.held_out),
            )
        )
    print("Picture: {}".format(picture))


if __name__ == "__main__":
    main()
