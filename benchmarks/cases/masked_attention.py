"""MaskedAttention forward, in training and in decoding; and for kept_share.py over kept shares."""

import numpy as np

from cases import scores
from cases.case import OURS_NO_MASK, STOCK, Case, Spec, Target, gradient_of, op

SDPA, SDPA_MASKED, SDPA_CAUSAL = "SDPA, no mask", "SDPA, attn_mask", "SDPA, is_causal"
COMPOSED = "matmul, softmax, matmul"
PRODUCTS, LOOP = "NumPy products", "NumPy loop of dot products"

BATCHED, LONG, SWEPT = (8, 8, 512, 64), (1, 8, 2048, 64), (4, 8, 1024, 64)


def torch_attention(torch, inputs, kept, d_output=None):
    """torch's SDPA, or where there is none, what it stands for; and its gradient to train.

    SDPA has no sinks. A bias is an attn_mask to it.
    """
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    q, k, v = (tensors[name] for name in "QKV")
    bias, sinks = tensors.get("bias"), tensors.get("sinks")
    keep = None if kept.keep is None else torch.from_numpy(kept.keep)
    empty = keep is not None and not keep.any(-1).all()
    sdpa = getattr(torch.nn.functional, "scaled_dot_product_attention", None)

    def composed():
        s = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
        if bias is not None:
            s = s + bias
        if keep is not None:
            s = s.masked_fill(~keep, float("-inf"))
        if sinks is not None:
            s = torch.cat([s, sinks[:, None, None].expand(s.shape[:-1] + (1,))], -1)
        p = torch.softmax(s, -1)
        if sinks is not None:
            p = p[..., :-1]
        if empty:  # Rows of which nothing is kept are NaN.
            p = p.masked_fill(~keep, 0.0)
        return torch.matmul(p, v)

    if sdpa is None or sinks is not None:
        functions = {COMPOSED: composed}
    elif bias is not None:
        functions = {SDPA_MASKED: lambda: sdpa(q, k, v, attn_mask=bias)}
    else:
        functions = {SDPA: lambda: sdpa(q, k, v)}
        if keep is not None:
            functions[SDPA_MASKED] = lambda: sdpa(q, k, v, attn_mask=keep)
        if kept.arguments == scores.CAUSAL:
            functions[SDPA_CAUSAL] = lambda: sdpa(q, k, v, is_causal=True)
    if d_output is None:
        return functions
    leaves = [tensor.requires_grad_() for tensor in tensors.values()]
    d_o = torch.from_numpy(d_output)

    def train(forward):
        o = forward()
        gradients = torch.autograd.grad(o, leaves, d_o)
        return dict(zip(map(gradient_of, tensors), gradients), O=o)

    return {name: lambda forward=forward: train(forward) for name, forward in functions.items()}


def stock_attention(shape, kept, bias, sinks):
    """Sinks are one more column of the scores, which the softmax's result then goes without."""
    if kept.stock is None:
        return []
    chain = [op("BatchMatMul", "Q K", "products", trans_b=1),
             op("Scale", "products", "scores", scale=shape[-1] ** -0.5)]
    if bias:
        chain.append(op("Add", "scores bias", "biased"))
    mask, masked = kept.stock_mask("biased" if bias else "scores", "masked")
    chain += mask
    if sinks:
        chain += [op("ExpandDims", "sinks", "of_heads", dims=[1, 2]),
                  op("Add", "zeros of_heads", "column"),
                  op("Concat", masked + " column", "joined _", axis=3),
                  op("Softmax", "joined", "all", axis=3),
                  op("Slice", "all", "P", starts=(0, 0, 0, 0), ends=(-1, -1, -1, -2))]
    else:
        chain.append(op("Softmax", masked, "P", axis=3))
    return chain + [op("BatchMatMul", "P V", "O")]


def _attention(shape, kept, training, targets=(), untimed=(), bias=False, sinks=False):
    """MaskedAttention of Q, K and V of `shape`; NumPy's products are those of the whole matrices.

    To train is the forward pass, the backward pass, and gradients to all inputs of reals.
    """
    random = np.random.RandomState(5)
    q, k, v, d_output = (random.randn(*shape).astype(np.float32) for _ in range(4))
    reals = {"Q": q, "K": k, "V": v}
    inputs, arguments = dict(reals, **kept.inputs), dict(kept.arguments)
    stock_inputs = dict(kept.stock_inputs)
    if bias:
        reals["bias"] = random.randn(1, 1, 1, shape[2]).astype(np.float32)
        arguments["has_bias"] = 1
    if sinks:
        reals["sinks"] = random.randn(shape[1]).astype(np.float32)
        arguments["has_sinks"] = 1
        stock_inputs["zeros"] = np.zeros(shape[:-1] + (1,), dtype=np.float32)
    products_out, output = np.empty(shape[:-1] + shape[2:3], dtype=np.float32), np.empty_like(q)

    def products():
        np.matmul(q, k.swapaxes(2, 3), out=products_out)
        np.matmul(products_out, v, out=output)

    inputs.update(reals)
    return Case(
        "MaskedAttention", inputs, ["O", "LSE"] if training else ["O"], None, targets, PRODUCTS,
        peers={PRODUCTS: products},
        torch_peers=lambda torch: torch_attention(
            torch, reals, kept, d_output if training else None),
        yardsticks=[PRODUCTS] if kept.keep is None else [PRODUCTS, SDPA], untimed=untimed,
        stock=stock_attention(shape, kept, bias, sinks), stock_inputs=stock_inputs,
        no_mask=kept.keep is not None, d_output=d_output if training else None,
        trained=list(reals), kept=kept.share(), **arguments)


