#!/usr/bin/env python
"""Runs operators on what a seed makes up: an error of one sentence, or the oracle's result.

    python tests/fuzz/operators.py --seconds 60
    python tests/fuzz/operators.py --seed 7 --runs 1      what one run did
    python tests/fuzz/operators.py --replay tests/fuzz/corpus/operators

A run draws a case that the documentation allows, of an operator or of its gradient, and in every
other run spoils it: a type, a shape, an argument, a number of inputs. A case that was not spoilt
must give what the oracle gives; one that was may be refused, by a sentence that names the operator.
Cases run in a process of their own: one that ends is a finding, as is a wrong result. The
definition and the inputs of a finding are saved, to be replayed and, once it is mended, kept.
"""

import argparse
import collections
import json
import os
import re
import resource
import select
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "python")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from caffe2.proto import caffe2_pb2  # noqa: E402
from caffe2.python import core, workspace  # noqa: E402
from tqdm import tqdm  # noqa: E402

import caffe2op_mask  # noqa: E402,F401  the operators
import cases  # noqa: E402
from testers.operators import DTYPES, Case, create  # noqa: E402

# What a run may come to; the last two are findings.
OUTCOMES = ("equal", "refused", "not judged", "wrong", "crash")
LIMIT_SECONDS = 60
LIMIT_BYTES = 8 << 30
RUNS_OF_A_WORKER = 4000

# An operator to run, the arrays of its inputs, in order, and whether it was spoilt.
Call = collections.namedtuple("Call", "op inputs spoilt")

# Errors of the runtime's own: its check of the schema, of blobs, and of memory.
OF_THE_RUNTIME = re.compile(
    "did not pass schema checking|in-place|[Nn]ot enough memory|non-existing input blob|"
    "IsType|has wrong type|can't allocate|Cannot find op schema|enforced that"
)


def args_of(op):
    """The arguments of a definition as Python has them."""
    args = {}
    for arg in op.arg:
        if arg.HasField("i"):
            args[arg.name] = arg.i
        elif arg.HasField("f"):
            args[arg.name] = arg.f
        elif arg.HasField("s"):
            args[arg.name] = arg.s.decode("latin-1")
        else:
            args[arg.name] = list(arg.ints) or list(arg.floats) or list(arg.strings)
    return args


def feed(name, array):
    if isinstance(array, cases.BFloat16):
        array = array.tensor.clone()  # or the blob would be the tensor itself
    workspace.FeedBlob(name, array)


def fetch(name):
    """A blob as an array, or a tensor where it is of bfloat16; the way that knows all sizes."""
    try:
        tensor = workspace.FetchTorch(name)
    except RuntimeError:  # strings, and types that torch lacks
        return workspace.FetchBlob(name)
    tensor = tensor.clone()  # what is in the blob may change
    return tensor if tensor.dtype == torch.bfloat16 else tensor.numpy()


def gradient_of(random, op, inputs):
    """A gradient operator of a case, with its inputs, or None where there is none."""
    for name, array in zip(op.input, inputs):
        feed(name, array)
    workspace.RunOperatorOnce(op)
    outputs = [fetch(name) for name in op.output]
    d_outputs = []
    for name, output in zip(op.output, outputs):
        dtype = str(output.dtype).replace("torch.", "")
        there = dtype in cases.REALS and (not d_outputs or cases.one_in(random, 2))
        if dtype not in cases.REALS:
            there = not d_outputs and op.type in ("BooleanMask", "BooleanUnmask", "SequenceMask")
            there = there and dtype != "object"
        if there:
            feed("d_" + name, cases.array(random, dtype, tuple(output.shape), special=False))
        d_outputs.append("d_" + name if there else None)
    if not any(d_outputs):
        return None
    try:
        grad_ops, _ = core.GradientRegistry.GetGradientForOp(op, d_outputs)
    except Exception:  # the maker refuses, for one where an output that it needs is not named
        return None
    op = grad_ops[0]
    inputs = [fetch(name) for name in op.input]
    return op, [
        cases.BFloat16(one.double().numpy()) if isinstance(one, torch.Tensor) else one
        for one in inputs
    ]


