"""Makes parts of a net run on the rows that a mask keeps."""

import collections

from caffe2.proto import caffe2_pb2
from caffe2.python import utils

from caffe2op_mask.fuse.facts import is_deterministic
from caffe2op_mask.fuse.graph import argument, list_argument, operator_like
from caffe2op_mask.fuse.limits import LOW
from caffe2op_mask.pack import attention
from caffe2op_mask.pack.demands import NOT_FINITE, Demands, Rows, Whole
from caffe2op_mask.pack.layouts import BATCH, ROW, leading, order
from caffe2op_mask.pack.masks import BIAS, LENGTHS, Emission
from caffe2op_mask.pack.rowwise import AS_IS, OF_ROWS, PRODUCTS, Form, form_of

# Parts of a net, each a list of numbers of operators; the new operators; the blob that is the mask;
# outputs whose rows of padding are zeros now, and whether the batch comes first there; whether each
# batch has to keep a row; what was taken for granted; names of new blobs.
Packing = collections.namedtuple("Packing", "parts net keep zeros needs_rows notes names")

_PLAIN, _SWAPPED = (2, (BATCH, ROW)), (2, (ROW, BATCH))
_ATTENTION = "MaskedAttentionJagged"

_GRANTED = "equal unless all that a row attends to has a bias of {:g} or below".format(LOW)
_NEEDS_ROWS = "equal unless a batch keeps no row, of which attention makes NaN"


class NotPacked(Exception):
    """Why a mask packs nothing, as a part of a sentence."""


def demands_of_runs(runs, kept, sizes, zeroed):
    """The Demands of each run, which agree on the first rows that are read by their position."""
    first = 0
    while True:
        found = [Demands(masks, kept[i], sizes[i], first, zeroed) for i, masks in enumerate(runs)]
        reads_first = max(one.reads_first for one in found)
        if reads_first <= first:
            return found
        first = reads_first


def may_be_zeros(zeroed, sizes):
    """Those outputs that show their rows: as many as batches may be either dim."""
    return set(zeroed) if any(batch != rows for batch, rows in sizes) else set()


def packing_of(runs, kept, sizes, zeroed, taken):
    """The Packing of the rows that a mask keeps; raises NotPacked.

    runs     the Masks of each run
    kept     the Kept of each run
    sizes    (batch, rows) of each run
    zeroed   names of outputs whose rows of padding may become zeros
    taken    names that no new blob may have
    """
    graph = runs[0].facts.graph
    zeroed = may_be_zeros(zeroed, sizes)
    while True:
        demands = demands_of_runs(runs, kept, sizes, zeroed)
        forms = _with_whole_heads(demands[0], _forms(demands))
        parts = _parts(graph, demands[0], forms)
        if not parts:
            raise NotPacked("no product of matrices works on rows whose padding nobody reads")
        chosen = {index for part in parts for index in part}
        _check(graph, demands, chosen)
        rewriting = _Rewriting(demands[0], {index: forms[index] for index in chosen}, taken)
        zeros = {blob for blob in zeroed if isinstance(demands[0].of(graph.last(blob)), Rows)}
        wrong = {blob for blob in zeros if graph.last(blob).writer not in rewriting.chosen}
        if not wrong:
            break
        zeroed -= wrong  # its rows of padding would hold what comes of zeros
    net = rewriting.net()
    parts = [[index for index in part if index in rewriting.chosen] for part in parts]
    notes = [_GRANTED] if any(one.takes_for_granted for one in demands) else []
    needs_rows = any(one.needs_rows for one in demands)
    if needs_rows:
        notes.append(_NEEDS_ROWS)
    if demands[0].first:
        notes.append("the first {} rows are kept whatever it says".format(demands[0].first))
    parts = [part for part in parts if part]
    zeros = {blob: forms[graph.last(blob).writer].leads[1] == _PLAIN[1] for blob in zeros}
    return Packing(parts, net, rewriting.keep, zeros, needs_rows, notes, rewriting.names)


def _forms(demands):
    """{number: Form} of the operators that may run on rows, the same in each run."""
    found = {}
    for index in range(len(demands[0].graph.ops)):
        forms = [form_of(one, index) for one in demands]
        if isinstance(forms[0], Form) and all(form == forms[0] for form in forms):
            found[index] = forms[0]
    return found


