"""Where rows of padding become NaN, which a product with a mask of 0 hands on."""

import math

from caffe2op_mask.fuse.graph import argument
from caffe2op_mask.pack.layouts import BATCH, ROW
from caffe2op_mask.pack.masks import BIAS, LENGTHS
from caffe2op_mask.pack.sources import attention_sides, key_sources


def may_become_nan(demands, value):
    """(an operator that makes NaN of some rows without keys, whether others do of a whole batch).

    The former is its number, or None; the latter make NaN of a batch of which no row is kept, and
    of nothing else.
    """
    graph, ahead, seen, of_no_row = demands.graph, [value.writer], set(), False
    while ahead:
        index = ahead.pop()
        if index is None or index in seen:
            continue
        seen.add(index)
        ahead += [one.writer for one in graph.inputs[index]]
        op = graph.ops[index]
        if argument(op, "empty_row", "") != "nan":
            continue
        hidden = _hidden_keys(demands, index, op)
        if hidden is None or hidden and demands.first:
            return index, of_no_row
        of_no_row = of_no_row or bool(hidden)
    return None, of_no_row


def _hidden_keys(demands, index, op):
    """[the Kept of keys of which each query finds one, if any], [] of all; None if not known."""
    if op.type != "MaskedAttention":
        return None
    sides = attention_sides(demands.graph, index, op)
    sides.pop("sinks", None)
    bias = sides.pop("bias", None)
    lowest = 0.0 if bias is None else demands.facts.lowest(bias)
    if lowest is None or not math.isfinite(lowest):
        return None
    sizes = demands.sizes[BATCH], demands.sizes[ROW]
    sources = key_sources(demands.masks, index, op) if sides else ()
    kept = [one for one, of, _ in sources if of == sizes and one.kind != BIAS]
    is_known = len(sides) == len(kept) <= 1 and all(one == demands.kept for one in kept)
    if not is_known or argument(op, "window_left", -1) >= 0:
        return None
    parts, right = set(argument(op, "mode", "").split("+")), argument(op, "window_right", -1)
    if parts <= {"", "sequence"} and right < 0 or _shows_the_first_key(op, parts, kept):
        return kept
    return None


def _shows_the_first_key(op, parts, kept):
    """Whether each query finds the first key, which is there if any is: by lengths, or all are."""
    return (
        parts <= {"", "sequence", "upper"}
        and argument(op, "diagonal", 0) >= 0
        and argument(op, "align", "top_left") == "top_left"
        and all(one.kind == LENGTHS for one in kept)
    )
