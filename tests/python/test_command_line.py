"""python -m caffe2op_mask: files in, files out, and errors of one sentence."""

import os
import subprocess
import sys

import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core
from google.protobuf import text_format

import caffe2op_mask
from caffe2op_mask import __main__ as command_line


@pytest.fixture
def net():
    """A causal softmax, whose rank nothing but a shape tells, and one whose fill a net fills."""
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


def test_in_a_process(net_path, tmp_path):
    fused = str(tmp_path / "fused.pb")
    result = subprocess.run(
        [sys.executable, "-m", "caffe2op_mask", "fuse", net_path, fused, "--shape", "x=5,7"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "SequenceMask, Softmax -> 'y': fused into MaskedSoftmax",
        "Where, Softmax -> 'w': left alone, 'fill' is not a constant of the net",
        "1 fused, 1 left alone.",
    ]
    assert types(read(fused)) == ["MaskedSoftmax", "Where", "Softmax"]


def test_an_error_in_a_process():
    result = subprocess.run(
        [sys.executable, "-m", "caffe2op_mask", "fuse", "no such file", "fused.pb"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    assert result.returncode == 2 and not result.stdout
    assert "no such file cannot be read: No such file or directory.\n" in result.stderr
    assert "Traceback" not in result.stderr


def test_init_net(net_path, tmp_path, capsys):
    init = core.Net("init")
    init.ConstantFill([], "fill", shape=[5, 7], value=-1e9)
    init_path, fused = tmp_path / "init.pb", str(tmp_path / "fused.pb")
    init_path.write_bytes(init.Proto().SerializeToString())
    assert command_line.main(["fuse", net_path, fused, "--init", str(init_path)]) == 0
    assert types(read(fused)) == ["SequenceMask", "Softmax", "MaskedSoftmax"]
    assert "equal unless all that a row keeps is below -1e+09" in capsys.readouterr().out


@pytest.mark.parametrize("ending", [".pbtxt", ".prototxt"])
def test_text_in_and_out(net, net_path, tmp_path, ending):
    text, again, fused = (str(tmp_path / name) for name in ("net" + ending, "b.pb", "f" + ending))
    with open(text, "w") as file:
        file.write(text_format.MessageToString(net))
    command_line.main(["fuse", text, again])
    assert read(again) == net
    command_line.main(["fuse", text, fused, "--shape", "x=5,7"])
    with open(fused) as file:
        assert types(text_format.Parse(file.read(), caffe2_pb2.NetDef())) == [
            "MaskedSoftmax",
            "Where",
            "Softmax",
        ]


def test_the_same_file_in_and_out(net_path):
    command_line.main(["fuse", net_path, net_path, "--shape", "x=5,7"])
    assert types(read(net_path)) == ["MaskedSoftmax", "Where", "Softmax"]


@pytest.mark.parametrize("argument", ["x", "=1", "x=a", "x=1,,2", "x=-1"])
def test_shape_that_is_none(net_path, capsys, argument):
    sentence = error(capsys, "fuse", net_path, "out.pb", "--shape", argument)
    assert "a shape is NAME=SIZE,SIZE,.. such as q=2,8,64,64, but this is " in sentence
    assert repr(argument) in sentence


def test_scalar_shape():
    assert command_line.shape("x=") == ("x", ())
    assert command_line.shape("x=2,3") == ("x", (2, 3))


def test_shape_of_no_blob(net_path, tmp_path, capsys):
    out = str(tmp_path / "out.pb")
    sentence = error(capsys, "fuse", net_path, out, "--shape", "q=2")
    assert "shapes names 'q', which is no blob of the net." in sentence
    assert not os.path.exists(out)


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("noise.pb", b"\xff\xff\xff", "is no NetDef: "),
        ("empty.pb", b"", "is no NetDef, or one without operators."),
        ("noise.pbtxt", b"op { nonsense: 1 }", "is no NetDef: "),
        ("bytes.pbtxt", b"\xff\xfe", "is no NetDef: "),
    ],
)
def test_file_that_is_no_net(name, content, said, net_path, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(content)
    assert said in error(capsys, "fuse", str(path), "out.pb")
    assert said in error(capsys, "fuse", net_path, "out.pb", "--init", str(path))


def test_files_that_cannot_be(net_path, tmp_path, capsys):
    sentence = error(capsys, "fuse", str(tmp_path), "out.pb")
    assert "cannot be read: Is a directory." in sentence
    sentence = error(capsys, "fuse", net_path, str(tmp_path / "no" / "out.pb"))
    assert "cannot be written: No such file or directory." in sentence


def test_net_that_could_not_run(tmp_path, capsys):
    path = tmp_path / "net.pb"
    net = caffe2_pb2.NetDef()
    net.op.add(type="Where", input=["a", "b"], output=["c"])
    path.write_bytes(net.SerializeToString())
    sentence = error(capsys, "fuse", str(path), "out.pb")
    assert "Where of the net has 2 inputs, of which it takes 3." in sentence


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "a command is missing; --help lists them."),
        (["polish"], "invalid choice: 'polish'"),
        (["fuse"], "the following arguments are required: IN, OUT"),
    ],
)
def test_arguments(arguments, said, capsys):
    assert said in error(capsys, *arguments)


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "caffe2op_mask {}\n".format(caffe2op_mask.__version__)


def test_help_names_every_command(capsys):
    for arguments in (["--help"], ["fuse", "--help"]):
        with pytest.raises(SystemExit) as ended:
            command_line.main(arguments)
        assert ended.value.code == 0
        assert "fuse" in capsys.readouterr().out
