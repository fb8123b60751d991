"""Times torch's side of a case whenever asked: reads names of contenders, answers with seconds.

Run by measure.py with a Python of its own, so that a torch without Caffe2 can stand beside.
"""

import json
import sys
import time

import torch

from cases import CASES


def main(case_name):
    prefix = "torch {} ".format(torch.__version__.split("+")[0])
    functions = {
        prefix + name: function
        for name, function in CASES[case_name]().torch_peers(torch).items()
    }
    print(json.dumps(list(functions)), flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        functions[line.rstrip("\n")]()
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
