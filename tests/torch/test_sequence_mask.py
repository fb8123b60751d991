"""sequence_mask: values and gradients."""

import torch
from hypothesis import given
from hypothesis import strategies as st

import scores
import testers
from caffe2op_mask import sequence_mask

SHAPES = ["sequence", "window", "left_pad"] + sorted(scores.TRIANGLES)


def keeps(one, i, j, entries, radius, diagonal):
    if one == "sequence":
        return j < entries["lengths"]
    if one == "window":
        return (j - entries["centers"]).abs() <= radius
    if one == "left_pad":
        return j >= entries["left_pad"]
    return scores.TRIANGLES[one](i + diagonal, j)


def oracle(
    data,
    mode,
    axis,
    batch=None,
    repeat_from_axis=None,
    radius=10,
    diagonal=0,
    fill_val=None,
    lengths_of="rows",
    mask=None,
    **of_rows,
):
    """One row of entries before ``axis`` at a time."""
    shape = data.shape
    if mode == "mask":
        fill = 0.0 if fill_val is None else fill_val
        wide = mask.reshape([*mask.shape] + [1] * (data.dim() - mask.dim()))
        return torch.where(wide, data, fill)
    fill = float("-inf") if fill_val is None else fill_val
    repeat = data.dim() if repeat_from_axis is None else repeat_from_axis
    begin = 0 if batch is None else batch + 1
    sizes = [
        torch.Size(part).numel() for part in (shape[:axis], shape[axis:repeat], shape[repeat:])
    ]
    rows = torch.Size(shape[begin:axis]).numel()
    i = (torch.arange(sizes[0]) % max(rows, 1)).unsqueeze(-1)
    j = torch.arange(sizes[1])
    entries = {}
    for name, tensor in of_rows.items():
        if lengths_of == "rows":
            entries[name] = tensor.long().reshape(-1)[i]
        else:
            per = max(sizes[0] // max(tensor.numel(), 1), 1)
            entries[name] = tensor.long().reshape(-1)[torch.arange(sizes[0]) // per].unsqueeze(-1)
    keep = torch.ones(sizes[:2], dtype=torch.bool)
    for one in mode.split("+"):
        keep = keep & keeps(one, i, j, entries, radius, diagonal)
    flat = data.reshape(sizes)
    return torch.where(keep.unsqueeze(-1), flat, fill).reshape(shape)


@st.composite
def cases(draw, dtypes):
    shape = draw(testers.shapes(least=1))
    options = {"fill_val": draw(st.sampled_from([None, 0.0, 1.0]))}
    data = draw(testers.reals(shape, draw(st.sampled_from(dtypes))))
    if draw(st.integers(0, 4)) == 0:
        rank = draw(st.integers(0, len(shape)))
        sizes = [draw(st.sampled_from([one, 1])) for one in shape[:rank]]
        options.update(mode="mask", mask=draw(testers.bools(sizes)), axis=0)
        return data, options
    axis = draw(st.integers(0, len(shape) - 1))
    options["axis"] = axis
    parts = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3, unique=True))
    options["mode"] = "+".join(parts)
    options["diagonal"] = draw(st.integers(-2, 2)) if set(parts) & set(scores.TRIANGLES) else 0
    if "window" in parts:
        options["radius"] = draw(st.integers(0, 3))
    if axis > 0 and draw(st.booleans()):
        options["batch"] = draw(st.integers(0, axis - 1))
    if draw(st.booleans()):
        options["repeat_from_axis"] = draw(st.integers(axis, len(shape) - 1))
    begin = options.get("batch", -1) + 1
    of = [torch.Size(shape[begin:axis]).numel()]
    if draw(st.booleans()):
        options["lengths_of"] = "batch"
        of = shape[: draw(st.integers(0, axis))]
    for one, name in (("sequence", "lengths"), ("window", "centers"), ("left_pad", "left_pad")):
        if one in parts:
            options[name] = draw(testers.indices(of, -1, 6))
    return data, options


@given(cases(testers.REALS))
def test_values_and_gradients(case):
    data, options = case
    testers.check(
        lambda data: sequence_mask(data, **options),
        lambda data: oracle(data, **options),
        {"data": data},
        units=0,
    )


@given(cases([torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]))
def test_whole_numbers(case):
    data, options = case
    options["fill_val"] = 1.0
    tensor = data.view(data.leaf)
    expected = oracle(tensor.double(), **options).to(tensor.dtype)
    assert torch.equal(sequence_mask(tensor, **options), expected)


def test_negative_axes():
    data = torch.randn(2, 3, 4)
    assert torch.equal(
        sequence_mask(data, "upper", axis=-1, batch=-3),
        sequence_mask(data, "upper", axis=2, batch=0),
    )


def test_what_is_masked_has_no_effect():
    data = torch.tensor([[1.0, float("nan")], [float("inf"), 2.0]], requires_grad=True)
    masked = sequence_mask(data, lengths=torch.tensor([1, 0]), fill_val=0)
    assert masked.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    masked.backward(torch.full((2, 2), float("nan")))
    assert data.grad[0, 0].isnan() and data.grad.nan_to_num(0).count_nonzero() == 0


def test_gradcheck():
    data = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([1, 3, 4])
    assert torch.autograd.gradcheck(
        lambda data: sequence_mask(data, lengths=lengths, axis=2, batch=0, fill_val=1.0), (data,)
    )
