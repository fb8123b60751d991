"""Trains a net with masks by two processes, each on half of every batch, with Caffe2's own
data_parallel_model and Gloo, and shows that the losses are those of one process.

    python examples/data_parallel.py [--epochs N] [--seed N]
    python examples/data_parallel.py --kill STEP [--timeout SECONDS]

Each process loads the library for itself. They meet by files in a temporary folder, talk over the
loopback, and after each step hold the same parameters. With --kill, one of them is killed: the
other ends with an error, at once where they were connected, and after the timeout where they have
not met yet.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from argparse import SUPPRESS

import numpy as np
from caffe2.python import core, model_helper, optimizer, workspace
from tqdm import tqdm

import ink_net
from caffe2op_mask import global_init
from program import Parser, seed_nets
from topic_net import check_library

PROCESSES = 2
EPOCHS = 20
BATCH_SIZE = 64
LEARNING_RATE = 0.02
MOMENTUM = 0.9
TIMEOUT = 10

# What a process may need beside the timeout: to start, and to end.
SLACK = 30


def build(rank, size, folder, seed, timeout):
    """Makes the model as process `rank` of `size` has it; returns what makes a step."""
    from caffe2.python import data_parallel_model

    rendezvous = None
    if size > 1:
        workspace.RunOperatorOnce(
            core.CreateOperator("FileStoreHandlerCreate", [], ["store"], path=folder)
        )
        rendezvous = {
            "kv_handler": "store",
            "shard_id": rank,
            "num_shards": size,
            "engine": "GLOO",
            "transport": "tcp",
            "interface": "lo",
        }

    def forward(model, loss_scale):
        logits = ink_net.add_ink_net(model, compact=True)
        # Half of the mean over half of the batch: the gradients are added up, and so are these.
        _, loss = model.net.SoftmaxWithLoss(
            [logits, "labels"], ["probabilities", "loss"], scale=loss_scale
        )
        return [loss]

    model = model_helper.ModelHelper("train")
    # The barrier before a step has an argument for its timeout, the other collectives have not.
    data_parallel_model._DEFAULT_TIMEOUT_SEC = timeout
    data_parallel_model.Parallelize_CPU(
        model,
        input_builder_fun=lambda model: None,
        forward_pass_builder_fun=forward,
        optimizer_builder_fun=lambda model: optimizer.build_sgd(
            model, LEARNING_RATE, momentum=MOMENTUM
        ),
        devices=[0],
        rendezvous=rendezvous,
        barrier_net_timeout_sec=timeout,
    )
    # Process 0 sends its parameters to the others before the first step.
    seed_nets(seed, model.param_init_net)
    data_parallel_model.RunInitNet(model)
    return lambda: data_parallel_model.RunNet(model, 1)


def feed(batch, rank, size):
    """Feeds every `size`-th example of a batch."""
    for blob, value in batch.items():
        workspace.FeedBlob("cpu_0/" + blob, value[rank::size])


def accuracy(held_out):
    predict = model_helper.ModelHelper("predict", init_params=False)
    with core.NameScope("cpu_0"):
        logits = ink_net.add_ink_net(predict, compact=True)
    feed(ink_net.encode(held_out), 0, 1)
    workspace.RunNetOnce(predict.net)
    return np.mean(workspace.FetchBlob(logits).argmax(axis=1) == held_out.labels)


def work(options):
    """One process: prints its part of each loss and, at the end, its accuracy."""
    # The runtime prints too. What it says goes to stderr, and stdout has the numbers alone.
    numbers, sys.stdout = sys.stdout, sys.stderr
    global_init("data_parallel", threads=1)
    rank, size = options.rank, options.size
    try:
        check_library()
        split = ink_net.load(options.seed)
        batches = list(ink_net.batches(split.train, BATCH_SIZE, options.epochs, options.seed))
        feed(batches[0], rank, size)
        step = build(rank, size, options.folder, options.seed, options.timeout)
        for batch in batches:
            feed(batch, rank, size)
            step()
            print(float(workspace.FetchBlob("cpu_0/loss")), file=numbers, flush=True)
        print(accuracy(split.held_out), file=numbers, flush=True)
    except RuntimeError as error:
        sys.exit("Process {} of {}: {}".format(rank, size, str(error).split("\n")[0]))


@contextlib.contextmanager
def started(size, options):
    """So many processes, told by their command lines what to do; none is left behind."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, os.path.abspath(__file__), "--size", str(size)]
        command += ["--folder", folder]
        for name in ("epochs", "seed", "timeout"):
            command += ["--" + name, str(getattr(options, name))]
        workers = []
        try:
            for rank in range(size):
                workers.append(
                    subprocess.Popen(
                        command + ["--rank", str(rank)],
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        universal_newlines=True,
                    )
                )
            yield workers
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


