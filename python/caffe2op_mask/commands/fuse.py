r"""make masks, softmax and attention of a net one operator each

Writes a net in which masks, scale, bias and Softmax are MaskedSoftmax, and with the products of
matrices around them MaskedAttention, wherever results are equal. Prints what was fused, what was
not, and why.

With arrays for what the net reads (--feed, or --feed-set for each of several sizes) the net runs on
them before and after: no shape needs to be given, and differences and times are printed. Where an
output differs by more than --tolerance, OUT is not written, the fusion to blame is named, and the
exit status is 1.

examples:
  python -m caffe2op_mask fuse net.pb fused.pb --init init.pb --feed scores=x.npy
  python -m caffe2op_mask fuse net.pb fused.pb --init init.pb \
    --feed-set scores=x.npy --feed-set scores=short.npy
  python -m caffe2op_mask fuse net.pb fused.pbtxt --shape scores=16,16
"""

import argparse

import caffe2op_mask
from caffe2op_mask.commands import UserError, files, nets


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
    nets.add_arguments(parser)
    nets.add_proof_arguments(parser)
    parser.add_argument(
        "--shape",
        dest="shapes",
        metavar="NAME=SIZE,..",
        type=shape,
        action="append",
        default=[],
        help="without arrays, the shape of a blob that does not follow from the nets; for a size "
        "that varies, a number that no other size has",
    )


def run(options):
    net = files.read_net(options.net)
    init = files.read_net(options.init) if options.init else None
    shapes = files.by_blob(options.shapes, "--shape")
    inputs = nets.read_feed_sets(options)
    if inputs and shapes:
        raise UserError("--shape is for nets without --feed, which shapes are read off.")
    try:
        report = caffe2op_mask.fuse(
            net, shapes=shapes, init=init, inputs=inputs or None, tolerance=options.tolerance
        )
    except ValueError as error:
        raise UserError(str(error))
    if report.blamed is None:
        files.write_net(net, options.fused)
    print(report)
    return 0 if report.blamed is None else 1
