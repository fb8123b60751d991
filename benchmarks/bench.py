"""caffe2op_mask beside stock Caffe2, memcpy and other libraries, in one run.

    make bench                                   all cases, into benchmarks/results/
    python benchmarks/bench.py --only Unmask     cases whose name has "Unmask" in it
    python benchmarks/bench.py --compare A.json B.json --threshold 1.15
    python benchmarks/bench.py --torch-python other/bin/python   a current torch too

Each case runs in a process of its own (measure.py), all its contenders in turn, and the best time
of each counts. Machines differ and are noisy; read the ratios, and those within one case. A second
table holds the targets and whether they are met; those against torch's SDPA, which the runtime's
torch does not have, only with --torch-python.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys

import tqdm

import report
from cases import CASES

FOLDER = os.path.dirname(os.path.abspath(__file__))


def machine():
    """What a number means nothing without."""
    import caffe2op_mask
    import torch

    with open("/proc/cpuinfo") as lines:
        models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "target": caffe2op_mask.target_name(),
        "compiler": caffe2op_mask.compiler(),
        "runtime": "torch " + torch.__version__,
        "caffe2op_mask": caffe2op_mask.__version__,
    }


def run(names, rounds, torch_python):
    results = []
    for name in tqdm.tqdm(names, unit="case"):
        command = [sys.executable, os.path.join(FOLDER, "measure.py"), name]
        command += ["--rounds", str(rounds)]
        if torch_python:
            command += ["--torch-python", torch_python]
        finished = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  universal_newlines=True)
        if finished.returncode != 0:
            sys.exit("{} failed:\n{}".format(name, finished.stderr))
        results.append(json.loads(finished.stdout.splitlines()[-1]))
    command = [os.path.basename(sys.argv[0])]
    command += ["PYTHON" if argument == torch_python else shlex.quote(argument)
                for argument in sys.argv[1:]]
    return {"machine": machine(), "command": " ".join(command),
            "rounds": rounds, "results": results}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="run cases with this in their name")
    parser.add_argument("--rounds", type=int, default=15, help="runs of each contender")
    parser.add_argument("--torch-python", help="a Python with another torch to run beside")
    parser.add_argument("--output", default=os.path.join(FOLDER, "results"), help="folder")
    parser.add_argument("--compare", nargs=2, metavar=("BEFORE", "AFTER"), help="two JSON files")
    parser.add_argument("--threshold", type=float, default=1.15,
                        help="with --compare: a ratio that grew more than this is a failure")
    options = parser.parse_args()
    if options.compare:
        before, after = (json.load(open(path)) for path in options.compare)
        slower = report.compare(before, after, options.threshold)
        sys.exit(1 if slower else 0)
    names = [name for name in CASES if options.only.lower() in name.lower()]
    if not names:
        parser.error("no case has {!r} in its name".format(options.only))
    figures = run(names, options.rounds, options.torch_python)
    os.makedirs(options.output, exist_ok=True)
    path = os.path.join(options.output, "bench")
    with open(path + ".json", "w") as out:
        json.dump(figures, out, indent=1)
    table = report.markdown(figures)
    with open(path + ".md", "w") as out:
        out.write(table)
    report.chart(figures, path + ".png")
    print(table)
    print("Written: {0}.json, {0}.md, {0}.png".format(os.path.relpath(path)))


if __name__ == "__main__":
    main()
