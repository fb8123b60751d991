"""A mixture of experts finds which of four tasks a sample belongs to, which nobody tells it.

    python examples/task_selection.py [--output DIR] [--epochs N] [--runs N] [--seed N]

Scikit-learn's digits come from four sources, a quarter of them from each: one shows them as they
are, one turned, one in negative, one turned and in negative. To read a source's digits is a task.
In brew.mixture_of_experts four experts, each a single linear layer, share the digits by a gate. In
one net it reads the digit itself, in another some other digit of the same source, of which nothing
more is told. Nets are told the task where they are called so, and nowhere else; but that experts be
used alike, as the sources are alike in size, is part of the mixtures' loss.

Shown is how many held-out digits each net reads, before and after training and in several splits,
and how often the largest gate is that of the task, after experts were matched with tasks on the
digits trained on. A gate that reads the other digit finds the tasks. One that reads the digit
itself does not: it divides a task's digits by what they are, too, and the net reads almost as many.
Beside them are one expert with a hidden layer as wide as all four, which reads about as many and
needs no tasks; brew.task_gate on such a layer, told the task and choosing one itself, which does
not find it either; logistic regressions; and the majority guess.
"""

import collections
import os

import numpy as np
from caffe2.python import brew, model_helper, optimizer, workspace
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

import ink_net
from caffe2op_mask import global_init, plot
from caffe2op_mask.text import columns
from program import MAX_SEED, Parser, seed_nets

EPOCHS = 40
RUNS = 10
BATCH_SIZE = 64
LEARNING_RATE = 0.005
# How much the loss counts that some experts are used more than others. With 0 one may do two tasks.
BALANCE = 1.0

# What each source does to images [N, SIDE, SIDE].
SOURCES = {
    "upright": lambda images: images,
    "turned": lambda images: np.rot90(images, axes=(1, 2)),
    "negative": lambda images: 1 - images,
    "turned negative": lambda images: 1 - np.rot90(images, axes=(1, 2)),
}
TASKS = list(SOURCES)
# One output of each expert for each digit; the nets with one hidden layer have as many units.
HIDDEN = len(TASKS) * ink_net.DIGITS

OTHER_DIGIT = "4 experts, gate reads another digit"
SAME_DIGIT = "4 experts, gate reads the digit"
ONE_EXPERT = "1 expert of the same width"
TOLD = "task gate, told the task"
CHOOSING = "task gate, choosing"
# Each net with the blob by which it chooses among tasks, where it does.
NETS = {
    OTHER_DIGIT: "mixture_gate",
    SAME_DIGIT: "mixture_gate",
    ONE_EXPERT: None,
    TOLD: None,
    CHOOSING: "gated_choice",
}

# Of a net on some digits: the share that it reads, and what chooses, [N, tasks], or None.
Result = collections.namedtuple("Result", "accuracy choice")
# Of a net: held-out accuracy and agreement with the tasks before and after, and the last choice.
Outcome = collections.namedtuple("Outcome", "before after agreed_before agreed choice confusion")


def shown(digits, seed):
    """{blob: array} of the digits, each shown by one source, with another of that source."""
    random = np.random.RandomState(seed)
    tasks = random.permutation(len(digits.labels)) % len(TASKS)
    images = digits.images.reshape(-1, ink_net.SIDE, ink_net.SIDE)
    seen = np.empty_like(images)
    others = np.empty(len(tasks), dtype=int)
    for task, show in enumerate(SOURCES.values()):
        (own,) = np.nonzero(tasks == task)
        seen[own] = show(images[own])
        # In a ring of random order, each has the next.
        ring = random.permutation(own)
        others[ring] = np.roll(ring, 1)
    pixels = seen.reshape(len(tasks), -1) - np.float32(0.5)
    return {
        "pixels": pixels,
        "other": pixels[others],
        "labels": digits.labels,
        "tasks": tasks.astype(np.int32),
    }


def add_mixture(model, context):
    """One linear layer an expert; what the gate reads is the context."""
    return brew.mixture_of_experts(
        model,
        ["pixels", context],
        "mixture",
        dim_in=ink_net.PIXELS,
        dim_out=ink_net.DIGITS,
        num_experts=len(TASKS),
        balance=True,
    )


