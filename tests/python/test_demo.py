"""The main job, shortened: what it prints, what it writes, and when it ends with an error."""

import re

import numpy as np
import pytest

from testers.examples import EXAMPLES, check_picture, check_refusal, figures, run

import demo
import help_topics
import topic_net

EPOCHS = 4


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo-output")
    result = run("demo.py", "--output", str(output), "--epochs", str(EPOCHS))
    assert result.returncode == 0, result.stderr
    return output, result


def test_prints_accuracy_beside_peers(short_run):
    _, result = short_run
    (majority,) = figures(result.stdout, r"majority guess +{}%")
    (bag_of_words,) = figures(result.stdout, r"bag of words, logistic regression +{}%")
    (masked,) = figures(result.stdout, r"net with masks +{}%")
    figures(result.stdout, r"net without masks +{}%")
    assert 0 < majority < bag_of_words < 100
    # Four epochs of twelve are enough to have learnt.
    assert masked >= 1.5 * majority


def test_padding_matters_only_without_masks(short_run):
    _, result = short_run
    shares = re.findall(r"padding got ([\d.]+)% of its attention, and changed (\d+)", result.stdout)
    (open_share, _), (masked_share, masked_changes) = shares
    assert float(open_share) > 0
    assert (float(masked_share), int(masked_changes)) == (0, 0)


def test_shows_progress(short_run):
    _, result = short_run
    assert re.search(r"with masks: 100%.*loss=", result.stderr)


def test_writes_nets_that_run_on_their_own(short_run):
    output, result = short_run
    sentences = help_topics.load()
    split = help_topics.split(sentences, seed=0)
    encoder = help_topics.Encoder(split.train)
    for folder, name in (("with_masks", "with masks"), ("without_masks", "without masks")):
        net = topic_net.SavedNet(str(output / folder))
        assert net.path("{train_init,train,init,predict}") in result.stdout
        again = demo.evaluate(net, encoder, split.held_out)
        (printed,) = figures(result.stdout, r"net " + name + r" +{}%")
        assert 100 * again.accuracy == pytest.approx(printed, abs=0.051)


def test_train_net_has_masks_and_their_gradients(short_run):
    output, _ = short_run
    masked = topic_net.SavedNet(str(output / "with_masks")).read("train")
    unmasked = topic_net.SavedNet(str(output / "without_masks")).read("train")
    assert dict(topic_net.count_mask_ops(masked)) == {
        "BooleanMask": 1,
        "BooleanMaskGradient": 1,
        "BooleanMaskLengths": 1,
        "BooleanUnmask": 2,
        "BooleanUnmaskGradient": 2,
        "SequenceMask": 2,
    }
    assert not topic_net.count_mask_ops(unmasked)
    assert {"SparseAdam", "Adam"} <= {op.type for op in masked.op}


def test_writes_picture(short_run):
    output, result = short_run
    check_picture(output / "masks.png", result.stdout)


def test_same_seed_same_training(tmp_path):
    split = help_topics.split(help_topics.load(), seed=1)
    encoder = help_topics.Encoder(split.train)

    def losses(seed):
        net = topic_net.SavedNet.build(str(tmp_path), encoder.sizes, masks=True, seed=seed)
        return list(net.train(demo.training_batches(encoder, split.train[:256], 2, seed)))

    first = losses(1)
    assert len(first) == 8
    assert losses(1) == first
    assert losses(2) != first


def test_refuses_the_runtime_s_own_masks(tmp_path):
    options = ["--output", str(tmp_path), "--epochs", "1"]
    result = run("demo.py", *options, CAFFE2OP_MASK_OVERRIDE="0")
    assert result.returncode != 0
    assert result.stderr.strip().split("\n")[-1] == (
        "Caffe2 prefers its own BooleanMask; is CAFFE2OP_MASK_OVERRIDE=0 in the environment?"
    )
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "accuracy, majority, bag_of_words, said",
    [
        (0.60, 0.20, 0.59, None),
        (0.40, 0.20, 0.43, None),
        (0.39, 0.20, 0.30, "twice the majority guess is 40.0%"),
        (0.55, 0.20, 0.59, "more than 3 points below the bag of words"),
    ],
)
def test_target(accuracy, majority, bag_of_words, said):
    sentence = demo.target_missed(accuracy, majority, bag_of_words)
    assert sentence is None if said is None else said in sentence


def test_full_run_that_misses_ends_with_an_error(tmp_path):
    # One epoch counts as a full run, and the other model as almost perfect.
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.path.insert(0, {!r}); import demo; demo.EPOCHS = 1; "
        "demo.bag_of_words_accuracy = lambda split: 0.99; demo.main()".format(EXAMPLES)
    )
    result = run(str(script), "--output", str(tmp_path), "--epochs", "1")
    assert result.returncode == 1
    assert re.match(r"The net reached .*\.$", result.stderr.strip().split("\n")[-1])
    assert "Picture: " in result.stdout


@pytest.mark.parametrize("argument", ["--epochs=0", "--seed=-1", "--seed=4294967296"])
def test_refuses_arguments(argument, capsys):
    check_refusal(demo, argument, capsys)


class TestHelpTopics:
    def test_sentences_of(self):
        text = (
            "The statement\n*************\n\n"
            '   rule ::= "a"\n\n'
            "It is executed like this (see below).  A clause\nfollows it, e.g. a suite:\n\n"
            "   x = f(1, 2)[3]\n\n"
            "Terms\n   These have a meaning below them.\n\n"
            "1. The first of *n* steps is this.\n\n"
            "Note:\n\n  Too short."
        )
        assert help_topics.sentences_of(text) == [
            "It is executed like this (see below).",
            "A clause follows it, e.g. a suite:",
            "These have a meaning below them.",
            "The first of *n* steps is this.",
        ]

    def test_load(self):
        sentences = help_topics.load()
        assert len(sentences) > 1500
        assert len({sentence.words for sentence in sentences}) == len(sentences)
        topics = [sentence.topic for sentence in sentences]
        assert all(topics.count(topic) >= help_topics.MIN_SENTENCES for topic in set(topics))

    def test_split_shares_nothing(self):
        sentences = help_topics.load()
        train, held_out = help_topics.split(sentences, seed=3)
        assert len(held_out) == len(sentences) // 5
        assert sorted(train + held_out) == sorted(sentences)
        assert not {s.words for s in train} & {s.words for s in held_out}
        assert help_topics.split(sentences, seed=4).train != train

    def test_encoder_knows_the_training_part_alone(self):
        def sentence(*words):
            return help_topics.Sentence(" ".join(words), words, "topic")

        encoder = help_topics.Encoder([sentence("a", "b"), sentence("a", "b", "c")])
        batch = encoder([sentence("a"), sentence("b", "d", "c"), sentence("a", "b", "c")])
        assert batch["words"].tolist() == [[2, 0, 0], [3, 1, 4], [2, 3, 4]]
        assert batch["words"].dtype == np.int64
        # Only ("a", "b") was seen twice.
        assert batch["pairs"].tolist() == [[1, 0, 0], [1, 1, 1], [2, 1, 1]]
        assert batch["topics"].tolist() == [0, 0, 0]
