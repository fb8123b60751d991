"""Installations that cannot work, each told in one sentence: before a build, and on import.

They are faked: a process without site-packages sees what a test writes, and CMake asks a Python
that answers what a test says.
"""

import os
import subprocess
import sys
from textwrap import dedent

import pytest

import caffe2op_mask
from testers import ROOT

# What works; a test changes one of these files. None is no such file.
FITS = {
    "torch/__init__.py": "",
    "torch/version.py": "__version__ = '1.10.2+cu102'\n",
    "caffe2/__init__.py": "",
    "caffe2/python/caffe2_pybind11_state.so": "",
    "numpy/__init__.py": "__version__ = '1.22.4'\n",
    "google/protobuf/__init__.py": "__version__ = '3.20.3'\n",
    "google/protobuf/internal/__init__.py": "",
    "google/protobuf/internal/api_implementation.py": "def Type():\n    return 'cpp'\n",
}

NO_TORCH = "{} has no torch.".format(sys.executable)
NO_CAFFE2 = (
    "torch {} comes without Caffe2, which torch 1.10.2 was the last release to have in its wheel."
)
NUMPY = (
    "Caffe2 of torch 1.10.2 was compiled for numpy 1 and does not work with numpy 2.0.2, which is "
    "installed."
)
PROTOBUF = (
    "Caffe2 of torch 1.10.2 needs the Python package protobuf before version 4, and 4.25.8 is "
    "installed."
)

# Torch 1.11 to 2.4 have Python files of Caffe2 without its extension, later ones have nothing.
UNFIT = {
    "no torch": ({"torch/__init__.py": None}, NO_TORCH),
    "torch 2.1": (
        {
            "torch/version.py": "from typing import Optional\n__version__ = '2.1.0+cu121'\n",
            "caffe2/python/caffe2_pybind11_state.so": None,
        },
        NO_CAFFE2.format("2.1.0"),
    ),
    "torch 2.6": (
        {
            "torch/version.py": "__version__: str = '2.6.0+cpu'\n",
            "caffe2/__init__.py": None,
            "caffe2/python/caffe2_pybind11_state.so": None,
        },
        NO_CAFFE2.format("2.6.0"),
    ),
    "torch 1.10.2 without Caffe2": (
        {"caffe2/__init__.py": None, "caffe2/python/caffe2_pybind11_state.so": None},
        NO_CAFFE2.format("1.10.2"),
    ),
    "numpy 2": ({"numpy/__init__.py": "__version__ = '2.0.2'\n"}, NUMPY),
    "protobuf 4": ({"google/protobuf/__init__.py": "__version__ = '4.25.8'\n"}, PROTOBUF),
}


def run(site, files, *arguments):
    """Exit code, output and error output of a Python that has these files and no others."""
    for name, content in files.items():
        if content is not None:
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(content)
    package = os.path.dirname(os.path.dirname(os.path.abspath(caffe2op_mask.__file__)))
    process = subprocess.run(
        [sys.executable, "-S"] + list(arguments),
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(site), package])),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    return process.returncode, process.stdout, process.stderr


def unfit(change):
    return dict(FITS, **change)


@pytest.mark.parametrize("name", UNFIT)
def test_is_told_before_a_build(tmp_path, name):
    change, sentence = UNFIT[name]
    script = os.path.join(ROOT, "cmake", "caffe2_runtime.py")
    assert run(tmp_path, unfit(change), script) == (1, "", sentence + "\n")


@pytest.mark.parametrize("name", UNFIT)
def test_is_told_on_import(tmp_path, name):
    change, sentence = UNFIT[name]
    code, out, err = run(tmp_path, unfit(change), "-c", "import caffe2op_mask")
    assert (code, out) == (1, "")
    expected = "ImportError: caffe2op_mask needs a Python with Caffe2: " + sentence
    assert err.splitlines()[-1] == expected
    # No second traceback of what caffe2.python thought of it.
    assert err.count("Traceback") == 1


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"numpy/__init__.py": None},
        {"google/protobuf/__init__.py": None},
        {"numpy/__init__.py": "", "google/protobuf/__init__.py": ""},
        {
            "google/protobuf/__init__.py": "__version__ = '4.25.8'\n",
            "google/protobuf/internal/api_implementation.py": "def Type():\n    return 'python'\n",
        },
        {"caffe2/__init__.py": None},
    ],
    ids=["all", "no numpy", "no protobuf", "no versions", "pure Python protobuf", "namespace"],
)
def test_no_fault_is_found_where_there_is_none(tmp_path, change):
    program = """
        import sys
        sys.path.append(sys.argv[1])
        import _runtime
        print(_runtime.fault(), _runtime.torch_version(), "torch" in sys.modules)
    """
    package = os.path.dirname(os.path.abspath(caffe2op_mask.__file__))
    code, out, err = run(tmp_path, unfit(change), "-c", dedent(program), package)
    assert (code, out) == (0, "None 1.10.2 False\n"), err


