"""mixture_gate: values and gradients."""

import torch
from hypothesis import given
from hypothesis import strategies as st

import testers
from caffe2op_mask import mixture_gate


def oracle(e, z, bias=None, top_k=None, renormalize=False, return_gate=False):
    g = torch.softmax(z, -1)
    if top_k is not None:
        keys = z if bias is None else g + bias
        order = torch.sort(keys, dim=-1, descending=True, stable=True).indices
        chosen = torch.zeros_like(g).scatter(1, order[:, :top_k], 1.0)
        g = g * chosen
    if renormalize:
        g = g / g.sum(-1, keepdim=True)
    y = (g.reshape([*g.shape] + [1] * (e.dim() - 2)) * e).sum(1)
    return (y, g) if return_gate else y


@st.composite
def cases(draw):
    rows, experts = draw(testers.sizes()), draw(testers.sizes())
    dtype = draw(st.sampled_from(testers.REALS))
    learned = {
        "e": draw(testers.reals([rows, experts, *draw(testers.shapes(most=2))], dtype)),
        "z": draw(testers.reals([rows, experts], dtype)),
    }
    options = {"return_gate": draw(st.booleans()), "renormalize": draw(st.booleans())}
    if experts and draw(st.booleans()):
        options["top_k"] = draw(st.integers(1, experts))
        if draw(st.booleans()):
            wide = torch.float64 if dtype == torch.float64 else torch.float32
            given = draw(testers.reals([experts], wide, spread=0.3))
            options["bias"] = given.view(given.leaf)
    return learned, options


@given(cases(), st.sampled_from([None, [0], [1]]))
def test_values_and_gradients(case, choose):
    learned, options = case
    if not options["return_gate"]:
        choose = None
    testers.check(
        lambda **tensors: mixture_gate(**tensors, **options),
        lambda **tensors: oracle(**tensors, **options),
        learned,
        choose,
        units=32 if learned["e"].leaf.element_size() == 2 else None,
    )


def test_experts_that_are_not_chosen_are_not_read():
    e = torch.tensor([[[1.0], [float("nan")]]], requires_grad=True)
    z = torch.tensor([[1.0, 0.0]], requires_grad=True)
    mixture_gate(e, z, top_k=1, renormalize=True).sum().backward()
    assert e.grad.flatten().tolist() == [1.0, 0.0] and z.grad.isfinite().all()


def test_gradcheck():
    e = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    for options in ({}, {"top_k": 2}, {"top_k": 2, "renormalize": True}):
        assert torch.autograd.gradcheck(
            lambda e, z: mixture_gate(e, z, return_gate=True, **options), (e, z)
        )
