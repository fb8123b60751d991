"""What all modules have in common: state, compilation, autocast, representation, checks."""

import copy
import pickle

import pytest
import torch
from torch import nn as tnn

from caffe2op_mask import nn

DIM = 6


def experts(count=3):
    return [tnn.Linear(DIM, DIM) for _ in range(count)]


class AttendsToItself(tnn.Module):
    """Of one input, as the others are."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, x):
        if isinstance(self.attention, nn.MaskedAttention):
            heads = x.unflatten(-1, (2, DIM // 2)).transpose(1, 2)
            return self.attention(heads, heads, heads)
        return self.attention(x, x, x)[0]


MODULES = {
    "attention": lambda: AttendsToItself(nn.MaskedAttention(is_causal=True, sinks=2)),
    "multihead": lambda: AttendsToItself(nn.MultiheadAttention(DIM, 2, batch_first=True)),
    "multihead weights": lambda: AttendsToItself(
        nn.MultiheadAttention(DIM, 2, dropout=0.25, batch_first=True)
    ),
    "gate": lambda: nn.LearnableGate(DIM),
    "gate of relu": lambda: nn.LearnableGate(DIM, kind="relu"),
    "gate that draws": lambda: nn.LearnableGate(DIM, kind="hard_concrete", per_row=True),
    "feature gate": lambda: nn.FeatureGate(DIM, kind="hard_concrete", beta=0.5),
    "highway": lambda: nn.Highway(DIM, "tanh"),
    "mixture": lambda: nn.MixtureOfExperts(experts(), DIM, top_k=2, renormalize=True),
    "mixture with bias": lambda: nn.MixtureOfExperts(experts(), DIM, top_k=1, bias_rate=0.25),
    "straight through": lambda: nn.DynamicMask(DIM, hidden_features=5),
    "hard concrete": lambda: nn.DynamicMask(DIM, estimator="hard_concrete"),
    "reinforce": lambda: nn.DynamicMask(DIM, estimator="reinforce"),
    "random mask": lambda: nn.RandomMask(0.5, feature_dims=1),
    "spans": lambda: nn.RandomMask(0.5, unit="span", span_length=2),
    "spectrogram": lambda: nn.SpecAugment(0.3, 2, 0.3, 2),
}


def outputs(result):
    """Tensors of a result, in their order."""
    return [one for one in result if one is not None] if isinstance(result, tuple) else [result]


@pytest.fixture(params=sorted(MODULES))
def module(request):
    torch.manual_seed(1)
    return MODULES[request.param]()


@pytest.fixture
def x():
    return torch.randn(2, 5, DIM, generator=torch.Generator().manual_seed(2))


def test_state_goes_round(module, x):
    other = copy.deepcopy(module)
    for one in other.parameters():
        one.data.normal_()
    other.load_state_dict(module.state_dict())
    third = pickle.loads(pickle.dumps(module))
    module.eval(), other.eval(), third.eval()
    for a, b, c in zip(*(outputs(one(x)) for one in (module, other, third))):
        assert torch.equal(a, b) and torch.equal(a, c)


def test_reset_parameters_begins_anew(module):
    names = [name for name, one in module.named_modules() if hasattr(one, "reset_parameters")]
    first = {}
    for seed in (1, 1):
        for one in module.parameters():
            one.data.fill_(7)
        torch.manual_seed(seed)
        for name in names:
            module.get_submodule(name).reset_parameters()
        for name, one in module.named_parameters():
            assert not (one == 7).any()
            assert torch.equal(one, first.setdefault(name, one.detach().clone()))


@pytest.mark.parametrize("training", [False, True])
def test_compiled_whole(module, x, training):
    torch.compiler.reset()
    module.train(training)
    compiled = torch.compile(copy.deepcopy(module), fullgraph=True, backend="aot_eager")
    x_eager, x_compiled = (x.clone().requires_grad_() for _ in range(2))
    results = []
    for call, given in ((module, x_eager), (compiled, x_compiled)):
        torch.manual_seed(3)
        result = outputs(call(given))
        if result[0].requires_grad:
            sum(one.square().sum() for one in result if one.is_floating_point()).backward()
        results.append(result)
    for a, b in zip(*results):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(x_eager.grad, x_compiled.grad)
    for (name, a), b in zip(module.named_parameters(), compiled.parameters()):
        torch.testing.assert_close(a.grad, b.grad, msg=lambda text: name + ": " + text)
    for a, b in zip(module.buffers(), compiled.buffers()):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_types(module, x, dtype):
    module.to(dtype).eval()
    wide = copy.deepcopy(module).double()
    rtol = 0 if dtype == torch.float64 else torch.finfo(dtype).eps * 8
    # Where a gate is open or not can differ in 16 bits, so it is not compared there.
    result = outputs(module(x.to(dtype)))
    assert result[0].dtype == dtype
    if dtype == torch.float64:
        torch.testing.assert_close(result[0], outputs(wide(x.to(dtype)))[0])
    elif not isinstance(module, (nn.DynamicMask, nn.MixtureOfExperts)):
        reference = outputs(wide(x.to(dtype).double()))[0]
        torch.testing.assert_close(result[0].double(), reference, rtol=rtol, atol=rtol)


def test_autocast(module, x):
    module.eval()
    reference = outputs(module(x))[0]
    with torch.autocast("cpu", torch.bfloat16):
        result = outputs(module(x))[0]
    if not isinstance(module, (nn.DynamicMask, nn.MixtureOfExperts)):
        torch.testing.assert_close(result.float(), reference, rtol=0.05, atol=0.05)
    assert result.shape == reference.shape


def test_trains(module, x):
    """A step of each parameter: none is left out of the gradient."""
    module.train()
    result = module(x.requires_grad_())
    if isinstance(result, nn.Masked):
        loss = nn.DynamicMaskLoss(0.1)(result, result.output.square().sum(dim=(1, 2)))
    else:
        loss = (result * torch.randn_like(result)).sum()
    loss.backward()
    assert x.grad is not None
    for name, one in module.named_parameters():
        assert one.grad is not None and torch.isfinite(one.grad).all(), name


@pytest.mark.parametrize(
    "module, text",
    [
        (lambda: nn.MaskedAttention(window=3, sinks=2), "MaskedAttention(sinks=2, window=3)"),
        (lambda: nn.MaskedAttention(), "MaskedAttention()"),
        (
            lambda: nn.FeatureGate(4, kind="hard", clip=1.0),
            "FeatureGate(4, kind='hard', initial_logit=2.0, clip=1.0)",
        ),
        (
            lambda: nn.RandomMask(0.5, unit="span", span_length=3),
            "RandomMask(p=0.5, unit='span', span_length=3, feature_dims=0, fill_val=0.0)",
        ),
    ],
)
def test_repr(module, text):
    assert repr(module()) == text


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: nn.MaskedAttention(align="left"), ValueError, "align must be one of"),
        (lambda: nn.MaskedAttention(sinks=0), ValueError, "sinks must be positive, but is 0"),
        (lambda: nn.MultiheadAttention(6, 4), ValueError, "num_heads, but they are 6 and 4"),
        (lambda: nn.MultiheadAttention(6, 2, 1.5), ValueError, "dropout must be from 0 to 1"),
        (lambda: nn.MultiheadAttention(6, 2, kdim=0), ValueError, "kdim must be positive"),
        (lambda: nn.LearnableGate(2.5), TypeError, "in_features must be an integer, but is 2.5"),
        (lambda: nn.LearnableGate(2, kind="soft"), ValueError, "kind must be one of"),
        (lambda: nn.FeatureGate(0), ValueError, "FeatureGate: in_features must be positive"),
        (lambda: nn.Highway(2, "gelu"), ValueError, "activation must be one of elu, relu"),
        (lambda: nn.Highway(2, kind="relu"), ValueError, "Highway: kind must be one of"),
        (lambda: nn.MixtureOfExperts([], 2), ValueError, "at least 1 module, but are none"),
        (lambda: nn.MixtureOfExperts(experts(), 2, top_k=4), ValueError, "experts, 3, but is 4"),
        (lambda: nn.MixtureOfExperts(experts(), 2, bias_rate=-1), ValueError, "0, but is -1"),
        (lambda: nn.DynamicMask(2, estimator="rl"), ValueError, "estimator must be one of"),
        (
            lambda: nn.DynamicMask(2, estimator="reinforce", clip=1.0),
            ValueError,
            "no options of a gate, but clip was given",
        ),
        (lambda: nn.DynamicMaskLoss(baseline_decay=1), ValueError, "below 1, but is 1"),
        (lambda: nn.RandomMask(-0.5), ValueError, "p must be from 0 to 1, but is -0.5"),
        (lambda: nn.RandomMask(float("nan")), ValueError, "p must be from 0 to 1, but is nan"),
        (lambda: nn.RandomMask(unit="word"), ValueError, "unit must be one of element, row, span"),
        (lambda: nn.RandomMask(feature_dims=-1), ValueError, "feature_dims must be at least 0"),
        (lambda: nn.RandomMask(feature_dims=2)(torch.ones(2, 2)), ValueError, "more dims than"),
        (lambda: nn.SpecAugment(time_span=0), ValueError, "time_span must be positive"),
        (lambda: nn.SpecAugment()(torch.ones(2, 2)), ValueError, "three dims, but has 2"),
        (lambda: nn.FeatureGate(3).l0_penalty(), ValueError, "hard_concrete, but kind is sigmoid"),
    ],
)
def test_errors(make, error, words):
    with pytest.raises(error) as raised:
        make()
    text = str(raised.value)
    assert words in text and text.endswith(".") and "\n" not in text
