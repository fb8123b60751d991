"""Attention as people write it by hand: one function for each way."""

import math

import torch
from torch import nn
from torch.nn import functional

from models.table import BATCH, DIM, HEAD_DIM, HEADS, MEMORY_LENGTH, POSITIONS, STATIC, net

SCALE = 1 / math.sqrt(HEAD_DIM)


def split(x, heads=HEADS):
    """[B, L, D] to [B, H, L, D / H]."""
    return x.view(x.size(0), x.size(1), heads, HEAD_DIM).transpose(1, 2)


def merge(x):
    """[B, H, L, D / H] to [B, L, D]."""
    return x.transpose(1, 2).reshape(x.size(0), x.size(2), -1)


def scores(q, k):
    return torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(HEAD_DIM)


def weighted(logits, v):
    return torch.matmul(logits.softmax(-1), v)


class Attention(nn.Module):
    """Projections around ``attend(self, q, k, v, *masks)``, which takes heads and returns them."""

    def __init__(self, attend):
        super().__init__()
        self.attend = attend
        self.query, self.key, self.value, self.out = (nn.Linear(DIM, DIM) for _ in range(4))
        self.dropout = nn.Dropout(0.1)
        self.temperature = nn.Parameter(torch.tensor(2.0))
        self.relative = nn.Parameter(torch.randn(HEADS, POSITIONS, POSITIONS))
        causal = torch.ones(POSITIONS, POSITIONS).tril()
        self.register_buffer("causal", causal[None, None])
        self.register_buffer("causal_bool", causal[None, None].bool())
        triangle = torch.zeros_like(causal).masked_fill(causal == 0, -math.inf)
        self.register_buffer("triangle", triangle)

    def forward(self, x, *masks):
        q, k, v = (split(layer(x)) for layer in (self.query, self.key, self.value))
        return self.out(merge(self.attend(self, q, k, v, *masks)))


def attention(inputs="x", **options):
    """Adds the net whose heads attend by the decorated function; its name is the net's."""

    def add(attend):
        net(attend.__name__, lambda: Attention(attend), inputs, **options)
        return attend

    return add


def module(inputs="x", **options):
    """Adds the net of the decorated module."""

    def add(cls):
        name = "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__)[1:]
        net(name, cls, inputs, **options)
        return cls

    return add


# Where the scale stands.


@attention()
def scale_scores_div(self, q, k, v):
    return weighted(torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(HEAD_DIM), v)


@attention()
def scale_scores_mul(self, q, k, v):
    return weighted(torch.matmul(q, k.transpose(-2, -1)) * SCALE, v)


@attention()
def scale_query_mul(self, q, k, v):
    return weighted(torch.matmul(q * SCALE, k.transpose(-2, -1)), v)


@attention()
def scale_query_div(self, q, k, v):
    return weighted(torch.matmul(q / math.sqrt(HEAD_DIM), k.transpose(-2, -1)), v)


@attention()
def scale_key_mul(self, q, k, v):
    return weighted(torch.matmul(q, (k * SCALE).transpose(-2, -1)), v)


@attention()
def scale_transposed_key_div(self, q, k, v):
    return weighted(torch.matmul(q, k.transpose(-2, -1) / math.sqrt(HEAD_DIM)), v)


@attention()
def scale_query_and_key(self, q, k, v):
    root = math.sqrt(SCALE)
    return weighted(torch.matmul(q * root, k.transpose(-2, -1) * root), v)


@attention()
def scale_head_dim_tensor(self, q, k, v):
    """The size is read from the tensor, as torch.sqrt of it."""
    return weighted(torch.matmul(q, k.transpose(-2, -1)) / torch.tensor(float(HEAD_DIM)).sqrt(), v)


@attention()
def scale_learned(self, q, k, v):
    return weighted(torch.matmul(q, k.transpose(-2, -1)) / self.temperature, v)


@attention()
def scale_none(self, q, k, v):
    return weighted(torch.matmul(q, k.transpose(-2, -1)), v)