def spoil(random, op, inputs):
    """Changes something, which need not make it wrong."""
    kind = random.randint(9)
    i = random.randint(len(inputs)) if inputs else 0
    shape = cases.shape_of(random, 0, 4)
    dtype = cases.pick(random, DTYPES + ("bfloat16",))
    if kind < 2 and inputs and inputs[i].dtype == object:
        kind = 3
    if kind == 0 and inputs:
        old = cases.wide(inputs[i])
        inputs[i] = cases.BFloat16(old) if dtype == "bfloat16" else old.astype(dtype)
    elif kind == 1 and inputs:
        old = str(inputs[i].dtype)
        inputs[i] = cases.array(random, old, shape)
    elif kind == 2 and inputs:
        inputs[i] = np.array([b"text"] * random.randint(3), dtype=object)
    elif kind == 3 and inputs:
        del op.input[i]
        del inputs[i]
    elif kind == 4:
        name = "input_more"
        op.input.append(name)
        inputs.append(cases.array(random, dtype, shape))
    elif kind == 5:
        if len(op.output) > 1 and cases.one_in(random, 2):
            del op.output[-1]
        else:
            op.output.append("output_more")
    elif kind == 6 and inputs and op.output:
        op.output[random.randint(len(op.output))] = op.input[i]
    else:
        names = [arg.name for arg in workspace.C.OpSchema.get(op.type).args]
        names += [arg.name for arg in op.arg] + ["axis", "junk"]
        name = cases.pick(random, names)
        kept = [arg for arg in op.arg if arg.name != name]
        del op.arg[:]
        op.arg.extend(kept)
        if not cases.one_in(random, 4):
            values = (-1, 0, 1, 2, 3, cases.HUGE, -cases.HUGE - 1, 0.5, -1.5, 1e30, np.nan, np.inf)
            values += ("", "junk", "upper", "upper+", "mask", "window+sequence", "relu", "span")
            values += ("uniform", "dense", [1, 2], [0.5], ["a"])
            op.arg.extend([core.utils.MakeArgument(name, cases.pick(random, values))])


def prepare(seed, only=None):
    """What the run of a seed runs."""
    random = np.random.RandomState(seed)
    op_type = cases.pick(random, only or sorted(cases.FAMILIES))
    case = cases.FAMILIES[op_type][0](random)
    op, inputs = create(op_type, case), list(case.inputs)
    spoilt = cases.one_in(random, 2)
    if cases.one_in(random, 2):
        made = gradient_of(random, op, inputs)
        if made is not None:
            op, inputs = made
    if spoilt:
        for _ in range(random.randint(1, 3)):
            spoil(random, op, inputs)
    return Call(op, inputs, spoilt)


def save(call, path):
    """Keeps a call in a file that no change of this program can change."""
    arrays = {"op": np.frombuffer(call.op.SerializeToString(), "uint8"), "spoilt": call.spoilt}
    for i, one in enumerate(call.inputs):
        if isinstance(one, cases.BFloat16):
            arrays["bfloat16_{}".format(i)] = cases.wide(one)
        else:
            arrays["input_{}".format(i)] = one.astype("S") if one.dtype == object else one
    np.savez_compressed(path, **arrays)


def load(path):
    """A call that was saved."""
    arrays = np.load(path)
    op = caffe2_pb2.OperatorDef()
    op.ParseFromString(arrays["op"].tobytes())
    inputs = []
    for i in range(len(op.input)):
        if "bfloat16_{}".format(i) in arrays:
            inputs.append(cases.BFloat16(arrays["bfloat16_{}".format(i)]))
        else:
            one = arrays["input_{}".format(i)]
            inputs.append(one.astype(object) if one.dtype.kind == "S" else one)
    return Call(op, inputs, bool(arrays["spoilt"]))


def check_error(call, error):
    """An error is a sentence that names the operator, or of the runtime's checks."""
    sentence = r"\b{}: ([^\n]*?)( \(Error from operator|\n|$)".format(call.op.type)
    found = re.search(sentence, str(error))
    if found:
        assert found.group(1).rstrip().endswith("."), "no sentence: " + found.group(0)
    else:
        assert OF_THE_RUNTIME.search(str(error)), "an error of nobody's: " + str(error)[:400]
    memory = re.search("[Nn]ot enough memory|can't allocate|more than 2\\^63", str(error))
    assert call.spoilt or memory, "refused what is right: " + str(error)[:400]


def run(call):
    """Runs a call: its outcome, and what was wrong."""
    op = call.op
    # One blob may stand for several inputs: then all are what was fed last.
    blobs = dict(zip(op.input, call.inputs))
    inputs = [blobs[name] for name in op.input]
    before = np.array([4.0, 2.0])
    for name in op.output:
        feed(name, before)
    for name, array in blobs.items():
        feed(name, array)
    try:
        workspace.RunOperatorOnce(op)
    except Exception as error:
        try:
            check_error(call, error)
            for name in set(op.output) - set(op.input):
                assert np.array_equal(fetch(name), before), "an error, and {} written".format(name)
        except AssertionError as what:
            return "wrong", str(what)
        return "refused", str(error)
    outputs = [fetch(name) for name in op.output]
    try:
        judged = Case(inputs, args_of(op), len(outputs), None)
        with np.errstate(all="ignore"):
            cases.JUDGES[op.type](judged, outputs)
    except AssertionError as what:
        return "wrong", str(what)
    except Exception as error:  # the oracle knows no such thing
        return "not judged", repr(error)
    return "equal", ""


