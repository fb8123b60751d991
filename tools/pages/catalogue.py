"""docs/operators.md: what the schemas tell of each operator, and pictures of what it keeps."""

from caffe2op_mask.commands.ops import operators, signature

from pages import gallery, masks, pictures

HEAD = """# Operators

<!-- Written by `make docs` from the schemas in operators/. Edit those. -->

What each operator of caffe2op-mask does, takes and gives. True in a mask keeps. Pictures lead to
the [gallery](gallery.md), which has the arguments that made them; errors that need more explanation
than they give are in [troubleshooting](troubleshooting.md#operators).

A net keeps a float argument in float32. One that needs more is given as a text, which every operator
reads as a float64: `scale="0.1"`, `fill_val="-1e300"`.

{}
"""


def page():
    """The text of docs/operators.md."""
    found = operators()
    contents = "\n".join("- [{0}](#{1})".format(name, name.lower()) for name, _ in found)
    parts = [HEAD.format(contents)]
    parts += [_operator(name, schema) for name, schema in found]
    return "\n".join(parts)


def _operator(name, schema):
    parts = ["## " + name, "`{}`".format(signature(name, schema)), schema.doc.strip()]
    parts.append(_pictures(name))
    parts.append(_table("Argument", [(arg.name, arg.description) for arg in schema.args]))
    parts.append(_table("Input", schema.input_desc))
    parts.append(_table("Output", schema.output_desc))
    return "\n\n".join(part for part in parts if part) + "\n"


def _pictures(name):
    """What an operator keeps: pictures side by side and names, each a link to the gallery."""
    shown = [(mask.stem, mask.drawn) for mask in masks.MASKS if mask.operator == name]
    if name == "Gate":
        shown.append((pictures.CURVES, True))
    if not shown:
        return ""
    links = [
        "[{}](gallery.md#{})".format(
            "![{}]({})".format(stem, pictures.path(stem)) if drawn else stem, gallery.anchor(stem)
        )
        for stem, drawn in shown
    ]
    return "**What it keeps**\n\n" + "\n".join(links)


def _table(title, rows):
    if not rows:
        return ""
    lines = ["| {} | |".format(title), "| --- | --- |"]
    lines += ["| `{}` | {} |".format(name, _escape(text)) for name, text in rows]
    return "\n".join(lines)


def _escape(text):
    """`text` with what Markdown would take for HTML or a new column escaped, outside of code."""
    pieces = text.replace("|", "\\|").split("`")
    pieces[::2] = [piece.replace("<", "\\<") for piece in pieces[::2]]
    return "`".join(pieces)
