"""Two questions about a sentence: what the example tells is true, and what its parts give."""

import re

import numpy as np
import pytest
from caffe2.python import workspace

from testers.examples import NUMBER, check_picture, check_refusal, figures, run

import adaptive_attention
import gap_net
import help_topics
from help_topics import Sentence

EPOCHS = 6
SPREAD = r"{}% \({}% to {}%\)"


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    output = tmp_path_factory.mktemp("adaptive-attention")
    options = ["--output", str(output), "--epochs", str(EPOCHS), "--runs", "1"]
    result = run("adaptive_attention.py", *options)
    assert result.returncode == 0, result.stderr
    return output, result


@pytest.fixture(scope="module")
def examples():
    return list(gap_net.examples_of(help_topics.load()))


def table(text):
    """{name: (topic, verb)} of the means."""
    row = r"^(\S.*?) +" + SPREAD + " +" + SPREAD + "$"
    found = re.findall(row.replace("{}", NUMBER), text, re.M)
    return {match[0]: (float(match[1]), float(match[4])) for match in found}


class TestProgram:
    def test_learns_both_questions(self, short_run):
        _, result = short_run
        told = table(result.stdout)
        assert len(told) == 3 + 2 * len(adaptive_attention.NETS)
        majority = told["majority guess"]
        for name in adaptive_attention.NETS:
            before, after = told[name + ", before training"], told[name]
            assert after[0] > max(majority[0], before[0]) + 5
            # Any net may begin by the most frequent verb.
            assert after[1] > max(majority[1], before[1]) + 3
        words, placed = (
            told["logistic regression, " + name] for name in ("words", "words and places")
        )
        assert placed[1] > words[1] > majority[1] and words[0] > majority[0]

    def test_gains_are_those_of_the_table(self, short_run):
        _, result = short_run
        told = table(result.stdout)
        for number, question in enumerate(gap_net.QUESTIONS):
            each, shared = (told[name][number] for name in adaptive_attention.NETS)
            (gain,) = figures(
                result.stdout, "More of the {} is told with an attention for each: {{}}%".format(
                    question
                )
            )
            assert gain == pytest.approx(each - shared, abs=0.11)

    def test_attentions_come_to_differ(self, short_run):
        _, result = short_run
        after, before = figures(
            result.stdout, r"topic and verb differ by {} of at most 1; before training by {}\."
        )
        assert before < 0.1 < after < 1
        near = {
            question: figures(
                result.stdout,
                r"For the {} {{}}% of the attention .*; the gate is {{}}, with a standard "
                r"deviation of {{}}\.".format(question),
            )
            for question in gap_net.QUESTIONS
        }
        assert near["verb"][0] > 1.5 * near["topic"][0]
        for _, gate, deviation in near.values():
            assert 0 < gate < 1 and 0 < deviation < 0.5
        (both,) = figures(result.stdout, r"One attention for both gives them {}%\.")
        assert 0 < both < 100

    def test_shows_progress_and_draws(self, short_run):
        output, result = short_run
        assert re.search(r"one attention for both: 100%.*loss=", result.stderr)
        check_picture(output / "adaptive_attention.png", result.stdout)

    @pytest.mark.parametrize("argument", ["--epochs=0", "--runs=0", "--seed=-1"])
    def test_refuses_arguments(self, argument, capsys):
        check_refusal(adaptive_attention, argument, capsys)


class TestExamples:
    def test_the_first_verb_is_taken_out(self):
        text = "a value that is not set may be read and is none".split()
        (example,) = gap_net.examples_of(
            [
                Sentence("", ("nothing", "of", "this", "kind"), "types"),
                Sentence("", tuple(text), "raise"),
                Sentence("", ("it", "is") + ("so",) * gap_net.LONGEST, "types"),
            ]
        )
        assert example.verb == "is" and example.topic == "raise"
        assert example.words == tuple(text[:3]) + (gap_net.GAP,) + tuple(text[4:])
        assert example.places == (-3, -2, -1, 0, 1, 2, 3, 3, 3, 3, 3, 3)

    def test_of_the_help(self, examples):
        assert len(examples) > 1000
        assert {example.verb for example in examples} == set(gap_net.VERBS)
        for example in examples:
            assert example.words.count(gap_net.GAP) == 1
            gap = example.words.index(gap_net.GAP)
            assert example.places[gap] == 0
            assert not set(example.words[:gap]) & set(gap_net.VERBS)

    def test_encoder(self):
        examples = [
            gap_net.Example(("it", gap_net.GAP, "so"), (-1, 0, 1), "b", "is"),
            gap_net.Example((gap_net.GAP, "it"), (0, 1), "a", "may"),
        ]
        encoder = gap_net.Encoder(examples, examples[1:])
        batch = encoder(examples)
        assert encoder.size == 4
        gap, it = batch["words"][1, :2]
        assert {gap, it} == {2, 3}
        assert batch["words"].tolist() == [[it, gap, 1], [gap, it, 0]]
        assert batch["places"].tolist() == [[2, 3, 4], [3, 4, 0]]
        assert batch["lengths"].tolist() == [3, 2]
        assert batch["topic"].tolist() == [1, 0] and batch["verb"].tolist() == [0, 1]


