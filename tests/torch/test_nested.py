"""Nested tensors of layout torch.jagged, beside what torch computes and each sequence alone."""

import warnings

import pytest
import torch
import torch.nn.functional as F

import caffe2op_mask as m

warnings.filterwarnings("ignore", "The PyTorch API of nested tensors")

Q_LENGTHS = (3, 0, 7, 1)
K_LENGTHS = (5, 2, 7, 1)


def rows(lengths, *shape, dtype=torch.float64):
    return torch.randn(sum(lengths), *shape, dtype=dtype, requires_grad=True)


def offsets(lengths):
    return torch.tensor((0,) + tuple(lengths)).cumsum(0)


def jagged(values, lengths):
    return torch.nested.nested_tensor_from_jagged(values, offsets(lengths))


def heads(values, lengths):
    """[B, H, j, D], as SDPA takes it."""
    return jagged(values, lengths).transpose(1, 2)


def each(values, lengths):
    """Sequences of [T, H, D], each [1, H, L, D]."""
    return [one.transpose(0, 1)[None] for one in values.split(list(lengths))]


def alone(q, k, v, **options):
    """Attention of each sequence by itself, [T, H, Dv]."""
    parts = zip(each(q, Q_LENGTHS), each(k, K_LENGTHS), each(v, K_LENGTHS))
    return torch.cat([m.masked_attention(*part, **options)[0].transpose(0, 1) for part in parts])


def test_attention_is_that_of_torch():
    lengths = (3, 7, 1)
    q, k, v = (rows(lengths, 2, 8) for _ in range(3))
    at = offsets(lengths)
    nested = [torch.nested.nested_tensor_from_jagged(one, at).transpose(1, 2) for one in (q, k, v)]
    ours = m.masked_attention(*nested)
    theirs = F.scaled_dot_product_attention(*nested)
    assert ours.layout == torch.jagged and ours.shape == theirs.shape  # of the same ragged size
    torch.testing.assert_close(ours.values(), theirs.values())
    gradient = torch.randn_like(ours.values())
    for one, other in zip(
        torch.autograd.grad(ours.values(), [q, k, v], gradient),
        torch.autograd.grad(theirs.values(), [q, k, v], gradient),
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"is_causal": True, "align": "bottom_right", "window": 2},
        {"mode": "lower", "diagonal": 1, "scale": 0.3, "softcap": 2.0, "empty_row": "uniform"},
        {"enable_gqa": True, "window": (1, 0)},
    ],
    ids=str,
)
def test_attention_of_each_sequence_alone(options):
    kv_heads = 2 if "enable_gqa" in options else 4
    q, k, v = rows(Q_LENGTHS, 4, 8), rows(K_LENGTHS, kv_heads, 8), rows(K_LENGTHS, kv_heads, 6)
    sinks = torch.randn(4, dtype=torch.float64, requires_grad=True)
    nested = heads(q, Q_LENGTHS), heads(k, K_LENGTHS), heads(v, K_LENGTHS)
    o, lse = m.masked_attention(*nested, sinks=sinks, return_lse=True, **options)
    expected = alone(q, k, v, sinks=sinks, **options)
    torch.testing.assert_close(o.transpose(1, 2).values(), expected)
    assert [tuple(one.shape) for one in o.unbind()] == [(4, n, 6) for n in Q_LENGTHS]
    assert [tuple(one.shape) for one in lse.unbind()] == [(4, n) for n in Q_LENGTHS]
    assert torch.equal(m.masked_attention(*nested, sinks=sinks, **options).values(), o.values())
    leaves = [q, k, v, sinks]
    gradient = torch.randn_like(expected)
    ours = torch.autograd.grad(o.transpose(1, 2).values(), leaves, gradient)
    for one, other in zip(ours, torch.autograd.grad(expected, leaves, gradient)):
        torch.testing.assert_close(one, other)


def test_attention_without_heads():
    q, k, v = rows(Q_LENGTHS, 8), rows(K_LENGTHS, 8), rows(K_LENGTHS, 6)
    nested = jagged(q, Q_LENGTHS), jagged(k, K_LENGTHS), jagged(v, K_LENGTHS)
    o, lse = m.masked_attention(*nested, return_lse=True)
    expected = alone(*(one[:, None] for one in (q, k, v)))[:, 0]
    torch.testing.assert_close(o.values(), expected)
    assert [tuple(one.shape) for one in lse.unbind()] == [(n,) for n in Q_LENGTHS]


