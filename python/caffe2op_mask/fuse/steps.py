"""Step nets of RecurrentNetwork: what they read, and who reads what they write."""

import numpy as np

from caffe2op_mask.fuse.graph import argument, sub_nets


def step_net(op):
    """The step net of a RecurrentNetwork, a part of its argument; None of other operators."""
    if op.type != "RecurrentNetwork":
        return None
    nets = [net for name, net in sub_nets(op) if name == "step_net"]
    return nets[0] if nets else None


def _strings(op, name):
    return [text.decode() for arg in op.arg if arg.name == name for text in arg.strings]


def _ints(op, name):
    return [number for arg in op.arg if arg.name == name for number in arg.ints]


def kept(op):
    """Blobs of the step net that the operator or its backward step net may read."""
    names = _strings(op, "link_internal") + _strings(op, "recompute_blobs_on_backward")
    for name, net in sub_nets(op):
        if name == "backward_step_net":
            names += list(net.external_input)
            names += [blob for inner in net.op for blob in inner.input]
    return names


def feeds(op, net, array_of):
    """{blob: array} that the step net finds in its first step, once the operator has run.

    array_of    a function that returns the array of a blob outside, or None
    """
    found = {blob: array_of(blob) for blob in net.external_input}
    aliases = dict(zip(_strings(op, "alias_src"), _strings(op, "alias_dst")))
    outside = _strings(op, "link_external")
    windows = _ints(op, "link_window") or [1] * len(outside)
    for blob, source, window in zip(_strings(op, "link_internal"), outside, windows):
        # States are hidden; an output that shows them has their sizes.
        array = array_of(source)
        array = array_of(aliases.get(source, source)) if array is None else array
        if array is not None and array.ndim:
            found[blob] = array[:window]
    found = {blob: array for blob, array in found.items() if array is not None}
    found.setdefault(argument(op, "timestep", "timestep"), np.zeros(1, np.int32))
    return found
