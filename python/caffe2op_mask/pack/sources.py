"""What of a net says which rows are padding."""

from caffe2op_mask.fuse.graph import argument
from caffe2op_mask.fuse.shapes import product
from caffe2op_mask.mask_shapes import READS
from caffe2op_mask.pack.layouts import BATCH
from caffe2op_mask.pack.masks import BIAS, MASK, is_plain_sequence


def attention_sides(graph, index, op):
    """{name: value} of the inputs of MaskedAttention or MaskedSoftmax that say what is kept."""
    inputs = list(graph.inputs[index][3 if op.type == "MaskedAttention" else 1 :])
    parts = argument(op, "mode", "").split("+")
    names = [name for name, part in READS if part in parts]
    names += [name for name in ("mask", "bias", "sinks") if argument(op, "has_" + name, 0)]
    return dict(zip(names, inputs))


def sources(masks, index, op):
    """[(Kept, its value, (batch, rows))] of the rows that an operator masks."""
    graph, facts = masks.facts.graph, masks.facts
    inputs = graph.inputs[index]
    found = []
    if op.type == "BooleanMask" and len(inputs) == 2:
        shape = facts.shape(inputs[1])
        if shape is not None and len(shape) == 2:
            found.append((masks.by_mask(inputs[1]), shape))
    elif op.type == "SequenceMask" and len(inputs) == 2:
        shape = facts.shape(inputs[0])
        if is_plain_sequence(op, shape):
            found.append((masks.by_lengths(inputs[1]), shape[:2]))
    elif op.type == "Mul":
        for value in inputs:
            shape, kept = facts.shape(value), masks.by_factor(value)
            if kept is not None and shape is not None and len(shape) > 1:
                found.append((kept, shape[:2]))
    elif op.type == "MaskedAttention":
        found += [(kept, sizes) for kept, sizes, _ in key_sources(masks, index, op)]
    return [
        (kept, sizes)
        for kept, sizes in found
        if min(sizes) > 0 and masks.recipe(kept, sizes) is not None
    ]


def key_sources(masks, index, op):
    """(Kept, (batch, rows), factors of dim 0) of masks that are one for all queries and heads."""
    keys = masks.facts.shape(masks.facts.graph.inputs[index][1])
    if keys is None:
        return
    for name, value in attention_sides(masks.facts.graph, index, op).items():
        shape = masks.facts.shape(value)
        if name == "lengths" and shape == keys[:1]:
            yield masks.by_lengths(value), (keys[0], keys[-2]), (BATCH,)
        if name not in (MASK, BIAS) or shape is None or len(shape) != len(keys):
            continue
        if (shape[0], shape[-1]) == (keys[0], keys[-2]) and product(shape[1:-1]) == 1:
            kept, batch = masks.by_keys(name, value)
            heads = (BATCH,) if batch == keys[0] else (BATCH, keys[0] // max(batch, 1))
            yield kept, (batch, keys[-2]), heads
