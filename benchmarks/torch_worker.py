"""Times torch's side of a case whenever asked: reads names of contenders, answers with seconds.

Run by measure.py with a Python of its own, so that a torch without Caffe2 can stand beside.
"""

import json
import sys
import time

import torch

from cases import find


def main(case_name):
    version = "torch {} ".format(torch.__version__.split("+")[0])
    functions = find(case_name).torch_peers(torch)
    print(json.dumps([(version, name) for name in functions]), flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        functions[line.rstrip("\n")]()
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
