"""Decodes from a ragged cache of keys and values: prompts of different lengths, one batch.

    python examples/torch/ragged_cache.py [--prompts N] [--tokens N] [--seed N]

The cache is ``[B, H, capacity, D]`` and filled to another length for each prompt. masked_attention
takes the lengths and reads no further; scaled_dot_product_attention takes a bool mask of the whole
cache. Prompts are read by varlen_attention, one behind the other, and by SDPA as a padded batch.
Each way writes what each prompt alone is answered with. The model has random weights, and its
tokens are bytes of Python's help; heads of queries share those of keys.
"""

import os
import sys
import time

import torch
import torch.nn.functional as F
from pydoc_data.topics import topics
from tqdm import tqdm

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import caffe2op_mask
from decoder import Decoder
from program import Parser

BYTES = 256
WIDTH, HEADS, KV_HEADS, LAYERS = 256, 8, 2, 4
DEPTH = WIDTH // HEADS
LONGEST, SHORTEST = 2000, 50
PROMPTS, TOKENS = 8, 32


def prompts_of(count):
    """Beginnings of topics, the first ones short and the last ones long."""
    texts = sorted(topics.values(), key=len, reverse=True)
    lengths = torch.linspace(SHORTEST, LONGEST, count).long()
    return [
        torch.tensor(list(text.encode()[:length])) for text, length in zip(texts, lengths.tolist())
    ]


class Cache:
    """Keys and values of each layer, ``[B, KV_HEADS, capacity, DEPTH]``, and how many there are."""

    def __init__(self, lengths, capacity):
        shape = (LAYERS, len(lengths), KV_HEADS, capacity, DEPTH)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)
        self.lengths = lengths.clone()

    def put(self, layer, sequences, places, k, v):
        """Stores ``[n, KV_HEADS, DEPTH]`` at n places of n sequences."""
        self.keys[layer][sequences, :, places] = k
        self.values[layer][sequences, :, places] = v


class Ragged:
    """masked_attention and varlen_attention: no padding is computed."""

    name = "masked_attention"

    def read(self, model, prompts, capacity):
        """The cache after the prompts, and the logits behind each."""
        lengths = torch.tensor([len(one) for one in prompts])
        ends = F.pad(lengths.cumsum(0), (1, 0))
        sequences = torch.repeat_interleave(torch.arange(len(prompts)), lengths)
        places = torch.arange(len(sequences)) - ends[sequences]
        cache = Cache(lengths, capacity)

        def attend(layer, q, k, v):
            cache.put(layer, sequences, places, k, v)
            return caffe2op_mask.varlen_attention(q, k, v, ends, is_causal=True, enable_gqa=True)

        return cache, model(torch.cat(prompts), places, attend)[ends[1:] - 1]

    def attend(self, q, keys, values, lengths):
        return caffe2op_mask.masked_attention(q, keys, values, lengths=lengths, enable_gqa=True)


class Padded:
    """SDPA, which a bool mask keeps from padding."""

    name = "SDPA, mask"

    def read(self, model, prompts, capacity):
        lengths = torch.tensor([len(one) for one in prompts])
        ids = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True)
        places = torch.arange(ids.shape[1])
        cache = Cache(lengths, capacity)

        def attend(layer, q, k, v):
            q, k, v = (one.transpose(1, 2) for one in (q, k, v))
            cache.keys[layer][:, :, : len(places)] = k
            cache.values[layer][:, :, : len(places)] = v
            # Padding is at the end, where no query that counts sees it.
            return F.scaled_dot_product_attention(
                q, k, v, is_causal=True, enable_gqa=True
            ).transpose(1, 2)

        logits = model(ids, places.expand_as(ids), attend)
        return cache, logits[torch.arange(len(prompts)), lengths - 1]

    def attend(self, q, keys, values, lengths):
        keep = (torch.arange(keys.shape[2]) < lengths[:, None])[:, None, None, :]
        return F.scaled_dot_product_attention(q, keys, values, attn_mask=keep, enable_gqa=True)


def decode(model, way, prompts, tokens, bar):
    """The tokens that follow each prompt, ``[B, tokens]``, each the likeliest; seconds of reading
    the prompts and of a token."""
    begin = time.perf_counter()
    capacity = max(len(one) for one in prompts) + tokens
    cache, logits = way.read(model, prompts, capacity)
    middle = time.perf_counter()
    sequences = torch.arange(len(prompts))

    def attend(layer, q, k, v):
        cache.put(layer, sequences, cache.lengths, k, v)
        return way.attend(
            q[:, :, None], cache.keys[layer], cache.values[layer], cache.lengths + 1
        ).squeeze(2)

    written = [logits.argmax(-1)]
    for _ in range(tokens - 1):
        written.append(model(written[-1], cache.lengths, attend).argmax(-1))
        cache.lengths += 1
        bar.update()
    bar.update()
    end = time.perf_counter()
    return torch.stack(written, 1), middle - begin, (end - middle) / max(tokens - 1, 1)


def main(arguments=None):
    parser = Parser(__doc__)
    parser.add_number("prompts", PROMPTS, "prompts of a batch (default %(default)s)", 1, 64)
    parser.add_number("tokens", TOKENS, "tokens for each (default %(default)s)", 1, 1024)
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    model = Decoder(BYTES, WIDTH, HEADS, LAYERS, KV_HEADS).eval()
    prompts = prompts_of(options.prompts)
    lengths = [len(one) for one in prompts]
    steps = (2 + len(prompts)) * options.tokens
    with torch.no_grad(), tqdm(
        total=steps, unit="token", disable=not sys.stderr.isatty()
    ) as bar:
        results = {
            way.name: decode(model, way, prompts, options.tokens, bar)
            for way in (Ragged(), Padded())
        }
        alone = [decode(model, Padded(), [one], options.tokens, bar) for one in prompts]
    expected = torch.cat([one for one, _, _ in alone])
    results["SDPA, each alone"] = (expected, *(sum(one[i] for one in alone) for i in (1, 2)))

    print(
        "{} prompts of {} to {} tokens, {} tokens written to each, {} threads; {:.0%} of the "
        "padded prompts is padding.".format(
            len(prompts),
            min(lengths),
            max(lengths),
            options.tokens,
            torch.get_num_threads(),
            1 - sum(lengths) / (len(lengths) * max(lengths)),
        )
    )
    _, *ours = results[Ragged.name]
    for name, (tokens, reading, token) in results.items():
        print(
            "  {:17} prompts {:7.1f} ms ({:5.2f} of ours), a token of each {:6.1f} ms ({:5.2f}); "
            "{} of {} tokens as alone".format(
                name,
                1000 * reading,
                reading / ours[0],
                1000 * token,
                token / ours[1],
                (tokens == expected).sum(),
                expected.numel(),
            )
        )
    if not torch.equal(results[Ragged.name][0], expected):
        sys.exit("masked_attention wrote other tokens than each prompt alone has.")


if __name__ == "__main__":
    main()
