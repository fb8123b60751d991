"""A program in C++ gets what Python gets from the same saved nets.

It is examples/cpp/run_net.cc, in two ways: built as its own project against an installed copy of
the library, to which it is linked; and by this build, where it loads the library by its path.
"""

import os
import shutil
import subprocess

import numpy as np
import pytest
import torch
from caffe2.python import core, workspace

import caffe2op_mask
from testers import ROOT

_BUILD = os.path.join(ROOT, "build")


def _run(*command, **options):
    """Exit code, standard output and standard error."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        **options
    )
    out, err = process.communicate()
    return process.returncode, out, err


def _must(*command):
    code, out, err = _run(*command)
    assert code == 0, out + err
    return out


def _configure(prefix, folder, *options):
    """The command that makes a build of the example in a folder."""
    command = ["cmake", "-S", os.path.join(ROOT, "examples", "cpp"), "-B", str(folder)]
    if shutil.which("ccache"):
        command.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
    return command + ["-DCMAKE_PREFIX_PATH=" + prefix] + list(options)


@pytest.fixture(scope="module")
def prefix():
    """Where the library is installed; always the same, so that a program is built for it once."""
    prefix = os.path.join(_BUILD, "installed")
    shutil.rmtree(prefix, ignore_errors=True)
    _must("cmake", "--install", _BUILD, "--prefix", prefix)
    return prefix


@pytest.fixture(scope="module")
def linked(prefix):
    folder = os.path.join(_BUILD, "example")
    _must(*_configure(prefix, folder))
    _must("cmake", "--build", folder)
    return [os.path.join(folder, "run_net")]


@pytest.fixture
def loading():
    program = os.path.join(_BUILD, "tests", "cpp", "operators", "run_net")
    assert os.path.exists(program), "make build makes {}, which is missing.".format(program)
    return [program, "--library=" + caffe2op_mask.library_path()]


@pytest.fixture(params=["linked", "loading"])
def program(request):
    """A function that runs the program on files, with nothing in its environment."""
    command = request.getfixturevalue(request.param)
    return lambda *files: _run(*(command + [str(path) for path in files]), env={})


@pytest.fixture
def nets(tmp_path):
    """Two nets, the first of which fills blobs that the second masks, and their paths."""
    init = core.Net("init")
    init.GivenTensorIntFill([], "lengths", shape=[3], values=[4, 0, 2])
    init.GivenTensorBoolFill([], "mask", shape=[3], values=[True, False, True])

    predict = core.Net("predict")
    for name in ("scores", "lengths", "mask"):
        predict.AddExternalInput(name)
    padded = predict.SequenceMask(["scores", "lengths"], "padded", mode="sequence", axis=1)
    causal = predict.SequenceMask(["scores"], "causal", mode="upper", axis=1, fill_val=0.5)
    shares = predict.MaskedSoftmax(["scores", "lengths"], "shares", mode="sequence")
    kept, indices = predict.BooleanMask([padded, "mask"], ["kept", "indices"])
    back = predict.BooleanUnmask(["mask", kept], "back", fill_val=-1.0)
    predict.AddExternalOutput(padded, causal, shares, kept, indices, back)
    paths = []
    for net in (init, predict):
        paths.append(tmp_path / (net.Name() + ".pb"))
        paths[-1].write_bytes(net.Proto().SerializeToString())
    return init, predict, paths


SCORES = np.arange(12, dtype=np.float32).reshape(3, 4) / np.float32(7)


@pytest.fixture
def inputs(tmp_path):
    """The file of a blob that the first net does not fill."""
    path = tmp_path / "inputs.txt"
    path.write_text(_line("scores", SCORES))
    return path


def _line(name, values):
    # A bool plus 0 is written as a number.
    numbers = " ".join(repr(value) for value in (values + 0).ravel().tolist())
    return "{} {} {} {}\n".format(name, values.dtype, list(values.shape), numbers)


def _parse(line):
    """Name and array of a line that the program printed."""
    name, dtype, rest = line.split(" ", 2)
    shape, values = rest[1:].split("]", 1)
    sizes = [int(size) for size in shape.split(",") if size]
    number = float if dtype.startswith("float") else int
    return name, np.array([number(value) for value in values.split()]).astype(dtype).reshape(sizes)


def test_gets_what_python_gets(program, nets, inputs):
    init, predict, paths = nets
    code, out, err = program(*paths, inputs)
    assert code == 0, err
    printed = dict(_parse(line) for line in out.splitlines())

    workspace.ResetWorkspace()
    workspace.RunNetOnce(init)
    workspace.FeedBlob("scores", SCORES)
    workspace.RunNetOnce(predict)
    assert list(printed) == list(predict.Proto().external_output)
    for name, values in printed.items():
        expected = workspace.FetchBlob(name)
        assert values.dtype == expected.dtype
        np.testing.assert_array_equal(values, expected, err_msg=name)
    # And it is right: a row that was not kept came back as the fill.
    np.testing.assert_array_equal(printed["back"][0], SCORES[0])
    np.testing.assert_array_equal(printed["back"][1], np.full(4, -1, np.float32))
    np.testing.assert_array_equal(printed["indices"], [0, 2])


@pytest.mark.parametrize(
    "values",
    [
        np.array([np.inf, -np.inf, np.nan, 1e-45, 3.4e38, -0.1], dtype=np.float32),
        np.array([[0.1], [1e300]]),
        np.array([2 ** 31 - 1, -(2 ** 31)], dtype=np.int32),
        np.array([2 ** 53 + 1, -(2 ** 63)]),
        np.array([True, False]),
        np.array(7),
        np.zeros((2, 0), dtype=np.float32),
    ],
)
def test_reads_what_it_prints(linked, tmp_path, values):
    net = core.Net("identity")
    net.AddExternalInput("blob")
    net.Proto().external_output.append("blob")
    (tmp_path / "net.pb").write_bytes(net.Proto().SerializeToString())
    (tmp_path / "init.pb").write_bytes(core.Net("init").Proto().SerializeToString())
    text = _line("blob", values)
    for _ in range(2):
        (tmp_path / "inputs").write_text(text)
        files = [str(tmp_path / name) for name in ("init.pb", "net.pb", "inputs")]
        code, text, err = _run(*(linked + files))
        assert code == 0, err
        name, read = _parse(text.rstrip("\n"))
        assert name == "blob" and read.dtype == values.dtype
        np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("scores float32 2 3\n", "a blob is written NAME TYPE [SHAPE] VALUES."),
        ("scores half [1] 3\n", "blob scores has unknown type half."),
        ("s int32 [2] 1\n", "blob s must have 2 values by its shape, but has 1."),
        ("s int32 [1] 1.5\n", '"1.5" is not a number of its type.'),
        ("s int32 [1] 4000000000\n", '"4000000000" is not a number of its type.'),
        ("s int32 [-1]\n", "a size must be at least 0, but is -1."),
    ],
)
def test_says_which_line_is_wrong(linked, nets, inputs, text, sentence):
    with open(str(inputs), "a") as lines:
        lines.write(text)
    code, out, err = _run(*(linked + [str(path) for path in nets[2] + [inputs]]))
    assert (code, out) == (1, "")
    # The runtime may have said something of the machine before.
    assert err.splitlines()[-1] == "run_net: {}, line 2: {}".format(inputs, sentence)


@pytest.mark.parametrize("missing", ["net", "inputs", "operator", "blob"])
def test_says_what_is_wrong(program, nets, inputs, missing):
    """In words and by its exit code, whatever was at fault."""
    _, predict, paths = nets
    if missing == "operator":
        predict.Proto().op[0].type = "NoSuchOperator"
    elif missing == "blob":
        predict.Proto().external_output.append("no_such_blob")
    paths[1].write_bytes(predict.Proto().SerializeToString())
    if missing == "net":
        paths[1] = "absent.pb"
    elif missing == "inputs":
        inputs = "absent.txt"
    code, _, err = program(*(paths + [inputs]))
    assert code == 1
    named = {"net": "absent.pb", "inputs": "absent.txt", "operator": "NoSuchOperator"}
    assert named.get(missing, "no_such_blob") in err


def test_says_that_the_library_is_missing(loading, nets):
    absent = ["--library=/absent.so"] + [str(path) for path in nets[2]]
    code, _, err = _run(loading[0], *absent)
    assert code == 1
    assert "/absent.so" in err


def test_installed_files(prefix):
    major, minor, patch = caffe2op_mask.__version__.split(".")
    soname = "libcaffe2op_mask.so.{}.{}".format(major, minor)
    library = "{}.{}".format(soname, patch)
    installed = {
        os.path.relpath(os.path.join(parent, name), prefix)
        for parent, _, names in os.walk(prefix)
        for name in names
    }
    protobuf = {path for path in installed if path.startswith("include/caffe2op_mask/google/")}
    # Where the runtime shares its protobuf with others, so does the library.
    own = caffe2op_mask.built_for()["protobuf"].endswith("of its own")
    assert ("include/caffe2op_mask/google/protobuf/message_lite.h" in protobuf) == own
    config = "lib/cmake/caffe2op_mask/"
    assert installed - protobuf - {"lib/caffe2op_mask/libprotobuf_lite.a"} == {
        "include/caffe2op_mask.h",
        "lib/libcaffe2op_mask.so",
        "lib/" + soname,
        "lib/" + library,
        config + "Caffe2RuntimeTarget.cmake",
        config + "caffe2op_maskConfig.cmake",
        config + "caffe2op_maskConfigVersion.cmake",
        config + "caffe2op_maskTargets.cmake",
        config + "caffe2op_maskTargets-release.cmake",
        "share/doc/caffe2op_mask/LICENSE",
        "share/doc/caffe2op_mask/LICENSE.highway",
        "share/doc/caffe2op_mask/LICENSE.protobuf",
    }
    assert ("lib/caffe2op_mask/libprotobuf_lite.a" in installed) == own
    folder = os.path.join(prefix, "lib")
    assert os.readlink(os.path.join(folder, "libcaffe2op_mask.so")) == soname
    assert os.readlink(os.path.join(folder, soname)) == library
    assert "soname: [{}]".format(soname) in _must("readelf", "-d", os.path.join(folder, library))


C_PROJECT = """
cmake_minimum_required(VERSION 3.18)
project(tell LANGUAGES C)
find_package(caffe2op_mask REQUIRED)
add_executable(tell tell.c)
target_compile_options(tell PRIVATE -std=c99 -pedantic -Wall -Wextra -Werror)
target_link_libraries(tell PRIVATE caffe2op_mask::caffe2op_mask)
"""
C_PROGRAM = """
#include <caffe2op_mask.h>
#include <stdio.h>

int main(void) {
  printf("%s, %s, ", caffe2op_mask_version(), caffe2op_mask_target());
  printf("%s", caffe2op_mask_compiler());
  return 0;
}
"""


def test_a_program_in_c_asks_what_the_header_has(prefix, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(C_PROJECT)
    (tmp_path / "tell.c").write_text(C_PROGRAM)
    build = str(tmp_path / "build")
    _must("cmake", "-S", str(tmp_path), "-B", build, "-DCMAKE_PREFIX_PATH=" + prefix)
    _must("cmake", "--build", build)
    told = _must(os.path.join(build, "tell"))
    assert told == "{}, {}, {}".format(
        caffe2op_mask.__version__, caffe2op_mask.target_name(), caffe2op_mask.compiler()
    )


def test_another_runtime_is_refused(prefix, tmp_path):
    command = _configure(prefix, tmp_path / "build", "-DCAFFE2_ROOT={}".format(tmp_path))
    code, _, err = _run(*command)
    assert code != 0
    assert (
        "caffe2op_mask was built for the Caffe2 of torch {}, and CAFFE2_ROOT, {}, holds no "
        "Caffe2.".format(torch.__version__.split("+")[0], tmp_path)
    ) in " ".join(err.split())
