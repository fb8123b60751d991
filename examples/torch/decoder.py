"""A decoder-only transformer whose attention is passed to it: what the programs beside it share."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """Attention and a feed-forward layer, each with a norm before it and a sum behind."""

    def __init__(self, width, heads, kv_heads):
        super().__init__()
        self.heads, self.kv_heads, self.depth = heads, kv_heads, width // heads
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * self.depth)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, attend):
        qkv = self.qkv(self.norm(x)).unflatten(-1, (-1, self.depth))
        q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=-2)
        x = x + self.out(attend(q, k, v).flatten(-2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Decoder(nn.Module):
    """Logits of the next token. ``kv_heads`` may be fewer than ``heads``, which then share them."""

    def __init__(self, tokens, width, heads, layers, kv_heads=None):
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.blocks = nn.ModuleList(Block(width, heads, kv_heads or heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens)

    def forward(self, ids, places, attend):
        """Of tokens and their places, both of the same shape, to which logits add a last dim.

        ``attend(layer, q, k, v)`` is the attention, of ``[*ids.shape, heads, depth]``.
        """
        x = self.embedding(ids) + self._encode(places)
        for layer, block in enumerate(self.blocks):
            x = block(x, lambda q, k, v, layer=layer: attend(layer, q, k, v))
        return self.head(self.norm(x))

    def _encode(self, places):
        half = self.embedding.embedding_dim // 2
        rates = torch.exp(-torch.arange(half) / half * 9.0)
        angles = places[..., None] * rates
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
