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


def add_arguments(parser):
    parser.add_argument("net", metavar="IN", help="NetDef; text if it ends in .pbtxt or .prototxt")
    parser.add_argument("fused", metavar="OUT", help="where the fused net goes")
    nets.add_arguments(parser)
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
    sets = [(options.feeds, "--feed")] if options.feeds else []
    sets += [(feed_set, "--feed-set") for feed_set in options.feed_sets]
    inputs = [
        {name: files.read_array(path) for name, path in files.by_blob(feeds, option).items()}
        for feeds, option in sets
    ]
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
