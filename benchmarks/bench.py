"""caffe2op_mask beside stock Caffe2, memcpy and other libraries, in one run.

    make bench                                   all cases, into benchmarks/results/
    python benchmarks/bench.py --only Unmask     cases whose name has "Unmask" in it
    python benchmarks/bench.py --compare A.json B.json --threshold 1.15
    python benchmarks/bench.py --torch-python other/bin/python   a current torch too

Each case runs in a process of its own (measure.py), all its contenders in turn, and the best time
of each counts. Machines differ and are noisy; read the ratios, and those within one case. A second
table holds the targets and whether they are met; those against torch's SDPA, which the runtime's
torch does not have, only with --torch-python.
"""

import os
import sys

import harness
import report
from cases import CASES


def main():
    parser = harness.cases_parser(__doc__, rounds=15)
    parser.add_argument("--compare", nargs=2, metavar=("BEFORE", "AFTER"), help="two JSON files")
    parser.add_argument("--threshold", type=float, default=1.15,
                        help="with --compare: a ratio that grew more than this is a failure")
    options = parser.parse_args()
    if options.compare:
        slower = report.compare(*map(harness.read, options.compare), threshold=options.threshold)
        sys.exit(1 if slower else 0)
    figures = harness.run_cases(parser, options, CASES)
    path = os.path.join(options.output, "bench")
    harness.write(path + ".json", figures)
    table = report.markdown(figures)
    with open(path + ".md", "w") as out:
        out.write(table)
    report.chart(figures, path + ".png")
    print(table)
    print("Written: {0}.json, {0}.md, {0}.png".format(os.path.relpath(path)))


if __name__ == "__main__":
    main()
