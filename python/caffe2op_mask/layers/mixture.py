"""Mixtures: several layers, and a gate that says how much each of them counts."""

from caffe2.python.modeling.parameter_info import ParameterTags

from caffe2op_mask.layers.arguments import blob_list, call_layer, fc, parameter
from caffe2op_mask.sizes import positive_sizes


def mixture_of_experts(
    model,
    blob_in,
    blob_out,
    dim_in,
    dim_out,
    num_experts,
    dim_context=None,
    top_k=None,
    expert=None,
    balance=False,
    renormalize=False,
    bias_rate=None,
    **arguments
):
    """Experts, and a gate that chooses among them: ``Y = sum over k of G_k * expert_k(X)``.

    ``G = softmax(X W^T + b)``, of which the top_k are kept

    blob_in      X, ``[N, dim_in]``, float; or [X, context]: ``[N, dim_context]``, which the gate
                 reads in place of X, and then X may have dims between
    blob_out     what experts give, ``[N, dim_out]``
    num_experts  how many experts there are
    dim_context  last dim of the context (default dim_in)
    top_k        how many experts count for a row (default all); the rest weigh 0. All are computed.
    expert       name of a helper of brew, or a function called as these are, with dim_in and
                 dim_out; of several results the first counts (default fc)
    balance      True: make ``<blob_out>_balance``, to be added to the loss so that no expert is
                 left out: the squared coefficient of variation of what the experts weigh in the
                 batch
    renormalize  True: the weights of the top_k are divided by their sum
    bias_rate    with top_k, balances without a loss: a routing bias is added where experts are
                 chosen, and each run of the net moves it by this rate, up for experts that fewer
                 rows than the mean have chosen, down for those that more have
    arguments    those of the expert

    Experts are the blobs ``<blob_out>_expert_0`` and so on, the gate is ``<blob_out>_gate``,
    ``[N, num_experts]``, and what it takes ``<blob_out>_logits``, for which its parameters are
    named. The routing bias, ``<blob_out>_bias``, is a parameter that no optimizer changes; a net
    that is not to move it, as for prediction, has a bias_rate of 0. Returns blob_out.

    Raises ValueError for a size that is not positive, a bias_rate that is negative, a top_k above
    num_experts, an expert that brew does not know and another number of blobs, TypeError for a size
    that is no integer and an expert that is no layer. The operator, MixtureGate, checks types and
    shapes when it runs.

    Source: Jacobs, Jordan, Nowlan and Hinton 1991; Shazeer et al. 2017 (top_k, balance); Jiang et
    al. 2024 (renormalize); Wang et al. 2024 (bias_rate).
    """
    layer = "mixture_of_experts"
    blobs = blob_list(layer, blob_in, "X", "[X, context]")
    dim_context = dim_in if dim_context is None else dim_context
    top_k = num_experts if top_k is None else top_k
    dim_in, dim_out, num_experts, dim_context, top_k = positive_sizes(
        layer,
        dim_in=dim_in,
        dim_out=dim_out,
        num_experts=num_experts,
        dim_context=dim_context,
        top_k=top_k,
    )
    if top_k > num_experts:
        raise ValueError(
            "{}: top_k must be at most num_experts, {}, but is {}.".format(
                layer, num_experts, top_k
            )
        )
    if bias_rate is not None and not bias_rate >= 0:
        raise ValueError(
            "{}: bias_rate must be a number of at least 0, but is {}.".format(layer, bias_rate)
        )
    blob_out, net = blob_out or model.net.NextName(), model.net
    expert = "fc" if expert is None else expert
    arguments.update(dim_in=dim_in, dim_out=dim_out)
    said = [
        call_layer(
            layer,
            "expert",
            expert,
            model,
            blobs[0],
            "{}_expert_{}".format(blob_out, number),
            arguments,
        )
        for number in range(num_experts)
    ]
    experts, _ = net.Concat(
        said, [blob_out + "_experts", blob_out + "_split"], axis=1, add_axis=1
    )
    logits = fc(model, blobs[-1], blob_out + "_logits", dim_context, num_experts)
    inputs, options = [experts, logits], {"renormalize": 1} if renormalize else {}
    if bias_rate is not None:
        bias = parameter(
            model,
            blob_out + "_bias",
            [num_experts],
            "ConstantFill",
            tags=ParameterTags.COMPUTED_PARAM,
            value=0.0,
        )
        # The gradient chooses as the forward pass has, though the bias has been moved since.
        inputs.append(net.Copy(bias, blob_out + "_bias_used"))
    mixed, gate = net.MixtureGate(
        inputs, [blob_out, blob_out + "_gate"], top_k=top_k, **options
    )
    if bias_rate:
        _move_bias(net, gate, bias, bias_rate)
    if balance:
        _add_balance(net, gate, blob_out + "_balance", num_experts)
    return mixed


def _move_bias(net, gate, bias, rate):
    """Adds the rate times the sign of how many rows an expert is short of the mean."""
    chosen = net.Sign(net.StopGradient(gate, net.NextName()))
    load = net.ReduceSum(chosen, net.NextName(), axes=[0], keepdims=0)
    short = net.Sub([net.ReduceMean(load, net.NextName(), axes=[0], keepdims=1), load])
    net.Add([bias, net.Scale(net.Sign(short), scale=float(rate))], bias)


def _add_balance(net, gate, blob_out, num_experts):
    """Variance of the experts' weights over the square of their mean: K sum w^2 / (sum w)^2 - 1."""
    weights = net.ReduceSum(gate, blob_out + "_weights", axes=[0], keepdims=0)
    squares = net.ReduceSum(net.Sqr(weights), net.NextName(), axes=[0], keepdims=0)
    total = net.Sqr(net.ReduceSum(weights, net.NextName(), axes=[0], keepdims=0))
    ratio = net.Scale(net.Div([squares, total]), scale=float(num_experts))
    one = net.ConstantFill([], blob_out + "_one", shape=[], value=1.0)
    return net.Sub([ratio, one], blob_out)
