"""Prints where this Python's torch has its headers and libraries, as KEY=VALUE lines.

Where it is not one that the front end for PyTorch can be built for, says why in one sentence and
exits with 1.
"""

import importlib.util
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "python", "caffe2op_mask"))

import _runtime  # noqa: E402  by itself: the package would load the library


def main():
    fault = _runtime.torch_fault()
    if fault:
        sys.exit(fault)
    # torch is not imported, which takes seconds.
    root = os.path.dirname(importlib.util.find_spec("torch").origin)
    print("INCLUDE_DIR=" + os.path.join(root, "include"))
    print("LIBRARY_DIR=" + os.path.join(root, "lib"))


if __name__ == "__main__":
    main()
