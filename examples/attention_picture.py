"""Draws what a net attended to, and what its masks hid."""

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402  (the backend is chosen before)
from matplotlib.colors import PowerNorm  # noqa: E402
from matplotlib.patches import Patch, Polygon, Rectangle  # noqa: E402

HIDDEN = "#e9e6e1"
HATCH = "#b9b4ab"
OPEN = "#b0413e"


def _draw_padding(axes, row, begin, end, weight, hidden):
    """Hatches the padding of a row and writes on it what part of the attention it got."""
    if begin == end:
        return
    axes.add_patch(
        Rectangle(
            (begin - 0.5, row - 0.5),
            end - begin,
            1,
            facecolor=HIDDEN if hidden else "none",
            edgecolor=HATCH if hidden else OPEN,
            hatch="///",
            linewidth=0,
        )
    )
    axes.text(
        (begin + end - 1) / 2,
        row,
        "{:.1%}".format(weight),
        ha="center",
        va="center",
        fontsize=8,
        color="#555555" if hidden else OPEN,
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"},
    )


def _draw_batch(axes, sentences, answers, weights, norm, hidden):
    """A row for each sentence, a cell for each place: its weight as colour, its word as text."""
    columns = weights.shape[1]
    image = axes.imshow(weights, cmap="Blues", norm=norm, aspect="auto")
    for row, sentence in enumerate(sentences):
        length = len(sentence.words)
        _draw_padding(axes, row, length, columns, weights[row, length:].sum(), hidden)
        for column, word in enumerate(sentence.words):
            dark = norm(weights[row, column]) > 0.6
            axes.text(
                column,
                row,
                word,
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "#222222",
            )
    axes.set_yticks(range(len(sentences)))
    axes.set_yticklabels(
        [
            s.topic + (" \u2713" if s.topic == answer else " \u2717 " + answer)
            for s, answer in zip(sentences, answers)
        ],
        fontsize=8,
    )
    axes.set_xticks([])
    # White lines between the cells.
    axes.set_xticks([x - 0.5 for x in range(1, columns)], minor=True)
    axes.set_yticks([y - 0.5 for y in range(1, len(sentences))], minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def draw(path, sentences, panels):
    """Writes a PNG with a panel for each (title, answers, weights [B, L], hidden).

    `answers` are the topics that the net told, `hidden` is whether it masked the padding.
    """
    width = max(len(sentence.words) for sentence in sentences)
    figure, all_axes = pyplot.subplots(
        len(panels),
        figsize=(2.5 + 0.95 * width, 1.1 + (0.34 * len(sentences) + 0.4) * len(panels)),
        constrained_layout=True,
    )
    # The root of a weight is drawn, so that a small one can be told from none.
    norm = PowerNorm(0.5, vmin=0, vmax=max(weights.max() for _, _, weights, _ in panels))
    for axes, (title, answers, weights, hidden) in zip(all_axes, panels):
        image = _draw_batch(axes, sentences, answers, weights, norm, hidden)
        axes.set_title(title, loc="left", fontsize=12)
    bar = figure.colorbar(image, ax=all_axes, shrink=0.6, aspect=30, pad=0.01)
    bar.set_label("attention, mean of the heads", fontsize=9)
    figure.suptitle(
        "Attention over a batch of held-out sentences, and their topics: told (\u2713) or taken "
        "for another (\u2717)",
        x=0.01,
        ha="left",
        fontsize=13,
    )
    figure.legend(
        handles=[
            Patch(facecolor=HIDDEN, edgecolor=HATCH, hatch="///", label="padding, masked"),
            Patch(facecolor="white", edgecolor=OPEN, hatch="///", label="padding, not masked"),
        ],
        loc="upper right",
        ncol=2,
        fontsize=9,
        frameon=False,
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw_heads(path, text, weights):
    """Writes a PNG of what each character of a text attends to, by weights [blocks, heads, L, L].

    A row is the character that attends, a column one that it may attend to or, hatched, may not.
    """
    blocks, heads, length, _ = weights.shape
    figure, all_axes = pyplot.subplots(
        blocks,
        heads,
        figsize=(4.2 * heads + 0.8, 4.2 * blocks + 0.9),
        constrained_layout=True,
        squeeze=False,
    )
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    labels = list(text.replace(" ", "\u2423").replace("\n", "\u23ce"))
    for block, row in enumerate(all_axes):
        for head, axes in enumerate(row):
            image = axes.imshow(weights[block, head], cmap="Blues", norm=norm)
            # What is masked: the steps above the diagonal.
            steps = range(length)
            corners = [(x - 0.5, y - 0.5) for i in steps for x, y in ((i + 1, i), (i + 1, i + 1))]
            axes.add_patch(
                Polygon(
                    corners + [(length - 0.5, -0.5)],
                    facecolor=HIDDEN,
                    edgecolor=HATCH,
                    hatch="///",
                    linewidth=0,
                )
            )
            axes.set_title("block {}, head {}".format(block + 1, head + 1), loc="left", fontsize=11)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_ticks(steps)
                axis.set_ticklabels(labels, fontsize=8, family="monospace")
            axes.tick_params(length=0)
            for spine in axes.spines.values():
                spine.set_visible(False)
    bar = figure.colorbar(image, ax=all_axes, shrink=0.5, aspect=40, pad=0.01)
    bar.set_label("attention", fontsize=10)
    figure.suptitle(
        "What each character (row) attends to (column); what follows it is masked",
        x=0.01,
        ha="left",
        fontsize=14,
    )
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
