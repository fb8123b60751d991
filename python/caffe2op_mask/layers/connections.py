"""Connections around a layer, by which its input reaches what comes behind it unchanged."""

from caffe2op_mask.layers.arguments import call_layer, fc, given
from caffe2op_mask.sizes import positive_sizes


def residual(model, blob_in, blob_out, layer, dim_in=None, dim_out=None, **arguments):
    """A layer that learns what to change: ``Y = X + layer(X)``.

    blob_in    X, ``[.., dim_in]``; float
    blob_out   of the shape that the layer gives
    layer      name of a helper of brew, or a function called as these are; of several results the
               first counts
    dim_in, dim_out
               last dims of X and of the result. The layer gets those that are given. Where both are
               and differ, X is projected by a matrix that is learned, ``<blob_out>_shortcut_w``,
               and a bias.
    arguments  those of the layer

    What the layer gives is the blob ``<blob_out>_change``. Returns blob_out.

    Raises ValueError for a layer that brew does not know and a dim that is not positive, TypeError
    for a layer that is no layer and a dim that is no integer, and what the layer raises.

    Source: He, Zhang, Ren and Sun 2015.
    """
    blob_out = blob_out or model.net.NextName()
    dims = given(dim_in=dim_in, dim_out=dim_out)
    sizes = positive_sizes("residual", **dims)
    arguments.update(dims)
    change = call_layer(
        "residual", "layer", layer, model, blob_in, blob_out + "_change", arguments
    )
    shortcut = blob_in
    if len(set(sizes)) == 2:
        shortcut = fc(model, blob_in, blob_out + "_shortcut", *sizes)
    return model.net.Add([shortcut, change], blob_out)


def skip(model, blob_in, blob_out, layer, **arguments):
    """A layer whose input goes on beside its result: ``Y = [X, layer(X)]``, along the last axis.

    blob_in    X, ``[.., D]``
    blob_out   ``[.., D + D']``, where the layer gives ``[.., D']``
    layer      name of a helper of brew, or a function called as these are; of several results the
               first counts
    arguments  those of the layer

    What the layer gives is the blob ``<blob_out>_added``. Returns blob_out.

    Raises ValueError for a layer that brew does not know and a dim that is not positive, TypeError
    for a layer that is no layer and a dim that is no integer, and what the layer raises.

    Source: Huang, Liu, van der Maaten and Weinberger 2017.
    """
    blob_out = blob_out or model.net.NextName()
    added = call_layer("skip", "layer", layer, model, blob_in, blob_out + "_added", arguments)
    return model.net.Concat([blob_in, added], [blob_out, blob_out + "_split"], axis=-1)[0]