def work(only, answers):
    """Reads seeds or paths from standard input, and writes what came of each."""
    torch.set_num_threads(2)
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    for line in sys.stdin:
        what = json.loads(line)
        workspace.ResetWorkspace()
        call = load(what) if isinstance(what, str) else prepare(what, only)
        outcome, message = run(call)
        os.write(answers, (json.dumps([call.op.type, outcome, message]) + "\n").encode())


class Worker(object):
    """A process that runs calls, and another one where that ends."""

    def __init__(self, only):
        self.only = only
        self.process = None

    def start(self):
        self.errors = tempfile.TemporaryFile()
        receive, send = os.pipe()
        command = [sys.executable, "-X", "faulthandler", os.path.abspath(__file__)]
        command += ["--worker", str(send)]
        for name in self.only or ():
            command += ["--operator", name]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self.errors,
            stderr=self.errors,
            pass_fds=[send],
        )
        os.close(send)
        self.answers = os.fdopen(receive, "rb")
        self.runs = 0

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.answers.close()
            self.errors.close()

    def __call__(self, what):
        """Operator (if known), outcome and message of a seed or path."""
        if self.process is None or self.runs == RUNS_OF_A_WORKER:
            self.stop()
            self.start()
        self.runs += 1
        self.process.stdin.write((json.dumps(what) + "\n").encode())
        self.process.stdin.flush()
        ready, _, _ = select.select([self.answers], [], [], LIMIT_SECONDS)
        answer = self.answers.readline() if ready else b""
        if answer:
            return json.loads(answer.decode())
        if not ready:
            message = "no answer in {} seconds".format(LIMIT_SECONDS)
            self.process.kill()
        else:
            message = "the process ended with {}".format(self.process.wait())
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 3000))
        message += "\n" + self.errors.read().decode(errors="replace")
        self.stop()
        return [None, "crash", message]


def keep(what, folder, only):
    """Saves the call of a finding; returns its path, or how to make it again."""
    if isinstance(what, str):
        return what
    try:
        call = prepare(what, only)
    except Exception:
        return "--seed {} --runs 1".format(what)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "{}-{}.npz".format(call.op.type, what))
    save(call, path)
    return path


def seeds_of(args):
    """Seeds one after the other, for as long, or as many times, as was asked for."""
    end = None if args.seconds is None else time.time() + args.seconds
    seed = args.seed
    while (end is None or time.time() < end) and (
        args.runs is None or seed < args.seed + args.runs
    ):
        yield seed
        seed += 1


def report(counts):
    """The figures, by operator."""
    row = "{:<26}" + "{:>11}" * (len(OUTCOMES) + 1)
    print(row.format("operator", "runs", *OUTCOMES))
    for name in sorted(counts) + ["all"]:
        of = sum(counts.values(), collections.Counter()) if name == "all" else counts[name]
        print(row.format(name, sum(of.values()), *[of[outcome] for outcome in OUTCOMES]))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, help="how long")
    parser.add_argument("--runs", type=int, help="how many runs")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first run (default 1)")
    parser.add_argument("--operator", action="append", help="draw of this one alone; repeatable")
    parser.add_argument("--replay", metavar="PATH", help="run saved calls: a file, or a folder's")
    parser.add_argument(
        "--findings", default=os.path.join(HERE, "..", "..", "build", "fuzz", "findings"),
        help="where findings are saved (default build/fuzz/findings)",
    )
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name in args.operator or ():
        if name not in cases.FAMILIES:
            parser.error("--operator must be one of {}".format(", ".join(sorted(cases.FAMILIES))))
    if args.worker is not None:
        return work(args.operator, args.worker)
    if args.replay is not None:
        folder = os.path.isdir(args.replay)
        names = sorted(os.listdir(args.replay)) if folder else [""]
        runs = [os.path.join(args.replay, name) if name else args.replay for name in names]
    else:
        if args.seconds is None and args.runs is None:
            args.seconds = 60
        runs = seeds_of(args)
    worker = Worker(args.operator)
    counts = collections.defaultdict(collections.Counter)
    findings = 0
    start = time.time()
    progress = tqdm(runs, unit=" runs", file=sys.stderr, mininterval=1)
    for what in progress:
        op_type, outcome, message = worker(what)
        counts[op_type or "?"][outcome] += 1
        if outcome in ("wrong", "crash"):
            findings += 1
            progress.write(
                "{} {}: {}\n    {}".format(
                    outcome, op_type or "", message, keep(what, args.findings, args.operator)
                )
            )
        elif args.runs == 1:
            print(op_type, outcome, message)
    worker.stop()
    report(counts)
    runs = sum(sum(of.values()) for of in counts.values())
    print("{} runs in {:.0f} s, {} findings".format(runs, time.time() - start, findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
