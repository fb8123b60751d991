"""draw a mask, a gate or an attention, and tell how much it hid

What is shown is one of
  FILE.npy        an array
  --net NET       a blob of a net, with --blob, and each operator of the net that masks
  --shape SIZES   what --mode and the other arguments of MaskedSoftmax keep, by its own word
Prints a table of the share of entries that each mask hides, and of rows with nothing left. With
--output draws a panel for each index of the dims before the last two.

An array is taken for a mask if it is bool, of only 0 and 1, or has -inf; for an attention if its
numbers are from 0 to 1 and rows add up to 1 or 0; for a gate if its numbers are from 0 to 1.

examples:
  python -m caffe2op_mask show --shape 16,16 --mode upper --window-left 4 --output mask.png
  python -m caffe2op_mask show --shape 2,16,16 --mode sequence+upper --lengths 3,5
  python -m caffe2op_mask show --shape 2,16,16 --mode upper+left_pad --left-pad 0,7
  python -m caffe2op_mask show weights.npy --row-labels words.txt --output weights.png
  python -m caffe2op_mask show --net net.pb --init init.pb --feed scores=x.npy
  python -m caffe2op_mask show --net net.pb --init init.pb --feed scores=x.npy --blob weights \\
      --column-labels words.txt --output weights.png
"""

import argparse
import io
import itertools
import math
import os
import warnings

import numpy as np
from caffe2.python import core, workspace

from caffe2op_mask import plot
from caffe2op_mask.commands import UserError, files, nets
from caffe2op_mask.commands.progress import progress
from caffe2op_mask.mask_shapes import INPUTS

_DRAW = {"mask": plot.mask, "gate": plot.gate, "attention": plot.attention}

# Options that are arguments of MaskedSoftmax; those that are inputs of it are INPUTS.
_ARGUMENTS = ("mode", "radius", "diagonal", "window_left", "window_right")

# Options that a picture alone has.
_PICTURE = ("row_labels", "column_labels", "panels")


def numbers(argument):
    """Integers of "3,5", or the array of a .npy file."""
    if argument.endswith(".npy"):
        return argument
    try:
        return np.array([int(number) for number in argument.split(",")], dtype=np.int64)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            "integers such as 3,5 or a .npy file are wanted, but this is '{}'".format(argument)
        )


def number(argument):
    """An integer, all of whose digits count, or a float."""
    try:
        return int(argument)
    except ValueError:
        return float(argument)


def add_arguments(parser):
    parser.add_argument("array", metavar="FILE.npy", nargs="?", help="an array to show")
    net = parser.add_argument_group("a net")
    net.add_argument("--net", metavar="NET", help="NetDef to run, operator by operator")
    nets.add_arguments(net)
    net.add_argument("--blob", metavar="NAME", help="a blob of the net to show")
    shape = parser.add_argument_group("a mask by arguments of MaskedSoftmax")
    shape.add_argument("--shape", metavar="SIZE,..", type=files.sizes, help="shape of the scores")
    shape.add_argument("--mode", help="shapes joined by +, such as sequence+upper")
    for name in ("radius", "diagonal", "window-left", "window-right"):
        shape.add_argument("--" + name, metavar="N", type=int)
    for name in INPUTS:
        text = "integers for the leading dims, or a .npy file"
        option = "--" + name.replace("_", "-")
        shape.add_argument(option, metavar="N,..", type=numbers, help=text)
    picture = parser.add_argument_group("the picture")
    picture.add_argument("--output", metavar="FILE", help="where it goes, such as mask.png")
    picture.add_argument(
        "--as", dest="kind", choices=sorted(_DRAW), help="what to take the array for"
    )
    picture.add_argument(
        "--fill",
        metavar="VALUE",
        type=number,
        help="what stands where a mask hides, as in --fill=-1e9 (default -inf where there is one, "
        "else 0)",
    )
    for name in ("row", "column"):
        picture.add_argument(
            "--{}-labels".format(name), metavar="FILE", help="text file, a line for each " + name
        )
    picture.add_argument(
        "--panels",
        metavar="N",
        type=files.count,
        help="drawn at most (default {})".format(plot.PANELS),
    )


def run(options):
    _check(options)
    masks, name, array = [], None, None
    if options.array is not None:
        name, array = options.array, files.read_array(options.array)
    elif options.net is not None:
        masks = _masks_of_net(options)
        if options.blob is not None:
            name, array = options.blob, nets.fetch(options.blob)
    else:
        name, array = _by_arguments(options)
    if array is not None:
        if array.dtype.kind not in "biuf":
            raise UserError("{} must hold numbers, but is of type {}.".format(name, array.dtype))
        kind = options.kind or _kind(name, array, options.fill)
        shown = _kept(name, array, options.fill) if kind == "mask" else array
        try:
            if kind != "mask":
                plot.check_range(kind, array)
            masks.append(plot.of_mask(name, shown))
            if options.output is not None:
                _draw(_DRAW[kind], shown, name, options)
        except (ImportError, ValueError) as error:
            raise UserError(str(error))
    print(plot.table(masks) if masks else "No operator of {} masks.".format(options.net))


