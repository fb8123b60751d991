"""Trains a small causal transformer on characters of Python's help, on the CPU with PyTorch: with
masked_attention and, from the same seed on the same batches, with scaled_dot_product_attention.

    python examples/torch/causal_transformer.py [--output DIR] [--steps N] [--seed N]

Passages differ in length, so that batches are padded. SDPA is run twice: with the mask of what is
kept, which says padding and causality as models of transformers do, and with ``is_causal`` alone.
That is the same here, where the loss leaves padding out and padding is at the end.
"""

import os
import statistics
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import caffe2op_mask
import help_topics
from decoder import Decoder
from program import Parser

STEPS = 150
BATCH_SIZE = 8
CONTEXT = 512
MOST_SENTENCES = 8
WIDTH, HEADS, LAYERS = 128, 4, 3
LEARNING_RATE = 2e-3
WARM_UP = 20
# How far losses may be apart: rounding grows as weights are updated by it.
TOLERANCE = 0.02
PADDING = 0

OURS, MASKED, CAUSAL = "masked_attention", "SDPA, mask", "SDPA, is_causal"
STYLES = {
    OURS: ("tab:blue", "-", 4.0),
    MASKED: ("tab:orange", "--", 2.0),
    CAUSAL: ("black", ":", 1.2),
}


class Passages:
    """Passages of one sentence or of several that follow one another, as numbers of characters."""

    def __init__(self, seed):
        sentences = [one.text + "\n" for one in help_topics.load()]
        characters = sorted(set("".join(sentences)))
        self._ids = {character: i + 1 for i, character in enumerate(characters)}
        self.alphabet = len(characters) + 1
        self._sentences = sentences
        self._random = np.random.RandomState(seed)

    def draw(self):
        """A batch of them, ``[B, L]``, padded at the end, and their lengths."""
        texts = []
        for _ in range(BATCH_SIZE):
            count = self._random.randint(1, MOST_SENTENCES + 1)
            first = self._random.randint(len(self._sentences) - count)
            texts.append("".join(self._sentences[first : first + count])[: CONTEXT + 1])
        rows = [torch.tensor([self._ids[one] for one in text]) for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        return torch.nn.utils.rnn.pad_sequence(rows, True, PADDING), lengths


def attentions(lengths, length):
    """By name, attention of ``[B, L, H, D]`` to what is kept."""
    places = torch.arange(length)
    keep = (places < lengths[:, None])[:, None, None, :] & (places <= places[:, None])

    def of(function, **options):
        def attend(layer, *heads):
            return function(*(one.transpose(1, 2) for one in heads), **options).transpose(1, 2)

        return attend

    return {
        OURS: of(caffe2op_mask.masked_attention, lengths=lengths, is_causal=True),
        MASKED: of(F.scaled_dot_product_attention, attn_mask=keep),
        CAUSAL: of(F.scaled_dot_product_attention, is_causal=True),
    }


class Run:
    """A model, its optimizer, and how its training went."""

    def __init__(self, alphabet, seed):
        torch.manual_seed(seed)
        self.model = Decoder(alphabet, WIDTH, HEADS, LAYERS)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), LEARNING_RATE)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: min(1.0, (step + 1) / WARM_UP)
        )
        self.losses, self.seconds = [], []

    def step(self, ids, following, places, attend):
        begin = time.perf_counter()
        logits = self.model(ids, places, attend)
        loss = F.cross_entropy(logits.flatten(0, 1), following.flatten(), ignore_index=PADDING)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._schedule.step()
        self.seconds.append(time.perf_counter() - begin)
        self.losses.append(loss.item() / np.log(2))

    def milliseconds(self):
        """Of a step; the first of all sets things up."""
        return 1000 * statistics.median(self.seconds[1:] or self.seconds)


def train(passages, options):
    """A run by name of attention; each step of one is followed by the same step of the next, so
    that whatever else the machine does slows all alike. Also the share of padding."""
    runs = {name: Run(passages.alphabet, options.seed) for name in STYLES}
    kept = entries = 0
    with tqdm(total=options.steps, unit="step", disable=not sys.stderr.isatty()) as bar:
        for _ in range(options.steps):
            ids, lengths = passages.draw()
            ids, following, lengths = ids[:, :-1], ids[:, 1:], lengths - 1
            places = torch.arange(ids.shape[1]).expand_as(ids)
            for name, attend in attentions(lengths, ids.shape[1]).items():
                runs[name].step(ids, following, places, attend)
            kept, entries = kept + lengths.sum().item(), entries + ids.numel()
            bar.set_postfix(bits="{:.2f}".format(runs[OURS].losses[-1]), refresh=False)
            bar.update()
    return runs, 1 - kept / entries


def draw(path, runs):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (curves, bars) = pyplot.subplots(
        1, 2, figsize=(10, 4), gridspec_kw={"width_ratios": [3, 2]}, constrained_layout=True
    )
    for name, run in runs.items():
        color, style, width = STYLES[name]
        steps = range(1, len(run.losses) + 1)
        curves.plot(steps, run.losses, style, color=color, linewidth=width, label=name)
    curves.set_xlabel("step")
    curves.set_ylabel("bits per character")
    curves.set_title("Loss, one curve on another")
    curves.legend()
    names = list(runs)
    times = [runs[name].milliseconds() for name in names]
    drawn = bars.bar(names, times, color=[STYLES[name][0] for name in names])
    bars.bar_label(drawn, ["{:.0f} ms".format(one) for one in times])
    bars.margins(y=0.12)
    bars.set_title("Time of a step, median")
    bars.set_ylabel("ms")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments=None):
    parser = Parser(__doc__)
    parser.add_output("folder for the picture of losses and times")
    parser.add_number("steps", STEPS, "steps of training (default %(default)s)", 1)
    options = parser.parse_args(arguments)

    passages = Passages(options.seed)
    runs, padding = train(passages, options)
    count = sum(one.numel() for one in runs[OURS].model.parameters())
    print(
        "{} parameters, {} threads, {} steps of {} passages of up to {} characters; {:.0%} of the "
        "batches is padding.".format(
            count, torch.get_num_threads(), options.steps, BATCH_SIZE, CONTEXT, padding
        )
    )
    ours = runs[OURS].milliseconds()
    for name, run in runs.items():
        print(
            "  {:17} {:7.1f} ms a step, {:4.2f} of that of masked_attention; {:.4f} bits per "
            "character at first, {:.4f} at last".format(
                name, run.milliseconds(), run.milliseconds() / ours, run.losses[0], run.losses[-1]
            )
        )
    apart = max(
        abs(one - other)
        for run in runs.values()
        for one, other in zip(runs[OURS].losses, run.losses)
    )
    print("Losses of the same step differ by {:.1e} bits at most.".format(apart))
    picture = os.path.join(options.output, "causal_transformer.png")
    draw(picture, runs)
    print("Picture: {}".format(picture))
    if apart > TOLERANCE:
        sys.exit("Losses differ by {:.3f} bits, more than {}.".format(apart, TOLERANCE))


if __name__ == "__main__":
    main()
