"""Trains a small causal transformer to tell the next character of Python's help, on the CPU with
Caffe2, and lets it write.

    python examples/char_transformer.py [--output DIR] [--steps N] [--seconds N] [--seed N]

The net is made of brew layers, this library's multi_head_attention among them. Its bits per
character on sentences held out stand beside those of a uniform guess and of n-grams.
"""

import collections
import os
import sys
import time

import numpy as np
from tqdm import tqdm

import attention_picture
import help_topics
from caffe2op_mask import global_init
from char_net import CONTEXT, CharNet
from program import Parser

STEPS = 1200
SECONDS = 220
BATCH_SIZE = 16
HELD_OUT = 0.1
LOOKS = (0.25, 0.5)
SAMPLES = 3
SAMPLE_LENGTH = 240
TEMPERATURE = 0.7
PICTURED_CHARACTERS = 32

UNIGRAM, BIGRAM, LONGEST = 1, 2, 5
# How many observations the shorter n-gram weighs.
NGRAM_PRIOR = 5.0


class Alphabet:
    """Numbers the characters of a text; 0 is any other."""

    def __init__(self, text):
        self._characters = ["\N{REPLACEMENT CHARACTER}"] + sorted(set(text))
        self._ids = {character: i for i, character in enumerate(self._characters)}

    def __len__(self):
        return len(self._characters)

    def encode(self, text):
        return np.array([self._ids.get(character, 0) for character in text], dtype=np.int64)

    def decode(self, ids):
        return "".join(self._characters[i] for i in ids)


def text_of(sentences):
    return "\n" + "".join(sentence.text + "\n" for sentence in sentences)


def ngram_bits(train, held_out, length, alphabet_size):
    """Bits per character of an n-gram model, each order smoothed by the one below it."""
    count, total = collections.Counter(), collections.Counter()
    for order in range(1, length + 1):
        for i in range(order - 1, len(train)):
            count[train[i + 1 - order : i + 1]] += 1
            total[order, train[i + 1 - order : i]] += 1
    bits = 0.0
    for i in range(1, len(held_out)):
        chance = 1 / alphabet_size
        for order in range(1, min(length, i + 1) + 1):
            seen = count[held_out[i + 1 - order : i + 1]]
            chance = (seen + NGRAM_PRIOR * chance) / (
                total[order, held_out[i + 1 - order : i]] + NGRAM_PRIOR
            )
        bits -= np.log2(chance)
    return bits / (len(held_out) - 1)


def net_bits(net, ids):
    """Bits per character of the net on a text, of which each is told from CONTEXT / 2 or more
    before it, where there are so many."""
    half = CONTEXT // 2
    ids, following = ids[:-1], ids[1:]
    begins = np.append(np.arange(0, len(ids) - CONTEXT, half), len(ids) - CONTEXT)
    places = begins[:, np.newaxis] + np.arange(CONTEXT)
    chances = net.predict(ids[places])
    chances = np.take_along_axis(chances, following[places][..., np.newaxis], axis=2)[..., 0]
    bits, told = 0.0, 0
    for begin, row in zip(begins, chances):
        bits -= np.log2(row[told - begin :]).sum()
        told = begin + CONTEXT
    return bits / len(ids)


def batches(ids, steps, seconds, seed):
    """Stretches of the text from anywhere in it, [BATCH_SIZE, CONTEXT + 1], until time is up."""
    random = np.random.RandomState(seed)
    end = time.time() + seconds
    for _ in range(steps):
        if time.time() > end:
            return
        begins = random.randint(len(ids) - CONTEXT, size=(BATCH_SIZE, 1))
        yield ids[begins + np.arange(CONTEXT + 1)]


