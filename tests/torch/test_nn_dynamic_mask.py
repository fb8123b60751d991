"""DynamicMask and its loss: what they keep, what they cost, and that they learn."""

import pytest
import torch

from caffe2op_mask import nn

B, L, D = 3, 6, 4
LENGTHS = torch.tensor([6, 4, 1])
REAL = torch.arange(L)[None] < LENGTHS[:, None]


def module_of(estimator, **options):
    torch.manual_seed(0)
    module = nn.DynamicMask(
        D, estimator=estimator, initial_logit=0.0, dtype=torch.float64, **options
    )
    module.logits.weight.data.normal_()
    return module


def x_of():
    return torch.randn(
        B, L, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).requires_grad_()


def padding(by):
    if by == "both":
        return {"lengths": torch.tensor([6, 5, 1]), "mask": torch.arange(L) < LENGTHS[:, None]}
    return {"lengths": {"lengths": LENGTHS}, "mask": {"mask": REAL}, "none": {}}[by]


@pytest.mark.parametrize("by", ["none", "lengths", "mask", "both"])
@pytest.mark.parametrize("estimator", ["straight_through", "reinforce"])
def test_evaluation_keeps_by_the_sign(estimator, by):
    module, x = module_of(estimator).eval(), x_of()
    real = REAL if by != "none" else torch.ones_like(REAL)
    masked = module(x, **padding(by))
    kept = (module.logits(x).squeeze(2) > 0) & real
    assert torch.equal(masked.mask, kept) and 0 < kept.sum() < real.sum()
    torch.testing.assert_close(masked.output, x * kept[..., None])
    assert torch.equal(masked.kept, kept.sum(dim=1).double())
    assert torch.equal(masked.rows, real.sum(dim=1).double())
    assert masked.log_prob is None


def test_straight_through_has_the_gradient_of_sigmoid():
    module, x = module_of("straight_through", clip=1.0), x_of()
    masked = module(x, lengths=LENGTHS)
    d_output = torch.randn_like(masked.output)
    loss = (masked.output * d_output).sum() + masked.kept.sum()
    (result,) = torch.autograd.grad(loss, module.logits.weight)
    z = module.logits(x).squeeze(2)
    soft = torch.where((z.abs() <= 1) & REAL, torch.sigmoid(z), 0)
    through = (soft * (x * d_output).detach().sum(dim=2)).sum() + soft.sum()
    (want,) = torch.autograd.grad(through, module.logits.weight)
    torch.testing.assert_close(result, want)


def test_hard_concrete():
    module, x = module_of("hard_concrete", beta=0.5), x_of()
    masked = module(x, lengths=LENGTHS)
    assert torch.equal(masked.mask, (masked.output != 0).any(dim=2))
    assert not (masked.mask & ~REAL).any()
    z = module.logits(x).squeeze(2)
    open_gates = torch.where(REAL, nn.open_probability(z, beta=0.5), 0).sum(dim=1)
    torch.testing.assert_close(masked.kept, open_gates)
    assert not torch.equal(module(x).output, module(x).output)
    module.eval()
    assert torch.equal(module(x).output, module(x).output)
    masked = module(x, lengths=LENGTHS)
    gate = (torch.sigmoid(z) * 1.2 - 0.1).clamp(0, 1) * REAL
    torch.testing.assert_close(masked.output, gate[..., None] * x)
    assert torch.equal(masked.kept, masked.mask.sum(dim=1).double())


def test_reinforce_draws():
    module, x = module_of("reinforce"), x_of()
    z = module.logits(x).squeeze(2)
    counts = torch.zeros(B, L)
    for seed in range(400):
        masked = module(x, lengths=LENGTHS, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(masked.output, torch.where(masked.mask[..., None], x, 0))
        counts += masked.mask
    torch.testing.assert_close(
        counts / 400, torch.where(REAL, torch.sigmoid(z), 0).float(), rtol=0, atol=0.1
    )
    log_prob = torch.where(masked.mask, torch.sigmoid(z), 1 - torch.sigmoid(z)).log()
    want = torch.where(REAL, log_prob, 0).sum(dim=1)
    torch.testing.assert_close(masked.log_prob, want)
    weight = module.logits.weight
    for a, b in zip(
        torch.autograd.grad(masked.log_prob.sum(), weight), torch.autograd.grad(want.sum(), weight)
    ):
        torch.testing.assert_close(a, b)


def test_context_and_hidden():
    torch.manual_seed(0)
    module = nn.DynamicMask(D, 5, 7, dtype=torch.float64)
    x, context = x_of(), torch.randn(B, L, 5, dtype=torch.float64)
    z = module.logits(torch.tanh(module.hidden(context)))
    assert torch.equal(module(x, context).mask, (z > 0).squeeze(2))
    assert list(module.state_dict()) == [
        "hidden.weight", "hidden.bias", "logits.weight", "logits.bias",
    ]


def test_the_loss_prices_rows():
    module, x = module_of("straight_through"), x_of()
    masked = module(x, lengths=LENGTHS)
    losses = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    result = nn.DynamicMaskLoss(0.5, 0.25)(masked, losses)
    want = (losses + 0.5 * masked.kept + 0.25 * (masked.rows - masked.kept)).mean()
    torch.testing.assert_close(result, want)


def test_the_score_and_its_baseline():
    module, x, loss = module_of("reinforce"), x_of(), nn.DynamicMaskLoss(0.5, baseline_decay=0.75)
    baseline, means = 0.0, []
    for step in range(3):
        masked = module(x, generator=torch.Generator().manual_seed(step))
        losses = masked.output.square().sum(dim=(1, 2))
        result = loss(masked, losses)
        cost = (losses + 0.5 * masked.kept).detach()
        torch.testing.assert_close(result, cost.mean())
        (d_weight,) = torch.autograd.grad(result, module.logits.weight, retain_graph=True)
        score = ((cost - baseline) * masked.log_prob).mean()
        (want,) = torch.autograd.grad(score, module.logits.weight)
        torch.testing.assert_close(d_weight, want, rtol=1e-5, atol=1e-6)
        means.append(cost.mean().item())
        weights = [0.75 ** (step - i) for i in range(step + 1)]
        baseline = sum(w * m for w, m in zip(weights, means)) / sum(weights)
    loss.reset_parameters()
    assert loss.baseline_total == 0 and loss.baseline_weight == 0
    total = nn.DynamicMaskLoss().state_dict()
    assert list(total) == ["baseline_total", "baseline_weight"]
    loss.eval()(masked, losses)
    assert loss.baseline_weight == 0


@pytest.mark.parametrize("estimator", ["straight_through", "hard_concrete", "reinforce"])
def test_learns_what_matters(estimator):
    """Rows that bear a mark carry the sum, and each that is kept has a price: others go."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    module = nn.DynamicMask(2, estimator=estimator, initial_logit=0.5)
    loss = nn.DynamicMaskLoss(kept_penalty=0.25)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)

    def batch():
        x = torch.randn(32, 5, 2, generator=generator)
        x[..., 0] = torch.sign(x[..., 0])
        return x, x[..., 0] > 0

    for _ in range(300):
        x, marked = batch()
        masked = module(x, generator=generator)
        gates = masked.output[..., 0] / x[..., 0]
        losses = (marked * (1 - gates).square()).sum(dim=1)
        optimizer.zero_grad()
        loss(masked, losses).backward()
        optimizer.step()
    x, marked = batch()
    agree = (module.eval()(x).mask == marked).float().mean()
    assert agree > 0.95
