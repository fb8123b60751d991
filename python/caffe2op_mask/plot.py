"""Pictures of masks, gates and attentions, and a table of how much masks hid.

    from caffe2op_mask import plot

    plot.attention(workspace.FetchBlob("weights"), row_labels=words).savefig("attention.png")
    print(plot.table([("padding", workspace.FetchBlob("mask"))]))

A picture is a matplotlib Figure. The last two dims of an array are the rows and columns of a panel;
there is a panel for each index of the dims before. What is hidden is hatched in all of them. Only
drawing needs matplotlib.
"""

import itertools

import numpy as np

from caffe2op_mask.hidden import Hidden, as_mask, of_mask, of_net, of_operator, table

__all__ = ["Hidden", "attention", "gate", "mask", "of_mask", "of_net", "of_operator", "table"]

KEPT = "#3b6ea5"
HIDDEN = "#e9e6e1"
HATCH = "#b9b4ab"

PANELS = 12  # drawn unless more are asked for
_ACROSS = 4  # panels side by side
_TICKS = 48  # labels that an axis has room for
_LETTER, _LINE = 0.09, 0.2  # inches of a letter, and a line, of the title
_SEPARATE = 32  # rows or columns up to which lines divide the cells


def mask(keep, **options):
    """A picture of what a mask keeps: an array, whose True or non-zero keeps.

    row_labels, column_labels   a label for each row, or column, of a panel
    title                       stands above the picture
    panels                      how many are drawn at most; the title says how many are not
    """
    keep = as_mask("mask", _panels("mask", keep))
    return _picture("mask", np.ones(keep.shape), keep, options)


def gate(values, **options):
    """A picture of gates, numbers from 0 to 1; those that are exactly 0 are shut, and hatched.

    Takes the options of `mask`.
    """
    check_range("gate", values)
    values = _panels("gate", values)
    return _picture("gate", values, values != 0, options)


def attention(weights, keep=None, **options):
    """A picture of attention, whose rows attend to its columns by weights from 0 to 1.

    keep    what the mask keeps, of a shape that broadcasts; else weights that are exactly 0 are
            taken for masked, as MaskedSoftmax leaves them

    Takes the options of `mask`.
    """
    check_range("attention", weights)
    values = _panels("attention", weights)
    if keep is None:
        keep = values != 0
    else:
        shape, given = np.shape(weights), np.shape(keep)
        try:
            keep = np.broadcast_to(keep, shape)
        except ValueError:
            raise ValueError(
                "keep must broadcast to the attention, of shape {}, but is of shape {}.".format(
                    shape, given
                )
            )
        keep = as_mask("keep", _panels("mask", keep))
    return _picture("attention", values, keep, options)


def _panels(what, array):
    """An array of at least 2 dims with at least one entry; one of 1 dim is a row."""
    array = np.asarray(array)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            "A picture of a {} needs at least 1 dim and 1 entry, but its shape is {}.".format(
                what, array.shape
            )
        )
    return array.reshape(1, -1) if array.ndim == 1 else array


def check_range(what, values):
    """Checks that an array holds what `gate` and `attention` draw."""
    values = np.asarray(values)
    outside = ~((values >= 0) & (values <= 1))  # NaN too
    if outside.any():
        place = tuple(int(i) for i in np.argwhere(outside)[0])
        raise ValueError(
            "{} must hold numbers from 0 to 1, but at {} stands {}.".format(
                what, place, values[place]
            )
        )