@attention()
def scale_after_mask(self, q, k, v):
    logits = torch.matmul(q, k.transpose(-2, -1)) + self.relative[:, : q.size(2), : q.size(2)]
    return weighted(logits * SCALE, v)


# Where masks come from, and how they are put on.


@attention("x float_mask")
def mask_float_bias(self, q, k, v, mask):
    return weighted(scores(q, k) + (1 - mask[:, None, None, :]) * -10000.0, v)


@attention("x mask")
def mask_int_bias(self, q, k, v, mask):
    return weighted(scores(q, k) + (1.0 - mask[:, None, None, :].float()) * -1e9, v)


@attention("x float_mask")
def mask_minus_one(self, q, k, v, mask):
    return weighted(scores(q, k) + (mask[:, None, None, :] - 1) * 10000.0, v)


@attention("x float_mask")
def mask_subtracted(self, q, k, v, mask):
    return weighted(scores(q, k) - 10000.0 * (1 - mask[:, None, None, :]), v)


@attention("x mask")
def mask_fill_equal_zero(self, q, k, v, mask):
    return weighted(scores(q, k).masked_fill(mask[:, None, None, :] == 0, -1e9), v)


@attention("x mask", split=False)
def mask_fill_equal_zero_unsplit(self, q, k, v, mask):
    return weighted(scores(q, k).masked_fill(mask[:, None, None, :] == 0, -1e9), v)


@attention("x padding")
def mask_fill_padding(self, q, k, v, padding):
    return weighted(scores(q, k).masked_fill(padding[:, None, None, :], -math.inf), v)


@attention("x padding")
def mask_fill_expanded(self, q, k, v, padding):
    padding = padding[:, None, None, :].expand(q.size(0), HEADS, q.size(2), q.size(2))
    return weighted(scores(q, k).masked_fill(padding, -1e9), v)


@attention("x padding")
def mask_fill_half_lowest(self, q, k, v, padding):
    return weighted(scores(q, k).masked_fill(padding[:, None, None], -65504.0), v)


@attention("x kept")
def mask_fill_not(self, q, k, v, kept):
    return weighted(scores(q, k).masked_fill(~kept[:, None, None, :], -1e9), v)


@attention("x kept")
def mask_where_kept(self, q, k, v, kept):
    low = torch.tensor(-1e9)
    return weighted(torch.where(kept[:, None, None, :], scores(q, k), low), v)


@attention("x padding")
def mask_where_padding(self, q, k, v, padding):
    low = torch.tensor(-1e9)
    return weighted(torch.where(padding[:, None, None, :], low, scores(q, k)), v)


@attention("x padding")
def mask_where_full(self, q, k, v, padding):
    logits = scores(q, k)
    low = torch.full_like(logits, -1e9)
    return weighted(torch.where(padding[:, None, None, :], low, logits), v)


@attention("x lengths", aten=False)
def mask_lengths_fill(self, q, k, v, lengths):
    kept = torch.arange(k.size(2))[None, :] < lengths[:, None]
    return weighted(scores(q, k).masked_fill(~kept[:, None, None, :], -1e9), v)


@attention("x lengths", aten=False)
def mask_lengths_bias(self, q, k, v, lengths):
    kept = torch.arange(k.size(2))[None, :] < lengths[:, None]
    return weighted(scores(q, k) + (1 - kept[:, None, None, :].float()) * -10000.0, v)


@attention("x lengths", sizes=BATCH)
def mask_lengths_buffer(self, q, k, v, lengths):
    """The positions are a constant."""
    kept = torch.arange(5)[None, :] < lengths[:, None]
    return weighted(scores(q, k).masked_fill(~kept[:, None, None, :], -1e9), v)


@attention("x ids")
def mask_from_ids(self, q, k, v, ids):
    """Entries of the smallest number are padding."""
    return weighted(scores(q, k).masked_fill((ids == 2)[:, None, None, :], -1e9), v)


@attention("x bias")
def mask_pair_bias(self, q, k, v, bias):
    return weighted(scores(q, k) + bias, v)


