"""A causal transformer over characters, of brew layers, trained and run by Caffe2.

Pre-norm blocks: x + attention(norm(x)), then x + feed_forward(norm(x)). The mask is
MaskedAttention's: with ``mode="upper"`` a character attends to itself and to what stands before it.
"""

import numpy as np
from caffe2.python import brew, model_helper, optimizer, workspace
from caffe2.python.modeling.initializers import ExternalInitializer, Initializer

import caffe2op_mask  # noqa: F401  (its layers are brew's from here on)
from program import seed_nets

CONTEXT = 128
WIDTH = 128
HEADS = 4
BLOCKS = 3
DROPOUT = 0.1
LEARNING_RATE = 0.002

HEAD_DIM = WIDTH // HEADS
ROWS_A_RUN = 64


def nearness(length):
    """What is added to the scores, [HEADS, L, L]: each head looks less far than the next.

    A score falls with the distance, as in Press et al., "Train Short, Test Long" (2021); nothing
    else tells the net where a character stands.
    """
    place = np.arange(length)
    slopes = 0.25 ** np.arange(HEADS)
    return (slopes[:, None, None] * (place - place[:, None])).astype(np.float32)


def add_char_net(model, characters, is_test):
    """Adds what leads from `ids`, int64 [B, L], to `logits` [B * L, characters]; returns those.

    `nearness`, float [HEADS, L, L], is added to the scores. With `is_test`, what each head attended
    to is there too, as `attention_<block>` [B, HEADS, L, L]; MaskedAttention keeps no such matrix.
    """
    net = model.net

    def embed():
        """ids [B, L] -> [B, L, WIDTH]"""
        initializer = Initializer("GaussianFill", std=0.5)
        if not model.init_params:
            initializer = ExternalInitializer()
        table = model.create_param("table", shape=[characters, WIDTH], initializer=initializer)
        # A sparse gradient would update a character once for each time that it occurs.
        rows = net.Gather([table, net.FlattenToVec("ids", "flat_ids")], "rows", dense_gradient=True)
        width = net.GivenTensorInt64Fill([], "width", shape=[1], values=[WIDTH])
        dims = [net.Shape("ids", "ids_dims"), width]
        shape, _ = net.Concat(dims, ["embedded_shape", "embedded_split"], axis=0)
        return net.Reshape([rows, shape], ["embedded", "rows_shape"])[0]

    def norm(blob_in, name):
        return brew.layer_norm(model, blob_in, name, WIDTH, axis=2, epsilon=1e-5)[0]

    def dropout(blob_in, name):
        return brew.dropout(model, blob_in, name, ratio=DROPOUT, is_test=is_test)

    def fc(blob_in, name, dim_in, dim_out, **init):
        return brew.fc(model, blob_in, name, dim_in=dim_in, dim_out=dim_out, axis=2, **init)

    def attend(blob_in, block):
        name = "attend_{}".format(block)
        attended = brew.multi_head_attention(
            model, blob_in, name, WIDTH, HEADS, mode="upper", bias="nearness"
        )
        if is_test:
            blobs = [name + "_queries", name + "_keys"]
            scores = net.BatchMatMul(blobs, name + "_scores", trans_b=1)
            brew.masked_softmax(
                model,
                scores,
                "attention_{}".format(block),
                bias="nearness",
                mode="upper",
                scale=HEAD_DIM ** -0.5,
            )
        return dropout(attended, name + "_out")

    def feed_forward(blob_in, block):
        name = "think_{}".format(block)
        hidden = fc(blob_in, name + "_hidden", WIDTH, 4 * WIDTH)
        hidden = brew.relu(model, hidden, hidden)
        return dropout(fc(hidden, name, 4 * WIDTH, WIDTH), name + "_out")

    x = dropout(embed(), "x")
    for block in range(BLOCKS):
        for part in (attend, feed_forward):
            change = part(norm(x, "{}_{}_norm".format(part.__name__, block)), block)
            x = net.Add([x, change], "{}_{}_x".format(part.__name__, block))
    # From zeros: the first guess gives every character the same chance.
    logits = fc(
        norm(x, "norm"), "logits", WIDTH, characters, weight_init=("ConstantFill", {"value": 0.0})
    )
    return net.Reshape(logits, ["logits_by_row", "logits_shape"], shape=[-1, characters])[0]


class CharNet:
    """The net with its parameters, in a workspace that it takes for itself."""

    def __init__(self, characters, steps, seed):
        """Draws parameters, and plans a training of so many steps."""
        train = model_helper.ModelHelper("train")
        logits = add_char_net(train, characters, is_test=False)
        _, loss = train.net.SoftmaxWithLoss([logits, "next_ids"], ["probabilities", "loss"])
        train.AddGradientOperators([loss])
        # The rate falls to 0 in a straight line.
        optimizer.build_adam(train, LEARNING_RATE, policy="poly", power=1.0, max_iter=steps)
        seed_nets(seed, train.param_init_net, train.net)

        predict = model_helper.ModelHelper("predict", init_params=False)
        logits = add_char_net(predict, characters, is_test=True)
        predict.net.Softmax(logits, "probabilities")

        self._train, self._predict = train.net, predict.net
        self._created = set()
        self.parameters = sum(int(np.prod(train.get_param_info(p).shape)) for p in train.params)
        workspace.ResetWorkspace()
        workspace.RunNetOnce(train.param_init_net)

    def _run(self, net, **blobs):
        for blob, value in blobs.items():
            workspace.FeedBlob(blob, value)
        workspace.FeedBlob("nearness", nearness(blobs["ids"].shape[1]))
        if net not in self._created:
            workspace.CreateNet(net)
            self._created.add(net)
        workspace.RunNet(net)

    def train(self, batches):
        """Makes a step with each array of ids, [B, L + 1], and yields its loss in bits."""
        for batch in batches:
            following = batch[:, 1:].astype(np.int32).ravel()
            self._run(self._train, ids=batch[:, :-1], next_ids=following)
            yield float(workspace.FetchBlob("loss")) / np.log(2)

    def predict(self, ids):
        """Of ids [B, L], the chances of what follows each: [B, L, characters]."""
        parts = []
        for begin in range(0, len(ids), ROWS_A_RUN):
            self._run(self._predict, ids=ids[begin : begin + ROWS_A_RUN])
            parts.append(workspace.FetchBlob("probabilities"))
        return np.concatenate(parts).reshape(ids.shape + (-1,))

    def attention(self, ids):
        """What each head attends to in ids [L]: [BLOCKS, HEADS, L, L]."""
        self._run(self._predict, ids=ids[np.newaxis])
        names = ["attention_{}".format(block) for block in range(BLOCKS)]
        return np.stack([workspace.FetchBlob(name)[0] for name in names])
