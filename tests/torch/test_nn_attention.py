"""MaskedAttention: what it was made with and what it is called with, beside attention by hand."""

import pytest
import torch

import caffe2op_mask
from caffe2op_mask import nn

B, H, HKV, LQ, LK, D = 2, 4, 2, 5, 7, 3


def tensors(heads=HKV, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    sizes = [(B, H, LQ, D), (B, heads, LK, D), (B, heads, LK, D + 1)]
    return [torch.randn(one, generator=generator, dtype=dtype).requires_grad_() for one in sizes]


def by_hand(q, k, v, kept, scale=D**-0.5, softcap=0.0, bias=None, sinks=None, empty_row="zero"):
    k, v = (one.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for one in (k, v))
    scores = scale * q @ k.transpose(-2, -1)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias
    scores = scores.masked_fill(~kept, -torch.inf)
    if sinks is not None:
        column = sinks.view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, column], dim=-1)
    weights = torch.softmax(scores, dim=-1)[..., : k.shape[2]]
    return torch.nan_to_num(weights) @ v


I, J = torch.arange(LQ)[:, None], torch.arange(LK)[None]
ALL = torch.ones(LQ, LK, dtype=torch.bool)
OPTIONS = {
    "none": ({}, ALL, {}),
    "causal": ({"is_causal": True}, J <= I, {}),
    "bottom right": (
        {"is_causal": True, "align": "bottom_right"}, J <= I + LK - LQ, {},
    ),
    "diagonal": ({"is_causal": True, "diagonal": 1}, J <= I + 1, {}),
    "window": ({"window": (1, 2)}, (J >= I - 1) & (J <= I + 2), {}),
    "mode": ({"mode": "lowerdiag"}, J > I, {}),
    "scale": ({"scale": 0.25}, ALL, {"scale": 0.25}),
    "softcap": ({"softcap": 0.5}, ALL, {"softcap": 0.5}),
}


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_options(name):
    options, kept, of_hand = OPTIONS[name]
    module = nn.MaskedAttention(enable_gqa=True, **options)
    check(module, tensors(), {}, kept, of_hand)


def check(module, given, inputs, kept, of_hand):
    result, want = module(*given, **inputs), by_hand(*given, kept, **of_hand)
    torch.testing.assert_close(result, want)
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)
    wanted = [one for one in list(given) + list(of_hand.values()) if isinstance(one, torch.Tensor)]
    for a, b in zip(
        torch.autograd.grad((result * weights).sum(), wanted),
        torch.autograd.grad((want * weights).sum(), wanted),
    ):
        torch.testing.assert_close(a, b)


def test_inputs():
    lengths, left_pad = torch.tensor([5, 6]), torch.tensor([1, 0])
    mask = torch.rand(B, 1, LQ, LK, generator=torch.Generator().manual_seed(2)) < 0.7
    bias = torch.randn(H, LQ, LK, dtype=torch.float64, requires_grad=True)
    kept = (J < lengths.view(B, 1, 1, 1)) & (J >= left_pad.view(B, 1, 1, 1)) & mask
    inputs = {"lengths": lengths, "left_pad": left_pad, "mask": mask, "bias": bias}
    check(nn.MaskedAttention(enable_gqa=True), tensors(), inputs, kept, {"bias": bias})
    centers = torch.tensor([2, 4])
    kept = abs(J - centers.view(B, 1, 1, 1)) <= 1
    module = nn.MaskedAttention(enable_gqa=True, radius=1)
    check(module, tensors(), {"centers": centers}, kept, {})


def test_sinks_learn():
    module = nn.MaskedAttention(sinks=H, is_causal=True, enable_gqa=True, dtype=torch.float64)
    assert torch.equal(module.sinks, torch.zeros(H, dtype=torch.float64))
    module.sinks.data.uniform_(-1, 1)
    check(module, tensors(), {}, J <= I, {"sinks": module.sinks})
    narrow = nn.MaskedAttention(sinks=H, enable_gqa=True)
    assert narrow(*tensors(dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_return_lse():
    q, k, v = tensors()
    _, lse = nn.MaskedAttention(enable_gqa=True)(q, k, v, return_lse=True)
    scores = D**-0.5 * q @ k.repeat_interleave(2, dim=1).transpose(-2, -1)
    torch.testing.assert_close(lse, scores.logsumexp(dim=-1))


def test_empty_row():
    mask = torch.zeros(1, dtype=torch.bool)
    q, k, v = tensors(H)
    assert (nn.MaskedAttention()(q, k, v, mask=mask) == 0).all()
    assert nn.MaskedAttention(empty_row="nan")(q, k, v, mask=mask).isnan().all()
    uniform = nn.MaskedAttention(empty_row="uniform")(q, k, v, mask=mask)
    torch.testing.assert_close(uniform, v.mean(dim=2, keepdim=True).expand_as(uniform))


def test_heads_that_differ():
    with pytest.raises(ValueError, match="unless enable_gqa=True, but have 4 and 2"):
        nn.MaskedAttention()(*tensors())


def test_is_the_function():
    q, k, v = tensors(H, torch.float32)
    function = caffe2op_mask.masked_attention(q, k, v, is_causal=True, softcap=2.0)
    assert torch.equal(nn.MaskedAttention(is_causal=True, softcap=2.0)(q, k, v), function)