@attention("x head_bias")
def mask_head_bias(self, q, k, v, bias):
    return weighted(scores(q, k) + bias, v)


@attention("x pair_mask")
def mask_pairs_of_batch(self, q, k, v, mask):
    return weighted(scores(q, k).masked_fill(mask[:, None] == 0, -1e9), v)


@attention("x pair_mask")
def mask_after_softmax(self, q, k, v, mask):
    """Masked again after the softmax, as rows that keep nothing need."""
    masked = mask[:, None] == 0
    weights = scores(q, k).masked_fill(masked, -1e9).softmax(-1).masked_fill(masked, 0.0)
    return torch.matmul(weights, v)


@attention("x padding")
def mask_two(self, q, k, v, padding):
    """Padding and causal, one after the other."""
    logits = scores(q, k).masked_fill(padding[:, None, None, :], -1e9)
    length = q.size(2)
    return weighted(logits.masked_fill(self.causal[:, :, :length, :length] == 0, -1e9), v)


@attention("x float_mask")
def mask_product_of_two(self, q, k, v, mask):
    length = q.size(2)
    both = self.causal[:, :, :length, :length] * mask[:, None, None, :]
    return weighted(scores(q, k) + (1 - both) * -10000.0, v)


# Causal masks.


@attention(sizes=BATCH)
def causal_fill_inf(self, q, k, v):
    return weighted(scores(q, k).masked_fill(self.causal[:, :, :5, :5] == 0, -math.inf), v)


@attention()
def causal_fill_inf_sliced(self, q, k, v):
    length = q.size(2)
    masked = self.causal[:, :, :length, :length] == 0
    return weighted(scores(q, k).masked_fill(masked, -math.inf), v)


@attention(sizes=BATCH)
def causal_where(self, q, k, v):
    low = torch.tensor(-1e4)
    return weighted(torch.where(self.causal_bool[:, :, :5, :5], scores(q, k), low), v)


@attention(sizes=BATCH)
def causal_triangle(self, q, k, v):
    return weighted(scores(q, k) + self.triangle[:5, :5], v)


@attention()
def causal_triangle_sliced(self, q, k, v):
    return weighted(scores(q, k) + self.triangle[: q.size(2), : q.size(2)], v)


@attention("x causal_bias")
def causal_bias_input(self, q, k, v, bias):
    return weighted(scores(q, k) + bias, v)


@attention(sizes=BATCH)
def causal_product(self, q, k, v):
    """w * b - 1e4 * (1 - b)."""
    mask = self.causal[:, :, :5, :5]
    return weighted(scores(q, k) * mask - 1e4 * (1 - mask), v)


@attention(sizes=BATCH)
def relative_bias(self, q, k, v):
    return weighted(scores(q, k) + self.relative[:, :5, :5], v)


@attention("x padding")
def relative_bias_padding(self, q, k, v, padding):
    logits = scores(q, k) + self.relative[None, :, : q.size(2), : q.size(2)]
    return weighted(logits.masked_fill(padding[:, None, None, :], -1e9), v)


# What else stands between the scores and the product.


@attention()
def dropout_weights(self, q, k, v):
    return torch.matmul(self.dropout(scores(q, k).softmax(-1)), v)


@attention(split=False)
def unsplit(self, q, k, v):
    return weighted(scores(q, k), v)


@attention(sizes=BATCH, split=False)
def unsplit_causal(self, q, k, v):
    return weighted(scores(q, k) + self.triangle[:5, :5], v)


@attention("x lengths", aten=False, split=False)
def unsplit_lengths(self, q, k, v, lengths):
    return mask_lengths_bias(self, q, k, v, lengths)


@attention("x float_mask", split=False)
def unsplit_float_bias(self, q, k, v, mask):
    return mask_float_bias(self, q, k, v, mask)


@attention("x padding", split=False)
def unsplit_scaled_query(self, q, k, v, padding):
    logits = torch.matmul(q * SCALE, k.transpose(-2, -1))
    return weighted(logits.masked_fill(padding[:, None, None, :], -1e9), v)


