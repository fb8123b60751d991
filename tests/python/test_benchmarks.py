"""Benchmarks run, hold results against each other, and compare two runs as they say."""

import copy
import json
import os
import subprocess
import sys

import pytest
import torch

from testers import fresh_process

BENCHMARKS = os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "benchmarks"
)
sys.path.insert(0, BENCHMARKS)
import report  # noqa: E402: it lies there

TORCH = "torch " + torch.__version__.split("+")[0]


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, os.path.join(BENCHMARKS, program)] + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """One small case, measured in earnest: it checks that stock's output has the same bytes."""
    folder = str(tmp_path_factory.mktemp("bench"))
    result = run("bench.py", "--only", "one mask and a fill", "--rounds", "2", "--output", folder)
    assert result.returncode == 0, result.stderr
    assert sorted(os.listdir(folder)) == ["bench.json", "bench.md", "bench.png"]
    with open(os.path.join(folder, "bench.json")) as lines:
        return json.load(lines)


def test_a_case_is_measured_beside_peers(figures):
    (result,) = figures["results"]
    assert {"caffe2op_mask", "memcpy", "NumPy out[mask] = v"} <= set(result["ms"])
    assert all(ms > 0 for ms in result["ms"].values())
    assert figures["machine"]["target"] and figures["machine"]["compiler"]


@pytest.mark.parametrize("factor, status", [(1.1, 0), (1.5, 1)])
def test_compare_fails_when_a_case_got_slower(figures, tmp_path, factor, status):
    slower = copy.deepcopy(figures)
    slower["results"][0]["ms"]["caffe2op_mask"] *= factor
    paths = []
    for name, content in (("before", figures), ("after", slower)):
        paths.append(str(tmp_path / name))
        with open(paths[-1], "w") as out:
            json.dump(content, out)
    result = run("bench.py", "--compare", paths[0], paths[1], "--threshold", "1.2")
    assert result.returncode == status, result.stderr
    assert "{} of 1 cases slower by more than 20 %.".format(status) in result.stdout


@pytest.mark.parametrize("program", ["bench.py", "kept_share.py"])
def test_a_case_that_does_not_exist(program):
    result = run(program, "--only", "Abacus")
    assert result.returncode == 2
    assert "no case has 'Abacus' in its name" in result.stderr


@pytest.fixture(scope="module")
def backward():
    """For what runs torch backward, after which some torch ends its process with an error."""
    program = "import torch\ntorch.ones(1, requires_grad=True).sum().backward()"
    if fresh_process.run(program).code:
        pytest.skip("this torch dies on exit once it has run anything backward")


@pytest.mark.usefixtures("backward")
def test_targets_beside_what_was_measured(tmp_path):
    """Stock's chain of operators, gradients included, gives what training computes here."""
    result = run("bench.py", "--only", "causal training, 8x8x512x64", "--rounds", "1", "--output",
                 str(tmp_path))
    assert result.returncode == 0, result.stderr
    with open(str(tmp_path / "bench.json")) as lines:
        figures = json.load(lines)
    (measured,) = figures["results"]
    assert {"caffe2op_mask, no mask", "stock Caffe2", "NumPy products"} <= set(measured["ms"])
    assert "NumPy products" not in measured["peers"]
    (target,) = measured["targets"]
    assert target["of"].endswith("SDPA, is_causal")
    if target["of_ms"] is None:  # The runtime's torch has no SDPA.
        assert "| 1 x SDPA, is_causal |  | not measured |" in result.stdout


@pytest.mark.parametrize("name, peers", [
    ("GateGradient softmax, 4096x1024", {"NumPy gradients", TORCH + " backward"}),
    ("MixtureGate top 2 of 8, 4096x8x256",
     {"NumPy softmax, matmul", TORCH + " softmax, bmm"}),
    ("Gate hard_concrete training, 4096x1024",
     {"NumPy hard_concrete * x", TORCH + " hard_concrete * x"}),
])
def test_gates_beside_chains_of_stock_operators(name, peers, request):
    """Every output that a chain shares with ours is compared; what is drawn has other names."""
    if TORCH + " backward" in peers:
        request.getfixturevalue("backward")
    result = run("measure.py", name, "--rounds", "1")
    assert result.returncode == 0, result.stderr
    measured = json.loads(result.stdout.splitlines()[-1])
    assert set(measured["peers"]) == peers
    assert set(measured["ms"]) == {"caffe2op_mask", "stock Caffe2", "memcpy"} | peers


def test_stock_that_computes_something_else_is_told(monkeypatch):
    import cases
    import measure

    case = cases.find("GateGradient sigmoid of rows, 4096x1024")
    case.stock_inputs["G"] += 0.01
    monkeypatch.setattr(measure, "find", lambda name: case)
    with pytest.raises(SystemExit, match="stock and caffe2op_mask disagree on d_"):
        measure.measure("GateGradient sigmoid of rows, 4096x1024", 1)


@pytest.mark.parametrize("ours, verdict", [(11.9, "yes"), (12.1, "**no**")])
def test_whether_a_target_is_met(figures, ours, verdict):
    changed = copy.deepcopy(figures)
    (result,) = changed["results"]
    result["ms"]["caffe2op_mask"] = ours
    result["targets"] = [{"multiple": 1.1, "of": "memcpy", "allowance": 1.0, "of_ms": 10.0}]
    line = "| {} | 1.1 x memcpy + 1 ms = 12.00 ms | {:.2f} x = {:.2f} ms | {} |\n".format(
        result["case"], ours / 10, ours, verdict)
    assert line in report.markdown(changed)


def test_kept_share(tmp_path):
    result = run("kept_share.py", "--only", "causal forward, 5", "--rounds", "1", "--output",
                 str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "| causal forward, % kept | 5.02 | 50 |" in result.stdout
    assert sorted(os.listdir(str(tmp_path))) == ["kept_share.json", "kept_share.png"]


def test_small_operators():
    result = run("small.py", "--rounds", "1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n| ") == 9  # a rule, and one line for each of eight operators
