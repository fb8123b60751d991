"""Two questions about one sentence, each with an attention of its own: its topic, and a verb that
was taken out of it.

    python examples/adaptive_attention.py [--output DIR] [--epochs N] [--runs N] [--seed N]

Sentences are those of Python's help that have one of seven verbs, of which the first is taken out.
Told are the words, and how far each stands from the gap. brew.adaptive_attention gives each
question a query of its own, by which it attends to the words, and a gate, which says how much of
what it attended to counts. Beside it is the same net with one query for both questions, of as many
heads in all: what that attends to must serve both.

Shown is what either tells of held-out sentences, before and after training and in several splits,
beside a majority guess and logistic regressions, and how far apart the attentions of both questions
come to be. With an attention of its own the verb is told better; of the topic that is not shown,
the splits differ by more. Logistic regressions tell the topic better than both nets, and, where
they read the places too, the verb.
"""

import collections
import os

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

import demo
import help_topics
from caffe2op_mask import global_init, plot
from caffe2op_mask.text import columns
from gap_net import BATCH_SIZE, FAR, GAP, QUESTIONS, VERBS, Encoder, Net, examples_of
from program import MAX_SEED, Parser

EPOCHS = 15
RUNS = 5
PICTURED_SENTENCES = 7
PICTURED_WORDS = 14

EACH = "an attention for each"
SHARED = "one attention for both"
# Each net and how many queries it has.
NETS = {EACH: 2, SHARED: 1}

# Of a net on held-out sentences: what it tells, a Result, before and after training; what part of
# the attention of each query is near the gap.
Outcome = collections.namedtuple("Outcome", "before after near")


def distance(attention):
    """How far two queries' attentions [N, 2, L] differ: half the sum of differences, 0 to 1."""
    return abs(attention[:, 0] - attention[:, 1]).sum(axis=1).mean() / 2


def near_gap(attention, places):
    """What part of its attention each query gives the gap and the words beside it: [queries]."""
    near = abs(places - FAR) <= 1
    return (attention * near[:, np.newaxis]).sum(axis=2).mean(axis=0)


def by_place(example):
    """The words, and once more those near the gap, with how far they are from it."""
    near = [
        "{} at {}".format(word, place)
        for word, place in zip(example.words, example.places)
        if abs(place) < FAR
    ]
    return list(example.words) + near


def peers(split):
    """{name: {question: accuracy}} of what the nets are compared with."""
    told = collections.defaultdict(dict)
    for question in QUESTIONS:
        own = help_topics.Split(
            *([e._replace(topic=getattr(e, question)) for e in part] for part in split)
        )
        counter = CountVectorizer(analyzer=by_place)
        model = LogisticRegression(max_iter=1000)
        model.fit(counter.fit_transform(own.train), [e.topic for e in own.train])
        placed = model.score(counter.transform(own.held_out), [e.topic for e in own.held_out])
        told["majority guess"][question] = demo.majority_accuracy(own)
        told["logistic regression, words"][question] = demo.bag_of_words_accuracy(own)
        told["logistic regression, words and places"][question] = placed
    return told


def to_picture(examples):
    """Some that are short enough to be read, the shortest first."""
    short = [example for example in examples if len(example.words) <= PICTURED_WORDS]
    short.sort(key=lambda example: len(example.words))
    return [short[i] for i in np.linspace(0, len(short) - 1, PICTURED_SENTENCES).astype(int)]


