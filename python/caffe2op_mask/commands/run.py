"""run a saved net on arrays, and save what it computes

Loads the mask operators, runs INIT once and NET as often as asked, on what the run before left, and
writes blobs to .npy files, bfloat16, which NumPy has not, as float32. Prints the shape and type of
each, and the time of a run.

examples:
  python -m caffe2op_mask run net.pb --init init.pb --feed scores=x.npy --fetch weights=y.npy
  python -m caffe2op_mask run net.pb --init init.pb --feed scores=x.npy --repeat 100
"""

import statistics
import time

from caffe2.python import workspace

from caffe2op_mask.commands import files, nets
from caffe2op_mask.commands.progress import progress


def add_arguments(parser):
    parser.add_argument("net", metavar="NET", help="NetDef; text if it ends in .pbtxt or .prototxt")
    nets.add_arguments(parser)
    parser.add_argument(
        "--fetch",
        dest="fetches",
        metavar="NAME=FILE.npy",
        type=files.blob_and_path,
        action="append",
        default=[],
        help="a blob of the net, and where its array goes; of several = the last divides them",
    )
    parser.add_argument(
        "--repeat", metavar="N", type=files.count, default=1, help="runs of NET (default 1)"
    )


def run(options):
    net = nets.prepare(options.net, options)
    for name, _ in options.fetches:
        nets.check_blob(name, net, options.net)
    if not net.name:
        net.name = "net"  # the runtime wants one
    milliseconds = []
    with nets.errors("{} failed".format(options.net)):
        workspace.CreateNet(net, True)
        for _ in progress(range(options.repeat), "run"):
            begin = time.perf_counter()
            workspace.RunNet(net.name)
            milliseconds.append((time.perf_counter() - begin) * 1e3)
    for name, path in options.fetches:
        array = nets.fetch(name)
        files.write_array(array, path)
        print("{} {} {} -> {}".format(name, list(array.shape), array.dtype, path))
    if options.repeat == 1:
        print("1 run of {:.3g} ms".format(*milliseconds))
    else:
        print(
            "{} runs of {:.3g} ms, the median; the best {:.3g}, the first {:.3g}".format(
                options.repeat, statistics.median(milliseconds), min(milliseconds), milliseconds[0]
            )
        )
