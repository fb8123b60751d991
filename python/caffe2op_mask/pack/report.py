"""What `pack` did, and what came of it."""

import collections

from caffe2op_mask.fuse.report import proven

# Operators, by their types, that run on rows alone; `output` is the blob of the last of them.
Packed = collections.namedtuple("Packed", "operators output kept notes")

# Rows that a mask keeps, of how many there are, in the first of the inputs.
Kept = collections.namedtuple("Kept", "mask rows of")


class Report(object):
    """What `pack` did.

    packed      a list of Packed, one for each part of the net that runs on kept rows alone: types
                of its operators, the blob that is its last result, the blob that says which rows
                are kept, and notes: what was taken for granted
    left_alone  a list of LeftAlone (operators, output, reason): products of matrices and attention
                that compute padding still
    kept        a list of Kept: how many rows each mask keeps
    zeros       outputs whose rows of padding are zeros now
    notes       sentences on the runs
    proof       a Proof where anything was packed and run, else None
    unchanged   why the net was left as it was, a sentence; None where it was not
    failed      whether that is because the packed net gave other results
    """

    def __init__(self):
        self.packed = []
        self.left_alone = []
        self.kept = []
        self.zeros = []
        self.notes = []
        self.proof = None
        self.unchanged = None
        self.failed = False

    def __str__(self):
        lines = [
            "{} -> '{}': packed by '{}'{}".format(
                ", ".join(one.operators), one.output, one.kept, "".join("; " + n for n in one.notes)
            )
            for one in self.packed
        ]
        lines += [
            "{} -> '{}': left alone, {}".format(", ".join(one.operators), one.output, one.reason)
            for one in self.left_alone
        ]
        lines.append(
            "{} operators packed in {} parts, {} products left alone.".format(
                sum(len(one.operators) for one in self.packed),
                len(self.packed),
                len(self.left_alone),
            )
        )
        lines += [
            "'{}' keeps {} of {} rows.".format(one.mask, one.rows, one.of) for one in self.kept
        ]
        if self.unchanged is None:
            lines += ["Rows of padding of '{}' are zeros now.".format(b) for b in self.zeros]
        lines += self.notes
        if self.proof is not None:
            lines += proven(self.proof)
        if self.unchanged is not None:
            lines.append("The net is left as it was: {}".format(self.unchanged))
        return "\n".join(lines)
