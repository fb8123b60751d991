"""RandomMask and SpecAugment: what they mask in training, and that evaluation is untouched."""

import pytest
import torch

from caffe2op_mask import draw_noise, nn, random_mask


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("module", [nn.RandomMask(0.9), nn.SpecAugment(0.9, 2, 0.9, 2)])
def test_evaluation_passes_all(module):
    x = torch.randn(2, 5, 6)
    assert module.eval()(x) is x
    assert not torch.equal(module.train()(x), x)


def test_the_mask_in_evaluation():
    x = torch.randn(2, 5, 6)
    same, mask = nn.RandomMask(feature_dims=1).eval()(x, return_mask=True)
    assert same is x and mask.shape == (2, 5) and mask.all()


@pytest.mark.parametrize("feature_dims", [0, 1, 2])
def test_what_is_masked(feature_dims):
    x = torch.randn(40, 30, 3, requires_grad=True)
    module = nn.RandomMask(0.25, feature_dims=feature_dims, fill_val=-7.0)
    result, mask = module(x, return_mask=True, generator=seeded())
    assert mask.shape == x.shape[: 3 - feature_dims]
    noise = draw_noise(seeded())
    assert torch.equal(mask, random_mask(torch.empty(mask.shape), 0.25, noise=noise))
    whole = mask.reshape(mask.shape + (1,) * feature_dims)
    assert torch.equal(result, torch.where(whole, x, -7.0))
    result.sum().backward()
    assert torch.equal(x.grad, whole.expand(x.shape).float())
    assert (~mask).float().mean() == pytest.approx(0.25, abs=0.2 if feature_dims == 2 else 0.05)


def test_spans_and_lengths():
    lengths = torch.tensor([20, 6, 0])
    module = nn.RandomMask(0.5, unit="span", span_length=3, min_masked=1, feature_dims=1)
    _, mask = module(torch.randn(3, 20, 2), lengths, return_mask=True, generator=seeded())
    for row, length in zip(mask.tolist(), lengths.tolist()):
        assert all(row[length:])
        assert length == 0 or not all(row)
    runs = "".join("01"[one] for one in mask[0].tolist()).split("1")
    assert all(len(run) >= 3 for run in runs[:-1] if run)


def test_draws_anew_and_as_seeded():
    x = torch.ones(50, 20)
    module = nn.RandomMask(0.5)
    assert not torch.equal(module(x), module(x))
    torch.manual_seed(3)
    first = module(x)
    torch.manual_seed(3)
    assert torch.equal(module(x), first)


def test_spectrogram():
    x = torch.randn(200, 30, 20)
    lengths = torch.full((200,), 20)
    result = nn.SpecAugment(0.3, 4, 0.2, 3, fill_val=5.0)(x, lengths, generator=seeded())
    masked = result == 5
    assert torch.equal(result[~masked], x[~masked])
    steps, frequencies = masked.all(dim=2), masked.all(dim=1)
    # A mask is made of whole steps and whole frequencies, and no others.
    assert torch.equal(masked, steps[:, :, None] | frequencies[:, None, :])
    assert not steps[:, 20:].any()
    assert steps[:, :20].float().mean() == pytest.approx(0.3, abs=0.06)
    assert frequencies.float().mean() == pytest.approx(0.2, abs=0.06)
