"""BernoulliMask and its gradient."""

import itertools

import numpy as np
import pytest

from oracles.gating import sigmoid
from testers.operators import REALS, Case, assert_same, gradients, run_seeded
from testers.reals import assert_same_sequence
from testers.threads import same_for_any_threads

pytestmark = pytest.mark.operators


def draw(z, seed=1):
    return run_seeded("BernoulliMask", Case([z], {}, 2), seed)


def log_sigmoid(z):
    return np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))


@pytest.mark.parametrize("dtype", REALS)
def test_log_prob_and_its_gradient(dtype):
    z = np.random.RandomState(1).uniform(-6, 6, (30, 40)).astype(dtype)
    mask, log_prob = draw(z)
    assert mask.dtype == bool and mask.shape == z.shape
    assert log_prob.dtype == z.dtype
    tolerance = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-12}[dtype]
    wide = z.astype("float64")
    expected = log_sigmoid(np.where(mask, wide, -wide))
    np.testing.assert_allclose(log_prob, expected, rtol=tolerance)
    d = np.random.RandomState(2).standard_normal(z.shape).astype(dtype)
    (grad,) = gradients("BernoulliMask", Case([z], {}, 2), [None, d]).values()
    expected = d * (mask - sigmoid(wide))
    assert grad.dtype == z.dtype
    np.testing.assert_allclose(grad, expected, rtol=2 * tolerance, atol=tolerance * 1e-2)


def test_gradient_by_differences():
    """log_prob of what was drawn, as Z moves: the mask stays, or the difference would be large."""
    z = np.random.RandomState(1).randn(4, 5)
    mask, _ = draw(z)
    step = 1e-6
    sides = [draw(z + sign * step) for sign in (1, -1)]
    for side in sides:
        assert_same(side[0], mask)
    (grad,) = gradients("BernoulliMask", Case([z], {}, 2), [None, np.ones_like(z)]).values()
    np.testing.assert_allclose(grad, (sides[0][1] - sides[1][1]) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("dtype", REALS)
def test_saturation(dtype):
    z = np.array([-1000, 1000, -30, 30], dtype).repeat(10000)
    mask, log_prob = draw(z)
    assert_same(mask, z > 0)
    expected = np.where(np.abs(z) > 100, 0, -np.exp(-30.0))
    if dtype == "float16":
        expected[:] = 0
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)
    (grad,) = gradients("BernoulliMask", Case([z], {}, 2), [None, np.ones_like(z)]).values()
    assert np.isfinite(grad).all()
    assert np.abs(grad.astype("f")).max() < 1e-6


@pytest.mark.parametrize("z", [-4.0, -0.5, 0.0, 1.0, 5.0])
def test_probability(z):
    count = 400000
    mask, _ = draw(np.full(count, z, "f"))
    p = sigmoid(z)
    assert abs(mask.mean() - p) < 5 * np.sqrt(p * (1 - p) / count)
    # Neighbours are independent.
    pairs = (mask[1:] & mask[:-1]).mean()
    assert abs(pairs - p * p) < 5 * np.sqrt(p * p / count) + 1e-6


def test_reinforce_is_unbiased():
    """Mean of reward * d log_prob over many draws: the exact gradient of the expected reward."""
    z = np.array([0.3, -1.0, 0.8])
    reward_of = {
        keep: np.sin(1 + 3 * keep[0] + 2 * keep[1] - keep[2] + 4 * keep[0] * keep[2])
        for keep in itertools.product([False, True], repeat=3)
    }
    p = sigmoid(z)
    exact = np.zeros(3)
    for keep, reward in reward_of.items():
        probability = np.prod(np.where(keep, p, 1 - p))
        exact += reward * probability * (np.array(keep) - p)
    samples = 200000
    many = np.tile(z, (samples, 1))
    mask, _ = draw(many, seed=11)
    rewards = np.array([reward_of[tuple(row)] for row in mask.tolist()])
    d_log_prob = np.repeat(rewards[:, None], 3, axis=1)
    (grad,) = gradients(
        "BernoulliMask", Case([many], {}, 2), [None, d_log_prob], seed=11
    ).values()
    error = grad.std(axis=0) / np.sqrt(samples)
    assert (np.abs(grad.mean(axis=0) - exact) < 5 * error).all()
    assert (np.abs(exact) > 20 * error).all()  # or the test would say nothing


def test_sequence():
    assert_same_sequence("BernoulliMask", {}, outputs=2)


def test_threads():
    z, d = np.random.RandomState(1).randn(2, 700, 301).astype("f")
    case = Case([z], {}, 2)
    same_for_any_threads(
        lambda: draw(z) + list(gradients("BernoulliMask", case, [None, d]).values()),
    )


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_scalar_and_empty(shape):
    z = np.full(shape, 1000, "f")
    mask, log_prob = draw(z)
    assert_same(mask, np.ones(shape, bool))
    assert_same(log_prob, np.zeros(shape, "f"))
    (grad,) = gradients("BernoulliMask", Case([z], {}, 2), [None, np.ones_like(z)]).values()
    assert grad.shape == shape


def test_nan():
    mask, log_prob = draw(np.array([np.nan], "f"))
    assert not mask[0] and np.isnan(log_prob[0])
