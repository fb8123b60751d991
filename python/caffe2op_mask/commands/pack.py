r"""make a net of padded activations compute on the rows that are kept alone

Writes a net in which products of matrices, and what works row by row around them, run on the
rows that lengths or a mask keep: BooleanMask before them, BooleanUnmask behind. Attention stays as
it is. fuse the net first. Prints what was packed, what was not, and why.

The net runs on arrays for what it reads (--feed, or --feed-set for each of several sizes) before
and after: differences and times are printed. Where it gains nothing OUT is the net as it was.
Where an output differs by more than --tolerance, OUT is not written and the exit status is 1.

examples:
  python -m caffe2op_mask pack encoder.pb packed.pb --init encoder_init.pb \
    --feed x=sentences.npy --feed lengths=lengths.npy
  python -m caffe2op_mask pack encoder.pb packed.pb --init encoder_init.pb \
    --feed x=sentences.npy --feed lengths=lengths.npy --padding zeros
"""

import caffe2op_mask
from caffe2op_mask.commands import UserError, files, nets


def add_arguments(parser):
    parser.add_argument("net", metavar="IN", help="NetDef; text if it ends in .pbtxt or .prototxt")
    parser.add_argument("packed", metavar="OUT", help="where the packed net goes")
    nets.add_arguments(parser)
    nets.add_proof_arguments(parser)
    parser.add_argument(
        "--padding",
        choices=("same", "zeros"),
        default="same",
        help="what rows of padding are in outputs of the net: what they were (default), or zeros",
    )


def run(options):
    net = files.read_net(options.net)
    init = files.read_net(options.init) if options.init else None
    inputs = nets.read_feed_sets(options)
    if not inputs:
        raise UserError("--feed or --feed-set must have arrays for what the net reads.")
    try:
        report = caffe2op_mask.pack(
            net, inputs, init=init, tolerance=options.tolerance, padding=options.padding
        )
    except ValueError as error:
        raise UserError(str(error))
    if not report.failed:
        files.write_net(net, options.packed)
    print(report)
    return 1 if report.failed else 0