def add_hidden_net(model, gate):
    """A layer of HIDDEN, which all but the one that is told the task make of both digits."""
    blob, width = "pixels", ink_net.PIXELS
    if gate != TOLD:
        blob, _ = model.net.Concat(["pixels", "other"], ["both", "both_split"], axis=1)
        width = 2 * ink_net.PIXELS
    hidden = brew.fc(model, blob, "hidden_in", dim_in=width, dim_out=HIDDEN)
    hidden = brew.relu(model, hidden, "hidden")
    if gate is not None:
        task = "tasks" if gate == TOLD else None
        hidden = brew.task_gate(model, hidden, "gated", HIDDEN, len(TASKS), task=task)
    return brew.fc(model, hidden, "logits", dim_in=HIDDEN, dim_out=ink_net.DIGITS)


def add_net(model, name):
    """Adds what leads from `pixels`, `other` and, where it is told, `tasks` to `loss`."""
    if name in (OTHER_DIGIT, SAME_DIGIT):
        logits = add_mixture(model, "other" if name == OTHER_DIGIT else "pixels")
    else:
        logits = add_hidden_net(model, None if name == ONE_EXPERT else name)
    _, loss = model.net.SoftmaxWithLoss([logits, "labels"], ["probabilities", "reading_loss"])
    if logits == "mixture":
        balance = model.net.Scale("mixture_balance", "balance_loss", scale=BALANCE)
        loss = model.net.Add([loss, balance], "loss")
    return loss


def feed(batch, rows=slice(None)):
    for blob, value in batch.items():
        workspace.FeedBlob(blob, np.ascontiguousarray(value[rows]))


class Net:
    """A net with its parameters, in a workspace that it takes for itself."""

    def __init__(self, name, seed):
        workspace.ResetWorkspace()
        train = model_helper.ModelHelper("train")
        train.AddGradientOperators([add_net(train, name)])
        optimizer.build_adam(train, LEARNING_RATE)
        seed_nets(seed, train.param_init_net, train.net)
        predict = model_helper.ModelHelper("predict", init_params=False)
        add_net(predict, name)
        self._choice, self._train, self._predict = NETS[name], train.net, predict.net
        workspace.RunNetOnce(train.param_init_net)

    def train(self, data, epochs, seed):
        """All digits once an epoch, in another order each time, as whole batches."""
        random, count = np.random.RandomState(seed), len(data["labels"])
        feed(data)
        workspace.CreateNet(self._train)
        for _ in range(epochs):
            order = random.permutation(count)
            for begin in range(0, count - BATCH_SIZE + 1, BATCH_SIZE):
                feed(data, order[begin : begin + BATCH_SIZE])
                workspace.RunNet(self._train.Name())

    def test(self, data):
        feed(data)
        workspace.RunNetOnce(self._predict)
        told = workspace.FetchBlob("probabilities").argmax(axis=1)
        choice = self._choice and workspace.FetchBlob(self._choice)
        return Result(np.mean(told == data["labels"]), choice)


def count(tasks, choice):
    """How often each was chosen most in each of the tasks: [tasks, chosen]."""
    table = np.zeros((len(TASKS), choice.shape[1]), dtype=int)
    np.add.at(table, (tasks, choice.argmax(axis=1)), 1)
    return table


def matched(tasks, choice):
    """For each task one of those chosen from, no two the same, so that most choices are right."""
    return linear_sum_assignment(count(tasks, choice), maximize=True)[1]


def agreement(net, train, held_out):
    """The held-out Result, how many choices are right, those choices in order of tasks, a table."""
    result = net.test(held_out)
    if result.choice is None:
        return result, None, None, None
    # Experts have no names: which is whose is read off the digits trained on.
    choice = result.choice[:, matched(train["tasks"], net.test(train).choice)]
    table = count(held_out["tasks"], choice)
    return result, np.trace(table) / table.sum(), choice, table


def run_net(name, train, held_out, epochs, seed):
    net = Net(name, seed)
    before, agreed_before, _, _ = agreement(net, train, held_out)
    net.train(train, epochs, seed)
    after, agreed, choice, table = agreement(net, train, held_out)
    return Outcome(before.accuracy, after.accuracy, agreed_before, agreed, choice, table)


