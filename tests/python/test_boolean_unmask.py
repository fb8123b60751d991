"""BooleanUnmask and its gradient."""

import hypothesis.strategies as st
import numpy as np
import pytest
from caffe2.python import core, workspace
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


class TestBooleanUnmask(OperatorTests, GradientTests):
    op_type = "BooleanUnmask"
    reference = staticmethod(masking.boolean_unmask)
    empty = (
        Case([np.zeros(0, bool), np.zeros(0, "f")]),
        Case([np.zeros(0, bool), np.zeros((0, 3), "f")]),
        Case([np.zeros((2, 0), bool), np.zeros((2, 0), "f")]),
        Case([np.zeros((2, 0), bool), np.zeros((0, 3), "f")], {"layout": "compact"}),
        Case([np.ones(2, bool), np.zeros((2, 0), "f")]),
        Case([np.zeros(2, bool), np.zeros(0, "f")], {"fill_val": 3.0}),
        Case([np.zeros((2, 2), bool), np.zeros((0, 3), "f")], {"fill_val": 3.0}),
        Case([np.zeros(0, bool), np.zeros(0, "f"), np.zeros(0, bool), np.zeros(0, "f")]),
        Case([np.ones(2, bool), np.ones(2, "f"), np.ones(2, bool), np.zeros(0, "f")]),
    )

    @staticmethod
    @st.composite
    def cases(draw, dtype, finite=False):
        """1 to 3 masks that overlap as they like, each with compact or dense values."""
        shape = draw(shapes(1, 3, max_side=3))
        row = draw(shapes(0, 2, max_side=2))
        masks = [draw(arrays("bool", shape)) for _ in range(draw(st.integers(1, 3)))]
        args = {}
        if draw(st.booleans()):
            args["fill_val"] = draw(fill_values(dtype, finite))
        else:
            masks[-1] = masks[-1] | ~np.any(masks, axis=0)
        layout = draw(st.sampled_from(["auto", "compact", "dense"]))
        if layout != "auto" or draw(st.booleans()):
            args["layout"] = layout
        inputs = []
        free = np.ones(shape, bool)
        for mask in masks:
            dense = shape + row
            compact = (int(np.sum(mask & free)),) + row
            free &= ~mask
            # With auto a shape that can be read as dense is.
            if layout == "auto" and len(shape) > 1 and compact[: len(shape)] == shape:
                compact = dense
            choice = {"dense": dense, "compact": compact}
            values = choice.get(layout) or draw(st.sampled_from([dense, compact]))
            inputs += [mask, draw(arrays(dtype, values, finite))]
        return Case(inputs, args)

    def differentiable(self, case):
        return list(range(1, len(case.inputs), 2))

    @given(data=st.data())
    def test_undoes_boolean_mask(self, data):
        values = data.draw(shapes(1, 4).flatmap(lambda shape: arrays("float32", shape)))
        mask = data.draw(arrays("bool", values.shape[: data.draw(st.integers(1, values.ndim))]))
        pairs = []
        for keep in (mask, ~mask):
            pairs += [keep, run("BooleanMask", values, keep)]
        assert_same(run("BooleanUnmask", *pairs, layout="compact"), values)

    @pytest.mark.parametrize("row", [(), (2,), (3,), (0,)])
    @given(first=long_masks(), second=long_masks())
    def test_long(self, dtype, row, first, second):
        """Two masks that overlap and leave gaps, compact and dense."""
        n = min(first.size, second.size)
        first, second = first[:n], second[:n]
        data = numbered(dtype, (n,) + row)
        compact = [first, data[first], second, data[second & ~first]]
        expected = data.copy()
        expected[~(first | second)] = 1
        assert_same(
            run("BooleanUnmask", *compact, fill_val=1, layout="compact"), expected
        )
        assert_same(run("BooleanUnmask", first, data, second, data, fill_val=1), expected)
        grads = gradients("BooleanUnmask", Case(compact, {"fill_val": 1}), [data])
        assert_same(grads[1], compact[1])
        assert_same(grads[3], compact[3])

    @given(data=st.data())
    def test_seed_formula(self, data):
        """The inverse of BooleanMask, 0 where the mask is False, by one dense pair."""
        values = data.draw(shapes(1, 3).flatmap(lambda shape: arrays("float32", shape)))
        mask = data.draw(arrays("bool", values.shape))
        expected = np.where(mask, values, np.float32(0))
        assert_same(run("BooleanUnmask", mask, values, fill_val=0.0), expected)
        compact = run("BooleanMask", values, mask)
        unmasked = run("BooleanUnmask", mask, compact, fill_val=0.0, layout="compact")
        assert_same(unmasked, expected)

    def test_shadowed_true_takes_no_value(self):
        """The second mask's first True stands behind the first mask's."""
        first, second = np.array([True, False, True]), np.array([True, True, True])
        one, two = np.array([1, 3], "f"), np.array([2], "f")
        expected = np.array([1, 2, 3], "f")
        assert_same(run("BooleanUnmask", first, one, second, two), expected)

    def test_layout_decides_what_a_shape_leaves_open(self):
        """Two rows of two for a mask of two by two: in their places, or one after the other."""
        mask = np.array([[True, False], [False, True]])
        values = np.array([[1, 2], [3, 4]], "f")
        dense = np.array([[1, 0], [0, 4]], "f")
        compact = np.array([[[1, 2], [0, 0]], [[0, 0], [3, 4]]], "f")
        assert_same(run("BooleanUnmask", mask, values, fill_val=0.0), dense)
        assert_same(run("BooleanUnmask", mask, values, fill_val=0.0, layout="dense"), dense)
        assert_same(run("BooleanUnmask", mask, values, fill_val=0.0, layout="compact"), compact)

    def test_many_masks(self):
        """A mask for each of 70 positions, so that no count of masks is special."""
        n = 70
        inputs = []
        for i in range(n):
            inputs += [np.arange(n) == i, np.array([i], "int64")]
        assert_same(run("BooleanUnmask", *inputs), np.arange(n, dtype="int64"))

    @given(data=st.data())
    def test_strings(self, data):
        mask = data.draw(arrays("bool", data.draw(shapes(1, 3, max_side=3))))
        words = data.draw(
            st.lists(st.binary(max_size=40), min_size=mask.size, max_size=mask.size)
        )
        strings = np.array(words + [None], dtype=object)[:-1].reshape(mask.shape)
        dense = run("BooleanUnmask", mask, strings, ~mask, strings)
        compact = run(
            "BooleanUnmask", mask, strings[mask], ~mask, strings[~mask], layout="compact"
        )
        assert_same(dense, strings)
        assert_same(compact, strings)

    def test_gradient_is_moved_not_computed(self):
        """Shadowed, dense and unowned positions; NaN of a foreign position goes nowhere."""
        first = np.array([True, False, False, True])
        second = np.array([True, True, False, False])
        case = Case(
            [first, np.zeros(2, "f"), second, np.zeros(4, "f")], {"fill_val": 0.0}
        )
        grads = gradients("BooleanUnmask", case, [np.array([1, np.inf, np.nan, 4], "f")])
        assert sorted(grads) == [1, 3]
        assert_same(grads[1], np.array([1, 4], "f"))
        assert_same(grads[3], np.array([0, np.inf, 0, 0], "f"))

    def test_values_given_twice_get_both_gradients(self):
        workspace.FeedBlob("even", np.array([True, False]))
        workspace.FeedBlob("odd", np.array([False, True]))
        workspace.FeedBlob("value", np.array([5], "f"))
        net = core.Net("twice")
        net.BooleanUnmask(["even", "value", "odd", "value"], ["data"])
        grads = net.AddGradientOperators(["data"])
        workspace.RunNetOnce(net)
        assert_same(workspace.FetchBlob(str(grads["value"])), np.array([2], "f"))

    @given(data=st.data())
    def test_gradient_operator(self, data):
        """The way back for 16-bit and double too."""
        dtype = data.draw(st.sampled_from(["float16", "float64"]))
        case = data.draw(self.cases(dtype))
        (out,) = run_case("BooleanUnmask", case)
        grads = gradients("BooleanUnmask", case, [out])
        layout = case.args.get("layout", "auto")
        free = np.ones(case.inputs[0].shape, bool)
        for i in range(0, len(case.inputs), 2):
            mask, values = case.inputs[i], case.inputs[i + 1]
            owned = mask & free
            free &= ~mask
            dense = masking.is_dense(mask, values, layout)
            assert_same(
                grads[i + 1], masking.boolean_mask(out, owned, keep_shape=int(dense))[0]
            )
