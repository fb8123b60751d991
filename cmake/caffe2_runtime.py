"""Prints what a build needs to know of this Python's Caffe2 as KEY=VALUE lines.

Where there is none that can be built for, says why in one sentence and exits with 1.
"""

import os
import re
import sys


def fail(sentence):
    sys.exit(sentence)


def main():
    try:
        import torch
    except ImportError as error:
        fail("{} has no torch ({}).".format(sys.executable, error))
    root = os.path.dirname(torch.__file__)
    header = os.path.join(root, "include", "caffe2", "proto", "caffe2.pb.h")
    if not os.path.exists(header):
        fail(
            "torch {} of {} comes without Caffe2; the last release with it is 1.10.2.".format(
                torch.__version__, sys.executable
            )
        )
    with open(header) as lines:
        version = re.search(r"#if PROTOBUF_VERSION < (\d+)", lines.read())
    if version is None:
        fail("{} does not say which protobuf it was made by.".format(header))
    number = int(version.group(1))
    answer = {
        "VERSION": torch.__version__.split("+")[0],
        "CXX11_ABI": int(torch._C._GLIBCXX_USE_CXX11_ABI),
        "PROTOBUF_VERSION": "{}.{}.{}".format(
            number // 1000000, number // 1000 % 1000, number % 1000
        ),
        "INCLUDE_DIR": os.path.join(root, "include"),
        "LIBRARY_DIR": os.path.join(root, "lib"),
        "PREFIX": sys.prefix,
    }
    for key, value in answer.items():
        print("{}={}".format(key, value))


if __name__ == "__main__":
    main()
