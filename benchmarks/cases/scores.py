"""Masks over scores, as MaskedSoftmax and MaskedAttention have them."""

import numpy as np

from cases.case import Operator

CAUSAL = {"mode": "upper"}


class Kept:
    """What a mask over scores keeps: as an array, as our arguments, as stock's operators.

    keep: bool, of a shape that broadcasts to the scores; None where all is kept.
    arguments, inputs: of MaskedSoftmax and MaskedAttention.
    stock, stock_inputs: the arguments of stock's operator that masks, Add or SequenceMask, and what
        it reads beside the scores; None where it has no such mask.
    """

    def __init__(self, keep, arguments, inputs=None, stock=None, stock_inputs=None,
                 stock_op="SequenceMask"):
        self.keep = keep
        self.arguments = arguments
        self.inputs = inputs or {}
        self.stock = stock
        self.stock_inputs = stock_inputs or {}
        self._stock_op = stock_op

    def share(self):
        return 1.0 if self.keep is None else float(self.keep.mean())

    def stock_mask(self, scores, masked):
        """The operators of stock that mask `scores`; a softmax of `masked` then follows."""
        if self.keep is None:
            return [], scores
        return [Operator(self._stock_op, [scores] + list(self.stock_inputs), [masked],
                         self.stock)], masked


def plain(shape):
    return Kept(None, {}, stock={})


def padding(shape, lengths):
    """Lengths of the leading dims of scores of `shape`; stock wants one for every row."""
    columns = lengths.reshape(lengths.shape + (1,) * (len(shape) - lengths.ndim))
    rows = np.broadcast_to(columns, shape[:-1] + (1,)).ravel()
    return Kept(np.arange(shape[-1]) < columns, {"mode": "sequence"}, {"lengths": lengths},
                {"mode": "sequence", "axis": len(shape) - 1}, {"row_lengths": rows})


def left_padding(shape, lengths):
    """The last so many of the first dim's columns; stock has no such mask, and adds one."""
    left_pad = (shape[-1] - lengths).astype(np.int32)
    keep = np.arange(shape[-1]) >= left_pad.reshape((-1,) + (1,) * (len(shape) - 1))
    added = np.where(keep, 0, -np.inf).astype(np.float32)
    return Kept(keep, {"mode": "left_pad"}, {"left_pad": left_pad}, {}, {"added": added}, "Add")


def triangle(shape, diagonal=0):
    keep = np.tri(shape[-2], shape[-1], diagonal, dtype=bool)
    if diagonal:
        return Kept(keep, dict(CAUSAL, diagonal=diagonal))
    axis = len(shape) - 1
    return Kept(keep, CAUSAL, stock={"mode": "upper", "axis": axis, "batch": axis - 2})


def band(shape, width):
    """What is at most `width` from the diagonal; stock wants a center for every row."""
    rows, columns = np.arange(shape[-2]), np.arange(shape[-1])
    centers = np.broadcast_to(rows.astype(np.int32), shape[:-1]).ravel()
    return Kept(abs(columns - rows[:, np.newaxis]) <= width,
                {"window_left": width, "window_right": width},
                stock={"mode": "window", "radius": width, "axis": len(shape) - 1},
                stock_inputs={"row_centers": centers})


def ragged(share, count, longest):
    """Evenly spread lengths, in the mean the given share of the longest there may be."""
    low, high = max(0.0, 2 * share - 1), min(1.0, 2 * share)
    spread = low + (high - low) * (np.arange(count) + 0.5) / count
    return np.maximum(1, np.round(longest * spread)).astype(np.int32)
