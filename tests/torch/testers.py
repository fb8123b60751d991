"""What tests of functions share: inputs of any layout, and a comparison with an oracle.

An oracle is plain PyTorch in float64; its gradients are those of autograd.
"""

import os

import torch
from hypothesis import strategies as st

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REALS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INDICES = [torch.int32, torch.int64]

# How large an error may be, in units of the type's precision, of the greatest value. 16-bit types
# are rounded once, and again where a gradient reads an output.
_UNITS = {torch.float16: 8, torch.bfloat16: 8, torch.float32: 128, torch.float64: 4096}


class Given:
    """An input: a leaf that may learn, and what a function is given of it."""

    def __init__(self, leaf, view=None):
        self.leaf = leaf
        self.view = view or (lambda tensor: tensor)

    def learned(self):
        leaf = self.leaf.detach().clone().requires_grad_()
        return leaf, self.view(leaf)

    def wide(self):
        leaf = self.leaf.detach().double().requires_grad_()
        return leaf, self.view(leaf)


def _transposed(shape):
    order = list(range(len(shape)))[::-1]
    return [shape[i] for i in order], lambda leaf: leaf.permute(order)


def _heads(shape):
    """[B, H, L, D] as a view of [B, L, H, D]."""
    swapped = list(shape)
    swapped[-3], swapped[-2] = swapped[-2], swapped[-3]
    return swapped, lambda leaf: leaf.transpose(-3, -2)


def _sliced(shape):
    return [*shape[:-1], 2 * shape[-1] + 1], lambda leaf: leaf[..., 1::2]


def _offset(shape):
    return [shape[0] + 2, *shape[1:]], lambda leaf: leaf[1:-1]


def _expanded(shape):
    return [1, *shape[1:]], lambda leaf: leaf.expand(shape)


def _plain(shape):
    return list(shape), lambda leaf: leaf.view_as(leaf)


def layouts(shape):
    if len(shape) == 0:
        return [_plain]
    return [_plain, _transposed, _sliced, _offset, _expanded] + [_heads] * (len(shape) >= 3)


def seeds():
    return st.integers(0, 2**31 - 1)


def sizes(most=6):
    """0 and 1 are among the first that are tried."""
    return st.integers(0, most)


def shapes(least=0, most=4, size=5):
    return st.lists(sizes(size), min_size=least, max_size=most)


@st.composite
def reals(draw, shape, dtype, spread=2.0):
    leaf_shape, view = draw(st.sampled_from(layouts(shape)))(list(shape))
    generator = torch.Generator().manual_seed(draw(seeds()))
    leaf = torch.randn(leaf_shape, generator=generator, dtype=torch.float64) * spread
    return Given(leaf.to(dtype), view)


@st.composite
def bools(draw, shape):
    leaf_shape, view = draw(st.sampled_from(layouts(shape)))(list(shape))
    generator = torch.Generator().manual_seed(draw(seeds()))
    share = draw(st.sampled_from([0.0, 0.3, 0.7, 1.0]))
    return view(torch.rand(leaf_shape, generator=generator) < share)


@st.composite
def indices(draw, shape, least, most):
    leaf_shape, view = draw(st.sampled_from(layouts(shape)))(list(shape))
    generator = torch.Generator().manual_seed(draw(seeds()))
    dtype = draw(st.sampled_from(INDICES))
    return view(torch.randint(least, most + 1, leaf_shape, generator=generator).to(dtype))


@st.composite
def broadcast(draw, shape):
    """A shape that broadcasts to ``shape``."""
    kept = [draw(st.sampled_from([size, 1])) for size in shape]
    return kept[draw(st.integers(0, len(kept))) :]


def noise_of(seed, run=3):
    return torch.tensor([seed, run])


def as_tuple(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


def assert_close(actual, expected, name, dtype=None, units=None):
    """Equal where they are not finite, and else near, as the type allows."""
    assert actual.shape == expected.shape, "{}: {} and {}".format(
        name, actual.shape, expected.shape
    )
    dtype = dtype or actual.dtype
    if not dtype.is_floating_point:
        assert torch.equal(actual, expected.to(actual.dtype)), name
        return
    wide, expected = actual.detach().double(), expected.detach().double()
    finite = expected.isfinite()
    most = max(1.0, expected[finite].abs().max().item()) if finite.any() else 1.0
    bound = (units or _UNITS[dtype]) * torch.finfo(dtype).eps * most
    same = torch.where(
        finite,
        (wide - expected).abs() <= bound,
        (wide == expected) | (wide.isnan() & expected.isnan()),
    )
    assert same.all(), "{}: {}\nexpected {}\ngot {}\nbound {}".format(
        name, (~same).nonzero()[:4].tolist(), expected[~same][:4], wide[~same][:4], bound
    )


def check(function, oracle, learned, choose=None, units=None):
    """Outputs of ``function`` and gradients to ``learned``, a dict of Given, beside the oracle's.

    function and oracle take the tensors of ``learned`` by name and return a tensor or several.
    choose: which outputs, by index, have a gradient of their own; all where it is absent.
    """
    plain = {name: given.learned()[1].detach() for name, given in learned.items()}
    without = as_tuple(function(**plain))

    pairs = {name: given.learned() for name, given in learned.items()}
    leaves = {name: leaf for name, (leaf, _) in pairs.items()}
    outputs = as_tuple(function(**{name: tensor for name, (_, tensor) in pairs.items()}))
    wide_pairs = {name: given.wide() for name, given in learned.items()}
    wide_leaves = {name: leaf for name, (leaf, _) in wide_pairs.items()}
    expected = as_tuple(oracle(**{name: tensor for name, (_, tensor) in wide_pairs.items()}))

    assert len(outputs) == len(expected)
    for i, (one, wide) in enumerate(zip(outputs, expected)):
        assert_close(one, wide, "output {}".format(i), units=units)
        # Training changes no value.
        assert torch.equal(one.detach().nan_to_num(7.0), without[i].nan_to_num(7.0))

    chosen = [
        i
        for i, one in enumerate(outputs)
        if one.dtype.is_floating_point and (choose is None or i in choose)
    ]
    generator = torch.Generator().manual_seed(5)
    weights = [
        torch.randn(outputs[i].shape, generator=generator, dtype=torch.float64).to(outputs[i].dtype)
        for i in chosen
    ]
    assert all(outputs[i].requires_grad for i in chosen)
    gradients = torch.autograd.grad(
        [outputs[i] for i in chosen], list(leaves.values()), weights, allow_unused=True
    )
    wide_gradients = torch.autograd.grad(
        [expected[i] for i in chosen if expected[i].requires_grad],
        list(wide_leaves.values()),
        [one.double() for i, one in zip(chosen, weights) if expected[i].requires_grad],
        allow_unused=True,
    )
    for name, leaf, one, wide in zip(leaves, leaves.values(), gradients, wide_gradients):
        one = torch.zeros_like(leaf) if one is None else one
        wide = torch.zeros(leaf.shape, dtype=torch.float64) if wide is None else wide
        assert one.dtype == leaf.dtype
        assert_close(one, wide, "gradient of " + name, units=units)


def sentence(error):
    """The one line of an exception of ours, without what torch adds."""
    return str(error.value).partition("\n")[0]
