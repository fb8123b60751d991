"""MixtureGate and its gradient."""

import hypothesis.strategies as st
import numpy as np
import pytest
from caffe2.python import core, workspace

from oracles import gating
from testers.arrays import normals, shapes, some_reals
from testers.operators import REALS, Case, assert_same, gradients, run_case, run_seeded
from testers.reals import RealOperatorTests
from testers.threads import same_for_any_threads

pytestmark = pytest.mark.operators


class TestMixtureGate(RealOperatorTests):
    op_type = "MixtureGate"
    reference = staticmethod(gating.mixture_gate)
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
        if draw(st.booleans()):
            args["renormalize"] = draw(st.integers(0, 1))
        if not finite and draw(st.booleans()):
            z = np.round(z)  # so that some are equal
        inputs = [e, z]
        if draw(st.booleans()):
            # So far apart that what a softmax adds does not matter.
            bias = 2.0 * np.array(draw(st.permutations(range(k))))
            inputs.append(bias.astype("float64" if dtype == "float64" else "float32"))
        return Case(inputs, args, 2 if finite else draw(st.integers(1, 2)))

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
    s = gating.softmax(z)[0]
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
def test_threads(shape):
    random = np.random.RandomState(1)
    e = random.standard_normal(shape).astype("f")
    z = random.standard_normal(shape[:2]).astype("f")
    d_y = random.standard_normal(shape[:1] + shape[2:]).astype("f")
    case = Case([e, z], {"top_k": 2}, 2)
    same_for_any_threads(
        lambda: run_seeded("MixtureGate", case, 1)
        + list(gradients("MixtureGate", case, [d_y, z]).values()),
    )


def test_renormalized():
    """Mixtral's weights: the top k of a softmax over their sum, or a softmax over the top k."""
    z = np.array([[0.5, 2.0, -1.0, 1.0], [3.0, 0.0, 3.0, 1.0]])
    e = np.arange(16.0).reshape(2, 4, 2)
    case = Case([e, z], {"top_k": 2, "renormalize": 1}, 2)
    y, g = run_case("MixtureGate", case)
    expected = np.zeros((2, 4))
    expected[0, [1, 3]] = gating.softmax(z[0, [1, 3]])
    expected[1, [0, 2]] = 0.5
    np.testing.assert_allclose(g, expected)
    np.testing.assert_allclose(y, (expected[..., None] * e).sum(1))
    # To one alone of those that are kept there is no gradient, and none to what is left out.
    d_z = gradients("MixtureGate", case, [np.ones((2, 2)), None])[1]
    assert (d_z[expected == 0] == 0).all() and (d_z[expected != 0] != 0).all()
    one = case._replace(args={"top_k": 1, "renormalize": 1})
    assert_same(run_case("MixtureGate", one)[1], np.eye(4)[[1, 0]])
    assert_same(gradients("MixtureGate", one, [np.ones((2, 2)), None])[1], np.zeros((2, 4)))


def test_renormalized_where_the_rest_is_far():
    """The sum of the weights before would be 0, or have lost what they differ by."""
    z = np.array([[100.0, -30.0, -31.0, -300.0]], "f")
    bias = np.array([-np.inf, 0, 0, 0], "f")
    case = Case([np.ones((1, 4, 1), "f"), z, bias], {"top_k": 2, "renormalize": 1}, 2)
    for first in (z[0, 0], 1000.0):
        z[0, 0] = first
        expected = np.append(0, gating.softmax(np.array([-30.0, -31.0])))
        g = run_case("MixtureGate", case)[1]
        np.testing.assert_allclose(g, [np.append(expected, 0)], rtol=1e-6)


@pytest.mark.parametrize("renormalize", [0, 1])
@pytest.mark.parametrize("dtype", REALS)
def test_bias_chooses_and_does_not_weigh(dtype, renormalize):
    """What DeepSeek-V3 balances its experts by."""
    e = np.arange(4.0).reshape(1, 4, 1).astype(dtype)
    z = np.array([[2.0, 1.0, 0.0, -1.0]], dtype)
    bias = np.array([0, -0.5, 0, 0.25], "float64" if dtype == "float64" else "float32")
    s = gating.softmax(z[0].astype("float64"))
    assert (s + bias).argsort()[:2].tolist() == [1, 2]
    case = Case([e, z, bias], {"top_k": 2, "renormalize": renormalize}, 2)
    weights = s * [1, 0, 0, 1]
    if renormalize:
        weights /= weights.sum()
    y, g = run_case("MixtureGate", case)
    np.testing.assert_allclose(g, [weights], rtol=2e-3 if dtype == "float16" else 1e-6)
    np.testing.assert_allclose(y, [[3 * weights[3]]], rtol=2e-3 if dtype == "float16" else 1e-6)
    assert sorted(gradients("MixtureGate", case, [np.ones((1, 1), dtype), None])) == [0, 1]
    # An infinity keeps always or never; of equal ones the first.
    bias[:] = [-np.inf, 0, np.inf, np.inf]
    assert np.flatnonzero(run_case("MixtureGate", case)[1][0]).tolist() == [2, 3]
    bias[:] = 0
    assert np.flatnonzero(run_case("MixtureGate", case)[1][0]).tolist() == [0, 1]


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(
    "args", [{}, {"top_k": 2}, {"top_k": 2, "renormalize": 1}, {"top_k": 1, "bias": True}]
)
def test_gradient_of_g_alone(args, dtype):
    """As with a gradient of Y that is 0; but what the experts say, NaN too, does not count."""
    args = dict(args)
    e, z = some_reals(dtype, (3, 4, 5), (3, 4))
    inputs = [e, z]
    if args.pop("bias", False):
        inputs.append(np.arange(4).astype("float64" if dtype == "float64" else "float32"))
    d_g = np.cos(np.arange(12)).reshape(3, 4).astype(dtype)
    case = Case(inputs, args, 2)
    expected = gradients("MixtureGate", case, [np.zeros((3, 5), dtype), d_g])
    unread = case._replace(inputs=[np.full_like(e, np.nan)] + inputs[1:])
    actual = gradients("MixtureGate", unread, [None, d_g])
    assert sorted(actual) == sorted(expected) == [0, 1]
    assert_same(actual[0], np.zeros_like(e))
    np.testing.assert_array_equal(actual[1], expected[1])
    assert np.abs(actual[1]).max() > 0
