"""Caffe2 nets of many layers, connected in different ways, that classify tables of scikit-learn.

A net is given `features`, float [N, D], and `labels`, int32 [N], and answers by `logits`.
"""

import collections
import math

import numpy as np
from caffe2.python import brew, model_helper, optimizer, workspace
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LogisticRegression

from caffe2op_mask import layers
from caffe2op_mask.layers.gates import ACTIVATIONS, CARRY
from program import seed_nets

HELD_OUT = 0.25
BATCH_SIZE = 32
WIDTH, GROWTH = 16, 4
TABLES = {"wine": load_wine, "breast cancer": load_breast_cancer}
# How many layers a gated feed-forward block counts for: those it has.
BLOCK = 3
# By how much the weights of a layer must be larger to keep the variance of its input.
GAINS = {"tanh": 1.0, "relu": math.sqrt(2), "elu": 1.25}
PLAIN, GATED, RESIDUAL, SKIP = "plain", "gated feed-forward", "residual", "skip"
HIGHWAY, DEFAULT_HIGHWAY = "highway, 1/depth", "highway, bias -1"
CONNECTIONS = (PLAIN, GATED, DEFAULT_HIGHWAY, HIGHWAY, RESIDUAL, SKIP)

Rows = collections.namedtuple("Rows", "features labels")
Split = collections.namedtuple("Split", "train held_out")


def load(table, seed):
    """A Split of a table, shuffled; features are scaled as those to train on are."""
    data = TABLES[table]()
    order = np.random.RandomState(seed).permutation(len(data.target))
    count = int(HELD_OUT * len(order))
    known = data.data[order[count:]]
    features = ((data.data - known.mean(axis=0)) / known.std(axis=0)).astype(np.float32)
    labels = data.target.astype(np.int32)
    return Split(*(Rows(features[i], labels[i]) for i in (order[count:], order[:count])))


def regression(split, kept=slice(None)):
    """Accuracy of a logistic regression by the features kept; a majority guess by none."""
    train, held_out = (rows.features[:, kept] for rows in split)
    if train.shape[1] == 0:
        return np.mean(split.held_out.labels == np.bincount(split.train.labels).argmax())
    model = LogisticRegression(max_iter=1000).fit(train, split.train.labels)
    return model.score(held_out, split.held_out.labels)


def feed_forward(model, blob_in, blob_out, dim_in, dim_out, activation, scale=1.0):
    """A plain layer, which begins by multiplying the deviation of its input by `scale`, or so."""
    init = ("GaussianFill", {"std": scale * GAINS[activation] / math.sqrt(dim_in)})
    blob = brew.fc(model, blob_in, blob_out, dim_in=dim_in, dim_out=dim_out, weight_init=init)
    return getattr(model.net, ACTIVATIONS[activation])(blob, blob)


def add_layer(model, blob, name, connection, activation, width, depth):
    """Adds a layer, or a block, of a net of `depth` layers; returns its blob and its width."""
    plain = {"dim_in": width, "dim_out": width, "activation": activation}
    if connection == PLAIN:
        return feed_forward(model, blob, name, **plain), width
    if connection == GATED:
        return layers.gated_feed_forward(model, blob, name, width, width, width), width
    if connection == RESIDUAL:
        # Without the scale, the variance doubles from layer to layer.
        scale = 1 / math.sqrt(depth)
        return layers.residual(model, blob, name, feed_forward, scale=scale, **plain), width
    if connection == SKIP:
        plain["dim_out"] = GROWTH
        return layers.skip(model, blob, name, feed_forward, **plain), width + GROWTH
    bias = CARRY
    if connection == HIGHWAY:
        bias = ("ConstantFill", {"value": -math.log(depth - 1)})
    return layers.highway(model, blob, name, width, activation, gate_bias_init=bias), width


def add_deep_net(model, sizes, connection, activation, depth):
    """Adds what leads from `features` to `logits`; `sizes` is how many there are of each."""
    width = WIDTH
    blob = feed_forward(model, "features", "first", sizes[0], width, activation)
    for i in range(depth // BLOCK if connection == GATED else depth):
        name = "layer_{}".format(i)
        blob, width = add_layer(model, blob, name, connection, activation, width, depth)
    brew.fc(model, blob, "logits", dim_in=width, dim_out=sizes[1])


class Net:
    """Trains and tells. `add` is given a model and is_test; it may return what adds to the loss."""

    def __init__(self, add, rate):
        workspace.ResetWorkspace()
        self._train = model_helper.ModelHelper("train")
        self._predict = model_helper.ModelHelper("predict", init_params=False)
        penalty = add(self._train, is_test=False)
        add(self._predict, is_test=True)
        net = self._train.net
        _, loss = net.SoftmaxWithLoss(["logits", "labels"], ["probabilities", "loss"])
        if penalty is not None:
            loss = net.Add([loss, penalty], "whole_loss")
        self._train.AddGradientOperators([loss])
        optimizer.build_adam(self._train, rate)

    def feed(self, rows):
        workspace.FeedBlob("features", rows.features)
        workspace.FeedBlob("labels", rows.labels)
        workspace.FeedBlob("one", np.ones((len(rows.labels), 1), dtype=np.float32))

    def begin(self, rows, seed):
        """Draws new parameters, for rows such as these."""
        seed_nets(seed, self._train.param_init_net, self._train.net)
        workspace.RunNetOnce(self._train.param_init_net)
        self.feed(rows)
        workspace.CreateNet(self._train.net, overwrite=True)

    def train(self, rows, steps, seed):
        random, order = np.random.RandomState(seed), []
        for _ in range(steps):
            if len(order) < BATCH_SIZE:
                order = random.permutation(len(rows.labels))
            chosen, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
            self.feed(Rows(rows.features[chosen], rows.labels[chosen]))
            workspace.RunNet(self._train.net.Name())

    def accuracy(self, rows):
        """Share of right answers; the blobs that led to them can be fetched behind it."""
        self.feed(rows)
        workspace.RunNetOnce(self._predict.net)
        return np.mean(workspace.FetchBlob("logits").argmax(axis=1) == rows.labels)


def sizes_of(split):
    return split.train.features.shape[1], int(split.train.labels.max()) + 1
