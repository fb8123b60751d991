"""BooleanUnmask, 2 of 4: several masks, and which of them owns a position.

Each position belongs to the first mask that is True there. A True behind another is shadowed and
takes no value, so that masks may overlap: here a word is looked up in a vocabulary of one's own,
else in the common one, else it is unknown. Stock Caffe2 takes one number for each
position; new are values of any shape, such as the rows of an embedding.

Run with: .venv/bin/python examples/boolean_unmask_op_example2.py

Output:

    numbers [10.0, 20.0, 21.0, 30.0]
    rows    [[1.0, 1.5], [2.0, 2.5], [3.0, 3.5], [0.0, 0.0]]
"""

import numpy as np
from caffe2.python import core, workspace

import caffe2op_mask  # noqa: F401 (loads the operators)

workspace.FeedBlob("own", np.array([True, False, False, False]))
workspace.FeedBlob("common", np.array([True, True, True, False]))  # its first True is shadowed
workspace.FeedBlob("any", np.array([True, True, True, True]))  # all but its last are

net = core.Net("boolean_unmask")
workspace.FeedBlob("own numbers", np.array([10], dtype=np.float32))
workspace.FeedBlob("common numbers", np.array([20, 21], dtype=np.float32))
workspace.FeedBlob("unknown number", np.array([30], dtype=np.float32))
net.BooleanUnmask(
    ["own", "own numbers", "common", "common numbers", "any", "unknown number"], ["numbers"]
)
workspace.FeedBlob("own rows", np.array([[1, 1.5]], dtype=np.float32))
workspace.FeedBlob("common rows", np.array([[2, 2.5], [3, 3.5]], dtype=np.float32))
workspace.FeedBlob("unknown row", np.array([[0, 0]], dtype=np.float32))
net.BooleanUnmask(["own", "own rows", "common", "common rows", "any", "unknown row"], ["rows"])
workspace.RunNetOnce(net)

print("numbers", workspace.FetchBlob("numbers").tolist())
print("rows   ", workspace.FetchBlob("rows").tolist())
