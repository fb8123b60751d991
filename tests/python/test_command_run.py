"""python -m caffe2op_mask run."""

import os
import re

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from google.protobuf import text_format

from caffe2op_mask import __main__ as command_line
from testers.commands import FED, error, in_a_process
from testers.runtime_facts import own_words


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
