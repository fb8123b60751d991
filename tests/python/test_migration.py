"""docs/migration.md, run: tables against the tests they name, commands, and expressions."""

import os
import re
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from caffe2.python import core, workspace
from testers import ROOT


def read(path):
    with open(os.path.join(ROOT, path)) as lines:
        return lines.read()


PAGE = read("docs/migration.md")


def section(title):
    (text,) = re.findall(r"^## {}\n(.*?)(?=^## |\Z)".format(title), PAGE, re.M | re.S)
    return text


def rows(text):
    """Cells of the tables in a text, without their heads."""
    lines = re.findall(r"^\| (.*) \|$", text, re.M)
    cells = [line.split(" | ") for line in lines]
    rules = [i for i, line in enumerate(cells) if line[0] == "---"]
    return [line for i, line in enumerate(cells) if i not in rules and i + 1 not in rules]


def test_what_is_said_of_stock_is_tested():
    named = set()
    for title in ("What it mends", "What is now an error, or read in another way"):
        for row in rows(section(title)):
            (name,) = re.findall(r"^`(test_\w+)`$", row[-1])
            named.add(name)
    tests = read("tests/python/test_stock_defects.py")
    assert named == set(re.findall(r"^def (test_\w+)", tests, re.M))


def test_every_stock_operator_has_a_row():
    names = {row[0] for row in rows(section("By operator"))}
    sources = read("registry/register.cc")
    assert names == set(re.findall(r"REGISTER_CPU_OPERATOR_WITH_ENGINE\((\w+), MASK", sources))


def test_operators_of_other_devices_are_left_alone():
    sources = read("registry/register.cc")
    registries = re.findall(r"(\w+)OperatorRegistry\(\)", sources)
    assert registries and set(registries) == {"CPU"}
    assert not re.findall(r"REGISTER_(?:CUDA|HIP)\w*|SetOpEnginePref", sources)


def save_a_net(folder):
    """A net as the page's commands take it."""
    init, net = core.Net("init"), core.Net("net")
    init.GivenTensorBoolFill([], ["mask"], shape=[3], values=[True, False, True])
    net.BooleanMask(["data", "mask"], ["kept"])
    for name, part in (("init", init), ("net", net)):
        (folder / (name + ".pb")).write_bytes(part.Proto().SerializeToString())
    np.save(str(folder / "data.npy"), np.arange(6, dtype=np.float32).reshape(3, 2))


def test_commands_compare_a_net(tmp_path):
    save_a_net(tmp_path)
    (commands,) = re.findall(r"```\n(.*?)```", section("Trying it safely"), re.S)
    assert commands.count("python -m caffe2op_mask run") == 2
    run = subprocess.run(
        ["bash", "-e", "-c", commands.replace("python -", sys.executable + " -")],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert np.load(str(tmp_path / "here.npy")).tolist() == [[0, 1], [4, 5]]


def scaled_dot_product_attention(q, k, v, attn_mask=None, is_causal=False):
    """As torch 2 documents it, in float64."""
    scores = np.einsum("bhqd,bhkd->bhqk", q.astype(float), k) / np.sqrt(q.shape[-1])
    if is_causal:
        attn_mask = np.tril(np.ones(scores.shape[-2:], bool))
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf)
    return np.einsum("bhqk,bhkd->bhqd", torch.softmax(torch.from_numpy(scores), -1).numpy(), v)


TABLE = [(row[0][1:-1], row[2][1:-1]) for row in rows(section("From torch, NumPy or ONNX"))]


@pytest.mark.parametrize("theirs, here", TABLE)
def test_both_sides_give_the_same(theirs, here):
    (arrays,) = re.findall(r"```python\n(.*?)```", section("From torch, NumPy or ONNX"), re.S)
    names = {"np": np, "torch": torch}
    exec(arrays, names)
    names["F"] = types.SimpleNamespace(scaled_dot_product_attention=scaled_dot_product_attention)
    names["net"] = core.Net("net")
    for name, value in names.items():
        if isinstance(value, np.ndarray):
            workspace.FeedBlob(name, value)
    eval(here, names)
    workspace.RunNetOnce(names["net"])
    found, expected = workspace.FetchBlob("out"), np.asarray(eval(theirs, names))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_true_hides_in_multihead_attention():
    attention = torch.nn.MultiheadAttention(4, 1)
    x = torch.ones(3, 1, 4)
    hides = torch.tensor([[False, False, True]])
    for options in ({"key_padding_mask": hides}, {"attn_mask": hides.expand(3, 3)}):
        _, weights = attention(x, x, x, **options)
        assert (weights[..., 2] == 0).all() and (weights[..., :2] > 0).all()
