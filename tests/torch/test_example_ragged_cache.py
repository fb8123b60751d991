"""The program that decodes from a ragged cache."""

import re

import pytest
import torch

import programs


@pytest.fixture
def program(monkeypatch):
    program = programs.load("ragged_cache", monkeypatch)
    monkeypatch.setattr(program, "LONGEST", 40)
    monkeypatch.setattr(program, "SHORTEST", 3)
    return program


class Bar:
    """In place of a progress bar."""

    count = 0

    def update(self):
        self.count += 1


def test_it_writes_what_each_prompt_alone_is_answered_with():
    code, out, err = programs.run("ragged_cache.py", "--prompts", "2", "--tokens", "3")
    assert (code, err) == (0, "")
    assert out.startswith("2 prompts of 50 to 2000 tokens, 3 tokens written to each, ")
    assert re.findall(r"(\d+) of 6 tokens as alone", out) == ["6", "6", "6"]


def test_tokens_are_those_of_no_cache(program):
    """A whole sequence read again for each token writes the same."""
    torch.manual_seed(0)
    model = program.Decoder(
        program.BYTES, program.WIDTH, program.HEADS, program.LAYERS, program.KV_HEADS
    )
    prompts, bar = program.prompts_of(3), Bar()
    assert [len(one) for one in prompts] == [3, 21, 40]
    with torch.no_grad():
        for way in (program.Ragged(), program.Padded()):
            written, _, _ = program.decode(model, way, prompts, 4, bar)
            for prompt, tokens in zip(prompts, written):
                ids = prompt
                for token in tokens:
                    cache, logits = program.Padded().read(model, [ids], len(ids))
                    assert logits[0].argmax() == token
                    ids = torch.cat([ids, token[None]])
    assert bar.count == 8


def test_it_exits_where_tokens_differ(program, monkeypatch):
    monkeypatch.setattr(
        program.Ragged, "attend", lambda self, q, keys, values, lengths: torch.full_like(q, 9.0)
    )
    with pytest.raises(SystemExit, match="wrote other tokens than each prompt alone has"):
        program.main(["--prompts", "3", "--tokens", "8"])


def test_an_argument_out_of_bounds():
    code, _, err = programs.run("ragged_cache.py", "--prompts", "65")
    assert code == 2 and err.endswith("error: --prompts must be from 1 to 64, but is 65.\n")
