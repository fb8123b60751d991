"""MultiheadAttention beside that of torch.nn: one state dict, equal results and gradients."""

import itertools

import pytest
import torch
from torch import nn as tnn

from caffe2op_mask import nn

B, L, S, E, H = 3, 5, 7, 8, 2


def pair(dtype=torch.float64, **options):
    """Theirs and ours with the same parameters, none of which is 0."""
    torch.manual_seed(0)
    theirs = tnn.MultiheadAttention(E, H, dtype=dtype, **options)
    for one in theirs.parameters():
        tnn.init.normal_(one, std=0.5)
    ours = nn.MultiheadAttention(E, H, dtype=dtype, **options)
    ours.load_state_dict(theirs.state_dict())
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    return theirs, ours


def inputs(batch_first=False, kdim=E, vdim=E, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)

    def one(length, dim):
        sizes = (B, length, dim) if batch_first else (length, B, dim)
        return torch.randn(sizes, generator=generator, dtype=dtype)

    return [one(L, E), one(S, kdim), one(S, vdim)]


def check(theirs, ours, tensors, their_options, our_options=None, same=False, tolerance=1e-12):
    """Results, weights and all gradients are equal."""
    results = []
    for module, options in ((theirs, their_options), (ours, our_options or their_options)):
        module.zero_grad()
        given = [one.clone().requires_grad_() for one in tensors]
        taken = given[:1] * 3 if same else given
        result, weights = module(*taken, **options)
        loss = (result * torch.linspace(-1, 1, result.numel()).to(result).view_as(result)).sum()
        if weights is not None:
            loss = loss + (weights * torch.linspace(-1, 1, weights.numel()).view_as(weights)).sum()
        loss.backward()
        gradients = [one.grad for one in taken] + [one.grad for one in module.parameters()]
        results.append([result, weights] + gradients)
    for a, b in zip(*results):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


PADDING = torch.arange(S)[None] >= torch.tensor([7, 3, 5])[:, None]
HOLES = torch.rand(L, S, generator=torch.Generator().manual_seed(4)) < 0.3
HOLES[:, 0] = False
MASKS = {
    "none": {},
    "padding": {"key_padding_mask": PADDING},
    "float padding": {"key_padding_mask": torch.where(PADDING, -3.0, 0.5).double()},
    "mask": {"attn_mask": HOLES},
    "bias": {"attn_mask": torch.linspace(-2, 2, L * S).double().view(L, S)},
    "bias of -inf": {"attn_mask": torch.zeros(L, S).double().masked_fill(HOLES, -torch.inf)},
    "mask of each head": {"attn_mask": HOLES.repeat(B * H, 1, 1)},
    "both": {"attn_mask": HOLES, "key_padding_mask": PADDING},
}


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("mask", sorted(MASKS))
@pytest.mark.parametrize("batch_first", [False, True])
def test_equals_theirs(mask, need_weights, batch_first):
    theirs, ours = pair(batch_first=batch_first)
    options = dict(MASKS[mask], need_weights=need_weights)
    check(theirs, ours, inputs(batch_first), options)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kdim, vdim", [(None, None), (3, None), (None, 4), (3, 4)])
def test_dims(kdim, vdim, bias):
    theirs, ours = pair(kdim=kdim, vdim=vdim, bias=bias, batch_first=True)
    tensors = inputs(True, kdim or E, vdim or E)
    check(theirs, ours, tensors, {"need_weights": False, "key_padding_mask": PADDING})


@pytest.mark.parametrize("batch_first", [False, True])
def test_to_itself(batch_first):
    theirs, ours = pair(batch_first=batch_first)
    check(theirs, ours, inputs(batch_first), {"need_weights": False}, same=True)


@pytest.mark.parametrize("need_weights", [False, True])
def test_causal(need_weights):
    theirs, ours = pair(batch_first=True)
    x = inputs(True)[:1]
    causal = tnn.Transformer.generate_square_subsequent_mask(L, dtype=torch.float64)
    theirs_options = {"attn_mask": causal, "is_causal": True, "need_weights": need_weights}
    alone = {"is_causal": True, "need_weights": need_weights}
    for options in (theirs_options, alone):
        check(theirs, ours, x, theirs_options, options, same=True)


def test_weights_of_each_head():
    theirs, ours = pair(batch_first=True)
    options = {"need_weights": True, "average_attn_weights": False, "attn_mask": HOLES}
    check(theirs, ours, inputs(True), options)
    assert ours(*inputs(True), **options)[1].shape == (B, H, L, S)


@pytest.mark.parametrize("need_weights", [False, True])
def test_without_a_batch(need_weights):
    theirs, ours = pair()
    tensors = [one[:, 0] for one in inputs()]
    options = {"need_weights": need_weights, "key_padding_mask": PADDING[1], "attn_mask": HOLES}
    check(theirs, ours, tensors, options)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("to_itself", [False, True])
