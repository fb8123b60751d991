"""Pictures of docs/images/masks/: SVG that is the same in each run, and says what it shows.

The description in a picture is what its operator computed, as text. It is the same on every
machine; the rest of the file is so for one matplotlib, which the picture names as its creator.
"""

import io

import matplotlib
import numpy as np
from caffe2.python import core, workspace
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from caffe2op_mask import plot

FOLDER = "images/masks"
CURVES = "gate kinds"

_KINDS = [  # of Gate: name, arguments, colour, style of its line
    ("sigmoid", {}, "#3b6ea5", "-"),
    ("tanh", {}, "#c2703d", "-"),
    ("relu", {}, "#4d8a57", "-"),
    ("hard", {}, "#8a4d7d", "--"),  # its gradient lies on that of sigmoid
    ("hard_concrete", {"is_test": 1}, "#7a7a7a", "-"),
]


def path(stem):
    """Where the picture of this stem is, from docs/."""
    return "{}/{}.svg".format(FOLDER, stem.replace(" ", "_"))


def creator():
    return "matplotlib " + matplotlib.__version__


def of_mask(made):
    """The SVG of a mask that was made."""
    draw = getattr(plot, made.mask.draw)
    return _svg(draw(made.values, **made.options), made.mask.stem, _as_text(made.values))


def shown(made):
    """Markdown of a mask that was made: its picture, or its text."""
    if made.mask.drawn:
        return "![{}]({})".format(made.mask.stem, path(made.mask.stem))
    return "```\n{}\n```".format(_as_text(made.values))


def of_gate_kinds():
    """The SVG of g(Z) for the kinds of Gate, and of what their gradients are."""
    z = (np.arange(-40, 41) / 10).astype(np.float32)
    curves = {kind: _gate(kind, arguments, z) for kind, arguments, _, _ in _KINDS}
    figure = Figure(figsize=(8, 3.2), constrained_layout=True)
    for axes, title, which in zip(figure.subplots(1, 2), ("g(Z)", "gradient to Z"), (0, 1)):
        for kind, _, colour, style in _KINDS:
            axes.plot(z, curves[kind][which], style, color=colour, label=kind, linewidth=1.5)
        axes.set_ylim(top=1.6 - 0.5 * which)  # relu goes on
        axes.set_title(title, loc="left", fontsize=9)
        axes.set_xlabel("Z", fontsize=8)
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    lines = ["Z: " + _numbers(z)]
    for kind, (gates, gradient) in curves.items():
        lines += ["{}: {}".format(kind, _numbers(gates)), "gradient: " + _numbers(gradient)]
    return _svg(figure, CURVES, "\n".join(lines))


def _gate(kind, arguments, z):
    """g(z) and its gradient as Gate computes them, to 3 places."""
    inputs = ["X", "Z"] + (["threshold"] if kind == "relu" else [])
    for name, value in (("X", np.ones_like(z)), ("Z", z), ("threshold", np.zeros(1, z.dtype))):
        workspace.FeedBlob(name, value)
    net = core.Net("gate")
    net.Gate(inputs, ["Y"], kind=kind, **arguments)
    gradients = net.AddGradientOperators(["Y"])
    workspace.RunNetOnce(net)
    # The last bits differ from machine to machine.
    found = [workspace.FetchBlob(name) for name in ("Y", str(gradients["Z"]))]
    return [values.astype(np.float64).round(3) + 0.0 for values in found]


def _numbers(values):
    return " ".join("{:g}".format(value) for value in values.round(3))


def _as_text(values):
    """A line for each row, a blank one between panels."""
    values = np.atleast_2d(values)
    panels = values.reshape((-1,) + values.shape[-2:])
    line = _marks if values.dtype == bool else _numbers
    return "\n\n".join("\n".join(map(line, panel)) for panel in panels)


def _marks(row):
    return "".join("#" if keep else "." for keep in row)


def _svg(figure, title, description):
    settings = {"svg.hashsalt": title, "svg.fonttype": "none"}
    metadata = {
        "Title": title,
        "Description": "\n{}\n".format(description),
        "Creator": creator(),
        "Date": None,
    }
    out = io.StringIO()
    with matplotlib.rc_context(settings):
        FigureCanvasSVG(figure).print_svg(out, metadata=metadata)
    # Editors and git take a space before the end of a line for a mistake.
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
