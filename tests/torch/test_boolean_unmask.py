"""boolean_unmask: values and gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import testers
from caffe2op_mask import boolean_mask, boolean_unmask


def oracle(masks, values, dense, fill_val):
    """The first mask that is True owns a position and takes its next value."""
    row = values[0].shape[masks[0].dim() if dense[0] else 1 :]
    entries = masks[0].numel()
    taken = torch.zeros(entries, dtype=torch.bool)
    data = torch.full([entries, *row], 0.0 if fill_val is None else fill_val, dtype=torch.float64)
    for mask, one, is_dense in zip(masks, values, dense):
        own = mask.reshape(-1) & ~taken
        rows = one.reshape([entries, *row])[own] if is_dense else one
        data = data.index_put((own.nonzero().reshape(-1),), rows)
        taken = taken | own
    return data.reshape([*masks[0].shape, *row])


@st.composite
def cases(draw):
    shape = draw(testers.shapes(least=1, most=3))
    row = draw(testers.shapes(most=2))
    dtype = draw(st.sampled_from(testers.REALS))
    masks = [draw(testers.bools(shape)) for _ in range(draw(st.integers(1, 3)))]
    fill_val = draw(st.sampled_from([None, 0.0, 1.5]))
    if fill_val is None:
        masks[-1] = torch.ones(shape, dtype=torch.bool)
    layout = draw(st.sampled_from(["compact", "dense"]))
    taken = torch.zeros(shape, dtype=torch.bool)
    values = {}
    for i, mask in enumerate(masks):
        own = mask & ~taken
        sizes = shape if layout == "dense" else [int(own.sum())]
        values["values_{}".format(i)] = draw(testers.reals([*sizes, *row], dtype))
        taken |= own
    return masks, values, layout, fill_val


@given(cases())
def test_values_and_gradients(case):
    masks, values, layout, fill_val = case
    testers.check(
        lambda **values: boolean_unmask(
            masks, list(values.values()), layout=layout, fill_val=fill_val
        ),
        lambda **values: oracle(
            masks, list(values.values()), [layout == "dense"] * len(masks), fill_val
        ),
        values,
        units=0,
    )


def test_undoes_boolean_mask():
    data = torch.randn(4, 5, 2)
    mask = torch.rand(4, 5) < 0.5
    parts = [boolean_mask(data, mask), boolean_mask(data, ~mask)]
    assert torch.equal(boolean_unmask([mask, ~mask], parts), data)


def test_auto_is_dense_where_the_shape_begins_with_the_masks():
    mask = torch.tensor([True, False, True])
    dense = boolean_unmask(mask, torch.tensor([1.0, 2.0, 3.0]), fill_val=0)
    assert dense.tolist() == [1.0, 0.0, 3.0]
    compact = boolean_unmask(mask, torch.tensor([1.0, 2.0]), fill_val=0)
    assert compact.tolist() == [1.0, 0.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.complex64])
def test_other_types(dtype):
    mask = torch.tensor([True, False, True, True])
    values = torch.tensor([1, 0, 1]).to(dtype)
    if dtype == torch.complex64:
        mask, values = torch.ones(3, dtype=torch.bool), values
        assert torch.equal(boolean_unmask(mask, values), values)
        return
    assert boolean_unmask(mask, values, fill_val=1).tolist() == [1, 1, 0, 1]


def test_only_one_of_the_values_learns():
    mask = torch.tensor([True, False])
    first, second = torch.randn(1, requires_grad=True), torch.randn(1)
    data = boolean_unmask([mask, ~mask], [first, second])
    data.sum().backward()
    assert first.grad.tolist() == [1.0] and second.grad is None


def test_gradcheck():
    masks = [torch.tensor([[True, False], [False, True]]), torch.tensor([[True, True]] * 2)]
    values = [
        torch.randn(2, 3, dtype=torch.float64, requires_grad=True),
        torch.randn(2, 3, dtype=torch.float64, requires_grad=True),
    ]
    assert torch.autograd.gradcheck(
        lambda *values: boolean_unmask(masks, values, layout="compact"), values
    )