def test_lengths_left_pad_and_window(need_weights, to_itself):
    theirs, ours = pair(batch_first=True)
    keys = L if to_itself else S
    lengths, left_pad = torch.tensor([5, 4, 3]), torch.tensor([0, 1, 2])
    i, j = torch.arange(L)[:, None], torch.arange(keys)[None]
    kept = (j < lengths[:, None, None]) & (j >= left_pad[:, None, None])
    kept = kept & (j >= i - 2) & (j <= i + 1)
    # Their rows of which nothing is kept are NaN: those are left out by keeping one key in both.
    some = kept.any(dim=-1)
    mask = ~(kept | (~some[..., None] & (j == 0)))
    options = {"lengths": lengths, "left_pad": left_pad, "window": (2, 1)}
    tensors = inputs(True)
    given = tensors[:1] * 3 if to_itself else tensors
    result, weights = ours(*given, need_weights=need_weights, **options)
    want, want_weights = theirs(*given, attn_mask=mask.repeat_interleave(H, 0))
    torch.testing.assert_close(result[some], want[some])
    assert some.any() and not some.all()
    if need_weights:
        torch.testing.assert_close(weights[some], want_weights[some])


def test_a_row_of_which_nothing_is_kept_attends_to_nothing():
    _, ours = pair(batch_first=True)
    for need_weights in (False, True):
        result, _ = ours(
            *inputs(True), lengths=torch.tensor([0, 3, 7]), need_weights=need_weights
        )
        torch.testing.assert_close(result[0], ours.out_proj.bias.expand(L, E))


def test_padding_has_no_effect():
    _, ours = pair(batch_first=True)
    query, key, value = inputs(True)
    want, _ = ours(query, key, value, lengths=torch.tensor([3, 3, 3]))
    key[:, 3:], value[:, 3:] = torch.nan, torch.inf
    padding = (torch.arange(S) > 2).expand(B, S)
    for options in ({"lengths": torch.tensor([3, 3, 3])}, {"key_padding_mask": padding}):
        assert torch.equal(ours(query, key, value, **options)[0], want)


def test_dropout():
    """In training weights are dropped, and those that stay are scaled; in evaluation none is."""
    theirs, ours = pair(dropout=0.5, batch_first=True)
    check(theirs.eval(), ours.eval(), inputs(True), {"need_weights": True})
    ours.train()
    torch.manual_seed(3)
    result, weights = ours(*inputs(True), need_weights=True, average_attn_weights=False)
    torch.manual_seed(3)
    again, none = ours(*inputs(True))
    assert none is None and torch.equal(result, again)
    ours.eval()
    whole = ours(*inputs(True), need_weights=True, average_attn_weights=False)[1]
    kept = weights != 0
    assert 0.3 < kept.double().mean() < 0.7
    torch.testing.assert_close(weights[kept], 2 * whole[kept])


def test_float32():
    theirs, ours = pair(torch.float32, batch_first=True)
    options = {"need_weights": False, "key_padding_mask": PADDING}
    check(theirs, ours, inputs(True, dtype=torch.float32), options, tolerance=1e-5)


@pytest.mark.parametrize("training, norm_first", itertools.product([False, True], [False, True]))
def test_in_a_transformer_layer(training, norm_first):
    """It takes the place of theirs, and is what computes the attention, in evaluation too."""
    torch.manual_seed(0)
    layer = tnn.TransformerEncoderLayer(
        E, H, 16, dropout=0.0, batch_first=True, norm_first=norm_first, dtype=torch.float64
    ).train(training)
    x, padding = inputs(True)[0], PADDING[:, :L]
    with torch.set_grad_enabled(training):
        want = layer(x, src_key_padding_mask=padding)
        ours = nn.MultiheadAttention(E, H, batch_first=True, dtype=torch.float64)
        ours.load_state_dict(layer.self_attn.state_dict())
        calls = []
        ours.register_forward_hook(lambda *_: calls.append(1))
        layer.self_attn = ours.train(training)
        result = layer(x, src_key_padding_mask=padding)
    torch.testing.assert_close(result, want)
    assert calls


@pytest.mark.parametrize("kdim", [None, 3])
def test_begins_as_theirs(kdim):
    torch.manual_seed(0)
    theirs = tnn.MultiheadAttention(E, H, kdim=kdim)
    torch.manual_seed(0)
    ours = nn.MultiheadAttention(E, H, kdim=kdim)
    for name, one in theirs.state_dict().items():
        if name != "out_proj.weight":
            assert ours.state_dict()[name].shape == one.shape
            torch.testing.assert_close(ours.state_dict()[name].std(), one.std(), rtol=0.3, atol=0)


def test_a_query_of_other_dims():
    with pytest.raises(ValueError, match="query must have two or three dims, but has 1."):
        nn.MultiheadAttention(E, H)(*[torch.ones(E)] * 3)
