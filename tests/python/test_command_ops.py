"""python -m caffe2op_mask ops."""

import os
import re

from caffe2op_mask import __main__ as command_line
from testers import ROOT
from testers.commands import error


def test_ops_lists_every_operator(capsys):
    command_line.main(["ops"])
    lines = capsys.readouterr().out.splitlines()
    assert "BooleanMask(data, mask) -> masked [, indices]" in lines
    with open(os.path.join(ROOT, "docs", "operators.md")) as file:
        signatures = re.findall(r"^`(\w+\(.*\) -> .*)`$", file.read(), re.M)
    assert lines == signatures


def test_ops_describes(capsys):
    command_line.main(["ops", "BooleanMaskLengths", "SequenceMask"])
    printed = capsys.readouterr().out
    first, second = printed.index("BooleanMaskLengths("), printed.index("SequenceMask(data")
    assert first < printed.index("Counts what a mask keeps of each segment") < second
    assert "\n  radius: int (default 10)" in printed and "\n  output: (Tensor)" in printed


def test_ops_that_are_not(capsys):
    told = error(capsys, "ops", "Conv")
    assert "'Conv' is no operator of this library; they are BernoulliMask, Boolean" in told
