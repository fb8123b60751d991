"""Where attention may run on kept rows alone, as MaskedAttentionJagged."""

from caffe2op_mask.fuse.graph import argument
from caffe2op_mask.pack.demands import Rows, Whole
from caffe2op_mask.pack.layouts import BATCH, ROW, behind, order
from caffe2op_mask.pack.masks import BIAS, LENGTHS
from caffe2op_mask.pack.sources import attention_sides, key_sources

_TRIANGLES = ("upper", "lower", "upperdiag", "lowerdiag")


def why_padded(demands, index, op):
    """Why MaskedAttention has to be of padded rows, a text; None where it need not."""
    if any(not isinstance(wanted, Rows) for wanted in demands.of_inputs[index][:3]):
        return _why_whole(demands, index)
    kept = demands.kept
    if kept.kind == BIAS and not demands.masks.is_of_bool(kept):
        return "the bias that hides keys may also weigh those that it keeps"
    sides = set(attention_sides(demands.graph, index, op)) - {"sinks"}
    sizes = demands.sizes[BATCH], demands.sizes[ROW]
    of_keys = [one for one, of, _ in key_sources(demands.masks, index, op) if of == sizes]
    if len(sides) != 1 or of_keys != [kept]:
        return "more than '{}' says what is kept".format(demands.masks.named(kept))
    parts = set(argument(op, "mode", "").split("+")) - {"", "sequence"}
    if not parts <= set(_TRIANGLES):
        return "its mode is of rows that are padded"
    windows = max(argument(op, name, -1) for name in ("window_left", "window_right")) >= 0
    if (parts or windows) and argument(op, "align", "top_left") != "top_left":
        return "its last query stands on the last key, padding included"
    if kept.kind != LENGTHS:
        # Rows between others may be hidden: who comes before whom stays, distances do not.
        if windows or parts and argument(op, "diagonal", 0) != 0:
            return "distances between rows are not those between rows that are kept"
        if parts and demands.first:
            return "the first rows are kept, but may be no keys"
    if demands.first and argument(op, "empty_row", "zero") == "nan":
        return "its first rows may have no keys"
    layouts = [wanted.layout for wanted in demands.of_inputs[index][:3]]
    if any(order(layout) != (BATCH, ROW) for layout in layouts):
        return "its rows stand in different orders"
    ranks = {len(behind(layout)) for layout in layouts}
    if ranks not in ({1}, {2}):
        return "its rows come to have other dims"
    return None


def _why_whole(demands, index):
    """Why more than kept rows is wanted of the first of Q, K and V of which it is."""
    pairs = zip(demands.graph.inputs[index][:3], demands.of_inputs[index])
    value, wanted = next(pair for pair in pairs if not isinstance(pair[1], Rows))
    if isinstance(wanted, Whole):
        return wanted.reason
    return "the rows of '{}' are not known".format(value.blob)


def has_heads(demands, index):
    """Whether kept rows have heads."""
    return len(behind(demands.of_inputs[index][0].layout)) == 2


def arguments_of(op):
    """The arguments of MaskedAttentionJagged in its place.

    As many queries as keys: either way to align them is the same.
    """
    mode = "+".join(part for part in argument(op, "mode", "").split("+") if part != "sequence")
    dropped = ("mode", "align", "radius", "has_mask", "has_bias")
    kept = [arg for arg in op.arg if arg.name not in dropped]
    return kept, ({"mode": mode} if mode else {})
