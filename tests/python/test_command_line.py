"""python -m caffe2op_mask: files in, files out, and errors of one sentence."""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace
from google.protobuf import text_format

import caffe2op_mask
from caffe2op_mask import __main__ as command_line
from caffe2op_mask import plot
from caffe2op_mask.commands import bench, files, fuse, nets, show
from runtime_facts import own_words

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


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


def in_a_process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "caffe2op_mask"] + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
        **options
    )


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


@pytest.mark.parametrize(
    "where, said",
    [
        (">&-", "it is closed"),
        (">/dev/full", "No space left on device"),
    ],
)
@pytest.mark.parametrize("command", ["ops", "--version"])
def test_output_that_cannot_be_written(command, where, said):
    line = "exec '{}' -m caffe2op_mask {} {}".format(sys.executable, command, where)
    result = subprocess.run(
        ["sh", "-c", line], stderr=subprocess.PIPE, universal_newlines=True, timeout=120
    )
    assert result.returncode == 1
    assert own_words(result.stderr) == (
        "python -m caffe2op_mask: the output cannot be written: {}.\n".format(said)
    )


def test_names_that_the_output_has_no_letters_for(folder):
    os.rename("x.npy", "\N{HIRAGANA LETTER A}.npy")
    command = ["show", "\N{HIRAGANA LETTER A}.npy"]
    result = in_a_process(*command, env=dict(os.environ, PYTHONIOENCODING="ascii"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1].startswith(r"\u3042.npy  2 x 6 x 6")


def test_without_doc_strings():
    for command, said in ((["--help"], "usage: "), (["show", "--shape", "2,2"], "mask  shape")):
        result = subprocess.run(
            [sys.executable, "-OO", "-m", "caffe2op_mask"] + command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(said)


def test_an_error_in_a_process():
    result = in_a_process("fuse", "no such file", "fused.pb")
    assert result.returncode == 2 and not result.stdout
    assert own_words(result.stderr) == (
        "python -m caffe2op_mask: no such file cannot be read: No such file or directory.\n"
    )


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
        assert re.match(r"Output 'y' differs by at most [\de.-]+, where its largest number is 1\.", lines[2])
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
            (["--shape", "x=5,7"], "--shape is for nets without --feed, which shapes are read off."),
            (["--tolerance", "-1"], "a tolerance is a number of at least 0 such as 1e-4, but this"),
            (["--tolerance", "nan"], "a tolerance is a number of at least 0 such as 1e-4, but this"),
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
        "shape", [5, (2, -1), (2.5, 3), (2, None), "23", None, (2 ** 62, 2), (0, 2 ** 63)], ids=repr
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
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "caffe2op_mask {}".format(caffe2op_mask.__version__)
    assert lines[1].startswith("runtime: Caffe2 of torch 1.")
    assert lines[2] == "target: {}".format(caffe2op_mask.target_name())
    assert re.match(r"threads: [1-9]\d*$", lines[3]) and len(lines) == 4


@pytest.mark.parametrize(
    "threads, printed",
    [({}, str(len(os.sched_getaffinity(0)))), ({"OMP_NUM_THREADS": "1"}, "1")],
)
def test_threads_of_a_process(threads, printed):
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    result = in_a_process("--version", env=dict(environment, **threads))
    assert result.stdout.splitlines()[-1] == "threads: " + printed


COMMANDS = [command.__name__.split(".")[-1] for command in command_line.COMMANDS]


def test_help_names_every_command(capsys):
    for arguments in [["--help"]] + [[name, "--help"] for name in COMMANDS]:
        with pytest.raises(SystemExit) as ended:
            command_line.main(arguments)
        assert ended.value.code == 0
        printed = capsys.readouterr().out
        assert all(name in printed for name in arguments[:-1] or COMMANDS)
        assert arguments == ["--help"] or "examples:\n" in printed


def test_the_commands():
    assert COMMANDS == ["ops", "run", "fuse", "show", "bench"]


# A net of padded, causal attention weights, with all that its examples name.


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
    (tmp_path / "words.txt").write_text("the\ncat\nsat\non\na\nmat\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


FED = ["--init", "init.pb", "--feed", "scores=x.npy"]


def examples():
    for command in command_line.COMMANDS:
        _, _, lines = command.__doc__.partition("examples:\n")
        for line in lines.replace("\\\n", " ").splitlines():
            yield shlex.split(line)


@pytest.mark.parametrize("example", examples(), ids=" ".join)
def test_examples_run(example, folder, capsys):
    assert example[:3] == ["python", "-m", "caffe2op_mask"]
    if "bench" in example:  # takes long, and has a test of its own
        assert command_line.parser().parse_args(example[3:]).run is bench.run
        return
    assert command_line.main(example[3:]) == 0
    out, err = capsys.readouterr()
    assert out and not err
    for option in ("--output", "--fetch"):
        if option in example:
            path = example[example.index(option) + 1].split("=")[-1]
            assert os.path.getsize(path) > 100


def test_the_example_of_the_readme(folder, capsys):
    with open(os.path.join(ROOT, "README.md")) as file:
        (example,) = re.findall(
            r"^```\npython -m caffe2op_mask (show .*)\n```\n\n```\n((?:.*\n)*?)```$",
            file.read(),
            re.M,
        )
    command, printed = example
    assert command_line.main(shlex.split(command)) == 0
    assert capsys.readouterr().out == printed
    assert os.path.getsize(command.split()[-1]) > 1000


# ops


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


# run


def test_run(folder, capsys):
    assert command_line.main(["run", "net.pb", "--fetch", "weights=y.npy"] + FED) == 0
    printed, timed = capsys.readouterr().out.splitlines()
    assert printed == "weights [2, 6, 6] float32 -> y.npy"
    assert re.match(r"1 run of [\d.e-]+ ms$", timed)
    weights = np.load("y.npy")
    keep = np.tril(np.ones((6, 6))) * (np.arange(6) < 5)
    np.testing.assert_allclose(weights[0], keep / keep.sum(axis=1, keepdims=True), rtol=1e-6)


def test_run_keeps_types_and_counts_runs(folder, capsys):
    net = caffe2_pb2.NetDef()  # without a name
    net.op.add(type="SequenceMask", input=["d"], output=["d"]).arg.add(name="mode", s=b"upper")
    net.op[0].arg.add(name="fill_val", i=3)
    net.op.add(type="Add", input=["n", "n"], output=["n"])
    (folder / "net.pbtxt").write_text(text_format.MessageToString(net))
    np.save("n.npy", np.array([1, 2], ">i8"))
    for dtype in ("float16", "int8", "float64"):
        np.save("d.npy", np.zeros((2, 2), dtype))
        arguments = "run net.pbtxt --feed d=d.npy --feed n=n.npy --fetch d=e.npy --fetch n=m.npy"
        command_line.main(arguments.split() + ["--repeat", "3"])
        out = capsys.readouterr().out.splitlines()
        assert out[0] == "d [2, 2] {} -> e.npy".format(dtype)
        assert re.match(r"3 runs of \S+ ms, the median; the best \S+, the first \S+$", out[2])
        assert np.load("e.npy").dtype == dtype and np.load("e.npy").tolist() == [[0, 3], [0, 0]]
        assert np.load("m.npy").tolist() == [8, 16]


@pytest.mark.parametrize(
    "arguments, said",
    [
        ("none.pb", "none.pb cannot be read: No such file or directory."),
        ("net.pb --init none.pb", "none.pb cannot be read"),
        ("net.pb", "SequenceMask of net.pb reads 'scores', which is neither fed nor written"),
        (
            "net.pb --feed scores=x.npy",
            "SequenceMask of net.pb reads 'lengths', which is neither fed nor written before.",
        ),
        ("net.pb --feed scores", "a blob and its file are NAME=FILE.npy, but this is 'scores'"),
        ("net.pb --feed scores=none.npy", "none.npy cannot be read: No such file or directory."),
        ("net.pb --feed scores=words.txt", "words.txt is no .npy file of numbers."),
        ("net.pb --feed scores=empty.npy", "empty.npy is no .npy file of numbers."),
        ("net.pb --feed scores=x.npz", "x.npz is no .npy file, but an archive of them."),
        (
            "net.pb --init init.pb --feed scores=complex.npy",
            "'scores' cannot be fed from complex.npy, of type complex64: ",
        ),
        ("net.pb --feed q=x.npy", "net.pb reads 'scores', which is neither"),
        ("net.pb FED --feed q=x.npy", "'q' is fed, but net.pb does not read it."),
        (
            "net.pb FED --feed copy=x.npy",
            "'copy' is fed, but net.pb writes it and does not read it before.",
        ),
        (
            "net.pb FED --feed masked=x.npy",
            "'masked' is fed, but net.pb writes it and does not read it before.",
        ),
        (
            "net.pb FED --feed lengths=x.npy",
            "'lengths' is fed, but init.pb writes it and does not read it before.",
        ),
        ("net.pb FED --feed scores=x.npy", "--feed must name a blob once, but names 'scores' twi"),
        ("net.pb --feed =x.npy", "a blob and its file are NAME=FILE.npy, but this is '=x.npy'"),
        ("net.pb FED --repeat 9223372036854775808", "below 2^63 is wanted, but this is '9223"),
        ("net.pb FED --repeat \N{SUPERSCRIPT TWO}", "a positive integer below 2^63 is wanted"),
        ("none.pbtxt", "none.pbtxt: BooleanMask of the net has 0 inputs, of which it takes 2."),
        ("pool.pbtxt --feed x=lengths.npy", "pool.pbtxt failed: "),
        ("net.pb FED --fetch y=y.npy", "net.pb has no blob 'y'."),
        ("net.pb FED --fetch copy=no/y.npy", "no/y.npy cannot be written: No such file"),
        ("net.pb FED --repeat 0", "a positive integer below 2^63 is wanted, but this is '0'"),
        ("net.pb FED --repeat x", "a positive integer below 2^63 is wanted, but this is 'x'"),
        (
            "net.pb --init init.pb --feed scores=weights.npy",
            "net.pb failed: SequenceMask: argument axis must be in [-2, 2) for data of shape "
            "[6, 6], but is 2.",
        ),
        ("unknown.pbtxt", "unknown.pbtxt has an operator Nope, which this Caffe2 does not know."),
        ("bad.pbtxt --feed x=x.npy", "bad.pbtxt failed: MaskedSoftmax: argument mode must be"),
        ("net.pb --init fails.pbtxt --feed scores=x.npy --feed x=x.npy", "neither fed nor written"),
    ],
)
def test_run_errors(arguments, said, folder, capsys):
    (folder / "empty.npy").write_bytes(b"")
    np.savez("x.npz", x=np.zeros(2))
    np.save("complex.npy", np.zeros((2, 6, 6), "complex64"))
    np.save("lengths.npy", np.zeros(4, "float32"))
    (folder / "unknown.pbtxt").write_text('op { type: "Nope" }')
    (folder / "none.pbtxt").write_text('op { type: "BooleanMask" output: "y" }')
    (folder / "pool.pbtxt").write_text(
        'op { type: "AveragePool" input: "x" output: "y" arg { name: "kernel" i: 2 } }'
    )
    op = 'op { type: "MaskedSoftmax" input: "x" output: "y" arg { name: "mode" s: "up" } }'
    (folder / "bad.pbtxt").write_text(op)
    (folder / "fails.pbtxt").write_text(op)
    command = []
    for argument in arguments.split():
        command += FED if argument == "FED" else [argument]
    assert said in error(capsys, "run", *command)


def test_run_feeds_what_nets_in_arguments_read(folder):
    """Of If and its kin, which may read a blob before the net around them writes it."""
    branch = 'external_input: "x" op { type: "Copy" input: "x" output: "y" }'
    (folder / "net.pbtxt").write_text(
        'external_input: "x" external_input: "c" op { type: "If" input: "c" output: "y" '
        'arg { name: "then_net" n { %s } } } op { type: "Copy" input: "c" output: "x" }' % branch
    )
    np.save("c.npy", np.array(True))
    np.save("v.npy", np.array([1.0, 2.0]))
    command = "run net.pbtxt --feed c=c.npy --feed x=v.npy --fetch y=y.npy".split()
    assert command_line.main(command) == 0
    assert np.load("y.npy").tolist() == [1, 2]


def test_run_blobs_with_an_equals_sign(folder):
    (folder / "net.pbtxt").write_text('op { type: "Copy" input: "a=b" output: "=" }')
    command_line.main("run net.pbtxt --feed a=b=x.npy --fetch ==y.npy".split())
    np.testing.assert_array_equal(np.load("y.npy"), np.load("x.npy"))


def test_run_a_net_without_a_name_whose_file_is_no_text(folder):
    path = b"n\xff.pbtxt"
    with open(path, "w") as file:
        file.write('op { type: "Copy" input: "x" output: "y" }')
    assert command_line.main(["run", os.fsdecode(path), "--feed", "x=x.npy"]) == 0


def damaged(content):
    """Files that are no array, of the bytes of one that is."""
    yield "empty", b""
    yield "cut in its header", content[:40]
    yield "cut in its numbers", content[:-1]
    yield "no dict", content.replace(b"{'descr'", b"{'descr(")
    yield "no end of a text", content.replace(b"'shape'", b"'shape\\")
    yield "no end of a bracket", content.replace(b"(2, 6, 6)", b"((2, 6, 6")


def test_arrays_that_are_damaged(folder, capsys):
    content = (folder / "x.npy").read_bytes()
    for name, bad in damaged(content):
        assert bad != content, name
        (folder / "bad.npy").write_bytes(bad)
        assert "bad.npy is no .npy file of numbers." in error(capsys, "show", "bad.npy")
    (folder / "bad.npy").write_bytes(b"PK\x03\x04" + content)
    assert "bad.npy is no .npy file, but an archive" in error(capsys, "show", "bad.npy")
    huge = content.replace(b"(2, 6, 6), }" + b" " * 18, b"(2, 6, 6" + b"0" * 16 + b"), }  ")
    (folder / "bad.npy").write_bytes(huge)
    assert "bad.npy cannot be read: its array does not fit" in error(capsys, "show", "bad.npy")


def test_an_array_of_a_pipe(folder):
    with open("weights.npy", "rb") as file:
        piped = subprocess.run(
            "cat weights.npy | '{}' -m caffe2op_mask show /dev/stdin".format(sys.executable),
            shell=True,
            stdin=file,
            stdout=subprocess.PIPE,
            universal_newlines=True,
            timeout=120,
        )
    assert piped.stdout.splitlines()[1].split() == "/dev/stdin 6 x 6 41.7% 0 of 6".split()


def test_memory_that_does_not_suffice(folder, capsys, monkeypatch):
    def read(path):
        raise MemoryError

    monkeypatch.setattr(files, "read", read)
    assert "there is not enough memory." in error(capsys, "show", "x.npy")


def test_run_init_that_fails(folder, capsys):
    (folder / "init.pbtxt").write_text(
        'op { type: "GivenTensorFill" output: "lengths" arg { name: "shape" ints: 3 } }'
    )
    sentence = error(capsys, *"run net.pb --init init.pbtxt --feed scores=x.npy".split())
    assert "init.pbtxt failed: " in sentence


def test_run_fetches_no_tensor(folder, capsys):
    (folder / "net.pbtxt").write_text('op { type: "CreateMutex" output: "mutex" }')
    sentence = error(capsys, *"run net.pbtxt --fetch mutex=y.npy".split())
    assert "'mutex' is no tensor of numbers." in sentence or "cannot be fetched" in sentence
    assert not os.path.exists("y.npy")


def test_an_error_of_an_operator_in_a_process(folder):
    command = "run net.pb --init init.pb --feed scores=weights.npy".split()
    result = in_a_process(*command)
    assert (result.returncode, result.stdout) == (2, "")
    assert own_words(result.stderr) == (
        "python -m caffe2op_mask: net.pb failed: SequenceMask: argument axis must be in [-2, 2) "
        "for data of shape [6, 6], but is 2.\n"
    )


def test_a_reader_that_leaves():
    command = [sys.executable, "-m", "caffe2op_mask", "ops"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert own_words(process.stderr.read().decode()) == ""
    process.stderr.close()
    assert process.wait() == 1


@pytest.mark.parametrize(
    "text, said",
    [
        ("[enforce fail at a.cc:1] . Op: x is 1. (Error from operator: \ninput", "Op: x is 1"),
        ("[enforce fail at a.cc:1] f(a) == 2. 1 vs 2\nframe #0: f", "f(a) == 2. 1 vs 2"),
        ("[enforce fail at a.cc:1] std::g() == 1. Op: 'a. b' is\n c.\nframe #0", "Op: 'a. b' is c"),
        ("other.", "other"),
    ],
)
def test_what_the_runtime_said(text, said):
    assert nets.sentence(text) == said


# show


def show_table(capsys, *arguments):
    assert command_line.main(["show"] + list(arguments)) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["mask", "shape", "hidden", "rows", "wholly", "hidden"]
    return [re.split(r"  +", row) for row in rows]


@pytest.mark.parametrize(
    "arguments, keep",
    [
        ("--mode upper", np.tril(np.ones((4, 4)))),
        ("--mode upper --diagonal -1", np.tril(np.ones((4, 4)), -1)),
        ("--window-left 1 --window-right 0", np.eye(4) + np.eye(4, k=-1)),
        ("--mode sequence --lengths 0,1,2,9", np.tril(np.ones((4, 4)), -1)),
        ("--mode window --centers 0,1,2,3 --radius 0", np.eye(4)),
        ("--mode window+lower --centers=-9,1,2,3 --radius 1", None),
        ("--mode left_pad --left-pad=-1,1,2,3", np.triu(np.ones((4, 4)))),
        ("--mode left_pad+upper --left-pad=0,0,2,3", np.tril(np.ones((4, 4))) - [
            [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]),
        ("--mode sequence --lengths lengths.npy", np.tril(np.ones((4, 4)), -1)),
    ],
)
def test_show_by_arguments(arguments, keep, folder, capsys):
    np.save("lengths.npy", np.array([0, 1, 2, 9], "int32"))
    if arguments.endswith("9"):
        keep[3] = 1
    if "lengths.npy" in arguments:
        keep[3] = 1
    if keep is None:
        keep = np.triu(np.ones((4, 4))) * (np.eye(4) + np.eye(4, k=1))
        keep[0] = 0
    ((_, shape, hidden, rows),) = show_table(capsys, "--shape", "4,4", *arguments.split())
    assert shape == "4 x 4"
    assert hidden == "{:.1%}".format(1 - keep.sum() / 16)
    assert rows == "{} of 4".format(int((keep.sum(axis=1) == 0).sum()))


def test_show_lengths_of_a_batch(folder, capsys):
    arguments = "--shape 2,16,16 --mode sequence+upper --lengths 3,0 --window-left 1".split()
    ((name, shape, hidden, rows),) = show_table(capsys, *arguments)
    assert name == "mode sequence+upper window left 1" and shape == "2 x 16 x 16"
    # Rows 0 to 3 of the first matrix keep 1, 2, 2 and 1.
    assert hidden == "{:.1%}".format(1 - 6 / 512) and rows == "28 of 32"


@pytest.mark.parametrize(
    "array, kind, share",
    [
        (np.array([[True, False]]), "mask", "50.0%"),
        (np.array([[1, 0, 0, 0]]), "mask", "75.0%"),
        (np.array([[-np.inf, 3.0]], "float16"), "mask", "50.0%"),
        (np.array([[0.25, 0.75], [0, 0]]), "attention", "50.0%"),
        (np.array([[0.25, 0.5, 0, 1]]), "gate", "25.0%"),
    ],
)
def test_show_tells_what_an_array_is(array, kind, share, folder, capsys):
    assert show._kind("a", array, None) == kind
    np.save("a.npy", array)
    ((name, _, hidden, _),) = show_table(capsys, "a.npy", "--output", "a.png")
    assert (name, hidden) == ("a.npy", share)
    assert os.path.getsize("a.png") > 1000


def test_show_with_a_fill(folder, capsys):
    np.save("a.npy", np.array([[5, 1, -1e9, 3], [0, 0, 0, 0]], "float32"))
    assert show_table(capsys, "a.npy", "--fill=-1e9")[0][2:] == ["12.5%", "0 of 2"]
    assert show_table(capsys, "a.npy", "--as", "mask")[0][2:] == ["50.0%", "1 of 2"]


    np.save("n.npy", np.array([[np.nan, 1], [0, 2]], "float16"))
    assert show_table(capsys, "n.npy", "--fill", "nan")[0][2:] == ["25.0%", "0 of 2"]
    np.save("i.npy", np.array([2 ** 53, 2 ** 53 + 1]))
    assert show_table(capsys, "i.npy", "--fill", str(2 ** 53 + 1))[0][2:] == ["50.0%", "0 of 1"]
    np.save("f.npy", np.array([0.1, 0.2], "float32"))  # where 0.1 is rounded
    assert show_table(capsys, "f.npy", "--fill", "0.1")[0][2:] == ["50.0%", "0 of 1"]


@pytest.mark.parametrize(
    "dtype, fill",
    [("int8", fill) for fill in ("257", "0.5", "nan", "inf", "1" + 30 * "0")]
    + [("uint8", "-1"), ("bool", "0.5"), ("bool", "2"), ("bool", "nan")]
    + [("float16", "-1e9"), ("float32", "1e39"), ("float64", "1" + 400 * "0")],
)
def test_show_with_a_fill_that_the_type_cannot_hold(dtype, fill, folder, capsys):
    np.save("a.npy", np.ones((2, 2), dtype))
    said = error(capsys, "show", "a.npy", "--fill=" + fill)
    wanted = "--fill is {}, which a.npy, of type {}, cannot hold."
    assert wanted.format(show.number(fill), dtype) in said


@pytest.mark.parametrize(
    "path", ["folder", "", "/dev/full", "a.nothing", ".png", "a.png/"], ids=repr
)
def test_show_writes_no_other_file(path, folder, capsys):
    os.mkdir("folder")
    before = sorted(os.listdir("."))
    said = error(capsys, "show", "x.npy", "--output", path)
    assert "--output must end in one of .eps, " in said and "but is '{}'.".format(path) in said
    assert sorted(os.listdir(".")) == before and not os.path.exists("/dev/full.png")


def test_show_output_that_cannot_be(folder, capsys, monkeypatch):
    os.mkdir("a.png")
    said = error(capsys, "show", "x.npy", "--output", "a.png")
    assert "a.png cannot be written: Is a directory." in said
    monkeypatch.setenv("PATH", "")  # without LaTeX
    said = error(capsys, "show", "x.npy", "--output", "a.pgf")
    assert "a.pgf cannot be drawn: " in said and not os.path.exists("a.pgf")


@pytest.mark.parametrize("path", ["a.PNG", "a.b.svg", "a.pdf", "a.eps"])
def test_show_writes_pictures(path, folder, capsys):
    assert show_table(capsys, "x.npy", "--output", path)
    assert os.path.getsize(path) > 1000


def test_show_a_name_of_other_letters(folder, capsys, recwarn):
    os.rename("x.npy", "$\\frac$\N{HIRAGANA LETTER A}.npy")
    assert show_table(capsys, "$\\frac$\N{HIRAGANA LETTER A}.npy", "--output", "a.png")
    assert not [told for told in recwarn if "Glyph" in str(told.message)]


def test_show_tells_of_its_progress(folder, capsys, monkeypatch):
    told = []

    def progress(iterable, label):
        try:
            for step in iterable:
                told.append(label)
                yield step
        finally:
            told.append("gone")  # before the table is printed

    monkeypatch.setattr(plot, "table", lambda _: told.append("table"))
    monkeypatch.setattr(show, "progress", progress)
    np.save("m.npy", np.ones((5, 2, 2), bool))
    command_line.main("show m.npy --output a.png --panels 3".split())
    assert told[-2:] == ["gone", "table"]
    assert len(told) >= 5 and set(told[:-2]) == {"panels"}
    with open("a.png", "rb") as file:
        picture = file.read()
    monkeypatch.setattr(show, "_steps", lambda figure: (_ for _ in ""))
    command_line.main("show m.npy --output a.png --panels 3".split())
    with open("a.png", "rb") as file:
        assert file.read() == picture


def test_show_operators_of_a_net(folder, capsys):
    masks = show_table(capsys, "--net", "net.pb", *FED)
    # Of triangles of six, five columns keep 20 entries, and three keep 15.
    share = "{:.1%}".format(1 - 35 / 72)
    assert masks == [["SequenceMask -> 'masked'", "2 x 6 x 6", share, "0 of 12"]]
    masks = show_table(capsys, "--net", "net.pb", "--blob", "masked", "--output", "m.png", *FED)
    assert masks[1] == ["masked", "2 x 6 x 6", share, "0 of 12"]
    assert os.path.getsize("m.png") > 1000


def test_show_a_net_without_masks(folder, capsys):
    command_line.main("show --net init.pb".split())
    assert capsys.readouterr().out == "No operator of init.pb masks.\n"


@pytest.mark.parametrize(
    "arguments, said",
    [
        ("", "One of FILE.npy, --net and --shape says what to show."),
        ("x.npy --shape 2,2", "One of FILE.npy, --net and --shape"),
        ("x.npy --mode upper", "--mode goes with --shape."),
        ("--net net.pb --window-left 1", "--window-left goes with --shape."),
        ("x.npy --blob a", "--init, --feed and --blob go with --net."),
        ("--net net.pb --output a.png", "--output draws the blob of a net that --blob names."),
        ("none.npy", "none.npy cannot be read: No such file or directory."),
        ("words.txt", "words.txt is no .npy file of numbers."),
        ("text.npy", "text.npy must hold numbers, but is of type <U1."),
        ("scalar.npy --as mask", "must have at least 1 dim, but 'scalar.npy' has none"),
        ("big.npy", "big.npy does not look like a mask, a gate or an attention; --as says"),
        ("big.npy --as gate --output a.png", "hold numbers from 0 to 1, but at (0,) stands 7.0"),
        ("nan.npy", "nan.npy has NaN at (1, 0), as a softmax has where a mask leaves nothing"),
        ("big.npy --as sum", "invalid choice: 'sum'"),
        ("weights.npy --output a.png --row-labels none", "none cannot be read"),
        ("weights.npy --output a.png --row-labels x.npy", "x.npy is no text in UTF-8."),
        (
            "x.npy --output a.png --row-labels two.txt",
            "row_labels must have one label for each of the 6 rows, but has 2.",
        ),
        ("x.npy --output no/a.png", "no/a.png cannot be written: No such file or directory."),
        ("x.npy --row-labels none", "--row-labels goes with --output."),
        ("x.npy --panels 2", "--panels goes with --output."),
        ("nan.npy --as mask", "nan.npy must have no NaN, which neither keeps nor hides, but has"),
        ("big.npy --as gate", "hold numbers from 0 to 1, but at (0,) stands 7.0"),
        ("big.npy --as attention", "hold numbers from 0 to 1, but at (0,) stands 7.0"),
        ("--shape 100000,100000,1000", "The mask cannot be: "),
        ("--shape 99999999999999999999", "a shape has at most 32 dims and less than 2^63 entries"),
        ("--shape 4294967296,4294967296", "a shape has at most 32 dims and less than 2^63 entries"),
        ("--shape 0,99999999999999999999", "a shape has at most 32 dims and less than 2^63"),
        ("--shape " + 32 * "1," + "1", "a shape has at most 32 dims and less than 2^63 entries"),
        ("--shape 2,3 --radius 99999999999999999999", "The mask cannot be: Value out of range"),
        ("--shape 2,3 --mode \udcff", "The mask cannot be: 'utf-8' codec can't encode"),
        ("--net none.pbtxt", "none.pbtxt: BooleanMask of the net has 0 inputs, of which it takes"),
        ("x.npy --panels 0", "a positive integer below 2^63 is wanted, but this is '0'"),
        ("--shape 2,x", "a shape is SIZE,SIZE,.. such as 2,16,16, but this is '2,x'"),
        ("--shape 2,2 --mode nothing", "The mask cannot be: MaskedSoftmax: argument mode must be"),
        ("--shape 2,2 --mode upper --lengths 1,2", "takes 1 input (X), but there are 2."),
        ("--shape 2,2 --lengths 1,x", "integers such as 3,5 or a .npy file are wanted"),
        (
            "--shape 2,2 --mode sequence --lengths 1,2,3",
            "lengths must have the shape of leading dims of X, [2, 2], before its last, or one entry "
            "for each of its 2 rows, but is of shape [3].",
        ),
        ("--shape 0,2 --output a.png", "needs at least 1 dim and 1 entry, but its shape is (0, 2)"),
        ("--net net.pb --feed scores=x.npy", "reads 'lengths', which is neither fed nor written"),
        ("--net net.pb --blob y FED", "net.pb has no blob 'y'."),
        ("--net net.pb --init init.pb --feed scores=weights.npy", "net.pb failed: SequenceMask: "),
    ],
)
def test_show_errors(arguments, said, folder, capsys):
    np.save("text.npy", np.array(["a"]))
    np.save("scalar.npy", np.array(1))
    np.save("nan.npy", np.array([[0.5, 0.5], [np.nan, 0]]))
    np.save("big.npy", np.array([7.0, 8.0]))
    (folder / "two.txt").write_text("a\nb\n")
    (folder / "none.pbtxt").write_text('op { type: "BooleanMask" output: "y" }')
    command = []
    for argument in arguments.split():
        command += FED if argument == "FED" else [argument]
    assert said in error(capsys, "show", *command)
    assert not os.path.exists("a.png")


def test_show_without_matplotlib(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert show_table(capsys, "x.npy")
    sentence = error(capsys, "show", "x.npy", "--output", "a.png")
    assert "Drawing needs matplotlib, but " in sentence


# bench


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
    upper, lower = (
        [("SequenceMask", ["x"], ["y"], {"mode": mode})] for mode in ("upper", "lower")
    )
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
