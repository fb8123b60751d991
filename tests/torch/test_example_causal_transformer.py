"""The program that trains a causal transformer beside SDPA."""

import re

import numpy as np
import pytest
import torch

import programs


@pytest.fixture
def program(monkeypatch):
    return programs.load("causal_transformer", monkeypatch)


def test_it_trains_and_draws(tmp_path):
    code, out, err = programs.run(
        "causal_transformer.py", "--steps", "3", "--output", str(tmp_path)
    )
    assert (code, err) == (0, "")
    bits = re.findall(r"(\d\.\d{4}) bits per character at first, (\d\.\d{4}) at last", out)
    assert len(bits) == 3
    for first, last in bits:
        assert float(last) < float(first) < 9
    assert re.search(r"Losses of the same step differ by \d\.\de[+-]\d\d bits at most\.", out)
    picture = (tmp_path / "causal_transformer.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000


def test_batches_are_padded_and_replay(program):
    one, other = program.Passages(3), program.Passages(3)
    for _ in range(3):
        ids, lengths = one.draw()
        again, of_again = other.draw()
        assert torch.equal(ids, again) and torch.equal(lengths, of_again)
        assert ids.shape == (program.BATCH_SIZE, lengths.max())
        places = torch.arange(ids.shape[1])
        assert torch.equal(ids != program.PADDING, places < lengths[:, None])
        assert lengths.unique().numel() > 1


def test_attentions_are_the_same_where_there_is_no_padding(program):
    lengths = torch.tensor([5, 9, 1])
    heads = [torch.randn(3, 9, 2, 8) for _ in range(3)]
    kept = torch.arange(9) < lengths[:, None]
    of_ours, *others = [
        attend(0, *heads)[kept] for attend in program.attentions(lengths, 9).values()
    ]
    for one in others:
        torch.testing.assert_close(one, of_ours)


def test_it_exits_where_losses_differ(program, monkeypatch, tmp_path):
    real = program.attentions

    def scaled(lengths, length):
        by_name = real(lengths, length)
        ours = by_name[program.OURS]
        by_name[program.OURS] = lambda layer, q, k, v: -50 * ours(layer, q, k, v)
        return by_name

    monkeypatch.setattr(program, "attentions", scaled)
    monkeypatch.setattr(program, "CONTEXT", 64)
    with pytest.raises(SystemExit, match=r"Losses differ by \d+\.\d{3} bits, more than 0\.02\."):
        program.main(["--steps", "2", "--output", str(tmp_path)])


def test_the_decoder_sees_no_later_token(program):
    ids = torch.randint(1, 20, (1, 9))
    model = program.Decoder(20, 16, 2, 1)
    attend = program.attentions(torch.tensor([9]), 9)[program.OURS]
    places = torch.arange(9)[None]
    logits = model(ids, places, attend)
    ids[:, 6:] = 3
    changed = model(ids, places, attend)
    assert np.allclose(logits[:, :6].tolist(), changed[:, :6].tolist(), atol=1e-6)
    assert not np.allclose(logits[:, 6:].tolist(), changed[:, 6:].tolist(), atol=1e-3)


def test_an_argument_out_of_bounds():
    code, _, err = programs.run("causal_transformer.py", "--steps", "0")
    assert code == 2 and err.endswith("error: --steps must be at least 1, but is 0.\n")
