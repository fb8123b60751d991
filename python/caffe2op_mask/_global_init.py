"""The runtime, initialized as programs want it."""

import os

from caffe2.python import core


def global_init(name, threads=None):
    """``core.GlobalInit`` of a program of this name, with threads for the operators.

    threads     how many; else what OMP_NUM_THREADS and MKL_NUM_THREADS say, and without them as
                many as the process has cores. GlobalInit by itself leaves one, whatever
                OMP_NUM_THREADS says where MKL is the runtime's BLAS

    What the runtime raises as an error it does not log as well.
    """
    omp = threads or _of_environment("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))
    counts = {"omp": omp, "mkl": threads or _of_environment("MKL_NUM_THREADS") or omp}
    flags = ["--caffe2_log_level=3"]
    for library, count in sorted(counts.items()):
        flags.append("--caffe2_{}_num_threads={}".format(library, count))
        # Some runtimes look here, and only when the first operator runs.
        os.environ[library.upper() + "_NUM_THREADS"] = str(count)
    core.GlobalInit([name] + flags)


def _of_environment(variable):
    """The number of a variable, the first where there is one for each level; 0 for none."""
    first = os.environ.get(variable, "").split(",")[0].strip()
    return int(first) if first.isdigit() else 0
