"""masked_attention: values and gradients, beside an oracle and scaled_dot_product_attention."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

import scores
import testers
from caffe2op_mask import masked_attention


def oracle(
    q,
    k,
    v,
    bias=None,
    sinks=None,
    scale=None,
    softcap=0.0,
    empty_row="zero",
    return_lse=False,
    enable_gqa=False,
    **kept,
):
    has_heads = q.dim() == 4
    if has_heads and k.shape[1]:
        k, v = (one.repeat_interleave(q.shape[1] // k.shape[1], 1) for one in (k, v))
    logits = q @ k.transpose(-1, -2) * (max(q.shape[-1], 1) ** -0.5 if scale is None else scale)
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    if bias is not None:
        logits = logits + bias
    if sinks is not None:
        sinks = sinks.unsqueeze(-1).expand(logits.shape[:-1])
    p, _, lse = scores.softmax(logits, scores.kept(logits.shape, **kept), empty_row, sinks)
    o = p @ v
    if empty_row == "nan":
        # Where there are no keys, a product has nothing to be NaN by.
        some = p.shape[-1] > 0
        o = o if some else o + float("nan")
    return (o, lse) if return_lse else o


@st.composite
def cases(draw):
    has_heads = draw(st.booleans())
    dtype = draw(st.sampled_from(testers.REALS))
    batch, queries, depth, value_depth = [draw(testers.sizes()) for _ in range(4)]
    keys = draw(st.sampled_from([0, 1, 3, 7, 20]))
    kv_heads = draw(st.integers(0, 2)) if has_heads else 1
    heads = kv_heads * draw(st.integers(1, 3)) if has_heads else 1
    of_q, of_kv = ([heads], [kv_heads]) if has_heads else ([], [])
    learned = {
        "q": draw(testers.reals([batch, *of_q, queries, depth], dtype)),
        "k": draw(testers.reals([batch, *of_kv, keys, depth], dtype)),
        "v": draw(testers.reals([batch, *of_kv, keys, value_depth], dtype)),
    }
    shape = [batch, *of_q, queries, keys]
    if draw(st.booleans()):
        learned["bias"] = draw(testers.reals(draw(testers.broadcast(shape)), dtype))
    if draw(st.booleans()):
        learned["sinks"] = draw(testers.reals([heads], dtype))
    options = draw(scores.options(shape, attention=True))
    options["scale"] = draw(st.sampled_from([None, 0.5, -1.0]))
    options["softcap"] = draw(st.sampled_from([0.0, 2.0]))
    options["empty_row"] = draw(st.sampled_from(["zero", "uniform"]))
    options["return_lse"] = draw(st.booleans())
    options["enable_gqa"] = True
    return learned, options


@given(cases(), st.sampled_from([None, [0], [1]]))
def test_values_and_gradients(case, choose):
    learned, options = case
    if not options["return_lse"]:
        choose = None
    testers.check(
        lambda **tensors: masked_attention(**tensors, **options),
        lambda **tensors: oracle(**tensors, **options),
        learned,
        choose,
        # The gradient of 16-bit types reads an output that was rounded, times a sum over values.
        units=64 if learned["q"].leaf.element_size() == 2 else None,
    )


@pytest.mark.parametrize("dtype", testers.REALS)
@pytest.mark.parametrize("keys", [1, 130, 300])
def test_several_tiles(dtype, keys):
    """More queries and keys than one tile of scores has."""
    generator = torch.Generator().manual_seed(2)

    def real(*shape):
        return testers.Given(torch.randn(shape, generator=generator).to(dtype))

    learned = {"q": real(2, 2, 150, 16), "k": real(2, 1, keys, 16), "v": real(2, 1, keys, 8)}
    options = dict(
        lengths=torch.tensor([keys, keys // 2]),
        mask=torch.rand(150, keys, generator=generator) < 0.8,
        is_causal=True,
        window=100,
        align="bottom_right",
        enable_gqa=True,
        return_lse=True,
    )
    testers.check(
        lambda **tensors: masked_attention(**tensors, **options),
        lambda **tensors: oracle(**tensors, **options),
        learned,
        units=64 if dtype.itemsize == 2 else None,
    )


@pytest.mark.parametrize("dtype", testers.REALS)
@pytest.mark.parametrize(
    "ours, theirs",
    [
        ({}, {}),
        ({"is_causal": True}, {"is_causal": True}),
        ({"scale": 0.3}, {"scale": 0.3}),
        ({"enable_gqa": True}, {"enable_gqa": True}),
        ({"mask": "mask"}, {"attn_mask": "mask"}),
        ({"bias": "bias"}, {"attn_mask": "bias"}),
    ],
)
def test_is_scaled_dot_product_attention(dtype, ours, theirs):
    heads = 2 if "enable_gqa" in ours else 4
    q, k, v = (torch.randn(2, h, 9, 8, dtype=dtype, requires_grad=True) for h in (4, heads, heads))
    tensors = {"mask": torch.rand(2, 1, 9, 9) < 0.7, "bias": torch.randn(9, 9, dtype=dtype)}
    tensors["mask"][..., 0] = True
    expected = scaled_dot_product_attention(
        q.double(),
        k.double(),
        v.double(),
        **{
            name: (
                (tensors[one].double() if one == "bias" else tensors[one])
                if isinstance(one, str)
                else one
            )
            for name, one in theirs.items()
        },
    )
    actual = masked_attention(
        q,
        k,
        v,
        **{name: tensors[one] if isinstance(one, str) else one for name, one in ours.items()},
    )
    testers.assert_close(actual, expected, "o")
    weight = torch.randn_like(actual)
    units = 64 if dtype.itemsize == 2 else None
    for name, one, wide in zip(
        "qkv",
        torch.autograd.grad(actual, (q, k, v), weight),
        torch.autograd.grad(expected, (q, k, v), weight.double()),
    ):
        testers.assert_close(one, wide.double(), name, units=units)


@pytest.mark.parametrize("dtype", testers.REALS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_masked_has_no_effect(dtype, bad):
    q, k, v = (torch.randn(2, 3, 12, 8, dtype=dtype) for _ in range(3))
    bias = torch.randn(2, 1, 12, 12, dtype=dtype)
    lengths = torch.tensor([5, 0])
    masked = torch.arange(12) >= lengths[:, None]
    runs = []
    for value in (0.0, bad):
        tensors = [
            q.clone(),
            k.masked_fill(masked[:, None, :, None], value),
            v.masked_fill(masked[:, None, :, None], value),
            bias.masked_fill(masked[:, None, None, :], value),
        ]
        tensors = [one.requires_grad_() for one in tensors]
        o, lse = masked_attention(*tensors[:3], bias=tensors[3], lengths=lengths, return_lse=True)
        (o.sum() + lse[0].sum()).backward()
        runs.append([o.detach(), lse.detach()] + [one.grad for one in tensors])
    for clean, dirty in zip(*runs):
        assert torch.equal(clean, dirty)
    assert not runs[1][0][1].any()


def test_a_row_of_which_nothing_is_kept_can_be_nan():
    q = torch.randn(1, 1, 2, 4)
    lengths = torch.tensor([[[0, 2]]])
    o = masked_attention(q, q, q, lengths=lengths, empty_row="nan")
    assert o[0, 0, 0].isnan().all() and o[0, 0, 1].isfinite().all()


def test_gradcheck():
    q, k, v = (torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    bias = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    sinks = torch.randn(2, dtype=torch.float64, requires_grad=True)

    def function(q, k, v, bias, sinks):
        return masked_attention(
            q, k, v, bias=bias, sinks=sinks, is_causal=True, softcap=3.0, return_lse=True
        )

    assert torch.autograd.gradcheck(function, (q, k, v, bias, sinks))
