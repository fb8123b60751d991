"""Attention as Caffe2's own helpers write it, and as people write it with brew.

``build(name)`` makes the net of one of ``NETS``; ``build(name, train=True)`` adds its gradient.
"""

from collections import namedtuple

import numpy as np
from caffe2.python import (
    attention,
    brew,
    core,
    layer_model_instantiator,
    rnn_cell,
    schema,
    workspace,
)
from caffe2.python.attention import AttentionType
from caffe2.python.layer_model_helper import LayerModelHelper
from caffe2.python.model_helper import ModelHelper

# No two sizes are equal, so that no dimension can be taken for another.
BATCH, LENGTH, HEADS, HEAD_DIM, DIM, STEPS, STATE = 2, 5, 3, 4, 12, 7, 6

# NetDefs, arrays by blob, names of outputs, and of gradients of parameters and inputs.
Built = namedtuple("Built", "net init feeds outputs gradients")

NETS = {}
FORWARD_ONLY = {"mask_where", "in_place"}  # Where has no gradient; Softmax's is written over


def build(name, train=False):
    """Parameters are constants of the init net, drawn from the name's own numbers."""
    random = np.random.RandomState(sum(name.encode()))
    workspace.SwitchWorkspace("helper_nets", True)
    try:
        model = ModelHelper(name=name)
        feeds, outputs = NETS[name](model, random)
        outputs = [str(output) for output in outputs]
        workspace.RunNetOnce(model.param_init_net)
        init = core.Net(name + "_init")
        for blob in sorted(str(p) for op in model.param_init_net.Proto().op for p in op.output):
            shape = workspace.FetchBlob(blob).shape
            values = random.randint(-8, 9, shape) / 16.0
            init.GivenTensorFill([], [blob], shape=shape, values=values.ravel())
        gradients = {}
        if train:
            loss = model.net.AveragedLoss([outputs[0]], ["loss"])
            gradients = model.net.AddGradientOperators([loss])
    finally:
        workspace.ResetWorkspace()
        workspace.SwitchWorkspace("default", True)
    leaves = [blob for blob in gradients if str(blob) in model.net.Proto().external_input]
    return Built(
        model.net.Proto(), init.Proto(), feeds, outputs, sorted(str(gradients[b]) for b in leaves)
    )


def named(function):
    """Adds the function to ``NETS``: from a model and random numbers to feeds and outputs."""
    NETS[function.__name__] = function
    return function


def floats(random, *shape):
    return random.randint(-16, 17, shape).astype("float32") / 16


def lengths_of(count, length):
    """[count] lengths that differ, none of them 0."""
    return (length - np.arange(count) * 2 % length).astype("int32")


# caffe2/python/attention.py: a step of a decoder. States are [1, B, D], encodings [L, B, D].


def _step(apply, masked, state_dim=STATE, previous=False, coverage=False):
    def make(model, random):
        feeds = {
            "encoder_outputs": floats(random, LENGTH, BATCH, DIM),
            "decoder_state": floats(random, 1, BATCH, state_dim),
        }
        if masked:
            feeds["encoder_lengths"] = lengths_of(BATCH, LENGTH)
        if previous:
            feeds["previous"] = floats(random, 1, BATCH, DIM)
        if coverage:
            feeds["coverage"] = np.abs(floats(random, 1, BATCH, LENGTH))
        model.net.AddExternalInputs(*feeds)
        options = dict(
            model=model,
            encoder_output_dim=DIM,
            encoder_outputs_transposed=brew.transpose(
                model, "encoder_outputs", "encoder_outputs_transposed", axes=[1, 2, 0]
            ),
            decoder_hidden_state_t="decoder_state",
            decoder_hidden_state_dim=state_dim,
            scope="step",
            encoder_lengths="encoder_lengths" if masked else None,
        )
        if apply is not attention.apply_dot_attention:
            options["weighted_encoder_outputs"] = brew.fc(
                model, "encoder_outputs", "weighted", dim_in=DIM, dim_out=DIM, axis=2
            )
        if previous:
            options["attention_weighted_encoder_context_t_prev"] = "previous"
        if coverage:
            options["coverage_t_prev"] = "coverage"
            options["coverage_weights"] = brew.fc(
                model, "encoder_outputs", "coverage_weights", dim_in=DIM, dim_out=DIM, axis=2
            )
        context, weights = apply(**options)[:2]
        return feeds, [context, weights]

    return make


