"""boolean_mask_lengths: counts."""

import torch
from hypothesis import given
from hypothesis import strategies as st

import testers
from caffe2op_mask import boolean_mask_lengths


@st.composite
def segments(draw):
    """Lengths in any layout, and a mask of an entry for each of their sum."""
    lengths = draw(testers.indices([draw(testers.sizes())], 0, 5))
    return lengths, draw(testers.bools([int(lengths.sum())]))


@given(segments())
def test_segments(case):
    lengths, mask = case
    counts = [int(part.sum()) for part in mask.split(lengths.tolist())] if len(lengths) else []
    actual = boolean_mask_lengths(lengths, mask)
    assert actual.dtype == lengths.dtype and actual.tolist() == counts


@given(st.data(), testers.shapes(least=2))
def test_rows(data, shape):
    mask = data.draw(testers.bools(shape))
    dtype = data.draw(st.sampled_from([torch.int32, torch.int64, torch.float32]))
    actual = boolean_mask_lengths(torch.zeros(shape[0], 2).to(dtype), mask)
    assert actual.dtype == (torch.int64 if dtype == torch.int64 else torch.int32)
    assert torch.equal(
        actual.long(),
        (
            mask.reshape(shape[0], -1).sum(1)
            if mask.numel()
            else torch.zeros(shape[0], dtype=torch.int64)
        ),
    )
