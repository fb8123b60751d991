"""Prints what a build needs to know of this Python's Caffe2 as KEY=VALUE lines.

Where there is none that can be built for, says why in one sentence and exits with 1.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "python", "caffe2op_mask"))

import _runtime  # noqa: E402  by itself: the package would load the library


def protobuf_version(header):
    """What the header of a message says of the protobuf that it needs, such as "3.13.0"."""
    with open(header) as lines:
        found = re.search(r"#if PROTOBUF_VERSION < (\d+)", lines.read())
    if found is None:
        sys.exit("{} does not say which protobuf it was made by.".format(header))
    number = int(found.group(1))
    return "{}.{}.{}".format(number // 1000000, number // 1000 % 1000, number % 1000)


def shared(name):
    """The library that importing torch has loaded; "" where torch has one of its own, or none."""
    with open("/proc/self/maps") as lines:
        found = re.search(r"(/.*/lib{}\.so\S*)$".format(name), lines.read(), re.MULTILINE)
    return found.group(1) if found else ""


def main():
    fault = _runtime.fault()
    if fault:
        sys.exit(fault)
    try:
        import torch
    except Exception as error:  # a broken one raises whatever it likes
        sys.exit("{} cannot import torch: {}".format(sys.executable, error))
    root = os.path.dirname(torch.__file__)
    headers = os.path.join(root, "include")
    if not os.path.exists(os.path.join(headers, "caffe2", "core", "operator.h")):
        sys.exit(
            "torch {} comes without the headers of its Caffe2, of which {} has no "
            "caffe2/core/operator.h.".format(torch.__version__, headers)
        )
    answer = {
        "VERSION": _runtime.torch_version(),
        "CXX11_ABI": int(torch._C._GLIBCXX_USE_CXX11_ABI),
        "PROTOBUF_VERSION": protobuf_version(
            os.path.join(headers, "caffe2", "proto", "caffe2.pb.h")
        ),
        "PROTOBUF_LIBRARY": shared("protobuf"),
        "GLOG_LIBRARY": shared("glog"),
        "GFLAGS_LIBRARY": shared("gflags"),
        "INCLUDE_DIR": headers,
        "LIBRARY_DIR": os.path.join(root, "lib"),
        "PREFIX": sys.prefix,
    }
    for key, value in answer.items():
        print("{}={}".format(key, value))


if __name__ == "__main__":
    main()
