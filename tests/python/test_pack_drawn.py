"""pack on nets that are drawn: kept rows are equal, and rows of padding what is promised."""

import hypothesis.strategies as st
import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace
from hypothesis import given, settings

from caffe2op_mask import pack
from caffe2op_mask.fuse import proof

D = 4


@pytest.fixture(autouse=True)
def always_faster(monkeypatch):
    monkeypatch.setattr(proof, "milliseconds", lambda *_: (2.0, 1.0, 1))


class Drawn(object):
    """A net that is being drawn: its blobs ``[B, L, D]`` and its outputs."""

    def __init__(self, by):
        self.net, self.by = core.Net("net"), by
        self.blobs, self.outputs, self.count = ["x", "x_2"], [], 0

    def fresh(self):
        self.count += 1
        return "blob_{}".format(self.count)

    def column(self):
        """The mask as floats ``[B, L, 1]``."""
        if self.by == "mask":
            kept = self.net.ExpandDims("mask", self.fresh(), dims=[2])
        else:
            sizes = self.net.Shape("x", self.fresh(), axes=[0, 1])
            bools = dict(input_as_shape=1, value=True, dtype=core.DataType.BOOL)
            ones = self.net.ConstantFill(sizes, self.fresh(), **bools)
            kept = self.net.SequenceMask(
                [ones, "lengths"], self.fresh(), mode="sequence", axis=1, fill_val=0, engine="MASK"
            )
            kept = self.net.ExpandDims(kept, self.fresh(), dims=[2])
        return self.net.Cast(kept, self.fresh(), to=core.DataType.FLOAT)


def unary(name, **args):
    return lambda drawn, x, y: getattr(drawn.net, name)(x, drawn.fresh(), **args)


def binary(name, **args):
    return lambda drawn, x, y: getattr(drawn.net, name)([x, y], drawn.fresh(), **args)


def by_row(name, constant="row"):
    return lambda drawn, x, y: getattr(drawn.net, name)([x, constant], drawn.fresh())


def product(drawn, x, y):
    return drawn.net.FC([x, "w", "b"], drawn.fresh(), axis=2)


def in_place(drawn, x, y):
    copied = drawn.net.Copy(x, drawn.fresh())
    return drawn.net.Relu(copied, copied)


def layer_norm(drawn, x, y):
    outputs = [drawn.fresh() for _ in range(3)]
    return drawn.net.LayerNorm(x, outputs, axis=2, epsilon=0.1)[0]


def centred(drawn, x, y):
    mean = drawn.net.ReduceMean(x, drawn.fresh(), axes=[2], keepdims=1)
    return drawn.net.Sub([x, mean], drawn.fresh())


def joined(drawn, x, y):
    both, _ = drawn.net.Concat([x, y], [drawn.fresh(), drawn.fresh()], axis=2)
    return drawn.net.Split(both, [drawn.fresh(), drawn.fresh()], axis=2)[1]


def flat(drawn, x, y):
    rows, _ = drawn.net.Reshape(x, [drawn.fresh(), drawn.fresh()], shape=[-1, D])
    product = drawn.net.FC([rows, "w", "b"], drawn.fresh())
    sizes = drawn.net.Shape(x, drawn.fresh())
    return drawn.net.Reshape([product, sizes], [drawn.fresh(), drawn.fresh()])[0]


def swapped(drawn, x, y, back=True):
    """Rows before the batch, for a while."""
    first = drawn.net.Transpose(x, drawn.fresh(), axes=[1, 0, 2])
    product = drawn.net.FC([first, "w", "b"], drawn.fresh(), axis=2)
    if not back:
        return product
    return drawn.net.Transpose(product, drawn.fresh(), axes=[1, 0, 2])


def attention(**args):
    def add(drawn, x, y):
        side, more = ["lengths"], dict(mode="sequence")
        if drawn.by == "mask":
            side = [drawn.net.ExpandDims("mask", drawn.fresh(), dims=[1])]
            more = dict(has_mask=1)
        outputs = [drawn.fresh(), drawn.fresh()]
        return drawn.net.MaskedAttention([x, y, y] + side, outputs, **dict(more, **args))[0]

    return add


