"""Runs programs of examples/ and reads what they print and draw."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from testers import ROOT

EXAMPLES = os.path.join(ROOT, "examples")
# Tests import the modules of the programs, too.
sys.path.insert(0, EXAMPLES)

NUMBER = r"(-?[\d.]+(?:e[-+]\d+)?)"


def run(name, *arguments, **environment):
    """Runs an example as its reader would; returns the finished process with what it printed."""
    return subprocess.run(
        [sys.executable, os.path.join(EXAMPLES, name)] + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env=dict(os.environ, **environment),
        timeout=300,
    )


def figures(text, pattern):
    """The numbers of the line that the pattern, with {} for a number, is in."""
    match = re.search(pattern.replace("{}", NUMBER), text)
    assert match, "{!r} is not in:\n{}".format(pattern, text)
    return [float(number) for number in match.groups()]


def check_picture(path, printed):
    """The picture that an example says it drew is there, and not empty."""
    from matplotlib import image

    assert "Picture: {}".format(path) in printed
    pixels = image.imread(str(path))
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def check_refusal(program, argument, capsys, bounds=".*"):
    """The program, a module, refuses ``--name=value``, in a sentence with both and the bounds."""
    with pytest.raises(SystemExit):
        program.parse_arguments([argument])
    name, value = argument.split("=")
    wanted = "{} must be {}, but is {}\\.".format(name, bounds, re.escape(value))
    assert re.search(wanted, capsys.readouterr().err)
