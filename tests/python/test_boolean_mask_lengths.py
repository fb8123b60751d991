"""BooleanMaskLengths: of the segments of a 1-D mask, and of the rows of others."""

import hypothesis.strategies as st
import numpy as np
import pytest
from caffe2.python import core, workspace
from hypothesis import given

from oracles import masking
from testers.arrays import arrays, long_masks, shapes
from testers.operators import DTYPES, INDICES, Case, OperatorTests, assert_same, run

pytestmark = pytest.mark.operators


@st.composite
def lengths_and_mask(draw, dtype):
    lengths = draw(st.lists(st.integers(0, 5), max_size=6))
    return np.array(lengths, dtype), draw(arrays("bool", sum(lengths)))


class TestBooleanMaskLengths(OperatorTests):
    op_type = "BooleanMaskLengths"
    reference = staticmethod(masking.boolean_mask_lengths)
    dtypes = INDICES
    empty = (
        Case([np.zeros(0, "i"), np.zeros(0, bool)]),
        Case([np.zeros(3, "int64"), np.zeros(0, bool)]),
        Case([np.zeros((0, 4), "f"), np.zeros((0, 4), bool)]),
        Case([np.zeros((2, 0), "f"), np.zeros((2, 0), bool)]),
        Case([np.zeros(2, "int64"), np.zeros((2, 0, 3), bool)]),
    )

    @staticmethod
    def cases(dtype, finite=False):
        return lengths_and_mask(dtype).map(Case)

    @pytest.mark.parametrize("any_type", DTYPES + ("object",))
    @given(data=st.data())
    def test_seed_formula(self, any_type, data):
        """How many entries the mask keeps of each row of the input, a tensor of any type."""
        shape = data.draw(shapes(2, 4))
        mask = data.draw(arrays("bool", shape))
        rest = data.draw(shapes(0, 2))
        rows = np.zeros(shape[:1] + rest, any_type)
        if any_type == "object":
            rows.fill(b"text")
        case = Case([rows, mask])
        if any_type != "object":
            self.check(case)
        index = "int64" if any_type == "int64" else "int32"
        expected = mask.sum(axis=tuple(range(1, mask.ndim))).astype(index)
        assert_same(run("BooleanMaskLengths", *case.inputs), expected)

    @given(mask=long_masks(), segments=st.lists(st.integers(0, 200), min_size=1, max_size=20))
    def test_long(self, dtype, mask, segments):
        """Segments as drawn, again and again, then one for the rest of the mask."""
        lengths = np.resize(segments, 100)
        lengths = lengths[np.cumsum(lengths) <= mask.size]
        lengths = np.append(lengths, mask.size - lengths.sum()).astype(dtype)
        expected = [part.sum() for part in np.split(mask, np.cumsum(lengths)[:-1])]
        assert_same(run("BooleanMaskLengths", lengths, mask), np.array(expected, dtype))

    def test_more_segments_than_a_block(self):
        """Most of them empty."""
        lengths = (np.arange(10000) % 7 == 0).astype("i")
        mask = np.arange(lengths.sum()) % 3 == 0
        expected = np.zeros_like(lengths)
        expected[lengths == 1] = mask
        assert_same(run("BooleanMaskLengths", lengths, mask), expected)

    def test_shape_is_not_inferred_from_an_unknown_one(self):
        """What BooleanMask keeps is not known in advance, so neither is what is counted by it."""
        workspace.FeedBlob("data", np.ones((4, 3), "f"))
        workspace.FeedBlob("mask", np.ones(4, bool))
        workspace.FeedBlob("rows", np.ones((4, 2), bool))
        net = core.Net("unknown")
        net.BooleanMask(["data", "mask"], ["masked"])
        net.BooleanMaskLengths(["masked", "rows"], ["counts"])
        inferred, _ = workspace.InferShapesAndTypes([net])
        assert inferred.get("counts", [4]) == [4]

    def test_has_no_gradient(self):
        op = core.CreateOperator("BooleanMaskLengths", ["lengths", "mask"], ["counts"])
        grad_ops, grads = core.GradientRegistry.GetGradientForOp(op, ["counts_grad"])
        assert not grad_ops and grads == [None, None]
