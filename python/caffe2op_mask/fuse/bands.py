"""Masks as arrays that are triangles and bands: interval by interval, without a stored mask."""

import collections

import numpy as np

# Entry j of row i is kept where i - left <= j <= i + right; a side that is None is open.
Band = collections.namedtuple("Band", "left right")

# Operators whose result is of type bool.
BOOLEAN = frozenset("And EQ GE GT GivenTensorBoolFill IsNaN LE LT NE Not Or RandomMask Xor".split())


def every_row_keeps(keep):
    """Whether each row of a mask keeps an entry."""
    return bool(keep.any(axis=-1).all())


def of_constant(facts, value, keep, scores):
    """The Band that `keep` is, which a constant says; None where it is none.

    Nor is it one where the constant is cut to the sizes of a run, and goes on otherwise: a window
    looks like a triangle to rows that are fewer.
    """
    band = of_mask(keep, scores)
    if band is None or not all(_goes_on(band, keep, *cut) for cut in facts.cuts(value)):
        return None
    return band


def _goes_on(band, keep, whole, part):
    """Whether the whole of what was cut is open on the sides that a band is."""
    if whole is None or part is None:
        return False
    if part.ndim < 2 or part.shape == whole.shape or part.shape[-2:] != keep.shape[-2:]:
        return True
    whole, part, keep = (one.reshape((-1,) + one.shape[-2:]) for one in (whole, part, keep))
    if not (whole == whole[:1]).all():
        return False
    whole, part, keep = whole[0], part[0], keep[0]
    kept, hidden = np.isin(whole, part[keep]), np.isin(whole, part[~keep])
    if not (kept != hidden).all():
        return False
    found = of_mask(kept, kept.shape)
    return found is not None and [side is None for side in found] == [side is None for side in band]


def of_mask(keep, scores):
    """The Band that a bool array keeps of scores of a shape, or None where it is none.

    Its last two dims must be those of the scores, and all before them alike.
    """
    if scores is None or keep.ndim < 2 or keep.shape[-2:] != tuple(scores[-2:]) or not keep.size:
        return None
    matrices = keep.reshape((-1,) + keep.shape[-2:])
    keep = matrices[0]
    if not (matrices == keep).all():
        return None
    rows, columns = keep.shape
    offsets = np.arange(columns) - np.arange(rows)[:, None]
    if keep.all() or not keep.any():
        return None  # says nothing, or is no band
    kept, hidden = offsets[keep], offsets[~keep]
    left, right = kept.min(), kept.max()
    # A side that hides nothing is open.
    right = None if not (hidden > right).any() else int(right)
    left = None if not (hidden < left).any() else int(-left)
    inside = np.ones_like(keep)
    if right is not None:
        inside &= offsets <= right
    if left is not None:
        inside &= offsets >= -left
    if not (inside == keep).all() or min(left or 0, right or 0) < 0:
        return None  # window_left and window_right hold the row's own position
    return Band(left, right)
