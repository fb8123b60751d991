"""BooleanMaskLengths: how many entries of each segment, or of each row, a mask keeps.

Three sentences of 1, 3 and 2 tokens lie one after the other. BooleanMask drops tokens, and
BooleanMaskLengths tells how long each sentence is then. New are BooleanMaskJagged, which does
both in one pass, and masks of two or more dims, whose rows are counted.

Run with: .venv/bin/python examples/boolean_mask_lengths_op_example.py

Output:

    lengths       [0, 2, 2]
    jagged        [[2.0, 2.5], [3.0, 3.5], [5.0, 5.5], [6.0, 6.5]] of lengths [0, 2, 2]
    kept per row  [2, 0]
"""

import numpy as np
from caffe2.python import core, workspace

import caffe2op_mask  # noqa: F401 (loads the operators)

tokens = np.arange(1, 7, dtype=np.float32)
workspace.FeedBlob("tokens", np.stack([tokens, tokens + 0.5], axis=1))
workspace.FeedBlob("lengths", np.array([1, 3, 2], dtype=np.int32))
workspace.FeedBlob("mask", np.array([False, True, True, False, True, True]))
workspace.FeedBlob("matrix", np.zeros((2, 3), dtype=np.float32))
workspace.FeedBlob("matrix mask", np.array([[True, False, True], [False, False, False]]))

net = core.Net("boolean_mask_lengths")
# As ever: lengths cut the 1-D mask into segments.
net.BooleanMaskLengths(["lengths", "mask"], ["masked lengths"])
# Rows of any shape and their lengths together; the gradient goes to the rows.
net.BooleanMaskJagged(["tokens", "lengths", "mask"], ["masked tokens", "jagged lengths"])
# The rows of the mask are the segments; the first input may be the data that is masked.
net.BooleanMaskLengths(["matrix", "matrix mask"], ["row counts"])
workspace.RunNetOnce(net)

masked_tokens = workspace.FetchBlob("masked tokens").tolist()
jagged_lengths = workspace.FetchBlob("jagged lengths").tolist()
print("lengths      ", workspace.FetchBlob("masked lengths").tolist())
print("jagged       ", masked_tokens, "of lengths", jagged_lengths)
print("kept per row ", workspace.FetchBlob("row counts").tolist())
