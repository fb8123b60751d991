"""A mixture that finds tasks: what the example tells is true, and what its parts give."""

import re

import numpy as np
import pytest
from caffe2.python import model_helper, workspace

from testers.examples import NUMBER, check_picture, check_refusal, figures, run

import ink_net
import task_selection
from task_selection import CHOOSING, NETS, OTHER_DIGIT, SAME_DIGIT, TASKS, TOLD

RUNS = 2
HELD_OUT = 359
MIXTURES = (OTHER_DIGIT, SAME_DIGIT)


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    output = tmp_path_factory.mktemp("task-selection")
    options = ["--output", str(output), "--epochs", "15", "--runs", str(RUNS)]
    result = run("task_selection.py", *options)
    assert result.returncode == 0, result.stderr
    return output, result


@pytest.fixture(scope="module")
def data():
    return [task_selection.shown(digits, seed=4) for digits in ink_net.load(4)]


def shares(text, name):
    """The means in the line of a name: accuracy before and after, and those of the task."""
    line = re.search("^" + re.escape(name) + " {2,}(.*)$", text, re.M).group(1)
    return [float(mean) for mean in re.findall(NUMBER + r"% \(", line)]


def confusion(text, name):
    """The table of held-out digits by task and expert."""
    _, found, rest = text.partition(name + ": held-out digits")
    assert found
    lines = rest.split("\n")[2 : 2 + len(TASKS)]
    for line, task in zip(lines, TASKS):
        assert line.startswith(task + " ")
    return np.array([line.split()[-len(TASKS) :] for line in lines], dtype=int)


class TestProgram:
    def test_reads_digits(self, short_run):
        _, result = short_run
        (majority,) = shares(result.stdout, "majority guess")
        (untold,) = shares(result.stdout, "logistic regression")
        (told,) = shares(result.stdout, "logistic regressions, told the task")
        assert majority < 15 < untold < 40 < 90 < told
        for name in NETS:
            before, after = shares(result.stdout, name)[:2]
            assert before < 25 and after > 80

    def test_finds_tasks_by_another_digit(self, short_run):
        _, result = short_run
        chance = 100 / len(TASKS)
        before, found = shares(result.stdout, OTHER_DIGIT)[2:]
        assert chance <= before < 90 and found > 99
        for name in (SAME_DIGIT, CHOOSING):
            before, found = shares(result.stdout, name)[2:]
            assert found < 95
        assert len(shares(result.stdout, TOLD)) == 2

    def test_tables_count_every_digit(self, short_run):
        _, result = short_run
        for name in MIXTURES:
            table = confusion(result.stdout, name)
            assert sorted(table.sum(axis=1)) == [89, 90, 90, 90]
        table = confusion(result.stdout, OTHER_DIGIT)
        assert np.trace(table) >= 0.99 * HELD_OUT
        head = r"{} digits of 4 sources; {} are held out\.\nMean of {} runs"
        assert figures(result.stdout, head) == [1797, HELD_OUT, RUNS]

    def test_shows_progress_and_draws(self, short_run):
        output, result = short_run
        assert re.search(r"100%.* {}/{} ".format(RUNS * len(NETS), RUNS * len(NETS)), result.stderr)
        check_picture(output / "task_selection.png", result.stdout)

    @pytest.mark.parametrize("argument", ["--epochs=0", "--runs=0", "--seed=-1"])
    def test_refuses_arguments(self, argument, capsys):
        check_refusal(task_selection, argument, capsys)


class TestData:
    def test_each_digit_is_shown_by_its_source(self, data):
        undo = {
            "upright": lambda image: image,
            "turned": lambda image: image[::-1].T,
            "negative": lambda image: -image,
            "turned negative": lambda image: -image[::-1].T,
        }
        for digits, shown in zip(ink_net.load(4), data):
            for seen, original, task in zip(shown["pixels"], digits.images, shown["tasks"]):
                image = undo[TASKS[task]](seen.reshape(8, 8))
                np.testing.assert_allclose(image.ravel() + 0.5, original, atol=1e-6)

    def test_sources_are_as_large_and_tell_no_label(self, data):
        for shown in data:
            counts = np.bincount(shown["tasks"])
            assert len(counts) == len(TASKS) and np.ptp(counts) <= 1
            assert shown["pixels"].dtype == shown["other"].dtype == np.float32
        # Of each source about a tenth of the digits is of each label.
        train = data[0]
        table = np.zeros((len(TASKS), ink_net.DIGITS))
        np.add.at(table, (train["tasks"], train["labels"]), 1)
        assert (abs(table / table.sum(axis=1, keepdims=True) - 0.1) < 0.05).all()

    def test_the_other_digit_is_one_of_the_same_source(self, data):
        shown = data[1]
        place = {row.tobytes(): i for i, row in enumerate(shown["pixels"])}
        assert len(place) == HELD_OUT
        others = np.array([place[row.tobytes()] for row in shown["other"]])
        assert sorted(others) == list(range(HELD_OUT))
        assert (others != np.arange(HELD_OUT)).all()
        np.testing.assert_array_equal(shown["tasks"][others], shown["tasks"])
        # It has the label of the digit about as often as chance has it.
        assert np.mean(shown["labels"][others] == shown["labels"]) < 0.2