def heads(swap=False, **args):
    """Attention of two heads, whose dims are split and joined; rows before the batch, if `swap`."""

    def add(drawn, x, y):
        each = []
        for blob in (x, y, y):
            if swap:
                blob = swapped(drawn, blob, None, back=False)
            outputs = [drawn.fresh(), drawn.fresh()]
            split = drawn.net.Reshape(blob, outputs, shape=[0, -1, 2, D // 2])[0]
            axes = [1, 2, 0, 3] if swap else [0, 2, 1, 3]
            each.append(drawn.net.Transpose(split, drawn.fresh(), axes=axes))
        mode = args.get("mode", "")
        side, more = ["lengths"], dict(args, mode="+".join(filter(None, ["sequence", mode])))
        if drawn.by == "mask":
            side = [drawn.net.ExpandDims("mask", drawn.fresh(), dims=[1, 2])]
            more = dict(args, has_mask=1)
        outputs = [drawn.fresh(), drawn.fresh()]
        attended = drawn.net.MaskedAttention(each + side, outputs, **more)[0]
        axes = [2, 0, 1, 3] if swap else [0, 2, 1, 3]
        back = drawn.net.Transpose(attended, drawn.fresh(), axes=axes)
        rows = drawn.net.Reshape(back, [drawn.fresh(), drawn.fresh()], shape=[0, -1, D])[0]
        return drawn.net.Transpose(rows, drawn.fresh(), axes=[1, 0, 2]) if swap else rows

    return add


def masked(drawn, x, y):
    return drawn.net.Mul([x, drawn.column()], drawn.fresh())


def over_rows(drawn, x, y):
    """Reads padding: the mean over rows is added to each."""
    mean = drawn.net.ReduceMean(x, drawn.fresh(), axes=[1], keepdims=1)
    return drawn.net.Add([y, mean], drawn.fresh())


STEPS = [
    unary("Relu"),
    unary("Tanh"),
    unary("Sigmoid"),
    unary("Gelu"),
    unary("Copy"),
    unary("Softmax", axis=2),
    binary("Add"),
    binary("Sub"),
    binary("Mul"),
    by_row("Add"),
    by_row("Mul"),
    product,
    product,
    lambda drawn, x, y: drawn.net.BatchMatMul([x, "w"], drawn.fresh(), broadcast=1),
    in_place,
    layer_norm,
    centred,
    joined,
    flat,
    swapped,
    masked,
    attention(),
    attention(empty_row="uniform"),
    heads(),
    heads(mode="upper"),
    heads(mode="lower", diagonal=1),
    heads(window_left=1, empty_row="nan"),
    heads(empty_row="nan"),
    heads(swap=True),
    heads(swap=True, mode="upper"),
]

# What reads padding, which then has to be what it was.
READ_PADDING = [unary("Softmax", axis=1), over_rows]


def rows_of(drawn, x):
    """What is kept, one behind the other."""
    mask = "mask"
    if drawn.by == "lengths":
        sizes = drawn.net.Shape(x, drawn.fresh(), axes=[0, 1])
        bools = dict(input_as_shape=1, value=True, dtype=core.DataType.BOOL)
        ones = drawn.net.ConstantFill(sizes, drawn.fresh(), **bools)
        mask = drawn.net.SequenceMask(
            [ones, "lengths"], drawn.fresh(), mode="sequence", axis=1, fill_val=0, engine="MASK"
        )
    return drawn.net.BooleanMask([x, mask], drawn.fresh(), engine="MASK")


def total(drawn, x):
    product = drawn.net.Mul([drawn.column(), x], drawn.fresh())
    return drawn.net.ReduceSum(product, drawn.fresh(), axes=[1], keepdims=0)


def first_row(drawn, x):
    return drawn.net.Slice(x, drawn.fresh(), starts=[0, 0, 0], ends=[-1, 1, -1])


def padded_rows(drawn, x):
    return drawn.net.Tanh(x, drawn.fresh())


@st.composite
def cases(draw):
    """(net, feeds, mask of what is kept)."""
    drawn = Drawn(draw(st.sampled_from(["mask", "lengths"])))
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=2, max_size=9))
    if draw(st.integers(0, 4)) == 0:
        steps.insert(draw(st.integers(0, 2)), draw(st.sampled_from(READ_PADDING)))
    for step in steps + [draw(st.sampled_from([product, flat, swapped]))]:
        # Mostly the last, so that chains are long.
        x, y = (draw(st.sampled_from(drawn.blobs[-3:])) for _ in range(2))
        drawn.blobs.append(str(step(drawn, x, y)))
    ends = [draw(st.sampled_from([rows_of, total]))]
    ends += draw(st.lists(st.sampled_from([rows_of, first_row, padded_rows]), max_size=1))
    for i, end in enumerate(ends):
        drawn.outputs.append(str(end(drawn, drawn.blobs[-1 - i])))
    drawn.net.Proto().external_output.extend(drawn.outputs)
    batch, rows = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    random = np.random.RandomState(draw(st.integers(0, 99)))
    feeds = {
        name: random.randn(*shape).astype("f")
        for name, shape in dict(
            x=(batch, rows, D), x_2=(batch, rows, D), w=(D, D), b=(D,), row=(D,)
        ).items()
    }
    lengths = draw(st.lists(st.integers(0, rows), min_size=batch, max_size=batch))
    kept = np.arange(rows) < np.array(lengths)[:, np.newaxis]
    if drawn.by == "mask":
        entries = st.lists(st.booleans(), min_size=batch * rows, max_size=batch * rows)
        kept = np.array(draw(entries), bool).reshape(batch, rows)
    feeds.update(lengths=np.array(lengths, np.int32), mask=kept)
    read = {blob for op in drawn.net.Proto().op for blob in op.input}
    return drawn.net.Proto(), {name: feeds[name] for name in feeds if name in read}, kept


def results(net, feeds):
    workspace.ResetWorkspace()
    for blob, array in feeds.items():
        workspace.FeedBlob(blob, array)
    workspace.RunNetOnce(net)
    return {blob: workspace.FetchBlob(blob) for blob in net.external_output}


@given(cases(), st.sampled_from(["same", "zeros"]), st.integers(0, 99))
@settings(max_examples=150)
def test_outputs(case, padding, seed):
    net, feeds, kept = case
    before = caffe2_pb2.NetDef.FromString(net.SerializeToString())
    report = pack(net, dict(feeds), padding=padding)
    assert not report.failed, str(report)
    if report.unchanged is not None:
        assert net == before
        return
    assert padding == "zeros" or not report.zeros
    # On the inputs, and on others that nothing was read off.
    other = np.random.RandomState(seed)
    changed = dict(feeds)
    if "x" in feeds:
        changed["x"] = other.randn(*feeds["x"].shape).astype("f")
    if "mask" in feeds:
        changed["mask"] = other.rand(*kept.shape) < 0.5
    for arrays in (feeds, changed):
        mask = arrays.get("mask", kept)
        if "unless a batch keeps no row" in str(report) and not mask.any(axis=1).all():
            continue
        wanted, found = results(before, arrays), results(net, arrays)
        for blob in wanted:
            if blob in report.zeros:
                wanted[blob][~mask] = 0
            np.testing.assert_allclose(
                found[blob], wanted[blob], rtol=1e-3, atol=1e-4, err_msg=str(report)
            )
