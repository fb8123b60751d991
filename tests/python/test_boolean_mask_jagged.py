"""BooleanMaskJagged and its gradient."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from oracles import masking
from testers import fresh_process
from testers.arrays import arrays, long_masks, numbered, shapes
from testers.operators import INDICES, Case, GradientTests, OperatorTests, assert_same, run_case

pytestmark = pytest.mark.operators


@st.composite
def jagged(draw, dtype, index, finite=False):
    lengths = draw(st.lists(st.integers(0, 4), max_size=5))
    row = draw(shapes(0, 2, max_side=3))
    return [
        draw(arrays(dtype, (sum(lengths),) + row, finite)),
        np.array(lengths, index),
        draw(arrays("bool", sum(lengths))),
    ]


class TestBooleanMaskJagged(OperatorTests, GradientTests):
    op_type = "BooleanMaskJagged"
    reference = staticmethod(masking.boolean_mask_jagged)
    empty = (
        Case([np.zeros(0, "f"), np.zeros(0, "i"), np.zeros(0, bool)], outputs=2),
        Case([np.zeros(0, "f"), np.zeros(3, "int64"), np.zeros(0, bool)], outputs=2),
        Case([np.zeros((0, 2), "f"), np.zeros(1, "i"), np.zeros(0, bool)], outputs=2),
        Case([np.zeros((3, 0), "f"), np.array([1, 2], "i"), np.ones(3, bool)], outputs=2),
        Case([np.ones(3, "f"), np.array([1, 2], "i"), np.zeros(3, bool)], outputs=2),
    )

    @staticmethod
    @st.composite
    def cases(draw, dtype, finite=False):
        return Case(draw(jagged(dtype, draw(st.sampled_from(INDICES)), finite)), outputs=2)

    def inferred(self, case):
        return False

    @given(inputs=jagged("float32", "int32"))
    def test_is_boolean_mask_and_boolean_mask_lengths(self, inputs):
        values, lengths, mask = inputs
        masked_values, masked_lengths = run_case("BooleanMaskJagged", Case(inputs, outputs=2))
        assert_same(masked_values, run_case("BooleanMask", Case([values, mask]))[0])
        assert_same(masked_lengths, run_case("BooleanMaskLengths", Case([lengths, mask]))[0])

    @pytest.mark.parametrize("row", [(), (3,)])
    @given(mask=long_masks())
    def test_long(self, dtype, row, mask):
        values = numbered(dtype, mask.shape + row)
        lengths = np.array([mask.size // 3, 0, mask.size - mask.size // 3], "i")
        inputs = [values, lengths, mask]
        masked_values, masked_lengths = run_case("BooleanMaskJagged", Case(inputs, outputs=2))
        assert_same(masked_values, values[mask])
        first = mask[: lengths[0]].sum()
        assert masked_lengths.tolist() == [first, 0, mask.sum() - first]

    @pytest.mark.parametrize("override", ["0", "1"])
    def test_gradient_of_rows_needs_no_override(self, override):
        """The stock BooleanMaskGradient knows no rows: it may not be the one that runs."""
        source = """
            import numpy as np
            from caffe2.python import core, workspace
            import caffe2op_mask
            workspace.FeedBlob("values", np.arange(6, dtype=np.float32).reshape(3, 2))
            workspace.FeedBlob("lengths", np.array([1, 2], dtype=np.int32))
            workspace.FeedBlob("mask", np.array([True, False, True]))
            net = core.Net("jagged")
            net.BooleanMaskJagged(["values", "lengths", "mask"], ["masked", "masked_lengths"])
            grads = net.AddGradientOperators(["masked"])
            workspace.RunNetOnce(net)
            print(workspace.FetchBlob(str(grads["values"])).tolist())
        """
        out = fresh_process.output(source, CAFFE2OP_MASK_OVERRIDE=override)
        assert out.strip() == "[[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]"