class TestNets:
    @pytest.mark.parametrize("name", sorted(NETS))
    def test_is_told_no_task(self, name):
        model = model_helper.ModelHelper("net")
        task_selection.add_net(model, name)
        told = set(map(str, model.net.external_inputs)) - set(map(str, model.params))
        read = {blob for op in model.net.Proto().op for blob in op.input}
        wanted = {"pixels", "labels"}
        if name != SAME_DIGIT and name != TOLD:
            wanted.add("other")
        if name == TOLD:
            wanted.add("tasks")
        assert told & read == told == wanted

    @pytest.mark.parametrize("name, context", zip(MIXTURES, ("other", "pixels")))
    def test_mixture_agrees_with_numpy(self, name, context, data):
        net = task_selection.Net(name, seed=2)
        batch = {blob: value[:50] for blob, value in data[1].items()}
        result = net.test(batch)

        def linear(blob, layer):
            weights, bias = workspace.FetchBlobs([layer + "_w", layer + "_b"])
            return batch[blob].astype(float) @ weights.T + bias

        scores = np.exp(linear(context, "mixture_logits"))
        gate = scores / scores.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(result.choice, gate, rtol=1e-4)
        logits = sum(
            gate[:, k : k + 1] * linear("pixels", "mixture_expert_{}".format(k)) for k in range(4)
        )
        np.testing.assert_allclose(workspace.FetchBlob("mixture"), logits, atol=1e-4)
        assert result.accuracy == np.mean(logits.argmax(axis=1) == batch["labels"])

    def test_a_told_gate_differs_by_task(self, data):
        net = task_selection.Net(TOLD, seed=2)
        batch = {blob: value[:50] for blob, value in data[1].items()}
        assert net.test(batch).choice is None
        gates = workspace.FetchBlob("gated_gate")
        table = workspace.FetchBlob("gated_tasks")
        np.testing.assert_allclose(gates, 1 / (1 + np.exp(-table[batch["tasks"]])), rtol=1e-5)
        assert len(np.unique(gates, axis=0)) == len(TASKS)


class FixedNet:
    """Chooses as it was told to."""

    def __init__(self, choices):
        self._choices = choices

    def test(self, data):
        choice = np.eye(len(TASKS))[self._choices[len(data["tasks"])]]
        return task_selection.Result(0.5, choice)


class TestMatching:
    def test_matches_the_largest_sum(self):
        tasks = np.repeat(range(4), 10)
        # What is chosen most for each alone would give 2 to two of them.
        chosen = np.repeat([2, 0, 2, 1, 3, 1, 3], [10, 4, 6, 9, 1, 3, 7])
        choice = np.eye(4)[chosen]
        assert task_selection.count(tasks, choice).tolist() == [
            [0, 0, 10, 0], [4, 0, 6, 0], [0, 9, 0, 1], [0, 3, 0, 7]
        ]
        assert task_selection.matched(tasks, choice).tolist() == [2, 0, 1, 3]

    def test_agreement_is_matched_on_what_was_trained_on(self):
        train = {"tasks": np.repeat(range(4), 2)}
        held_out = {"tasks": np.array([0, 1, 2, 3])}
        # Task t chooses 3 - t in training; held out, two of four do.
        net = FixedNet({8: np.repeat([3, 2, 1, 0], 2), 4: np.array([3, 2, 0, 1])})
        _, agreed, choice, table = task_selection.agreement(net, train, held_out)
        assert agreed == 0.5
        assert choice.argmax(axis=1).tolist() == [0, 1, 3, 2]
        assert table.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
