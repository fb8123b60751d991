"""A Caffe2 net that attends over the words of a sentence and tells its topic.

Built with caffe2.python, saved as NetDef files, and run from what was read back from them.
"""

import collections
import os

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import brew, core, model_helper, optimizer, workspace
from caffe2.python.modeling.initializers import Initializer
from caffe2.python.predictor import mobile_exporter

import caffe2op_mask  # noqa: F401  (from here on, masks of new nets are this library's)
from program import seed_nets

WIDTH = 128
HEADS = 4
DROPOUT = 0.6
LEARNING_RATE = 0.005

PARTS = ("train_init", "train", "init", "predict")
INPUTS = ("words", "pairs")

# What the net with masks needs of this library, gradients included, by its names in the registry.
MASK_OPS = (
    "BooleanMask_ENGINE_MASK",
    "BooleanMaskGradient_ENGINE_MASK",
    "BooleanMaskLengths_ENGINE_MASK",
    "BooleanUnmask_ENGINE_MASK",
    "BooleanUnmaskGradient",
    "SequenceMask_ENGINE_MASK",
)


def check_library():
    """Raises RuntimeError unless the masks of a net that is made now are this library's."""
    missing = set(MASK_OPS) - set(workspace.RegisteredOperators())
    if missing:
        raise RuntimeError("Caffe2 does not know {}.".format(", ".join(sorted(missing))))
    # Registered is not yet preferred. The runtime's own BooleanMask refuses a mask of two dims.
    workspace.FeedBlob("mask", np.array([[True, False], [True, True]]))
    try:
        workspace.RunOperatorOnce(core.CreateOperator("BooleanMask", ["mask", "mask"], ["masked"]))
    except RuntimeError:
        raise RuntimeError(
            "Caffe2 prefers its own BooleanMask; is CAFFE2OP_MASK_OVERRIDE=0 in the environment?"
        )


def count_mask_ops(net):
    """{operator: how often it occurs} of this library's operators in a NetDef."""
    ours = {name.split("_ENGINE_")[0] for name in MASK_OPS}
    return collections.Counter(op.type for op in net.op if op.type in ours)


def add_topic_net(model, sizes, masks, is_test):
    """Adds what leads from `words` and `pairs`, int64 [B, L] with 0 for padding, to `logits`.

    `sizes` are the counts of different words, pairs and topics. With `masks`, the hidden layer is
    computed for the real words alone and nothing else is attended to; without, the same net takes
    padding for a word. `attention` [B, HEADS, L] tells what each head looked at.
    """
    net = model.net

    def embed(ids, size):
        gaussian = Initializer("GaussianFill", std=0.1)
        table = model.create_param(ids + "_table", shape=[size, WIDTH], initializer=gaussian)
        return net.Gather([table, net.FlattenToVec(ids, ids + "_flat")], ids + "_embedded")

    def dropout(blob_in, name):
        return brew.dropout(model, blob_in, name, ratio=DROPOUT, is_test=is_test)

    def fc(blob_in, name, dim_in, dim_out):
        return brew.fc(model, blob_in, name, dim_in=dim_in, dim_out=dim_out)

    def by_sentence(rows, name, width):
        """[rows, width] -> [B, L, width]"""
        if masks:
            return net.BooleanUnmask([real, rows], name, fill_val=0.0, layout="compact")
        width = net.GivenTensorInt64Fill([], name + "_width", shape=[1], values=[width])
        dims = [net.Shape("words", name + "_dims"), width]
        shape, _ = net.Concat(dims, [name + "_shape", name + "_split"], axis=0)
        return net.Reshape([rows, shape], [name, name + "_old_shape"])[0]

    # A row is a word: one of the B * L of the batch, or one of those that are real.
    rows = net.Add([embed("words", sizes.words), embed("pairs", sizes.pairs)], "embedded")
    if masks:
        real = net.Cast("words", "real", to=core.DataType.BOOL)
        rows = net.BooleanMask([rows, net.FlattenToVec(real, "real_flat")], "real_rows")
    hidden = brew.tanh(model, fc(dropout(rows, "rows"), "hidden_in", WIDTH, WIDTH), "hidden")
    scores = fc(hidden, "scores", WIDTH, HEADS)

    hidden = by_sentence(hidden, "hidden_by_sentence", WIDTH)
    scores = by_sentence(scores, "scores_by_sentence", HEADS)
    scores = net.Transpose(scores, "scores_by_head", axes=[0, 2, 1])
    if masks:
        lengths = net.BooleanMaskLengths(["words", real], "lengths")
        scores = net.SequenceMask([scores, lengths], "masked_scores", mode="sequence", axis=2)
    attention = brew.softmax(model, scores, "attention", axis=2)
    attended = net.BatchMatMul([attention, hidden], "attended_by_head")
    attended, _ = net.Reshape(
        attended, ["attended", "attended_old_shape"], shape=[-1, HEADS * WIDTH]
    )
    return fc(dropout(attended, "sentence"), "logits", HEADS * WIDTH, sizes.topics)


