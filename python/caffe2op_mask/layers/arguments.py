"""What layers share: arguments for their operators, checks, parameters."""

import inspect

import numpy as np
from caffe2.python import brew, core, workspace
from caffe2.python.modeling.initializers import ExternalInitializer, Initializer

from caffe2op_mask.sizes import positive_sizes

# What any operator can be given: name, engine, device_option, ..
_OPTIONS = tuple(inspect.signature(core.CreateOperator).parameters)[3:-1]


def operator_arguments(model, op_type, arguments):
    """The arguments of a layer that are its operator's.

    Raises TypeError for one that the operator does not have, which Caffe2 would pass over. What a
    model tells all of its layers, such as ``order``, is dropped instead. A number that float32
    does not hold becomes a text, which operators read as a double.
    """
    known = [argument.name for argument in workspace.C.OpSchema.get(op_type).args]
    kept = {}
    for name, value in arguments.items():
        if name in known or name in _OPTIONS:
            kept[name] = _exact(value)
        elif name not in model.arg_scope:
            raise TypeError(
                "{} has no argument {}; it has {}.".format(op_type, name, ", ".join(known))
            )
    return kept


def _exact(value):
    """A float as a net keeps all of its bits: as a text where float32, its type there, has less."""
    if not isinstance(value, float):
        return value
    with np.errstate(over="ignore"):
        held = float(np.float32(value))
    return value if held == value or value != value else repr(float(value))


def own_arguments(model, arguments):
    """The arguments of a layer without what brew adds for the model, and adds again as needed."""
    told = model.arg_scope
    return {
        name: value
        for name, value in arguments.items()
        if name not in told or told[name] != value
    }


def blob_list(layer, blob_in, *wanted):
    """The blobs that a layer is given, of which one may come alone, and as many as are wanted.

    wanted    a text such as "[Q, K, V]" for each list that will do, with a comma between blobs

    Raises ValueError for another number of blobs.
    """
    blobs = list(blob_in) if isinstance(blob_in, (list, tuple)) else [blob_in]
    if len(blobs) not in [text.count(",") + 1 for text in wanted]:
        raise ValueError(
            "{}: blob_in must be {}, but is {} blob{}.".format(
                layer, " or ".join(wanted), len(blobs), "" if len(blobs) == 1 else "s"
            )
        )
    return blobs


def must_not_be_given(layer, arguments, **tells):
    """Raises TypeError for an argument of the operator that an argument of the layer tells.

    tells    the name of the layer's argument for each name of the operator's
    """
    for name, own in tells.items():
        if arguments.get(name) is not None:
            raise TypeError(
                "{}: {} must not be given, since {} tells it, but is {!r}.".format(
                    layer, name, own, arguments[name]
                )
            )


def mode_of(layer, arguments):
    """The mode among arguments, which may have none."""
    mode = arguments.get("mode")
    mode = "" if mode is None else mode
    if not isinstance(mode, str):
        raise TypeError("{}: mode must be a string, but is {!r}.".format(layer, mode))
    return mode


def call_layer(caller, name, layer, model, blob_in, blob_out, arguments):
    """What another layer gives; of several results the first.

    name     of the argument that `layer` is: a helper's name in brew, or a function

    The dims among the arguments must be sizes. Raises TypeError and ValueError in the caller's
    name.
    """
    if isinstance(layer, str):
        if not brew.has_helper(layer):
            raise ValueError("{}: brew has no layer {}.".format(caller, layer))
        layer = getattr(brew, layer)
    elif not callable(layer):
        raise TypeError(
            "{}: {} must be the name of a layer of brew or a function, but is {!r}.".format(
                caller, name, layer
            )
        )
    arguments = own_arguments(model, arguments)
    dims = {dim: arguments[dim] for dim in ("dim_in", "dim_out") if dim in arguments}
    arguments.update(zip(dims, positive_sizes(caller, **dims)))
    results = layer(model, blob_in, blob_out, **arguments)
    return results[0] if isinstance(results, (list, tuple)) else results


def given(**options):
    """The options that are not None."""
    return {name: option for name, option in options.items() if option is not None}


def parameter(model, name, shape, fill, tags=None, **arguments):
    """A parameter of the model that the operator `fill` makes at first."""
    initializer = Initializer(fill, **arguments)
    if not model.init_params:
        initializer = ExternalInitializer()
    return model.create_param(name, shape=shape, initializer=initializer, tags=tags)


def fc(model, blob_in, blob_out, dim_in, dim_out, weight_init=None, bias_init=None):
    """brew.fc over the last axis, of any number of axes."""
    inits = given(weight_init=weight_init, bias_init=bias_init)
    return brew.fc(model, blob_in, blob_out, dim_in=dim_in, dim_out=dim_out, axis=-1, **inits)
