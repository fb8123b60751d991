"""What a layer passes on to its operator."""

import inspect

from caffe2.python import core, workspace

# What any operator can be given: name, engine, device_option, ..
_OPTIONS = tuple(inspect.signature(core.CreateOperator).parameters)[3:-1]


def operator_arguments(model, op_type, arguments):
    """The arguments of a layer that are its operator's.

    Raises TypeError for one that the operator does not have, which Caffe2 would pass over. What a
    model tells all of its layers, such as ``order``, is dropped instead.
    """
    known = [argument.name for argument in workspace.C.OpSchema.get(op_type).args]
    kept = {}
    for name, value in arguments.items():
        if name in known or name in _OPTIONS:
            kept[name] = value
        elif name not in model.arg_scope:
            raise TypeError(
                "{} has no argument {}; it has {}.".format(op_type, name, ", ".join(known))
            )
    return kept


def blob_list(blobs):
    """Blobs as a list, where one may come alone."""
    return list(blobs) if isinstance(blobs, (list, tuple)) else [blobs]
