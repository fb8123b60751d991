"""Models of other libraries, rewritten as small as they go: their attention is as there."""

import math

import torch
from torch import nn
from torch.nn import functional

from models.table import BATCH, BOTH, DIM, HEAD_DIM, HEADS, POSITIONS, STATIC, VOCABULARY, net


class MinGpt(nn.Module):
    """Causal self-attention with a mask of the block's size as a buffer, in two blocks."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.after = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
            self.key, self.query, self.value = (nn.Linear(DIM, DIM) for _ in range(3))
            self.projection = nn.Linear(DIM, DIM)
            self.attention_dropout, self.dropout = nn.Dropout(0.1), nn.Dropout(0.1)
            self.register_buffer("mask", torch.ones(POSITIONS, POSITIONS).tril()[None, None])
            self.mlp = nn.Sequential(nn.Linear(DIM, 4 * DIM), nn.GELU(), nn.Linear(4 * DIM, DIM))

        def attend(self, x):
            b, t, c = x.size()
            k = self.key(x).view(b, t, HEADS, c // HEADS).transpose(1, 2)
            q = self.query(x).view(b, t, HEADS, c // HEADS).transpose(1, 2)
            v = self.value(x).view(b, t, HEADS, c // HEADS).transpose(1, 2)
            logits = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            logits = logits.masked_fill(self.mask[:, :, :t, :t] == 0, float("-inf"))
            weights = self.attention_dropout(functional.softmax(logits, dim=-1))
            y = (weights @ v).transpose(1, 2).contiguous().view(b, t, c)
            return self.dropout(self.projection(y))

        def forward(self, x):
            x = x + self.attend(self.before(x))
            return x + self.mlp(self.after(x))

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, DIM)
        self.positions = nn.Parameter(torch.zeros(1, POSITIONS, DIM))
        self.blocks = nn.Sequential(self.Block(), self.Block())
        self.norm, self.head = nn.LayerNorm(DIM), nn.Linear(DIM, VOCABULARY, bias=False)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions[:, : ids.size(1)]
        return self.head(self.norm(self.blocks(x)))


class TimeFirst(nn.Module):
    """fairseq's MultiheadAttention of about 0.9: q scaled, heads merged in the batch."""

    def __init__(self, weights=False, extra=False):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(DIM, DIM) for _ in range(4))
        self.bias_k, self.bias_v = (nn.Parameter(torch.randn(1, 1, DIM)) for _ in range(2))
        self.weights, self.extra = weights, extra

    def forward(self, query, key, padding=None, attn_mask=None):
        length, b = query.size(0), query.size(1)
        q, k, v = self.q(query) * HEAD_DIM**-0.5, self.k(key), self.v(key)
        if self.extra:
            k = torch.cat([k, self.bias_k.repeat(1, b, 1)])
            v = torch.cat([v, self.bias_v.repeat(1, b, 1)])
            nothing = torch.zeros_like(padding[:, :1].float())
            padding = torch.cat([padding.float(), nothing], 1).bool()
        q = q.contiguous().view(length, b * HEADS, HEAD_DIM).transpose(0, 1)
        k = k.contiguous().view(-1, b * HEADS, HEAD_DIM).transpose(0, 1)
        v = v.contiguous().view(-1, b * HEADS, HEAD_DIM).transpose(0, 1)
        source = k.size(1)
        logits = torch.bmm(q, k.transpose(1, 2))
        if attn_mask is not None:
            logits = logits + attn_mask.unsqueeze(0)
        if padding is not None:
            logits = logits.view(b, HEADS, length, source)
            logits = logits.masked_fill(padding.unsqueeze(1).unsqueeze(2), float("-inf"))
            logits = logits.view(b * HEADS, length, source)
        weights = functional.softmax(logits, dim=-1, dtype=torch.float32).type_as(logits)
        weights = functional.dropout(weights, 0.1, self.training)
        y = torch.bmm(weights, v).transpose(0, 1).contiguous().view(length, b, DIM)
        if self.weights:
            return self.out(y), weights.view(b, HEADS, length, source).mean(1)
        return self.out(y)


class Itself(nn.Module):
    """The module with one input as query and key."""

    def __init__(self, module, mask="padding"):
        super().__init__()
        self.module, self.mask = module, mask

    def forward(self, x, mask):
        return self.module(x, x, **{self.mask: mask})


class TimeFirstBool(TimeFirst):
    """PyText's: the mask is 1 for what is padding, as numbers."""

    def forward(self, x, mask):
        return super().forward(x, x, mask == 0)


class Alibi(nn.Module):
    """BLOOM's: baddbmm of a bias that grows with the distance."""

    def __init__(self):
        super().__init__()
        self.all, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        slopes = torch.tensor([0.5, 0.25, 0.125])
        self.register_buffer("bias", slopes[:, None, None] * torch.arange(5.0))

    def forward(self, x, padding):
        b, length = x.size(0), x.size(1)
        q, k, v = (
            each.view(b, length, HEADS, HEAD_DIM).transpose(1, 2).reshape(-1, length, HEAD_DIM)
            for each in self.all(x).split(DIM, -1)
        )
        bias = self.bias.repeat(b, 1, 1)
        logits = torch.baddbmm(bias, q, k.transpose(1, 2), beta=1.0, alpha=HEAD_DIM**-0.5)
        logits = logits.view(b, HEADS, length, length).masked_fill(padding[:, None, None], -1e9)
        weights = logits.softmax(-1).view(b * HEADS, length, length)
        y = torch.bmm(weights, v).view(b, HEADS, length, HEAD_DIM).transpose(1, 2)
        return self.out(y.reshape(b, length, DIM))


