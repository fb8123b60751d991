"""Nets that commands run: their blobs are fed and filled, checked, and fetched."""

import contextlib
import logging
import re

import numpy as np
from caffe2.python import workspace

from caffe2op_mask.commands import UserError, files


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
        help="a blob that the net reads, and the array for it, whose type is kept",
    )


def prepare(path, options):
    """The NetDef at `path`, with all that it reads in the workspace.

    Raises UserError for an operator that is not there, for a blob that nothing would write before
    it is read, and for one that is fed and not read.
    """
    net = files.read_net(path)
    init = files.read_net(options.init) if options.init else None
    arrays = [(name, file, files.read_array(file)) for name, file in options.feeds]
    registered = set(workspace.RegisteredOperators())
    there, read = {name for name, _, _ in arrays}, set()
    for source, part in ((options.init, init), (path, net)):
        for op in part.op if part else ():
            if op.type not in registered:
                raise UserError(
                    "{} has an operator {}, which this Caffe2 does not know.".format(
                        source, op.type
                    )
                )
            for name in op.input:
                if name not in there:
                    raise UserError(
                        "{} of {} reads '{}', which is neither fed nor written before.".format(
                            op.type, source, name
                        )
                    )
            read.update(op.input)
            there.update(op.output)
    for part in (init, net):
        # Nets in arguments, of If and its kin, read what their net declares.
        read.update(part.external_input if part else ())
    for name, file, array in arrays:
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
    """The array of a blob."""
    with errors("'{}' cannot be fetched".format(name)):
        array = workspace.FetchBlob(name)
    if not isinstance(array, np.ndarray) or array.dtype == object:
        raise UserError("'{}' is no tensor of numbers.".format(name))
    return array


@contextlib.contextmanager
def errors(what):
    """Turns an error of the runtime into a UserError: `what`, and what the runtime said."""
    # Caffe2 logs the Python lines that made an operator, which a saved net has forgotten.
    logger = logging.getLogger("caffe2.python.workspace")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except (RuntimeError, TypeError) as error:
        raise UserError("{}: {}.".format(what, sentence(str(error))))
    finally:
        logger.setLevel(level)


def sentence(text):
    """The message in an error of Caffe2, without places in its source."""
    text = text.split("\nframe #")[0].split("(Error from operator:")[0]
    text = re.sub(r"^\[enforce fail at [^\]]*\] ", "", text)
    # The condition that failed stands first. It says nothing where an operator of ours goes on.
    text = re.sub(r"^.*?\. (?=[A-Z]\w*: )", "", text)
    return " ".join(text.split()).rstrip(".")
