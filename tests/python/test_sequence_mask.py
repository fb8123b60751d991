"""SequenceMask and its gradient."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from oracles import masking
from testers.arrays import arrays, fill_values, long_masks, numbered, shapes
from testers.operators import (
    INDICES,
    REALS,
    Case,
    GradientTests,
    OperatorTests,
    assert_same,
    gradients,
    run,
    run_case,
)

pytestmark = pytest.mark.operators

SHAPES = sorted(masking.MASKED)


@st.composite
def row_index(draw, shape, axis, batch, lengths_of):
    """What a shape reads, in any of the shapes that it may have."""
    first = 0 if batch is None else batch + 1
    rows = shape[first:axis]
    prefix = shape[: draw(st.integers(0, axis))]
    if lengths_of == "batch":
        sizes = prefix
    elif batch is not None:
        sizes = draw(st.sampled_from([rows, (masking.product(rows),)]))
    else:
        sizes = draw(st.sampled_from([(masking.product(rows),), prefix]))
    dtype = np.dtype(draw(st.sampled_from(INDICES)))
    limits = np.iinfo(dtype)
    near = st.integers(-2, masking.product(shape[axis:]) + 2)
    far = st.sampled_from([int(limits.min), int(limits.max)])
    return draw(arrays_of(dtype, sizes, near | far))


def arrays_of(dtype, shape, elements):
    count = masking.product(shape)
    return st.lists(elements, min_size=count, max_size=count).map(
        lambda entries: np.array(entries, dtype).reshape(shape)
    )


@st.composite
def shaped(draw, dtype, finite=False):
    """Shapes joined, with everything that says how the mask lies on the data."""
    shape = draw(shapes(1, 4))
    axis = draw(st.integers(0, len(shape) - 1))
    parts = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3, unique=True))
    args = {"mode": "+".join(parts), "axis": axis - draw(st.sampled_from([0, len(shape)]))}
    batch = draw(st.none() | st.integers(0, axis - 1)) if axis > 0 else None
    if batch is not None:
        args["batch"] = batch - draw(st.sampled_from([0, len(shape)]))
    if draw(st.booleans()):
        repeat = draw(st.integers(masking.first_repeat(shape, axis), len(shape) - 1))
        args["repeat_from_axis"] = repeat - draw(st.sampled_from([0, len(shape)]))
    limit = 2 ** 63 - 1
    if draw(st.booleans()):
        args["radius"] = draw(st.integers(0, 3) | st.just(limit))
    if draw(st.booleans()):
        args["diagonal"] = draw(st.integers(-4, 4) | st.sampled_from([-limit - 1, limit]))
    if draw(st.booleans()):
        args["lengths_of"] = draw(st.sampled_from(["rows", "batch"]))
    inputs = [draw(arrays(dtype, shape, finite))]
    for part, _ in masking.ROW_INPUTS:
        if part in parts:
            inputs.append(draw(row_index(shape, axis, batch, args.get("lengths_of", "rows"))))
    return inputs, args


@st.composite
def masked(draw, dtype, finite=False):
    """A bool mask over leading dims, 1 in the place of some."""
    shape = draw(shapes(1, 4))
    rank = draw(st.integers(0, len(shape)))
    sizes = tuple(draw(st.sampled_from([1, size])) for size in shape[:rank])
    return [draw(arrays(dtype, shape, finite)), draw(arrays("bool", sizes))], {"mode": "mask"}


class TestSequenceMask(OperatorTests, GradientTests):
    op_type = "SequenceMask"
    reference = staticmethod(masking.sequence_mask)
    empty = tuple(
        Case(inputs, args)
        for inputs, args in [
            ([np.zeros((0, 3), "f")], {"mode": "upper"}),
            ([np.zeros((3, 0), "f")], {"mode": "lowerdiag"}),
            ([np.zeros(0, "f")], {"mode": "upperdiag", "axis": 0}),
            ([np.zeros((0, 3), "f"), np.zeros(0, "i")], {"mode": "sequence"}),
            ([np.zeros((3, 0), "f"), np.ones(3, "i")], {"mode": "sequence"}),
            ([np.zeros((0, 3), "f"), np.zeros(0, "i")], {"mode": "left_pad"}),
            ([np.zeros((3, 0), "f"), np.ones(3, "int64")], {"mode": "left_pad+upper"}),
            ([np.zeros((2, 0, 3), "f"), np.zeros(2, "i")], {"mode": "window", "axis": 2}),
            (
                [np.zeros((2, 0, 3), "f"), np.zeros(0, "int64")],
                {"mode": "sequence", "axis": 2, "batch": 0},
            ),
            (
                [np.zeros((0, 2, 3), "f"), np.zeros(0, "int64"), np.zeros((0, 2), "i")],
                {"mode": "sequence+window", "axis": 2, "batch": 0, "lengths_of": "batch"},
            ),
            (
                [np.zeros((2, 3, 0), "f"), np.ones(2, "i")],
                {"mode": "sequence", "repeat_from_axis": 2},
            ),
            ([np.zeros((2, 0), "f"), np.ones((2, 1), bool)], {"mode": "mask"}),
            ([np.zeros((0, 2), "f"), np.ones((1, 2), bool)], {"mode": "mask"}),
            ([np.zeros((0, 2), "f"), np.zeros(0, bool)], {"mode": "mask"}),
        ]
    )

    @staticmethod
    @st.composite
    def cases(draw, dtype, finite=False):
        inputs, args = draw(shaped(dtype, finite) | masked(dtype, finite))
        # The default fill is -inf, which only a real type holds and no loss survives.
        needs_fill = args["mode"] != "mask" and (finite or dtype not in REALS)
        if needs_fill or draw(st.booleans()):
            args["fill_val"] = draw(fill_values(dtype, finite))
        return Case(inputs, args, in_place=draw(st.sampled_from([None, 0])))

    @given(data=st.data())
    def test_seed_formula(self, dtype, data):
        """A 1-D mask over the first dim; fill 0 unless given."""
        values = data.draw(shapes(1, 3).flatmap(lambda shape: arrays(dtype, shape)))
        mask = data.draw(arrays("bool", values.shape[:1]))
        expected = values.copy()
        expected[~mask] = 0
        assert_same(run("SequenceMask", values, mask, mode="mask"), expected)
        fill = data.draw(fill_values(dtype))
        expected[~mask] = masking.filled((), fill, dtype)
        assert_same(run("SequenceMask", values, mask, mode="mask", fill_val=fill), expected)

    @pytest.mark.parametrize("row", [(), (3,)])
    @given(mask=long_masks())
    def test_long(self, dtype, row, mask):
        """A long mask over rows, and over columns of two rows."""
        data = numbered(dtype, mask.shape + row)
        expected = data.copy()
        expected[~mask] = 1
        assert_same(run("SequenceMask", data, mask, mode="mask", fill_val=1), expected)
        twice, wide = np.stack([data, data]), mask[None]
        both = run("SequenceMask", twice, wide, mode="mask", fill_val=1)
        assert_same(both, np.stack([expected, expected]))

    @pytest.mark.parametrize(
        "mode, keep",
        [
            ("upper", lambda x, k: np.tril(x, k)),
            ("lower", lambda x, k: np.triu(x, k)),
            ("upperdiag", lambda x, k: np.tril(x, k - 1)),
            ("lowerdiag", lambda x, k: np.triu(x, k + 1)),
        ],
    )
    @pytest.mark.parametrize("diagonal", range(-4, 5))
    def test_triangles_are_numpys(self, mode, keep, diagonal):
        data = np.arange(1, 13, dtype="f").reshape(3, 4)
        output = run("SequenceMask", data, mode=mode, diagonal=diagonal, fill_val=0.0)
        assert_same(output, keep(data, diagonal))

    def test_causal_and_padded_attention(self):
        """Scores [B, H, L, L] with one length per batch: what the composition is for."""
        scores = np.ones((2, 3, 4, 4), "f")
        lengths = np.array([2, 4], "int64")
        i, j = np.arange(4)[:, None], np.arange(4)
        keep = (j <= i) & (j < lengths[:, None, None, None])
        args = dict(mode="sequence+upper", axis=3, batch=1, lengths_of="batch")
        expected = np.where(keep, scores, np.float32(-np.inf))
        assert_same(run("SequenceMask", scores, lengths, **args), expected)

    def test_left_padded_and_causal_attention(self):
        """A batch of transformers' padding_side="left"; a query of padding keeps nothing."""
        scores = np.ones((2, 3, 4, 4), "f")
        left_pad = np.array([0, 2], "int64")
        i, j = np.arange(4)[:, None], np.arange(4)
        keep = (j <= i) & (j >= left_pad[:, None, None, None])
        args = dict(mode="upper+left_pad", axis=3, batch=1, lengths_of="batch")
        expected = np.where(keep, scores, np.float32(-np.inf))
        assert_same(run("SequenceMask", scores, left_pad, **args), expected)

    @pytest.mark.parametrize("index", INDICES)
    def test_left_pad_at_its_limits(self, index):
        limits = np.iinfo(index)
        left_pad = np.array([limits.min, -1, 0, 1, 3, 4, limits.max], index)
        data = np.ones((7, 3), "f")
        kept = [3, 3, 3, 2, 0, 0, 0]
        expected = np.array([[0] * (3 - n) + [1] * n for n in kept], "f")
        for mode in ("left_pad", "left_pad+left_pad"):
            assert_same(run("SequenceMask", data, left_pad, mode=mode, fill_val=0.0), expected)

    def test_left_pad_of_groups_of_columns(self):
        data = np.ones((2, 3, 2), "f")
        args = dict(mode="left_pad", repeat_from_axis=2, fill_val=0.0)
        expected = np.array([[[0, 0], [1, 1], [1, 1]], [[0, 0], [0, 0], [1, 1]]], "f")
        assert_same(run("SequenceMask", data, np.array([1, 2], "i"), **args), expected)

    def test_lengths_are_ends_beside_left_pad(self):
        """Columns from left_pad to lengths are kept; where these cross, none."""
        data = np.ones((4, 5), "f")
        lengths, left_pad = np.array([4, 9, 2, 3], "i"), np.array([1, 3, 2, 4], "int64")
        for mode in ("sequence+left_pad", "left_pad+sequence"):
            output = run("SequenceMask", data, lengths, left_pad, mode=mode, fill_val=0.0)
            expected = [[0, 1, 1, 1, 0], [0, 0, 0, 1, 1], [0] * 5, [0] * 5]
            assert_same(output, np.array(expected, "f"))

    def test_lengths_come_before_centers_and_left_pad_last(self):
        """Inputs of a composition, in whatever order its shapes are named."""
        data = np.ones((1, 6), "f")
        lengths, centers = np.array([5], "i"), np.array([4], "i")
        for mode in ("sequence+window", "window+sequence", "window+sequence+window"):
            output = run(
                "SequenceMask", data, lengths, centers, mode=mode, radius=1, fill_val=0.0
            )
            assert_same(output, np.array([[0, 0, 0, 1, 1, 0]], "f"))
        left_pad = np.array([4], "i")
        for mode in ("left_pad+sequence+window", "window+left_pad+sequence"):
            output = run(
                "SequenceMask", data, lengths, centers, left_pad, mode=mode, radius=1, fill_val=0.0
            )
            assert_same(output, np.array([[0, 0, 0, 0, 1, 0]], "f"))

    def test_batch_equal_to_rows_keeps_stock_meaning(self):
        """With B = L, lengths [B] are by rows unless lengths_of asks for the batch."""
        data = np.ones((2, 2, 3), "f")
        lengths = np.array([1, 2], "i")
        args = dict(mode="sequence", axis=2, batch=0, fill_val=0.0)
        by_rows = np.array([[[1, 0, 0], [1, 1, 0]]] * 2, "f")
        by_batch = np.array([[[1, 0, 0]] * 2, [[1, 1, 0]] * 2], "f")
        assert_same(run("SequenceMask", data, lengths, **args), by_rows)
        assert_same(run("SequenceMask", data, lengths, lengths_of="rows", **args), by_rows)
        assert_same(run("SequenceMask", data, lengths, lengths_of="batch", **args), by_batch)

    @pytest.mark.parametrize("in_place", [None, 0])
    def test_nan_under_the_mask_goes_nowhere(self, in_place):
        data = np.array([[np.nan, np.nan], [np.inf, np.nan]], "f")
        case = Case([data], {"mode": "upper", "fill_val": 0.0}, in_place=in_place)
        expected = np.array([[np.nan, 0], [np.inf, np.nan]], "f")
        assert_same(run_case("SequenceMask", case)[0], expected)
        assert_same(gradients("SequenceMask", case, [data])[0], expected)

    @pytest.mark.parametrize("fill", [np.inf, -np.inf, np.nan, -0.0])
    @pytest.mark.parametrize("real", REALS)
    def test_fill_of_no_number(self, real, fill):
        data = np.ones((1, 2), real)
        output = run("SequenceMask", data, mode="upper", fill_val=float(fill))
        np.testing.assert_array_equal(output, np.array([[1, fill]], real))
        assert np.signbit(output[0, 1]) == np.signbit(fill)

    def test_fill_of_64_bits_keeps_them(self):
        for fill in (2 ** 63 - 1, -(2 ** 63), 2 ** 53 + 1):
            output = run("SequenceMask", np.zeros((1, 2), "int64"), mode="upper", fill_val=fill)
            assert output.tolist() == [[0, fill]]

    @pytest.mark.parametrize("fill", [2 ** 54 + 2 ** 30 + 1, -(2 ** 54 + 2 ** 30 + 1)])
    def test_fill_is_rounded_once(self, fill):
        """To the nearest float32, which by way of a double would be the one below."""
        output = run("SequenceMask", np.zeros((1, 2), "f"), mode="upper", fill_val=fill)
        assert_same(output, np.array([[0, fill]], "int64").astype("f"))

    @pytest.mark.parametrize("in_place", [None, 0])
    @pytest.mark.parametrize(
        "args, extra",
        [
            ({"mode": "sequence"}, [np.array([1, 2], "int64")]),
            ({"mode": "sequence+window", "radius": 1}, [np.array([3, 2], "i")] * 2),
            ({"mode": "left_pad"}, [np.array([1, 2], "i")]),
            ({"mode": "sequence+left_pad"}, [np.array([3, 2], "i"), np.array([1, -1], "int64")]),
            ({"mode": "upper", "diagonal": 1}, []),
            ({"mode": "mask"}, [np.array([[True, False, True]])]),
        ],
    )
    def test_gradient_passes_where_data_did(self, args, extra, in_place):
        """With the default -inf too, and to the bit."""
        data = np.arange(1, 7, dtype="f").reshape(2, 3)
        case = Case([data] + extra, args, in_place=in_place)
        d_output = -data
        grads = gradients("SequenceMask", case, [d_output])
        assert list(grads) == [0]
        assert_same(grads[0], masking.sequence_mask(d_output, *extra, grad=1, **args)[0])

    def test_gradient_of_the_gradient(self):
        """The gradient is a SequenceMask, so it has one as well."""
        data = np.arange(6, dtype="f").reshape(2, 3)
        case = Case([data], {"mode": "upper", "grad": 1})
        assert_same(gradients("SequenceMask", case, [data])[0], np.tril(data))

    def test_second_input_of_a_triangle_is_passed_over(self):
        """Stock nets may name one."""
        data = np.ones((2, 2), "f")
        case = Case([data, np.array(["x"], dtype=object)], {"mode": "upper", "fill_val": 0.0})
        assert_same(run_case("SequenceMask", case)[0], np.tril(data))