def test_boolean_mask_is_that_of_each_sequence():
    x = rows(K_LENGTHS, 3)
    keep = torch.rand(sum(K_LENGTHS)) < 0.5
    kept = m.boolean_mask(jagged(x, K_LENGTHS), jagged(keep, K_LENGTHS))
    parts = zip(x.split(list(K_LENGTHS)), keep.split(list(K_LENGTHS)))
    expected = [one[of_one] for one, of_one in parts]
    assert len(expected) == kept.shape[0]
    for one, other in zip(kept.unbind(), expected):
        assert torch.equal(one, other)
    (gradient,) = torch.autograd.grad(kept.values().sum(), [x])
    assert torch.equal(gradient, keep[:, None].expand(-1, 3).to(x.dtype))


def _nested(*shape, lengths=K_LENGTHS):
    return heads(rows(lengths, *shape), lengths)


STRIDED = torch.nested.as_nested_tensor([torch.zeros(2, 3, 4), torch.zeros(2, 5, 4)])
GAPS = torch.nested.nested_tensor_from_jagged(
    torch.zeros(6, 2, 8), torch.tensor([0, 3, 6]), lengths=torch.tensor([2, 3])
)
DENSE = torch.zeros(4, 2, 5, 8, dtype=torch.float64)
KEEP = torch.ones(15, dtype=torch.bool)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (
            lambda x: m.masked_attention(x, DENSE, DENSE),
            "masked_attention: k must be a nested tensor, as others of its inputs are, but is not.",
        ),
        (
            lambda x: m.masked_attention(DENSE, x, x),
            "masked_attention: q must be a nested tensor, as others of its inputs are, but is not.",
        ),
        (
            lambda x: m.masked_attention(STRIDED, STRIDED, STRIDED),
            "masked_attention: q must be a nested tensor of layout torch.jagged, but is of "
            "torch.strided.",
        ),
        (
            lambda x: m.masked_attention(GAPS.transpose(1, 2), x, x),
            "masked_attention: q must have no gaps between its sequences, but has; contiguous() "
            "closes them.",
        ),
        (
            lambda x: m.masked_attention(x, x, x, lengths=torch.tensor([1, 1, 1, 1])),
            "masked_attention: lengths must not be given with nested tensors, but is.",
        ),
        (
            lambda x: m.masked_attention(x, x, x, mask=KEEP),
            "masked_attention: mask must not be given with nested tensors, but is.",
        ),
        (
            lambda x: m.masked_attention(x, x, _nested(2, 8, lengths=(4, 3, 7, 1))),
            "masked_attention: v must have as many rows in each sequence as k, but has not.",
        ),
        (
            lambda x: m.masked_attention(x, *[_nested(2, 8, lengths=(8, 7))] * 2),
            "masked_attention: k must have as many sequences as q, 4, but has 2.",
        ),
        (
            lambda x: m.masked_attention(x, *[_nested(4, 8)] * 2),
            "masked_attention: q and k must have the same number of heads unless "
            "enable_gqa=True, but have 2 and 4.",
        ),
        (
            lambda x: m.boolean_mask(x.transpose(1, 2), KEEP),
            "boolean_mask: mask must be a nested tensor, as others of its inputs are, but is not.",
        ),
        (
            lambda x: m.boolean_mask(x.transpose(1, 2), jagged(KEEP, (4, 3, 7, 1))),
            "boolean_mask: mask must have as many rows in each sequence as data, but has not.",
        ),
        (
            lambda x: m.boolean_mask(
                x.transpose(1, 2), jagged(KEEP, K_LENGTHS), return_indices=True
            ),
            "boolean_mask: return_indices must not be given with nested tensors, but is.",
        ),
        (lambda x: m.masked_softmax(x), "masked_softmax: x must not be a nested tensor, but is."),
        (
            lambda x: m.masked_softmax(DENSE, bias=x),
            "masked_softmax: bias must not be a nested tensor, but is.",
        ),
        (
            lambda x: m.boolean_fill(x, KEEP),
            "boolean_mask: data must not be a nested tensor, but is.",
        ),
        (lambda x: m.gate(x, x), "gate: x must not be a nested tensor, but is."),
    ],
)
@pytest.mark.parametrize("learns", [False, True])
def test_refusals(call, sentence, learns):
    with torch.set_grad_enabled(learns):
        with pytest.raises(ValueError) as raised:
            call(_nested(2, 8))
    assert str(raised.value) == sentence


def test_a_tensor_ragged_elsewhere():
    x = torch.nested.nested_tensor_from_jagged(torch.zeros(15, 2, 8), offsets(K_LENGTHS))
    with pytest.raises(ValueError) as raised:
        m.masked_attention(x, x, x)
    assert str(raised.value).startswith(
        "masked_attention: q must be ragged in its dim 2, but is of shape [4, j"
    )
