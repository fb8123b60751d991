"""Mask operators for a current PyTorch, or for Caffe2: whichever this Python has.

With torch 2.10 or later, functions on tensors with PyTorch's conventions:

    import caffe2op_mask
    caffe2op_mask.masked_attention(q, k, v, lengths=lengths)

Their operators are ``torch.ops.caffe2op_mask``, and `caffe2op_mask.nn` has modules that are made of
them.

With a torch that has Caffe2, 1.10.2 at the latest, importing this package loads the operators into
the process's Caffe2. From then on BooleanMask, BooleanMaskLengths, BooleanUnmask and SequenceMask
of every net that is created are this library's, unless ``CAFFE2OP_MASK_OVERRIDE=0`` stands in the
environment, and operators of its own are there too. Nets that exist already keep the operators they
were made with. `caffe2op_mask.layers` are helpers of ``brew`` from then on, too. A process that
does not import this package can load the library itself:

    dyndep.InitOpsLibrary(caffe2op_mask.library_path())

`caffe2op_mask.runtime` is "torch" or "caffe2".
"""

from caffe2op_mask import _runtime
from caffe2op_mask._library import compiler, library_path, target_name

# The one place where the version is written; CMake and setup.py read it here.
__version__ = "0.1.0"

runtime = _runtime.front_end()

if runtime == "torch":
    if _runtime.torch_fault():
        raise ImportError("caffe2op_mask needs PyTorch: " + _runtime.torch_fault())

    from caffe2op_mask import functional, nn, transformers
    from caffe2op_mask.functional import *  # noqa: F403

    __all__ = ["functional", "nn", "transformers"] + functional.__all__
else:
    from caffe2op_mask._load import built_for, load

    load()

    # These need the Caffe2 that load() has seen to.
    from caffe2op_mask import layers, plot
    from caffe2op_mask._global_init import global_init
    from caffe2op_mask.fuse import fuse
    from caffe2op_mask.pack import pack

    __all__ = ["built_for", "fuse", "global_init", "layers", "pack", "plot"]

__all__ += ["__version__", "compiler", "library_path", "runtime", "target_name"]
