"""Heads of attention: projections of queries, keys and values, and of what is attended to."""

from caffe2.python import brew

from caffe2op_mask.layers.arguments import blob_list, fc, given, parameter
from caffe2op_mask.sizes import positive_sizes


class Heads(object):
    """The sizes of a layer of heads, checked, and its parameters."""

    def __init__(
        self, layer, blob_in, dim_in, num_heads, num_kv_heads, head_dim, dim_kv, dim_out
    ):
        self._blobs = blob_list(layer, blob_in, "one blob", "[query, key_value]")
        dim_in, num_heads = positive_sizes(layer, dim_in=dim_in, num_heads=num_heads)
        if num_kv_heads is None:
            num_kv_heads = num_heads
        if head_dim is None:
            if dim_in % num_heads:
                raise ValueError(
                    "{}: dim_in must be a multiple of num_heads where no head_dim is given, but "
                    "they are {} and {}.".format(layer, dim_in, num_heads)
                )
            head_dim = dim_in // num_heads
        dim_kv = dim_in if dim_kv is None else dim_kv
        dim_out = dim_in if dim_out is None else dim_out
        num_kv_heads, head_dim, dim_kv, dim_out = positive_sizes(
            layer, num_kv_heads=num_kv_heads, head_dim=head_dim, dim_kv=dim_kv, dim_out=dim_out
        )
        if num_heads % num_kv_heads:
            raise ValueError(
                "{}: num_heads must be a multiple of num_kv_heads, but they are {} and {}.".format(
                    layer, num_heads, num_kv_heads
                )
            )
        self._dim_in, self._dim_kv, self._dim_out = dim_in, dim_kv, dim_out
        self._num_heads, self._num_kv_heads, self._head_dim = num_heads, num_kv_heads, head_dim

    def project(self, model, blob_out, axis, weight_init, bias_init):
        """[Q, K, V] of heads, which become dim 1; `axis` is that of the dims of blobs."""

        def heads(blob, suffix, dim_from, count, name):
            projected = fc(
                model,
                blob,
                blob_out + suffix,
                dim_from,
                count * self._head_dim,
                weight_init,
                bias_init,
            )
            # A Reshape would copy less, but leave the runtime without shapes: that of an empty
            # batch cannot be given by an argument, and one that is computed is not inferred.
            each = model.net.Split(
                projected, ["{}_{}".format(projected, i) for i in range(count)], axis=axis
            )
            each = each if count > 1 else [each]
            return model.net.Concat(
                each, [blob_out + name, projected + "_split"], axis=1, add_axis=1
            )[0]

        query, key_value = self._blobs[0], self._blobs[-1]
        return [
            heads(query, "_q", self._dim_in, self._num_heads, "_queries"),
            heads(key_value, "_k", self._dim_kv, self._num_kv_heads, "_keys"),
            heads(key_value, "_v", self._dim_kv, self._num_kv_heads, "_values"),
        ]

    def sinks(self, model, blob_out):
        shape = [self._num_heads]
        return parameter(model, blob_out + "_sinks", shape, "ConstantFill", value=0.0)

    def join(self, model, attended, blob_out, axis, weight_init, bias_init):
        """The last projection: all heads of a place, side by side from `axis` on, are one input."""
        inits = given(weight_init=weight_init, bias_init=bias_init)
        return brew.fc(
            model,
            attended,
            blob_out,
            dim_in=self._num_heads * self._head_dim,
            dim_out=self._dim_out,
            axis=axis,
            **inits
        )