def _picture(what, values, keep, options):
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import ListedColormap, Normalize, PowerNorm
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ImportError as error:
        raise ImportError("Drawing needs matplotlib, but {}.".format(error))

    labels, title, most = _read(values.shape, **options)
    rows, columns = values.shape[-2:]
    indices = list(itertools.product(*map(range, values.shape[:-2])))
    drawn = indices[:most]
    across = min(len(drawn), _ACROSS)
    down = -(-len(drawn) // across)
    width, height = _inches(columns, labels[1], 2.0), _inches(rows, labels[0], 1.0)
    if len(drawn) < len(indices):
        left_out = "{} of {} panels are not drawn".format(len(indices) - len(drawn), len(indices))
        title = "{} ({})".format(title, left_out) if title else left_out
    size = [across * width + 1.2, down * height + 1.3]
    size[0] = max(size[0], _LETTER * len(title or ""))
    figure = Figure(figsize=size, constrained_layout=True)
    FigureCanvasAgg(figure)
    grid = figure.subplots(down, across, squeeze=False)
    # The root of a weight is drawn, so that a small one can be told from none.
    norm = PowerNorm(0.5, vmin=0, vmax=1) if what == "attention" else Normalize(0, 1)
    colours = ListedColormap([KEPT]) if what == "mask" else "Blues"
    for axes in grid.flat[len(drawn) :]:
        axes.set_axis_off()
    for axes, index in zip(grid.flat, drawn):
        # Masked entries are transparent: the hatching of what lies behind them shows.
        axes.patch.set(facecolor=HIDDEN, edgecolor=HATCH, hatch="///", linewidth=0)
        image = axes.imshow(
            np.ma.masked_array(values[index].astype(float), ~keep[index]),
            cmap=colours,
            norm=norm,
            aspect="auto",
            interpolation="nearest",
        )
        name = "[{}]: ".format(", ".join(map(str, index))) if index else ""
        share = of_mask("", keep[index]).share
        axes.set_title("{}{:.1%} hidden".format(name, share), loc="left", fontsize=9)
        _label(axes.yaxis, labels[0], rows, 0)
        _label(axes.xaxis, labels[1], columns, 90)
        _divide(axes, rows, columns)
    patches = [Patch(facecolor=HIDDEN, edgecolor=HATCH, hatch="///", label="hidden")]
    if what == "mask":
        patches.append(Patch(facecolor=KEPT, label="kept"))
    else:
        figure.colorbar(image, ax=grid, shrink=0.8, pad=0.01).set_label(what, fontsize=9)
    # The legend has a line of its own, the last of the title.
    figure.suptitle(_plain(title) + "\n " if title else " ", x=0.01, ha="left", fontsize=11)
    figure.legend(
        handles=patches,
        loc="upper right",
        bbox_to_anchor=(1, 1 - (_LINE if title else 0) / size[1]),
        ncol=2,
        fontsize=8,
        frameon=False,
    )
    return figure


def _read(shape, row_labels=None, column_labels=None, title=None, panels=PANELS):
    """The options of a picture, checked: labels of rows and columns, title, most panels."""
    for name, labels, size in (
        ("row", row_labels, shape[-2]),
        ("column", column_labels, shape[-1]),
    ):
        if labels is not None and len(labels) != size:
            raise ValueError(
                "{0}_labels must have one label for each of the {1} {0}s, but has {2}.".format(
                    name, size, len(labels)
                )
            )
    if panels < 1:
        raise ValueError("panels must be at least 1, but is {}.".format(panels))
    return (row_labels, column_labels), title, panels


def _inches(size, labels, least):
    """How long an axis is drawn."""
    return min(max(size * (0.24 if labels is not None else 0.12), least), 9.0)


def _label(axis, labels, size, rotation):
    from matplotlib.ticker import MaxNLocator

    axis.set_tick_params(length=0, labelsize=8)
    if labels is None and size > 1:
        axis.set_major_locator(MaxNLocator(8, integer=True))
        return
    labels = [0] if labels is None else labels
    places = range(0, size, -(-size // _TICKS))
    axis.set_ticks(places)
    axis.set_ticklabels([_plain(labels[i]) for i in places], rotation=rotation, fontsize=8)


def _plain(text):
    """A text as matplotlib takes it, where a dollar sign would begin a formula."""
    return str(text).replace("$", r"\$")


def _divide(axes, rows, columns):
    """White lines between cells that are large enough, and no frame."""
    if max(rows, columns) <= _SEPARATE:
        axes.vlines(np.arange(1, columns) - 0.5, -0.5, rows - 0.5, colors="white", linewidth=1)
        axes.hlines(np.arange(1, rows) - 0.5, -0.5, columns - 0.5, colors="white", linewidth=1)
    for spine in axes.spines.values():
        spine.set_visible(False)
