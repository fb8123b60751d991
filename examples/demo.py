"""Trains a net that attends over the words of a sentence to tell the topic of Python's help it is
from, on the CPU with Caffe2, and shows what its masks are good for.

    python examples/demo.py [--output DIR] [--epochs N] [--seed N]

Sentences of different lengths are padded into batches. BooleanMask takes the real words out, so
that the hidden layer is computed for them alone, BooleanUnmask puts the results back, SequenceMask
and Softmax attend to real words only, and Caffe2's gradients and Adam train it, all from NetDef
files. Beside it: the same net with its masks left out, and a logistic regression.
"""

import collections
import os
import sys
import time

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

import attention_picture
import help_topics
import topic_net
from caffe2op_mask import global_init
from program import Parser

EPOCHS = 12
BATCH_SIZE = 64
WITH_MASKS = "with masks"
WITHOUT_MASKS = "without masks"
NETS = (WITH_MASKS, WITHOUT_MASKS)
PICTURED_SENTENCES = 12
PICTURED_WORDS = 15

# The net may be this much below the logistic regression. It may not be below twice the guess.
MARGIN = 0.03

# Share of right answers; share of the attention that padding got; how many answers are others
# when the sentence comes without padding.
Result = collections.namedtuple("Result", "accuracy on_padding changed")


def training_batches(encoder, sentences, epochs, seed):
    """All sentences once an epoch, in another order each time."""
    random = np.random.RandomState(seed)
    for _ in range(epochs):
        shuffled = [sentences[i] for i in random.permutation(len(sentences))]
        for batch in encoder.batches(shuffled, BATCH_SIZE):
            yield batch


