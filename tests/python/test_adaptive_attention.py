"""The layer adaptive_attention: beside its definition, and learning when and where to look."""

import numpy as np
import pytest
import torch
from caffe2.python import brew, optimizer, workspace

from testers.arrays import wave
from testers.layers import check_by_torch, new_model, run, train
from testers.runtime_facts import needs_the_same_draws
from test_gate_layers import dense

X = wave((3, 5, 6), 0.37).astype("float32")
KEYS = wave((3, 7, 4), 0.73).astype("float32")
LENGTHS = np.array([5, 2, 4], "int32")


def definition(b, query, key_value, heads=2, lengths=None):
    """The layer, by torch's products, masked_fill and softmax."""

    def split(blob, name):
        projected = dense(b, blob, "y_attended_to_" + name)
        return projected.reshape(projected.shape[:2] + (heads, -1)).transpose(1, 2)

    q, k, v = split(query, "q"), split(key_value, "k"), split(key_value, "v")
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if lengths is not None:
        masked = torch.arange(scores.shape[-1]) >= torch.tensor(lengths)[:, None, None, None]
        scores = scores.masked_fill(masked, -np.inf)
    attended = (torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2)
    attended = dense(b, attended, "y_attended_to")
    gate = torch.sigmoid(dense(b, torch.cat([query, attended], -1), "y_logits"))
    return gate * attended + (1 - gate) * query


# What a softmax does not see.
FLAT = ["y_attended_to_k_b"]


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["all", "lengths"])
class TestDefinition(object):
    def check(self, build, reference, learnt, lengths, **blobs):
        extras = {} if lengths is None else {"lengths": "lengths"}
        if lengths is not None:
            blobs["lengths"] = lengths
        check_by_torch(
            lambda model: build(model, **extras), reference, learnt=learnt, flat=FLAT, **blobs
        )
        gate = workspace.FetchBlob("y_gate")
        assert gate.shape == workspace.FetchBlob("y").shape[:2] + (1,)
        z = workspace.FetchBlob("y_logits")
        np.testing.assert_allclose(gate, 1 / (1 + np.exp(-z)), rtol=1e-5)

    def test_steps_of_a_decoder(self, lengths):
        self.check(
            lambda model, **extras: brew.adaptive_attention(
                model, ["x", "k"], "y", 6, 2, dim_kv=4, **extras
            ),
            lambda b: definition(b, b["x"], b["k"], lengths=lengths),
            ["x", "k"],
            lengths,
            x=X,
            k=KEYS,
        )

    def test_itself(self, lengths):
        self.check(
            lambda model, **extras: brew.adaptive_attention(model, "x", "y", 6, 3, **extras),
            lambda b: definition(b, b["x"], b["x"], heads=3, lengths=lengths),
            ["x"],
            lengths,
            x=X,
        )

    def test_all_tasks(self, lengths):
        self.check(
            lambda model, **extras: brew.adaptive_attention(
                model, "x", "y", 6, 2, num_tasks=4, **extras
            ),
            lambda b: definition(b, b["y_tasks"].expand(3, 4, 6), b["x"], lengths=lengths),
            ["x"],
            lengths,
            x=X,
        )
        assert workspace.FetchBlob("y").shape == (3, 4, 6)

    @pytest.mark.parametrize("index", ["int32", "int64"])
    def test_a_task_for_each(self, lengths, index):
        self.check(
            lambda model, **extras: brew.adaptive_attention(
                model, "x", "y", 6, 2, num_tasks=4, task="t", **extras
            ),
            lambda b: definition(b, b["y_tasks"][b["t"].long()][:, None], b["x"], lengths=lengths),
            ["x"],
            lengths,
            x=X,
            t=np.array([3, 0, 3], index),
        )
        assert workspace.FetchBlob("y").shape == (3, 1, 6)


def test_a_task_has_the_same_alone_and_with_the_others():
    task = np.array([3, 0, 3], "int32")
    trained, alone = new_model(), new_model(init_params=False)
    brew.adaptive_attention(trained, "x", "y", 6, 2, num_tasks=4)
    brew.adaptive_attention(alone, "x", "y", 6, 2, num_tasks=4, task="t")
    assert not alone.param_init_net.Proto().op
    run(trained, x=X)
    both = workspace.FetchBlob("y")
    workspace.FeedBlob("t", task)
    workspace.RunNetOnce(alone.net)
    np.testing.assert_allclose(
        workspace.FetchBlob("y")[:, 0], both[np.arange(3), task], rtol=1e-5, atol=1e-6
    )


