"""pack: what works row by row in a net of padded activations, run on the rows that are kept."""

import numpy as np
from caffe2.proto import caffe2_pb2

from caffe2op_mask.fuse import given, proof
from caffe2op_mask.fuse.facts import CannotRun, Facts
from caffe2op_mask.fuse.graph import Graph
from caffe2op_mask.fuse.report import LeftAlone, Proof
from caffe2op_mask.pack.masks import Masks
from caffe2op_mask.pack.packing import NotPacked, demands_of_runs, may_be_zeros, packing_of, why_not
from caffe2op_mask.pack.report import Kept, Packed, Report
from caffe2op_mask.pack.rowwise import PRODUCTS
from caffe2op_mask.pack.sizes import without_transposes_for_sizes
from caffe2op_mask.pack.sources import key_sources, sources

__all__ = ["Kept", "LeftAlone", "Packed", "Proof", "Report", "pack"]

SAME, ZEROS = "same", "zeros"

_LEAST_RUNS = 3  # of each net, of which the best counts


def pack(net, inputs, init=None, tolerance=1e-4, padding=SAME):
    """Runs on kept rows alone what a net computes of padding too, in place; returns a Report.

    Where padded activations ``[B, L, ..]`` are masked by lengths or by a bool mask, products of
    matrices and what hangs together with them row by row get BooleanMask before them and
    BooleanUnmask behind; MaskedAttention whose queries and keys are such rows becomes
    MaskedAttentionJagged. docs/fuse.md says what is found.
    `fuse` comes first: masks and softmax by hand say nothing here, MaskedAttention does.

    net        a core.Net or a NetDef for inference
    inputs     {blob: array} of what the net reads and init does not fill, or a list of such dicts,
               whose sizes differ where they vary, as `fuse` takes them. Both nets run on them, in
               workspaces of their own.
    init       the net (core.Net or NetDef) that fills parameters and constants, if there is one
    tolerance  the largest difference of an output as a share of its largest number. Where one is
               beyond it the net is left as it was.
    padding    "same": outputs are what they were. "zeros": rows of padding may become zeros in
               outputs ``[B, L, ..]``, whose other rows are what they were.

    The net is left as it was, and the report's `unchanged` says why, where nothing is found, where
    the inputs have no padding, and where the packed net is not faster on the first of them.

    That rows of padding are not wanted is proved by who reads them, not by the inputs. It takes for
    granted

    - that nobody fetches a blob of which the net makes another, unless it is in external_output;
    - that no row of padding is NaN or infinite where it is multiplied by a mask of 0: where
      attention makes NaN of rows without keys, the net is packed only if these are whole batches
      of which no row is kept, and the report notes it; inputs may have no such batch then;
    - where a bias says which keys are kept, that each row keeps some: the report notes it.

    Raises ValueError where the net does not run on the inputs, and TypeError or ValueError for
    arguments that are not as above.
    """
    proto, init = given.nets("pack", net, init)
    given.check_tolerance("pack", tolerance)
    if padding not in (SAME, ZEROS):
        raise ValueError(
            "pack: padding must be '{}' or '{}', but is {!r}.".format(SAME, ZEROS, padding)
        )
    inputs = given.inputs("pack", inputs)
    report = Report()
    after, zeros, with_rows = _packed(proto, init, inputs, padding, report)
    if report.packed:
        try:
            _prove(proto, after, init, inputs, tolerance, zeros, with_rows, report)
        except CannotRun as error:
            raise ValueError("pack: {}".format(error))
    if report.unchanged is None:
        given.replace_operators(net, after.op)
    return report


def _packed(proto, init, inputs, padding, report):
    """(the net packed by one mask after the other, outputs whose rows of padding are zeros, masks).

    The outputs are {output: (the mask of its other rows, whether the batch comes first there)}; the
    masks are those that have to keep a row of each batch.
    """
    before, zeros, with_rows = without_transposes_for_sizes(proto), {}, set()
    done, reasons = set(), []
    taken = set(inputs[0]) | (Graph(init).blobs if init else set()) | Graph(proto).blobs
    facts, made, alone = None, set(), None
    while True:
        graph = Graph(before)
        if facts is None:
            facts = given.facts_of_runs("pack", graph, init, inputs, report)
        else:
            try:
                facts = [Facts(graph, init, feeds) for feeds in inputs]
            except CannotRun:
                break  # the proof says why
        runs = [Masks(one) for one in facts]
        candidates = list(_candidates(runs, done, made))
        if alone is None:
            alone = _left_alone(runs, candidates, graph.outputs() if padding == ZEROS else ())
        if not candidates:
            break
        name, kept, sizes = candidates[0]
        done.add(name)
        outputs = [blob for blob in graph.outputs() if blob not in zeros]
        try:
            found = packing_of(runs, kept, sizes, outputs if padding == ZEROS else (), taken)
        except NotPacked as reason:
            reasons.append("'{}': {}".format(name[1], reason))
            continue
        for part in found.parts:
            types = tuple(graph.ops[index].type for index in part)
            last = graph.ops[part[-1]].output[0]
            report.packed.append(Packed(types, last, found.keep, tuple(found.notes)))
        zeros.update((blob, (found.keep, plain)) for blob, plain in found.zeros.items())
        if found.needs_rows:
            with_rows.add(found.keep)
        taken |= found.names
        made |= found.names
        after = caffe2_pb2.NetDef()
        after.CopyFrom(before)
        given.replace_operators(after, found.net.op)
        before = after
    report.zeros = sorted(zeros)
    left = {op.SerializeToString() for op in before.op}
    report.left_alone = [one for op, one in alone if op.SerializeToString() in left]
    if not report.packed:
        report.unchanged = _why_nothing(Graph(proto), reasons)
    return before, zeros, with_rows


