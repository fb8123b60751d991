"""MaskedAttention holds tiles of its scores, never all of them, forward and backward."""

import pytest

from testers import fresh_process

LENGTH = 16384  # 4 heads of scores, one 4-byte entry each, would take 4 GiB
MIB = 2 ** 20

# What a thread works in, tiles and the rows they are made of, takes below 1 MiB.
BOUND = 8 * MIB

# Memory that is freed goes back, and so does not serve, uncounted, what is measured.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}

SOURCE = """
    import numpy as np
    import torch
    from caffe2.python import core, workspace
    import caffe2op_mask

    def memory(field):
        with open("/proc/self/status") as status:
            return 1024 * int(next(line for line in status if field in line).split()[1])

    def peak(op):
        # What it took at most, less the outputs that it made.
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")  # the peak begins anew
        before = memory("VmRSS")
        workspace.RunOperatorOnce(op)
        taken = memory("VmHWM") - before
        return taken - sum(workspace.FetchBlob(name).nbytes for name in op.output)

    def run(length):
        workspace.ResetWorkspace()
        for i, name in enumerate(["q", "k", "v", "d_o"]):
            wave = np.sin(np.arange(4 * length * 64, dtype="f") * (i + 1))
            workspace.FeedBlob(name, wave.reshape(1, 4, length, 64))
        op = core.CreateOperator("MaskedAttention", ["q", "k", "v"], ["o", "lse"], mode="upper")
        backward, _ = core.GradientRegistry.GetGradientForOp(op, ["d_o", None])
        return [peak(op)] + [peak(one) for one in backward]

    torch.set_num_threads({threads})
    run(16)  # loads what there is to load
    print(*run({length}))
"""


@pytest.mark.parametrize("threads", [2, 8])
def test_no_matrix_of_scores(threads):
    """With a head or two for each thread, and with more threads than heads."""
    source = SOURCE.format(length=LENGTH, threads=threads)
    taken = [int(n) for n in fresh_process.output(source, **ALLOCATOR).split()]
    assert len(taken) == 2
    assert max(taken) < BOUND, taken
