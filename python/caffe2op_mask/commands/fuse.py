"""make masks, softmax and attention of a net one operator each

Writes a net in which SequenceMask (or Where, or Add) and Softmax are MaskedSoftmax, and with the
BatchMatMuls around them MaskedAttention, wherever results are equal. Prints what was fused, what
was not, and why.

examples:
  python -m caffe2op_mask fuse net.pb fused.pb --init init.pb
  python -m caffe2op_mask fuse net.pb fused.pbtxt --shape scores=16,16
"""

import argparse

import caffe2op_mask
from caffe2op_mask.commands import UserError, files


def shape(argument):
    """("name", (2, 3)) of "name=2,3"; "name=" is a scalar."""
    name, _, dims = argument.rpartition("=")
    dims = files.dims_of(dims)
    if not name or dims is None:
        raise argparse.ArgumentTypeError(
            "a shape is NAME=SIZE,SIZE,.. such as q=2,8,64,64, but this is '{}'".format(argument)
        )
    return name, dims


def add_arguments(parser):
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


def run(options):
    net = files.read_net(options.net)
    init = files.read_net(options.init) if options.init else None
    shapes = files.by_blob(options.shapes, "--shape")
    try:
        report = caffe2op_mask.fuse(net, shapes=shapes, init=init)
    except ValueError as error:
        raise UserError(str(error))
    files.write_net(net, options.fused)
    print(report)
