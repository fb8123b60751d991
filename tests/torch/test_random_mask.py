"""random_mask: what is drawn."""

import pytest
import torch

import testers
from caffe2op_mask import draw_noise, random_mask
from oracles.gating import drawn


def test_elements_are_those_that_the_generator_gives():
    noise = testers.noise_of(7)
    like = torch.empty(5, 300).t()
    expected = torch.from_numpy(drawn(noise.numpy(), (300, 5))) >= 0.3
    actual = random_mask(like, 0.3, noise=noise)
    assert actual.shape == (300, 5) and (actual != expected).sum() <= 1


def test_rows():
    mask = random_mask(torch.empty(400, 7), 0.4, unit="row")
    assert ((mask.sum(1) == 0) | (mask.sum(1) == 7)).all()
    assert 100 < (~mask[:, 0]).sum() < 220


def test_spans():
    mask = random_mask(torch.empty(50, 200), 0.2, unit="span", span_length=5)
    rows = ["".join(str(int(one)) for one in row) for row in mask]
    for row in rows:
        for span in row.strip("0").split("1"):
            assert span == "" or len(span) >= 5


@pytest.mark.parametrize("unit", ["element", "span"])
@pytest.mark.parametrize("dtype", testers.INDICES)
def test_lengths_and_least(unit, dtype):
    lengths = torch.tensor([0, 3, 40], dtype=dtype)
    span = {"span_length": 2} if unit == "span" else {}
    mask = random_mask(torch.empty(3, 4, 40), 0.0, unit=unit, lengths=lengths, min_masked=2, **span)
    beyond = torch.arange(40) >= lengths[:, None, None]
    assert mask[beyond.expand_as(mask)].all()
    assert ((~mask).sum(-1) >= torch.minimum(lengths, torch.tensor(2))[:, None]).all()


@pytest.mark.parametrize("p, kept", [(0.0, 12), (1.0, 0)])
def test_all_or_nothing(p, kept):
    assert random_mask(torch.empty(3, 4), p).sum() == kept


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,)])
def test_shapes(shape):
    assert random_mask(torch.empty(shape)).shape == shape


def test_seeds():
    like = torch.empty(100)
    torch.manual_seed(5)
    first, second = random_mask(like, 0.5), random_mask(like, 0.5)
    torch.manual_seed(5)
    assert torch.equal(random_mask(like, 0.5), first) and not torch.equal(first, second)
    runs = [random_mask(like, 0.5, generator=torch.Generator().manual_seed(9)) for _ in range(2)]
    assert torch.equal(*runs) and not torch.equal(runs[0], first)
    noise = draw_noise()
    assert torch.equal(*(random_mask(like, 0.5, noise=noise) for _ in range(2)))
