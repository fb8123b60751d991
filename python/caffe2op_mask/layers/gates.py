"""Layers with a gate that is learned: it multiplies what passes by what it makes of its input."""

from caffe2op_mask.layers.arguments import blob_list, fc, operator_arguments, parameter
from caffe2op_mask.sizes import positive_sizes

# Activations by name, and the operators that they are.
ACTIVATIONS = {"elu": "Elu", "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}

# Such a highway begins by carrying most of its input.
CARRY = ("ConstantFill", {"value": -1.0})


def learnable_gate(
    model,
    blob_in,
    blob_out=None,
    dim_in=None,
    dim_context=None,
    per_row=False,
    kind="sigmoid",
    weight_init=None,
    bias_init=None,
    **arguments
):
    """A gate that reads its input: ``Y = g(X W^T + b) * X``.

    blob_in      ``[.., dim_in]``, or [X, context]: ``[.., dim_context]``, which the gate reads in
                 place of X, with the dims of X before its last; float
    blob_out     of the shape of X
    dim_in       last dim of X
    dim_context  last dim of the context (default dim_in)
    per_row      True: one gate for each row, and not for each entry
    kind         sigmoid, tanh, softmax, relu, hard, hard_concrete or gumbel_softmax, as Gate has
                 them; relu has a threshold that is learned
    weight_init, bias_init
                 as brew.fc takes them
    arguments    others of the operator: clip, beta, gamma, zeta, tau, hard, is_test

    Parameters are ``<blob_out>_logits_w``, ``<blob_out>_logits_b`` and, for relu, which begins at
    0, ``<blob_out>_threshold``. The blobs ``<blob_out>_logits`` and ``<blob_out>_gate`` are what g
    takes and gives. Returns blob_out.

    Raises ValueError for another number of blobs and a dim that is not positive, TypeError for a
    dim that is no integer and an argument that the operator does not have. The operator, Gate,
    checks types and shapes when it runs.

    Source: Hochreiter and Schmidhuber 1997; for hard, hard_concrete and gumbel_softmax see Gate.
    """
    blob_out = blob_out or model.net.NextName()
    blobs = blob_list("learnable_gate", blob_in, "X", "[X, context]")
    if dim_in is None:
        raise ValueError("learnable_gate: dim_in must be given.")
    dim_context = dim_in if dim_context is None else dim_context
    dim_in, dim_context = positive_sizes("learnable_gate", dim_in=dim_in, dim_context=dim_context)
    gates = 1 if per_row else dim_in
    logits = fc(
        model, blobs[-1], blob_out + "_logits", dim_context, gates, weight_init, bias_init
    )
    return apply_gate(model, blobs[0], logits, blob_out, gates, kind, arguments)


def apply_gate(model, blob_in, logits, blob_out, gates, kind, arguments):
    """Gate by logits that are there, whose last dim is `gates`; makes ``<blob_out>_gate``, too."""
    arguments = operator_arguments(model, "Gate", dict(arguments, kind=kind))
    inputs, outputs = [blob_in, logits], [blob_out, blob_out + "_gate"]
    if kind == "relu":
        threshold = parameter(model, blob_out + "_threshold", [gates], "ConstantFill", value=0.0)
        inputs.append(threshold)
    if kind in ("hard_concrete", "gumbel_softmax") and not arguments.get("is_test"):
        outputs.append(blob_out + "_noise")
    return model.net.Gate(inputs, outputs, **arguments)[0]


def gated_feed_forward(
    model,
    blob_in,
    blob_out,
    dim_in,
    dim_hidden,
    dim_out,
    kind="sigmoid",
    weight_init=None,
    bias_init=None,
    **arguments
):
    """Two layers of tanh, a gate behind the second, and a projection.

    ``h1 = tanh(X W1^T + b1)``, ``h2 = tanh(h1 W2^T + b2)``,
    ``Y = (g(h2 Wg^T + bg) * h2) Wo^T + bo``

    blob_in     ``[.., dim_in]``; float
    blob_out    ``[.., dim_out]``
    dim_hidden  width of both hidden layers, or a pair of widths
    kind, weight_init, bias_init, arguments
                as `learnable_gate` takes them

    Hidden layers are the blobs ``<blob_out>_hidden_1``, ``<blob_out>_hidden_2`` and
    ``<blob_out>_gated``, whose gate is `learnable_gate`'s; parameters are named for the blob that
    they make, as brew.fc does. Returns blob_out.

    Raises ValueError for a dim that is not positive and another number of widths, TypeError for a
    dim that is no integer, and what `learnable_gate` raises.
    """
    layer = "gated_feed_forward"
    widths = dim_hidden if isinstance(dim_hidden, (list, tuple)) else (dim_hidden,) * 2
    if len(widths) != 2:
        raise ValueError(
            "{}: dim_hidden must be a width or a pair of widths, but is {}.".format(
                layer, dim_hidden
            )
        )
    dim_in, dim_out = positive_sizes(layer, dim_in=dim_in, dim_out=dim_out)
    (first,), (second,) = (positive_sizes(layer, dim_hidden=width) for width in widths)
    blob_out = blob_out or model.net.NextName()
    hidden = blob_in
    for number, dim_from, dim_to in ((1, dim_in, first), (2, first, second)):
        name = "{}_hidden_{}".format(blob_out, number)
        hidden = fc(model, hidden, name, dim_from, dim_to, weight_init, bias_init)
        hidden = model.net.Tanh(hidden, hidden)
    gated = learnable_gate(
        model,
        hidden,
        blob_out + "_gated",
        second,
        kind=kind,
        weight_init=weight_init,
        bias_init=bias_init,
        **arguments
    )
    return fc(model, gated, blob_out, second, dim_out, weight_init, bias_init)


def highway(
    model,
    blob_in,
    blob_out,
    dim_in,
    activation="relu",
    kind="sigmoid",
    weight_init=None,
    bias_init=None,
    gate_bias_init=CARRY,
    **arguments
):
    """A layer whose gate says how much of its input it changes: ``Y = g(Z) * H + (1 - g(Z)) * X``.

    ``H = activation(X W^T + b)``, ``Z = X Wz^T + bz``

    blob_in     ``[.., dim_in]``; float
    blob_out    of the shape of blob_in
    activation  of H: relu, tanh, elu or sigmoid
    kind        of the gate: sigmoid, softmax or hard, as Highway has them
    weight_init, bias_init
                as brew.fc takes them; the first serves both projections
    gate_bias_init
                that of the gate: -1 unless given, so that most is carried at first. Of many layers
                each must carry more: of about ``-log(depth - 1)`` one change in all is made
    arguments   others of the operator: clip

    H is the blob ``<blob_out>_changed`` and Z ``<blob_out>_logits``; parameters are named for them,
    as brew.fc does. Returns blob_out.

    Raises ValueError for an activation that is none of these and a dim that is not positive,
    TypeError for a dim that is no integer and an argument that the operator does not have.

    Source: Srivastava, Greff and Schmidhuber 2015.
    """
    if activation not in list(ACTIVATIONS):
        raise ValueError(
            "highway: activation must be one of {}, but is {}.".format(
                ", ".join(sorted(ACTIVATIONS)), activation
            )
        )
    (dim_in,) = positive_sizes("highway", dim_in=dim_in)
    blob_out = blob_out or model.net.NextName()
    arguments = operator_arguments(model, "Highway", dict(arguments, kind=kind))
    changed = fc(model, blob_in, blob_out + "_changed", dim_in, dim_in, weight_init, bias_init)
    changed = getattr(model.net, ACTIVATIONS[activation])(changed, changed)
    logits = fc(
        model, blob_in, blob_out + "_logits", dim_in, dim_in, weight_init, gate_bias_init
    )
    return model.net.Highway([changed, blob_in, logits], blob_out, **arguments)


def task_gate(
    model, blob_in, blob_out, dim_in, num_tasks, task=None, kind="sigmoid", **arguments
):
    """Lets through what matters to a task: a gate for each entry, learned for each of the tasks.

    blob_in    ``[N, dim_in]``; float
    blob_out   of the shape of blob_in
    num_tasks  how many tasks there are
    task       int32 or int64, ``[N]``: the task of each row, from 0 to num_tasks - 1. Without it
               the layer chooses, by a softmax over the tasks that it learns from blob_in, and what
               the gate takes is the mean of the tasks' weighed by that choice.
    kind, arguments
               as `learnable_gate` takes them

    Parameters are ``<blob_out>_tasks``, ``[num_tasks, dim_in]``, what the gate of each task takes,
    and, where it chooses, ``<blob_out>_choice_logits_w`` and ``_b``. Blobs are
    ``<blob_out>_logits`` and ``<blob_out>_gate``, of the shape of blob_in, and
    ``<blob_out>_choice``, ``[N, num_tasks]``. Returns blob_out.

    Raises ValueError for a size that is not positive, TypeError for one that is no integer and an
    argument that Gate does not have. Operators check shapes, types and tasks when they run.

    Source: Serra et al. 2018 (a gate for each task); Jacobs, Jordan, Nowlan and Hinton 1991 (the
    choice).
    """
    dim_in, num_tasks = positive_sizes("task_gate", dim_in=dim_in, num_tasks=num_tasks)
    blob_out, net = blob_out or model.net.NextName(), model.net
    table = parameter(model, blob_out + "_tasks", [num_tasks, dim_in], "GaussianFill", std=1.0)
    if task is not None:
        # A sparse gradient would update a task once for each of its rows.
        logits = net.Gather([table, task], blob_out + "_logits", dense_gradient=True)
    else:
        choice = fc(model, blob_in, blob_out + "_choice_logits", dim_in, num_tasks)
        choice = net.Softmax(choice, blob_out + "_choice")
        logits = net.MatMul([choice, table], blob_out + "_logits")
    return apply_gate(model, blob_in, logits, blob_out, dim_in, kind, arguments)