def _scores(shape):
    return shape[:3] + shape[2:3]


def attention(shape, mask="plain", kept=None, width=None, training=False, **more):
    """`kept` is in percent, of padding; `width` is a window's."""
    of = _scores(shape)
    lengths = None if kept is None else scores.ragged(kept / 100, shape[0], shape[2])
    kept = {
        "plain": lambda: scores.plain(of),
        "causal": lambda: scores.triangle(of),
        "padded": lambda: scores.padding(of, lengths),
        "left_pad": lambda: scores.left_padding(of, lengths),
        "window": lambda: scores.band(of, width),
    }[mask]()
    targets = {
        "plain": [] if training else [Target(1.0, SDPA)],
        "causal": [Target(1.0, SDPA_CAUSAL)] + ([] if training else [Target(0.65, OURS_NO_MASK)]),
        "window": [Target(0.15, SDPA)],
    }.get(mask, [Target(1.2 * kept.share(), SDPA)])
    return _attention(shape, kept, training, [] if more else targets, **more)


def decoding(shape, keys):
    """One query for each sequence, on the keys and values that it has so far."""
    batch, heads, _, depth = shape
    random = np.random.RandomState(5)
    q = random.randn(*shape).astype(np.float32)
    k, v = (random.randn(batch, heads, keys, depth).astype(np.float32) for _ in range(2))
    lengths = scores.ragged(0.5, batch, keys)
    kept = scores.padding((batch, heads, 1, keys), lengths)
    output = np.empty_like(q)

    def loop():
        for b, length in enumerate(lengths):
            for h in range(heads):
                s = k[b, h, :length] @ (q[b, h, 0] * depth ** -0.5)
                p = np.exp(s - s.max())
                output[b, h, 0] = p @ v[b, h, :length] / p.sum()
        return output

    inputs = {"Q": q, "K": k, "V": v}
    return Case(
        "MaskedAttention", dict(inputs, **kept.inputs), ["O"],
        int(2 * lengths.sum()) * heads * depth * 4, [Target(1.0, LOOP)], LOOP, peers={LOOP: loop},
        torch_peers=lambda torch: torch_attention(torch, inputs, kept),
        yardsticks=[SDPA], stock=False, **kept.arguments)


def _spec(form, shape, **fields):
    return Spec("MaskedAttention", "{operator}" + form + ", {shape}", attention, shape=shape,
                **fields)


CASES = [
    _spec("", BATCHED),
    _spec(" {mask}", BATCHED, mask="causal"),
    _spec(" {mask}, {kept} % kept", BATCHED, mask="padded", kept=49),
    _spec(" {mask}, {kept} % kept", BATCHED, mask="left_pad", kept=49),
    _spec(" {mask} with sinks", BATCHED, mask="causal", sinks=True),
    _spec("", LONG),
    _spec(" {mask}", LONG, mask="causal"),
    _spec(" {mask} of {width}", LONG, mask="window", width=64),
    _spec(" training", BATCHED, training=True),
    _spec(" {mask} training", BATCHED, mask="causal", training=True),
    _spec(" {mask} with sinks training", BATCHED, mask="causal", sinks=True, training=True),
    _spec(" with a bias of keys training", BATCHED, bias=True, training=True),
    _spec(" training", LONG, training=True),
    _spec(" {mask} training", LONG, mask="causal", training=True),
    Spec("MaskedAttention", "{operator} decoding, {shape} of {keys} keys", decoding,
         shape=(8, 8, 1, 64), keys=4096),
]


def _of_share(mask, shape, share):
    """A mask of scores that keeps about so much of them."""
    length = shape[2]
    if mask == "padding":
        return scores.padding(shape, scores.ragged(share, shape[0], length))
    if mask == "window":  # Kept is 1 - (1 - w)^2, for a width of w times the length.
        return scores.band(shape, int(length * (1 - (1 - share) ** 0.5)))
    if share <= 0.5:  # Below half, a triangle of the share's root; above, all but the other one.
        return scores.triangle(shape, int(length * ((2 * share) ** 0.5 - 1)))
    return scores.triangle(shape, int(length * (1 - (2 - 2 * share) ** 0.5)))


def _kept_share(shape, mask, direction, kept):
    return _attention(shape, _of_share(mask, _scores(shape), kept / 100),
                      direction == "training", untimed=[STOCK, COMPOSED])


# Time against the kept share, for kept_share.py.
KEPT_SHARE = [
    Spec("MaskedAttention", "{mask} {direction}, {kept} % kept", _kept_share, mask=mask,
         direction=direction, kept=kept, shape=SWEPT)
    for direction in ("forward", "training")
    for mask in ("padding", "window", "causal")
    for kept in (2, 5, 10, 25, 50, 75, 100)
]
