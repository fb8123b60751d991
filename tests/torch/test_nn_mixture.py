"""MixtureOfExperts beside the sum that it is defined as."""

import copy

import pytest
import torch
from torch import nn as tnn

from caffe2op_mask import nn

N, D, OUT, K = 12, 4, 3, 5


def module_of(in_features=D, **options):
    torch.manual_seed(0)
    experts = [tnn.Linear(D, OUT, dtype=torch.float64) for _ in range(K)]
    return nn.MixtureOfExperts(experts, in_features, dtype=torch.float64, **options)


def by_hand(module, x, context=None):
    weights = torch.softmax(module.logits(x if context is None else context), dim=-1)
    chooses = weights.detach()
    if module.routing_bias is not None:
        chooses = chooses + module.routing_bias
    kept = torch.zeros_like(weights, dtype=torch.bool)
    kept.scatter_(-1, chooses.topk(module.top_k, dim=-1).indices, True)
    weights = weights * kept
    if module.renormalize:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    said = torch.stack([expert(x) for expert in module.experts], dim=-2)
    return (weights[..., None] * said).sum(dim=-2), weights


@pytest.mark.parametrize("reads_context", [False, True])
@pytest.mark.parametrize("renormalize", [False, True])
@pytest.mark.parametrize("top_k", [None, 1, 3])
def test_mixture(top_k, renormalize, reads_context):
    context = torch.randn(2, N, 6, dtype=torch.float64) if reads_context else None
    module = module_of(6 if reads_context else D, top_k=top_k, renormalize=renormalize)
    x = torch.randn(2, N, D, dtype=torch.float64, requires_grad=True)
    result, found = module(x, context, return_gate=True)
    want, weights = by_hand(module, x, context)
    assert result.shape == (2, N, OUT) and found.shape == (2, N, K)
    torch.testing.assert_close(result, want)
    torch.testing.assert_close(found, weights)
    assert torch.equal(module(x, context), result)
    d_result = torch.randn_like(result)
    inputs = [x] + list(module.parameters())
    ours, theirs = (
        torch.autograd.grad((one * d_result).sum(), inputs, materialize_grads=True)
        for one in (result, want)
    )
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b)


def test_rows_alone():
    module = module_of(top_k=2)
    x = torch.randn(N, D, dtype=torch.float64)
    torch.testing.assert_close(module(x), by_hand(module, x)[0])


def test_routing_bias():
    """It chooses as it is, and moves by the rate in training alone."""
    module = module_of(top_k=1, bias_rate=0.125)
    assert torch.equal(module.routing_bias, torch.zeros(K, dtype=torch.float64))
    module.routing_bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]))
    x = torch.randn(N, D, dtype=torch.float64, requires_grad=True)
    before = module.routing_bias.clone()
    want, weights = by_hand(module, x)
    assert ((weights != 0).sum(dim=0) == torch.tensor([0, N, 0, 0, 0])).all()
    torch.testing.assert_close(module.eval()(x), want)
    assert torch.equal(module.routing_bias, before)
    result = module.train()(x)
    torch.testing.assert_close(result, want)
    moved = torch.tensor([0.125, 0.875, 0.125, 0.125, 0.125], dtype=torch.float64)
    assert torch.equal(module.routing_bias, moved)
    # The gradient chooses as the forward pass has, though the bias has been moved since.
    module.routing_bias.fill_(0)
    module.routing_bias[0] = 100
    for a, b in zip(torch.autograd.grad(result.sum(), x), torch.autograd.grad(want.sum(), x)):
        torch.testing.assert_close(a, b)


def test_the_bias_balances():
    torch.manual_seed(0)
    module = nn.MixtureOfExperts([tnn.Identity() for _ in range(4)], D, top_k=1, bias_rate=0.02)
    module.logits.bias.data.copy_(torch.tensor([2.0, 0.0, 0.0, 0.0]))
    x = torch.randn(512, D)

    def load():
        return (copy.deepcopy(module).eval()(x, return_gate=True)[1] != 0).sum(dim=0)

    assert load().max() > 300
    for _ in range(200):
        module(x)
    assert load().max() < 160 and load().min() > 96


def test_balance():
    weights = torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)
    # Loads of 1.5 and .5: a mean of 1 and a variance of .25.
    assert nn.MixtureOfExperts.balance(weights).item() == pytest.approx(0.25)
    assert nn.MixtureOfExperts.balance(torch.full((3, 4), 0.25)).item() == pytest.approx(0)


def test_what_is_not_chosen_is_not_read():
    class Broken(tnn.Module):
        def forward(self, x):
            return torch.full_like(x, torch.nan)

    module = nn.MixtureOfExperts([tnn.Identity(), Broken()], D, top_k=1)
    module.logits.bias.data.copy_(torch.tensor([100.0, -100.0]))
    x = torch.randn(N, D)
    torch.testing.assert_close(module(x), x)
