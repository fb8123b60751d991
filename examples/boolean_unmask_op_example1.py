"""BooleanUnmask, 1 of 4: the inverse of BooleanMask.

Half of a matrix is zero. BooleanMask takes the rest out, an operator computes on that alone, and
BooleanUnmask puts the results back to where they came from. With no operator in between, the
input comes back. Stock Caffe2 does this for vectors only, and has no fill.

Run with: .venv/bin/python examples/boolean_unmask_op_example1.py

Output:

    kept        [4.0, 9.0, 16.0]
    there again [[4.0, 0.0, 9.0], [0.0, 16.0, 0.0]]
    square root [[2.0, 0.0, 3.0], [0.0, 4.0, 0.0]]
"""

import numpy as np
from caffe2.python import core, workspace

import caffe2op_mask  # noqa: F401 (loads the operators)

data = np.array([[4, 0, 9], [0, 16, 0]], dtype=np.float32)
workspace.FeedBlob("data", data)
workspace.FeedBlob("mask", data != 0)

net = core.Net("boolean_unmask")
net.BooleanMask(["data", "mask"], ["kept"])
net.BooleanUnmask(["mask", "kept"], ["there again"], fill_val=0.0)
net.Sqrt(["kept"], ["root of kept"])
net.BooleanUnmask(["mask", "root of kept"], ["root"], fill_val=0.0)
workspace.RunNetOnce(net)

print("kept       ", workspace.FetchBlob("kept").tolist())
print("there again", workspace.FetchBlob("there again").tolist())
print("square root", workspace.FetchBlob("root").tolist())
assert (workspace.FetchBlob("there again") == data).all()
