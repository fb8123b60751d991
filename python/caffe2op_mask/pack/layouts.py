"""Where the batch and the rows of padded activations stand among the dims of a tensor.

A layout has a tuple of factors for each dim, the outermost first, whose product is the dim: BATCH,
ROW or a number. ``[B, L, D]`` is ((BATCH,), (ROW,), (D,)), ``[B * L, D]`` is ((BATCH, ROW), (D,)),
and heads merged into the batch, ``[B * H, L, D]``, are ((BATCH, H), (ROW,), (D,)).
"""

from caffe2op_mask.fuse.shapes import product

BATCH, ROW = "batch", "row"
_LABELS = (BATCH, ROW)


def layout_of(shape, batch, row):
    """The layout of a shape whose dims number `batch` and `row` are those."""
    labels = {batch % len(shape): BATCH, row % len(shape): ROW}
    return tuple((labels.get(dim, size),) for dim, size in enumerate(shape))


def dims(shape):
    """Dims that are neither the batch nor rows."""
    return tuple((size,) for size in shape)


def has_labels(layout):
    """Whether any of the dims is of the batch or of rows."""
    return any(factor in _LABELS for factors in layout for factor in factors)


def is_whole(layout):
    """Whether both are there, each once."""
    factors = [factor for dim in layout for factor in dim]
    return factors.count(BATCH) == factors.count(ROW) == 1


def leading(layout):
    """(how many dims the batch and rows are, which is first) where they lead; None elsewhere."""
    for count in (1, 2):
        first = tuple(factor for factors in layout[:count] for factor in factors)
        if len(layout) >= count and set(first) == set(_LABELS) and len(first) == 2:
            return (count, first) if all(layout[:count]) else None
    return None


def order(layout):
    """(BATCH, ROW), or the other way round, as they come among the dims."""
    return tuple(factor for factors in layout for factor in factors if factor in _LABELS)


def behind(layout):
    """The dims of rows ``[T, ..]``, of which each is one of the batch: what else there is."""
    rest = (tuple(f for f in factors if f not in _LABELS) for factors in layout)
    return tuple(left for left, whole in zip(rest, layout) if left)


def transposed(layout, axes):
    """The layout that Transpose with `axes` made this one of."""
    before = [None] * len(layout)
    for axis, factors in zip(axes, layout):
        before[axis] = factors
    return tuple(before)


def regrouped(layout, sizes, shape):
    """The layout of the same memory as another shape; None where the batch or rows are divided.

    sizes    {BATCH: its size, ROW: its size}
    """
    ahead = [factor for factors in layout for factor in factors if factor != 1]
    found = []
    for size in shape:
        factors, left = [], size
        while ahead:
            factor = ahead[0]
            here = sizes.get(factor, factor)
            if here == 1 and (left > 1 or not factors):
                factors.append(ahead.pop(0))
            elif left > 1 and here and left % here == 0:
                factors.append(ahead.pop(0))
                left //= here
            elif left > 1 and factor not in _LABELS and here % left == 0:
                factors.append(left)
                ahead[0] = here // left
                left = 1
            else:
                break
            if here == 1 and left <= 1:
                break
        if left != 1:
            return None
        found.append(tuple(factors) or (1,))
    return None if ahead else tuple(found)


def operand(layout, shape, to):
    """The layout of an operand of `shape` that is broadcast to a result of `to`."""
    extra = len(to) - len(shape)
    return tuple(
        factors if size == whole else (size,)
        for factors, size, whole in zip(layout[extra:], shape, to[extra:])
    )


def expanded(layout, shape, to):
    """The layout of what Expand makes of a tensor of `shape`."""
    extra = len(to) - len(shape)
    return dims(to[:extra]) + tuple(
        factors if size == whole else (whole,)
        for factors, size, whole in zip(layout, shape, to[extra:])
    )


def fits(layout, sizes, shape):
    """Whether a layout is that of a shape."""
    return len(layout) == len(shape) and all(
        product(sizes.get(factor, factor) for factor in factors) == size
        for factors, size in zip(layout, shape)
    )