def regressions(train, held_out):
    """Accuracy of one logistic regression for all digits, and of one for each task, told it."""

    def right(rows, others):
        model = LogisticRegression(max_iter=1000).fit(train["pixels"][rows], train["labels"][rows])
        return model.predict(held_out["pixels"][others]) == held_out["labels"][others]

    told = [right(train["tasks"] == t, held_out["tasks"] == t) for t in range(len(TASKS))]
    return right(slice(None), slice(None)).mean(), np.concatenate(told).mean()


def draw(path, outcomes, held_out):
    """Writes a PNG of both mixtures' gates, by held-out digit in order of task and label."""
    tasks = held_out["tasks"]
    order = np.lexsort([held_out["labels"], tasks])
    gates = np.stack([outcomes[name].choice[order].T for name in (OTHER_DIGIT, SAME_DIGIT)])
    figure = plot.gate(
        gates,
        row_labels=["expert {}".format(number + 1) for number in range(len(TASKS))],
        title="Which of 4 experts reads a held-out digit; digits by task, each task's from 0 to 9",
    )
    # No gate is shut, which is what the legend would tell of.
    figure.legends[0].remove()
    figure.set_size_inches(13, 3.6)
    begins = np.searchsorted(tasks[order], np.arange(len(TASKS) + 1))
    for axes, name in zip(figure.axes, ("another digit of the source", "the digit itself")):
        axes.set_title("the gate reads {}".format(name), loc="left", fontsize=10)
        axes.vlines(begins[1:-1] - 0.5, -0.5, len(TASKS) - 0.5, colors="black", linewidth=1.5)
        axes.set_xticks((begins[:-1] + begins[1:] - 1) / 2)
        axes.set_xticklabels(TASKS, fontsize=9)
    figure.savefig(path, dpi=110)


def spread(numbers):
    """The mean, and the least and the most of several runs."""
    if numbers[0] is None:
        return ""
    return "{:.1%} ({:.1%} to {:.1%})".format(np.mean(numbers), min(numbers), max(numbers))


def report(outcomes, guesses):
    """Tables of all runs, and what the mixtures of the first run chose."""
    lines = [("", "read before training", "read after", "task found before", "task found after")]
    for name, accuracies in guesses.items():
        lines.append((name, "", spread(accuracies), "", ""))
    for name in NETS:
        own = [run[name] for run in outcomes]
        lines.append((name,) + tuple(spread([o[i] for o in own]) for i in range(4)))
    print(columns(lines))
    for name in (OTHER_DIGIT, SAME_DIGIT):
        print("{}: held-out digits of the first run by task and largest gate".format(name))
        head = [""] + ["expert {}".format(number + 1) for number in range(len(TASKS))]
        rows = [[task] + list(map(str, row)) for task, row in zip(TASKS, outcomes[0][name][-1])]
        print(columns([head] + rows))


def parse_arguments(arguments):
    parser = Parser(__doc__)
    parser.add_output()
    parser.add_number("epochs", EPOCHS, "times over the digits", 1)
    parser.add_number("runs", RUNS, "with seeds from --seed on", 1)
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    # Nets this small gain nothing from threads.
    global_init("task_selection", threads=1)
    guesses = collections.defaultdict(list)
    outcomes, pictured = [], None
    with tqdm(total=options.runs * len(NETS), unit="net") as bar:
        for run in range(options.runs):
            seed = (options.seed + run) % MAX_SEED
            train, held_out = (shown(digits, seed) for digits in ink_net.load(seed))
            majority = np.bincount(train["labels"]).argmax()
            untold, told = regressions(train, held_out)
            guesses["majority guess"].append(np.mean(held_out["labels"] == majority))
            guesses["logistic regression"].append(untold)
            guesses["logistic regressions, told the task"].append(told)
            outcomes.append({})
            for name in NETS:
                bar.set_description(name, refresh=False)
                outcomes[-1][name] = run_net(name, train, held_out, options.epochs, seed)
                bar.update()
            pictured = pictured or held_out
    total, tested = len(train["labels"]) + len(held_out["labels"]), len(held_out["labels"])
    print("{} digits of {} sources; {} are held out.".format(total, len(TASKS), tested))
    print("Mean of {} runs, and least to most:".format(options.runs))
    report(outcomes, guesses)
    picture = os.path.join(options.output, "task_selection.png")
    draw(picture, outcomes[0], pictured)
    print("Picture: {}".format(picture))


if __name__ == "__main__":
    main()
