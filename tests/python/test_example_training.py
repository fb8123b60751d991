"""The examples that train, shortened: what they claim is true, printed and drawn."""

import re
import sys

import numpy as np
import pytest
from caffe2.python import workspace

from testers.examples import NUMBER, check_picture, check_refusal, figures, run

import data_parallel
import help_topics
import ink_net
import recurrent
import sparse_inputs


class TestSparseInputs:
    @pytest.fixture(scope="class")
    def short_run(self, tmp_path_factory):
        output = tmp_path_factory.mktemp("sparse-inputs")
        options = ["--output", str(output), "--epochs", "4", "--rounds", "5"]
        result = run("sparse_inputs.py", *options)
        assert result.returncode == 0, result.stderr
        return output, result

    def test_saves_time_and_changes_nothing(self, short_run):
        _, result = short_run
        row = r"\n +{}% +{} ms +{} ms +{}% +{} +{}".replace("{}", NUMBER)
        rows = [tuple(map(float, match)) for match in re.findall(row, result.stdout)]
        assert len(rows) == len(sparse_inputs.SHARES)
        for kept, dense, compact, saved, results, gradients in rows:
            assert max(results, gradients) < 1e-5
            assert saved == pytest.approx(100 * (1 - compact / dense), abs=2)
            # Three quarters of the work are left out, so this holds on a busy machine too.
            if kept <= 25:
                assert compact < 0.6 * dense

    def test_both_nets_learn_the_same(self, short_run):
        _, result = short_run
        (majority,) = figures(result.stdout, r"majority guess +{}%")
        (peer,) = figures(result.stdout, r"logistic regression, all pixels +{}%")
        assert majority < 20 < 90 < peer
        for name in sparse_inputs.NETS:
            before, after = figures(result.stdout, name + r" +{}% before training, {}% after")
            assert before < 30
            assert after > 2 * majority and after > before
        assert figures(result.stdout, r"differ by at most {} in")[0] < 1e-3

    def test_shows_progress_and_draws(self, short_run):
        output, result = short_run
        for label in ("timing",) + sparse_inputs.NETS:
            assert re.search(label + r": 100%", result.stderr)
        check_picture(output / "sparse_inputs.png", result.stdout)

    def test_layers_agree_with_numpy(self):
        """Neither net is the other's oracle."""
        digits = ink_net.load(seed=0).train
        chosen = ink_net.Digits(digits.images[:4], digits.labels[:4])
        kept = sparse_inputs.most_ink(chosen.images, 0.25)
        assert (kept.sum(axis=1) == 16).all()
        batch = ink_net.encode(chosen, kept)
        gradient = np.ones(kept.shape + (ink_net.WIDTH,), dtype=np.float32)
        for name in sparse_inputs.NETS:
            layers = sparse_inputs.PixelLayers(name, seed=0)
            layers.feed(batch, gradient)
            layers.run()
            features, (d_pixels, d_w, d_b) = layers.fetch()[0], layers.fetch()[1][:3]
            rows = batch["pixels"]
            for layer in ("hidden", "features"):
                w, b = (workspace.FetchBlob(layer + suffix) for suffix in ("_in_w", "_in_b"))
                rows = np.maximum(rows @ w.T + b, 0)
            np.testing.assert_allclose(features, rows * kept[..., np.newaxis], atol=1e-5)
            assert features[kept].any() and not features[~kept].any()
            assert not d_pixels[~kept].any() and d_pixels[kept].any()
            assert d_w.any() and d_b.any()


class TestRecurrent:
    @pytest.fixture(scope="class")
    def short_run(self, tmp_path_factory):
        output = tmp_path_factory.mktemp("recurrent")
        result = run("recurrent.py", "--output", str(output), "--epochs", "1")
        assert result.returncode == 0, result.stderr
        return output, result

    def test_padding_matters_only_without_masks(self, short_run):
        _, result = short_run
        pattern = r"LSTM {} +{{}}, {{}} before; .* at most {{}}, and {{}} of"
        masked = figures(result.stdout, pattern.format("with masks"))
        unmasked = figures(result.stdout, pattern.format("without masks"))
        for loss, before, _, _ in (masked, unmasked):
            assert loss < before
        assert masked[2] < 1e-4 and masked[3] == 0
        assert unmasked[2] > 0.01

    def test_learns(self, short_run):
        _, result = short_run
        (majority,) = figures(result.stdout, r"majority guess +{}%")
        after, before, alone = figures(
            result.stdout, r"LSTM with masks +{}%, {}% before .* s, and {}% where"
        )
        figures(result.stdout, r"bag of words, logistic regression +{}%")
        assert after > before
        # So short a run may get no further than the majority, and with what the help of Python 3.6
        # says not as far.
        assert after >= majority or sys.version_info < (3, 7)
        assert after == alone

    def test_shows_progress_and_draws(self, short_run):
        output, result = short_run
        assert re.search(r"with masks: 100%.*loss=", result.stderr)
        check_picture(output / "recurrent.png", result.stdout)

    def test_output_and_loss_are_masked(self):
        sentences = sorted(help_topics.load()[:200], key=lambda s: len(s.words))
        batch = [sentences[0], sentences[-1]]
        encoder = help_topics.Encoder(sentences)
        net = recurrent.Net(recurrent.WITH_MASKS, encoder.sizes, seed=0)
        topics, outputs, losses, whole, sum_of_places = net.run(
            "predict",
            encoder,
            batch,
            ["summary_real", "mean_place_loss_real", "sentence_loss", "mean_place_loss_total"],
        )
        length = len(batch[0].words)
        assert length < outputs.shape[1] == len(batch[1].words)
        for masked in (outputs, losses):
            assert masked[0, :length].all() and masked[1].all()
            assert not masked[0, length:].any()
        chances, by_place = (
            workspace.FetchBlob(blob) for blob in ("probabilities", "place_probabilities")
        )
        by_place = by_place.reshape(2, -1, by_place.shape[1])
        for i, sentence in enumerate(batch):
            real = -np.log(by_place[i, : len(sentence.words), topics[i]])
            assert sum_of_places[i] == pytest.approx(real.sum(), rel=1e-5)
            expected = -np.log(chances[i, topics[i]]) + recurrent.PLACE_LOSS * real.mean()
            assert whole[i] == pytest.approx(expected, rel=1e-5)


