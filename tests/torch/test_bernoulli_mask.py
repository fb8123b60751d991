"""bernoulli_mask: what is drawn, its probability and the gradient of that."""

import torch
from hypothesis import given
from hypothesis import strategies as st

import testers
from caffe2op_mask import bernoulli_mask
from oracles.gating import drawn


def oracle(z, mask):
    return mask, torch.nn.functional.logsigmoid(torch.where(mask, z, -z))


@given(st.data(), testers.shapes(), st.sampled_from(testers.REALS))
def test_values_and_gradients(data, shape, dtype):
    noise = testers.noise_of(data.draw(testers.seeds()))
    z = data.draw(testers.reals(shape, dtype))
    u = torch.as_tensor(drawn(noise.numpy(), tuple(shape)))
    wide = z.view(z.leaf.double())
    expected = u < torch.sigmoid(wide)
    mask, _ = bernoulli_mask(z.view(z.leaf), noise=noise)
    # But where the number drawn is the probability, to float32's precision.
    assert ((mask == expected) | ((u - torch.sigmoid(wide)).abs() < 1e-6)).all()
    testers.check(lambda z: bernoulli_mask(z, noise=noise), lambda z: oracle(z, mask), {"z": z})


def test_extremes():
    z = torch.tensor([200.0, -200.0], dtype=torch.float64, requires_grad=True)
    mask, log_prob = bernoulli_mask(z)
    assert mask.tolist() == [True, False] and not mask.requires_grad
    log_prob.sum().backward()
    assert log_prob.tolist() == [0.0, 0.0] or log_prob.abs().max() < 1e-80
    assert z.grad.abs().max() < 1e-80


def test_seeds():
    z = torch.zeros(100)
    torch.manual_seed(5)
    first, second = bernoulli_mask(z)[0], bernoulli_mask(z)[0]
    torch.manual_seed(5)
    assert torch.equal(bernoulli_mask(z)[0], first) and not torch.equal(first, second)
    assert 20 < first.sum() < 80


def test_gradcheck():
    z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    noise = testers.noise_of(1)
    mask = bernoulli_mask(z.detach(), noise=noise)[0]

    def log_prob(z):
        drawn_mask, log_prob = bernoulli_mask(z, noise=noise)
        assert torch.equal(mask, drawn_mask)
        return log_prob

    assert torch.autograd.gradcheck(log_prob, (z,))
