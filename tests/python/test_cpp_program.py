"""A C++ program that loads the library by its path gets what Python gets from the same saved nets."""

import os
import subprocess

import numpy as np
import pytest
from caffe2.python import core, workspace

import caffe2op_mask

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PROGRAM = os.path.join(_ROOT, "build", "tests", "cpp", "run_net")


def _nets():
    """A net that fills three blobs, and one that masks them."""
    init = core.Net("init")
    data = np.arange(12, dtype=np.float32) / 7
    init.GivenTensorFill([], "scores", shape=[3, 4], values=data.tolist())
    init.GivenTensorIntFill([], "lengths", shape=[3], values=[4, 0, 2])
    init.GivenTensorBoolFill([], "mask", shape=[3], values=[True, False, True])

    predict = core.Net("predict")
    for name in ("scores", "lengths", "mask"):
        predict.AddExternalInput(name)
    padded = predict.SequenceMask(["scores", "lengths"], "padded", mode="sequence", axis=1)
    causal = predict.SequenceMask(["scores"], "causal", mode="upper", axis=1, fill_val=0.5)
    kept, indices = predict.BooleanMask([padded, "mask"], ["kept", "indices"])
    back = predict.BooleanUnmask(["mask", kept], "back", fill_val=-1.0)
    predict.AddExternalOutput(padded, causal, kept, indices, back)
    return init.Proto(), predict.Proto()


def _save(net, path):
    with open(str(path), "wb") as out:
        out.write(net.SerializeToString())
    return str(path)


def _run(*arguments):
    """Exit code, standard output and standard error of the program."""
    assert os.path.exists(_PROGRAM), "make build makes {}, which is missing.".format(_PROGRAM)
    process = subprocess.Popen(
        [_PROGRAM] + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    out, err = process.communicate()
    return process.returncode, out, err


def _parse(line):
    """Name and array of a line that the program printed."""
    name, dtype, rest = line.split(" ", 2)
    shape, values = rest[1:].split("]", 1)
    sizes = [int(size) for size in shape.split(",")]
    return name, np.array([float(value) for value in values.split()]).astype(dtype).reshape(sizes)


def test_a_program_gets_what_python_gets(tmp_path):
    init, predict = _nets()
    code, out, err = _run(
        caffe2op_mask.library_path(),
        _save(init, tmp_path / "init.pb"),
        _save(predict, tmp_path / "predict.pb"),
    )
    assert code == 0, err
    printed = dict(_parse(line) for line in out.splitlines())

    workspace.ResetWorkspace()
    workspace.RunNetOnce(init)
    workspace.RunNetOnce(predict)
    assert list(printed) == list(predict.external_output)
    for name, values in printed.items():
        expected = workspace.FetchBlob(name)
        assert values.dtype == expected.dtype
        np.testing.assert_array_equal(values, expected, err_msg=name)
    # And it is right: a row that was not kept came back as the fill.
    scores = np.arange(12, dtype=np.float32).reshape(3, 4) / np.float32(7)
    np.testing.assert_array_equal(printed["back"][0], scores[0])
    np.testing.assert_array_equal(printed["back"][1], np.full(4, -1, np.float32))
    np.testing.assert_array_equal(printed["indices"], [0, 2])


@pytest.mark.parametrize("missing", ["library", "net", "operator"])
def test_a_program_is_told_what_is_wrong(tmp_path, missing):
    """In words and by its exit code, whatever was at fault."""
    init, predict = _nets()
    library = caffe2op_mask.library_path()
    if missing == "library":
        library = str(tmp_path / "absent.so")
    elif missing == "operator":
        predict.op[0].type = "NoSuchOperator"
    nets = [_save(init, tmp_path / "init.pb"), _save(predict, tmp_path / "predict.pb")]
    if missing == "net":
        nets[1] = str(tmp_path / "absent.pb")
    code, _, err = _run(library, *nets)
    assert code == 1
    assert {"library": "absent.so", "net": "absent.pb", "operator": "NoSuchOperator"}[missing] in err
