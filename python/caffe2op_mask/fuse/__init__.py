"""fuse: stock operators that mask and then normalise, made into the operators that do both."""

import operator

from caffe2.proto import caffe2_pb2

from caffe2op_mask.sizes import is_shape
from caffe2op_mask.fuse import given, proof, steps
from caffe2op_mask.fuse.declined import Declined
from caffe2op_mask.fuse.facts import CannotRun, Facts
from caffe2op_mask.fuse.fusion import fusions_at
from caffe2op_mask.fuse.graph import Graph, sub_nets
from caffe2op_mask.fuse.report import Fused, LeftAlone, Proof, Report
from caffe2op_mask.fuse.scores import SOFTMAX

__all__ = ["Fused", "LeftAlone", "Proof", "Report", "fuse"]


def fuse(net, shapes=None, init=None, inputs=None, tolerance=1e-4):
    """Makes masks and their softmax one operator, in place; returns a Report.

    SequenceMask, a Where that fills with a constant, or an Add, with a scale or not, and the
    Softmax behind them become MaskedSoftmax. With a product of matrices before them and one behind
    they become MaskedAttention, with its second output, so that gradients can be added; so do two
    products and a Softmax between them without a mask. docs/fuse.md has all forms.

    net        a core.Net or a NetDef
    shapes     without inputs, {blob: its shape}, for what does not follow from the net. They are
               taken as facts: for a size that changes from run to run give a number that no other
               size has, a prime say.
    init       the net (core.Net or NetDef) that fills parameters and constants, if there is one
    inputs     {blob: array} of what the net reads and init does not fill, or a list of such dicts,
               whose sizes differ where they vary. The net runs on them in a workspace of its own:
               shapes are read off, and results and times compared before and after. Of one dict a
               second batch size is tried as well, with every array of the first dim that most have
               twice behind itself.
    tolerance  with inputs, the largest difference of an output as a share of its largest number. Where
               one is beyond it the net is left as it was, and the report's `blamed` says why.

    Only what gives equal results, to rounding, is fused; the report says why the rest is not. That
    takes for granted

    - that what init fills stays as it is. A scale, fill or mask that is constant there becomes an
      argument, which the report notes, and is not learned any more: leave out of init what is;
    - that nobody fetches a blob between two of the operators, unless it is in external_output;
    - where the fill is finite, that some score kept in each row is more than 104 above it. A fill
      above -1e4 is never fused;
    - that no score or value is NaN or infinite. Stock Softmax spreads a NaN over its row, and so
      does BatchMatMul; here what is masked stays 0 and is not read.

    Rows with nothing kept stay what they were: NaN with a fill of -inf, else uniform. Nets in
    arguments, of If or While, are not looked into; what they name is left as it is.

    Raises ValueError where the net does not run on the inputs, and TypeError or ValueError for
    arguments that are not as above.
    """
    proto, init = given.nets("fuse", net, init)
    if inputs is not None and shapes:
        raise ValueError("fuse: shapes are read off the inputs; give one of the two.")
    given.check_tolerance("fuse", tolerance)
    graph, report = Graph(proto), Report()
    if inputs is None:
        facts = [Facts(graph, init, shapes=_shapes(shapes, graph))]
    else:
        inputs = given.inputs("fuse", inputs)
        facts = given.facts_of_runs("fuse", graph, init, inputs, report)
    rewrite = Rewrite(proto)
    rewrite.taken |= set(inputs[0] if inputs else ()) | (Graph(init).blobs if init else set())
    _find_fusions(rewrite, graph, facts, report, None)
    for index, op in enumerate(graph.ops):
        _look_into(rewrite, index, op, facts, report, inputs is not None)
    blamed = None
    if rewrite.fusions and inputs is not None:
        try:
            blamed = _prove(rewrite, init, inputs, tolerance, report)
        except CannotRun as error:
            raise ValueError("fuse: {}".format(error))
    report.fused = [_fused(choices[0]) for _, choices in rewrite.fusions]
    if blamed is not None:
        report.blamed = report.fused[blamed]
    else:
        given.replace_operators(net, rewrite.net().op)
    return report


class Rewrite(object):
    """A net, and fusions in it or in the step nets of its operators."""

    def __init__(self, proto):
        self.before = caffe2_pb2.NetDef()
        self.before.CopyFrom(proto)
        # (number of the operator whose step net it is in or None, fusions of which one is made)
        self.fusions = []
        self.taken = set()  # names that no new blob may have

    def net(self, count=None):
        """A copy of the net with the first `count` of the fusions, or with all."""
        fusions = [(owner, choices[0]) for owner, choices in self.fusions[:count]]
        after = caffe2_pb2.NetDef()
        after.CopyFrom(self.before)
        for index in {owner for owner, _ in fusions if owner is not None}:
            step = steps.step_net(after.op[index])
            _replace(step, [fusion for owner, fusion in fusions if owner == index])
        _replace(after, [fusion for owner, fusion in fusions if owner is None])
        return after


def _replace(net, fusions):
    gone = {index for fusion in fusions for index in fusion.indices}
    instead = {fusion.last: fusion.ops for fusion in fusions}
    ops = caffe2_pb2.NetDef()
    for index, op in enumerate(net.op):
        ops.op.extend(instead.get(index, [] if index in gone else [op]))
    del net.op[:]
    net.op.extend(ops.op)


