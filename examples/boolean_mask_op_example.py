"""BooleanMask: keep the entries of a tensor at which a mask is True.

Stock Caffe2 takes a 1-D mask, which keeps rows. New are masks of more dims, which keep what
``data[mask]`` keeps in NumPy, and ``keep_shape``, which fills what is masked and moves nothing.

Run with: .venv/bin/python examples/boolean_mask_op_example.py

Output:

    kept rows      [[4.0, 5.0, 6.0]]
    their indices  [1]
    kept entries   [1.0, 3.0, 5.0]
    their indices  [0, 2, 4]
    same shape     [[1.0, 0.0, 3.0], [0.0, 5.0, 0.0]]
    filled         [[1.0, -1.0, 3.0], [-1.0, 5.0, -1.0]]
"""

import numpy as np
from caffe2.python import core, workspace

import caffe2op_mask  # noqa: F401 (loads the operators)

workspace.FeedBlob("data", np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32))
workspace.FeedBlob("rows", np.array([False, True]))
workspace.FeedBlob("entries", np.array([[True, False, True], [False, True, False]]))

net = core.Net("boolean_mask")
# As ever: one entry of the mask for each row.
net.BooleanMask(["data", "rows"], ["kept rows", "row indices"])
# One for each entry. Indices count over the flattened dims of the mask.
net.BooleanMask(["data", "entries"], ["kept entries", "entry indices"])
# The output has the shape of data, with fill_val (0 by default) where the mask is False.
net.BooleanMask(["data", "entries"], ["same shape"], keep_shape=1)
net.BooleanMask(["data", "entries"], ["filled"], keep_shape=1, fill_val=-1.0)
workspace.RunNetOnce(net)

print("kept rows     ", workspace.FetchBlob("kept rows").tolist())
print("their indices ", workspace.FetchBlob("row indices").tolist())
print("kept entries  ", workspace.FetchBlob("kept entries").tolist())
print("their indices ", workspace.FetchBlob("entry indices").tolist())
print("same shape    ", workspace.FetchBlob("same shape").tolist())
print("filled        ", workspace.FetchBlob("filled").tolist())
