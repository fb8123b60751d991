"""python -m caffe2op_mask pack."""

import os
import re

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core

from caffe2op_mask import __main__ as command_line
from caffe2op_mask.fuse import proof
from testers.commands import error, in_a_process, read, types
from testers.encoders import encoder, sentences


@pytest.fixture
def fed(tmp_path):
    """Paths of an encoder and of its init net, and --feed for what it reads."""
    net, init = encoder(1, 16, 2, pool=False)
    paths = []
    for name, proto in (("encoder.pb", net), ("encoder_init.pb", init)):
        (tmp_path / name).write_bytes(proto.SerializeToString())
        paths.append(str(tmp_path / name))
    feeds = []
    for blob, array in sentences(4, 9, 16, [9, 0, 3, 5]).items():
        np.save(str(tmp_path / (blob + ".npy")), array)
        feeds += ["--feed", "{}={}".format(blob, tmp_path / (blob + ".npy"))]
    return [paths[0], str(tmp_path / "packed.pb"), "--init", paths[1]] + feeds


@pytest.fixture
def faster(monkeypatch):
    monkeypatch.setattr(proof, "milliseconds", lambda *_: (2.0, 1.0, 1))


def test_report(fed, faster, capsys):
    assert command_line.main(["pack"] + fed + ["--padding", "zeros"]) == 0
    out = capsys.readouterr().out
    assert "FC, Add, LayerNorm, FC, Gelu, FC, Add, LayerNorm -> 'layer_0_2_norm': packed by" in out
    assert "'lengths_kept' keeps 17 of 36 rows.\n" in out
    assert "Rows of padding of 'layer_0_2_norm' are zeros now.\n" in out
    assert re.search(r"Output 'layer_0_2_norm' differs by at most [\de.-]+, where its largest", out)
    assert "2 ms before, 1 ms after: 2.00 times as fast (best of 1 runs).\n" in out
    assert "BooleanUnmask" in types(read(fed[1]))


def test_products_that_stay(fed, faster, capsys):
    assert command_line.main(["pack"] + fed) == 0
    out = capsys.readouterr().out
    assert "FC -> 'layer_0_outer': left alone, 'layer_0_2_norm' is an input or output of" in out


def test_nothing_to_gain(fed, monkeypatch, capsys):
    """OUT is the net as it was."""
    monkeypatch.setattr(proof, "milliseconds", lambda *_: (1.0, 2.0, 1))
    assert command_line.main(["pack"] + fed) == 0
    assert capsys.readouterr().out.endswith(
        "The net is left as it was: it is not faster on kept rows alone.\n"
    )
    assert read(fed[1]) == read(fed[0])


def test_in_a_process(fed):
    result = in_a_process("pack", *(fed + ["--padding", "zeros"]))
    assert result.returncode == 0, result.stderr
    assert re.search(r"^[\d.e-]+ ms before, [\d.e-]+ ms after", result.stdout, re.M)
    if "The net is left as it was: it is not faster" in result.stdout:  # on a busy machine
        assert types(read(fed[1])) == types(read(fed[0]))
    else:
        assert "BooleanMask" in types(read(fed[1]))


def test_several_sets(fed, faster, tmp_path, capsys):
    sets = []
    for i, (batch, rows) in enumerate([(2, 5), (3, 7)]):
        sets.append("--feed-set")
        for blob, array in sentences(batch, rows, 16, [2] * batch).items():
            path = tmp_path / "{}_{}.npy".format(blob, i)
            np.save(str(path), array)
            sets.append("{}={}".format(blob, path))
    assert command_line.main(["pack"] + fed[:4] + sets + ["--padding", "zeros"]) == 0
    assert "'lengths_kept' keeps 4 of 10 rows." in capsys.readouterr().out


def test_a_difference_is_no_success(tmp_path, capsys):
    net = core.Net("net")
    net.FC(["x", "w", "b"], "z", axis=2)
    net.Cast(net.ExpandDims("mask", "column", dims=[2]), "factors", to=core.DataType.FLOAT)
    net.Mul(["z", "factors"], "y")
    net.Proto().external_output.append("y")
    (tmp_path / "net.pb").write_bytes(net.Proto().SerializeToString())
    feeds = dict(
        x=np.full((2, 3, 4), np.inf, "f"), w=np.ones((4, 4), "f"), b=np.ones(4, "f"),
        mask=np.array([[True, False, False], [True, True, False]]),
    )
    arguments = ["pack", str(tmp_path / "net.pb"), str(tmp_path / "out.pb")]
    for blob, array in feeds.items():
        np.save(str(tmp_path / (blob + ".npy")), array)
        arguments += ["--feed", "{}={}".format(blob, tmp_path / (blob + ".npy"))]
    assert command_line.main(arguments) == 1
    assert "The net is left as it was: its results differ.\n" in capsys.readouterr().out
    assert not os.path.exists(str(tmp_path / "out.pb"))


def test_text_in_and_out(fed, faster, tmp_path):
    text = str(tmp_path / "packed.pbtxt")
    assert command_line.main(["pack", fed[0], text] + fed[2:] + ["--padding", "zeros"]) == 0
    with open(text) as file:
        assert "BooleanUnmask" in file.read()


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda fed: fed[:4], "--feed or --feed-set must have arrays for what the net reads."),
        (lambda fed: fed + ["--padding", "any"], "invalid choice: 'any'"),
        (lambda fed: fed + ["--tolerance", "nan"], "a tolerance is a number of at least 0 such as"),
        (lambda fed: fed[:6], "which is neither given nor written before."),
        (lambda fed: fed[:1], "the following arguments are required: OUT"),
    ],
    ids=["no feed", "padding", "tolerance", "a feed is missing", "no OUT"],
)
def test_errors(fed, capsys, change, said):
    assert said in error(capsys, "pack", *change(fed))
    assert not os.path.exists(fed[1])


def test_net_that_is_damaged(fed, tmp_path, capsys):
    net = caffe2_pb2.NetDef()
    net.op.add(type="Where", input=["a", "b"], output=["c"])
    (tmp_path / "encoder.pb").write_bytes(net.SerializeToString())
    sentence = error(capsys, "pack", *fed)
    assert "pack: Where of the net has 2 inputs, of which it takes 3." in sentence
