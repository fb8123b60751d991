"""Masks that a network makes of what it sees, trained together with what comes behind it."""

import numpy as np
from caffe2.python import core
from caffe2.python.modeling.parameter_info import ParameterTags

from caffe2op_mask.layers.arguments import (
    blob_list,
    fc,
    given,
    must_not_be_given,
    operator_arguments,
    parameter,
)
from caffe2op_mask.layers.gates import apply_gate
from caffe2op_mask.sizes import positive_sizes

ESTIMATORS = ("straight_through", "hard_concrete", "reinforce")

# Stock operators of these names, which a process may prefer, take no such masks.
_OURS = {"engine": "MASK"}


def dynamic_mask(
    model,
    blob_in,
    blob_out,
    dim_in,
    estimator="straight_through",
    dim_context=None,
    dim_hidden=None,
    lengths=None,
    mask=None,
    is_test=False,
    weight_init=None,
    bias_init=None,
    **arguments
):
    """Masks what a network that is learned with the model takes for dispensable.

    The network gives each row of X, be it a word or a pixel, a logit Z; how a row is kept or masked
    by it, and how the network learns though that has no derivative, is the estimator's:

    ================  ============================  ==============================================
    estimator         keeps                         learns by
    ================  ============================  ==============================================
    straight_through  where Z > 0                   the gradient of sigmoid(Z) in place of its own
    hard_concrete     by a gate of [0, 1], random   its own gradient
    reinforce         with probability sigmoid(Z)   the score function: what it drew, weighed by
                                                    how much better than usual the outcome was
    ================  ============================  ==============================================

    blob_in      X, ``[B, L, dim_in]``; or [X, context]: ``[B, L, dim_context]``, which the network
                 reads in place of X; float
    blob_out     of the shape of X; zeros where it is masked
    dim_context  last dim of the context (default dim_in)
    dim_hidden   width of a hidden layer of tanh in the network (default none: it is linear)
    lengths      int32 or int64, ``[B]``: rows from there on are padding, which is never kept
    mask         bool, ``[B, L]``: False is padding; with lengths, what both leave
    is_test      True: nothing is drawn: reinforce keeps where Z > 0, hard_concrete has no noise
    weight_init, bias_init
                 as brew.fc takes them, for the last layer of the network; a bias above 0 begins by
                 keeping most
    arguments    of Gate, but for reinforce: clip, beta, gamma, zeta

    What it learns is told by `dynamic_mask_loss`, which must be part of the loss of a model that
    trains with reinforce, and has the penalties for all three. Padding must be finite: the network
    computes its logits, too, before they are set to -inf.

    Blobs are ``<blob_out>_logits`` and ``<blob_out>_gate``, ``[B, L, 1]``, what X was multiplied
    by; ``<blob_out>_mask``, bool ``[B, L]``, what is kept, for those that attend to the result; and
    those that `dynamic_mask_loss` reads. Parameters are ``<blob_out>_logits_w`` and ``_b`` and,
    with dim_hidden, ``<blob_out>_hidden_w`` and ``_b``. Returns blob_out.

    Raises ValueError for an estimator that is none of these, a size that is not positive and
    another number of blobs, TypeError for a size that is no integer and an argument that Gate does
    not have or the estimator tells. Operators check types and shapes when they run.

    Source: Bengio, Leonard and Courville 2013 (straight through), Louizos, Welling and Kingma 2018
    (hard concrete), Williams 1992 (REINFORCE).
    """
    layer = "dynamic_mask"
    if estimator not in ESTIMATORS:
        raise ValueError(
            "{}: estimator must be {} or {}, but is {}.".format(
                layer, ", ".join(ESTIMATORS[:-1]), ESTIMATORS[-1], estimator
            )
        )
    blobs = blob_list(layer, blob_in, "X", "[X, context]")
    dim_context = dim_in if dim_context is None else dim_context
    _, dim_context = positive_sizes(layer, dim_in=dim_in, dim_context=dim_context)
    must_not_be_given(layer, arguments, kind="estimator")
    gate_arguments = given(**operator_arguments(model, "Gate", arguments))
    if estimator == "reinforce" and gate_arguments:
        raise TypeError(
            "{}: reinforce has no arguments of Gate, but {} came.".format(
                layer, ", ".join(sorted(gate_arguments))
            )
        )
    blob_out, net = blob_out or model.net.NextName(), model.net
    hidden, dim_last = blobs[-1], dim_context
    if dim_hidden is not None:
        (dim_hidden,) = positive_sizes(layer, dim_hidden=dim_hidden)
        hidden = fc(model, hidden, blob_out + "_hidden", dim_context, dim_hidden)
        hidden, dim_last = net.Tanh(hidden, hidden), dim_hidden
    logits = fc(model, hidden, blob_out + "_logits", dim_last, 1, weight_init, bias_init)

    def without_padding(blob, fill_val):
        if lengths is not None:
            blob = net.SequenceMask(
                [blob, lengths],
                blob,
                mode="sequence",
                axis=1,
                repeat_from_axis=2,
                fill_val=fill_val,
                **_OURS
            )
        if mask is not None:
            blob = net.SequenceMask([blob, mask], blob, mode="mask", fill_val=fill_val, **_OURS)
        return blob

    logits = without_padding(logits, -np.inf)
    if not is_test:
        without_padding(net.ConstantFill(logits, blob_out + "_real", value=1.0), 0.0)
    if estimator == "reinforce" and not is_test:
        return _draw(net, blobs[0], logits, blob_out)
    kind = "hard_concrete" if estimator == "hard_concrete" else "hard"
    if kind == "hard_concrete":
        gate_arguments["is_test"] = int(is_test)
    result = apply_gate(model, blobs[0], logits, blob_out, 1, kind, gate_arguments)
    kept = net.Cast(blob_out + "_gate", blob_out + "_kept", to=core.DataType.BOOL)
    net.Squeeze(kept, blob_out + "_mask", dims=[2])
    if kind == "hard_concrete" and not is_test:
        _add_open(net, logits, blob_out + "_open", **gate_arguments)
    return result


