"""BooleanUnmask, 3 of 4: fill_val and dense values.

Without ``fill_val`` a position at which every mask is False is an error, as in stock Caffe2. With
it the position is filled. Values that have the shape of their mask are dense: each position takes
the value that stands there. One dense pair and ``fill_val=0`` give the input where the mask is
True and 0 elsewhere, which a product with the mask does not: 0 times NaN is NaN.

Run with: .venv/bin/python examples/boolean_unmask_op_example3.py

Output:

    compact [[-1.0, 7.0], [8.0, -1.0]]
    dense   [[0.0, 2.0], [3.0, 0.0]]
    product [[nan, 2.0], [3.0, 0.0]]
    blended [[5.0, 2.0], [3.0, 6.0]]
"""

import numpy as np
from caffe2.python import core, workspace

import caffe2op_mask  # noqa: F401 (loads the operators)

mask = np.array([[False, True], [True, False]])
data = np.array([[np.nan, 2], [3, 4]], dtype=np.float32)
workspace.FeedBlob("mask", mask)
workspace.FeedBlob("data", data)
workspace.FeedBlob("two values", np.array([7, 8], dtype=np.float32))
workspace.FeedBlob("everywhere", np.ones((2, 2), dtype=bool))
workspace.FeedBlob("defaults", np.full((2, 2), [[5], [6]], dtype=np.float32))

net = core.Net("boolean_unmask")
net.BooleanUnmask(["mask", "two values"], ["compact"], fill_val=-1.0)
net.BooleanUnmask(["mask", "data"], ["dense"], fill_val=0.0)
# The second pair is there for what the first leaves.
net.BooleanUnmask(["mask", "data", "everywhere", "defaults"], ["blended"])
workspace.RunNetOnce(net)

print("compact", workspace.FetchBlob("compact").tolist())
print("dense  ", workspace.FetchBlob("dense").tolist())
print("product", (data * mask).tolist())
print("blended", workspace.FetchBlob("blended").tolist())