def test_missing_headers_are_told(tmp_path):
    script = os.path.join(ROOT, "cmake", "caffe2_runtime.py")
    torch = {"torch/__init__.py": "from torch.version import __version__\n"}
    code, out, err = run(tmp_path, unfit(torch), script)
    assert (code, out) == (1, "")
    assert err == (
        "torch 1.10.2+cu102 comes without the headers of its Caffe2, of which {} has no "
        "caffe2/core/operator.h.\n".format(tmp_path / "torch" / "include")
    )


ANSWER = {
    "VERSION": "1.7.0",
    "CXX11_ABI": "1",
    "PROTOBUF_VERSION": "3.12.0",
    "PROTOBUF_LIBRARY": "",
    "INCLUDE_DIR": "/none",
    "LIBRARY_DIR": "/none",
    "PREFIX": "/none",
}


def program(path, lines):
    path.write_text("#!/bin/sh\n" + lines)
    path.chmod(0o755)
    return str(path)


def configure(tmp_path, answer, *options):
    """What CMake ends with for a Python that gives this answer, its line breaks undone."""
    lines = "\n".join("{}={}".format(*item) for item in sorted(answer.items()))
    python = program(tmp_path / "python", "cat <<END\n{}\nEND\n".format(lines))
    return cmake(tmp_path, "-DCAFFE2_PYTHON=" + python, *options)


def cmake(tmp_path, *options):
    process = subprocess.run(
        ["cmake", "-S", ROOT, "-B", str(tmp_path / "build"), "--log-level=ERROR"] + list(options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    assert process.returncode == 1
    return " ".join(process.stdout.split())


def test_cmake_passes_on_what_the_python_says(tmp_path):
    python = program(tmp_path / "python", "echo It has no torch. >&2\nexit 1\n")
    out = cmake(tmp_path, "-DCAFFE2_PYTHON=" + python)
    assert "No Caffe2 to build for: It has no torch." in out


def test_a_compiler_that_cannot_make_the_string_abi(tmp_path):
    """As those are that make programs for CentOS 7; here one is told the other ABI last."""
    compiler = program(
        tmp_path / "compiler",
        'exec {} "$@" -U_GLIBCXX_USE_CXX11_ABI -D_GLIBCXX_USE_CXX11_ABI=0\n'.format(
            os.environ.get("CXX", "c++")
        ),
    )
    assert (
        "Caffe2 of torch 1.7.0 has the string ABI _GLIBCXX_USE_CXX11_ABI=1, which {} does not "
        "make.".format(compiler)
    ) in configure(tmp_path, ANSWER, "-DCMAKE_CXX_COMPILER=" + compiler)


def test_a_protobuf_of_which_no_sources_are_known(tmp_path):
    assert (
        "Caffe2 of torch 1.7.0 needs protobuf 3.99, and sources are known for 3.11 and 3.13 only."
    ) in configure(tmp_path, dict(ANSWER, PROTOBUF_VERSION="3.99.0"))


def test_headers_of_another_protobuf_than_the_shared_one(tmp_path):
    header = tmp_path / "include" / "google" / "protobuf" / "stubs" / "common.h"
    header.parent.mkdir(parents=True)
    header.write_text("#define GOOGLE_PROTOBUF_VERSION 3021012\n")
    include = tmp_path / "include"
    assert (
        "Caffe2 of torch 1.7.0 needs headers of protobuf 3.12, and those in {} are of "
        "3.21.12.".format(include)
    ) in configure(
        tmp_path,
        dict(ANSWER, PROTOBUF_LIBRARY="/none/libprotobuf.so.23"),
        "-DPROTOBUF_INCLUDE_DIR={}".format(include),
    )


def test_headers_of_the_shared_protobuf_are_missing(tmp_path):
    assert (
        "Caffe2 of torch 1.7.0 shares /none/libprotobuf.so.23, whose headers are missing; Debian "
        "has them as libprotobuf-dev."
    ) in configure(
        tmp_path,
        dict(ANSWER, PROTOBUF_LIBRARY="/none/libprotobuf.so.23"),
        "-DPROTOBUF_INCLUDE_DIR=",  # nothing, and searched for already
    )