def _with_whole_heads(demands, forms):
    """The forms without those between which heads would be needed as they were.

    Rows with other dims between them are rows of operators that run on rows, and of no others. What
    splits and joins heads, or makes the batch come first, does where attention between does.
    """
    forms = dict(forms)
    while True:
        of_heads = {index for index in forms if forms[index].op_type or _heads(demands, index)}
        found = {index for index in of_heads if not _heads_are_of_rows(demands, index, forms)}
        if not found:
            found = _without_attention(demands, forms, of_heads, of_heads)
        if not found:
            swapping = {index for index in forms if len(_orders(demands, index)) > 1}
            found = _without_attention(demands, forms, forms, swapping - of_heads)
        if not found:
            return forms
        for index in found:
            del forms[index]


def _without_attention(demands, forms, indices, which):
    """Those of `which` that hang together, as `indices` do, with no attention on rows."""
    found = set()
    for group in _groups(demands, indices):
        if all(forms[index].op_type != _ATTENTION for index in group):
            found |= which & set(group)
    return found


def _orders(demands, index):
    """The orders in which the rows stand that an operator reads and writes."""
    found = [demands.layout(value) for value in demands.outputs(index)]
    found += [wanted.layout for wanted in demands.of_inputs[index] if isinstance(wanted, Rows)]
    return {order(layout) for layout in found if layout is not None}


def _heads(demands, index):
    """Values of an operator whose rows have other dims between them."""
    values = list(demands.graph.inputs[index]) + demands.outputs(index)
    layouts = [(value, demands.layout(value)) for value in values]
    return [one for one, layout in layouts if layout is not None and leading(layout) is None]


def _heads_are_of_rows(demands, index, forms):
    graph, final = demands.graph, set(demands.graph.outputs())
    for value in _heads(demands, index):
        is_final = value.blob in final and graph.last(value.blob) == value
        if value.writer not in forms or graph.is_kept(value) or is_final:
            return False
        for reader in graph.readers(value):
            reads_rows = reader in forms or graph.ops[reader].type == "Shape"
            if not reads_rows or value in graph.named[reader]:
                return False
    # Where something else wants more than rows of what it reads, that has no rows.
    return all(
        leading(wanted.layout) is not None or demands.layout(value) == wanted.layout
        for value, wanted in zip(graph.inputs[index], demands.of_inputs[index])
        if isinstance(wanted, Rows)
    )


def _groups(demands, indices):
    """Operators that hang together by the rows that they hand on."""
    part = {index: index for index in indices}

    def root(index):
        while part[index] != index:
            index = part[index]
        return index

    for index in indices:
        for value in demands.graph.inputs[index]:
            if value.writer in part and demands.layout(value) is not None:
                part[root(index)] = root(value.writer)
    found = collections.defaultdict(list)
    for index in sorted(indices):
        found[root(index)].append(index)
    return list(found.values())


def _parts(graph, demands, forms):
    """Operators that hang together by what they hand on, where there is a product among them."""
    found = _groups(demands, forms)
    with_product = [one for one in found if any(graph.ops[i].type in PRODUCTS for i in one)]
    if not with_product:
        return []
    # What masks by a product reads rows that may have become anything.
    return [one for one in found if one in with_product or set(one) & demands.zeros]


def _check(graph, demands, chosen):
    """Checks that what others make of rows of padding, which are zeros now, does no harm."""
    changed = _changed(graph, chosen)
    for one in demands:
        if not one.zeros <= chosen:
            index = min(one.zeros - chosen)
            raise NotPacked("{} cannot run on rows".format(graph.said(index)))
        for index in sorted(changed - chosen):
            op = graph.ops[index]
            if not any(isinstance(one.of(value), Rows) for value in one.outputs(index)):
                continue
            if one.kept.kind == BIAS and op.type in NOT_FINITE:
                raise NotPacked("{} may make infinity of padding".format(graph.said(index)))
            if op.type == "Gather":
                raise NotPacked("{} may find no index in padding".format(graph.said(index)))


def _changed(graph, chosen):
    """Operators that read what comes of chosen ones, and these."""
    found = set(chosen)
    for index in range(len(graph.ops)):
        if any(value.writer in found for value in graph.inputs[index]):
            found.add(index)
    return found


