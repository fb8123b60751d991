"""varlen_attention: each sequence as by itself."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import caffe2op_mask as masks

OPTIONS = {
    "all": {},
    "causal": {"is_causal": True},
    "causal, top left": {"is_causal": True, "align": "top_left"},
    "window": {"window": (3, 1)},
    "softcap": {"softcap": 2.0, "scale": 0.3},
    "uniform": {"is_causal": True, "empty_row": "uniform"},
}


def offsets(lengths, dtype=torch.int64):
    return torch.tensor([0, *lengths]).cumsum(0).to(dtype)


def by_itself(q, k, v, q_lengths, k_lengths, used=None, **options):
    """The same by masked_attention, of a sequence at a time."""
    options.setdefault("align", "bottom_right")
    parts, sums = [], []
    used = k_lengths if used is None else used
    for one_q, one_k, one_v, n in zip(
        q.split(q_lengths), k.split(k_lengths), v.split(k_lengths), used
    ):
        o, lse = masks.masked_attention(
            *(one.transpose(0, 1)[None] for one in (one_q, one_k[:n], one_v[:n])),
            enable_gqa=True,
            return_lse=True,
            **options,
        )
        parts.append(o[0].transpose(0, 1))
        sums.append(lse[0])
    return torch.cat(parts), torch.cat(sums, 1)


def drawn(q_lengths, k_lengths, heads=4, kv_heads=2, dtype=torch.float32, depth=16):
    generator = torch.Generator().manual_seed(sum(q_lengths) + 7 * sum(k_lengths))
    shapes = [(sum(q_lengths), heads, depth)] + [(sum(k_lengths), kv_heads, depth)] * 2
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for shape in shapes
    ]


def assert_equal(results, expected):
    for result, one in zip(results, expected, strict=True):
        assert torch.equal(result.nan_to_num(), one.nan_to_num())


@given(
    lengths=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5),
    name=st.sampled_from(sorted(OPTIONS)),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    index=st.sampled_from([torch.int32, torch.int64]),
)
def test_a_sequence_has_the_bits_it_has_by_itself(lengths, name, dtype, index):
    q_lengths, k_lengths = map(list, zip(*lengths))
    q, k, v = drawn(q_lengths, k_lengths, dtype=dtype)
    results = masks.varlen_attention(
        q,
        k,
        v,
        offsets(q_lengths, index),
        offsets(k_lengths, index),
        enable_gqa=True,
        return_lse=True,
        **OPTIONS[name],
    )
    expected = by_itself(q, k, v, q_lengths, k_lengths, **OPTIONS[name])
    assert_equal(results, expected)
    gradient = torch.linspace(-1, 1, results[0].numel()).reshape(results[0].shape).to(dtype)
    leaves = (q, k, v)
    assert_equal(
        torch.autograd.grad(results[0], leaves, gradient),
        [
            torch.zeros_like(leaf) if one is None else one
            for leaf, one in zip(
                leaves, torch.autograd.grad(expected[0], leaves, gradient, allow_unused=True)
            )
        ],
    )


def test_keys_of_queries():
    q, k, v = drawn([5, 2], [5, 2], kv_heads=4)
    cu_seq = offsets([5, 2])
    assert torch.equal(
        masks.varlen_attention(q, k, v, cu_seq), masks.varlen_attention(q, k, v, cu_seq, cu_seq)
    )


def test_keys_that_are_not_there():
    q, k, v = drawn([1, 1, 1], [8, 8, 8])
    used = torch.tensor([3, 8, 0])
    with torch.no_grad():
        k[3:8] = float("nan")
        v[16:] = float("nan")
    results = masks.varlen_attention(
        q,
        k,
        v,
        offsets([1, 1, 1]),
        offsets([8, 8, 8]),
        seqused_k=used,
        is_causal=True,
        enable_gqa=True,
        return_lse=True,
    )
    expected = by_itself(q, k, v, [1, 1, 1], [8, 8, 8], used.tolist(), is_causal=True)
    assert_equal(results, expected)
    results[0].sum().backward()
    assert k.grad[3:8].abs().sum() == 0 and v.grad[16:].abs().sum() == 0


def test_views():
    """Parts of [T, 3, H, D], as a model's projection gives."""
    packed = torch.randn(9, 3, 4, 16, dtype=torch.float64, requires_grad=True)
    cu_seq = offsets([4, 0, 5])
    results = masks.varlen_attention(*packed.unbind(1), cu_seq)
    expected = masks.varlen_attention(*(one.contiguous() for one in packed.unbind(1)), cu_seq)
    assert torch.equal(results, expected)
    assert torch.equal(
        torch.autograd.grad(results.sum(), packed)[0],
        torch.autograd.grad(expected.sum(), packed)[0],
    )


def test_gradients_are_numerically_right():
    q, k, v = drawn([3, 2], [4, 2], heads=2, kv_heads=1, dtype=torch.float64, depth=4)
    sinks = torch.randn(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *leaves: masks.varlen_attention(
            *leaves[:3],
            offsets([3, 2]),
            offsets([4, 2]),
            sinks=leaves[3],
            is_causal=True,
            enable_gqa=True,
            return_lse=True,
        ),
        (q, k, v, sinks),
    )


def test_a_padded_batch_without_its_padding():
    """boolean_mask before, boolean_unmask behind: what masked_attention has of the padded batch."""
    x = torch.randn(3, 7, 4, 16)
    lengths = torch.tensor([7, 2, 4])
    keep = torch.arange(7) < lengths[:, None]
    rows = masks.boolean_mask(x, keep)
    packed = masks.varlen_attention(rows, rows, rows, offsets(lengths.tolist()))
    heads = x.transpose(1, 2)
    padded = masks.masked_attention(heads, heads, heads, lengths=lengths).transpose(1, 2)
    torch.testing.assert_close(
        masks.boolean_unmask(keep, packed, fill_val=0.0), masks.boolean_fill(padded, keep)
    )


@pytest.mark.parametrize(
    "change, error, sentence",
    [
        ({"cu_seq_q": torch.tensor([1, 5])}, RuntimeError, "cu_seq_q"),
        ({"cu_seq_q": torch.tensor([0, 9, 5])}, RuntimeError, "cu_seq_q"),
        ({"cu_seq_q": torch.tensor([0, 4])}, RuntimeError, "cu_seq_q"),
        ({"cu_seq_q": torch.tensor([0.0, 5.0])}, RuntimeError, "cu_seq_q"),
        ({"cu_seq_k": torch.tensor([0, 3, 5])}, RuntimeError, "cu_seq_k"),
        ({"seqused_k": torch.tensor([6])}, RuntimeError, "seqused_k"),
        ({"align": "left"}, RuntimeError, "align"),
        ({"enable_gqa": False}, ValueError, "enable_gqa"),
    ],
)
def test_refusals(change, error, sentence):
    q, k, v = drawn([5], [5])
    arguments = {"cu_seq_q": torch.tensor([0, 5]), "enable_gqa": True, **change}
    with pytest.raises(error, match=sentence) as raised:
        masks.varlen_attention(q, k, v, **arguments)
    assert str(raised.value).count("\n") == 0 and str(raised.value).endswith(".")
