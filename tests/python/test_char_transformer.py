"""The character transformer, shortened, and the measures that it is judged by."""

import re
import time

import numpy as np
import pytest
from caffe2.python import workspace

from testers.examples import EXAMPLES, check_picture, check_refusal, run

import char_net
import char_transformer

STEPS = 60
SAMPLE_LENGTH = 60


def run_with(settings, output, *arguments):
    """Runs the program as its reader would, but for settings that would take long."""
    script = output / "script.py"
    script.write_text(
        "import sys; sys.path.insert(0, {!r}); import char_transformer as c; c.SAMPLE_LENGTH = {}; "
        "{}; c.main()".format(EXAMPLES, SAMPLE_LENGTH, settings)
    )
    return run(str(script), "--output", str(output), *arguments)


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo-output")
    result = run_with("c.HELD_OUT = 0.02", output, "--steps", str(STEPS))
    assert result.returncode == 0, result.stderr
    return output, result


@pytest.fixture
def net():
    """A net of 20 characters that was trained for two steps, and 40 of them in two rows."""
    net = char_net.CharNet(20, steps=10, seed=3)
    ids = np.random.RandomState(1).randint(1, 20, size=(2, 41))
    assert len(list(net.train([ids, ids]))) == 2
    return net, ids


class TestProgram:
    def test_bits_fall_from_the_uniform_guess(self, short_run):
        _, result = short_run
        told = dict(re.findall(r"^  (\S.*?)  +([\d.]+)$", result.stdout, re.M))
        uniform, unigram, bigram, longest = (
            float(told[name]) for name in ("uniform guess", "unigram", "bigram", "5-gram")
        )
        assert uniform > unigram > bigram > longest > 1
        looks = [
            float(told["net after {:5} steps".format(step)])
            for step in (0, STEPS // 4, STEPS // 2, STEPS)
        ]
        assert looks[0] == uniform
        assert looks == sorted(looks, reverse=True)
        # A few steps are enough to know more than how frequent each character is.
        assert looks[-1] < unigram - 0.1

    def test_writes_samples(self, short_run):
        _, result = short_run
        samples = re.findall(r"^It writes, at temperature 0\.\d:\n(.*?)\n\n", result.stdout,
                             re.M | re.S)
        assert len(samples) == char_transformer.SAMPLES
        assert {len(sample) for sample in samples} == {SAMPLE_LENGTH}
        assert len(set(samples)) == len(samples)

    def test_writes_a_picture(self, short_run):
        output, result = short_run
        check_picture(output / "char_attention.png", result.stdout)

    def test_shows_progress_and_speed(self, short_run):
        _, result = short_run
        assert re.search(r"100%.*bits=", result.stderr)
        (speed,) = re.findall(r"^(\d+) characters a second in training\.$", result.stdout, re.M)
        assert int(speed) > 0

    def test_ends_when_time_is_up_or_a_full_run_misses(self, tmp_path):
        # One step counts as a full run, and no time as enough for it.
        settings = "c.HELD_OUT = 0.02; c.STEPS = 1"
        result = run_with(settings, tmp_path, "--steps=1", "--seconds=1e-9")
        assert result.returncode == 1
        assert "Time was up after 0 of 1 steps." in result.stdout
        assert re.match(
            r"The net reached 6\.\d\d bits, but a bigram is at 3\.\d\d\.$",
            result.stderr.strip().split("\n")[-1],
        )

    @pytest.mark.parametrize("argument", ["--steps=0", "--seconds=0.0", "--seed=-1"])
    def test_refuses_arguments(self, argument, capsys):
        check_refusal(char_transformer, argument, capsys)


class TestNet:
    def test_what_follows_has_no_part_in_it(self, net):
        net, ids = net
        before = net.predict(ids)
        assert before.shape == ids.shape + (20,)
        np.testing.assert_allclose(before.sum(axis=2), 1, rtol=1e-5)
        changed = ids.copy()
        changed[:, 25] = 20 - changed[:, 25]
        after = net.predict(changed)
        np.testing.assert_array_equal(after[:, :25], before[:, :25])
        assert np.abs(after - before)[:, 25:].max() > 1e-4

    def test_attention_is_what_the_net_attends_with(self, net):
        net, ids = net
        weights = net.attention(ids[0])
        assert weights.shape == (char_net.BLOCKS, char_net.HEADS, 41, 41)
        np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
        assert (weights[..., ~np.tri(41, dtype=bool)] == 0).all()
        for block in range(char_net.BLOCKS):
            name = "attend_{}".format(block)
            attended = weights[block] @ workspace.FetchBlob(name + "_values")[0]
            np.testing.assert_allclose(
                workspace.FetchBlob(name + "_attended")[0], attended, rtol=1e-4, atol=1e-5
            )

    def test_same_seed_same_training(self):
        ids = np.random.RandomState(1).randint(1, 20, size=(2, 17))

        def losses(seed):
            return list(char_net.CharNet(20, steps=10, seed=seed).train([ids] * 3))

        first = losses(1)
        assert first[0] == pytest.approx(np.log2(20), abs=1e-5)
        assert losses(1) == first
        assert losses(2) != first


class KnownNet:
    """Tells the next character by the one before it, as a table of chances has it."""

    def __init__(self, table):
        self._table = table

    def predict(self, ids):
        assert ids.shape[1] == char_transformer.CONTEXT
        return self._table[ids]


class TestMeasures:
    @pytest.mark.parametrize("length", [129, 130, 192, 193, 194, 500])
    def test_net_bits_counts_every_character_once(self, length):
        random = np.random.RandomState(0)
        table = random.rand(7, 7)
        table /= table.sum(axis=1, keepdims=True)
        ids = random.randint(7, size=length)
        wanted = -np.log2(table[ids[:-1], ids[1:]]).mean()
        assert char_transformer.net_bits(KnownNet(table), ids) == pytest.approx(wanted)

    def test_ngram_bits(self):
        def bits(held_out, length):
            return char_transformer.ngram_bits("abab", held_out, length, 4)

        prior = char_transformer.NGRAM_PRIOR
        a = (2 + prior / 4) / (4 + prior)
        assert bits("ba", 1) == pytest.approx(-np.log2(a))
        # Of the two b's of "abab" one has something behind it, an a.
        assert bits("ba", 2) == pytest.approx(-np.log2((1 + prior * a) / (1 + prior)))
        assert bits("xa", 2) == pytest.approx(-np.log2(a))

    @pytest.mark.parametrize("length", [1, 2, 3])
    def test_chances_of_an_ngram_add_up_to_1(self, length):
        chances = []
        for character in "abcd":
            text = "ca" + character
            bits = char_transformer.ngram_bits("abcabca", text, length, 4) * 2
            known = char_transformer.ngram_bits("abcabca", "ca", length, 4)
            chances.append(2.0 ** -(bits - known))
        assert sum(chances) == pytest.approx(1)

    def test_batches_end_with_time_or_steps(self):
        ids = np.arange(1000)
        drawn = list(char_transformer.batches(ids, 3, 1e9, seed=0))
        assert len(drawn) == 3
        for batch in drawn:
            assert batch.shape == (char_transformer.BATCH_SIZE, char_transformer.CONTEXT + 1)
            assert (np.diff(batch, axis=1) == 1).all()
        begin = time.time()
        assert 1 <= sum(1 for _ in char_transformer.batches(ids, 10 ** 9, 0.05, seed=0)) < 10 ** 9
        assert time.time() - begin < 5

    def test_alphabet(self):
        alphabet = char_transformer.Alphabet("banana\n")
        assert alphabet.encode("anb?").tolist() == [2, 4, 3, 0]
        assert alphabet.decode([2, 4, 3, 0]) == "anb\N{REPLACEMENT CHARACTER}"
        assert len(alphabet) == 5
