"""Times torch's side of a case whenever asked: reads names of contenders, answers in milliseconds.

Run by measure.py with a Python of its own, so that a torch without Caffe2 can stand beside.
"""

import json
import sys

import torch

from cases import find
from harness import timed


def main(case_name):
    version = "torch " + torch.__version__.split("+")[0]
    functions = find(case_name).case().torch_peers(torch)
    print(json.dumps([(version, name) for name in functions]), flush=True)
    for line in sys.stdin:
        print(timed(functions[line.rstrip("\n")]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
