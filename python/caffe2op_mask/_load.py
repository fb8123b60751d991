"""Loads the shared library into the process's Caffe2, or says in one sentence why it cannot."""

import os
import re

from caffe2op_mask import _runtime
from caffe2op_mask._library import FILES, existing_path, library_path, open_library

# One operator of ours for each way of registering: as an engine, and under a name of its own.
_MARKS = ("BooleanMask_ENGINE_MASK", "BooleanMaskJagged")


def load():
    """Loads the library and makes its operators known to ``caffe2.python.core``.

    Harmless where it is loaded already. Raises ImportError where there is no Caffe2, the file is
    missing or does not fit the runtime, another copy of it is loaded, or operators are absent
    after loading.
    """
    fault = _runtime.fault()
    if fault:
        raise ImportError("caffe2op_mask needs a Python with Caffe2: " + fault)
    try:
        from caffe2.python import core, workspace
    except (Exception, SystemExit) as error:  # a broken runtime raises whatever it likes, or exits
        raise ImportError(
            "caffe2op_mask needs a Python with Caffe2, such as torch 1.10.2 with numpy, protobuf, "
            "future and six, but importing caffe2.python failed: {}".format(error)
        )
    path = existing_path()
    if any(mark in workspace.RegisteredOperators() for mark in _MARKS):
        loaded = _loaded_copy()
        if loaded is None or not os.path.samefile(loaded, path):
            raise ImportError(
                "caffe2op_mask cannot load {}: another copy of it, {}, is loaded in this process "
                "already.".format(path, loaded or "of unknown path")
            )
        core.RefreshRegisteredOperators()
        return
    built, here = built_for().get("torch"), _runtime.torch_version()
    if built not in (None, here):
        raise ImportError(
            "caffe2op_mask cannot load {}: it was built for torch {}, and this Python has torch "
            "{}.".format(path, built, here)
        )
    try:
        # Not dyndep, which passes over a missing file with a printed line.
        open_library(path)
    except OSError as error:
        raise ImportError(
            "caffe2op_mask cannot load {} into this runtime, which is not the one it was built "
            "for: {}".format(path, _why_not_loaded(error))
        )
    missing = [mark for mark in _MARKS if mark not in workspace.RegisteredOperators()]
    if missing:
        raise ImportError(
            "caffe2op_mask loaded {}, but the runtime does not know {}: the library belongs to "
            "another Caffe2.".format(path, " and ".join(missing))
        )
    core.RefreshRegisteredOperators()


def built_for():
    """What the library was built for: a dict of torch, abi and protobuf.

    Read from the file, which may not be loadable here; empty where it does not say.
    """
    with open(library_path(), "rb") as library:
        found = re.search(rb"caffe2op_mask was built for ([^\0]+)\0", library.read())
    return dict(item.split("=") for item in found.group(1).decode().split(",")) if found else {}


def _why_not_loaded(error):
    """A wrong string ABI shows as the long name of a function that is not there."""
    import torch

    built, here = built_for().get("abi"), str(int(torch._C._GLIBCXX_USE_CXX11_ABI))
    if built in (None, here):
        return error
    names = {"0": "old", "1": "new"}
    return "it has the {} string ABI of libstdc++, and torch {} the {} one.".format(
        names[built], torch.__version__, names[here]
    )


def _loaded_copy():
    """Path of the copy of the library that is mapped into this process, or None."""
    with open("/proc/self/maps") as lines:
        for line in lines:
            name = line.split(None, 5)[-1].strip()
            if os.path.basename(name) == FILES["caffe2"]:
                return name
    return None
