"""BooleanMask and its gradient."""

import hypothesis.strategies as st
import numpy as np
import pytest
from caffe2.python import workspace
from hypothesis import given

from oracles import masking
from testers.arrays import arrays, fill_values, long_masks, numbered, shapes
from testers.operators import (
    Case,
    GradientTests,
    OperatorTests,
    assert_same,
    gradients,
    run,
    run_case,
)

pytestmark = pytest.mark.operators


@st.composite
def data_and_mask(draw, dtype, finite=False):
    shape = draw(shapes(1, 4))
    rank = draw(st.integers(1, len(shape)))
    return draw(arrays(dtype, shape, finite)), draw(arrays("bool", shape[:rank]))


class TestBooleanMask(OperatorTests, GradientTests):
    op_type = "BooleanMask"
    reference = staticmethod(masking.boolean_mask)
    empty = (
        Case([np.zeros(0, "f"), np.zeros(0, bool)], outputs=2),
        Case([np.zeros((0, 3), "f"), np.zeros(0, bool)], outputs=2),
        Case([np.zeros((3, 0), "f"), np.array([True, False, True])], outputs=2),
        Case([np.zeros((2, 0, 3), "f"), np.zeros((2, 0), bool)], outputs=2),
        Case([np.zeros((2, 0), "f"), np.zeros((2, 0), bool)], {"keep_shape": 1}),
        Case([np.zeros((2, 0), "f"), np.ones(2, bool)], {"keep_shape": 1, "fill_val": 2.0}),
        Case([np.zeros((0, 3), "f"), np.zeros(0, bool)], {"keep_shape": 1}, in_place=0),
        Case([np.ones((2, 3), "f"), np.zeros(2, bool)], outputs=2),
        Case([np.ones((2, 3), "f"), np.zeros((2, 3), bool)], {"keep_shape": 1}),
    )

    @staticmethod
    @st.composite
    def cases(draw, dtype, finite=False):
        inputs = draw(data_and_mask(dtype, finite))
        if not draw(st.booleans()):
            return Case(inputs, outputs=draw(st.integers(1, 2)))
        args = {"keep_shape": 1}
        if draw(st.booleans()):
            args["fill_val"] = draw(fill_values(dtype, finite))
        return Case(inputs, args, in_place=draw(st.sampled_from([None, 0])))

    def inferred(self, case):
        return "keep_shape" in case.args

    @given(inputs=data_and_mask("float64"))
    def test_is_numpy_indexing(self, inputs):
        data, mask = inputs
        assert_same(run("BooleanMask", data, mask), data[mask])

    @given(inputs=data_and_mask("uint16"))
    def test_is_a_take_of_its_indices(self, inputs):
        data, mask = inputs
        masked, indices = run_case("BooleanMask", Case(inputs, outputs=2))
        assert_same(masked, masking.rows_of(data, mask.ndim)[indices].reshape(masked.shape))
        assert np.all(np.diff(indices) > 0)

    @pytest.mark.parametrize("row", [(), (2,), (3,), (0,)])
    @given(mask=long_masks())
    def test_long(self, dtype, row, mask):
        data = numbered(dtype, mask.shape + row)
        masked, indices = run_case("BooleanMask", Case([data, mask], outputs=2))
        assert_same(masked, data[mask])
        assert_same(indices, np.flatnonzero(mask))
        same = run("BooleanMask", data, mask, keep_shape=1)
        assert_same(run("BooleanMaskGradient", mask, masked), same)
        data[~mask] = 0
        assert_same(same, data)

    @given(inputs=data_and_mask("float32"))
    def test_seed_formula(self, inputs):
        """The input where the mask is True, else 0, in the input's shape."""
        data, mask = inputs
        wide = mask.reshape(mask.shape + (1,) * (data.ndim - mask.ndim))
        zero = np.zeros((), data.dtype)
        assert_same(run("BooleanMask", data, mask, keep_shape=1), np.where(wide, data, zero))

    @given(data=st.data())
    def test_strings(self, data):
        shape = data.draw(shapes(1, 3))
        mask = data.draw(arrays("bool", shape[: data.draw(st.integers(1, len(shape)))]))
        words = data.draw(st.lists(st.binary(max_size=40), min_size=masking.product(shape),
                                   max_size=masking.product(shape)))
        strings = np.array(words + [None], dtype=object)[:-1].reshape(shape)
        masked, indices = run_case("BooleanMask", Case([strings, mask], outputs=2))
        expected = masking.boolean_mask(strings, mask)
        assert_same(masked, expected[0])
        assert_same(indices, expected[1])

    @pytest.mark.parametrize("keep_shape", [0, 1])
    @given(data=st.data())
    def test_gradient_operator(self, dtype, keep_shape, data):
        """Every type and value: what comes back is moved, not computed."""
        inputs, mask = data.draw(data_and_mask(dtype))
        d_masked = inputs if keep_shape else inputs[mask]
        in_place = data.draw(st.sampled_from([None, 1])) if keep_shape else None
        args = {"keep_shape": keep_shape}
        actual = run_case(
            "BooleanMaskGradient", Case([mask, d_masked], args, in_place=in_place)
        )
        assert_same(
            actual[0], masking.boolean_mask_gradient(mask, d_masked, keep_shape=keep_shape)[0]
        )

    @pytest.mark.parametrize("in_place", [None, 0])
    def test_nan_under_the_mask_goes_nowhere(self, in_place):
        nan = np.array([[np.nan, 1], [np.nan, np.inf]], "f")
        mask = np.array([[False, True], [True, False]])
        case = Case([nan, mask], {"keep_shape": 1}, in_place=in_place)
        assert_same(run_case("BooleanMask", case)[0], np.array([[0, 1], [np.nan, 0]], "f"))
        # Nor does one of the gradient that comes in.
        assert_same(gradients("BooleanMask", case, [nan])[0], np.array([[0, 1], [np.nan, 0]], "f"))

    def test_any_byte_but_0_is_true(self):
        """Not all that makes a bool tensor writes 0 and 1."""
        mask = np.array([2, 0, 255, 128, 1], "uint8").view(bool)
        data = np.arange(5, dtype="f")
        masked, indices = run_case("BooleanMask", Case([data, mask], outputs=2))
        assert masked.tolist() == indices.tolist() == [0, 2, 3, 4]

    def test_output_takes_over_a_blob_of_another_type(self):
        data, mask = np.arange(6, dtype="f").reshape(3, 2), np.array([True, False, True])
        for before in (np.array([b"text"], dtype=object), np.ones(100, "int64"), data):
            workspace.FeedBlob("output_0", before)
            assert_same(run("BooleanMask", data, mask), data[mask])
