"""SequenceMask: which keys an attention may look at.

Rows are queries, columns are keys; ``#`` is kept and ``.`` is filled. The triangles are named for
what they mask, so that "upper" leaves what is causal. New are left_pad, ``diagonal``, shapes joined
by ``+``, and lengths ``[B]`` for scores ``[B, H, L, L]``.

Run with: .venv/bin/python examples/sequence_mask_example.py

Output:

    sequence         ##.. ##.. #### ####
    window           ##.. ###. .### ..##
    left_pad         #### .### ..## ...#
    upper            #... ##.. ###. ####
    lower            #### .### ..## ...#
    upperdiag        .... #... ##.. ###.
    lowerdiag        .### ..## ...# ....
    upper, diagonal  ##.. ###. #### ####
    window+upper     #... ##.. .##. ..##
    batch 0, head 0  #... ##.. ##.. ##..
    batch 1, head 0  #... ##.. ###. ###.
    weights of batch 0, head 0, query 3  [0.5, 0.5, 0.0, 0.0]
"""

import numpy as np
from caffe2.python import core, workspace

import caffe2op_mask  # noqa: F401 (loads the operators)


def mask(scores, inputs, **arguments):
    """The scores with -inf, the default fill, where they are masked."""
    workspace.FeedBlob("scores", scores)
    op = core.CreateOperator("SequenceMask", ["scores"] + inputs, ["masked"], **arguments)
    workspace.RunOperatorOnce(op)
    return workspace.FetchBlob("masked")


def show(title, matrix):
    rows = ("".join("." if score == -np.inf else "#" for score in row) for row in matrix)
    print("{:<16} {}".format(title, " ".join(rows)))


matrix = np.zeros((4, 4), dtype=np.float32)
workspace.FeedBlob("lengths", np.array([2, 2, 4, 4], dtype=np.int32))
workspace.FeedBlob("centers", np.arange(4, dtype=np.int32))
workspace.FeedBlob("left_pad", np.arange(4, dtype=np.int32))
show("sequence", mask(matrix, ["lengths"], mode="sequence"))
show("window", mask(matrix, ["centers"], mode="window", radius=1))
show("left_pad", mask(matrix, ["left_pad"], mode="left_pad"))
for mode in ("upper", "lower", "upperdiag", "lowerdiag"):
    show(mode, mask(matrix, [], mode=mode))
show("upper, diagonal", mask(matrix, [], mode="upper", diagonal=1))
show("window+upper", mask(matrix, ["centers"], mode="window+upper", radius=1))

# Padded and causal at once, one length for all heads and queries of an example. With `batch` the
# triangle starts anew for each head.
workspace.FeedBlob("lengths", np.array([2, 3], dtype=np.int32))
attention = {"mode": "sequence+upper", "axis": 3, "batch": 1, "lengths_of": "batch"}
masked = mask(np.zeros((2, 2, 4, 4), dtype=np.float32), ["lengths"], **attention)
for example in range(2):
    show("batch {}, head 0".format(example), masked[example, 0])
workspace.RunOperatorOnce(core.CreateOperator("Softmax", ["masked"], ["weights"], axis=3))
print("weights of batch 0, head 0, query 3 ", workspace.FetchBlob("weights")[0, 0, 3].tolist())
