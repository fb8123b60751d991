"""Work of PyTorch's users: ours beside what torch has for it. Run by torch_bench.py."""

import math
from unittest import mock

import torch
import torch.nn.functional as F

import caffe2op_mask as m


class Case:
    """Contenders by name, ours first; each is called without arguments, and all give the same."""

    def __init__(self, name, contenders, calls=1, tolerance=1e-4):
        self.name = name
        self.contenders = contenders
        self.calls = calls  # of what is timed as one
        self.tolerance = tolerance


def _normal(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype)


def _trained(function, leaves, gradient):
    """The function and its gradients."""
    leaves = [leaf.requires_grad_() for leaf in leaves]

    def run():
        return torch.autograd.grad(function(), leaves, gradient)

    return run


def _flex(q, k, v, keep):
    """FlexAttention, compiled, which has no backward pass on a CPU; None where it is not there."""
    try:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    except ImportError:
        return None
    mask = None
    if keep is not None:
        batch, _, length, _ = q.shape
        mask = create_block_mask(keep, batch, None, length, k.shape[2], device="cpu")
    compiled = torch.compile(flex_attention)
    return lambda: compiled(q, k, v, block_mask=mask)


def attention_masks(batch, length):
    """By name: our options, SDPA's, and FlexAttention's rule."""
    lengths = torch.linspace(1, length, batch).long() if batch > 1 else torch.tensor([length // 2])
    columns = torch.arange(length)
    padded = (columns < lengths[:, None])[:, None, None, :]
    band = (columns[:, None] - columns).abs() <= 64
    return {
        "dense": ({}, {}, None),
        "causal": (
            {"is_causal": True},
            {"is_causal": True},
            lambda b, h, i, j: i >= j,
        ),
        "padded": (
            {"lengths": lengths},
            {"attn_mask": padded},
            lambda b, h, i, j: j < lengths[b],
        ),
        "window of 64": (
            {"window": 64},
            {"attn_mask": band},
            lambda b, h, i, j: (i - j).abs() <= 64,
        ),
    }


def attention(batch, heads, length, depth, dtype, name, training):
    ours, theirs, rule = attention_masks(batch, length)[name]
    # Heads as a view of [B, L, H, D], which is what models pass.
    q, k, v = (
        _normal(batch, length, heads, depth, dtype=dtype).transpose(1, 2) for _ in range(3)
    )
    contenders = {
        "ours": lambda: m.masked_attention(q, k, v, **ours),
        "SDPA": lambda: F.scaled_dot_product_attention(q, k, v, **theirs),
    }
    if training:
        contenders = {
            who: _trained(run, [q, k, v], torch.ones_like(q)) for who, run in contenders.items()
        }
    elif dtype == torch.float32 and batch * length <= 4096:
        flex = _flex(q, k, v, rule)
        if flex:
            contenders["FlexAttention, compiled"] = flex
    title = "attention {}{}, {}x{}x{}x{} {}".format(
        name, " training" if training else "", batch, heads, length, depth, str(dtype)[6:]
    )
    return Case(title, contenders, tolerance=1e-3 if dtype == torch.float32 else 0.1)


def decoding(batch, heads, kv_heads, keys, dtype):
    """One query for each of sequences that have filled different parts of a cache."""
    q = _normal(batch, heads, 1, 64, dtype=dtype)
    k, v = (_normal(batch, kv_heads, keys, 64, dtype=dtype) for _ in range(2))
    lengths = torch.linspace(keys // batch, keys, batch).long()
    keep = (torch.arange(keys) < lengths[:, None])[:, None, None, :]
    grouped = heads != kv_heads

    def loop():
        parts = [
            F.scaled_dot_product_attention(
                q[b : b + 1], k[b : b + 1, :, :n], v[b : b + 1, :, :n], enable_gqa=grouped
            )
            for b, n in enumerate(lengths.tolist())
        ]
        return torch.cat(parts)

    contenders = {
        "ours": lambda: m.masked_attention(q, k, v, lengths=lengths, enable_gqa=grouped),
        "SDPA": lambda: F.scaled_dot_product_attention(
            q, k, v, attn_mask=keep, enable_gqa=grouped
        ),
        "SDPA in a loop": loop,
    }
    title = "decoding, {} of up to {} keys, {} heads over {} {}".format(
        batch, keys, heads, kv_heads, str(dtype)[6:]
    )
    return Case(title, contenders, tolerance=1e-3 if dtype == torch.float32 else 0.1)


def softmax(name, dtype):
    x = _normal(32, 12, 128, 128, dtype=dtype)
    lengths = torch.linspace(1, 128, 32).long()
    options, keep = {
        "plain": ({}, None),
        "padded": (
            {"lengths": lengths},
            (torch.arange(128) < lengths[:, None])[:, None, None, :],
        ),
        "causal": ({"is_causal": True}, torch.ones(128, 128).tril().bool()),
        "random mask": (lambda keep: ({"mask": keep}, keep))(torch.rand(32, 1, 128, 128) < 0.5),
    }[name]

    def chain():
        return torch.softmax(x if keep is None else x.masked_fill(~keep, -math.inf), -1)

    compiled = torch.compile(chain)
    return Case(
        "softmax {}, 32x12x128x128 {}".format(name, str(dtype)[6:]),
        {"ours": lambda: m.masked_softmax(x, **options), "eager": chain, "compiled": compiled},
        tolerance=0.02,
    )


def rows(count, columns=64):
    x = _normal(count, columns)
    keep = torch.rand(count) < 0.5
    kept = x[keep]
    out = torch.zeros_like(x)
    return [
        Case(
            "boolean_mask, {} rows of {}".format(count, columns),
            {
                "ours": lambda: m.boolean_mask(x, keep),
                "x[mask]": lambda: x[keep],
                "masked_select": lambda: x.masked_select(keep[:, None]).view(-1, columns),
            },
            calls=1000 if count < 1000 else 1,
        ),
        Case(
            "boolean_unmask, {} rows of {}".format(count, columns),
            {
                "ours": lambda: m.boolean_unmask(keep, kept, fill_val=0.0),
                "masked_scatter": lambda: out.masked_scatter(keep[:, None], kept),
                "index_put": lambda: torch.index_put(out, (keep,), kept),
            },
            calls=1000 if count < 1000 else 1,
        ),
    ]


def small_calls():
    q, k, v = (_normal(1, 4, 8, 16) for _ in range(3))
    x = _normal(16)
    return [
        Case(
            "1000 small calls of attention",
            {
                "ours": lambda: m.masked_attention(q, k, v),
                "SDPA": lambda: F.scaled_dot_product_attention(q, k, v),
            },
            calls=1000,
        ),
        Case(
            "1000 small calls of a softmax",
            {"ours": lambda: m.masked_softmax(x), "torch.softmax": lambda: torch.softmax(x, -1)},
            calls=1000,
        ),
    ]


def _each_sequence(q, k, v, cu_seq_q, cu_seq_k, *, scale, **_):
    """`varlen_attention` as people write it without: SDPA in a loop over sequences."""
    ends = cu_seq_q.tolist()
    q, k, v = (one.transpose(0, 1)[None] for one in (q, k, v))
    parts = [
        F.scaled_dot_product_attention(
            *(one[:, :, begin:end] for one in (q, k, v)), scale=scale
        )
        for begin, end in zip(ends, ends[1:])
    ]
    return torch.cat(parts, dim=2)[0].transpose(0, 1)


def encoder(batch, padding, length=256):
    """An encoder of the size of all-MiniLM-L6-v2, from end to end, on rows of up to `length`."""
    try:
        from transformers import BertConfig, BertModel
    except ImportError:
        return []
    config = BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    models = {}
    for who in ("padded", "packed"):
        torch.manual_seed(0)
        models[who] = BertModel(config).eval()
    m.transformers.unpadded(models["packed"])
    ids = torch.randint(config.vocab_size, (batch, length))
    # Lengths rise to `length` so that their mean leaves out the share that is asked for.
    shares = ((torch.arange(batch) + 0.5) / batch) ** (padding / (1 - padding))
    lengths = (length * shares).ceil().long()
    lengths[-1] = length
    kept = torch.arange(length) < lengths[:, None]

    def run(who):
        return models[who](ids, attention_mask=kept).last_hidden_state[kept]

    def loop():
        with mock.patch.object(m.functional, "varlen_attention", _each_sequence):
            return run("packed")

    title = "encoder, {} rows of up to {}, {:.0%} padding float32".format(
        batch, length, 1 - kept.float().mean().item()
    )
    contenders = {"ours": lambda: run("packed"), "sdpa": lambda: run("padded")}
    if padding:
        contenders["packed, SDPA in a loop"] = loop
    return Case(title, contenders)


def cases():
    """Functions that make a case, or several."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for shape in ((8, 8, 512, 64), (1, 8, 2048, 64)):
            if dtype != torch.float32 and shape[0] == 1:
                continue
            for name in ("dense", "causal", "padded", "window of 64"):
                for training in (False, True):
                    yield lambda a=(*shape, dtype, name, training): attention(*a)
    for dtype in (torch.float32, torch.bfloat16):
        for batch, heads, kv_heads in ((8, 8, 8), (8, 32, 8), (8, 8, 1), (1, 8, 8)):
            yield lambda a=(batch, heads, kv_heads, 4096, dtype): decoding(*a)
        for name in ("plain", "padded", "causal", "random mask"):
            yield lambda a=(name, dtype): softmax(*a)
    for count in (1, 16, 1000, 100_000, 1_000_000):
        yield lambda count=count: rows(count)
    yield small_calls
    for batch in (8, 32):
        for padding in (0.0, 0.1, 0.3, 0.5, 0.7):
            yield lambda a=(batch, padding): encoder(*a)
