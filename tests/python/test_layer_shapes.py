"""workspace.InferShapesAndTypes of nets of every layer: what a run has, or nothing."""

import numpy as np
import pytest
from caffe2.python import brew, core, model_helper, workspace

import caffe2op_mask

TYPES = {
    "bool": core.DataType.BOOL,
    "int32": core.DataType.INT32,
    "int64": core.DataType.INT64,
    "float32": core.DataType.FLOAT,
}


def feeds(batch, length):
    random = np.random.RandomState(7)
    blobs = {
        "x": random.randn(batch, length, 4).astype("float32"),
        "context": random.randn(batch, 3, 6).astype("float32"),
        "rows": random.randn(batch, 4).astype("float32"),
        "scores": random.randn(batch, 2, length, length).astype("float32"),
        "q": random.randn(batch, 4, length, 8).astype("float32"),
        "kv": random.randn(batch, 2, length, 8).astype("float32"),
        "lengths": random.randint(0, length + 1, batch).astype("int32"),
        "mask": random.rand(batch, length) < 0.5,
        "task": random.randint(0, 3, batch).astype("int32"),
        "losses": random.rand(batch).astype("float32"),
    }
    of_lengths = blobs["lengths"].sum()
    return dict(
        blobs,
        packed=random.randn(of_lengths, 4).astype("float32"),
        packed_q=random.randn(of_lengths, 4, 8).astype("float32"),
        packed_kv=random.randn(of_lengths, 2, 8).astype("float32"),
        packed_context=random.randn(3 * batch, 6).astype("float32"),
        context_lengths=np.full(batch, 3, "int32"),
    )


def dynamic(estimator, **arguments):
    def build(model):
        masked = brew.dynamic_mask(model, "x", "y", dim_in=4, estimator=estimator, **arguments)
        return brew.dynamic_mask_loss(model, [masked, "losses"], "loss", kept_penalty=0.1)

    return build


def with_gradient(build):
    """The model trained by the sum of what it gives and of what it masks."""

    def trained(model):
        losses = [build(model)] + (["y"] if model.net.BlobIsDefined("y_real") else [])
        sums = [model.net.SumElements(loss, str(loss) + "_sum") for loss in losses]
        model.AddGradientOperators(sums)

    return trained


# Layers by what they are called with. A name that another has too says what is different of it.
LAYERS = {
    "adaptive_attention": lambda m: brew.adaptive_attention(
        m, ["x", "context"], "y", 4, 2, dim_kv=6
    ),
    "adaptive_attention by tasks": lambda m: brew.adaptive_attention(
        m, "x", "y", 4, 2, num_tasks=3
    ),
    "adaptive_attention by one task": lambda m: brew.adaptive_attention(
        m, "x", "y", 4, 2, num_tasks=3, task="task"
    ),
    "dynamic_mask straight through": dynamic("straight_through", lengths="lengths"),
    "dynamic_mask hard concrete": dynamic("hard_concrete", mask="mask"),
    "dynamic_mask reinforce": dynamic("reinforce", lengths="lengths", dim_hidden=5),
    "gated_feed_forward": lambda m: brew.gated_feed_forward(m, "x", "y", 4, 5, 3),
    "highway": lambda m: brew.highway(m, "x", "y", 4),
    "learnable_gate": lambda m: brew.learnable_gate(m, "x", "y", dim_in=4),
    "masked_attention": lambda m: brew.masked_attention(
        m, ["q", "kv", "kv"], "y", lengths="lengths"
    ),
    "masked_attention_jagged": lambda m: brew.masked_attention_jagged(
        m, ["packed_q", "packed_kv", "packed_kv"], "y", lengths="lengths"
    ),
    "masked_mean": lambda m: brew.masked_mean(m, "x", "y", lengths="lengths"),
    "masked_mean by a mask": lambda m: brew.masked_mean(m, "x", "y", mask="mask"),
    "masked_mean by both": lambda m: brew.masked_mean(m, "x", "y", "lengths", "mask"),
    "masked_softmax": lambda m: brew.masked_softmax(m, "scores", "y", lengths="lengths"),
    "mixture_of_experts": lambda m: brew.mixture_of_experts(m, "rows", "y", 4, 3, 5, top_k=2),
    "multi_head_attention": lambda m: brew.multi_head_attention(m, "x", "y", 4, 2, mode="upper"),
    "multi_head_attention to another": lambda m: brew.multi_head_attention(
        m, ["x", "context"], "y", 4, 4, num_kv_heads=2, head_dim=3, dim_kv=6, dim_out=7
    ),
    "multi_head_attention of one head": lambda m: brew.multi_head_attention(m, "x", "y", 4, 1),
    "multi_head_attention_jagged": lambda m: brew.multi_head_attention_jagged(
        m, "packed", "y", 4, 2, lengths="lengths", mode="upper"
    ),
    "multi_head_attention_jagged to another": lambda m: brew.multi_head_attention_jagged(
        m, ["packed", "packed_context"], "y", 4, 4, num_kv_heads=2, head_dim=3, dim_kv=6, dim_out=7,
        lengths="lengths", key_lengths="context_lengths",
    ),
    "residual": lambda m: brew.residual(m, "x", "y", "highway", dim_in=4),
    "skip": lambda m: brew.skip(m, "x", "y", "learnable_gate", dim_in=4),
    "task_gate": lambda m: brew.task_gate(m, "rows", "y", 4, 3, task="task"),
    "task_gate by the input": lambda m: brew.task_gate(m, "rows", "y", 4, 3),
}


def check(build, arrays, capfd):
    """The blobs of a model that have no shape; each of the others has that of the run."""
    workspace.ResetWorkspace()
    model = model_helper.ModelHelper("model")
    build(model)
    capfd.readouterr()
    shapes, types = workspace.InferShapesAndTypes(
        [model.param_init_net, model.net],
        {name: list(array.shape) for name, array in arrays.items()},
        blob_types={name: TYPES[str(array.dtype)] for name, array in arrays.items()},
    )
    assert "Shape inference error" not in capfd.readouterr().err
    for name, array in arrays.items():
        workspace.FeedBlob(name, array)
    workspace.RunNetOnce(model.param_init_net)
    workspace.RunNetOnce(model.net)
    blobs = {str(blob) for op in model.net.Proto().op for blob in op.output}
    for blob in sorted(blobs & set(shapes)):
        array = workspace.FetchBlob(blob)
        assert shapes[blob] == list(array.shape), blob
        assert types[blob] == TYPES[str(array.dtype)], blob
    return blobs - set(shapes)


def test_every_layer_is_here():
    names = {layer.__name__ for layer in caffe2op_mask.layers.LAYERS}
    assert names - {"dynamic_mask_loss"} == {name.split()[0] for name in LAYERS}


@pytest.mark.parametrize("batch, length", [(2, 5), (3, 1), (0, 5)])
@pytest.mark.parametrize("trained", [False, True], ids=["forward", "trained"])
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_inferred_as_it_runs(name, trained, batch, length, capfd):
    build = with_gradient(LAYERS[name]) if trained else LAYERS[name]
    unknown = check(build, feeds(batch, length), capfd)
    # How many rows a mask keeps is not known before it is, nor by Caffe2 what is made of them.
    assert bool(unknown) == name.startswith("masked_mean")


def test_what_follows_a_masked_mean_is_unknown(capfd):
    def build(model):
        pooled = brew.masked_mean(model, "x", "y", mask="mask")
        brew.fc(model, pooled, "z", dim_in=4, dim_out=2)

    assert {"y", "z"} <= check(build, feeds(2, 5), capfd)
