"""Layers: functions that add masks, and what is made with them, to a model.

A layer is called as those of Caffe2's brew are, ``layer(model, blob_in, blob_out, ..)``, and
returns the blob of its result. ``brew`` knows each by its name:

    brew.masked_softmax(model, "scores", "weights", lengths="lengths")

Families of layers have a file each. A layer becomes known by its place in LAYERS.
"""

import warnings

from caffe2.python import brew

from caffe2op_mask.layers.attention import (
    adaptive_attention,
    masked_attention,
    masked_softmax,
    multi_head_attention,
)
from caffe2op_mask.layers.attention_jagged import (
    masked_attention_jagged,
    multi_head_attention_jagged,
)
from caffe2op_mask.layers.connections import residual, skip
from caffe2op_mask.layers.dynamic_mask import dynamic_mask, dynamic_mask_loss
from caffe2op_mask.layers.gates import gated_feed_forward, highway, learnable_gate, task_gate
from caffe2op_mask.layers.mixture import mixture_of_experts
from caffe2op_mask.layers.pooling import masked_mean

LAYERS = (
    adaptive_attention,
    dynamic_mask,
    dynamic_mask_loss,
    gated_feed_forward,
    highway,
    learnable_gate,
    masked_attention,
    masked_attention_jagged,
    masked_mean,
    masked_softmax,
    mixture_of_experts,
    multi_head_attention,
    multi_head_attention_jagged,
    residual,
    skip,
    task_gate,
)

__all__ = ["LAYERS"] + [layer.__name__ for layer in LAYERS]


def _register():
    """Makes the layers helpers of brew. A name that a program has taken before stays its own."""
    for layer in LAYERS:
        if brew.has_helper(layer):
            warnings.warn(
                "brew has a helper {0} already; this library's is "
                "caffe2op_mask.layers.{0}.".format(layer.__name__)
            )
        else:
            brew.Register(layer)


_register()
