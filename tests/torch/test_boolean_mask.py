"""boolean_mask and boolean_fill: values and gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import testers
from caffe2op_mask import boolean_fill, boolean_mask

OTHERS = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


@st.composite
def masked(draw, dtypes):
    shape = draw(testers.shapes(least=1))
    rank = draw(st.integers(1, len(shape)))
    mask = draw(testers.bools(shape[:rank]))
    return draw(testers.reals(shape, draw(st.sampled_from(dtypes)))), mask


@given(masked(testers.REALS))
def test_values_and_gradients(case):
    data, mask = case
    testers.check(
        lambda data: boolean_mask(data, mask), lambda data: data[mask], {"data": data}, units=0
    )
    rows = mask.reshape([*mask.shape] + [1] * (data.learned()[1].dim() - mask.dim()))
    testers.check(
        lambda data: boolean_fill(data, mask, 2.0),
        lambda data: torch.where(rows, data, 2.0),
        {"data": data},
        units=0,
    )


@given(masked(OTHERS + [torch.complex64, torch.float8_e4m3fn, torch.uint16, torch.uint64]))
def test_every_type(case):
    data, mask = case
    data = data.view(data.leaf)
    kept, where = boolean_mask(data, mask, return_indices=True)
    flat = mask.reshape(-1).nonzero().reshape(-1)
    assert torch.equal(where, flat)
    rows = data.contiguous().view(torch.uint8) if data.numel() else data
    expected = data.reshape([mask.numel(), *data.shape[mask.dim() :]])[flat]
    assert kept.dtype == data.dtype and kept.shape == expected.shape
    if rows.numel():
        assert torch.equal(
            kept.contiguous().view(torch.uint8), expected.contiguous().view(torch.uint8)
        )
    if data.dtype in OTHERS:
        wide = mask.reshape([*mask.shape] + [1] * (data.dim() - mask.dim()))
        filled = boolean_fill(data, mask, 1)
        assert torch.equal(filled, torch.where(wide, data, torch.ones((), dtype=data.dtype)))


@pytest.mark.parametrize("size", [4095, 4096, 4097, 100000])
def test_several_chunks(size):
    data = torch.randn(size, 3, requires_grad=True)
    mask = torch.rand(size) < 0.4
    testers.check(
        lambda data: boolean_mask(data, mask),
        lambda data: data[mask],
        {"data": testers.Given(data.detach())},
        units=0,
    )


def test_what_is_masked_has_no_effect():
    data = torch.tensor([float("nan"), 1.0, float("inf")], requires_grad=True)
    mask = torch.tensor([False, True, False])
    filled = boolean_fill(data, mask)
    assert filled.tolist() == [0.0, 1.0, 0.0]
    filled.backward(torch.full((3,), float("nan")))
    assert data.grad[0] == 0 and data.grad[1].isnan() and data.grad[2] == 0


def test_lazy_tensors():
    """Those that torch conjugates, negates or fills with zeros only when they are read."""
    x = torch.randn(3, dtype=torch.complex64)
    mask = torch.tensor([True, False, True])
    assert torch.equal(boolean_mask(x.conj(), mask), x.conj()[mask])
    assert torch.equal(boolean_mask(x.conj().imag, mask), -x.imag[mask])
    zeros = torch._efficientzerotensor((3,))
    assert torch.equal(boolean_mask(zeros, mask), torch.zeros(2))


def test_gradcheck():
    data = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(3, 4) < 0.5
    assert torch.autograd.gradcheck(lambda data: boolean_mask(data, mask), (data,))
    assert torch.autograd.gradcheck(lambda data: boolean_fill(data, mask, 3.0), (data,))


def test_indices_have_no_gradient():
    data = torch.randn(3, requires_grad=True)
    _, where = boolean_mask(data, torch.tensor([True, False, True]), return_indices=True)
    assert where.tolist() == [0, 2] and not where.requires_grad
