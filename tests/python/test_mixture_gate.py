"""MixtureGate and its gradient."""

import hypothesis.strategies as st
import numpy as np
import pytest
from caffe2.python import core, workspace

import gate_reference
from op_tester import REALS, Case, assert_same, run_case, shapes
from real_tester import (
    RealOperatorTests,
    gradients,
    normals,
    run_seeded,
    same_for_any_threads,
    set_threads,  # noqa: F401  a fixture
    some_reals,
)


class TestMixtureGate(RealOperatorTests):
    op_type = "MixtureGate"
    reference = staticmethod(gate_reference.mixture_gate)
    empty = (
        Case([np.zeros((0, 2, 3), "f"), np.zeros((0, 2), "f")], {"top_k": 1}, 2),
        Case([np.zeros((2, 3, 0), "f"), np.zeros((2, 3), "f")]),
        Case([np.zeros((2, 0, 3), "f"), np.zeros((2, 0), "f")], {}, 2),
    )

    @staticmethod
    @st.composite
    def cases(draw, dtype, finite=False):
        n, k = draw(st.integers(1, 3)), draw(st.integers(1, 6))
        e = draw(normals(dtype, (n, k) + draw(shapes(0, 2))))
        z = draw(normals(dtype, (n, k), 1))
        args = {"top_k": draw(st.integers(1, k))} if draw(st.booleans()) else {}
        if not finite and draw(st.booleans()):
            z = np.round(z)  # so that some are equal
        return Case([e, z], args, 2 if finite else draw(st.integers(1, 2)))

    def inputs_with_gradient(self, case):
        return [0, 1]

    @pytest.mark.parametrize("e_shape", [(1, 3), (2, 1, 3), (2, 4, 3), (3, 5, 2, 2)])
    @pytest.mark.parametrize("top_k", [None, 1, 2, 3])
    def test_shapes(self, e_shape, top_k):
        if top_k is not None and top_k > e_shape[1]:
            return
        args = {} if top_k is None else {"top_k": top_k}
        for dtype in REALS:
            self.check(Case(some_reals(dtype, e_shape, e_shape[:2]), args, 2))
        self.check_gradient(Case(some_reals("float64", e_shape, e_shape[:2]), args, 2))


def test_rows_without_experts_are_not_gone_through():
    """However many they are."""
    workspace.FeedBlob("e", np.zeros(0, "f").reshape(2 ** 50, 0, 0))
    workspace.FeedBlob("z", np.zeros(0, "f").reshape(2 ** 50, 0))
    for op in (
        core.CreateOperator("MixtureGate", ["e", "z"], ["y", "g"]),
        core.CreateOperator("MixtureGateGradient", ["e", "z", "y", "g"], ["d_e", "d_z"]),
    ):
        workspace.RunOperatorOnce(op)


def test_one_expert_alone_has_a_gradient():
    """The weight is not divided by the sum of those kept, which would make it 1."""
    e = np.array([[[1.0], [2.0], [4.0]]])
    z = np.array([[0.0, 1.0, 0.5]])
    case = Case([e, z], {"top_k": 1}, 2)
    y, g = run_case("MixtureGate", case)
    s = gate_reference.softmax(z)[0]
    np.testing.assert_allclose(g, [[0, s[1], 0]])
    np.testing.assert_allclose(y, [[2 * s[1]]])
    d_z = gradients("MixtureGate", case, [np.ones((1, 1)), None])[1]
    expected = [-2 * s[1] * s[0], 2 * s[1] * (1 - s[1]), -2 * s[1] * s[2]]
    np.testing.assert_allclose(d_z, [expected])


def test_of_equal_ones_the_first():
    z = np.array([[1, 3, 3, 3], [2, 2, 2, 2]], "f")
    for top_k, kept in ((1, [[1], [0]]), (2, [[1, 2], [0, 1]]), (3, [[1, 2, 3], [0, 1, 2]])):
        case = Case([np.ones((2, 4, 1), "f"), z], {"top_k": top_k}, 2)
        g = run_case("MixtureGate", case)[1]
        assert [np.flatnonzero(row).tolist() for row in g] == kept


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("args", [{"top_k": 1}, {}])
def test_what_weighs_nothing_is_not_read(dtype, args):
    e = np.array([[[np.nan, np.inf], [2, 3]]], dtype)
    z = np.array([[0 if args else -np.inf, 100]], dtype)
    case = Case([e, z], args, 2)
    y, g = run_case("MixtureGate", case)
    assert_same(y, np.array([[2, 3]], dtype))
    assert_same(g, np.array([[0, 1]], dtype))
    grads = gradients("MixtureGate", case, [np.ones((1, 2), dtype), None])
    assert_same(grads[0], np.array([[[0, 0], [1, 1]]], dtype))
    assert np.isfinite(grads[1]).all()


@pytest.mark.parametrize("args", [{}, {"top_k": 1}, {"top_k": 2}])
def test_saturation(args):
    random = np.random.RandomState(1)
    e = random.randn(2, 3, 4).astype("f")
    z = np.array([[1000, -1000, 0], [0, 1000, 1000]], "f")
    grads = gradients("MixtureGate", Case([e, z], args), [np.ones((2, 4), "f")])
    assert all(np.isfinite(grad).all() for grad in grads.values())


@pytest.mark.parametrize("shape", [(300, 7, 100), (1, 3, 200000), (2000, 40, 3)])
def test_threads(set_threads, shape):  # noqa: F811
    random = np.random.RandomState(1)
    e = random.standard_normal(shape).astype("f")
    z = random.standard_normal(shape[:2]).astype("f")
    d_y = random.standard_normal(shape[:1] + shape[2:]).astype("f")
    case = Case([e, z], {"top_k": 2}, 2)
    same_for_any_threads(
        set_threads,
        lambda: run_seeded("MixtureGate", case, 1)
        + list(gradients("MixtureGate", case, [d_y, z]).values()),
    )
