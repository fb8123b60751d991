"""What the programs of this folder share: options, nets, best times, figures in files, charts.

What runs cases, each by measure.py in a process of its own, is here too.
"""

import argparse
import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))


def parser(description, rounds=None, output=True):
    """Options: how often everything is timed, and the folder of what is written."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds:
        made.add_argument("--rounds", type=int, default=rounds, help="runs of each contender")
    if output:
        made.add_argument("--output", default=os.path.join(FOLDER, "results"), help="folder")
    return made


def cases_parser(description, rounds):
    """Those of a program that runs cases."""
    made = parser(description, rounds)
    made.add_argument("--only", default="", help="run cases with this in their name")
    made.add_argument("--torch-python", help="a Python with another torch to run beside")
    return made


def net(name, operators, engine=""):
    """A net of operators, each a tuple of type, inputs, outputs and arguments; not created yet.

    What is drawn is the same in every process.
    """
    from caffe2.proto import caffe2_pb2
    from caffe2.python import core

    seeded = core.DeviceOption(caffe2_pb2.CPU, random_seed=1)
    made = core.Net(name)
    made.Proto().op.extend([
        core.CreateOperator(op, inputs, outputs, engine=engine, device_option=seeded, **arguments)
        for op, inputs, outputs, arguments in operators])
    return made


def create(made):
    """How to run a net."""
    from caffe2.python import workspace

    workspace.CreateNet(made, overwrite=True)
    name = made.Name()
    return lambda: workspace.RunNet(name)


def timed(function, *arguments):
    """Milliseconds of one run."""
    begin = time.perf_counter()
    function(*arguments)
    return (time.perf_counter() - begin) * 1e3


def best_of(rounds, contenders, between=lambda: None):
    """The best that each function returns; every round calls all of them in turn."""
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(rounds):
        for name, run in contenders.items():
            between()
            best[name] = min(best[name], run())
    return best


def read(path):
    with open(path) as lines:
        return json.load(lines)


def write(path, figures):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w") as out:
        json.dump(figures, out, indent=1)


def table(head, rows):
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head)] + rows]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def chart(path, rows=1, columns=1, top=1.0, **options):
    """A figure and the grid of its axes, saved in the end; `top` is where the axes end."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(rows, columns, squeeze=False, **options)
    yield figure, grid
    figure.tight_layout(rect=(0, 0, 1, top))
    figure.savefig(path, dpi=120)
    plt.close(figure)


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


def run_cases(used, options, specs):
    """The figures of those cases that the options of a `cases_parser` select."""
    import tqdm

    names = [name for name in map(str, specs) if options.only.lower() in name.lower()]
    if not names:
        used.error("no case has {!r} in its name".format(options.only))
    results = []
    for name in tqdm.tqdm(names, unit="case"):
        command = [sys.executable, os.path.join(FOLDER, "measure.py"), name]
        command += ["--rounds", str(options.rounds)]
        if options.torch_python:
            command += ["--torch-python", options.torch_python]
        finished = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  universal_newlines=True)
        if finished.returncode != 0:
            sys.exit("{} failed:\n{}".format(name, finished.stderr))
        results.append(json.loads(finished.stdout.splitlines()[-1]))
    command = [os.path.basename(sys.argv[0])]
    command += ["PYTHON" if argument == options.torch_python else shlex.quote(argument)
                for argument in sys.argv[1:]]
    return {"machine": machine(), "command": " ".join(command), "rounds": options.rounds,
            "results": results}
