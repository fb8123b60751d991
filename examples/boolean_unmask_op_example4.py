"""BooleanUnmask, 4 of 4: the gradient, which stock Caffe2 does not have.

The gradient of each position goes to the value that it came from. A dense value that was not
used, because its mask is False there or shadowed, gets 0. So BooleanMask, a computation on what is
kept, and BooleanUnmask can be trained as one.

Run with: .venv/bin/python examples/boolean_unmask_op_example4.py

Output:

    data         [1.0, 4.0, 9.0, 3.0]
    data_grad    [1.0, 10.0, 100.0, 1000.0]
    kept_grad    [2.0, 40.0, 600.0]
    default_grad [0.0, 0.0, 0.0, 1000.0]
"""

import numpy as np
from caffe2.python import core, workspace

import caffe2op_mask  # noqa: F401 (loads the operators)

workspace.FeedBlob("mask", np.array([True, True, True, False]))
workspace.FeedBlob("everywhere", np.ones(4, dtype=bool))
workspace.FeedBlob("kept", np.array([1, 2, 3], dtype=np.float32))
workspace.FeedBlob("default", np.array([0, 1, 2, 3], dtype=np.float32))
workspace.FeedBlob("weight", np.array([1, 10, 100, 1000], dtype=np.float32))

net = core.Net("boolean_unmask")
net.Sqr(["kept"], ["squares"])
net.BooleanUnmask(["mask", "squares", "everywhere", "default"], ["data"])
net.DotProduct(["data", "weight"], ["products"])
net.SumElements(["products"], ["loss"])
net.AddGradientOperators(["loss"])
workspace.RunNetOnce(net)

print("data        ", workspace.FetchBlob("data").tolist())
print("data_grad   ", workspace.FetchBlob("data_grad").tolist())
print("kept_grad   ", workspace.FetchBlob("kept_grad").tolist())  # 2 * kept * data_grad
print("default_grad", workspace.FetchBlob("default_grad").tolist())
