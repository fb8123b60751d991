"""Gate: which features a model needs, learned with its weights.

Of eight features three make up the target. Each has a gate of kind hard_concrete, open or closed at
random while the net trains, and a price: the probability that it is not closed, which has a
gradient. What is not worth its price closes. ``is_test`` leaves the noise out; ``#`` is open.

Run with: .venv/bin/python examples/gate_example.py

Output:

    target   ..#..#.#
    before   ########
    after    ..#..#.#
    weights of what is open  [1.0, -2.0, 0.5]
"""

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

import caffe2op_mask  # noqa: F401 (loads the operators)

TRUE = np.array([0, 0, 1, 0, 0, -2, 0, 0.5], dtype=np.float32)
PRICE = 0.02
# P(gate is not 0) = sigmoid(Z + SHIFT), by beta, gamma and zeta of Gate.
SHIFT = -2 / 3 * np.log(0.1 / 1.1)


def show(title, values):
    print("{:<8} {}".format(title, "".join("#" if value != 0 else "." for value in values)))


def gates():
    """What each gate is without noise."""
    ones = np.ones(8, dtype=np.float32)
    workspace.FeedBlob("ones", ones)
    workspace.RunOperatorOnce(
        core.CreateOperator("Gate", ["ones", "Z"], ["open"], kind="hard_concrete", is_test=1)
    )
    return workspace.FetchBlob("open")


random = np.random.RandomState(1)
workspace.FeedBlob("W", np.zeros((1, 8), dtype=np.float32))
workspace.FeedBlob("b", np.zeros(1, dtype=np.float32))
workspace.FeedBlob("Z", np.ones(8, dtype=np.float32))
workspace.FeedBlob("shift", np.array([SHIFT], dtype=np.float32))
workspace.FeedBlob("W_rate", np.array([-0.1], dtype=np.float32))
workspace.FeedBlob("Z_rate", np.array([-1], dtype=np.float32))
workspace.FeedBlob("one", np.array([1], dtype=np.float32))

net = core.Net("gated_regression")
with core.DeviceScope(core.DeviceOption(caffe2_pb2.CPU, random_seed=1)):
    # One gate a feature, drawn anew on each run; the batch shares it.
    net.Gate(["X", "Z"], ["gated", "G", "noise"], kind="hard_concrete")
net.FC(["gated", "W", "b"], ["y"])
net.SquaredL2Distance(["y", "target"], ["distances"])
net.AveragedLoss(["distances"], ["error"])
net.Add(["Z", "shift"], ["shifted"], broadcast=1)
net.Sigmoid(["shifted"], ["not_closed"])
net.SumElements(["not_closed"], ["expected_open"])
net.Scale(["expected_open"], ["price"], scale=PRICE)
gradients = net.AddGradientOperators(["error", "price"])
for name in ("W", "Z"):
    net.WeightedSum([name, "one", gradients[name], name + "_rate"], [name])

show("target", TRUE)
show("before", gates())
for step in range(4000):
    X = random.randn(64, 8).astype(np.float32)
    workspace.FeedBlob("X", X)
    workspace.FeedBlob("target", X.dot(TRUE)[:, None])
    if step == 0:
        workspace.CreateNet(net)
    workspace.RunNet(net)
after = gates()
show("after", after)
weights = (workspace.FetchBlob("W")[0] * after)[after != 0]
print("weights of what is open ", [round(float(weight), 1) for weight in weights])