for _name, _apply, _options in (
    ("regular", attention.apply_regular_attention, {}),
    ("recurrent", attention.apply_recurrent_attention, {"previous": True}),
    ("dot", attention.apply_dot_attention, {"state_dim": DIM}),
    ("dot_projected", attention.apply_dot_attention, {}),
    ("soft_coverage", attention.apply_soft_coverage_attention, {"coverage": True}),
):
    NETS[_name + "_attention"] = _step(_apply, True, **_options)
    NETS[_name + "_attention_unmasked"] = _step(_apply, False, **_options)


# caffe2/python/rnn_cell.py: the step is the net of a RecurrentNetwork.


def _decoder(kind, masked):
    def make(model, random):
        feeds = {
            "encoder_outputs": floats(random, LENGTH, BATCH, DIM),
            "decoder_inputs": floats(random, STEPS, BATCH, HEAD_DIM),
            "decoder_lengths": lengths_of(BATCH, STEPS),
            "hidden": floats(random, 1, BATCH, STATE),
            "cell": floats(random, 1, BATCH, STATE),
            "context": floats(random, 1, BATCH, DIM),
        }
        if masked:
            feeds["encoder_lengths"] = lengths_of(BATCH, LENGTH)
        model.net.AddExternalInputs(*feeds)
        results = rnn_cell.LSTMWithAttention(
            model=model,
            decoder_inputs="decoder_inputs",
            decoder_input_lengths="decoder_lengths",
            initial_decoder_hidden_state="hidden",
            initial_decoder_cell_state="cell",
            initial_attention_weighted_encoder_context="context",
            encoder_output_dim=DIM,
            encoder_outputs="encoder_outputs",
            encoder_lengths="encoder_lengths" if masked else None,
            decoder_input_dim=HEAD_DIM,
            decoder_state_dim=STATE,
            scope="decoder",
            attention_type=kind,
            outputs_with_grads=[0],
        )
        return feeds, [results[0], results[4]]  # hidden states and contexts

    return make


for _name, _kind in (
    ("regular", AttentionType.Regular),
    ("recurrent", AttentionType.Recurrent),
    ("dot", AttentionType.Dot),
    ("soft_coverage", AttentionType.SoftCoverage),
):
    NETS["lstm_" + _name] = _decoder(_kind, True)
    NETS["lstm_" + _name + "_unmasked"] = _decoder(_kind, False)


# Written by hand with brew and stock operators.


def project(model, blob, name, dim_out=DIM):
    return brew.fc(model, blob, name, dim_in=DIM, dim_out=dim_out, axis=2)


def split_heads(model, blob, length, merged=False):
    """[B, L, D] to [B, H, L, D / H], or [B * H, L, D / H]."""
    shape = [-1, length, HEADS, HEAD_DIM]
    blob, _ = model.net.Reshape(blob, [blob + "_split", blob + "_shape"], shape=shape)
    blob = model.net.Transpose(blob, str(blob) + "_heads", axes=[0, 2, 1, 3])
    if not merged:
        return blob
    shape = [-1, length, HEAD_DIM]
    return model.net.Reshape(blob, [str(blob) + "_merged", str(blob) + "_shape"], shape=shape)[0]


def heads(model, random, merged=False, names="qkv"):
    """Feeds, and Q, K and V."""
    model.net.AddExternalInputs("x")
    projected = [project(model, "x", name) for name in names]
    return (
        {"x": floats(random, BATCH, LENGTH, DIM)},
        [split_heads(model, str(blob), LENGTH, merged) for blob in projected],
    )


def scaled(model, blob):
    return model.net.Scale(blob, str(blob) + "_scaled", scale=HEAD_DIM**-0.5)


def attend(model, scores, v, **options):
    weights = model.net.Softmax(scores, "weights", axis=options.pop("axis", -1), **options)
    return [model.net.BatchMatMul([weights, v], "attended")]