class TestDataParallel:
    def test_losses_of_one_and_of_two_processes_agree(self):
        result = run("data_parallel.py", "--epochs", "2")
        assert result.returncode == 0, result.stderr
        pattern = r"{} +{{}} {{}}\n"
        one = figures(result.stdout, pattern.format("one process"))
        two = figures(result.stdout, pattern.format("two processes"))
        assert one == pytest.approx(two, abs=1e-3)
        assert one[1] < one[0]
        assert figures(result.stdout, r"differ by at most {}\.")[0] < 1e-3
        # Both end with the same parameters.
        (majority,) = figures(result.stdout, r"majority guess +{}%")
        (first,) = figures(result.stdout, r"process 0 of 2 +{}%")
        (second,) = figures(result.stdout, r"process 1 of 2 +{}%")
        assert first == second > majority
        assert re.search(r"1 process: 100%.*loss=", result.stderr)
        assert re.search(r"2 processes: 100%.*loss=", result.stderr)

    def test_halves_of_a_batch_are_different(self):
        digits = ink_net.load(seed=0).train
        batch = next(ink_net.batches(digits, 64, epochs=1, seed=0))
        halves = []
        for rank in range(2):
            data_parallel.feed(batch, rank, 2)
            halves.append(workspace.FetchBlob("cpu_0/labels"))
        assert [len(half) for half in halves] == [32, 32]
        assert sorted(np.concatenate(halves)) == sorted(batch["labels"])
        assert not np.array_equal(*halves)

    @pytest.mark.parametrize(
        "step, said",
        [
            # Where they are connected, the other hears of it; which call does is chance.
            (5, r"[Cc]onnection|timeout|Timeout|Broken pipe"),
            # Where they have not met, it waits for as long as it was told.
            (0, r"[Ww]ait timeout|[Cc]onnect"),
        ],
    )
    def test_one_that_is_left_alone_ends_with_an_error(self, step, said):
        result = run("data_parallel.py", "--epochs", "2", "--kill", str(step), "--timeout", "3")
        assert result.returncode == 0, result.stderr
        seconds, status = figures(
            result.stdout,
            "was killed after step {}; {{}} s later process 0 ended with status {{}}:".format(step),
        )
        assert status == 1
        # The timeout, and the time that it takes to start.
        assert seconds < 3 + data_parallel.SLACK
        assert re.search("  Process 0 of 2: .*(" + said + ")", result.stdout)

    def test_refuses_the_runtime_s_own_masks(self):
        """Each process loads the library by itself, and says so where it may not use it."""
        result = run("data_parallel.py", "--epochs", "1", CAFFE2OP_MASK_OVERRIDE="0")
        assert result.returncode == 1
        assert result.stderr.strip().split("\n")[-1] == (
            "Process 0 of 1: Caffe2 prefers its own BooleanMask; is CAFFE2OP_MASK_OVERRIDE=0 in "
            "the environment?"
        )

    def test_kill_behind_the_end(self):
        result = run("data_parallel.py", "--epochs", "1", "--kill", "22")
        assert result.returncode == 1
        assert "--kill must be less than the 22 steps, but is 22." in result.stderr


@pytest.mark.parametrize("example", [sparse_inputs, recurrent, data_parallel])
@pytest.mark.parametrize("argument", ["--epochs=0", "--seed=-1", "--seed=4294967296"])
def test_refuses_arguments(example, argument, capsys):
    check_refusal(example, argument, capsys)


@pytest.mark.parametrize(
    "example, argument",
    [(sparse_inputs, "--rounds=0"), (data_parallel, "--timeout=0"), (data_parallel, "--kill=-1")],
)
def test_refuses_arguments_of_its_own(example, argument, capsys):
    with pytest.raises(SystemExit):
        example.parse_arguments([argument])
    name, value = argument.split("=")
    assert "{} must be at least".format(name) in capsys.readouterr().err