class Annotated(nn.Module):
    """The Annotated Transformer's: one linear layer for each of Q, K, V and out, a 0/1 mask."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(DIM, DIM) for _ in range(4))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x, mask):
        mask = mask.unsqueeze(1)
        b = x.size(0)
        q, k, v = (
            layer(x).view(b, -1, HEADS, HEAD_DIM).transpose(1, 2) for layer in self.layers[:3]
        )
        logits = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(q.size(-1))
        weights = self.dropout(functional.softmax(logits.masked_fill(mask == 0, -1e9), dim=-1))
        y = torch.matmul(weights, v).transpose(1, 2).contiguous().view(b, -1, DIM)
        return self.layers[3](y)


class Rotary(nn.Module):
    """Q and K turned by their positions, K stored transposed, as GPT-J and its kin do."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(DIM, DIM) for _ in range(4))
        angles = torch.arange(5.0)[:, None] * torch.tensor([1.0, 0.1])
        angles = torch.cat([angles, angles], -1)
        self.register_buffer("sin", angles.sin())
        self.register_buffer("cos", angles.cos())
        self.register_buffer("causal", torch.ones(5, 5).tril().bool())

    def turn(self, x):
        first, second = x[..., :2], x[..., 2:]
        return x * self.cos + torch.cat([-second, first], -1) * self.sin

    def forward(self, x):
        b = x.size(0)
        q, k, v = (
            layer(x).view(b, 5, HEADS, HEAD_DIM).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        logits = torch.matmul(self.turn(q), self.turn(k).transpose(2, 3)) * HEAD_DIM**-0.5
        logits = torch.where(self.causal, logits, torch.tensor(-1e9))
        y = torch.matmul(logits.softmax(-1), v).transpose(1, 2).reshape(b, 5, DIM)
        return self.out(y)


class Windows(nn.Module):
    """Swin's: windows in the batch, a relative bias by a table, and a mask for some windows."""

    def __init__(self):
        super().__init__()
        self.all, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.table = nn.Parameter(torch.randn(9, HEADS))
        places = torch.arange(5)
        self.register_buffer("index", (places[:, None] - places + 4).view(-1))
        mask = torch.zeros(2, 5, 5)
        mask[1, :2, 2:], mask[1, 2:, :2] = -100.0, -100.0
        self.register_buffer("mask", mask)

    def forward(self, x):
        b = x.size(0)
        heads = self.all(x).reshape(b, 5, 3, HEADS, HEAD_DIM).permute(2, 0, 3, 1, 4)
        q, k, v = heads[0], heads[1], heads[2]
        logits = (q * HEAD_DIM**-0.5) @ k.transpose(-2, -1)
        bias = self.table[self.index].view(5, 5, HEADS).permute(2, 0, 1).contiguous()
        logits = logits + bias.unsqueeze(0)
        logits = logits.view(b // 2, 2, HEADS, 5, 5) + self.mask.unsqueeze(1).unsqueeze(0)
        weights = logits.view(-1, HEADS, 5, 5).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(b, 5, DIM))


class Pair(nn.Module):
    """ESIM's soft alignment: one matrix of scores, softmax over either side."""

    def forward(self, x, memory):
        logits = torch.matmul(x, memory.transpose(1, 2))
        first = torch.matmul(logits.softmax(-1), memory)
        second = torch.matmul(logits.transpose(1, 2).softmax(-1), x)
        return first, second


class Cached(nn.Module):
    """A step of decoding: one query, keys and values of earlier steps as inputs."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(DIM, DIM) for _ in range(4))

    def forward(self, x, keys, values):
        b = x.size(0)
        x = x[:, :1]
        q, k, v = (
            layer(x).view(b, 1, HEADS, HEAD_DIM).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        weights = (torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(HEAD_DIM)).softmax(-1)
        return self.out(torch.matmul(weights, v).transpose(1, 2).reshape(b, 1, DIM)), k, v


class Additive(nn.Module):
    """Bahdanau's: tanh of a sum, no product of queries and keys."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.score = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM), nn.Linear(DIM, 1)

    def forward(self, x, memory, padding):
        hidden = torch.tanh(self.q(x).unsqueeze(2) + self.k(memory).unsqueeze(1))
        logits = self.score(hidden).squeeze(-1).masked_fill(padding[:, None, :], -1e9)
        return torch.bmm(logits.softmax(-1), memory)


CROSS = "xt memory_t memory_padding"

net("min_gpt", MinGpt, "ids", aten=False)
net("min_gpt_static", MinGpt, "ids", STATIC, aten=False)
net("min_gpt_static_aten", MinGpt, "ids", STATIC)
net("min_gpt_unsplit", MinGpt, "ids", aten=False, split=False)
net("fairseq_unsplit", lambda: Itself(TimeFirst()), "xt padding", split=False)
net("fairseq", lambda: Itself(TimeFirst()), "xt padding")
net("fairseq_static", lambda: Itself(TimeFirst()), "xt padding", STATIC)
net("fairseq_causal", lambda: Itself(TimeFirst(), "attn_mask"), "xt causal_bias")
net("fairseq_cross", TimeFirst, CROSS)
net("fairseq_weights", lambda: TimeFirst(weights=True), CROSS)
net("fairseq_bias_kv", lambda: TimeFirst(extra=True), CROSS, aten=False)
net("pytext", TimeFirstBool, "xt mask")
net("alibi", Alibi, "x padding", BATCH)
net("annotated", Annotated, "x pair_mask")
net("rotary", Rotary, "x", BATCH)
net("windows", Windows, "x", BATCH, aten=False)
net("pair", Pair, "x memory")
net("cached", Cached, "x past_keys past_values", BOTH)
net("additive", Additive, "x memory memory_padding")
