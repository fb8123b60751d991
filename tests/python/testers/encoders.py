"""Transformer encoders of padded sentences, as brew and the layers make them."""

import numpy as np
from caffe2.python import brew
from caffe2.python.model_helper import ModelHelper

from caffe2op_mask import layers


def encoder(num_layers, dim, num_heads, dim_inner=None, pool=True):
    """(net, init net) of an encoder of x ``[B, L, dim]`` by lengths ``[B]``.

    Its output is the mean of the rows that are kept, or with pool=False all rows.
    """
    model = ModelHelper("encoder", arg_scope={"order": "NCHW"})
    dim_inner = dim_inner or 4 * dim
    blob = "x"
    for layer in range(num_layers):
        name = "layer_{}".format(layer)
        attended = layers.multi_head_attention(
            model, blob, name + "_attended", dim, num_heads, lengths="lengths"
        )
        blob = _add_and_norm(model, [blob, attended], name + "_1", dim)
        inner = brew.fc(model, blob, name + "_inner", dim, dim_inner, axis=2)
        inner = model.net.Gelu(inner, name + "_gelu")
        outer = brew.fc(model, inner, name + "_outer", dim_inner, dim, axis=2)
        blob = _add_and_norm(model, [blob, outer], name + "_2", dim)
    blob = layers.masked_mean(model, blob, "mean", lengths="lengths") if pool else blob
    model.net.Proto().external_output.append(str(blob))
    return model.net.Proto(), model.param_init_net.Proto()


def _add_and_norm(model, blobs, name, dim):
    added = model.net.Add(blobs, name + "_sum")
    init = model.param_init_net
    scale = init.UniformFill([], name + "_scale", shape=[dim], min=0.5, max=1.5)
    shift = init.UniformFill([], name + "_shift", shape=[dim], min=-0.5, max=0.5)
    outputs = [name + "_norm", name + "_norm_mean", name + "_norm_std"]
    arguments = dict(axis=2, elementwise_affine=1, epsilon=1e-5)
    return model.net.LayerNorm([added, scale, shift], outputs, **arguments)[0]


def sentences(batch, rows, dim, lengths, seed=0):
    """Feeds of an encoder."""
    random = np.random.RandomState(seed)
    return {
        "x": random.randn(batch, rows, dim).astype(np.float32),
        "lengths": np.asarray(lengths, np.int32),
    }