@attention(fold=False)
def unfolded(self, q, k, v):
    return weighted(scores(q, k), v)


@attention(sizes=STATIC)
def static(self, q, k, v):
    return weighted(scores(q, k), v)


@attention("x padding", sizes=STATIC)
def static_padding(self, q, k, v, padding):
    return weighted(scores(q, k).masked_fill(padding[:, None, None, :], -1e9), v)


@attention("x float_mask", sizes=STATIC, fold=False)
def static_unfolded(self, q, k, v, mask):
    return weighted(scores(q, k) + (1 - mask[:, None, None, :]) * -10000.0, v)


@attention("x padding")
def softmax_of_doubles(self, q, k, v, padding):
    """The softmax alone is taken in another type."""
    logits = scores(q, k).masked_fill(padding[:, None, None, :], -1e9)
    return torch.matmul(functional.softmax(logits, dim=-1, dtype=torch.float64).type_as(q), v)


@attention("x padding")
def softmax_of_floats(self, q, k, v, padding):
    logits = scores(q, k).float().masked_fill(padding[:, None, None, :], -1e9)
    return torch.matmul(functional.softmax(logits, dim=-1, dtype=torch.float32).type_as(q), v)


@attention()
def softmax_axis_three(self, q, k, v):
    return torch.matmul(scores(q, k).softmax(3), v)


@attention()
def shifted_by_max(self, q, k, v):
    logits = scores(q, k)
    return weighted(logits - logits.max(-1, keepdim=True)[0], v)


@attention()
def softmax_composed(self, q, k, v):
    """No Softmax: exp over its sum."""
    power = scores(q, k).exp()
    return torch.matmul(power / power.sum(-1, keepdim=True), v)


@attention()
def transposed_scores(self, q, k, v):
    """K Q^T, softmax over the keys, which come first."""
    weights = torch.matmul(k, q.transpose(-2, -1)).mul(SCALE).softmax(-2)
    return torch.matmul(weights.transpose(-2, -1), v)


@attention()
def flat_scores(self, q, k, v):
    """Softmax over rows of a matrix."""
    logits = scores(q, k)
    weights = logits.view(-1, logits.size(-1)).softmax(-1).view_as(logits)
    return torch.matmul(weights, v)


@attention("x padding")
def heads_in_batch(self, q, k, v, padding):
    """[B * H, L, D / H], bmm, and the mask put on in four dimensions."""
    b, length = q.size(0), q.size(2)
    q, k, v = (each.reshape(b * HEADS, length, HEAD_DIM) for each in (q, k, v))
    logits = torch.bmm(q, k.transpose(1, 2)).view(b, HEADS, length, length) * SCALE
    logits = logits.masked_fill(padding[:, None, None, :], -math.inf)
    weights = logits.view(b * HEADS, length, length).softmax(-1)
    return torch.bmm(weights, v).view(b, HEADS, length, HEAD_DIM)


@attention("x padding")
def heads_in_batch_repeated_mask(self, q, k, v, padding):
    b, length = q.size(0), q.size(2)
    q, k, v = (each.reshape(b * HEADS, length, HEAD_DIM) for each in (q, k, v))
    mask = padding[:, None, None, :].expand(b, HEADS, length, length)
    logits = torch.bmm(q * SCALE, k.transpose(1, 2))
    logits = logits.masked_fill(mask.reshape(b * HEADS, length, length), -1e9)
    return torch.bmm(logits.softmax(-1), v).view(b, HEADS, length, HEAD_DIM)


@attention("x float_mask")
def heads_in_batch_tiled_mask(self, q, k, v, mask):
    b, length = q.size(0), q.size(2)
    q, k, v = (each.transpose(0, 1).reshape(b * HEADS, length, HEAD_DIM) for each in (q, k, v))
    logits = torch.bmm(q, k.transpose(1, 2)) * SCALE
    logits = logits + (1 - mask.repeat(HEADS, 1)[:, None, :]) * -10000.0
    return torch.bmm(logits.softmax(-1), v).view(HEADS, b, length, HEAD_DIM).transpose(0, 1)


