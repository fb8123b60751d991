"""Checks that parts of the package share."""

from caffe2.python import workspace


def check_counts(who, ops):
    """Checks that operators have as many inputs and outputs as their schemas say.

    Raises ValueError in the name of `who`. What has no schema is passed over.
    """
    for op in ops:
        schema = workspace.C.OpSchema.get(op.type)
        if schema is None:
            continue
        for what, blobs, least, most in (
            ("input", op.input, schema.min_input, schema.max_input),
            ("output", op.output, schema.min_output, schema.max_output),
        ):
            if not least <= len(blobs) <= most:
                raise ValueError(
                    "{}: {} of the net has {} {}s, of which it takes {}.".format(
                        who,
                        op.type,
                        len(blobs),
                        what,
                        least if least == most else "{} to {}".format(least, most),
                    )
                )