class SavedNet:
    """The net as the files of a folder, from which everything here is run.

    train_init.pb draws parameters, train.pb is a step with gradients and updates, predict.pb is
    the net alone, and init.pb, there after training, holds the parameters that it was trained to.
    """

    def __init__(self, folder):
        self.folder = folder

    @classmethod
    def build(cls, folder, sizes, masks, seed):
        """Builds all but init.pb."""
        saved = cls(folder)
        os.makedirs(folder, exist_ok=True)

        predict = model_helper.ModelHelper("predict", init_params=False)
        logits = add_topic_net(predict, sizes, masks, is_test=True)
        brew.softmax(predict, logits, "probabilities")
        saved._write(predict.net.Proto(), "predict")

        train = model_helper.ModelHelper("train")
        logits = add_topic_net(train, sizes, masks, is_test=False)
        _, loss = train.net.SoftmaxWithLoss([logits, "topics"], ["probabilities", "loss"])
        train.AddGradientOperators([loss])
        # A word that occurs twice in a batch is updated once, by the sum.
        optimizer.build_adam(train, LEARNING_RATE, sparse_dedup_aggregator="sum")
        seed_nets(seed, train.param_init_net, train.net)
        saved._write(train.param_init_net.Proto(), "train_init")
        saved._write(train.net.Proto(), "train")
        return saved

    def path(self, part):
        return os.path.join(self.folder, part + ".pb")

    def _write(self, net, part):
        with open(self.path(part), "wb") as file:
            file.write(net.SerializeToString())

    def read(self, part):
        """The NetDef in a file."""
        net = caffe2_pb2.NetDef()
        with open(self.path(part), "rb") as file:
            net.ParseFromString(file.read())
        return net

    def train(self, batches):
        """Runs the steps of an iterable of {blob: array}, yields each loss, and writes init.pb."""
        workspace.ResetWorkspace()
        workspace.RunNetOnce(self.read("train_init"))
        step = self.read("train")
        for number, batch in enumerate(batches):
            _feed(batch)
            if number == 0:
                workspace.CreateNet(step)
            workspace.RunNet(step.name)
            yield float(workspace.FetchBlob("loss"))

        trained = caffe2_pb2.NetDef(name="init")
        for blob in self.read("predict").external_input:
            if blob not in INPUTS:
                mobile_exporter.add_tensor(trained, blob, workspace.FetchBlob(blob))
        self._write(trained, "init")

    def predict(self, batches, fetch):
        """Yields, of each batch, the blobs named in `fetch`, from init.pb and predict.pb alone."""
        workspace.ResetWorkspace()
        workspace.RunNetOnce(self.read("init"))
        net = self.read("predict")
        for number, batch in enumerate(batches):
            _feed(batch)
            if number == 0:
                workspace.CreateNet(net)
            workspace.RunNet(net.name)
            yield [workspace.FetchBlob(blob) for blob in fetch]


def _feed(batch):
    for blob, value in batch.items():
        workspace.FeedBlob(blob, value)
