"""Which runtime this Python has, and what keeps it from working, in one sentence.

Asked before a library is loaded and, by the scripts in cmake/, before one is built. Neither
torch nor Caffe2 is imported to find out: where they do not fit they print pages, or end the
process.
"""

import glob
import importlib
import importlib.util
import os
import re
import sys


def torch_version():
    """Version of the torch that this Python would import, such as "1.10.2", or None."""
    torch = importlib.util.find_spec("torch")
    # A folder of that name and no more is a package to Python, with this origin on 3.6.
    if torch is None or torch.origin in (None, "namespace"):
        return None
    with open(os.path.join(os.path.dirname(torch.origin), "version.py")) as lines:
        found = re.search(r"^__version__\b[^=]*= *['\"]([^'\"+]+)", lines.read(), re.MULTILINE)
    return found.group(1) if found else "of unknown version"


def _release(version):
    """The first two numbers of a version."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def has_stable_abi(version):
    """Whether a torch of this version has the stable ABI that its front end is built on."""
    return _release(version) >= (2, 10)


def front_end():
    """The runtime that is there, "torch" or "caffe2"; else the one that this Python can have."""
    version = torch_version()
    if version is not None and has_stable_abi(version):
        return "torch"
    # The last torch with Caffe2 has no wheel for a Python after 3.9.
    return "torch" if sys.version_info >= (3, 10) and not _has_caffe2() else "caffe2"


def torch_fault():
    """What keeps this Python from having a torch for that front end, or None if nothing is seen."""
    version = torch_version()
    if version is None:
        return "{} has no torch.".format(sys.executable)
    if not has_stable_abi(version):
        return "torch 2.10 or later is needed, but torch {} is installed.".format(version)
    return None


def fault():
    """What is wrong with this Python's torch, numpy or protobuf, or None if nothing is seen."""
    version = torch_version()
    if version is None:
        return "{} has no torch.".format(sys.executable)
    if not _has_caffe2():
        return (
            "torch {} comes without Caffe2, which torch 1.10.2 was the last release to have in its "
            "wheel.".format(version)
        )
    numpy = _version_of("numpy")
    if _major(numpy) >= 2:
        return (
            "Caffe2 of torch {} was compiled for numpy 1 and does not work with numpy {}, which is "
            "installed.".format(version, numpy)
        )
    protobuf = _version_of("google.protobuf")
    if _major(protobuf) >= 4 and _protobuf_refuses():
        return (
            "Caffe2 of torch {} needs the Python package protobuf before version 4, and {} is "
            "installed.".format(version, protobuf)
        )
    return None


def _has_caffe2():
    """Later wheels have the Python files of Caffe2 too, but not the extension that they need."""
    caffe2 = importlib.util.find_spec("caffe2")
    return caffe2 is not None and any(
        glob.glob(os.path.join(glob.escape(path), "python", "caffe2_pybind11_state*"))
        for path in caffe2.submodule_search_locations or ()
    )


def _version_of(name):
    """Version of a package, "" where there is none or it does not say."""
    try:
        return getattr(importlib.import_module(name), "__version__", "")
    except ImportError:
        return ""


def _major(version):
    return int(re.match(r"\d*", version).group() or 0)


def _protobuf_refuses():
    """protobuf 4 takes messages that an older one generated only where it is pure Python."""
    from google.protobuf.internal import api_implementation

    return api_implementation.Type() != "python"


if __name__ == "__main__":
    print(front_end())