# Modules that project otherwise.


class Projections(nn.Module):
    """Layers of the modules below."""

    def __init__(self, key_dim=DIM):
        super().__init__()
        self.query, self.out = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.key, self.value = nn.Linear(DIM, key_dim), nn.Linear(DIM, key_dim)


@module()
class KeyPermuted(Projections):
    """K is permuted to [B, H, D / H, L] at once."""

    def forward(self, x):
        b, length = x.size(0), x.size(1)
        k = self.key(x).view(b, length, HEADS, HEAD_DIM).permute(0, 2, 3, 1)
        logits = torch.matmul(split(self.query(x)), k) / math.sqrt(HEAD_DIM)
        return self.out(merge(weighted(logits, split(self.value(x)))))


@module()
class KeyConvolved(Projections):
    """Projections are convolutions over [B, D, L]; K needs no transposition, V has one."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Conv1d(DIM, DIM, 1) for _ in range(3))

    def forward(self, x):
        b, length = x.size(0), x.size(1)
        q, k, v = (
            layer(x.transpose(1, 2)).view(b, HEADS, HEAD_DIM, length)
            for layer in (self.query, self.key, self.value)
        )
        logits = torch.matmul(q.transpose(2, 3), k) * SCALE
        return self.out(merge(torch.matmul(logits.softmax(-1), v.transpose(2, 3))))


@module()
class PixelAttention(Projections):
    """Self-attention over pixels: one head, [B, D, L], V times the transposed weights."""

    def forward(self, x):
        q = self.query(x)
        k, v = self.key(x).transpose(1, 2), self.value(x).transpose(1, 2)
        weights = torch.bmm(q, k).softmax(-1)
        return self.out(torch.bmm(v, weights.transpose(1, 2)).transpose(1, 2))


@module("x padding")
class JointProjection(nn.Module):
    """One layer makes Q, K and V, which are sliced apart."""

    def __init__(self):
        super().__init__()
        self.all, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x, padding):
        q, k, v = (split(each) for each in self.all(x).chunk(3, dim=-1))
        logits = scores(q, k).masked_fill(padding[:, None, None, :], -1e9)
        return self.out(merge(weighted(logits, v)))


@module()
class JointProjectionUnbound(nn.Module):
    """[3, B, H, L, D / H], taken apart by its first index, as vision transformers do."""

    def __init__(self):
        super().__init__()
        self.all, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x):
        b, length = x.size(0), x.size(1)
        heads = self.all(x).reshape(b, length, 3, HEADS, HEAD_DIM).permute(2, 0, 3, 1, 4)
        q, k, v = heads[0], heads[1], heads[2]
        weights = (q @ k.transpose(-2, -1) * SCALE).softmax(dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(b, length, DIM))


@module("x memory memory_padding")
class CrossAttention(Projections):
    def forward(self, x, memory, padding):
        q, k, v = split(self.query(x)), split(self.key(memory)), split(self.value(memory))
        logits = scores(q, k).masked_fill(padding[:, None, None, :], -1e9)
        return self.out(merge(weighted(logits, v)))


@module("x memory")
class SharedKeyAndValue(Projections):
    """Two attentions read one K and V; V of the second is the K of it."""

    def forward(self, x, memory):
        k, v = split(self.key(memory)), split(self.value(memory))
        x = x + merge(weighted(scores(split(self.query(x)), k), v))
        return self.out(merge(weighted(scores(split(x), k), k)))


@module("x padding")
class TwoLayers(nn.Module):
    """Two attentions with one mask."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Attention(mask_fill_padding) for _ in range(2))

    def forward(self, x, padding):
        for layer in self.layers:
            x = x + layer(x, padding)
        return x


@module("x padding")
class WeightsToo(Projections):
    """The weights are an output too."""

    def forward(self, x, padding):
        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        weights = scores(q, k).masked_fill(padding[:, None, None, :], -1e9).softmax(-1)
        return self.out(merge(torch.matmul(weights, v))), weights