@named
def flat_lengths(model, random):
    """SequenceMask of [B * H * L, S] with a length for each row."""
    feeds, (q, k, v) = heads(model, random)
    scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
    shape = [-1, LENGTH]
    flat, old = model.net.Reshape(scores, ["flat", "old_shape"], shape=shape)
    feeds["lengths"] = np.repeat(lengths_of(BATCH, LENGTH), HEADS * LENGTH)
    model.net.AddExternalInputs("lengths")
    masked = model.net.SequenceMask(
        [flat, "lengths"], "masked", mode="sequence", fill_val=-1e9, axis=1
    )
    weights = model.net.Softmax(masked, "flat_weights", axis=1)
    weights, _ = model.net.Reshape([weights, old], ["weights", "flat_shape"])
    return feeds, [model.net.BatchMatMul([weights, v], "attended")]


@named
def flat_lengths_of_four_dimensions(model, random):
    """The same without Reshape: all dimensions before the axis are rows."""
    feeds, (q, k, v) = heads(model, random)
    scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
    feeds["lengths"] = np.repeat(lengths_of(BATCH, LENGTH), HEADS * LENGTH)
    model.net.AddExternalInputs("lengths")
    masked = model.net.SequenceMask(
        [scores, "lengths"], "masked", mode="sequence", fill_val=-1e9, axis=3
    )
    return feeds, attend(model, masked, v, axis=3)


@named
def flat_lengths_merged_heads(model, random):
    """[B * H, L, S]."""
    feeds, (q, k, v) = heads(model, random, merged=True)
    scores = model.net.BatchMatMul([scaled(model, q), k], "scores", trans_b=1)
    feeds["lengths"] = np.repeat(lengths_of(BATCH, LENGTH), HEADS * LENGTH)
    model.net.AddExternalInputs("lengths")
    masked = model.net.SequenceMask(
        [scores, "lengths"], "masked", mode="sequence", fill_val=-1e9, axis=2
    )
    return feeds, attend(model, masked, v, axis=2)


@named
def lengths_tiled_in_net(model, random):
    """The net itself repeats [B] lengths to a length for each row."""
    feeds, (q, k, v) = heads(model, random)
    scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
    feeds["lengths"] = lengths_of(BATCH, LENGTH)
    model.net.AddExternalInputs("lengths")
    columns = model.net.ExpandDims("lengths", "column", dims=[1])
    tiled = model.net.Tile(columns, "tiled", tiles=HEADS * LENGTH, axis=1)
    flat = model.net.FlattenToVec(tiled, "flat")
    masked = model.net.SequenceMask(
        [scores, flat], "masked", mode="sequence", fill_val=-1e9, axis=3
    )
    return feeds, attend(model, masked, v)


@named
def lengths_repeated_from_axis(model, random):
    """[B] lengths, with repeat_from_axis: all after the batch is columns, so keys come second."""
    feeds, (q, k, v) = heads(model, random, merged=True)
    scores = scaled(model, model.net.BatchMatMul([k, q], "scores", trans_b=1))
    feeds["lengths"] = np.repeat(lengths_of(BATCH, LENGTH), HEADS)
    model.net.AddExternalInputs("lengths")
    masked = model.net.SequenceMask(
        [scores, "lengths"], "masked", mode="sequence", fill_val=-1e9, axis=1, repeat_from_axis=2
    )
    masked = model.net.Transpose(masked, "masked_transposed", axes=[0, 2, 1])
    return feeds, attend(model, masked, v)


@named
def lengths_for_each_batch(model, random):
    """batch=0: one vector of [B * L] lengths serves all heads, which come first."""
    model.net.AddExternalInputs("x", "lengths")
    feeds = {
        "x": floats(random, BATCH, LENGTH, DIM),
        "lengths": np.repeat(lengths_of(BATCH, LENGTH), LENGTH),
    }
    q, k, v = (
        model.net.Transpose(
            model.net.Reshape(
                project(model, "x", n), [n + "_s", n + "_o"], shape=[-1, LENGTH, HEADS, HEAD_DIM]
            )[0],
            n + "_t",
            axes=[2, 0, 1, 3],
        )
        for n in "qkv"
    )
    scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
    masked = model.net.SequenceMask(
        [scores, "lengths"], "masked", mode="sequence", fill_val=-1e9, axis=3, batch=0
    )
    return feeds, attend(model, masked, v)