class TestNet:
    @pytest.fixture(params=sorted(adaptive_attention.NETS.values()))
    def trained(self, request, examples):
        """A net of so many queries after two steps, and two sentences of different lengths."""
        chosen = examples[: 2 * gap_net.BATCH_SIZE]
        net = gap_net.Net(gap_net.Encoder(examples, chosen), request.param, seed=3)
        assert len(list(net.train(chosen, 1, seed=3))) == 2
        by_length = sorted(chosen, key=lambda example: len(example.words))
        return net, request.param, [by_length[0], by_length[-1]]

    def test_attention_is_what_the_net_attends_with(self, trained):
        net, queries, pair = trained
        net.test(pair)
        weights = workspace.FetchBlob("attention")
        longest = len(pair[1].words)
        assert weights.shape == (2, gap_net.HEADS // queries, queries, longest)
        np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
        assert not weights[0, ..., len(pair[0].words) :].any()
        name = "attend_attended_to_"
        np.testing.assert_allclose(
            workspace.FetchBlob(name + "attended"),
            weights @ workspace.FetchBlob(name + "values"),
            rtol=1e-4,
            atol=1e-5,
        )

    def test_gate_says_how_much_of_it_counts(self, trained):
        net, queries, pair = trained
        gate = net.test(pair).gate
        assert gate.shape == (2, queries) and (0 < gate).all() and (gate < 1).all()
        blobs = ["attend_attended_to", "attend_query", "attend_tasks", "attend"]
        attended, query, tasks, result = workspace.FetchBlobs(blobs)
        np.testing.assert_array_equal(query, [tasks, tasks])
        gate = gate[..., np.newaxis]
        np.testing.assert_allclose(result, gate * attended + (1 - gate) * query, atol=1e-5)

    def test_padding_has_no_part_in_it(self, trained):
        net, _, pair = trained
        padded = net.test(pair)
        alone = net.test(pair[:1])
        np.testing.assert_allclose(alone.gate[0], padded.gate[0], rtol=1e-4)
        length = len(pair[0].words)
        np.testing.assert_allclose(
            alone.attention[0], padded.attention[0, :, :length], rtol=1e-3, atol=1e-6
        )

    def test_right_is_the_share_of_right_answers(self, trained, examples):
        net, _, _ = trained
        chosen = examples[:50]
        result = net.test(chosen)
        for question in gap_net.QUESTIONS:
            names = sorted({getattr(example, question) for example in examples})
            told = [names[i] for i in result.answers[question]]
            truth = [getattr(example, question) for example in chosen]
            assert result.right[question] == np.mean([a == b for a, b in zip(told, truth)])


class TestMeasures:
    def test_distance(self):
        same = np.full((3, 2, 4), 0.25)
        apart = np.array([[[1, 0, 0], [0, 0, 1]]])
        half = np.array([[[0.5, 0.5, 0], [0, 0.5, 0.5]]])
        for attention, wanted in ((same, 0), (apart, 1), (half, 0.5)):
            assert adaptive_attention.distance(attention) == wanted
        assert adaptive_attention.distance(np.concatenate([apart, half])) == 0.75

    def test_near_gap(self):
        places = np.arange(-3, 4)[np.newaxis] + gap_net.FAR
        attention = np.array([[[0.4, 0, 0.1, 0.2, 0.3, 0, 0], [0.5, 0.5, 0, 0, 0, 0, 0]]])
        np.testing.assert_allclose(adaptive_attention.near_gap(attention, places), [0.6, 0])

    def test_by_place(self):
        example = gap_net.Example(("so", "it", gap_net.GAP), (-3, -1, 0), "a", "is")
        assert adaptive_attention.by_place(example) == [
            "so", "it", gap_net.GAP, "it at -1", gap_net.GAP + " at 0"
        ]
