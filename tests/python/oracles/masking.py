"""Operators that move data, as plain loops over entries."""

import itertools

import numpy as np

# Which column j of row i a shape masks, as the schema's mode table has it; of_row is the row's entry
# of the input that the shape reads.
MASKED = {
    "sequence": lambda i, j, of_row, radius, diagonal: j >= of_row,
    "window": lambda i, j, of_row, radius, diagonal: abs(j - of_row) > radius,
    "left_pad": lambda i, j, of_row, radius, diagonal: j < of_row,
    "upper": lambda i, j, of_row, radius, diagonal: j > i + diagonal,
    "lower": lambda i, j, of_row, radius, diagonal: j < i + diagonal,
    "upperdiag": lambda i, j, of_row, radius, diagonal: j >= i + diagonal,
    "lowerdiag": lambda i, j, of_row, radius, diagonal: j <= i + diagonal,
}

# The shapes that read an input, and its name, in the order of the inputs.
ROW_INPUTS = (("sequence", "lengths"), ("window", "centers"), ("left_pad", "left_pad"))


def product(sizes):
    """Product of Python ints, 1 for none."""
    total = 1
    for size in sizes:
        total *= int(size)
    return total


def rows_of(data, rank):
    """``data`` as a matrix with one row for each position of its first ``rank`` dims."""
    return data.reshape(product(data.shape[:rank]), product(data.shape[rank:]))


def filled(shape, fill_val, dtype):
    """An array of ``fill_val``, converted as one number."""
    return np.full(shape, np.array(fill_val).astype(dtype), dtype=dtype)


def boolean_mask(data, mask, keep_shape=0, fill_val=0):
    """Rows kept and their flat positions; with ``keep_shape`` data with the others filled."""
    rows = rows_of(data, mask.ndim)
    kept = [position for position, keep in enumerate(mask.flat) if keep]
    if keep_shape:
        same = filled(rows.shape, fill_val, data.dtype)
        for position in kept:
            same[position] = rows[position]
        return [same.reshape(data.shape)]
    masked = np.empty((len(kept), rows.shape[1]), data.dtype)
    for to, position in enumerate(kept):
        masked[to] = rows[position]
    return [
        masked.reshape((len(kept),) + data.shape[mask.ndim :]),
        np.array(kept, dtype=np.int64),
    ]


def boolean_mask_gradient(mask, d_masked, keep_shape=0):
    """Rows of ``d_masked`` back in their places, zeros elsewhere."""
    if keep_shape:
        return boolean_mask(d_masked, mask, keep_shape=1)
    row = d_masked.shape[1:]
    d_data = np.zeros((mask.size, product(row)), d_masked.dtype)
    following = iter(rows_of(d_masked, 1))
    for position, keep in enumerate(mask.flat):
        if keep:
            d_data[position] = next(following)
    return [d_data.reshape(mask.shape + row)]


def boolean_mask_lengths(lengths, mask):
    """True of each segment of a 1-D mask, or of each row of a mask with more dims."""
    if mask.ndim > 1:
        dtype = np.int64 if lengths.dtype == np.int64 else np.int32
        rows = rows_of(mask, 1)
        return [np.array([sum(bool(keep) for keep in row) for row in rows], dtype=dtype)]
    entries = iter(mask)
    counts = [sum(bool(next(entries)) for _ in range(length)) for length in lengths]
    return [np.array(counts, dtype=lengths.dtype)]


def boolean_mask_jagged(values, lengths, mask):
    """BooleanMask of the values and BooleanMaskLengths of the lengths."""
    return [boolean_mask(values, mask)[0], boolean_mask_lengths(lengths, mask)[0]]


def is_dense(mask, values, layout):
    """Whether BooleanUnmask reads ``values`` at their own positions."""
    return layout != "compact" and values.shape[: mask.ndim] == mask.shape


def boolean_unmask(*inputs, fill_val=None, layout="auto"):
    """Each position from the first mask that is True there."""
    masks, values = inputs[0::2], inputs[1::2]
    shape = masks[0].shape
    dense = [is_dense(mask, rows, layout) for mask, rows in zip(masks, values)]
    row = values[0].shape[len(shape) if dense[0] else 1 :]
    matrices = [rows.reshape(-1 if rows.size else 0, max(product(row), 1)) for rows in values]
    fill = 0 if fill_val is None else fill_val
    data = filled((product(shape), max(product(row), 1)), fill, values[0].dtype)
    following = [itertools.count() for _ in masks]
    for position in range(len(data) if product(row) else 0):
        for i, mask in enumerate(masks):
            if mask.flat[position]:
                data[position] = matrices[i][position if dense[i] else next(following[i])]
                break
        else:
            assert fill_val is not None, "position {} belongs to no mask".format(position)
    return [data[:, : product(row)].reshape(shape + row)]


def per_row(index, shape, axis, batch, lengths_of):
    """What a shape reads as a flat list with one entry for each row before ``axis``."""
    before = shape[:axis]
    first = 0 if batch is None else batch + 1
    if lengths_of == "rows" and index.size == product(before[first:]):
        index = index.reshape(before[first:])
    else:
        assert index.shape == before[: index.ndim]
        index = index.reshape(index.shape + (1,) * (axis - index.ndim))
    return [int(entry) for entry in np.broadcast_to(index, before).flat]


def first_repeat(shape, axis):
    """The first dim that ``repeat_from_axis`` may be: dims of 1 before ``axis`` change nothing."""
    while axis > 0 and shape[axis - 1] == 1:
        axis -= 1
    return axis


def sequence_mask(
    data,
    *inputs,
    mode,
    axis=1,
    batch=None,
    repeat_from_axis=None,
    radius=10,
    diagonal=0,
    lengths_of="rows",
    fill_val=None,
    grad=0
):
    """Data with what the mode excludes filled."""
    if fill_val is None:
        fill_val = 0 if mode == "mask" else -np.inf
    fill = filled((), 0 if grad else fill_val, data.dtype)
    if mode == "mask":
        mask = inputs[0].reshape(inputs[0].shape + (1,) * (data.ndim - inputs[0].ndim))
        return [np.where(np.broadcast_to(mask, data.shape), data, fill)]
    parts = mode.split("+")
    axis %= data.ndim
    batch = None if batch is None else batch % data.ndim
    end = data.ndim if repeat_from_axis is None else repeat_from_axis % data.ndim
    assert product(data.shape[end:axis]) == 1
    rows = product(data.shape[:axis])
    matrix = rows if batch is None else product(data.shape[batch + 1 : axis])
    columns = product(data.shape[axis:end])
    following = iter(inputs)
    read = {
        part: per_row(next(following), data.shape, axis, batch, lengths_of)
        for part, _ in ROW_INPUTS
        if part in parts
    }
    nothing = [None] * rows
    output = data.copy().reshape(rows, columns, product(data.shape[end:]))
    for row in range(rows):
        for j in range(columns):
            if any(
                MASKED[part](row % matrix, j, read.get(part, nothing)[row], radius, diagonal)
                for part in parts
            ):
                output[row, j] = fill
    return [output.reshape(data.shape)]
