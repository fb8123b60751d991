"""Operators as ``torch.library`` has them: schemas, fake kernels and gradients."""

import collections

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import samples

OPERATORS = torch.ops.caffe2op_mask

# What is checked of operators that learn. The last check adds sums of outputs up, in the type of
# the first, which for a drawn mask is no real.
CHECKS = collections.defaultdict(
    lambda: (
        "test_schema",
        "test_autograd_registration",
        "test_faketensor",
        "test_aot_dispatch_dynamic",
    )
)
CHECKS["bernoulli_mask"] = ("test_schema", "test_autograd_registration", "test_faketensor")


class Recorder(TorchDispatchMode):
    """Calls of operators of ours, with what they were called with."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
        if operator.namespace == "caffe2op_mask":
            self.calls.append((operator.name().partition("::")[2], arguments, keywords or {}))
        return operator(*arguments, **(keywords or {}))


def calls_of(sample):
    """Operators that a function and its gradient call, by name, with their arguments."""
    with Recorder() as recorder:
        sample.gradients()
    return recorder.calls


def test_samples_call_every_operator():
    called = {name.lstrip("_") for sample in samples.SAMPLES for name, _, _ in calls_of(sample)}
    names = torch._C._dispatch_get_all_op_names()
    ours = {one.partition("::")[2] for one in names if one.startswith("caffe2op_mask::")}
    assert called == {one for one in ours if not one.startswith("_")}
    assert {one for one in ours if one.startswith("_")} == {"_" + one for one in called}


def _learns(arguments):
    """The same arguments, of which tensors of reals learn."""

    def one_of(one):
        if isinstance(one, (list, tuple)):
            return [one_of(each) for each in one]
        if isinstance(one, torch.Tensor) and one.is_floating_point():
            return one.detach().clone().requires_grad_()
        return one.detach().clone() if isinstance(one, torch.Tensor) else one

    return tuple(one_of(one) for one in arguments)


def _still(arguments):
    return torch.utils._pytree.tree_map_only(torch.Tensor, torch.Tensor.detach, arguments)


@pytest.mark.parametrize("sample", samples.SAMPLES, ids=repr)
def test_opcheck(sample):
    for name, arguments, keywords in calls_of(sample):
        # Lists of tensors that learn go to the full operator at once.
        name = name.lstrip("_")
        torch.library.opcheck(getattr(OPERATORS, "_" + name).default, _still(arguments), keywords)
        full = getattr(OPERATORS, name).default
        torch.library.opcheck(full, _still(arguments), keywords)
        if not name.endswith("_backward"):
            torch.library.opcheck(full, _learns(arguments), keywords, test_utils=CHECKS[name])


@pytest.mark.parametrize("sample", samples.SAMPLES, ids=repr)
def test_operators_have_the_gradients_of_the_functions(sample, monkeypatch):
    """Functions take a shorter way, past the autograd of the dispatcher."""
    short = sample.gradients()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    long = sample.gradients()
    assert len(short) == len(long)
    for one, other in zip(short, long):
        assert torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))