def test_empty_batches():
    model = new_model()
    brew.adaptive_attention(model, "x", "y", 6, 2, num_tasks=4)
    run(model, x=X[:0])
    assert workspace.FetchBlob("y").shape == (0, 4, 6)


def test_an_attention_for_each_task():
    """Of two marked places one task wants the first, the other the second: they look apart."""
    random = np.random.RandomState(0)
    marks = np.array([random.permutation(6) for _ in range(128)])
    first, second = marks == 0, marks == 1
    values = random.choice([-1.0, 1.0], (128, 6))
    x = np.stack([values, first, second, np.zeros_like(values)], -1).astype("float32")
    labels = np.stack([(values * first).sum(1), (values * second).sum(1)], 1)
    model = new_model()
    read = brew.adaptive_attention(model, "x", "y", 4, 1, num_tasks=2)
    told = brew.fc(model, read, "told", 4, 1, axis=2)
    squeezed = model.net.Squeeze(told, "answers", dims=[2])
    loss = model.net.AveragedLoss(
        model.net.SquaredL2Distance([squeezed, "labels"], "distances"), "loss"
    )
    blobs = ["y_attended_to_queries", "y_attended_to_keys"]
    scores = model.net.BatchMatMul(blobs, "scores", trans_b=1)
    brew.masked_softmax(model, scores, "weights", scale=0.5)
    losses = train(
        model, loss, 600, optimizer.build_adam, 0.02, x=x, labels=labels.astype("float32")
    )
    assert losses[-1] < 0.1 * losses[0], losses[::60]
    weights = workspace.FetchBlob("weights")[:, 0]
    assert weights[:, 0][first].mean() > 0.8 and weights[:, 1][second].mean() > 0.8
    # The gate tells that what is attended to counts, and not the task's own query.
    assert workspace.FetchBlob("y_gate").mean() > 0.5


@needs_the_same_draws
def test_a_gate_on_the_decoding_step():
    """Some steps need to look, others know already: the gate opens for the former alone.

    Where what is seen and what is known are the same, either will do.
    """
    random = np.random.RandomState(0)
    looks = random.randint(2, size=(64, 5))
    knows = random.choice([-1.0, 1.0], (64, 5))
    seen = np.tile(random.choice([-1.0, 1.0], (64, 1)), (1, 3))
    query = np.stack([knows * (1 - looks), looks, np.zeros_like(knows)], -1)
    keys = np.stack([seen, np.ones_like(seen)], -1)
    labels = np.where(looks == 1, seen[:, :1], knows)
    model = new_model()
    y = brew.adaptive_attention(model, ["x", "k"], "y", 3, 1, dim_kv=2)
    told = model.net.Squeeze(brew.fc(model, y, "told", 3, 1, axis=2), "answers", dims=[2])
    loss = model.net.AveragedLoss(
        model.net.SquaredL2Distance([told, "labels"], "distances"), "loss"
    )
    blobs = dict(x=query, k=keys, labels=labels)
    blobs = {name: blob.astype("float32") for name, blob in blobs.items()}
    losses = train(model, loss, 500, optimizer.build_adam, 0.02, **blobs)
    assert losses[-1] < 0.05 * losses[0], losses[::50]
    gate = workspace.FetchBlob("y_gate")[..., 0]
    assert gate[(looks == 0) & (knows != seen[:, :1])].mean() < 0.2
    # One answer may be that of the steps that look and see nothing; the other must be seen.
    needed = [gate[(looks == 1) & (seen[:, :1] == sign)].mean() for sign in (-1, 1)]
    assert max(needed) > 0.8


@pytest.mark.parametrize(
    "blob_in, options, message",
    [
        ("x", {"task": "t"}, "a task needs num_tasks."),
        (["x", "k"], {"num_tasks": 2},
         "with num_tasks blob_in must be one blob, but is 2 blobs."),
        ("x", {"num_tasks": 0}, "num_tasks must be positive, but is 0."),
        (["x", "k", "v"], {}, "blob_in must be one blob or [query, key_value], but is 3 blobs."),
    ],
)
def test_errors(blob_in, options, message):
    model = new_model()
    with pytest.raises(ValueError) as raised:
        brew.adaptive_attention(model, blob_in, "y", 4, 2, **options)
    assert str(raised.value) == "adaptive_attention: " + message
    assert not model.net.Proto().op and not model.params


def test_the_result_is_as_wide_as_the_query():
    with pytest.raises(TypeError, match="dim_out"):
        brew.adaptive_attention(new_model(), "x", "y", 4, 2, dim_out=3)