def _look_into(rewrite, index, op, facts, report, ran):
    """Fuses in the step net of an operator, and reports of Softmax in other nets that it has."""
    step = steps.step_net(op)
    for _, net in sub_nets(op):
        if net is step and ran:
            graph = Graph(step, kept=steps.kept(op))
            try:
                inner = [Facts(graph, feeds=one.step_feeds(index)) for one in facts]
                _find_fusions(rewrite, graph, inner, report, index)
                continue
            except CannotRun as error:
                reason = "its step net does not run by itself: {}".format(str(error).rstrip("."))
        elif net is step:
            reason = "it is in a step net, whose shapes are known with inputs alone"
        else:
            reason = "it is in a net that is an argument of {}".format(op.type)
        report.left_alone += [
            LeftAlone((inner.type,), inner.output[0], reason)
            for inner in net.op
            if inner.type == "Softmax"
        ]


def _find_fusions(rewrite, graph, facts, report, owner):
    """Adds fusions that are the same whichever run they are read off; fills the report."""
    gone, taken = set(), rewrite.taken
    taken |= graph.blobs
    for index, op in enumerate(graph.ops):
        if op.type not in SOFTMAX:
            continue
        try:
            agreed = _agreed([fusions_at(one, index, taken) for one in facts])
            agreed = [fusion for fusion in agreed if not fusion.indices & gone]
            if not agreed:
                raise Declined("an operator of it is fused already")
        except Declined as declined:
            if op.type == "Softmax" or len(declined.indices) > 1:
                types = _types(graph, declined.indices | {index})
                report.left_alone.append(LeftAlone(types, op.output[0], str(declined)))
            unknown = declined.unknown
        else:
            rewrite.fusions.append((owner, agreed))
            for fusion in agreed:
                gone |= fusion.indices
                taken |= fusion.blobs
            unknown = agreed[0].unknown
        for value in unknown:
            _add_new(report.missing, facts[0].missing(value))


def _add_new(found, more):
    found += [one for one in more if one not in found]


def _agreed(by_run):
    """The fusions that are the same by each run, the best first."""
    first, others = by_run[0], by_run[1:]
    agreed = [one for one in first if all(one.key in [two.key for two in run] for run in others)]
    if not agreed:
        declined = Declined("what would take its place differs between the inputs")
        declined.indices = first[0].indices - first[0].chain
        raise declined
    return agreed


def _types(graph, indices):
    return tuple(graph.ops[index].type for index in sorted(indices))


def _fused(fusion):
    types = _types(fusion.graph, fusion.indices - fusion.chain)
    return Fused(types, fusion.output, fusion.type, fusion.notes)


def _prove(rewrite, init, inputs, tolerance, report):
    """Compares results and times; returns the number of the fusion that changed results, or None.

    Where there is another choice for it, which takes less for granted, that is made and tried.
    """
    fills, failures = [proof.start(init, feeds) for feeds in inputs], []

    def differences(count=None):
        """The worst of all inputs, for each output and each gradient."""
        after = rewrite.net(count)
        runs = [proof.differences(rewrite.before, after, fill, failures) for fill in fills]
        return tuple([max(one, key=proof.share) for one in zip(*kind)] for kind in zip(*runs))

    def are_equal(found):
        return all(proof.share(one) <= tolerance for kind in found for one in kind)

    while True:
        found = differences()
        operators = len(rewrite.before.op), len(rewrite.net().op)
        if are_equal(found):
            timed = proof.milliseconds(rewrite.before, rewrite.net(), fills[0])
            report.proof = Proof(*(found + timed + (operators,)))
            return None
        good, bad = 0, len(rewrite.fusions)  # so many of them leave results equal, and do not
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if are_equal(differences(middle)) else (good, middle)
        choices = rewrite.fusions[bad - 1][1]
        if not choices[0].dares or len(choices) == 1:
            break
        del choices[0]
    if not are_equal(differences(0)):
        report.notes.append("The net itself gives other results from one run to the next.")
    report.notes += ["Fused, {}".format(reason) for reason in failures[-1:]]
    report.proof = Proof(*(found + (None, None, 0, operators)))
    return bad - 1


def _shapes(shapes, graph):
    """The shapes that a caller gives, by the names of their blobs, as tuples of ints of Python."""
    if not isinstance(shapes, (dict, type(None))):
        raise TypeError(
            "fuse: shapes must be a dict from blobs to shapes, but is {!r}.".format(shapes)
        )
    found = {}
    for blob, shape in (shapes or {}).items():
        try:
            dims = tuple(operator.index(size) for size in shape)
        except TypeError:
            dims = (-1,)
        if not is_shape(dims):
            raise ValueError(
                "fuse: the shape of '{}' must be integers of at least 0 whose product is below "
                "2^63, but is {!r}.".format(blob, shape)
            )
        found[str(blob)] = dims
    for blob in sorted(found):
        if blob not in graph.blobs:
            raise ValueError("fuse: shapes names '{}', which is no blob of the net.".format(blob))
    return found
