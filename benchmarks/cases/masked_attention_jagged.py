"""MaskedAttentionJagged of sequences of different lengths, beside attention of the padded batch."""

import numpy as np

from cases import scores
from cases.case import OURS_PADDED, Case, Spec, Target, op
from cases.masked_attention import BATCHED, stock_attention, torch_attention

PRODUCTS = "NumPy products of each sequence"


def attention(shape, mask, kept, training=False):
    """Sequences that are `kept` percent of a batch of `shape`.

    The others compute the batch with its padding at the end: masked as keys, or by the triangle
    alone, which hides it from every query that is none.
    """
    batch, heads, length, depth = shape
    lengths = scores.ragged(kept / 100, batch, length)
    keep = np.arange(length) < lengths[:, np.newaxis]
    of = (batch, heads, length, length)
    causal = mask == "causal"
    masked = scores.triangle(of) if causal else scores.padding(of, lengths)

    def unpad(array):
        """[B, H, L, ..] -> [T, H, ..]"""
        return np.ascontiguousarray(array.swapaxes(1, 2)[keep])

    random = np.random.RandomState(5)
    padded = {name: random.randn(*shape).astype(np.float32) for name in "QKV"}
    d_output = (random.randn(*shape) * keep[:, np.newaxis, :, np.newaxis]).astype(np.float32)
    rows = {name: unpad(array) for name, array in padded.items()}
    ends = np.cumsum(lengths)[:-1]
    parts = [[each.swapaxes(0, 1) for each in np.split(rows[name], ends)] for name in "QKV"]

    def products():
        for q, k, v in zip(*parts):
            np.matmul(np.matmul(q, k.swapaxes(1, 2)), v)

    outputs = ["O", "LSE"] if training else ["O"]
    arguments = {"mode": "upper"} if causal else {}
    by_lengths = op("MaskedAttention", "Q K V lengths", " ".join(outputs),
                    mode="upper+sequence" if causal else "sequence")
    return Case(
        "MaskedAttentionJagged", dict(rows, lengths=lengths), outputs, None,
        [Target(1.0, OURS_PADDED)], PRODUCTS, peers={PRODUCTS: products},
        torch_peers=lambda torch: torch_attention(
            torch, padded, masked, d_output if training else None),
        yardsticks=[PRODUCTS], stock=stock_attention(shape, masked, False, False),
        stock_inputs=dict(masked.stock_inputs, lengths=lengths, d_output=d_output, **padded),
        padded=[by_lengths], unpad=unpad, d_output=unpad(d_output) if training else None,
        trained=list(padded), **arguments)


CASES = [
    Spec("MaskedAttentionJagged", "{operator}" + form + ", {kept} % kept, {shape}", attention,
         shape=BATCHED, kept=49, **fields)
    for form, fields in (
        ("", {"mask": "plain"}),
        (" {mask}", {"mask": "causal"}),
        (" training", {"mask": "plain", "training": True}),
        (" {mask} training", {"mask": "causal", "training": True}),
    )
]
