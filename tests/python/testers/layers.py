"""What tests of layers share: models, and a comparison with torch in double."""

import numpy as np
import torch
from caffe2.python import core, model_helper, workspace

from testers.arrays import wave
from testers.attention import assert_close


def new_model(**options):
    return model_helper.ModelHelper("model", **options)


def seeded(model, seed=1):
    for i, op in enumerate(model.param_init_net.Proto().op):
        op.device_option.random_seed = 100 * seed + i
    return model


def feed(**blobs):
    for name, array in blobs.items():
        workspace.FeedBlob(name, np.asarray(array))


def run(model, **blobs):
    """Draws the parameters and runs the model once on blobs."""
    feed(**blobs)
    workspace.RunNetOnce(seeded(model).param_init_net)
    workspace.RunNetOnce(model.net)


def with_gradients(model, blob, *inputs):
    """Adds gradients, from a blob <blob>_d that is fed; returns those of the inputs, by name."""
    d_blob = model.net.AddExternalInput(str(blob) + "_d")
    grads = model.AddGradientOperators({str(blob): str(d_blob)})
    return {name: str(grads[name]) for name in inputs}


def check_by_torch(build, reference, learnt=("x",), flat=(), ulps=64, **blobs):
    """A layer beside its definition: its result, and gradients to inputs and all parameters.

    build      takes a model, adds the layer and returns its result
    reference  takes {name: double tensor} of blobs and parameters and returns what is right
    learnt     the blobs that have gradients
    flat       parameters whose gradient is 0, whatever they are

    Parameters are all made other than zero, so that none goes untested. Returns the model.
    """
    workspace.ResetWorkspace()
    model = new_model()
    out = build(model)
    params = [str(param) for param in model.params]
    grads = with_gradients(model, out, *(list(learnt) + params))
    feed(**blobs)
    workspace.RunNetOnce(seeded(model).param_init_net)
    random = np.random.RandomState(7)
    for name in params:
        shape = workspace.FetchBlob(name).shape
        feed(**{name: (0.6 * random.randn(*shape)).astype("float32")})

    leaves = {
        name: torch.tensor(workspace.FetchBlob(name).astype("float64"), requires_grad=True)
        for name in list(learnt) + params
    }
    others = {name: torch.tensor(array) for name, array in blobs.items() if name not in leaves}
    wanted = reference(dict(leaves, **others))
    d_out = wave(tuple(wanted.shape), 0.51).astype("float32")
    wanted.backward(torch.tensor(d_out.astype("float64")))
    feed(**{str(out) + "_d": d_out})
    workspace.RunNetOnce(model.net)

    assert_close(workspace.FetchTorch(str(out)), wanted.detach().numpy(), ulps=ulps)
    for name, leaf in leaves.items():
        assert leaf.grad.abs().max() > 1e-6 or name in flat, name
        assert_close(workspace.FetchTorch(grads[name]), leaf.grad.numpy(), ulps=ulps)
    return model


def train(model, loss, steps, build_optimizer, rate, **blobs):
    """Trains a model on one batch; returns the losses."""
    model.AddGradientOperators([loss])
    build_optimizer(model, rate, policy="fixed")
    feed(**blobs)
    workspace.RunNetOnce(seeded(model).param_init_net)
    workspace.CreateNet(model.net, overwrite=True)
    losses = []
    for _ in range(steps):
        workspace.RunNet(model.net)
        losses.append(float(workspace.FetchBlob(str(loss))))
    return losses


def seeds(number):
    """Operators that are made in this scope draw by this seed."""
    return core.DeviceScope(core.DeviceOption(0, random_seed=number))