def _why_nothing(graph, reasons):
    if reasons:
        return "{}.".format("; ".join(reasons))
    if any(op.type == "Softmax" for op in graph.ops):
        return (
            "no lengths and no mask say which rows are padding; fuse makes MaskedAttention, which "
            "does, of Softmax and masks by hand."
        )
    return "no lengths and no mask say which rows are padding."


def _candidates(runs, done, made):
    """(name, Kept of each run, sizes of each run) of all that says which rows are kept."""
    seen = set(done)
    for index, op in enumerate(runs[0].facts.graph.ops):
        for kept, sizes in sources(runs[0], index, op):
            name = kept.kind, runs[0].named(kept)
            if name in seen or name[1] in made:
                continue
            others = [sources(one, index, op) for one in runs[1:]]
            others = [[one for one in found if one[0].kind == kept.kind] for found in others]
            if all(others):
                seen.add(name)
                pairs = [(kept, sizes)] + [found[0] for found in others]
                yield name, [one for one, _ in pairs], [one for _, one in pairs]


def _left_alone(runs, candidates, zeroed):
    """(operator, LeftAlone) of products and attention on rows that may be padding."""
    found, graph = [], runs[0].facts.graph
    for _, kept, sizes in candidates:
        demands = demands_of_runs(runs, kept, sizes, may_be_zeros(zeroed, sizes))
        for index, op in enumerate(graph.ops):
            shape = runs[0].facts.shape(graph.output(index)) if op.type in PRODUCTS else None
            batch, rows = sizes[0]
            on_rows = shape and (shape[:2] in ((batch, rows), (rows, batch)))
            on_rows = on_rows or shape and shape[0] == batch * rows
            attends = op.type == "MaskedAttention" and any(
                one == kept[0] for one, _, _ in key_sources(runs[0], index, op)
            )
            if (attends or on_rows and len(shape) > 1) and all(op != other for other, _ in found):
                reason = why_not(demands, index)
                found.append((op, LeftAlone((op.type,), op.output[0], reason)))
    return found


def _prove(before, after, init, inputs, tolerance, zeros, with_rows, report):
    """Compares results and times; says in the report why the net is to be left as it was."""
    fills = [proof.start(init, feeds) for feeds in inputs]
    outputs, _ = proof.compared(before, after)
    masks = sorted({one.kept for one in report.packed})
    runs, counts, without_row = [], [], set()
    for fill in fills:
        old = proof.Running(before, fill)
        old.run()
        old = old.fetch(outputs)
        try:
            new = proof.Running(after, fill)
            new.run()
            new = new.fetch(outputs + masks)
        except CannotRun as error:
            report.notes.append("Packed, {}".format(error))
            new = {}
        without_row |= {mask for mask in with_rows if mask in new and not new[mask].any(1).all()}
        for blob, (mask, batch_first) in zeros.items():
            if mask in new and blob in old:
                kept = new[mask] if batch_first else new[mask].T
                old[blob] = _without_padding(old[blob], kept)
        runs.append(
            [
                proof.difference(blob, array, new.get(blob), None)
                for blob, array in sorted(old.items())
            ]
        )
        counts.append([Kept(name, int(new[name].sum()), new[name].size) for name in masks if new])
    worst = [max(one, key=proof.share) for one in zip(*runs)]
    operators = len(before.op), len(after.op)
    report.kept = counts[0]
    if without_row:
        report.unchanged = "'{}' keeps no row of a batch, of which attention makes NaN.".format(
            min(without_row)
        )
    elif any(not proof.share(one) <= tolerance for one in worst):
        report.proof = Proof(worst, [], None, None, 0, operators)
        report.failed = True
        report.unchanged = "its results differ."
    elif all(one.rows == one.of for of_run in counts for one in of_run):
        report.unchanged = "the inputs have no padding."
    else:
        old, new, runs = proof.milliseconds(before, after, fills[0], _LEAST_RUNS)
        report.proof = Proof(worst, [], old, new, runs, operators)
        if not new < old:
            report.unchanged = "it is not faster on kept rows alone."


def _without_padding(array, mask):
    array = array.copy()
    array[np.logical_not(mask)] = 0
    return array
