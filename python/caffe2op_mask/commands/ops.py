"""list the operators, or describe one

Without a name, lists the operators of this library, each with its inputs and outputs. With names,
prints all that their schemas tell: what they do, their arguments, inputs, outputs and errors.

examples:
  python -m caffe2op_mask ops
  python -m caffe2op_mask ops SequenceMask
"""

from caffe2.python import workspace

from caffe2op_mask.commands import UserError


def add_arguments(parser):
    parser.add_argument("names", metavar="NAME", nargs="*", help="an operator to describe")


def operators():
    """(name, schema) of each operator that this library describes, gradients last."""
    schemas = [(name, workspace.C.OpSchema.get(name)) for name in workspace.RegisteredOperators()]
    # A schema knows the file that made it, and all of ours are made in one.
    ours = [found for found in schemas if found[1] and found[1].file == "registry/register.cc"]
    return sorted(ours, key=lambda found: (found[0].endswith("Gradient"), found[0]))


def signature(name, schema):
    """As "Name(a, b [, c]) -> d", where c may be left out."""
    inputs = _names(schema.input_desc, schema.min_input, schema.max_input)
    outputs = _names(schema.output_desc, schema.min_output, schema.max_output)
    return "{}({}) -> {}".format(name, inputs, outputs)


def run(options):
    found = dict(operators())
    for name in options.names:
        if name not in found:
            raise UserError(
                "'{}' is no operator of this library; they are {}.".format(name, ", ".join(found))
            )
    if options.names:
        print("\n\n".join(_description(name, found[name]) for name in options.names))
        return
    for name, schema in found.items():
        print(signature(name, schema))


def _names(described, least, most):
    names = [name for name, _ in described]
    if most > len(names):
        return ", ".join(names + [".."])
    return ", ".join(names[:least]) + "".join(" [, {}]".format(name) for name in names[least:])


def _description(name, schema):
    parts = [signature(name, schema), schema.doc.strip()]
    for title, rows in (
        ("Arguments", [(arg.name, arg.description) for arg in schema.args]),
        ("Inputs", schema.input_desc),
        ("Outputs", schema.output_desc),
    ):
        lines = ["  {}: {}".format(of, " ".join(text.split())) for of, text in rows]
        if lines:
            parts.append("\n".join([title] + lines))
    return "\n\n".join(parts)
