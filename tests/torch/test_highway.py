"""highway: values and gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gates
import testers
from caffe2op_mask import highway


def oracle(h, x, z, kind, clip=None):
    g = gates.value(z, kind, clip=clip or 0.0)
    return g * h + (1 - g) * x


@st.composite
def cases(draw):
    shape = draw(testers.shapes())
    dtype = draw(st.sampled_from(testers.REALS))
    learned = {name: draw(testers.reals(shape, dtype)) for name in ("h", "x")}
    learned["z"] = draw(testers.reals(draw(testers.broadcast(shape)), dtype))
    kind = draw(st.sampled_from(["sigmoid", "softmax", "hard"]))
    clip = draw(st.sampled_from([None, 1.0])) if kind == "hard" else None
    return learned, {"kind": kind, "clip": clip}


@given(cases())
def test_values_and_gradients(case):
    learned, options = case
    testers.check(
        lambda **tensors: highway(**tensors, **options),
        lambda **tensors: oracle(**tensors, **options),
        learned,
        units=32 if learned["x"].leaf.element_size() == 2 else None,
    )


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_gradcheck(kind):
    h, x, z = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(lambda h, x, z: highway(h, x, z, kind), (h, x, z))
