"""gate: values and gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gates
import testers
from caffe2op_mask import gate


def oracle(x, z, kind, return_gate, threshold=None, **options):
    g = gates.value(z, kind, threshold, **options)
    return (g * x, g) if return_gate else g * x


@st.composite
def cases(draw):
    shape = draw(testers.shapes())
    dtype = draw(st.sampled_from(testers.REALS))
    of_z = draw(testers.broadcast(shape))
    learned = {"x": draw(testers.reals(shape, dtype)), "z": draw(testers.reals(of_z, dtype))}
    kind = draw(st.sampled_from(gates.KINDS))
    options = {"kind": kind, "return_gate": draw(st.booleans())}
    if kind == "relu" and draw(st.booleans()):
        learned["threshold"] = draw(testers.reals(draw(testers.broadcast(of_z)), dtype))
    if kind == "hard":
        options["clip"] = draw(st.sampled_from([0.0, 1.0]))
    if kind in ("softmax", "gumbel_softmax"):
        options["tau"] = draw(st.sampled_from([1.0, 0.5, 2.0]))
        options["hard"] = draw(st.booleans())
    if kind == "hard_concrete":
        options.update(beta=0.5, gamma=-0.25, zeta=1.25)
    if kind in ("hard_concrete", "gumbel_softmax") and draw(st.booleans()):
        options["noise"] = testers.noise_of(draw(testers.seeds()))
    return learned, options


@given(cases(), st.sampled_from([None, [0], [1]]))
def test_values_and_gradients(case, choose):
    learned, options = case
    if not options["return_gate"]:
        choose = None
    testers.check(
        lambda **tensors: gate(**tensors, training=False, **options),
        lambda **tensors: oracle(**tensors, **options),
        learned,
        choose,
        units=32 if learned["x"].leaf.element_size() == 2 else None,
    )


@pytest.mark.parametrize("kind", ["hard_concrete", "gumbel_softmax"])
def test_training_draws(kind):
    x, z = torch.ones(50), torch.zeros(50)
    torch.manual_seed(3)
    first, second = gate(x, z, kind), gate(x, z, kind)
    torch.manual_seed(3)
    assert torch.equal(gate(x, z, kind), first) and not torch.equal(first, second)
    still = gate(x, z, kind, training=False)
    assert torch.equal(gate(x, z, kind, training=False), still) and not torch.equal(still, first)
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(gate(x, z, kind, generator=generator), first)


@pytest.mark.parametrize("kind", ["relu", "hard", "hard_concrete"])
def test_what_is_closed_has_no_effect(kind):
    x = torch.tensor([float("nan"), float("inf"), 2.0])
    z = torch.tensor([-9.0, -9.0, 9.0])
    y = gate(x, z, kind, training=False)
    assert y[:2].tolist() == [0.0, 0.0] and y[2] > 0


@pytest.mark.parametrize("kind", ["sigmoid", "tanh", "softmax", "relu", "hard_concrete"])
def test_gradcheck(kind):
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    z = torch.randn(3, 1 if kind == "sigmoid" else 4, dtype=torch.float64, requires_grad=True)
    threshold = torch.randn(4, dtype=torch.float64, requires_grad=True) if kind == "relu" else None

    def function(x, z, threshold):
        return gate(x, z, kind, threshold=threshold, training=False, return_gate=True)

    assert torch.autograd.gradcheck(function, (x, z, threshold))


def test_gradcheck_with_noise():
    z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    for kind in ("hard_concrete", "gumbel_softmax"):
        assert torch.autograd.gradcheck(
            lambda x, z: gate(x, z, kind, noise=testers.noise_of(4), return_gate=True), (x, z)
        )
