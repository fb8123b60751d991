"""Mask operators for Caffe2.

Importing this package loads the operators into the process's Caffe2:

    import caffe2op_mask

From then on BooleanMask, BooleanMaskLengths, BooleanUnmask and SequenceMask of every net that is
created are this library's, unless ``CAFFE2OP_MASK_OVERRIDE=0`` stands in the environment, and
operators of its own are there too. Nets that exist already keep the operators they were made with.

`caffe2op_mask.layers` are helpers of ``brew`` from then on, too.

A process that does not import this package can load the library itself:

    dyndep.InitOpsLibrary(caffe2op_mask.library_path())
"""

from caffe2op_mask._load import built_for, compiler, library_path, load, target_name

# The one place where the version is written; CMake and setup.py read it here.
__version__ = "0.1.0"

__all__ = [
    "__version__",
    "built_for",
    "compiler",
    "fuse",
    "global_init",
    "layers",
    "library_path",
    "pack",
    "plot",
    "target_name",
]

load()

# These need the Caffe2 that load() has seen to.
from caffe2op_mask import layers, plot  # noqa: E402
from caffe2op_mask._global_init import global_init  # noqa: E402
from caffe2op_mask.fuse import fuse  # noqa: E402
from caffe2op_mask.pack import pack  # noqa: E402
