"""The shared library of the runtime that is there: where it lies, and what it says of itself."""

import ctypes
import os

from caffe2op_mask import _runtime

FILES = {"caffe2": "libcaffe2op_mask.so", "torch": "libcaffe2op_mask_torch.so"}


def library_path():
    """Path of the shared library, for ``dyndep.InitOpsLibrary`` or ``torch.ops.load_library``."""
    folder = os.path.dirname(os.path.abspath(__file__))
    return os.path.join(folder, FILES[_runtime.front_end()])


def existing_path():
    """The same; raises ImportError where there is no such file."""
    path = library_path()
    if not os.path.isfile(path):
        raise ImportError("caffe2op_mask is not complete: {} is missing.".format(path))
    return path


def open_library(path):
    """Loads it, or finds it loaded."""
    return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


def _ask(name):
    function = getattr(open_library(library_path()), name)
    function.restype = ctypes.c_char_p
    return function().decode()


def target_name():
    """The instruction set that kernels run with, as Google Highway names it: "AVX3_DL", "AVX2" ...

    It is the best that the machine has, unless CAFFE2OP_MASK_TARGET named another on loading.
    """
    return _ask("caffe2op_mask_target")


def compiler():
    """Name and version of the compiler that built the library."""
    return _ask("caffe2op_mask_compiler")
