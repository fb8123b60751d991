"""Arrays that tests are made of, always the same, and what Hypothesis draws of them."""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np

from oracles.masking import MASKED, ROW_INPUTS, product

EMPTY_ROWS = ("zero", "nan", "uniform")
PARTS = sorted(MASKED)

# A larger shape and one that broadcasts to it, by which sums go over no, some and all dims.
BROADCASTS = [
    ((), ()),
    ((5,), (5,)),
    ((5,), (1,)),
    ((5,), ()),
    ((3, 4), (3, 4)),
    ((3, 4), (3, 1)),
    ((3, 4), (4,)),
    ((3, 4), (1, 4)),
    ((2, 3, 4), (3, 1)),
    ((2, 3, 4), (2, 1, 4)),
    ((2, 3, 4), (1, 3, 1)),
    ((2, 3, 4), (2, 1, 1)),
    ((2, 3, 2, 2), (3, 1, 2)),
]


def wave(shape, step=0.7):
    """Numbers of [-1, 1] that hardly repeat."""
    return np.sin(step * np.arange(1, product(shape) + 1)).reshape(shape)


def numbered(dtype, shape):
    """An array in which neighbours differ, so that a row out of its place is seen."""
    return (np.arange(int(np.prod(shape))) % 251).reshape(shape).astype(dtype)


def some_reals(dtype, *shapes):
    """An array of each shape, always the same."""
    random = np.random.RandomState(5)
    return [np.asarray(2 * random.standard_normal(shape), dtype) for shape in shapes]


def arrays(dtype, shape, finite=False):
    """Arrays of any value, NaN and infinities too, or with ``finite`` of [-1, 1]."""
    dtype = np.dtype(dtype)
    finite_floats = st.floats(-1, 1, width=8 * dtype.itemsize) if finite else None
    return hnp.arrays(dtype, shape, elements=finite_floats or hnp.from_dtype(dtype))


def shapes(min_dims, max_dims, max_side=4):
    """Shapes, now and then of an empty tensor."""
    sides = st.integers(1, max_side)
    return st.lists(sides | sides | sides | st.just(0), min_size=min_dims, max_size=max_dims).map(
        tuple
    )


def long_masks():
    """1-D masks past the words and chunks in which kernels work: runs, patterns, a bit of both."""
    pattern = st.sampled_from([b"\x00", b"\xff"]) | st.binary(min_size=1, max_size=9)
    piece = st.tuples(pattern, st.integers(0, 4200)).map(
        lambda drawn: np.resize(np.unpackbits(np.frombuffer(drawn[0], np.uint8)), drawn[1])
    )
    return st.lists(piece, min_size=1, max_size=4).map(lambda pieces: np.hstack(pieces) != 0)


def fill_values(dtype, finite=False):
    """What ``fill_val`` may be for data of a type."""
    if finite:
        return st.floats(-1, 1, width=32)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return st.integers(0, 1)
    if kind in "iu":
        return st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    # Which NaN a NaN becomes in 16 bits is nobody's contract.
    return st.floats(width=min(32, 8 * np.dtype(dtype).itemsize), allow_nan=dtype != "float16")


@st.composite
def normals(draw, dtype, shape, number=0):
    """Numbers that a single one draws, so that cases are many; others for each ``number``."""
    random = np.random.RandomState([draw(st.integers(0, 2 ** 31)), number])
    scale = draw(st.sampled_from([1, 1, 3]))
    return np.asarray(scale * random.standard_normal(shape), dtype)


def drawn(elements, shape):
    """Arrays of a shape of drawn numbers."""
    count = product(shape)
    return st.lists(elements, min_size=count, max_size=count).map(
        lambda numbers: np.array(numbers, "float64").reshape(shape)
    )


def quarters(limit=4):
    """Numbers that every type holds, and their products nearly so."""
    return st.integers(-4 * limit, 4 * limit).map(lambda n: n / 4)


@st.composite
def broadcast_shapes(draw, shape):
    """Shapes that broadcast to a shape."""
    rank = draw(st.integers(0, len(shape)))
    return tuple(draw(st.sampled_from([size, 1])) for size in shape[len(shape) - rank :])


@st.composite
def mask_options(draw, shape, min_prefix=0):
    """What masks scores of a shape: arguments and optional inputs by name."""
    columns = shape[-1]
    parts = draw(st.lists(st.sampled_from(PARTS), max_size=3, unique=True))
    args, extras = {"mode": "+".join(parts)}, {}
    for part, name in ROW_INPUTS:
        if part in parts:
            prefix = shape[: draw(st.integers(min_prefix, max(min_prefix, len(shape) - 1)))]
            entries = draw(drawn(st.integers(-2, columns + 2), prefix))
            if len(prefix) == len(shape) - 1 and draw(st.booleans()):
                entries = entries.ravel()  # one for each row
            extras[name] = entries.astype(draw(st.sampled_from(["int32", "int64"])))
    for name, numbers in (
        ("radius", st.integers(0, 3) | st.just(2 ** 63 - 1)),
        ("diagonal", st.integers(-3, 3) | st.sampled_from([-(2 ** 63), 2 ** 63 - 1])),
        ("window_left", st.integers(-1, 3) | st.just(2 ** 63 - 1)),
        ("window_right", st.integers(-1, 3) | st.just(2 ** 63 - 1)),
        ("empty_row", st.sampled_from(EMPTY_ROWS)),
    ):
        if draw(st.booleans()):
            args[name] = draw(numbers)
    if draw(st.booleans()):
        extras["mask"] = draw(drawn(st.booleans(), draw(broadcast_shapes(shape)))) != 0
    if draw(st.booleans()):
        entries = quarters() | quarters() | st.just(-np.inf)
        extras["bias"] = draw(drawn(entries, draw(broadcast_shapes(shape))))
    return args, extras
