"""masked_softmax: values and gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import scores
import testers
from caffe2op_mask import masked_softmax


def oracle(x, bias=None, scale=None, empty_row="zero", log=False, return_lse=False, **kept):
    logits = x * (1 if scale is None else scale)
    if bias is not None:
        logits = logits + bias
    p, log_p, lse = scores.softmax(logits, scores.kept(x.shape, **kept), empty_row)
    y = log_p if log else p
    return (y, lse) if return_lse else y


@st.composite
def cases(draw):
    shape = draw(testers.shapes(least=1))
    dtype = draw(st.sampled_from(testers.REALS))
    learned = {"x": draw(testers.reals(shape, dtype))}
    if draw(st.booleans()):
        learned["bias"] = draw(testers.reals(draw(testers.broadcast(shape)), dtype))
    options = draw(scores.options(shape))
    options["scale"] = draw(st.sampled_from([None, 0.5, -1.0, 0.0]))
    options["empty_row"] = draw(st.sampled_from(scores.EMPTY_ROWS))
    options["log"] = draw(st.booleans())
    options["return_lse"] = draw(st.booleans())
    return learned, options


@given(cases(), st.sampled_from([None, [0], [1]]))
def test_values_and_gradients(case, choose):
    learned, options = case
    if not options["return_lse"]:
        choose = None
    testers.check(
        lambda **tensors: masked_softmax(**tensors, **options),
        lambda **tensors: oracle(**tensors, **options),
        learned,
        choose,
    )


@pytest.mark.parametrize("dtype", testers.REALS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("log", [False, True])
def test_what_is_masked_has_no_effect(dtype, bad, log):
    x, bias = torch.randn(3, 4, 70, dtype=dtype), torch.randn(4, 70, dtype=dtype)
    mask = torch.rand(4, 70) < 0.6
    mask[1] = False
    runs = []
    for value in (0.0, bad):
        given = [one.masked_fill(~mask, value).requires_grad_() for one in (x, bias)]
        y, lse = masked_softmax(given[0], bias=given[1], mask=mask, log=log, return_lse=True)
        (y.nan_to_num(neginf=0).pow(2).sum() + lse[:, 0].sum()).backward()
        runs.append([y.detach(), lse.detach()] + [one.grad for one in given])
    for clean, dirty in zip(*runs):
        assert torch.equal(clean, dirty)


@pytest.mark.parametrize("dtype", testers.REALS)
@pytest.mark.parametrize("log", [False, True])
def test_is_softmax(dtype, log):
    x = torch.randn(5, 300, dtype=dtype) * 4
    expected = (torch.log_softmax if log else torch.softmax)(x.double(), -1)
    testers.assert_close(masked_softmax(x, log=log), expected, "y")


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("empty_row", scores.EMPTY_ROWS)
def test_gradcheck(log, empty_row):
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, 1, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([4, 2])

    def function(x, bias):
        y, lse = masked_softmax(
            x, bias=bias, lengths=lengths, log=log, empty_row=empty_row, return_lse=True
        )
        # Differences of -inf are none.
        return y[..., :2], lse

    assert torch.autograd.gradcheck(function, (x, bias))