def draw(path, encoder, chosen, result):
    """Writes a PNG of what each question attends to, with the words written into it."""
    labels = []
    for row, example in enumerate(chosen):
        for query, question in enumerate(QUESTIONS):
            told = encoder.answers[question][result.answers[question][row]]
            truth = getattr(example, question)
            mark = "\u2713" if told == truth else "\u2717 " + told
            labels.append(
                "{}: {} {}   gate {:.2f}".format(question, truth, mark, result.gate[row, query])
            )
    weights = result.attention.reshape(len(labels), -1)
    figure = plot.attention(
        weights,
        row_labels=labels,
        title="Two questions about held-out sentences, told (\u2713) or not (\u2717), and what "
        "each attends to; {} is the verb".format(GAP),
    )
    figure.legends[0].get_texts()[0].set_text("padding")
    axes = figure.axes[0]
    axes.set_title("", loc="left")
    axes.set_xticks([])
    for (row, place), weight in np.ndenumerate(weights):
        words = chosen[row // len(QUESTIONS)].words
        if place < len(words):
            color = "white" if weight > 0.3 else "#222222"
            text = words[place]
            axes.text(place, row, text, ha="center", va="center", fontsize=8, color=color)
    for row in range(0, len(labels), len(QUESTIONS)):
        axes.axhline(row - 0.5, color="white", linewidth=6)
    figure.set_size_inches(16, 1.2 + 0.3 * len(labels))
    figure.savefig(path, dpi=110)


def spread(numbers):
    """The mean, and the least and the most of several runs."""
    return "{:.1%} ({:.1%} to {:.1%})".format(np.mean(numbers), min(numbers), max(numbers))


def run(seed, examples, epochs, bar):
    """The accuracies of the peers and the Outcome of each net on a split, and what to draw."""
    split = help_topics.split(examples, seed)
    encoder = Encoder(examples, split.train)
    places = encoder(split.held_out)["places"]
    outcomes, pictured = {}, None
    for name, queries in NETS.items():
        net = Net(encoder, queries, seed)
        before = net.test(split.held_out)
        bar.set_description(name, refresh=False)
        for loss in net.train(split.train, epochs, seed):
            bar.set_postfix(loss="{:.3f}".format(loss), refresh=False)
            bar.update()
        after = net.test(split.held_out)
        outcomes[name] = Outcome(before, after, near_gap(after.attention, places))
        if name == EACH:
            chosen = to_picture(split.held_out)
            pictured = encoder, chosen, net.test(chosen)
    return peers(split), outcomes, pictured


def report(runs):
    """A table of what is told, and what differs between nets and between questions."""
    told = collections.defaultdict(list)
    for peer, outcomes in runs:
        for name, right in peer.items():
            told[name].append(right)
        for name in NETS:
            told[name + ", before training"].append(outcomes[name].before.right)
            told[name].append(outcomes[name].after.right)
    lines = [("",) + QUESTIONS]
    for name, rights in told.items():
        lines.append((name,) + tuple(spread([right[q] for right in rights]) for q in QUESTIONS))
    print(columns(lines))
    each, shared = ([outcomes[name] for _, outcomes in runs] for name in (EACH, SHARED))
    for question in QUESTIONS:
        gains = [a.after.right[question] - b.after.right[question] for a, b in zip(each, shared)]
        gain = spread(gains)
        print("More of the {} is told with an attention for each: {}.".format(question, gain))
    print(
        "The attentions to topic and verb differ by {:.2f} of at most 1; before training by "
        "{:.2f}.".format(
            np.mean([distance(outcome.after.attention) for outcome in each]),
            np.mean([distance(outcome.before.attention) for outcome in each]),
        )
    )
    for query, question in enumerate(QUESTIONS):
        gates = np.concatenate([outcome.after.gate[:, query] for outcome in each])
        print(
            "For the {} {:.0%} of the attention is to the gap and the words beside it; the gate is "
            "{:.2f}, with a standard deviation of {:.2f}.".format(
                question,
                np.mean([outcome.near[query] for outcome in each]),
                gates.mean(),
                gates.std(),
            )
        )
    print(
        "One attention for both gives them {:.0%}.".format(np.mean([o.near[0] for o in shared]))
    )


def parse_arguments(arguments):
    parser = Parser(__doc__)
    parser.add_output()
    parser.add_number("epochs", EPOCHS, "times over the sentences", 1)
    parser.add_number("runs", RUNS, "splits, with seeds from --seed on", 1)
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    # Nets this small gain nothing from threads.
    global_init("adaptive_attention", threads=1)
    examples = list(examples_of(help_topics.load()))
    split = help_topics.split(examples, options.seed)
    steps = options.epochs * -(-len(split.train) // BATCH_SIZE) * len(NETS) * options.runs
    picture, runs = os.path.join(options.output, "adaptive_attention.png"), []
    with tqdm(total=steps, unit="step") as bar:
        for number in range(options.runs):
            seed = (options.seed + number) % MAX_SEED
            peer, outcomes, pictured = run(seed, examples, options.epochs, bar)
            runs.append((peer, outcomes))
            if number == 0:
                draw(picture, *pictured)
    print(
        "{} sentences of Python's help, each without one of {}; {} are held out.".format(
            len(examples), ", ".join(VERBS), len(split.held_out)
        )
    )
    print("Told of those; mean of {} runs, and least to most:".format(options.runs))
    report(runs)
    print("Picture: {}".format(picture))


if __name__ == "__main__":
    main()