@module("x padding")
class MeanWeightsToo(Projections):
    """So is their mean over heads."""

    def forward(self, x, padding):
        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        weights = scores(q, k).masked_fill(padding[:, None, None, :], -1e9).softmax(-1)
        return self.out(merge(torch.matmul(weights, v))), weights.mean(1)


@module("x padding")
class ScoresToo(Projections):
    """Something else reads the scores."""

    def forward(self, x, padding):
        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        logits = scores(q, k)
        masked = logits.masked_fill(padding[:, None, None, :], -1e9)
        return self.out(merge(weighted(masked, v))), logits.mean(-1)


@module("x padding")
class MultiQuery(Projections):
    """One head of K and V for all of Q, by broadcasting."""

    def __init__(self):
        super().__init__(HEAD_DIM)

    def forward(self, x, padding):
        q, k, v = split(self.query(x)), split(self.key(x), 1), split(self.value(x), 1)
        logits = scores(q, k).masked_fill(padding[:, None, None, :], -1e9)
        return self.out(merge(weighted(logits, v)))


@module()
class MultiQueryExpanded(Projections):
    """The same, by expand."""

    def __init__(self):
        super().__init__(HEAD_DIM)

    def forward(self, x):
        b, length = x.size(0), x.size(1)
        k, v = (
            split(layer(x), 1).expand(b, HEADS, length, HEAD_DIM)
            for layer in (self.key, self.value)
        )
        return self.out(merge(weighted(scores(split(self.query(x)), k), v)))


@module()
class GroupedQuery(nn.Module):
    """Two heads of K and V for six of Q, by expand and reshape."""

    def __init__(self):
        super().__init__()
        self.query, self.out = nn.Linear(DIM, 6 * HEAD_DIM), nn.Linear(6 * HEAD_DIM, DIM)
        self.key, self.value = nn.Linear(DIM, 2 * HEAD_DIM), nn.Linear(DIM, 2 * HEAD_DIM)

    def forward(self, x):
        b, length = x.size(0), x.size(1)

        def repeat(heads):
            return (
                split(heads, 2)[:, :, None]
                .expand(b, 2, 3, length, HEAD_DIM)
                .reshape(b, 6, length, HEAD_DIM)
            )

        k, v = repeat(self.key(x)), repeat(self.value(x))
        return self.out(merge(weighted(scores(split(self.query(x), 6), k), v)))


@module("x padding")
class SingleHead(Projections):
    """[B, L, D] without heads."""

    def forward(self, x, padding):
        logits = torch.bmm(self.query(x), self.key(x).transpose(1, 2)) / math.sqrt(DIM)
        weights = logits.masked_fill(padding[:, None, :], -math.inf).softmax(-1)
        return self.out(torch.bmm(weights, self.value(x)))


@module("x lengths", aten=False)
class SingleHeadRaw(nn.Module):
    """Q, K and V are the input itself."""

    def forward(self, x, lengths):
        kept = torch.arange(x.size(1))[None, :] < lengths[:, None]
        logits = torch.bmm(x, x.transpose(1, 2)).masked_fill(~kept[:, None, :], -1e9)
        return torch.bmm(logits.softmax(2), x)


@module("xt memory_t")
class TimeFirst(Projections):
    """[L, B, D]; heads follow the batch."""

    def forward(self, x, memory):
        length, b = x.size(0), x.size(1)
        q = (self.query(x) * SCALE).view(length, b * HEADS, HEAD_DIM).transpose(0, 1)
        k, v = (
            layer(memory).view(MEMORY_LENGTH, b * HEADS, HEAD_DIM).transpose(0, 1)
            for layer in (self.key, self.value)
        )
        heads = torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v)
        return self.out(heads.transpose(0, 1).reshape(length, b, DIM))


# Attention pooling: one query.


