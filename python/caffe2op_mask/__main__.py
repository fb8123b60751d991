"""python -m caffe2op_mask: tools for saved nets, one subcommand each."""

import argparse
import sys

from caffe2.proto import caffe2_pb2
from google.protobuf import message, text_format

import caffe2op_mask


class UserError(Exception):
    """What the user has to know, in one sentence."""


class Parser(argparse.ArgumentParser):
    """Errors are one sentence."""

    def error(self, sentence):
        self.exit(2, "{}: {}\n".format(self.prog, sentence))


def is_text(path):
    return path.endswith((".pbtxt", ".prototxt"))


def read_net(path):
    """The NetDef of a file: text if it ends in .pbtxt or .prototxt, binary otherwise."""
    net = caffe2_pb2.NetDef()
    try:
        with open(path, "rb") as file:
            content = file.read()
        if is_text(path):
            text_format.Parse(content.decode("utf-8"), net)
        else:
            net.ParseFromString(content)
    except OSError as error:
        raise UserError("{} cannot be read: {}.".format(path, error.strerror))
    except (message.DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise UserError("{} is no NetDef: {}.".format(path, detail))
    if not net.op:
        raise UserError("{} is no NetDef, or one without operators.".format(path))
    return net


def write_net(net, path):
    """Writes a NetDef as `read_net` reads it."""
    text = is_text(path)
    content = text_format.MessageToString(net).encode() if text else net.SerializeToString()
    try:
        with open(path, "wb") as file:
            file.write(content)
    except OSError as error:
        raise UserError("{} cannot be written: {}.".format(path, error.strerror))


def shape(argument):
    """("name", (2, 3)) of "name=2,3"; "name=" is a scalar."""
    name, equals, sizes = argument.partition("=")
    try:
        dims = tuple(int(size) for size in sizes.split(",")) if sizes else ()
    except ValueError:
        dims = None
    if not name or not equals or dims is None or min(dims + (0,)) < 0:
        raise argparse.ArgumentTypeError(
            "a shape is NAME=SIZE,SIZE,.. such as q=2,8,64,64, but this is '{}'".format(argument)
        )
    return name, dims


def add_fuse(commands):
    parser = commands.add_parser(
        "fuse",
        help="make masks, softmax and attention of a net one operator each",
        description="Writes a net in which SequenceMask (or Where, or Add) and Softmax are "
        "MaskedSoftmax, and with the BatchMatMuls around them MaskedAttention, wherever results "
        "are equal. Prints what was fused, what was not, and why.",
    )
    parser.add_argument("net", metavar="IN", help="NetDef; text if it ends in .pbtxt or .prototxt")
    parser.add_argument("fused", metavar="OUT", help="where the fused net goes")
    parser.add_argument("--init", metavar="INIT", help="the NetDef that fills parameters")
    parser.add_argument(
        "--shape",
        dest="shapes",
        metavar="NAME=SIZE,..",
        type=shape,
        action="append",
        default=[],
        help="shape of a blob that the nets do not tell; for a size that varies, a number that no "
        "other size has",
    )
    parser.set_defaults(run=fuse)


def fuse(options):
    net = read_net(options.net)
    init = read_net(options.init) if options.init else None
    try:
        report = caffe2op_mask.fuse(net, shapes=dict(options.shapes), init=init)
    except ValueError as error:
        raise UserError(str(error))
    write_net(net, options.fused)
    print(report)


def main(arguments=None):
    parser = Parser(prog="python -m caffe2op_mask", description=__doc__.split(": ")[1])
    version = "caffe2op_mask {}".format(caffe2op_mask.__version__)
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(metavar="COMMAND")
    add_fuse(commands)
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.error("a command is missing; --help lists them.")
    try:
        options.run(options)
    except UserError as error:
        parser.error(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