def how_it_ended(worker, options):
    """The last line of what a process said; None where it does not end."""
    try:
        _, said = worker.communicate(timeout=options.timeout + SLACK)
    except subprocess.TimeoutExpired:
        return None
    return (said.strip().split("\n") or [""])[-1]


def train(size, steps, options):
    """Trains by so many processes; returns the losses, each accuracy, and the seconds it took.

    Ends this program where one of them fails.
    """
    label = "{} process{}".format(size, "es" if size > 1 else "")
    losses, accuracies = [], ()
    with started(size, options) as workers, tqdm(total=steps, desc=label, unit="step") as bar:
        begin = None
        # A line of each at a time: they make their steps together.
        for parts in zip(*(worker.stdout for worker in workers)):
            begin = begin or time.perf_counter()
            parts = [float(part) for part in parts]
            if len(losses) == steps:
                accuracies = parts
                break
            losses.append(sum(parts))
            seconds = time.perf_counter() - begin
            bar.set_postfix(loss="{:.3f}".format(losses[-1]), refresh=False)
            bar.update()
        for rank, worker in enumerate(workers):
            said = how_it_ended(worker, options)
            if worker.returncode != 0:
                sys.exit(said or "Process {} of {} does not end.".format(rank, size))
    return losses, accuracies, seconds


def kill_one(options):
    """Kills the last process after so many steps, and tells how process 0 ends."""
    with started(PROCESSES, options) as workers:
        survivor, killed = workers[0], workers[-1]
        for _ in tqdm(range(options.kill), desc="before the kill", unit="step"):
            if not all([worker.stdout.readline() for worker in workers]):
                sys.exit(how_it_ended(survivor, options))
        killed.kill()
        begin = time.perf_counter()
        said = how_it_ended(survivor, options)
        seconds = time.perf_counter() - begin
        if not survivor.returncode:
            sys.exit("Process 0 did not fail without the other in {:.1f} s.".format(seconds))
    print(
        "Process {} was killed after step {}; {:.1f} s later process 0 ended with status "
        "{}:".format(PROCESSES - 1, options.kill, seconds, survivor.returncode)
    )
    print("  " + said)


def parse_arguments(arguments):
    parser = Parser(__doc__)
    parser.add_number("epochs", EPOCHS, "times over the digits", 1)
    parser.add_number(
        "kill", None, "kill a process after so many steps, 0 or more", 0, metavar="STEP"
    )
    parser.add_number(
        "timeout", TIMEOUT, "seconds that a process waits for the other (default %(default)s)", 1
    )
    # With these the program is one of the processes, not the one that starts them.
    for name, kind in (("--rank", int), ("--size", int), ("--folder", str)):
        parser.add_argument(name, type=kind, help=SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    if options.rank is not None:
        work(options)
        return
    split = ink_net.load(options.seed)
    steps = options.epochs * ink_net.steps_an_epoch(split.train, BATCH_SIZE)
    if options.kill is not None:
        if options.kill >= steps:
            sys.exit(
                "--kill must be less than the {} steps, but is {}.".format(steps, options.kill)
            )
        kill_one(options)
        return

    majority = np.mean(split.held_out.labels == np.bincount(split.train.labels).argmax())
    alone, (alone_accuracy,), alone_seconds = train(1, steps, options)
    shared, accuracies, shared_seconds = train(PROCESSES, steps, options)
    apart = np.abs(np.subtract(alone, shared))
    print("Told held-out digits:")
    print("  majority guess  {:6.1%}".format(majority))
    print("  one process     {:6.1%}, {:.1f} s".format(alone_accuracy, alone_seconds))
    for rank, value in enumerate(accuracies):
        print(
            "  process {} of {}  {:6.1%}, {:.1f} s".format(rank, PROCESSES, value, shared_seconds)
        )
    print("Loss at first and at last:")
    print("  one process     {:.6f} {:.6f}".format(alone[0], alone[-1]))
    print("  two processes   {:.6f} {:.6f}".format(shared[0], shared[-1]))
    print("Those of the {} steps differ by at most {:.1e}.".format(steps, apart.max()))


if __name__ == "__main__":
    main()
