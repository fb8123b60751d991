"""python -m caffe2op_mask bench."""

import re

import numpy as np
import pytest
from caffe2.python import workspace

from caffe2op_mask import __main__ as command_line
from caffe2op_mask.commands import bench
from testers.commands import error


def test_bench(capsys):
    assert command_line.main(["bench", "--seconds", "0.001"]) == 0
    machine, table, note = capsys.readouterr().out.split("\n\n")
    assert machine.startswith("caffe2op_mask ") and machine.count("\n") == 3
    head, *rows = table.splitlines()
    assert re.split(r"  +", head) == ["work", "stock ms", "here ms", "stock / here"]
    assert len(rows) == 6
    for row in rows:
        stock, here, ratio = (float(cell) for cell in re.split(r"  +", row)[1:])
        assert stock > 0 and here > 0 and ratio == pytest.approx(stock / here, rel=0.1, abs=0.1)
    assert "make bench" in note


def test_bench_compares_results():
    random = np.random.RandomState(1)
    upper, lower = ([("SequenceMask", ["x"], ["y"], {"mode": mode})] for mode in ("upper", "lower"))
    inputs = {"x": random.rand(3, 3).astype("float32")}
    assert min(bench._best(bench.Work("same", inputs, upper, upper), 0)) > 0
    with pytest.raises(SystemExit, match="other: the results of stock and of this library differ."):
        bench._best(bench.Work("other", inputs, upper, lower), 0)


def test_bench_is_of_two_engines():
    operators = [("SequenceMask", ["x"], ["y"], {"mode": "upper", "fill_val": 0.0})]
    inputs = {"x": np.zeros((2, 2), "int8")}  # which stock does not take
    workspace.FeedBlob("bench/x", inputs["x"])
    name, result = bench._net("a", operators, "MASK")
    workspace.RunNet(name)
    assert result == "a/y"
    with pytest.raises(RuntimeError):
        bench._best(bench.Work("int8", inputs, operators, operators), 0)


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan", "1e9"])
def test_bench_errors(seconds, capsys):
    sentence = error(capsys, "bench", "--seconds=" + seconds)
    assert "seconds must be above 0 and at most 3600, but this is '{}'".format(seconds) in sentence
