"""Writes the operator catalogue from the schemas that the loaded library has registered.

Usage: python tools/make_docs.py docs/operators.md
"""

import sys

import caffe2.python._import_c_extension as runtime
from caffe2.python import workspace

import caffe2op_mask  # noqa: F401 (loads the operators)

HEAD = """# Operators

<!-- Written by `make docs` from the schemas in operators/. Edit those. -->

What each operator of caffe2op-mask does, takes and gives. True in a mask keeps.

{}
"""


def operators():
    """Names and schemas of every operator that this library describes, gradients last."""
    found = []
    for name in workspace.RegisteredOperators():
        schema = runtime.OpSchema.get(name)
        # A schema knows the file that made it, and all of ours are made in one.
        if schema is not None and schema.file == "registry/register.cc":
            found.append((name, schema))
    return sorted(found, key=lambda item: (item[0].endswith("Gradient"), item[0]))


def page():
    """The text of docs/operators.md."""
    found = operators()
    contents = "\n".join("- [{0}](#{1})".format(name, name.lower()) for name, _ in found)
    parts = [HEAD.format(contents)]
    parts += [_operator(name, schema) for name, schema in found]
    return "\n".join(parts)


def _operator(name, schema):
    parts = ["## " + name, "`{}`".format(_signature(name, schema)), schema.doc.strip()]
    parts.append(_table("Argument", [(arg.name, arg.description) for arg in schema.args]))
    parts.append(_table("Input", schema.input_desc))
    parts.append(_table("Output", schema.output_desc))
    return "\n\n".join(part for part in parts if part) + "\n"


def _signature(name, schema):
    inputs = _names(schema.input_desc, schema.min_input, schema.max_input)
    outputs = _names(schema.output_desc, schema.min_output, schema.max_output)
    return "{}({}) -> {}".format(name, inputs, outputs)


def _names(described, least, most):
    """As "a, b [, c]" where c may be left out, "a, b, .." where others may follow."""
    names = [name for name, _ in described]
    if most > len(names):
        return ", ".join(names + [".."])
    optional = "".join(" [, {}]".format(name) for name in names[least:])
    return ", ".join(names[:least]) + optional


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