def train(net, train_ids, held_out_ids, options):
    """Trains under a progress bar; returns [(steps, bits on held_out_ids)] and tokens a second."""
    looks = [(0, net_bits(net, held_out_ids))]
    look_at = {int(options.steps * part) for part in LOOKS}
    spent, step = 0.0, 0
    stretches = batches(train_ids, options.steps, options.seconds, options.seed)
    with tqdm(total=options.steps, unit="step") as bar:
        begin = time.time()
        for step, bits in enumerate(net.train(stretches), 1):
            spent += time.time() - begin
            bar.set_postfix(bits="{:.2f}".format(bits), refresh=False)
            bar.update()
            if step in look_at:
                looks.append((step, net_bits(net, held_out_ids)))
            begin = time.time()
    if step > looks[-1][0]:
        looks.append((step, net_bits(net, held_out_ids)))
    return looks, step * BATCH_SIZE * CONTEXT / max(spent, 1e-9)


def write(net, alphabet, count, length, seed):
    """So many texts that the net writes, each from the beginning of a sentence."""
    random = np.random.RandomState(seed)
    ids = np.tile(alphabet.encode("\n"), (count, 1))
    for _ in range(length):
        chances = net.predict(ids[:, -CONTEXT:])[:, -1].astype(np.float64) ** (1 / TEMPERATURE)
        chances[:, 0] = 0  # it is no character
        chances /= chances.sum(axis=1, keepdims=True)
        # The first whose sum of chances is past a number from 0 to 1.
        drawn = (chances.cumsum(axis=1) > random.rand(count, 1)).argmax(axis=1)
        ids = np.append(ids, drawn[:, np.newaxis], axis=1)
    return [alphabet.decode(row[1:]) for row in ids]


def parse_arguments(arguments):
    parser = Parser(__doc__)
    parser.add_output("folder for the picture of the attention")
    parser.add_number(
        "steps", STEPS, "steps of training (default %(default)s); with fewer no target is set", 1
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="training ends after so many, whatever the steps (default %(default)s)",
    )
    options = parser.parse_args(arguments)
    if not options.seconds > 0:
        parser.error("--seconds must be more than 0, but is {}.".format(options.seconds))
    return options


def main(arguments=None):
    options = parse_arguments(arguments)
    global_init("char_transformer")

    split = help_topics.split(help_topics.load(), options.seed, HELD_OUT)
    train_text, held_out_text = text_of(split.train), text_of(split.held_out)
    alphabet = Alphabet(train_text)
    net = CharNet(len(alphabet), options.steps, options.seed)
    print(
        "{} characters of Python's help, {} different ones; {} are held out. The net has {} "
        "parameters.".format(
            len(train_text) + len(held_out_text),
            len(alphabet) - 1,
            len(held_out_text),
            net.parameters,
        )
    )
    looks, speed = train(
        net, alphabet.encode(train_text), alphabet.encode(held_out_text), options
    )
    steps, bits = looks[-1]
    bigram = ngram_bits(train_text, held_out_text, BIGRAM, len(alphabet))

    print("Bits per character of what is held out:")
    print("  uniform guess           {:5.2f}".format(np.log2(len(alphabet))))
    for name, length in (("unigram", UNIGRAM), ("bigram", BIGRAM), ("5-gram", LONGEST)):
        told = ngram_bits(train_text, held_out_text, length, len(alphabet))
        print("  {:24}{:5.2f}".format(name, told))
    for at, told in looks:
        print("  net after {:5} steps   {:5.2f}".format(at, told))
    print("{} characters a second in training.".format(int(speed)))
    if steps < options.steps:
        print("Time was up after {} of {} steps.".format(steps, options.steps))
    for sample in write(net, alphabet, SAMPLES, SAMPLE_LENGTH, options.seed):
        print("\nIt writes, at temperature {}:\n{}".format(TEMPERATURE, sample))

    pictured = next(s.text for s in split.held_out if len(s.text) >= PICTURED_CHARACTERS)
    pictured = pictured[:PICTURED_CHARACTERS]
    picture = os.path.join(options.output, "char_attention.png")
    attention_picture.draw_heads(picture, pictured, net.attention(alphabet.encode(pictured)))
    print("\nPicture: {}".format(picture))
    if options.steps >= STEPS and bits >= bigram:
        sys.exit("The net reached {:.2f} bits, but a bigram is at {:.2f}.".format(bits, bigram))


if __name__ == "__main__":
    main()