def _check(options):
    """Checks that there is one thing to show, and no option of another."""
    if (options.array, options.net, options.shape).count(None) != 2:
        raise UserError("One of FILE.npy, --net and --shape says what to show.")
    if options.net is None and (options.init or options.feeds or options.blob is not None):
        raise UserError("--init, --feed and --blob go with --net.")
    if options.net is not None and options.blob is None and options.output is not None:
        raise UserError("--output draws the blob of a net that --blob names.")
    for name in _ARGUMENTS + INPUTS:
        if options.shape is None and getattr(options, name) is not None:
            raise UserError("--{} goes with --shape.".format(name.replace("_", "-")))
    for name in _PICTURE:
        if options.output is None and getattr(options, name) is not None:
            raise UserError("--{} goes with --output.".format(name.replace("_", "-")))


def _masks_of_net(options):
    net = nets.prepare(options.net, options)
    if options.blob is not None:
        nets.check_blob(options.blob, net, options.net)
    with nets.errors("{} failed".format(options.net)):
        return list(progress(plot.of_net(net), "masks"))


def _by_arguments(options):
    """A name, and the mask that MaskedSoftmax applies by the options."""
    arguments = {name: getattr(options, name) for name in _ARGUMENTS}
    arguments = {name: value for name, value in arguments.items() if value is not None}
    blobs = {}
    for name in INPUTS:
        value = getattr(options, name)
        if value is not None:
            blobs[name] = files.read_array(value) if isinstance(value, str) else value
    with nets.errors("The mask cannot be"):
        workspace.FeedBlob("scores", np.zeros(options.shape, np.float32))
        for name, value in blobs.items():
            workspace.FeedBlob(name, value)
        op = core.CreateOperator("MaskedSoftmax", ["scores"] + list(blobs), ["keep"], **arguments)
        workspace.RunOperatorOnce(op)
    # All scores are 0, so what is kept has a share of 1, and what is not has none.
    name = " ".join("{} {}".format(key.replace("_", " "), arguments[key]) for key in arguments)
    return name or "all", workspace.FetchBlob("keep") > 0


def _kind(name, array, fill):
    """What an array looks like: a mask, a gate or an attention."""
    if array.dtype == bool or fill is not None or np.isneginf(array).any():
        return "mask"
    if array.size and ((array >= 0) & (array <= 1)).all():
        if array.dtype.kind in "iu":
            return "mask"
        sums = array.sum(axis=-1, dtype=np.float64)
        # A weight of 16 bits is off by less than 1/256.
        return "attention" if (np.isclose(sums, 1, atol=1 / 256) | (sums == 0)).all() else "gate"
    nan = np.argwhere(np.isnan(array))
    if nan.size:
        raise UserError(
            "{} has NaN at {}, as a softmax has where a mask leaves nothing of a row.".format(
                name, tuple(nan[0].tolist())
            )
        )
    raise UserError(
        "{} does not look like a mask, a gate or an attention; --as says what it is.".format(name)
    )


def _kept(name, array, fill):
    """The array as a mask: what is not the fill, and without one not -inf or, else, not 0."""
    if fill is None:
        hidden = np.isneginf(array)
        return ~hidden if hidden.any() else array
    fill = _as_element(name, array.dtype, fill)
    return ~np.isnan(array) if fill != fill else array != fill


def _as_element(name, dtype, fill):
    """The fill in an array's type, rounded where that is real."""
    try:
        with np.errstate(over="ignore"):
            element = dtype.type(fill)
        # It is another where it wraps around, loses its fraction or is too large to be finite.
        same = (
            math.isfinite(element) == math.isfinite(fill)
            if dtype.kind == "f"
            else int(element) == fill
        )
    except (ValueError, OverflowError):  # of NaN, infinity or many digits as an integer
        same = False
    if not same:
        raise UserError(
            "--fill is {}, which {}, of type {}, cannot hold.".format(fill, name, dtype)
        )
    return element


def _draw(draw, array, name, options):
    labels = {}
    for side in ("row_labels", "column_labels"):
        path = getattr(options, side)
        labels[side] = files.read_lines(path) if path is not None else None
    figure = draw(array, title=name, panels=options.panels or plot.PANELS, **labels)
    endings = sorted("." + ending for ending in figure.canvas.get_supported_filetypes())
    ending = os.path.splitext(options.output)[1].lower()
    if ending not in endings:
        raise UserError(
            "--output must end in one of {}, but is '{}'.".format(
                ", ".join(endings), options.output
            )
        )
    steps = _steps(figure)
    picture = io.BytesIO()  # matplotlib would choose another name for some files
    try:
        with warnings.catch_warnings():
            # A letter of a label that the font lacks is drawn as a box, which says as much.
            warnings.filterwarnings("ignore", "Glyph .* missing from current font")
            figure.savefig(picture, format=ending[1:], dpi=110)
    except (RuntimeError, OSError) as error:
        raise UserError("{} cannot be drawn: {}.".format(options.output, str(error).rstrip(".")))
    finally:
        steps.close()
    files.write(picture.getvalue(), options.output)


def _steps(figure):
    """Progress until it is closed: a step each time that a panel is laid out or drawn."""
    from matplotlib.artist import Artist

    steps = (None for _ in progress(itertools.count(), "panels"))
    for axes in figure.axes:
        step = axes.add_artist(Artist())
        step.set_clip_on(False)  # what is cut off at the panel's edge is not laid out
        step.draw = step.get_tightbbox = lambda *_, **__: next(steps)
    return steps
