"""The library and the package around it: symbols, loading, and Pythons that do not fit."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

import caffe2op_mask

PACKAGE = os.path.dirname(os.path.abspath(caffe2op_mask.__file__))


def run(*arguments, path=os.path.dirname(PACKAGE), options=(), **environment):
    """Exit code, output and error output of a Python that finds modules in ``path``, too."""
    process = subprocess.run(
        [sys.executable, *options, *arguments],
        env=dict(os.environ, PYTHONPATH=path, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    return process.returncode, process.stdout, process.stderr


def symbols(*options):
    listed = subprocess.run(
        ["nm", "-D", *options, caffe2op_mask.library_path()],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    )
    return [line.split()[-1] for line in listed.stdout.splitlines()]


def test_symbols_are_those_of_the_stable_abi():
    """A name that one release of torch lacks is a library that it cannot load."""
    undefined = symbols("--undefined-only")
    of_torch = [
        one
        for one in undefined
        if any(mark in one for mark in ("torch", "at3", "2at", "3c10", "c10"))
    ]
    assert of_torch
    assert all(one.startswith(("aoti_torch_", "torch_")) for one in of_torch), of_torch
    # No name of Python, so that one library serves every release of it.
    assert not [one for one in undefined if one.startswith(("Py", "_Py"))]


def test_the_runtime_is_torch():
    assert caffe2op_mask.runtime == "torch"
    assert caffe2op_mask.library_path().endswith("libcaffe2op_mask_torch.so")
    assert set(caffe2op_mask.functional.__all__) < set(caffe2op_mask.__all__)
    for name in caffe2op_mask.__all__:
        assert hasattr(caffe2op_mask, name)
    assert caffe2op_mask.compiler()


def test_a_target_can_be_forced():
    program = "import caffe2op_mask; print(caffe2op_mask.target_name())"
    code, out, err = run("-c", program, CAFFE2OP_MASK_TARGET="SSE4")
    assert (code, out) == (0, "SSE4\n"), err


@pytest.fixture
def copy(tmp_path):
    """The package, without what was built."""
    shutil.copytree(
        PACKAGE,
        str(tmp_path / "caffe2op_mask"),
        ignore=shutil.ignore_patterns("*.so", "__pycache__"),
    )
    return tmp_path


def last_line(err):
    return err.splitlines()[-1]


def test_a_missing_library(copy):
    code, _, err = run("-c", "import caffe2op_mask", path=str(copy))
    assert code == 1
    assert last_line(err) == "ImportError: caffe2op_mask is not complete: {} is missing.".format(
        copy / "caffe2op_mask" / "libcaffe2op_mask_torch.so"
    )


def test_a_damaged_library(copy):
    library = copy / "caffe2op_mask" / "libcaffe2op_mask_torch.so"
    library.write_bytes(b"no library")
    code, _, err = run("-c", "import caffe2op_mask", path=str(copy))
    assert code == 1
    assert last_line(err).startswith("ImportError: caffe2op_mask cannot load {}: ".format(library))


@pytest.mark.parametrize("version", ["1.11.0", "2.4.1", "2.9.1"])
def test_releases_of_torch_with_neither(tmp_path, version):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("")
    (tmp_path / "torch" / "version.py").write_text("__version__ = '{}+cpu'\n".format(version))
    path = os.pathsep.join([str(tmp_path), os.path.dirname(PACKAGE)])
    code, _, err = run("-c", "import caffe2op_mask", path=path, options=["-S"])
    assert code == 1 and err.count("Traceback") == 1
    sentence = (
        "caffe2op_mask needs PyTorch: torch 2.10 or later is needed, but torch {} is installed."
    )
    assert last_line(err) == "ImportError: " + sentence.format(version)


@pytest.mark.parametrize("arguments", [["--version"], ["fuse", "a.pb", "b.pb"]])
def test_the_commands_are_those_of_caffe2(arguments):
    code, out, err = run("-m", "caffe2op_mask", *arguments)
    assert (code, out) == (1, "")
    assert (
        err
        == "python -m caffe2op_mask: its commands work on nets of Caffe2, and this Python has torch"
        " {}, which comes without.\n".format(torch.__version__.partition("+")[0])
    )


def test_a_second_copy_is_the_same_operators(copy):
    """An import again, as after a reload, registers nothing twice."""
    program = (
        "import caffe2op_mask.functional.registration as r, torch;"
        " torch.ops.load_library(r.existing_path())"
    )
    code, _, err = run("-c", program)
    assert code == 0, err
