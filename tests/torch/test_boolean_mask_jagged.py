"""boolean_mask_jagged: values and gradients."""

import torch
from hypothesis import given
from hypothesis import strategies as st

import testers
from caffe2op_mask import boolean_mask_jagged, boolean_mask_lengths
from test_boolean_mask_lengths import segments


@given(st.data(), segments(), testers.shapes(most=2))
def test_values_and_gradients(data, case, row):
    lengths, mask = case
    dtype = data.draw(st.sampled_from(testers.REALS))
    values = data.draw(testers.reals([mask.numel(), *row], dtype))
    testers.check(
        lambda values: boolean_mask_jagged(values, lengths, mask),
        lambda values: (values[mask], boolean_mask_lengths(lengths, mask)),
        {"values": values},
        units=0,
    )


def test_gradcheck():
    values = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([True, False, True, True, False])
    assert torch.autograd.gradcheck(
        lambda values: boolean_mask_jagged(values, torch.tensor([2, 3]), mask)[0], (values,)
    )
