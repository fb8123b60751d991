"""torch.compile, torch.export, fake tensors and sizes that vary: the same as without."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode

import caffe2op_mask as masks
import samples
import testers


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        yield
    torch.compiler.reset()


def assert_same(one, other):
    assert one.dtype == other.dtype and one.shape == other.shape
    assert torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))


@pytest.mark.parametrize("sample", samples.SAMPLES, ids=repr)
def test_compiled_is_as_eager(sample):
    compiled = torch.compile(sample.function, fullgraph=True, backend="aot_eager")
    expected, actual = sample.gradients(), sample.gradients(compiled)
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected):
        assert_same(one, other)


def layer(x, mask, lengths, z):
    """Functions among those of torch, of all that vary: sizes by content, drawn numbers."""
    rows = masks.boolean_mask(x * 2, mask)
    x = masks.boolean_unmask(mask, rows.sin(), layout="compact", fill_val=0.5)
    x = masks.masked_attention(x[None], x[None], x[None], lengths=lengths)[0]
    return masks.gate(x, z, "hard_concrete").relu() + masks.masked_softmax(x, is_causal=True)


def chain(x, mask, lengths, z):
    """Of functions of ours alone: for what is torch's Inductor calls a compiler, for a minute."""
    rows = masks.boolean_mask(x, mask)
    x = masks.boolean_unmask(mask, rows, layout="compact", fill_val=0.5)
    x = masks.masked_softmax(x, lengths=lengths, bias=z, is_causal=True)
    return masks.sequence_mask(x, "upper", fill_val=0.0)


@pytest.mark.parametrize("function, backend", [(layer, "aot_eager"), (chain, "inductor")])
def test_functions_in_a_row(function, backend):
    x, z = samples.real(7, 4), samples.real(7, 4)
    # A length for the batch of one, or for each row.
    lengths = [5] if function is layer else [5] * 7
    arguments = (samples.keep(7), torch.tensor(lengths))
    runs = []
    for function in (function, torch.compile(function, fullgraph=True, backend=backend)):
        torch.manual_seed(3)
        y = function(x, *arguments, z)
        runs.append([y, *torch.autograd.grad(y.square().sum(), (x, z))])
    for one, other in zip(*runs):
        testers.assert_close(one, other, "compiled")


@pytest.mark.parametrize("kind", ["hard_concrete", "gumbel_softmax"])
def test_compiled_draws_anew(kind):
    def function(x, z):
        return masks.gate(x, z, kind), masks.random_mask(x, 0.5), masks.bernoulli_mask(z)[0]

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    x, z = torch.ones(60), torch.zeros(60)
    torch.manual_seed(8)
    first, second = compiled(x, z), compiled(x, z)
    torch.manual_seed(8)
    for one, other, again, eager in zip(first, second, compiled(x, z), function(x, z)):
        assert torch.equal(one, again) and not torch.equal(one, other)
        assert torch.equal(other, eager)


def test_sizes_that_vary_compile_once():
    counter = CompileCounterWithBackend("aot_eager")

    def function(q, x, mask):
        o, lse = masks.masked_attention(q, q, q, is_causal=True, return_lse=True)
        rows = masks.boolean_mask(x, mask)
        return o, lse, rows, masks.masked_softmax(x, window=2), masks.sequence_mask(x, "upper")

    compiled = torch.compile(function, fullgraph=True, backend=counter)
    for length in (5, 9, 17, 2):
        q, x = samples.real(2, 3, length, 8), samples.real(length, length)
        mask = samples.keep(length)
        for tensor, dims in ((q, [2]), (x, [0, 1]), (mask, [0])):
            for dim in dims:
                torch._dynamo.mark_dynamic(tensor, dim)
        outputs, expected = compiled(q, x, mask), function(q, x, mask)
        for one, other in zip(outputs, expected):
            assert_same(one, other)
        sums = [
            torch.autograd.grad(sum(one.nan_to_num(neginf=0).sum() for one in run), (q, x))
            for run in (outputs, expected)
        ]
        for one, other in zip(*sums):
            assert_same(one, other)
    assert counter.frame_count == 1


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.project = torch.nn.Linear(8, 8)
        self.z = torch.nn.Parameter(torch.zeros(8))

    def forward(self, x, lengths, mask):
        q = self.project(x).unflatten(-1, (2, 4)).transpose(1, 2)
        o = masks.masked_attention(q, q, q, lengths=lengths).transpose(1, 2).flatten(2)
        return masks.boolean_mask(masks.gate(o, self.z), mask)


def test_export():
    module = Module()
    x, lengths, mask = torch.randn(2, 5, 8), torch.tensor([3, 5]), samples.keep(2, 5)
    length = torch.export.Dim("length", min=2)
    program = torch.export.export(
        module,
        (x, lengths, mask),
        dynamic_shapes={"x": {1: length}, "lengths": None, "mask": {1: length}},
    )
    targets = {str(node.target) for node in program.graph.nodes}
    assert "caffe2op_mask.masked_attention.default" in targets
    for size in (5, 11):
        given = (torch.randn(2, size, 8), lengths, samples.keep(2, size))
        assert torch.equal(program.module()(*given), module(*given))


@pytest.mark.parametrize("sample", samples.SAMPLES, ids=repr)
def test_fake_tensors_have_the_sizes_of_real_ones(sample):
    """Of the operators as functions call them, forward and backward."""
    from test_registration import OPERATORS, calls_of

    for name, arguments, keywords in calls_of(sample):
        operator = getattr(OPERATORS, name).default
        if name.lstrip("_") in ("boolean_mask", "boolean_mask_jagged"):
            continue  # sizes by content: opcheck compares those
        real = torch.utils._pytree.tree_leaves(operator(*arguments, **keywords))
        mode = FakeTensorMode()
        fakes = torch.utils._pytree.tree_map_only(torch.Tensor, mode.from_tensor, arguments)
        with mode:
            fake = torch.utils._pytree.tree_leaves(operator(*fakes, **keywords))
        for one, other in zip(real, fake):
            assert (one.shape, one.dtype, one.stride()) == (
                other.shape,
                other.dtype,
                other.stride(),
            )
