"""Benchmarks run, hold results against each other, and compare two runs as they say."""

import copy
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from testers import fresh_process

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BENCHMARKS = os.path.join(ROOT, "benchmarks")
sys.path.insert(0, BENCHMARKS)
import cases  # noqa: E402: these lie there
import measure  # noqa: E402
import report  # noqa: E402

SPECS = cases.CASES + cases.KEPT_SHARE
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
    before = copy.deepcopy(figures)
    for added in ("fields", "names"):  # Files of earlier versions have neither.
        del before["results"][0][added]
    for name, content in (("before", before), ("after", slower)):
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
    """Every result that a chain shares with ours is compared; what is drawn, in its mean."""
    if TORCH + " backward" in peers:
        request.getfixturevalue("backward")
    result = run("measure.py", name, "--rounds", "1")
    assert result.returncode == 0, result.stderr
    measured = json.loads(result.stdout.splitlines()[-1])
    assert set(measured["peers"]) == peers
    assert set(measured["ms"]) == {"caffe2op_mask", "stock Caffe2", "memcpy"} | peers


def test_names():
    """Each case has its own, and those in the page of results are among them."""
    names = [str(spec) for spec in SPECS]
    assert len(set(names)) == len(names)
    assert [str(cases.find(name)) for name in names] == names
    with open(os.path.join(ROOT, "docs", "benchmarks.md")) as lines:
        rows = re.findall(r"^\| ([^|]+?) \| [\d.]+ \| [\d.]+ x ", lines.read(), re.M)
    assert len(rows) > 50 and set(rows) <= set(names)


def small(spec):
    """The case with other sizes: a part of a chunk, a vector and a tile is left over."""
    shape = spec.fields["shape"]
    if len(shape) == 1:
        return spec.case(shape=(20000,))
    shape = tuple(min(dim, 3) for dim in shape[:-2]) + tuple(min(dim, 200) for dim in shape[-2:])
    return spec.case(shape=shape, **({"keys": 200} if "keys" in spec.fields else {}))


def altered(array, drawn):
    """In one entry; what is drawn in all."""
    if drawn:
        return np.zeros_like(array)
    array = array.copy()
    entry = array.flat[array.size // 2]
    array.flat[array.size // 2] = not entry if array.dtype == bool else (
        entry + 1 if np.isfinite(entry) else 0)
    return array


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_case_computes_what_others_do(spec):
    """Stock and peers, each run once; and a result that is wrong does not pass."""
    case = small(spec)
    ours, *others = [
        (contender, contender.results(contender.run())) for contender in measure.contenders(case)]
    assert any(theirs for _, theirs in others), "nothing to compare with"
    for contender, theirs in others:
        assert measure.disagreement(case, contender, ours[1], theirs) is None
        for result in set(ours[1]) & set(theirs):
            wrong = dict(ours[1], **{result: altered(ours[1][result], case.drawn)})
            assert measure.disagreement(case, contender, wrong, theirs) == result


@pytest.mark.usefixtures("backward")
@pytest.mark.parametrize("mask", ["", " causal"])
def test_sequences_beside_the_padded_batch(mask):
    """Which stock, our own operator and torch compute; of it the rows that are no padding agree."""
    case = small(cases.find("MaskedAttentionJagged{} training, 49 % kept, 8x8x512x64".format(mask)))
    rows = case.inputs["lengths"].sum()
    assert case.inputs["Q"].shape == (rows, 3, 64) and rows < case.stock_inputs["Q"].shape[2] * 3
    gradients = {"gradient of " + name for name in "QKV"}
    found = {one.name: one.results(one.run()) for one in measure.contenders(case)}
    assert set(found["caffe2op_mask"]) == {"O", "LSE"} | gradients
    assert set(found["caffe2op_mask, padded"]) == {"O", "LSE"} | gradients
    assert set(found["stock Caffe2"]) == {"O"} | gradients
    others = set(found) - {"caffe2op_mask", "caffe2op_mask, padded", "stock Caffe2"}
    assert "NumPy products of each sequence" in others and len(others) > 1
    assert {"O"} | gradients in [set(found[name]) for name in others]


def another_g(case):
    case.stock_inputs["G"] += 0.01


def another_width(case):
    case.ours[0].arguments["window_left"] -= 1


def another_length(case):
    case.stock_inputs["lengths"] = case.inputs["lengths"] - 1


def another_peer(case):
    case.peers["NumPy add.reduceat"] = lambda: np.zeros(case.inputs["lengths"].shape, np.int32)


@pytest.mark.parametrize("name, change, contender, result", [
    ("GateGradient sigmoid of rows, 4096x1024", another_g, "stock Caffe2", "d_X"),
    ("MaskedAttention window of 64, 1x8x2048x64", another_width, "stock Caffe2", "O"),
    ("MaskedAttentionJagged, 49 % kept, 8x8x512x64", another_length, "caffe2op_mask, padded", "O"),
    ("BooleanMaskLengths 16.7 M in segments of 16", another_peer, "NumPy add.reduceat", "out"),
])
def test_a_wrong_result_is_not_timed(monkeypatch, name, change, contender, result):
    spec = cases.find(name)
    case = small(spec)
    change(case)
    monkeypatch.setattr(spec, "case", lambda: case)
    sentence = "{}: {} and caffe2op_mask disagree on {}.".format(name, contender, result)
    with pytest.raises(SystemExit, match="^{}$".format(re.escape(sentence))):
        measure.measure(spec, 1)


def sdpa(q, k, v, attn_mask=None, is_causal=False):
    """By its definition in the documentation of torch, of which the runtime's is older."""
    scores = torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return torch.matmul(torch.softmax(scores, -1), v)


@pytest.mark.parametrize("name, expected", [
    ("MaskedAttention, 8x8x512x64", {"SDPA, no mask"}),
    ("MaskedAttention causal training, 8x8x512x64", {"SDPA, attn_mask", "SDPA, is_causal"}),
    ("MaskedAttention with a bias of keys training, 8x8x512x64", {"SDPA, attn_mask"}),
    ("MaskedAttention causal with sinks, 8x8x512x64", {"matmul, softmax, matmul"}),
])
def test_peers_of_a_torch_that_has_sdpa(monkeypatch, name, expected):
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", sdpa, raising=False)
    case = small(cases.find(name))
    found = measure.contenders(case)
    measure.check(name, case, found)
    compared = {one.name for one in found if one.version and one.results(one.run())}
    assert compared == expected


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


def test_small_operators(tmp_path):
    path = str(tmp_path / "small.json")
    result = run("small.py", "--rounds", "1", "--json", path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n| ") == 9  # a rule, and one line for each of eight operators
    with open(path) as lines:
        assert len(json.load(lines)) == 8


@pytest.mark.parametrize("arguments, stem, printed", [
    (["scale.py", "--largest", "22"], "scale", "\nBooleanUnmask, two masks: "),
    (["compact_or_mask.py", "--rounds", "1"], "compact_or_mask", "\n| discard, ms | "),
])
def test_sweeps(tmp_path, arguments, stem, printed):
    result = run(*arguments, "--output", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert printed in result.stdout
    assert sorted(os.listdir(str(tmp_path))) == [stem + ".json", stem + ".png"]


def test_a_case_that_no_name_names():
    result = run("measure.py", "Abacus")
    assert result.returncode == 2
    assert "no case is named 'Abacus'" in result.stderr