def _shaped(mode, merged, **options):
    def make(model, random):
        feeds, (q, k, v) = heads(model, random, merged)
        scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
        batch = 0 if merged else 1  # the last dimension of the batch
        masked = model.net.SequenceMask(
            scores, "masked", mode=mode, axis=batch + 2, batch=batch, **options
        )
        return feeds, attend(model, masked, v)

    return make


NETS["causal"] = _shaped("upper", False, fill_val=-1e9)
NETS["causal_merged_heads"] = _shaped("upper", True, fill_val=-1e9)
NETS["causal_infinite"] = _shaped("upper", True, fill_val=float("-inf"))
NETS["causal_reversed"] = _shaped("lower", True, fill_val=-1e9)


@named
def window(model, random):
    """A window around the place of each query."""
    feeds, (q, k, v) = heads(model, random, merged=True)
    scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
    feeds["centers"] = np.arange(LENGTH, dtype="int32")
    model.net.AddExternalInputs("centers")
    masked = model.net.SequenceMask(
        [scores, "centers"], "masked", mode="window", radius=1, fill_val=-1e9, axis=2,
        batch=0,
    )
    return feeds, attend(model, masked, v)


@named
def causal_and_lengths(model, random):
    """Two masks, one after the other."""
    feeds, (q, k, v) = heads(model, random, merged=True)
    scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
    feeds["lengths"] = np.repeat(lengths_of(BATCH, LENGTH), HEADS * LENGTH)
    model.net.AddExternalInputs("lengths")
    masked = model.net.SequenceMask(
        [scores, "lengths"], "masked", mode="sequence", fill_val=-1e9, axis=2
    )
    masked = model.net.SequenceMask(
        masked, "masked_twice", mode="upper", fill_val=-1e9, axis=2, batch=0
    )
    return feeds, attend(model, masked, v)


@named
def in_place(model, random):
    """Blobs are written over, where the runtime allows it."""
    feeds, (q, k, v) = heads(model, random)
    scores = model.net.BatchMatMul([q, k], "scores", trans_b=1)
    model.net.Scale(scores, scores, scale=HEAD_DIM**-0.5)
    model.net.Reshape(scores, [scores, "old_shape"], shape=[-1, LENGTH, LENGTH])
    weights = model.net.SequenceMask(
        scores, "weights", mode="upper", fill_val=-1e9, axis=2, batch=0
    )
    weights = model.net.Softmax(weights, "softmax", axis=-1)
    model.net.Reshape([weights, "old_shape"], [weights, "merged_shape"])
    return feeds, [model.net.BatchMatMul([weights, v], "attended")]


@named
def mask_bias_blob(model, random):
    """(mask - 1) * 1e4 of the net's own constants, broadcast by Add."""
    feeds, (q, k, v) = heads(model, random)
    scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
    feeds["mask"] = (np.arange(LENGTH) < lengths_of(BATCH, LENGTH)[:, None]).astype("float32")
    model.net.AddExternalInputs("mask")
    one = model.net.ConstantFill([], "one", shape=[1], value=1.0)
    many = model.net.GivenTensorFill([], "many", shape=[1], values=[1e4])
    bias = model.net.Mul([model.net.Sub(["mask", one], "minus"), many], "bias", broadcast=1)
    bias = model.net.ExpandDims(bias, "bias4", dims=[1, 2])
    return feeds, attend(model, model.net.Add([scores, bias], "masked"), v)


@named
def mask_where(model, random):
    """Where, which does not broadcast: the mask has all of the scores' entries."""
    feeds, (q, k, v) = heads(model, random)
    scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
    kept = np.arange(LENGTH) < lengths_of(BATCH, LENGTH)[:, None, None, None]
    feeds["kept"] = np.broadcast_to(kept, (BATCH, HEADS, LENGTH, LENGTH)).copy()
    model.net.AddExternalInputs("kept")
    low = model.net.ConstantFill(scores, "low", value=-1e9)
    masked = model.net.Where(["kept", scores, low], "masked")
    return feeds, attend(model, masked, v)


@named
def dropout_in_test_mode(model, random):
    feeds, (q, k, v) = heads(model, random)
    scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
    weights = model.net.Softmax(scores, "weights", axis=-1)
    dropped, _ = model.net.Dropout(weights, ["dropped", "dropped_mask"], ratio=0.1, is_test=1)
    return feeds, [model.net.BatchMatMul([dropped, v], "attended")]