def train(net, encoder, sentences, options, label):
    """Trains from the net's files, under a progress bar; returns the seconds it took."""
    begin = time.time()
    steps = options.epochs * -(-len(sentences) // BATCH_SIZE)
    batches = training_batches(encoder, sentences, options.epochs, options.seed)
    with tqdm(total=steps, desc=label, unit="step") as bar:
        for loss in net.train(batches):
            bar.set_postfix(loss="{:.3f}".format(loss), refresh=False)
            bar.update()
    return time.time() - begin


def evaluate(net, encoder, sentences):
    """What the trained files answer on sentences, in batches and one at a time, as a Result."""
    answers, truth, on_padding = [], [], 0.0
    batches = list(encoder.batches(sentences, BATCH_SIZE))
    for batch, (probabilities, attention) in zip(
        batches, net.predict(batches, ["probabilities", "attention"])
    ):
        answers.extend(probabilities.argmax(axis=1))
        truth.extend(batch["topics"])
        on_padding += (attention.mean(axis=1) * (batch["words"] == help_topics.PADDING)).sum()
    # A sentence that comes alone has no padding. Whether it has must not matter.
    alone = [p.argmax() for p, in net.predict(encoder.batches(sentences, 1), ["probabilities"])]
    return Result(
        accuracy=np.mean(np.equal(answers, truth)),
        on_padding=on_padding / len(sentences),
        changed=int(np.sum(np.not_equal(answers, alone))),
    )


def majority_accuracy(split):
    """Of telling every sentence the topic that is most frequent in training."""
    (topic, _), = collections.Counter(s.topic for s in split.train).most_common(1)
    return np.mean([sentence.topic == topic for sentence in split.held_out])


def bag_of_words_accuracy(split):
    """Of scikit-learn's logistic regression on how often each word occurs."""
    counter = CountVectorizer(analyzer=lambda sentence: sentence.words)
    model = LogisticRegression(max_iter=1000)
    model.fit(counter.fit_transform(split.train), [s.topic for s in split.train])
    return model.score(counter.transform(split.held_out), [s.topic for s in split.held_out])


def target_missed(accuracy, majority, bag_of_words):
    """The sentence that says which target was missed, or None."""
    if accuracy < 2 * majority:
        return "The net reached {:.1%}, but twice the majority guess is {:.1%}.".format(
            accuracy, 2 * majority
        )
    if accuracy < bag_of_words - MARGIN:
        return "The net reached {:.1%}, more than {:.0f} points below the bag of words.".format(
            accuracy, 100 * MARGIN
        )
    return None


def padding_share(encoder, sentences):
    """How much of the places in a batch is padding."""
    masks = [
        (batch["words"] == help_topics.PADDING).ravel()
        for batch in encoder.batches(sentences, BATCH_SIZE)
    ]
    return np.concatenate(masks).mean()


def draw(path, nets, encoder, sentences):
    """Draws the attention of both nets over a batch of sentences short enough to be read."""
    short = [s for s in sentences if len(s.words) <= PICTURED_WORDS]
    short.sort(key=lambda s: len(s.words))
    chosen = np.linspace(0, len(short) - 1, PICTURED_SENTENCES).astype(int)
    batch = [short[i] for i in chosen]
    panels = []
    for name, net in nets.items():
        ((probabilities, attention),) = net.predict(
            [encoder(batch)], ["probabilities", "attention"]
        )
        answers = [encoder.topics[i] for i in probabilities.argmax(axis=1)]
        panels.append((name, answers, attention.mean(axis=1), name == WITH_MASKS))
    attention_picture.draw(path, batch, panels)


def parse_arguments(arguments):
    parser = Parser(__doc__)
    parser.add_output("folder for what is written")
    text = "times over the sentences; with fewer than %(default)s no target is set"
    parser.add_number("epochs", EPOCHS, text, 1)
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    # Nets this small gain nothing from threads.
    global_init("demo", threads=1)
    try:
        topic_net.check_library()
    except RuntimeError as error:
        sys.exit(str(error))

    sentences = help_topics.load()
    split = help_topics.split(sentences, options.seed)
    encoder = help_topics.Encoder(split.train)
    lengths = [len(sentence.words) for sentence in sentences]
    print(
        "{} sentences of {} to {} words from {} topics of Python's help; {} are held out.".format(
            len(sentences), min(lengths), max(lengths), len(encoder.topics), len(split.held_out)
        )
    )

    nets, results, seconds = {}, {}, {}
    for name in NETS:
        nets[name] = topic_net.SavedNet.build(
            os.path.join(options.output, name.replace(" ", "_")),
            encoder.sizes,
            masks=name == WITH_MASKS,
            seed=options.seed,
        )
        seconds[name] = train(nets[name], encoder, split.train, options, name)
        results[name] = evaluate(nets[name], encoder, split.held_out)
    majority = majority_accuracy(split)
    bag_of_words = bag_of_words_accuracy(split)
    picture = os.path.join(options.output, "masks.png")
    draw(picture, nets, encoder, split.held_out)

    print("Told the topic of held-out sentences:")
    print("  majority guess                      {:6.1%}".format(majority))
    print("  bag of words, logistic regression   {:6.1%}".format(bag_of_words))
    for name in reversed(NETS):
        print(
            "  net {:32}{:6.1%}, trained in {:.1f} s; padding got {:.1%} of its attention, and "
            "changed {} of {} answers".format(
                name,
                results[name].accuracy,
                seconds[name],
                results[name].on_padding,
                results[name].changed,
                len(split.held_out),
            )
        )
    print("{:.0%} of a batch is padding.".format(padding_share(encoder, split.held_out)))
    ops = topic_net.count_mask_ops(nets[WITH_MASKS].read("train"))
    print(
        "Operators of this library in train.pb: {}.".format(
            ", ".join("{} {}".format(count, op) for op, count in sorted(ops.items()))
        )
    )
    for name in NETS:
        parts = nets[name].path("{" + ",".join(topic_net.PARTS) + "}")
        print("Net {}: {}".format(name, parts))
    print("Picture: {}".format(picture))
    if options.epochs >= EPOCHS:
        missed = target_missed(results[WITH_MASKS].accuracy, majority, bag_of_words)
        if missed:
            sys.exit(missed)


if __name__ == "__main__":
    main()