def why_not(demands, index):
    """Why a product or attention computes padding, by the Demands of each run."""
    for one in demands:
        form = form_of(one, index)
        for value in one.outputs(index):
            wanted = one.of(value)
            if isinstance(wanted, Whole):
                return wanted.reason
        if isinstance(form, str):
            return form
    forms = [form_of(one, index) for one in demands]
    if any(form != forms[0] for form in forms):
        return "its rows differ between the inputs"
    if index in _with_whole_heads(demands[0], _forms(demands)):
        return "what says which rows are kept is not there before what it keeps"
    return _why_heads_are_padded(demands, index)


def _why_heads_are_padded(demands, index):
    """What splits or joins the heads of attention on padded rows."""
    forms = _forms(demands)
    graph, group = demands[0].graph, {index}
    ahead = [index]
    while ahead:
        one = ahead.pop()
        for value in _heads(demands[0], one):
            near = ({value.writer} | graph.readers(value)) - {None}
            near = {other for other in near if graph.ops[other].type != "Shape"}
            for other in sorted(near - set(forms)):
                reason = why_not(demands, other)
                return "{}, beside its heads: {}".format(graph.said(other), reason)
            ahead += sorted(near - group)
            group |= near
    return "what splits or joins its heads does not run on rows"


class _Rewriting(object):
    """Writes a net whose chosen operators run on rows.

    Operators keep their order, and a blob that anybody reads as it was is written where it was. So
    each finds what it found before.
    """

    def __init__(self, demands, forms, taken):
        self.graph, self.facts, self._demands = demands.graph, demands.facts, demands
        self.chosen, self._forms = set(forms), forms
        self._taken, self.names = taken, set()
        self._rows = {}  # the blob that has the kept rows of a value, in an order
        self._flat = {}  # the mask for rows that stand as (dims, order)
        self._places = {}  # where the rows of one order stand in the other
        self._sequences = None  # lengths of queries; where keys are others, theirs and their mask
        self._ops = []
        self._like = None
        self.keep = None
        self._source = self._choose_source()
        self._read = self._read_as_they_were()
        self._orders = self._orders_of_parts()

    def net(self):
        for index, op in enumerate(self.graph.ops):
            self._like = op
            if index in self.chosen:
                if self.keep is None:
                    self._add_mask()
                self._add_on_rows(index, op)
            elif not self._add_otherwise(index, op):
                self._ops.append(op)
        net = caffe2_pb2.NetDef()
        net.op.extend(_without_unread(self.graph, self._ops))
        return net

    def _choose_source(self):
        """What says which rows are kept, at the first operator that runs on rows."""
        demands = self._demands
        sizes = tuple(demands.sizes[label] for label in (BATCH, ROW))
        while self.chosen:
            first = min(self.chosen)
            recipe = demands.masks.recipe(demands.kept, sizes, first)
            reference = self._reference(first)
            if recipe is not None and (demands.kept.kind != LENGTHS or reference is not None):
                return recipe, reference
            if first in demands.zeros:
                break
            self.chosen.discard(first)
            left = {index: self._forms[index] for index in self.chosen}
            self.chosen = set(_with_whole_heads(demands, left))
        raise NotPacked("what says which rows are kept is not there before what it keeps")

    def _orders_of_parts(self):
        """{operator: the order of its kept rows}: the batch comes first if it does anywhere."""
        found = {}
        for part in _groups(self._demands, self.chosen):
            orders = set().union(*(_orders(self._demands, index) for index in part))
            one = _SWAPPED[1] if orders == {_SWAPPED[1]} else _PLAIN[1]
            found.update((index, one) for index in part)
        return found

    def _reference(self, first):
        """(blob, dim of the batch, dim of rows) of a tensor that is there and has both."""
        for index in range(first, -1, -1):
            for value, wanted in zip(self.graph.inputs[index], self._demands.of_inputs[index]):
                layout = wanted.layout if isinstance(wanted, Rows) else ()
                if (BATCH,) in layout and (ROW,) in layout:
                    if self.graph.is_there(value, first, ()):
                        return value.blob, layout.index((BATCH,)), layout.index((ROW,))
        return None

    def _read_as_they_were(self):
        """Values of chosen operators that others read as they were before."""
        final = set(self.graph.outputs())
        found = set()
        for index in self.chosen:
            for value in self._demands.outputs(index):
                is_final = value.blob in final and self.graph.last(value.blob) == value
                readers = self.graph.readers(value) - self.chosen
                if self.graph.is_kept(value) or is_final:
                    found.add(value)
                elif not all(self._reads_rows(reader, value) for reader in readers):
                    found.add(value)
        return found

    def _reads_rows(self, index, value):
        """Whether an operator that is not chosen can do with the kept rows of a value."""
        op = self.graph.ops[index]
        layout = self._demands.layout(value) or ()
        lead = leading(layout)
        if lead is None and layout and value not in self.graph.named[index]:
            return op.type == "Shape"
        if lead is None or value in self.graph.named[index]:
            return False
        if op.type == "Shape":
            axes = list_argument(op, "axes")
            return not axes or all(0 <= axis < lead[0] for axis in axes)
        return self._masks_the_same(index, op, lead) and self.graph.inputs[index][0] == value

    def _masks_the_same(self, index, op, lead):
        """Whether a BooleanMask keeps just the rows that are there."""
        demands = self._demands
        return (
            op.type == "BooleanMask"
            and lead == _PLAIN
            and not demands.first
            and not argument(op, "keep_shape", 0)
            and demands.masks.by_mask(self.graph.inputs[index][1]) == demands.kept
            and self.facts.shape(self.graph.inputs[index][1])
            == (demands.sizes[BATCH], demands.sizes[ROW])
            and len(op.output) == 1
        )

    def _add_mask(self):
        recipe, reference = self._source
        demands = self._demands
        emission = Emission(demands.masks, demands.kept, demands.first, self._make, self._fresh)
        ops, self.keep, of_keys = emission.ops(recipe, reference)
        self._ops += ops
        self._flat[_PLAIN] = self.keep
        if any(self._forms[index].op_type == _ATTENTION for index in self.chosen):
            self._sequences = self._add_sequences(of_keys)

    def _add_sequences(self, of_keys):
        """(lengths of queries, of keys, which rows are keys); the latter None where all are."""
        lengths, key_lengths, keys = (
            self._fresh(self.keep + end) for end in ("_lengths", "_key_lengths", "_keys")
        )
        self._add_counts(self.keep, lengths)
        if not self._demands.first:
            return lengths, None, None
        self._add_counts(of_keys, key_lengths)
        self._ops.append(self._make("BooleanMask", [of_keys, self.keep], [keys], engine="MASK"))
        return lengths, key_lengths, keys

    def _add_counts(self, mask, lengths):
        self._ops.append(self._make("BooleanMaskLengths", [mask] * 2, [lengths], engine="MASK"))

    def _mask(self, lead):
        """The mask for rows that stand as `lead` says."""
        if lead not in self._flat:
            count, order = lead
            blob = self.keep
            if order != _PLAIN[1]:
                # Transpose knows no bool.
                names = [self._fresh(self.keep + end) for end in ("_int", "_swapped", "_by_row")]
                int32, to_bool = int(caffe2_pb2.TensorProto.INT32), int(caffe2_pb2.TensorProto.BOOL)
                self._ops.append(self._make("Cast", [blob], names[:1], to=int32))
                self._ops.append(self._make("Transpose", names[:1], names[1:2], axes=[1, 0]))
                self._ops.append(self._make("Cast", names[1:2], names[2:], to=to_bool))
                blob = names[2]
            if count == 1:
                flat = self._fresh(blob + "_flat")
                outputs = [flat, self._fresh(flat + "_old_shape")]
                self._ops.append(self._make("Reshape", [blob], outputs, shape=[-1]))
                blob = flat
            self._flat[lead] = blob
        return self._flat[lead]

    def _rows_of(self, value, lead, to):
        """The blob that has the kept rows of a value in an order."""
        if (value, to) not in self._rows:
            name = self._fresh(value.blob + "_rows")
            self._ops.append(
                self._make("BooleanMask", [value.blob, self._mask(lead)], [name], engine="MASK")
            )
            self._rows[value, to] = self._in_order(name, lead[1], to)
        return self._rows[value, to]

    def _in_order(self, rows, before, to):
        """The blob that has kept rows in another order."""
        if before == to:
            return rows
        if to not in self._places:
            both = (_PLAIN, _SWAPPED) if to == _PLAIN[1] else (_SWAPPED, _PLAIN)
            self._places[to] = self._add_places(*both)
        name = self._fresh(rows + "_in_order")
        self._ops.append(self._make("Gather", [rows, self._places[to]], [name]))
        return name

    def _add_places(self, to, before):
        """Adds what finds where each of the kept rows of an order stands in the other."""
        kept, count, numbers, whole, swapped, places = (
            self._fresh("_".join([self.keep, to[1][0], end]))
            for end in ("kept", "count", "numbers", "places_before", "places_of_all", "places")
        )
        masks = [self._mask(lead) for lead in (before, to)]
        fill = dict(fill_val=0, layout="compact", engine="MASK")
        self._ops.append(self._make("BooleanMask", [self.keep] * 2, [kept], engine="MASK"))
        self._ops.append(self._make("Shape", [kept], [count]))
        self._ops.append(self._make("Range", [count], [numbers]))
        self._ops.append(self._make("BooleanUnmask", [masks[0], numbers], [whole], **fill))
        self._ops.append(self._make("Transpose", [whole], [swapped], axes=[1, 0]))
        self._ops.append(self._make("BooleanMask", [swapped, masks[1]], [places], engine="MASK"))
        return places

    def _add_on_rows(self, index, op):
        form, inputs, order_here = self._forms[index], [], self._orders[index]
        for value, kind in zip(self.graph.inputs[index], form.inputs):
            if kind == OF_ROWS:
                lead = self._lead(index, value, form)
                inputs.append(self._rows_of(value, lead, order_here))
            elif kind == AS_IS:
                inputs.append(value.blob)
            else:
                plain = self._fresh(value.blob + "_plain")
                self._ops.append(self._make("Squeeze", [value.blob], [plain], dims=[0]))
                inputs.append(plain)
        outputs = self._demands.outputs(index)
        if form.is_same:
            names = inputs[:1]
        elif form.op_type == _ATTENTION:
            names = [self._add_attention(index, op, inputs)]
        elif form.op_type == "Reshape":
            names = [self._fresh(outputs[0].blob + "_rows")]
            both = names + [self._fresh(names[0] + "_old_shape")]
            self._ops.append(self._make("Reshape", inputs[:1], both, **dict(form.arguments)))
        else:
            names = [self._fresh(value.blob + "_rows") for value in outputs]
            self._ops.append(self._moved(op, form, inputs, names))
        for value, rows in zip(outputs, names):
            self._rows[value, order_here] = rows
            if value in self._read:
                rows = self._in_order(rows, order_here, form.leads[1])
                pair = [self._mask(form.leads), rows]
                arguments = dict(fill_val=0, layout="compact", engine="MASK")
                self._ops.append(self._make("BooleanUnmask", pair, [value.blob], **arguments))

    def _add_attention(self, index, op, inputs):
        """Adds attention of sequences behind one another; returns the blob that it writes."""
        first, sinks = list(inputs[:3]), list(inputs[-1:]) if argument(op, "has_sinks", 0) else []
        lengths, key_lengths, keys = self._sequences
        rows = self._fresh(op.output[0] + "_rows")
        output, has_heads = rows, attention.has_heads(self._demands, index)
        if not has_heads:
            first = [self._with_head(blob) for blob in first]
            output = self._fresh(rows + "_of_head")
        kept, arguments = attention.arguments_of(op)
        side = [lengths]
        if keys is not None:
            for i in (1, 2):
                name = self._fresh(first[i] + "_keys")
                self._ops.append(self._make("BooleanMask", [first[i], keys], [name], engine="MASK"))
                first[i] = name
            side.append(key_lengths)
            arguments["has_key_lengths"] = 1
        moved = self._make(_ATTENTION, first + side + sinks, [output], **arguments)
        moved.arg.extend(kept)
        self._ops.append(moved)
        if not has_heads:
            self._ops.append(self._make("Squeeze", [output], [rows], dims=[1]))
        return rows

    def _with_head(self, blob):
        name = self._fresh(blob + "_of_head")
        self._ops.append(self._make("ExpandDims", [blob], [name], dims=[1]))
        return name

    def _lead(self, index, value, form):
        wanted = self._demands.of_inputs[index]
        for one, layout in zip(self.graph.inputs[index], wanted):
            if one == value and isinstance(layout, Rows):
                return leading(layout.layout)
        return form.leads

    def _moved(self, op, form, inputs, outputs):
        moved = caffe2_pb2.OperatorDef()
        moved.CopyFrom(op)
        del moved.input[:], moved.output[:], moved.arg[:]
        moved.input.extend(inputs)
        moved.output.extend(outputs)
        changed = dict(form.arguments)
        moved.arg.extend(arg for arg in op.arg if arg.name not in changed)
        moved.arg.extend(
            utils.MakeArgument(name, value)
            for name, value in form.arguments
            if value is not None
        )
        return moved

    def _add_otherwise(self, index, op):
        """Adds what finds in kept rows what it found in all; returns whether there is a way."""
        value = self.graph.inputs[index][0] if op.input else None
        if value is None or value in self._read or value.writer not in self.chosen:
            return False
        rows = self._rows.get((value, self._orders[value.writer]))
        if rows is None:
            return False
        lead = leading(self._demands.layout(value))
        if op.type == "BooleanMask":
            self._ops.append(self._make("Copy", [rows], [op.output[0]]))
            return True
        if lead is None:
            self._add_sizes(op, rows, self._demands.layout(value))
            return True
        mask, axes = self._mask(lead), list_argument(op, "axes")
        if axes:
            self._ops.append(self._make("Shape", [mask], [op.output[0]], axes=list(axes)))
            return True
        rank = len(self.facts.shape(value))
        if rank == lead[0]:
            self._ops.append(self._make("Shape", [mask], [op.output[0]]))
            return True
        first, behind, split = (
            self._fresh(op.output[0] + end) for end in ("_first", "_behind", "_split")
        )
        self._ops.append(self._make("Shape", [mask], [first]))
        axes = list(range(1, rank - lead[0] + 1))
        self._ops.append(self._make("Shape", [rows], [behind], axes=axes))
        outputs = [op.output[0], split]
        self._ops.append(self._make("Concat", [first, behind], outputs, axis=0))
        return True

    def _add_sizes(self, op, rows, layout):
        """Adds what finds the sizes of rows with other dims between them."""
        sources, count = [], 0
        for factors in layout:
            labels = [(BATCH, ROW).index(factor) for factor in factors if factor in (BATCH, ROW)]
            sources.append([(self.keep, axis) for axis in labels])
            if len(labels) < len(factors):
                count += 1
                sources[-1].append((rows, count))
        axes = list_argument(op, "axes")
        wanted = [sources[axis] for axis in axes] if axes else sources
        names = [self._add_size(op, source) for source in wanted]
        outputs = [op.output[0], self._fresh(op.output[0] + "_split")]
        self._ops.append(self._make("Concat", names, outputs, axis=0))

    def _add_size(self, op, source):
        """Adds what finds the product of dims, each that of a blob; returns a blob."""
        found = None
        for blob, axis in source:
            name = self._fresh("{}_{}".format(op.output[0], axis))
            self._ops.append(self._make("Shape", [blob], [name], axes=[axis]))
            if found is not None:
                both = self._fresh(found + "_product")
                self._ops.append(self._make("Mul", [found, name], [both]))
                name = both
            found = name
        return found

    def _fresh(self, name):
        while name in self._taken or name in self.names:
            name += "_"
        self.names.add(name)
        return name

    def _make(self, op_type, inputs, outputs, **arguments):
        """An operator with the name and the device of the one before which it stands."""
        return operator_like(self._like, op_type, inputs, outputs, **arguments)


def _without_unread(graph, ops):
    """The operators without those that only made what nobody reads any more."""
    read_before = {value.blob for values in graph.inputs for value in values}
    kept = {blob for blob in graph.blobs if graph.is_kept(graph.last(blob))} | set(graph.outputs())
    while True:
        read = {blob for op in ops for blob in list(op.input) + list(op.control_input)}
        read |= {value.blob for values in graph.named for value in values} | kept
        needed = [
            op
            for op in ops
            if not is_deterministic(op)
            or any(blob in read for blob in op.output)
            or not any(blob in read_before for blob in op.output)
        ]
        if len(needed) == len(ops):
            return ops
        ops = needed