@named
def engines(model, random):
    """Engines of other devices, which do not matter on a CPU."""
    feeds, (q, k, v) = heads(model, random)
    scores = model.net.BatchMatMul([q, k], "scores", trans_b=1, engine="CUDNN")
    weights = brew.softmax(model, scaled(model, scores), "weights", axis=3, use_cudnn=True)
    return feeds, [model.net.BatchMatMul([weights, v], "attended", engine="CUDNN")]


@named
def values_first(model, random):
    """V^T times the transposed weights: out[D, L] = BatchMatMul(V, W, trans_a, trans_b)."""
    feeds, (q, k, v) = heads(model, random, merged=True)
    scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
    weights = model.net.Softmax(scores, "weights", axis=-1)
    return feeds, [model.net.BatchMatMul([v, weights], "attended", trans_a=1, trans_b=1)]


@named
def keys_first(model, random):
    """K Q^T, and the transposition within the product: BatchMatMul(W, V, trans_a)."""
    feeds, (q, k, v) = heads(model, random, merged=True)
    scores = scaled(model, model.net.BatchMatMul([k, q], "scores", trans_b=1))
    scores = model.net.Transpose(scores, "scores_transposed", axes=[0, 2, 1])
    weights = model.net.Softmax(scores, "weights", axis=-1)
    turned = model.net.Transpose(weights, "weights_transposed", axes=[0, 2, 1])
    return feeds, [model.net.BatchMatMul([turned, v], "attended", trans_a=1)]


@named
def weights_too(model, random):
    feeds, (q, k, v) = heads(model, random)
    scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
    attended = attend(model, scores, v)
    return feeds, attended + ["weights"]


@named
def shared_keys_and_values(model, random):
    """K is V, too."""
    feeds, (q, k) = heads(model, random, merged=True, names="qk")
    scores = scaled(model, model.net.BatchMatMul([q, k], "scores", trans_b=1))
    return feeds, attend(model, scores, k)


@named
def two_matrices(model, random):
    """MatMul and a Softmax of rows, without a batch."""
    model.net.AddExternalInputs("q", "k", "v")
    feeds = {
        "q": floats(random, LENGTH, HEAD_DIM),
        "k": floats(random, STEPS, HEAD_DIM),
        "v": floats(random, STEPS, DIM),
    }
    scores = scaled(model, model.net.MatMul(["q", "k"], "scores", trans_b=1))
    weights = model.net.Softmax(scores, "weights")
    return feeds, [model.net.MatMul([weights, "v"], "attended")]


@named
def classifier(model, random):
    """No attention: the softmax of a classifier."""
    model.net.AddExternalInputs("x")
    feeds = {"x": floats(random, BATCH, DIM)}
    hidden = brew.relu(model, brew.fc(model, "x", "hidden", dim_in=DIM, dim_out=STATE), "relu")
    return feeds, [
        brew.softmax(model, brew.fc(model, hidden, "classes", dim_in=STATE, dim_out=9), "softmax")
    ]


# caffe2/python/layers: the net of a LayerModelHelper.


@named
def layers(model, random):
    sizes = {"q": LENGTH, "k": STEPS, "v": STEPS}
    features = schema.Struct(
        *((name, schema.Scalar((np.float32, (size, HEAD_DIM)))) for name, size in sizes.items())
    )
    layer_model = LayerModelHelper("layers", features, schema.Struct())
    q, k, v = (layer_model.input_feature_schema[name] for name in sizes)
    scores = layer_model.BatchMatMul([q, k], 1, trans_b=1)
    weights = layer_model.Softmax(scores, 1, axis=2)
    attended = layer_model.BatchMatMul([weights, v], 1)
    layer_model.output_schema = schema.Struct(("attended", attended))
    model.net.AppendNet(layer_model_instantiator.generate_eval_net(layer_model))
    feeds = {
        str(record.field_blobs()[0]): floats(random, BATCH, sizes[name], HEAD_DIM)
        for name, record in zip(sizes, (q, k, v))
    }
    return feeds, attended.field_blobs()