@module("x float_mask")
class Pooling(nn.Module):
    """[B, L, 1], softmax over the positions, weighted sum by Mul and ReduceSum."""

    def __init__(self):
        super().__init__()
        self.score = nn.Linear(DIM, 1)

    def forward(self, x, mask):
        logits = self.score(x) + (1 - mask[:, :, None]) * -10000.0
        return (logits.softmax(1) * x).sum(1)


@module("x padding")
class PoolingProduct(nn.Module):
    """[B, L, 1] over axis 1, and a product."""

    def __init__(self):
        super().__init__()
        self.hidden, self.score = nn.Linear(DIM, HEAD_DIM), nn.Linear(HEAD_DIM, 1, bias=False)

    def forward(self, x, padding):
        logits = self.score(self.hidden(x).tanh()).masked_fill(padding[:, :, None], -math.inf)
        return torch.bmm(logits.softmax(1).transpose(1, 2), x).squeeze(1)


@module("x padding")
class PoolingRow(nn.Module):
    """[B, L], softmax over the last axis, and a product with [B, 1, L]."""

    def __init__(self):
        super().__init__()
        self.score = nn.Linear(DIM, 1)

    def forward(self, x, padding):
        logits = self.score(x).squeeze(-1).masked_fill(padding, -1e9)
        return torch.bmm(logits.softmax(-1)[:, None, :], x).squeeze(1)


@module("x memory memory_padding")
class LuongDecoder(Projections):
    """One step of a decoder: a query [B, D] over the memory."""

    def forward(self, x, memory, padding):
        query = self.query(x[:, -1])
        logits = torch.bmm(memory, query[:, :, None]).squeeze(2).masked_fill(padding, -math.inf)
        context = torch.bmm(logits.softmax(1)[:, None, :], memory).squeeze(1)
        return self.out(torch.cat([context, query], 1)[:, :DIM])


# No attention.


@module()
class ClassifierHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.classes = nn.Linear(DIM, 16), nn.Linear(16, 9)

    def forward(self, x):
        return self.classes(self.hidden(x.mean(1)).relu()).softmax(-1)


@module()
class TokenHead(nn.Module):
    """Softmax of each position, and its logarithm."""

    def __init__(self):
        super().__init__()
        self.classes = nn.Linear(DIM, 9)

    def forward(self, x):
        logits = self.classes(x)
        return logits.softmax(-1), logits.log_softmax(-1)


@module()
class SoftmaxOverQueries(Projections):
    """Each key shares itself out to the queries: no attention that an operator here has."""

    def forward(self, x):
        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        return self.out(merge(torch.matmul(scores(q, k).softmax(dim=-2), v)))


@module()
class SoftmaxOverHeads(Projections):
    def forward(self, x):
        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        return self.out(merge(torch.matmul(scores(q, k).softmax(dim=1), v)))


@module()
class ExpertMixture(nn.Module):
    """Softmax of a router, product with what experts say: it has the form of attention pooling."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(DIM, 4)
        self.experts = nn.ModuleList(nn.Linear(DIM, DIM) for _ in range(4))

    def forward(self, x):
        weights = self.router(x).softmax(-1)[:, :, None, :]
        return torch.matmul(weights, torch.stack([e(x) for e in self.experts], 2)).squeeze(2)


@module()
class LearnedMemory(nn.Module):
    """Softmax of a layer, product with a parameter: attention over learned keys and values."""

    def __init__(self):
        super().__init__()
        self.keys, self.values = (nn.Parameter(torch.randn(8, DIM)) for _ in range(2))

    def forward(self, x):
        return torch.matmul((torch.matmul(x, self.keys.t()) * SCALE).softmax(-1), self.values)


@module()
class Gates(nn.Module):
    """GLU, tanh times sigmoid, and a highway."""

    def __init__(self):
        super().__init__()
        self.both = nn.Linear(DIM, 2 * DIM)
        self.gate, self.carry = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)

    def forward(self, x):
        x = functional.glu(self.both(x), -1)
        x = self.gate(x).tanh() * self.carry(x).sigmoid()
        t = self.carry(x).sigmoid()
        return t * self.gate(x).relu() + (1 - t) * x
