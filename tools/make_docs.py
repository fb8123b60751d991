"""Writes the operator catalogue from the schemas that the loaded library has registered.

Usage: python tools/make_docs.py docs/operators.md
"""

import sys

from caffe2op_mask.commands.ops import operators, signature

HEAD = """# Operators

<!-- Written by `make docs` from the schemas in operators/. Edit those. -->

What each operator of caffe2op-mask does, takes and gives. True in a mask keeps.

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
    parts.append(_table("Argument", [(arg.name, arg.description) for arg in schema.args]))
    parts.append(_table("Input", schema.input_desc))
    parts.append(_table("Output", schema.output_desc))
    return "\n\n".join(part for part in parts if part) + "\n"


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


def main(target):
    with open(target, "w") as out:
        out.write(page())


if __name__ == "__main__":
    main(*sys.argv[1:])
