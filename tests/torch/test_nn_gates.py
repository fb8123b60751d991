"""Gates that learn, and Highway, beside what they are defined as."""

import math

import pytest
import torch
import torch.nn.functional as F

from caffe2op_mask import draw_noise, gate, nn

N, D = 6, 4


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def x_of(features=D):
    return torch.randn(2, N, features, dtype=torch.float64, requires_grad=True)


def stretched(z, beta=2 / 3, gamma=-0.1, zeta=1.1):
    """The gate of hard_concrete in evaluation."""
    return (torch.sigmoid(z) * (zeta - gamma) + gamma).clamp(0, 1)


GATES = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda z: torch.softmax(z, -1),
    "hard": lambda z: (z > 0).double(),
    "hard_concrete": stretched,
    "gumbel_softmax": lambda z: torch.softmax(z, -1),
}


def same(result, want, inputs):
    torch.testing.assert_close(result, want)
    weights = torch.randn_like(result)
    ours, theirs = (
        torch.autograd.grad((one * weights).sum(), inputs) for one in (result, want)
    )
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("context", [None, 3])
@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("kind", sorted(GATES))
def test_learnable_gate(kind, per_row, context):
    module = nn.LearnableGate(D, context, kind=kind, per_row=per_row, dtype=torch.float64).eval()
    x, read = x_of(), None if context is None else x_of(context)
    logits = module.logits(x if read is None else read)
    assert logits.shape[-1] == (1 if per_row else D)
    want = GATES[kind](logits)
    result, found = module(x, read, return_gate=True)
    torch.testing.assert_close(found, want)
    if kind == "hard":
        torch.testing.assert_close(result, want * x)
    else:
        same(result, want * x, [x] + list(module.parameters()))
    assert torch.equal(module(x, read), result)


def test_hard_has_the_gradient_of_sigmoid():
    module = nn.LearnableGate(D, kind="hard", clip=0.5, dtype=torch.float64)
    x = x_of()
    z = module.logits(x.detach())
    soft = torch.sigmoid(z)
    result = module(x.detach())
    d_result = torch.randn_like(result)
    (d_weight,) = torch.autograd.grad((result * d_result).sum(), module.logits.weight)
    through = torch.where(z.abs() > 0.5, soft.detach(), soft) * x.detach()
    (want,) = torch.autograd.grad((through * d_result).sum(), module.logits.weight)
    torch.testing.assert_close(d_weight, want)
    assert 0 < (z.abs() > 0.5).double().mean() < 1


def test_relu_learns_its_threshold():
    module = nn.LearnableGate(D, kind="relu", dtype=torch.float64)
    assert torch.equal(module.threshold, torch.zeros(D, dtype=torch.float64))
    module.threshold.data.uniform_(-0.2, 0.2)
    x = x_of()
    want = F.relu(module.logits(x) - module.threshold) * x
    same(module(x), want, [x] + list(module.parameters()))


@pytest.mark.parametrize("kind", sorted(GATES))
def test_feature_gate(kind):
    module = nn.FeatureGate(D, kind=kind, dtype=torch.float64).eval()
    assert torch.equal(module.logits, torch.full((D,), 2.0, dtype=torch.float64))
    module.logits.data.normal_()
    x = x_of()
    want = GATES[kind](module.logits)
    result, found = module(x, return_gate=True)
    torch.testing.assert_close(found, want)
    if kind != "hard":
        same(result, want * x, [x, module.logits])


@pytest.mark.parametrize("kind", ["hard_concrete", "gumbel_softmax"])
def test_draws_in_training_alone(kind):
    module = nn.FeatureGate(200, kind=kind, dtype=torch.float64)
    x = torch.ones(1, 200, dtype=torch.float64)
    first, second = module(x), module(x)
    assert not torch.equal(first, second)
    drawn = [module(x, generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*drawn)
    noise = draw_noise(torch.Generator().manual_seed(5))
    assert torch.equal(drawn[0], gate(x, module.logits, kind, noise=noise))
    module.eval()
    assert torch.equal(module(x), module(x))


def test_one_gate_of_a_feature_for_all_rows():
    module = nn.FeatureGate(50, kind="hard_concrete", initial_logit=0.0)
    result = module(torch.ones(7, 50))
    assert torch.equal(result, result[:1].expand(7, 50))
    assert len(result[0].unique()) > 10


@pytest.mark.parametrize("options", [{}, {"beta": 0.4, "gamma": -0.3, "zeta": 1.2}])
def test_l0_penalty(options):
    """It is the expected number of gates that are not 0, as many draws count them."""
    module = nn.FeatureGate(5, kind="hard_concrete", dtype=torch.float64, **options)
    module.logits.data.copy_(torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0]))
    beta, gamma, zeta = (
        options.get(name, usual)
        for name, usual in (("beta", 2 / 3), ("gamma", -0.1), ("zeta", 1.1))
    )
    want = torch.sigmoid(module.logits - beta * math.log(-gamma / zeta)).sum()
    same(module.l0_penalty(), want, [module.logits])
    draws = 20000
    kept = gate(
        torch.ones(draws, 5, dtype=torch.float64),
        module.logits.detach().repeat(draws, 1),
        "hard_concrete",
        **options
    )
    counted = (kept != 0).double().mean(dim=0).sum()
    torch.testing.assert_close(counted, want.detach(), rtol=0, atol=0.03)


def test_l0_penalty_of_what_it_reads():
    module = nn.LearnableGate(D, kind="hard_concrete", dtype=torch.float64)
    x = x_of()
    want = nn.open_probability(module.logits(x)).sum()
    same(module.l0_penalty(x), want, [x, module.logits.weight])


def test_open_probability():
    z = torch.tensor([-math.inf, -3.0, 3.0])
    assert torch.equal(nn.open_probability(z, gamma=0.0), torch.tensor([0.0, 1.0, 1.0]))
    assert nn.open_probability(z)[0] == 0


def test_pruning():
    """The penalty closes the gates of features that do not pay, and no others."""
    torch.manual_seed(1)
    x = torch.randn(256, 6)
    y = 3 * x[:, 0] - 2 * x[:, 3]
    module, linear = nn.FeatureGate(6, kind="hard_concrete"), torch.nn.Linear(6, 1)
    optimizer = torch.optim.Adam(list(module.parameters()) + list(linear.parameters()), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        error = (linear(module(x)).squeeze(1) - y).square().mean()
        (error + 0.1 * module.l0_penalty()).backward()
        optimizer.step()
    _, found = module.eval()(x, return_gate=True)
    assert torch.equal(found != 0, torch.tensor([True, False, False, True, False, False]))


@pytest.mark.parametrize("activation", ["elu", "relu", "sigmoid", "tanh", F.gelu])
@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_highway(activation, kind):
    module = nn.Highway(D, activation, kind=kind, dtype=torch.float64)
    x = x_of()
    h = getattr(F, activation)(module.changed(x)) if isinstance(activation, str) else F.gelu(
        module.changed(x)
    )
    g = GATES[kind](module.logits(x))
    same(module(x), g * h + (1 - g) * x, [x] + list(module.parameters()))


def test_highway_of_hard_gates():
    module = nn.Highway(D, kind="hard", carry_bias=0.0, dtype=torch.float64)
    x = x_of()
    kept = module.logits(x) > 0
    want = torch.where(kept, torch.relu(module.changed(x)), x)
    torch.testing.assert_close(module(x), want)
    assert 0.2 < kept.double().mean() < 0.8


def test_highway_begins_by_carrying():
    module = nn.Highway(D, carry_bias=-50.0)
    x = torch.randn(3, D)
    torch.testing.assert_close(module(x), x)
