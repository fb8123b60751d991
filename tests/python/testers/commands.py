"""What tests of the commands share: nets and arrays in files, calls, and the sentence of an error."""

import subprocess
import sys

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core

from caffe2op_mask import __main__ as command_line
from testers.encoders import encoder, sentences


@pytest.fixture
def net():
    """A causal softmax, whose rank only a shape specifies, and one whose fill a net fills."""
    net = core.Net("net")
    net.SequenceMask("x", "masked", mode="upper", axis=1)
    net.Softmax("masked", "y")
    net.Where(["keep", "z", "fill"], "shown")
    net.Softmax("shown", "w", axis=-1)
    return net.Proto()


@pytest.fixture
def net_path(net, tmp_path):
    path = tmp_path / "net.pb"
    path.write_bytes(net.SerializeToString())
    return str(path)


def types(net):
    return [op.type for op in net.op]


def read(path):
    net = caffe2_pb2.NetDef()
    with open(path, "rb") as file:
        net.ParseFromString(file.read())
    return net


def error(capsys, *arguments):
    """The one sentence on stderr with which a call ends."""
    with pytest.raises(SystemExit) as ended:
        command_line.main(list(arguments))
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and err.startswith("python -m caffe2op_mask")
    return err


def in_a_process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "caffe2op_mask"] + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
        **options
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with the files that the examples of the commands name."""
    net, init = core.Net("net"), core.Net("init")
    net.SequenceMask(
        ["scores", "lengths"],
        "masked",
        mode="sequence+upper",
        axis=2,
        batch=0,
        lengths_of="batch",
    )
    net.Softmax("masked", "weights", axis=2)
    net.Copy("weights", "copy")
    init.GivenTensorIntFill([], "lengths", shape=[2], values=[5, 3])
    (tmp_path / "net.pb").write_bytes(net.Proto().SerializeToString())
    (tmp_path / "init.pb").write_bytes(init.Proto().SerializeToString())
    np.save(str(tmp_path / "x.npy"), np.zeros((2, 6, 6), "float32"))
    np.save(str(tmp_path / "short.npy"), np.zeros((2, 3, 3), "float32"))
    np.save(str(tmp_path / "weights.npy"), np.tril(np.ones((6, 6))) / np.arange(1, 7)[:, None])
    for name, proto in zip(("encoder.pb", "encoder_init.pb"), encoder(1, 16, 2)):
        (tmp_path / name).write_bytes(proto.SerializeToString())
    feeds = sentences(2, 5, 16, [3, 5])
    np.save(str(tmp_path / "sentences.npy"), feeds["x"])
    np.save(str(tmp_path / "lengths.npy"), feeds["lengths"])
    (tmp_path / "words.txt").write_text("the\ncat\nsat\non\na\nmat\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


FED = ["--init", "init.pb", "--feed", "scores=x.npy"]
