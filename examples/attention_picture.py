"""Draws what a net attended to in a padded batch, and what its masks hid."""

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402  (the backend is chosen before)
from matplotlib.colors import PowerNorm  # noqa: E402
from matplotlib.patches import Patch, Rectangle  # noqa: E402

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