def _draw(net, blob_in, logits, blob_out):
    """Masks by chance, and makes what the score function needs of it, ``<blob_out>_log_prob``."""
    kept, _ = net.BernoulliMask(logits, [blob_out + "_kept", blob_out + "_log_prob"])
    mask = net.Squeeze(kept, blob_out + "_mask", dims=[2])
    net.Cast(kept, blob_out + "_gate", to=core.DataType.FLOAT)
    return net.BooleanMask([blob_in, mask], blob_out, keep_shape=1, **_OURS)


def _add_open(net, logits, blob_out, beta=2 / 3, gamma=-0.1, zeta=1.1, **_):
    """Probability that a gate of hard_concrete is not 0, by its arguments as Gate has them."""
    beta, gamma, zeta = float(beta), float(gamma), float(zeta)
    # A gate that is not stretched below 0 is always open. An infinite shift would say so, too, but
    # would make NaN of padding, whose logits are -inf.
    shift = -beta * np.log(-gamma / zeta) if gamma else 1e30
    shift = net.ConstantFill([], blob_out + "_shift", shape=[1], value=shift)
    return net.Sigmoid(net.Add([logits, shift], blob_out + "_logits"), blob_out)


def dynamic_mask_loss(
    model, blob_in, blob_out, kept_penalty=0.0, masked_penalty=0.0, baseline_decay=0.95
):
    """What a model with a dynamic mask minimizes: losses and a price for what it keeps or masks.

    ``loss = mean over B of (losses + kept_penalty * kept + masked_penalty * masked)``

    blob_in          [masked, losses]: the result of a `dynamic_mask` of this model, made without
                     is_test; and what its use has cost each of the batch, ``[B]``, float
    blob_out         the loss, of which gradients are to be taken
    kept_penalty     price of each row that is kept, to learn which may go
    masked_penalty   price of each row that is masked, so that no more go than pay
    baseline_decay   with reinforce, how much of the running mean of the cost stays at each step

    kept and masked are how many rows of a sample are so, padding aside; with hard_concrete, how
    many are expected to be. The probability of what reinforce drew gets the gradient of
    ``mean((cost - baseline) * log_prob)``; the value of the loss has no part of that. The baseline
    is the running mean of the cost at the steps before, ``<masked>_baseline_total`` over
    ``<masked>_baseline_weight``, which are parameters of the model that no optimizer changes. It
    takes variance from the estimate, and adds no bias to it. Returns blob_out.

    Raises ValueError for a blob that is not made by `dynamic_mask` in this model and a decay that
    is not at least 0 and below 1.

    Source: Williams 1992 (REINFORCE and the baseline); Louizos, Welling and Kingma 2018 (the
    expected number of open gates).
    """
    layer, net = "dynamic_mask_loss", model.net
    masked, losses = blob_list(layer, blob_in, "[masked, losses]")
    if not 0 <= baseline_decay < 1:
        raise ValueError(
            "{}: baseline_decay must be at least 0 and below 1, but is {}.".format(
                layer, baseline_decay
            )
        )

    def made(suffix):
        return net.BlobIsDefined(str(masked) + suffix)

    if not made("_real"):
        raise ValueError(
            "{}: {} is no dynamic_mask of this model, made without is_test.".format(layer, masked)
        )
    blob_out = blob_out or net.NextName()
    drawn = made("_log_prob")

    def sample_sum(blob, name):
        return net.ReduceSum(masked + blob, blob_out + name, axes=[1, 2], keepdims=0)

    cost = losses
    if kept_penalty or masked_penalty:
        kept = sample_sum("_open" if made("_open") else "_gate", "_kept")
        if drawn:
            kept = net.StopGradient(kept, kept)
        gone = net.Sub([sample_sum("_real", "_rows"), kept], blob_out + "_masked")
        for count, penalty in ((kept, kept_penalty), (gone, masked_penalty)):
            price = net.Scale(count, net.NextName(), scale=float(penalty))
            cost = net.Add([cost, price], net.NextName())
    if not drawn:
        return net.AveragedLoss(cost, blob_out)
    mean = net.AveragedLoss(cost, blob_out + "_value")
    log_prob = sample_sum("_log_prob", "_log_prob")
    better = net.StopGradient(
        net.Sub([cost, _baseline(model, masked, mean, baseline_decay)]), blob_out + "_advantage"
    )
    score = net.AveragedLoss(net.Mul([log_prob, better]), blob_out + "_score")
    # Its value is 0 and its gradient is not.
    score = net.Sub([score, net.StopGradient(score, net.NextName())], net.NextName())
    return net.Add([mean, score], blob_out)


def _baseline(model, masked, mean, decay):
    """The mean of the costs before, of which later ones weigh more; then takes in that of now."""
    net = model.net

    def state(name, value):
        return parameter(
            model,
            masked + "_baseline_" + name,
            [1],
            "ConstantFill",
            tags=ParameterTags.COMPUTED_PARAM,
            value=value,
        )

    # That of nothing is 0. What weighs so little is lost beside a step.
    total, weight = state("total", 0.0), state("weight", 1e-30)
    baseline = net.Div([total, weight], masked + "_baseline")
    one = net.ConstantFill(weight, net.NextName(), value=1.0)
    for sum_so_far, now in ((total, net.StopGradient(mean, net.NextName())), (weight, one)):
        net.Scale(sum_so_far, sum_so_far, scale=decay)
        net.Add([sum_so_far, net.Scale(now, net.NextName(), scale=1 - decay)], sum_so_far)
    return baseline
