"""Highway and its gradient."""

import hypothesis.strategies as st
import numpy as np
import pytest

from oracles import gating
from testers.arrays import BROADCASTS, broadcast_shapes, normals, shapes, some_reals
from testers.operators import REALS, Case, assert_same, gradients, run, run_seeded
from testers.reals import RealOperatorTests
from testers.threads import same_for_any_threads

pytestmark = pytest.mark.operators


class TestHighway(RealOperatorTests):
    op_type = "Highway"
    reference = staticmethod(gating.highway)
    empty = (
        Case([np.zeros((0, 3), "f")] * 2 + [np.zeros((0, 1), "f")]),
        Case([np.zeros((3, 0), "f")] * 2 + [np.zeros((3, 1), "f")]),
        Case([np.zeros((2, 0), "f")] * 3, {"kind": "softmax"}),
    )

    @staticmethod
    @st.composite
    def cases(draw, dtype, finite=False):
        shape = draw(shapes(0, 4))
        kind = draw(st.sampled_from(["sigmoid", "softmax"] + ([] if finite else ["hard"])))
        inputs = [draw(normals(dtype, shape, number)) for number in range(2)]
        inputs.append(draw(normals(dtype, draw(broadcast_shapes(shape)), 2)))
        return Case(inputs, {"kind": kind}, in_place=draw(st.sampled_from([None, 0, 1])))

    def inputs_with_gradient(self, case):
        return [0, 1, 2]

    @pytest.mark.parametrize("h_shape, z_shape", BROADCASTS)
    @pytest.mark.parametrize("kind", ["sigmoid", "softmax", "hard"])
    def test_broadcast(self, kind, h_shape, z_shape):
        for dtype in REALS:
            self.check(Case(some_reals(dtype, h_shape, h_shape, z_shape), {"kind": kind}))
        if kind != "hard":
            inputs = some_reals("float64", h_shape, h_shape, z_shape)
            self.check_gradient(Case(inputs, {"kind": kind}))


@pytest.mark.parametrize("z_shape", [(2, 3), (2, 1)])
def test_hard_is_straight_through(z_shape):
    random = np.random.RandomState(1)
    h, x, d_y = random.randn(3, 2, 3)
    z = random.standard_normal(z_shape)
    hard = gradients("Highway", Case([h, x, z], {"kind": "hard"}), [d_y])
    soft = gradients("Highway", Case([h, x, z]), [d_y])
    np.testing.assert_allclose(hard[2], soft[2], rtol=1e-12)
    np.testing.assert_array_equal(hard[0], np.where(z > 0, d_y, 0))
    np.testing.assert_array_equal(hard[1], np.where(z > 0, 0, d_y))
    clipped = gradients("Highway", Case([h, x, z], {"kind": "hard", "clip": 0.5}), [d_y])
    np.testing.assert_allclose(clipped[2], np.where(np.abs(z) <= 0.5, soft[2], 0), rtol=1e-12)


@pytest.mark.parametrize("dtype", REALS)
def test_hard_chooses(dtype):
    """What is not chosen does not reach the result, NaN included."""
    h = np.array([1, np.nan, np.inf, np.nan], dtype)
    x = np.array([np.nan, 2, 3, np.inf], dtype)
    z = np.array([1, -1, 0, 1], dtype)
    assert_same(run("Highway", h, x, z, kind="hard"), np.array([1, 2, 3, np.nan], dtype))


@pytest.mark.parametrize("dtype", REALS)
def test_saturation(dtype):
    """Far from 0 one of the two is carried as it is, and gradients are finite."""
    random = np.random.RandomState(1)
    h, x, d_y = random.randn(3, 2).astype(dtype)
    z = np.array([1000, -1000], dtype)
    assert_same(run("Highway", h, x, z), np.array([h[0], x[1]]))
    grads = gradients("Highway", Case([h, x, z]), [d_y])
    np.testing.assert_array_equal(grads[0], [d_y[0], 0])
    np.testing.assert_array_equal(grads[1], [0, d_y[1]])
    assert grads[2].tolist() == [0, 0]


@pytest.mark.parametrize("z_shape", [(700, 300), (700, 1), (300,)])
def test_threads(z_shape):
    random = np.random.RandomState(1)
    h, x, d_y = random.randn(3, 700, 300).astype("f")
    case = Case([h, x, random.standard_normal(z_shape).astype("f")])
    same_for_any_threads(
        lambda: run_seeded("Highway", case, 1) + list(gradients("Highway", case, [d_y]).values()),
    )
