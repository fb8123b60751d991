"""What `fuse` did, and what came of it."""

import collections

Fused = collections.namedtuple("Fused", "operators output into notes")
LeftAlone = collections.namedtuple("LeftAlone", "operators output reason")

# Of nets that ran before and after: Differences of outputs and of gradients, best times in
# milliseconds, of how many runs, and how many operators there were.
Proof = collections.namedtuple("Proof", "outputs gradients before after runs operators")


class Report(object):
    """What `fuse` did.

    fused       a list of Fused: types of the operators that went, the blob that is their result,
                the type of the operator that is there instead, and notes: what was assumed, or
                stayed as it was
    left_alone  a list of LeftAlone: types of the operators, the blob that is their result, and why
    missing     blobs whose shapes, given as `shapes`, might let more be fused
    notes       sentences on the runs
    proof       a Proof where there were inputs and anything was fused, else None
    blamed      the Fused that changed results by more than the tolerance, so that the net was left as
                it was; None where none did
    """

    def __init__(self):
        self.fused = []
        self.left_alone = []
        self.missing = []
        self.notes = []
        self.proof = None
        self.blamed = None

    def __str__(self):
        lines = [_fused(one) for one in self.fused]
        lines += [
            "{} -> '{}': left alone, {}".format(", ".join(one.operators), one.output, one.reason)
            for one in self.left_alone
        ]
        lines.append("{} fused, {} left alone.".format(len(self.fused), len(self.left_alone)))
        if self.missing:
            lines.append(
                "Shapes that are missing: {}".format(
                    " ".join("--shape {}=SIZE,..".format(blob) for blob in self.missing)
                )
            )
        lines += self.notes
        if self.proof is not None:
            lines += proven(self.proof)
        if self.blamed is not None:
            lines.append("The net is left as it was, because of: {}".format(_fused(self.blamed)))
        return "\n".join(lines)


def _fused(one):
    notes = "".join("; " + note for note in one.notes)
    return "{} -> '{}': fused into {}{}".format(
        ", ".join(one.operators), one.output, one.into, notes
    )


def proven(proof):
    """Lines on a Proof."""
    lines = [
        "{} '{}' differs by at most {:.3g}, where its largest number is {:.3g}.".format(
            kind, one.blob, one.largest, one.magnitude
        )
        for kind, found in (("Output", proof.outputs), ("Gradient", proof.gradients))
        for one in found
    ]
    if proof.runs:
        lines.append(
            "{:.4g} ms before, {:.4g} ms after: {:.2f} times as fast (best of {} runs).".format(
                proof.before, proof.after, proof.before / proof.after, proof.runs
            )
        )
        lines.append("{} operators before, {} after.".format(*proof.operators))
    return lines
