"""python -m caffe2op_mask fuse."""

import os
import re

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core
from google.protobuf import text_format

import caffe2op_mask
from caffe2op_mask import __main__ as command_line
from caffe2op_mask.commands import fuse
from testers.commands import error, in_a_process, read, types


def test_in_a_process(net_path, tmp_path):
    fused = str(tmp_path / "fused.pb")
    result = in_a_process("fuse", net_path, fused, "--shape", "x=5,7")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "SequenceMask, Softmax -> 'y': fused into MaskedSoftmax",
        "Where, Softmax -> 'w': left alone, 'fill' is not a constant of the net",
        "1 fused, 1 left alone.",
    ]
    assert types(read(fused)) == ["MaskedSoftmax", "Where", "Softmax"]


def test_init_net(net_path, tmp_path, capsys):
    init = core.Net("init")
    init.ConstantFill([], "fill", shape=[5, 7], value=-1e9)
    init_path, fused = tmp_path / "init.pb", str(tmp_path / "fused.pb")
    init_path.write_bytes(init.Proto().SerializeToString())
    assert command_line.main(["fuse", net_path, fused, "--init", str(init_path)]) == 0
    assert types(read(fused)) == ["SequenceMask", "Softmax", "MaskedSoftmax"]
    out = capsys.readouterr().out
    assert "equal unless all that a row keeps is -999999896 or below" in out
    assert out.endswith("Shapes that are missing: --shape x=SIZE,..\n")


class TestFuseWithInputs(object):
    """fuse --feed: shapes are read off a run, and results proved."""

    @pytest.fixture
    def feed(self, tmp_path):
        np.save(str(tmp_path / "x.npy"), np.random.RandomState(1).randn(5, 7).astype("f"))
        return ["--feed", "x={}".format(tmp_path / "x.npy")]

    @pytest.fixture
    def half(self, tmp_path):
        """A net that fuse gets wrong for what is fed: all that its rows keep is as low as its fill."""
        net = core.Net("net")
        net.SequenceMask("x", "masked", mode="upper", axis=1, fill_val=-1e4)
        net.Softmax("masked", "y", axis=1)
        (tmp_path / "half.pb").write_bytes(net.Proto().SerializeToString())
        np.save(str(tmp_path / "low.npy"), np.full((4, 4), -2e4, "f"))
        return str(tmp_path / "half.pb"), ["--feed", "x={}".format(tmp_path / "low.npy")]

    def test_report(self, tmp_path, capsys):
        net, fused = core.Net("net"), str(tmp_path / "fused.pb")
        net.SequenceMask("x", "masked", mode="upper", axis=1)
        net.Softmax("masked", "y")
        (tmp_path / "net.pb").write_bytes(net.Proto().SerializeToString())
        np.save(str(tmp_path / "x.npy"), np.random.RandomState(1).randn(5, 7).astype("f"))
        arguments = ["fuse", str(tmp_path / "net.pb"), fused]
        assert command_line.main(arguments + ["--feed", "x={}".format(tmp_path / "x.npy")]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == [
            "SequenceMask, Softmax -> 'y': fused into MaskedSoftmax",
            "1 fused, 0 left alone.",
        ]
        assert re.match(
            r"Output 'y' differs by at most [\de.-]+, where its largest number is 1\.", lines[2]
        )
        assert re.match(r"[\d.e-]+ ms before, [\d.e-]+ ms after: [\d.]+ times as fast", lines[3])
        assert lines[4] == "2 operators before, 1 after."
        assert types(read(fused)) == ["MaskedSoftmax"]

    def test_a_difference_is_no_success(self, half, tmp_path, capsys):
        path, feed = half
        fused = str(tmp_path / "fused.pb")
        assert command_line.main(["fuse", path, fused] + feed) == 1
        out = capsys.readouterr().out
        assert "The net is left as it was, because of: SequenceMask, Softmax -> 'y': fused" in out
        assert not os.path.exists(fused)
        assert command_line.main(["fuse", path, fused, "--tolerance", "2"] + feed) == 0
        assert os.path.exists(fused)

    def test_several_sets(self, net_path, tmp_path, capsys):
        paths = []
        for i, shape in enumerate([(5, 7), (3, 4)]):
            for name, kind in (("x", "f"), ("z", "f"), ("keep", "?"), ("fill", "f")):
                paths.append(tmp_path / "{}{}.npy".format(name, i))
                np.save(str(paths[-1]), np.ones(shape, kind))
        sets = [
            ["--feed-set"] + ["{}={}".format(path.name[:-5], path) for path in some]
            for some in (paths[:4], paths[4:])
        ]
        assert command_line.main(["fuse", net_path, str(tmp_path / "f.pb")] + sum(sets, [])) == 0
        assert "fused into MaskedSoftmax" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "arguments, said",
        [
            (
                ["--shape", "x=5,7"],
                "--shape is for nets without --feed, which shapes are read off.",
            ),
            (["--tolerance", "-1"], "a tolerance is a number of at least 0 such as 1e-4, but this"),
            (
                ["--tolerance", "nan"],
                "a tolerance is a number of at least 0 such as 1e-4, but this",
            ),
            ([], "fuse: Where -> 'shown' reads 'keep', which is neither given nor written before."),
        ],
    )
    def test_errors(self, net_path, tmp_path, capsys, feed, arguments, said):
        out = str(tmp_path / "out.pb")
        assert said in error(capsys, "fuse", net_path, out, *(feed + arguments))
        assert not os.path.exists(out)


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
    assert fuse.shape("x=") == ("x", ())
    assert fuse.shape("x=2,3") == ("x", (2, 3))


@pytest.mark.parametrize(
    "arguments, said",
    [
        (
            ["--shape", "x=99999999999999999999,5"],
            "fuse: the shape of 'x' must be integers of at least 0 whose product is below 2^63, "
            "but is (99999999999999999999, 5).",
        ),
        (["--shape", "x=5,7", "--shape", "x=5,7"], "--shape must name a blob once, but names 'x' "),
    ],
)
def test_shapes_that_cannot_be(net_path, tmp_path, capsys, arguments, said):
    assert said in error(capsys, "fuse", net_path, str(tmp_path / "out.pb"), *arguments)


class TestShapesOfFuse(object):
    """The shapes that a caller of fuse() tells."""

    @pytest.mark.parametrize(
        "shape", [5, (2, -1), (2.5, 3), (2, None), "23", None, (2**62, 2), (0, 2**63)], ids=repr
    )
    def test_must_be_sizes(self, net, shape):
        with pytest.raises(ValueError) as raised:
            caffe2op_mask.fuse(net, shapes={"x": shape})
        assert str(raised.value) == (
            "fuse: the shape of 'x' must be integers of at least 0 whose product is below 2^63, "
            "but is {!r}.".format(shape)
        )

    @pytest.mark.parametrize("shapes", [[("x", (5, 7))], "x", 5, ()], ids=repr)
    def test_must_be_a_dict(self, net, shapes):
        with pytest.raises(TypeError) as raised:
            caffe2op_mask.fuse(net, shapes=shapes)
        assert str(raised.value) == (
            "fuse: shapes must be a dict from blobs to shapes, but is {!r}.".format(shapes)
        )

    @pytest.mark.parametrize(
        "shapes",
        [
            {"x": [5, 7]},
            {"x": np.array([5, 7], "int32")},
            {core.BlobReference("x"): (np.int64(5), 7)},
        ],
        ids=["list", "array", "reference"],
    )
    def test_may_be_of_other_types(self, net, shapes):
        assert len(caffe2op_mask.fuse(net, shapes=shapes).fused) == 1


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
