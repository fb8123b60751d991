"""The table of nets, and the inputs that they have in common."""

from collections import namedtuple

import torch

# No two sizes are equal, so that no dimension can be taken for another.
HEADS, HEAD_DIM, DIM, HIDDEN, WIDE_DIM = 3, 4, 12, 16, 10
VOCABULARY, POSITIONS, LAYERS = 11, 13, 1
MEMORY_LENGTH = 8

# Batch and length of each set of feeds. The first is exported; sizes that differ are dynamic.
BOTH = ((2, 5), (6, 7))
BATCH = ((2, 5), (6, 5))
STATIC = ((2, 5),)

Net = namedtuple("Net", "make inputs sizes fold aten split")
NETS = {}


def net(name, make, inputs, sizes=BOTH, fold=True, aten=True, split=True):
    """Adds a net: ``make()`` is its module, ``inputs`` name entries of ``INPUTS``.

    ``fold`` is the exporter's constant folding; ``aten`` has it write what ONNX lacks as ATen;
    ``split`` moves to the init net what needs no input.
    """
    assert name not in NETS, name
    NETS[name] = Net(make, inputs.split(), sizes, fold, aten, split)


def _kept(batch, length):
    """[batch, length], True in front: every row keeps something, one keeps everything."""
    return torch.arange(length) < _lengths(batch, length)[:, None]


def _lengths(batch, length):
    return length - torch.arange(batch) * 2 % length


def _numbers(*shape):
    return (torch.randn(*shape) * 16).round() / 16


def _causal(length):
    return torch.ones(length, length).tril().bool()


# Each is made of the batch size and the length.
INPUTS = {
    "x": lambda b, l: _numbers(b, l, DIM),
    "xt": lambda b, l: _numbers(l, b, DIM),
    "memory": lambda b, l: _numbers(b, MEMORY_LENGTH, DIM),
    "memory_t": lambda b, l: _numbers(MEMORY_LENGTH, b, DIM),
    "wide_memory": lambda b, l: _numbers(b, MEMORY_LENGTH, WIDE_DIM),
    "ids": lambda b, l: torch.randint(2, VOCABULARY, (b, l)),
    "decoder_ids": lambda b, l: torch.randint(2, VOCABULARY, (b, l + 4)),
    "positions": lambda b, l: torch.arange(l).repeat(b, 1) + 2,
    "lengths": _lengths,
    "mask": lambda b, l: _kept(b, l).long(),
    "float_mask": lambda b, l: _kept(b, l).float(),
    "kept": _kept,
    "padding": lambda b, l: ~_kept(b, l),
    "memory_padding": lambda b, l: ~_kept(b, MEMORY_LENGTH),
    "pair_mask": lambda b, l: (_kept(b, l)[:, None, :] & _causal(l)).float(),
    "past_keys": lambda b, l: _numbers(b, HEADS, l, HEAD_DIM),
    "past_values": lambda b, l: _numbers(b, HEADS, l, HEAD_DIM),
    "pixels": lambda b, l: _numbers(b, 3, 8, 8),
    "bias": lambda b, l: _numbers(l, l),
    "causal_bias": lambda b, l: torch.zeros(l, l).masked_fill(~_causal(l), float("-inf")),
    "causal_padding": lambda b, l: ~_causal(l),
    "head_bias": lambda b, l: _numbers(b, HEADS, l, l),
}
