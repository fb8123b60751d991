"""Nets that commands run: their blobs are fed and filled, checked, and fetched."""

import argparse
import contextlib
import logging

import numpy as np
from caffe2.python import workspace

from caffe2op_mask import blobs
from caffe2op_mask.checks import check_counts
from caffe2op_mask.commands import UserError, files
from caffe2op_mask.text import sentence

# What the runtime and the Python around it raise for nets, arguments and arrays that do not fit.
_ERRORS = (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, MemoryError)


def add_arguments(parser):
    parser.add_argument(
        "--init", metavar="INIT", help="the NetDef that fills parameters; runs first, once"
    )
    parser.add_argument(
        "--feed",
        dest="feeds",
        metavar="NAME=FILE.npy",
        type=files.blob_and_path,
        action="append",
        default=[],
        help="a blob that the net reads, and the array for it, whose type is kept; of several = "
        "the last divides them",
    )


def share(argument):
    """A number of at least 0, as a difference may be of what it is a difference from."""
    try:
        number = float(argument)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(
            "a tolerance is a number of at least 0 such as 1e-4, but this is '{}'".format(argument)
        )
    return number


def add_proof_arguments(parser):
    """Those of commands that run a net before and after they rewrite it."""
    parser.add_argument(
        "--feed-set",
        dest="feed_sets",
        metavar="NAME=FILE.npy",
        type=files.blob_and_path,
        nargs="+",
        action="append",
        default=[],
        help="all blobs that the net reads, and arrays for them; several sets, of other sizes, show "
        "what varies",
    )
    parser.add_argument(
        "--tolerance",
        metavar="SHARE",
        type=share,
        default=1e-4,
        help="the largest difference of an output as a share of its largest number (default 1e-4)",
    )


def read_feed_sets(options):
    """A list of {blob: array}: --feed, and each --feed-set."""
    sets = [(options.feeds, "--feed")] if options.feeds else []
    sets += [(feed_set, "--feed-set") for feed_set in options.feed_sets]
    return [
        {name: files.read_array(path) for name, path in files.by_blob(feeds, option).items()}
        for feeds, option in sets
    ]


def prepare(path, options):
    """The NetDef at `path`, with all that it reads in the workspace.

    Raises UserError for an operator that is not there or has other inputs or outputs, for a blob
    that nothing would write before it is read, and for one that is fed and not read.
    """
    net = files.read_net(path)
    init = files.read_net(options.init) if options.init else None
    feeds = files.by_blob(options.feeds, "--feed")
    arrays = [(name, file, files.read_array(file)) for name, file in feeds.items()]
    parts = [(options.init, init), (path, net)] if init else [(path, net)]
    registered = set(workspace.RegisteredOperators())
    read, writers = set(), {}  # blobs that are read as they were found; who writes the others first
    for source, part in parts:
        try:
            check_counts(source, part.op)
        except ValueError as error:
            raise UserError(str(error))
        for op in part.op:
            if op.type not in registered:
                raise UserError(
                    "{} has an operator {}, which this Caffe2 does not know.".format(
                        source, op.type
                    )
                )
            for name in op.input:
                if name not in feeds and name not in writers:
                    raise UserError(
                        "{} of {} reads '{}', which is neither fed nor written before.".format(
                            op.type, source, name
                        )
                    )
            names = list(op.input)
            if any(arg.nets or arg.HasField("n") for arg in op.arg):
                # Nets in arguments, of If and its kin, read what their net declares.
                names += part.external_input
            read.update(name for name in names if name not in writers)
            for name in op.output:
                writers.setdefault(name, source)
        read.update(name for name in part.external_input if name not in writers)
    for name, file, array in arrays:
        if name not in read and name in writers:
            raise UserError(
                "'{}' is fed, but {} writes it and does not read it before.".format(
                    name, writers[name]
                )
            )
        if name not in read:
            raise UserError("'{}' is fed, but {} does not read it.".format(name, path))
        with errors("'{}' cannot be fed from {}, of type {}".format(name, file, array.dtype)):
            workspace.FeedBlob(name, array)
    if init:
        with errors("{} failed".format(options.init)):
            workspace.RunNetOnce(init)
    return net


def written(net):
    """Names of all blobs that a net has, whoever wrote them."""
    return {name for op in net.op for names in (op.input, op.output) for name in names}


def check_blob(name, net, path):
    if name not in written(net):
        raise UserError("{} has no blob '{}'.".format(path, name))


def fetch(name):
    """The array of a blob; bfloat16, which NumPy has not, becomes float32."""
    with errors("'{}' cannot be fetched".format(name)):
        array = blobs.fetch(name)
    if not isinstance(array, np.ndarray) or array.dtype == object:
        raise UserError("'{}' is no tensor of numbers.".format(name))
    return array


@contextlib.contextmanager
def errors(what):
    """Turns what the runtime raises into a UserError: `what`, and what the runtime said."""
    # Caffe2 logs the Python lines that made an operator, which a saved net has forgotten.
    logger = logging.getLogger("caffe2.python.workspace")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except _ERRORS as error:
        raise UserError("{}: {}.".format(what, sentence(str(error)) or type(error).__name__))
    finally:
        logger.setLevel(level)
