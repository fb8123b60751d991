"""torch.autocast: masked_attention is cast as scaled_dot_product_attention, others to one type."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import caffe2op_mask as masks
import testers

NARROW = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("narrow", NARROW)
@pytest.mark.parametrize("given", testers.REALS)
def test_masked_attention(narrow, given):
    q, k, v = (torch.randn(2, 3, 5, 8, dtype=given, requires_grad=True) for _ in range(3))
    bias = torch.randn(5, 5, dtype=given)
    with torch.autocast("cpu", narrow):
        o = masks.masked_attention(q, k, v, bias=bias)
        theirs = scaled_dot_product_attention(q, k, v, attn_mask=bias)
    assert o.dtype == theirs.dtype == (given if given == torch.float64 else narrow)
    testers.assert_close(o, theirs.double(), "o", units=16 if o.element_size() == 2 else None)
    gradients = torch.autograd.grad(o.sum(), (q, k, v))
    assert all(one.dtype == given for one in gradients)
    for one, other in zip(gradients, torch.autograd.grad(theirs.sum(), (q, k, v))):
        testers.assert_close(one, other.double(), "gradient", dtype=o.dtype, units=64)


@pytest.mark.parametrize("narrow", NARROW)
def test_masked_attention_of_two_types(narrow):
    q, k = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4, dtype=narrow)
    sinks = torch.zeros(2)
    with torch.autocast("cpu", narrow):
        o, lse = masks.masked_attention(q, k, k, sinks=sinks, return_lse=True)
    assert o.dtype == narrow and lse.dtype == torch.float32


@pytest.mark.parametrize("narrow", NARROW)
@pytest.mark.parametrize(
    "function",
    [
        lambda one, other: masks.masked_softmax(one, bias=other),
        masks.gate,
        lambda one, other: masks.highway(one, other, one),
        masks.mixture_gate,
    ],
    ids=["masked_softmax", "gate", "highway", "mixture_gate"],
)
def test_two_types_become_the_wider_one(narrow, function):
    wide, small = torch.randn(3, 4), torch.randn(3, 4).to(narrow)
    for one, other in ((wide, small), (small, wide)):
        with pytest.raises(RuntimeError, match="must be of the type"):
            function(one, other)
        with torch.autocast("cpu", narrow):
            y = function(one, other)
        assert torch.equal(y, function(one.float(), other.float()))
    with torch.autocast("cpu", narrow):
        # What is of one type stays it.
        assert function(wide, wide).dtype == torch.float32
        assert function(small, small).dtype == narrow
        assert function(wide.double(), wide.double()).dtype == torch.float64
        learned = small.clone().requires_grad_()
        function(wide, learned).sum().backward()
    assert learned.grad.dtype == narrow


@pytest.mark.parametrize("narrow", NARROW)
def test_what_only_moves_keeps_its_type(narrow):
    x, mask = torch.randn(3, 4), torch.tensor([True, False, True])
    with torch.autocast("cpu", narrow):
        kept = masks.boolean_mask(x, mask)
        assert kept.dtype == torch.float32
        assert masks.boolean_unmask(mask, kept, fill_val=0.0).dtype == torch.float32
        assert masks.boolean_fill(x, mask).dtype == torch.float32
        assert masks.sequence_mask(x, "upper").dtype == torch.float32
        assert masks.bernoulli_mask(x)[1].dtype == torch.float32


def test_compiled():
    def function(x, z):
        with torch.autocast("cpu", torch.bfloat16):
            o = masks.masked_attention(x, x, x)
            return masks.gate(o, z)

    x, z = torch.randn(2, 3, 4), torch.randn(4)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, z), function(x, z))
    torch.compiler.reset()
