"""pack: what runs on kept rows alone, what does not and why, and that outputs stay equal."""

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

import caffe2op_mask
from caffe2op_mask import pack
from caffe2op_mask.fuse import proof
from testers.encoders import encoder, sentences

# Sizes that differ, so that no two dims are taken for each other.
B, L, D, N, H = 3, 7, 8, 10, 2


@pytest.fixture(autouse=True)
def always_faster(monkeypatch):
    """Times are of no interest here."""
    monkeypatch.setattr(proof, "milliseconds", lambda *_: (2.0, 1.0, 1))


def arrays(**more):
    random = np.random.RandomState(1)
    mask = random.rand(B, L) < 0.6
    mask[0] = True
    mask[1] = False
    feeds = {
        "x": random.randn(B, L, D),
        "w": random.randn(N, D),
        "b": random.randn(N),
        "row": random.randn(D),
        "factor": random.randn(D, N),
        "other": random.randn(B, L, D),
    }
    feeds = {name: array.astype(np.float32) for name, array in feeds.items()}
    feeds.update(mask=mask, lengths=np.array([0, 4, L], np.int32), **more)
    return feeds


def arrays_with(**more):
    return dict(arrays(), **more)


def read_by(net, feeds):
    """Those of the feeds that a net reads."""
    found = {blob for op in net.Proto().op for blob in op.input}
    return {name: array for name, array in feeds.items() if name in found}


def types(net):
    return [op.type for op in net.Proto().op]


def copy_of(net):
    return caffe2_pb2.NetDef.FromString(net.Proto().SerializeToString())


def copied(net):
    return core.Net(copy_of(net))


def results(net, feeds, outputs, init=None):
    workspace.ResetWorkspace()
    if init is not None:
        workspace.RunNetOnce(init)
    for blob, array in feeds.items():
        workspace.FeedBlob(blob, array)
    workspace.RunNetOnce(net)
    return {blob: workspace.FetchBlob(blob) for blob in outputs}


def packed(net, feeds=None, outputs=("y",), padding="same", swapped=False, **options):
    """Packs a net, and checks what came of it beside the net as it was; returns the report."""
    feeds = read_by(net, arrays() if feeds is None else feeds)
    net.Proto().external_output.extend(outputs)
    before = copy_of(net)
    wanted = results(before, feeds, outputs)
    report = pack(net, feeds, padding=padding, **options)
    assert not report.failed, str(report)
    found = results(net.Proto(), feeds, outputs)
    for blob in outputs:
        rows = wanted[blob].copy()
        if blob in report.zeros:
            mask = mask_of(report, feeds)
            rows[~(mask.T if swapped else mask)] = 0
        np.testing.assert_allclose(found[blob], rows, rtol=1e-4, atol=1e-5, err_msg=str(report))
    if report.unchanged is not None:
        assert net.Proto() == before
    return report


def mask_of(report, feeds):
    if "mask" in feeds:
        return feeds["mask"]
    return np.arange(L) < feeds["lengths"][:, np.newaxis]


def all_types(report):
    return sorted(name for one in report.packed for name in one.operators)


def masked_net(add, mask="mask"):
    """x, the operators that `add` adds, a product, and a BooleanMask of what it gives."""
    net = core.Net("net")
    blob = add(net, "x")
    net.FC([blob, "w", "b"], "z", axis=2)
    net.BooleanMask(["z", mask], "y", engine="MASK")
    return net


def unary(name, **args):
    return name, lambda net, x: getattr(net, name)(x, "u", **args)


def with_row(name, row="row", **args):
    return name, lambda net, x: getattr(net, name)([x, row], "u", **args)


def with_rows(name, **args):
    return name, lambda net, x: getattr(net, name)([x, "other"], "u", **args)


def with_row_in_front(net, x):
    """A constant ``[1, 1, D]`` in front of the rows, whose first dim has to go."""
    row = net.ExpandDims("row", "row_of_one", dims=[0, 1])
    return net.Sub([row, x], "u")


def layer_norm(net, x):
    outputs = net.LayerNorm([x, "row", "row"], ["u", "m", "s"], axis=2, elementwise_affine=1)
    return outputs[0]


def decomposed_layer_norm(net, x):
    """As exporters write it."""
    mean = net.ReduceMean(x, "mean", axes=[2], keepdims=1)
    less = net.Sub([x, mean], "less")
    square = net.Pow(less, "square", exponent=2.0)
    variance = net.ReduceMean(square, "variance", axes=[2], keepdims=1)
    epsilon = net.ConstantFill([], "epsilon", shape=[1], value=1e-5)
    deviation = net.Sqrt(net.Add([variance, epsilon], "above"), "deviation")
    return net.Mul([net.Div([less, deviation], "normal"), "row"], "u")


def concat_and_split(net, x):
    both, _ = net.Concat([x, "other"], ["both", "split"], axis=2)
    first, _ = net.Split(both, ["first", "second"], axis=2)
    return first


def residual(net, x):
    inner = net.Relu(net.FC([x, "w", "b"], "inner", axis=2), "inner")
    outer = net.BatchMatMul([inner, "factor"], "outer", trans_b=1, broadcast=1)
    return net.Add([x, outer], "u")


def flat(net, x):
    rows, old = net.Reshape(x, ["rows", "old"], shape=[-1, D])
    rows = net.Tanh(rows, "tanh")
    return net.Reshape([rows, net.Shape(x, "sizes")], ["u", "old_2"])[0]


CHAINS = dict(
    [
        unary("Relu"),
        unary("Gelu"),
        unary("Tanh"),
        unary("Sigmoid"),
        unary("Swish"),
        unary("Exp"),
        unary("Erf"),
        unary("LeakyRelu", alpha=0.1),
        unary("Clip", min=-1.0, max=0.5),
        unary("Copy"),
        unary("Scale", scale=0.5),
        unary("Softmax", axis=2),
        unary("Softmax", axis=-1),
        ("Dropout", lambda net, x: net.Dropout(x, ["u", "drawn"], is_test=1)[0]),
        with_row("Add"),
        with_row("Mul"),
        with_row("Div"),
        with_rows("Add"),
        with_rows("Mul"),
        with_rows("Max"),
        with_rows("Sum"),
        ("legacy Add", lambda net, x: net.Add([x, "row"], "u", broadcast=1)),
        ("legacy Add by axis", lambda net, x: net.Add([x, "row"], "u", broadcast=1, axis=2)),
        ("Sub in front", with_row_in_front),
        ("LayerNorm", layer_norm),
        ("decomposed LayerNorm", decomposed_layer_norm),
        ("Concat, Split", concat_and_split),
        ("residual", residual),
        ("flat", flat),
    ]
)


class TestRowWise(object):
    @pytest.mark.parametrize("name", sorted(CHAINS))
    def test_chain(self, name):
        net = masked_net(CHAINS[name])
        stay = ("BooleanMask", "ConstantFill", "ExpandDims", "Shape")
        wanted = sorted(one for one in types(net) if one not in stay)
        report = packed(net)
        assert report.unchanged is None and not report.left_alone, str(report)
        assert all_types(report) == wanted, str(report)
        assert "BooleanUnmask" not in types(net)

    @pytest.mark.parametrize("name", sorted(CHAINS))
    def test_padding_is_not_read(self, name):
        net = masked_net(CHAINS[name])
        feeds = read_by(net, arrays())
        net.Proto().external_output.append("y")
        wanted = results(copy_of(net), feeds, ["y"])["y"]
        pack(net, feeds)
        for blob in {"x", "other"} & set(feeds):
            feeds[blob][~feeds["mask"]] = np.nan
        found = results(net.Proto(), feeds, ["y"])["y"]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)

    def test_nothing_is_kept(self):
        for name in sorted(CHAINS):
            report = packed(masked_net(CHAINS[name]), arrays_with(mask=np.zeros((B, L), bool)))
            assert report.kept[0].rows == 0 and report.unchanged is None

    def test_embedding(self):
        net = core.Net("net")
        net.Gather(["table", "ids"], "x")
        net.FC(["x", "w", "b"], "z", axis=2)
        net.BooleanMask(["z", "mask"], "y", engine="MASK")
        random = np.random.RandomState(3)
        ids = random.randint(5, size=(B, L)).astype(np.int64)
        report = packed(net, arrays(table=random.randn(5, D).astype("f"), ids=ids))
        assert all_types(report) == ["FC", "Gather"]

    def test_mat_mul(self):
        net = core.Net("net")
        net.Reshape("x", ["rows", "old"], shape=[-1, D])
        net.MatMul(["rows", "factor"], "z")
        net.Reshape("z", ["back", "old_2"], shape=[-1, L, N])
        net.BooleanMask(["back", "mask"], "y", engine="MASK")
        report = packed(net)
        assert all_types(report) == ["MatMul", "Reshape", "Reshape"]

    def test_time_comes_first(self):
        """``[L, B, D]`` is masked by the mask, transposed."""
        net = core.Net("net")
        net.Transpose("x", "t", axes=[1, 0, 2])
        net.FC(["t", "w", "b"], "z", axis=2)
        net.Transpose("z", "back", axes=[1, 0, 2])
        net.BooleanMask(["back", "mask"], "y", engine="MASK")
        report = packed(net)
        assert all_types(report) == ["FC"]
        assert "BooleanUnmask" in types(net)

    def test_in_place(self):
        net = core.Net("net")
        net.FC(["x", "w", "b"], "z", axis=2)
        net.Relu("z", "z")
        net.Sigmoid("z", "z")
        net.FC(["z", "w_2", "b"], "u", axis=2)
        net.BooleanMask(["u", "mask"], "y", engine="MASK")
        net.Copy("other", "z")
        w = np.random.RandomState(4).randn(N, N).astype("f")
        report = packed(net, arrays(w_2=w), outputs=("y", "z"))
        assert all_types(report) == ["FC", "FC", "Relu", "Sigmoid"]

    def test_what_the_next_run_reads(self):
        """The net finds in x what it wrote there."""
        net = core.Net("net")
        net.FC(["x", "w_2", "b_2"], "z", axis=2)
        net.BooleanMask(["z", "mask"], "y", engine="MASK")
        net.Copy("z", "x")
        random = np.random.RandomState(4)
        w, b = random.randn(D, D).astype("f"), random.randn(D).astype("f")
        assert not packed(net, arrays(w_2=w, b_2=b)).packed

    def test_a_blob_that_is_written_again(self):
        """The mask has another one's name later, as has what is packed."""
        net = core.Net("net")
        net.FC(["x", "w", "b"], "z", axis=2)
        net.BooleanMask(["z", "mask"], "y", engine="MASK")
        net.Not("mask", "hidden")
        net.Copy("hidden", "mask")
        net.FC(["x", "w", "b"], "z", axis=2)
        net.BooleanMask(["z", "mask"], "y_2", engine="MASK")
        report = packed(net, outputs=("y", "y_2"))
        assert len(report.packed) == 2 and report.unchanged is None

    def test_a_mask_that_is_written_again_before_it_is_needed(self):
        net = core.Net("net")
        net.Copy("mask", "mask_2")
        net.FC(["x", "w", "b"], "z", axis=2)
        net.Not("mask", "hidden")
        net.Copy("hidden", "mask")
        net.Add(["z", "wide"], "u")
        net.BooleanMask(["u", "mask_2"], "y", engine="MASK")
        wide = np.random.RandomState(11).randn(B, L, N).astype("f")
        report = packed(net, arrays(wide=wide))
        assert all_types(report) == ["Add", "FC"]

    def test_names_that_are_taken(self):
        net = core.Net("net")
        net.Relu("x", "x_rows")
        net.Copy("mask", "mask_kept")
        net.FC(["x_rows", "w", "b"], "z", axis=2)
        net.BooleanMask(["z", "mask"], "y", engine="MASK")
        report = packed(net, outputs=("y", "x_rows", "mask_kept"))
        assert report.unchanged is None


class TestWhatMasks(object):
    def product(self):
        net = core.Net("net")
        net.FC(["x", "w", "b"], "z", axis=2)
        return net

    def test_a_product_with_the_mask(self):
        net = self.product()
        net.Cast(net.ExpandDims("mask", "column", dims=[2]), "factors", to=core.DataType.FLOAT)
        net.Mul(["z", "factors"], "y")
        assert all_types(packed(net)) == ["Cast", "FC", "Mul"]

    def test_a_product_with_the_mask_behind_an_island(self):
        """The logarithm of rows of zeros is infinite, and not multiplied by 0."""
        net = self.product()
        net.Transpose(net.Sigmoid("z", "positive"), "columns", axes=[0, 2, 1])
        net.Log("columns", "logs")
        net.Transpose("logs", "back", axes=[0, 2, 1])
        net.Cast(net.ExpandDims("mask", "column", dims=[2]), "factors", to=core.DataType.FLOAT)
        net.Mul(["back", "factors"], "y")
        assert all_types(packed(net)) == ["Cast", "FC", "Mul", "Sigmoid"]

    def test_a_sum_of_a_product_with_lengths(self):
        net = self.product()
        sizes = net.Shape("x", "sizes", axes=[0, 1])
        ones = net.ConstantFill(sizes, "ones", input_as_shape=1, value=1.0)
        kept = net.SequenceMask(
            [ones, "lengths"], "kept", mode="sequence", axis=1, fill_val=0.0, engine="MASK"
        )
        net.Mul([net.ExpandDims(kept, "column", dims=[2]), "z"], "masked")
        net.ReduceSum("masked", "y", axes=[1], keepdims=0)
        assert all_types(packed(net)) == ["FC", "Mul"]

    def test_sequence_mask(self):
        net = self.product()
        net.SequenceMask(
            ["z", "lengths"], "y", mode="sequence", axis=1, repeat_from_axis=2, fill_val=-3.0,
            engine="MASK",
        )
        assert all_types(packed(net)) == ["FC"]

    def test_keep_shape(self):
        net = self.product()
        net.BooleanMask(["z", "mask"], "y", keep_shape=1, fill_val=2.0, engine="MASK")
        assert all_types(packed(net)) == ["FC"]

    @pytest.mark.parametrize("empty_row", ["zero", "nan", "uniform"])
    @pytest.mark.parametrize("by", ["lengths", "mask"])
    def test_keys(self, by, empty_row):
        """Keys and values are packed; queries, which an output shows, are not."""
        net = core.Net("net")
        for name in "kv":
            net.FC(["x", "w", "b"], name, axis=2)
        net.FC(["other", "w", "b"], "q", axis=2)
        side, args = ["lengths"], {"mode": "sequence"}
        if by == "mask":
            side, args = [net.ExpandDims("mask", "of_keys", dims=[1])], {"has_mask": 1}
        net.MaskedAttention(["q", "k", "v"] + side, ["y", "lse"], empty_row=empty_row, **args)
        report = packed(net)
        # A mean of all values is one of padding, too.
        wanted = [] if empty_row == "uniform" else ["FC", "FC"]
        assert all_types(report) == wanted, str(report)
        assert "FC -> 'q': left alone, 'y' is an input or output of the net" in str(report)

    def test_a_mean_of_values_that_no_query_wants(self):
        net = self_attention(empty_row="uniform")
        assert all_types(packed(net)) == ["FC"] * 4 + ["MaskedAttention"]

    def test_a_mean_of_values_that_the_first_query_wants(self):
        """A sentence of no words has a first row all the same."""
        net = self_attention(empty_row="uniform")
        net.Slice("z", "first", starts=[0, 0, 0], ends=[-1, 1, -1])
        report = packed(net, outputs=("y", "first"))
        assert all_types(report) == ["FC", "FC"]  # those of queries and of the output

    def test_self_attention(self):
        assert all_types(packed(self_attention())) == ["FC"] * 4 + ["MaskedAttention"]

    def test_a_bias(self):
        net = core.Net("net")
        for name in "qkv":
            net.FC(["x", "w", "b"], name, axis=2)
        net.MaskedAttention(["q", "k", "v", "bias"], ["a", "lse"], has_bias=1)
        net.Slice("a", "y", starts=[0, 0, 0], ends=[-1, 1, -1])
        bias = np.zeros((B, 1, L), "f")
        bias[0, 0, 3:], bias[1, 0, 0], bias[2, 0, 5:] = -1e4, -1e9, -np.inf
        report = packed(net, arrays(bias=bias))
        assert all_types(report) == ["FC"] * 3
        assert "equal unless all that a row attends to has a bias of -10000 or below" in str(report)
        # That of batch 1 is read, whatever the bias says.
        assert report.kept[0].rows == 3 + L + 5 and "the first 1 rows are kept" in str(report)

    def multihead(self):
        """As torch.nn.MultiheadAttention: rows first, heads merged into the batch."""
        net = core.Net("net")
        net.Transpose("x", "t", axes=[1, 0, 2])
        for name in "qkv":
            net.FC(["t", "w", "b"], name + "_rows", axis=2)
            net.Reshape(name + "_rows", [name + "_heads", name + "_old"], shape=[L, -1, N // H])
            net.Transpose(name + "_heads", name, axes=[1, 0, 2])
        net.Reshape("mask", ["column", "_"], shape=[-1, 1, 1, L])
        net.Expand([net.Cast("column", "f", to=core.DataType.FLOAT), "dims"], "of_heads")
        net.Reshape("of_heads", ["of_rows", "_1"], shape=[-1, 1, L])
        net.Cast("of_rows", "of_keys", to=core.DataType.BOOL)
        net.MaskedAttention(["q", "k", "v", "of_keys"], ["a", "lse"], has_mask=1)
        net.Transpose("a", "a_rows", axes=[1, 0, 2])
        net.Reshape("a_rows", ["a_whole", "_2"], shape=[L, -1, N])
        net.FC(["a_whole", "w_2", "b"], "y", axis=2)
        random = np.random.RandomState(2)
        more = dict(w_2=random.randn(N, N).astype("f"), dims=np.array([1, H, 1, L], np.int64))
        return net, arrays(**more)

    def test_heads_in_the_batch(self):
        net, feeds = self.multihead()
        report = packed(net, feeds, padding="zeros", swapped=True)
        assert report.zeros == ["y"] and not report.left_alone, str(report)
        assert "MaskedAttentionJagged" in types(net) and "MaskedAttention" not in types(net)

    def test_sizes_of_heads_in_the_batch(self):
        """Of keys that are transposed for the product that fuse takes, sizes alone are read."""
        net, feeds = self.multihead()
        net.Transpose("k_heads", "k_turned", axes=[1, 2, 0])
        net.Shape("k_turned", "turned")
        net.Shape("k_turned", "some_turned", axes=[2, 0])
        net.Shape("k_heads", "whole")
        outputs = ("y", "turned", "some_turned", "whole")
        report = packed(net, feeds, outputs, padding="zeros", swapped=True)
        assert not report.left_alone and "k_turned" not in str(net.Proto()), str(report)

    @pytest.mark.parametrize("reader", ["output", "operator", "control", "late"])
    def test_a_transpose_that_is_read(self, reader):
        """More than its sizes are, or what it transposes is another by then."""
        net, feeds = self.multihead()
        net.Transpose("k_heads", "k_turned", axes=[1, 2, 0])
        outputs = ("y", "turned")
        if reader == "output":
            outputs += ("k_turned",)
        elif reader == "operator":
            outputs += (str(net.Tanh("k_turned", "tanh")),)
        elif reader == "late":
            net.FC(["x", "w", "b"], "k_heads", axis=2)
        net.Shape("k_turned", "turned")
        if reader == "control":
            net.Proto().op[-1].control_input.append("k_turned")
        packed(net, feeds, outputs, padding="zeros", swapped=True)
        assert "k_turned" in str(net.Proto())

    def test_rows_first_among_batches_without_rows(self):
        """Nothing is kept at all: there are no places to gather."""
        net, feeds = self.multihead()
        report = packed(net, dict(feeds, mask=feeds["mask"] & False), padding="zeros", swapped=True)
        assert report.kept[0].rows == 0 and not report.left_alone

    def test_first_rows(self):
        net = self.product()
        net.BooleanMask(["z", "mask"], "y", engine="MASK")
        net.Slice("z", "first", starts=[0, 0, 0], ends=[-1, 1, -1])
        report = packed(net, outputs=("y", "first"))
        assert all_types(report) == ["FC"]

    def test_another_row(self):
        net = self.product()
        net.BooleanMask(["z", "mask"], "y", engine="MASK")
        net.Slice("z", "last", starts=[0, L - 1, 0], ends=[-1, -1, -1])
        report = packed(net, outputs=("y", "last"))
        assert not report.packed and "'z' is read by Slice" in str(report)

    def test_two_lengths(self):
        """Of an encoder and of what attends to it."""
        net = core.Net("net")
        for name in "kv":
            net.FC(["source", "w", "b"], name, axis=2)
        net.FC(["x", "w", "b"], "q", axis=2)
        net.MaskedAttention(["q", "k", "v", "of_source"], ["a", "lse"], mode="sequence")
        net.FC(["a", "w_2", "b"], "z", axis=2)
        caffe2op_mask.layers.masked_mean(_Model(net), "z", "y", lengths="lengths")
        random = np.random.RandomState(5)
        feeds = arrays(
            source=random.randn(B, L + 2, D).astype("f"),
            of_source=np.array([9, 1, 3], np.int64),
            w_2=random.randn(N, N).astype("f"),
        )
        report = packed(net, feeds)
        assert all_types(report) == ["FC"] * 4
        assert sorted((one.rows, one.of) for one in report.kept) == [(11, 21), (13, 27)]

    def test_other_lengths(self):
        """Padding of one mask that another keeps is wanted."""
        net = self.product()
        net.BooleanMask(["z", "mask"], "y", engine="MASK")
        net.BooleanMask(["z", "mask_2"], "y_2", engine="MASK")
        mask = np.random.RandomState(6).rand(B, L) < 0.5
        report = packed(net, arrays(mask_2=mask), outputs=("y", "y_2"))
        assert not report.packed and "'z' is read by BooleanMask -> 'y_2'" in str(report)


class _Model(object):
    """What layers without parameters need of a model."""

    def __init__(self, net):
        self.net = net


def self_attention(**args):
    net = core.Net("net")
    for name in "qkv":
        net.FC(["x", "w", "b"], name, axis=2)
    net.MaskedAttention(["q", "k", "v", "lengths"], ["a", "lse"], mode="sequence", **args)
    net.FC(["a", "w_2", "b"], "z", axis=2)
    caffe2op_mask.layers.masked_mean(_Model(net), "z", "y", lengths="lengths")
    net.GivenTensorFill([], "w_2", shape=[N, N], values=np.linspace(-1, 1, N * N).astype("f"))
    ops = list(net.Proto().op)
    del net.Proto().op[:]
    net.Proto().op.extend(ops[-1:] + ops[:-1])
    return net


# How exporters add a mask to scores: (one - mask) * fill.
BIAS = {"one": 1.0, "fill": -1e4, "mask": "mask"}


def add_bias(net, bias):
    for name in ("one", "fill"):
        net.ConstantFill([], name, shape=[1], value=bias[name])
    mask = net.Cast(net.ExpandDims(bias["mask"], "of_keys", dims=[1, 2]), "float_mask", to=1)
    net.Mul([net.Sub(["one", mask], "hidden"), "fill"], "bias")


def attending(by="lengths", end="masked", heads=H, q="x", bias=None, **args):
    """Attention of x to itself, split into heads and joined again, in rows that a mask keeps."""
    net = core.Net("net")
    random = np.random.RandomState(13)
    for name, shape in (("w_in", [N, D]), ("w_out", [N, N]), ("b_of_both", [N])):
        net.GivenTensorFill([], name, shape=shape, values=random.randn(*shape).astype("f"))
    if by == "bias":
        add_bias(net, dict(BIAS, **(bias or {})))
    for name, source in (("q", q), ("k", "x"), ("v", "x")):
        net.FC([source, "w_in", "b_of_both"], name + "_rows", axis=2)
        shape = [0, -1, heads, N // heads]
        net.Reshape(name + "_rows", [name + "_heads", name + "_old"], shape=shape)
        net.Transpose(name + "_heads", name, axes=[0, 2, 1, 3])
    side, args = ["lengths"], dict({"mode": "sequence"}, **args)
    if by == "mask":
        side, args["has_mask"] = [net.ExpandDims("mask", "of_keys", dims=[1, 2])], 1
        args["mode"] = args["mode"].replace("sequence", "").strip("+")
    if by == "bias":
        side, args["has_bias"] = ["bias"], 1
        args["mode"] = args["mode"].replace("sequence", "").strip("+")
    side += ["sinks"] if args.get("has_sinks") else []
    net.MaskedAttention(["q", "k", "v"] + side, ["a", "lse"], **args)
    net.Transpose("a", "a_heads", axes=[0, 2, 1, 3])
    net.Reshape("a_heads", ["a_rows", "a_old"], shape=[0, -1, N])
    net.FC(["a_rows", "w_out", "b_of_both"], "z", axis=2)
    if end == "first":
        net.Slice("z", "y", starts=[0, 0, 0], ends=[-1, 1, -1])
    elif end == "whole":
        net.Copy("z", "y")
    elif end == "product":
        kept = net.ExpandDims(mask_by(net, by), "column", dims=[2])
        net.Mul(["z", net.Cast(kept, "factor_of_rows", to=core.DataType.FLOAT)], "z_kept")
        net.ReduceSum("z_kept", "y", axes=[1], keepdims=0)
    elif by == "mask":
        net.BooleanMask(["z", "mask"], "y", engine="MASK")
    else:
        caffe2op_mask.layers.masked_mean(_Model(net), "z", "y", lengths="lengths")
    return net


def mask_by(net, by):
    if by == "mask":
        return "mask"
    sizes = net.Shape("x", "sizes_of_x", axes=[0, 1])
    net.ConstantFill(sizes, "ones", input_as_shape=1, value=True, dtype=core.DataType.BOOL)
    hidden = dict(mode="sequence", axis=1, fill_val=0, engine="MASK")
    return net.SequenceMask(["ones", "lengths"], "mask_by_lengths", **hidden)


def attending_arrays(**more):
    random = np.random.RandomState(13)
    return arrays(sinks=random.randn(H).astype("f"), **more)


def with_rows():
    """Arrays of which each batch keeps rows."""
    feeds = attending_arrays()
    feeds["lengths"][0] = 1
    feeds["mask"][1, 3] = True
    return feeds


SPLIT = ["Reshape"] * 4 + ["Transpose"] * 4
MAKES_NAN = "MaskedAttention -> 'a', 'lse' may make NaN of padding"
WHOLE = sorted(["FC"] * 4 + ["MaskedAttention"] + SPLIT)


class TestAttention(object):
    """Attention on kept rows, as MaskedAttentionJagged, and where it stays padded."""

    @pytest.mark.parametrize(
        "by, args",
        [
            ("lengths", {}),
            ("lengths", {"mode": "sequence+upper"}),
            ("lengths", {"mode": "upper+sequence", "diagonal": 1}),
            ("lengths", {"mode": "lower+sequence", "diagonal": -1}),
            ("lengths", {"mode": "sequence+upperdiag"}),
            ("lengths", {"mode": "sequence+upperdiag", "empty_row": "nan"}),
            ("lengths", {"window_left": 1, "window_right": 0}),
            ("lengths", {"align": "bottom_right"}),
            ("lengths", {"empty_row": "uniform"}),
            ("lengths", {"scale": 0.3, "softcap": 2.0, "has_sinks": 1}),
            ("mask", {}),
            ("mask", {"mode": "upper"}),
            ("mask", {"mode": "lower"}),
            ("mask", {"has_sinks": 1, "empty_row": "nan"}),
        ],
    )
    def test_on_rows(self, by, args):
        net = attending(by, **args)
        report = packed(net, attending_arrays())
        assert all_types(report) == WHOLE and not report.left_alone, str(report)
        assert "MaskedAttention" not in types(net) and "BooleanUnmask" not in types(net)
        assert types(net).count("MaskedAttentionJagged") == 1

    @pytest.mark.parametrize("by", ["lengths", "mask"])
    def test_padding_is_not_read(self, by):
        net = attending(by)
        feeds = read_by(net, attending_arrays())
        net.Proto().external_output.append("y")
        wanted = results(copy_of(net), feeds, ["y"])["y"]
        report = pack(net, [feeds])
        feeds["x"][~mask_of(report, feeds)] = np.nan
        found = results(net.Proto(), feeds, ["y"])["y"]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("by", ["lengths", "mask"])
    @pytest.mark.parametrize("args", [{}, {"has_sinks": 1}], ids=str)
    def test_the_first_row_is_read(self, by, args):
        """It is kept, and a query, where it may be no key."""
        net = attending(by, "first", **args)
        report = packed(net, attending_arrays())
        assert all_types(report) == WHOLE, str(report)
        (op,) = [op for op in net.Proto().op if op.type == "MaskedAttentionJagged"]
        assert "has_key_lengths" in [arg.name for arg in op.arg]

    @pytest.mark.parametrize("mode", ["sequence+upper", "sequence+lower"])
    def test_the_first_row_and_a_triangle(self, mode):
        report = packed(attending("lengths", "first", mode=mode), attending_arrays())
        assert all_types(report) == WHOLE, str(report)

    def test_many_heads_of_one(self):
        """H and D are of one size, or of 1: dims are told apart by where they stand."""
        for heads in (1, N):
            report = packed(attending(heads=heads), attending_arrays())
            assert all_types(report) == WHOLE, str(report)

    def test_sizes_that_are_read(self):
        """As exporters find the shape of what they join."""
        net = attending()
        net.Shape("a", "sizes")
        net.Shape("a", "one_size", axes=[2])
        net.Shape("a", "some_sizes", axes=[3, 0])
        outputs = ("y", "sizes", "one_size", "some_sizes")
        assert all_types(packed(net, attending_arrays(), outputs)) == WHOLE

    def test_rows_of_another_activation(self):
        """Queries of others whose rows the same lengths keep."""
        assert all_types(packed(attending(q="other"), attending_arrays())) == WHOLE

    def test_scaled_heads(self):
        net = attending()
        ops = list(net.Proto().op)
        del net.Proto().op[:]
        net.Proto().op.extend(ops[:6])
        net.ConstantFill([], "factor_of_q", shape=[1], value=0.5)
        net.Mul(["q", "factor_of_q"], "q_scaled")
        net.Tanh("q_scaled", "q")
        net.Proto().op.extend(ops[6:])
        report = packed(net, attending_arrays())
        assert all_types(report) == sorted(WHOLE + ["Mul", "Tanh"]), str(report)

    def test_other_sizes(self):
        net = attending()
        before = copy_of(net)
        feeds = read_by(net, attending_arrays())
        pack(net, [feeds])
        random = np.random.RandomState(14)
        feeds["x"], feeds["lengths"] = random.randn(5, 4, D).astype("f"), np.array([4, 0, 9, -1, 2])
        both = [results(one, feeds, ["y"])["y"] for one in (before, net.Proto())]
        np.testing.assert_allclose(both[1], both[0], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        "net, said",
        [
            (attending(mode="sequence+upper", align="bottom_right"), "padding included"),
            (attending("mask", window_left=1), "distances between rows"),
            (attending("mask", mode="upper", diagonal=1), "distances between rows"),
            (attending("mask", "first", mode="upper"), "may be no keys"),
            (attending("lengths", "first", empty_row="nan"), "its first rows may have no keys"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_stays_padded(self, net, said):
        report = packed(net, attending_arrays())
        assert "MaskedAttention" in types(net), str(report)
        assert [said in one.reason for one in report.left_alone] == [True], str(report)
        assert all_types(report) == ["FC"] * 4

    @pytest.mark.parametrize(
        "by, args",
        [
            ("lengths", {}),
            ("lengths", {"mode": "sequence+upper", "diagonal": 1}),
            ("lengths", {"window_right": 0}),
            ("mask", {}),
            ("mask", {"has_sinks": 1}),
        ],
    )
    def test_a_batch_without_keys_is_nan(self, by, args):
        """Times a mask of 0 it stays NaN, but of kept rows alone it would be a sum of none."""
        net = attending(by, "product", empty_row="nan", **args)
        report = packed(copied(net), attending_arrays())
        expected = "'{}' keeps no row of a batch, of which attention makes NaN."
        assert report.unchanged == expected.format(report.packed[0].kept)
        feeds = with_rows()
        report = packed(net, feeds)
        assert report.unchanged is None and "equal unless a batch keeps no row" in str(report)
        assert "MaskedAttentionJagged" in types(net)

    @pytest.mark.parametrize(
        "by, args",
        [
            ("lengths", {"window_left": 1}),
            ("lengths", {"mode": "sequence+lower"}),
            ("lengths", {"mode": "sequence+upper", "diagonal": -1}),
            ("lengths", {"mode": "sequence+upper", "align": "bottom_right"}),
            ("mask", {"mode": "upper"}),
            ("mask", {"window_right": 1}),
        ],
    )
    def test_padding_that_may_be_nan(self, by, args):
        """A query without keys is NaN, and so is its product with a mask of 0."""
        feeds = with_rows()
        report = packed(attending(by, "product", empty_row="nan", **args), feeds)
        assert not report.failed
        reasons = {one.output: one.reason for one in report.left_alone}
        assert reasons["a"] == reasons["z"] == MAKES_NAN, str(report)

    def test_nan_of_a_bias(self):
        """One that is finite hides no key for good, one of -inf may hide all."""
        for low, is_packed in ((-1e4, True), (-np.inf, False)):
            net = attending("mask", "product", empty_row="nan")
            net.AddExternalInput("bias")
            for op in net.Proto().op:
                if op.type == "MaskedAttention":
                    op.input.append("bias")
                    op.arg.extend([core.utils.MakeArgument("has_bias", 1)])
            feeds = dict(with_rows(), bias=np.full((1, 1, 1, L), low, "f"))
            feeds["bias"][..., 3:] = 0
            report = packed(net, feeds)
            assert (MAKES_NAN not in str(report)) == is_packed, str(report)
            assert ("unless a batch keeps no row" in str(report)) == is_packed

    def test_two_masks(self):
        net = attending()
        net.AddExternalInput("pairs")
        for op in net.Proto().op:
            if op.type == "MaskedAttention":
                op.input.append("pairs")
                op.arg.extend([core.utils.MakeArgument("has_mask", 1)])
        pairs = np.random.RandomState(15).rand(L, L) < 0.8
        report = packed(net, attending_arrays(pairs=pairs))
        assert "more than 'lengths' says what is kept" in str(report)
        assert all_types(report) == ["FC"] * 4

    def test_a_bias_of_keys(self):
        """It may weigh what it keeps."""
        net = core.Net("net")
        for name in "qkv":
            net.FC(["x", "w", "b"], name, axis=2)
        net.MaskedAttention(["q", "k", "v", "bias"], ["a", "lse"], has_bias=1)
        net.Slice("a", "y", starts=[0, 0, 0], ends=[-1, 1, -1])
        bias = np.zeros((B, 1, L), "f")
        bias[:, 0, 3:], bias[:, 0, 1] = -1e9, 1.5
        report = packed(net, arrays(bias=bias))
        assert "may also weigh those that it keeps" in str(report)

    @pytest.mark.parametrize("args", [{}, {"mode": "upper"}, {"mode": "lower"}], ids=str)
    def test_a_bias_of_a_bool_mask(self, args):
        """It is 0 where it does not hide."""
        net = attending("bias", "whole", **args)
        report = packed(net, with_rows(), padding="zeros")
        assert "MaskedAttentionJagged" in types(net) and not report.left_alone, str(report)
        assert report.zeros == ["y"] and "equal unless all that a row attends to" in str(report)

    @pytest.mark.parametrize(
        "bias, args, said",
        [
            ({"one": 1.5}, {}, "may also weigh"),
            ({"mask": "integers"}, {}, "may also weigh"),
            ({}, {"mode": "upperdiag"}, "no key but those that a bias hides"),
            ({}, {"window_left": 1}, "distances between rows"),
        ],
    )
    def test_another_bias(self, bias, args, said):
        net = attending("bias", "whole", bias=bias, **args)
        net.Not("mask", "padding")
        feeds = with_rows()
        feeds["integers"] = feeds["mask"].astype(np.int64)
        report = packed(net, feeds, padding="zeros")
        assert "MaskedAttention" in types(net) and said in str(report), str(report)

    def test_heads_that_are_read(self):
        """What an output shows of heads is of padded rows, and so is attention."""
        net = attending()
        report = packed(net, attending_arrays(), outputs=("y", "k"))
        assert "MaskedAttention" in types(net), str(report)
        net = attending()
        net.Softmax("a", "of_heads", axis=3)
        net.ReduceMean("of_heads", "mean", axes=[2])
        report = packed(net, attending_arrays(), outputs=("y", "mean"))
        assert "MaskedAttention" in types(net), str(report)

    def test_not_faster(self, monkeypatch):
        monkeypatch.setattr(proof, "milliseconds", lambda *_: (1.0, 2.0, 1))
        net = attending()
        before = copy_of(net)
        report = packed(net, attending_arrays())
        assert report.unchanged == "it is not faster on kept rows alone."
        assert list(before.op) == list(net.Proto().op)


class TestRefusals(object):
    """What is left as it was, and why."""

    @pytest.mark.parametrize(
        "add, said",
        [
            (lambda net: net.ReduceMean("z", "y", axes=[1]), "read by ReduceMean -> 'y'"),
            (lambda net: net.Softmax("z", "y", axis=1), "'y' is an input or output of the net"),
            (lambda net: net.Cos("z", "y"), "'y' is an input or output of the net"),
            (lambda net: net.ReduceBackSum("z", "y"), "'z' is read by ReduceBackSum -> 'y'"),
            (lambda net: net.Dropout("z", ["y", "_"], ratio=0.0, is_test=0), "is read by Dropout"),
        ],
        ids=["mean", "softmax", "output", "unknown", "drawn"],
    )
    def test_padding_that_is_read(self, add, said):
        net = core.Net("net")
        net.FC(["x", "w", "b"], "z", axis=2)
        net.BooleanMask(["z", "mask"], "rows", engine="MASK")
        add(net)
        report = packed(net, outputs=("y", "rows"))
        assert report.unchanged is not None and not report.packed
        assert said in str(report.left_alone[0]), str(report)

    def test_a_product_over_rows(self):
        """FC over its default axis takes rows for columns."""
        net = core.Net("net")
        net.Reshape("x", ["wide", "old"], shape=[0, L * D])
        net.FC(["wide", "w_2", "b_2"], "z")
        net.Reshape("z", ["back", "old_2"], shape=[-1, L, D])
        net.BooleanMask(["back", "mask"], "y", engine="MASK")
        random = np.random.RandomState(7)
        w = random.randn(L * D, L * D).astype("f")
        report = packed(net, arrays(w_2=w, b_2=random.randn(L * D).astype("f")))
        assert not report.packed

    def test_what_differs_by_row(self):
        net = masked_net(lambda net, x: net.Add([x, "places"], "u"))
        places = np.random.RandomState(8).randn(L, D).astype("f")
        assert all_types(packed(net, arrays(places=places))) == ["FC"]

    def late(self, hide):
        """The mask is made behind the first product, by `hide`."""
        net = core.Net("net")
        net.FC(["x", "w", "b"], "z", axis=2)
        hide(net)
        net.FC(["z", "w_2", "b"], "u", axis=2)
        net.BooleanMask(["u", "late"], "y", engine="MASK")
        w = np.random.RandomState(9).randn(N, N).astype("f")
        return net, packed(net, arrays(w_2=w))

    def test_mask_that_is_made_later(self):
        net, report = self.late(lambda net: net.Not("mask", "late"))
        assert all_types(report) == ["FC", "FC"]
        assert types(net)[:2] == ["Not", "BooleanMask"]

    def test_mask_that_is_made_of_what_is_masked(self):
        def hide(net):
            mean = net.ReduceMean("z", "mean", axes=[2], keepdims=0)
            net.GT([mean, net.ConstantFill([], "zero", shape=[1], value=0.0)], "late")

        net, report = self.late(hide)
        assert all_types(report) == ["FC"]
        assert types(net).index("BooleanMask") > types(net).index("GT")

    def test_control_input(self):
        net = masked_net(CHAINS["Relu"])
        net.Proto().op[1].control_input.append("x")
        assert not packed(net).packed

    def test_a_net_in_an_argument(self):
        """What the net of an If names is left as it was."""
        then = core.Net("then")
        then.Copy("z", "copied")
        net = core.Net("net")
        net.FC(["x", "w", "b"], "z", axis=2)
        net.BooleanMask(["z", "mask"], "y", engine="MASK")
        net.ConstantFill([], "yes", shape=[], value=True, dtype=core.DataType.BOOL)
        choice = net.Proto().op.add(type="If", input=["yes"])
        choice.arg.add(name="then_net").n.CopyFrom(then.Proto())
        assert not packed(net).packed

    def test_indices_that_come_of_padding(self):
        """Rows of zeros may be no index."""
        net = core.Net("net")
        net.FC(["x", "w", "b"], "z", axis=2)
        net.Transpose("z", "heads", axes=[0, 2, 1])
        net.ReduceSum(net.Cos("heads", "cos"), "sum", axes=[1], keepdims=0)
        net.Cast("sum", "ids", to=core.DataType.INT64)
        net.Sub(["ids", "ids"], "none")
        net.Gather(["table", "none"], "rows")
        net.BooleanMask(["rows", "mask"], "y", engine="MASK")
        report = packed(net, arrays(table=np.ones((3, 2), "f")))
        assert not report.packed and "may find no index in padding" in report.unchanged

    def test_no_mask(self):
        net = core.Net("net")
        net.FC(["x", "w", "b"], "y", axis=2)
        report = packed(net)
        assert report.unchanged == "no lengths and no mask say which rows are padding."

    def test_softmax_by_hand(self):
        net = core.Net("net")
        net.FC(["x", "w", "b"], "z", axis=2)
        net.Softmax("z", "y", axis=2)
        assert "fuse makes MaskedAttention" in packed(net).unchanged

    def test_no_padding(self):
        net = masked_net(CHAINS["Relu"])
        report = packed(net, arrays_with(mask=np.ones((B, L), bool)))
        assert report.unchanged == "the inputs have no padding."
        assert "The net is left as it was: the inputs have no padding." in str(report)

    def test_not_faster(self, monkeypatch):
        monkeypatch.setattr(proof, "milliseconds", lambda *_: (1.0, 1.0, 1))
        report = packed(masked_net(CHAINS["Relu"]))
        assert report.unchanged == "it is not faster on kept rows alone."
        assert "1 ms before, 1 ms after: 1.00 times as fast" in str(report)

    def test_results_that_differ(self):
        """Padding that is infinite is NaN under a mask of 0."""
        net = core.Net("net")
        net.FC(["x", "w", "b"], "z", axis=2)
        net.Cast(net.ExpandDims("mask", "column", dims=[2]), "factors", to=core.DataType.FLOAT)
        net.Mul(["z", "factors"], "y")
        net.Proto().external_output.append("y")
        feeds = read_by(net, arrays())
        feeds["x"][1] = np.inf
        before = copy_of(net)
        report = pack(net, feeds)
        assert report.failed and report.unchanged == "its results differ."
        assert net.Proto() == before

    @pytest.mark.parametrize(
        "change, error, said",
        [
            (dict(padding="any"), ValueError, "pack: padding must be 'same' or 'zeros', but is 'a"),
            (dict(tolerance=-1), ValueError, "pack: tolerance must be a number of at least 0, but"),
            (dict(inputs=None), TypeError, "pack: inputs must be a dict from blobs to arrays, or"),
            (dict(net="net"), TypeError, "pack: net must be a core.Net or a NetDef, but is str."),
            (dict(inputs={}), ValueError, "which is neither given nor written before."),
        ],
        ids=["padding", "tolerance", "inputs", "net", "feeds"],
    )
    def test_arguments(self, change, error, said):
        net = masked_net(CHAINS["Relu"])
        options = dict(dict(net=net, inputs=read_by(net, arrays())), **change)
        with pytest.raises(error) as raised:
            pack(**options)
        assert said in str(raised.value)


class TestPadding(object):
    """Outputs that have rows of padding."""

    def test_zeros(self):
        net = self_attention()
        report = packed(net, outputs=("z", "y"), padding="zeros")
        assert all_types(report) == ["FC"] * 4 + ["MaskedAttention"] and report.zeros == ["z"]
        assert "Rows of padding of 'z' are zeros now." in str(report)

    def test_as_many_rows_as_batches(self):
        """Nothing says whether the batch comes first in z_2: it stays as it is."""
        net = core.Net("net")
        net.FC(["t", "w", "b"], "z", axis=2)
        net.Transpose("z", "back", axes=[1, 0, 2])
        net.BooleanMask(["back", "square"], "y", engine="MASK")
        net.FC(["t_2", "w", "b"], "z_2", axis=2)
        random = np.random.RandomState(12)
        t, t_2 = random.randn(2, 4, 4, D).astype("f")
        square = np.tri(4, dtype=bool)
        report = packed(net, arrays(t=t, t_2=t_2, square=square), ("y", "z_2"), padding="zeros")
        assert all_types(report) == ["FC"] and not report.zeros

    def test_same(self):
        report = packed(self_attention(), outputs=("z", "y"))
        assert all_types(report) == ["FC", "FC"]  # those of keys and values

    def test_what_would_not_be_zero(self):
        """What comes of rows of zeros elsewhere is none."""
        net = core.Net("net")
        net.FC(["x", "w", "b"], "z", axis=2)
        net.BooleanMask(["z", "mask"], "y", engine="MASK")
        net.Add(["z", "places"], "placed")
        places = np.random.RandomState(8).randn(L, N).astype("f")
        report = packed(net, arrays(places=places), outputs=("y", "placed"), padding="zeros")
        assert not report.packed and not report.zeros


class TestEncoder(object):
    @pytest.mark.parametrize("pool", [True, False])
    def test_layers(self, pool):
        net, init = encoder(2, 16, 2, pool=pool)
        before = caffe2_pb2.NetDef.FromString(net.SerializeToString())
        feeds = sentences(4, 9, 16, [9, 0, 3, 5])
        report = pack(net, feeds, init=init, padding="same" if pool else "zeros")
        assert report.unchanged is None and not report.left_alone, str(report)
        counts = [sum(op.type == "FC" for op in two.op) for two in (before, net)]
        assert counts == [12, 12] and all_types(report).count("FC") == 12
        counts = [sum(op.type == "MaskedAttentionJagged" for op in two.op) for two in (before, net)]
        assert counts == [0, 2] and all(op.type != "MaskedAttention" for op in net.op)
        # A whole encoder stays packed: one mask before it, and none behind but for its output.
        assert sum(op.type == "BooleanMask" for op in net.op) == 1
        assert sum(op.type == "BooleanUnmask" for op in net.op) == (0 if pool else 1)
        for lengths in ([9, 0, 3, 5], [0, 0, 0, 0], [9, 9, 9, 9], [1, 2, 3, 4]):
            feeds = sentences(4, 9, 16, lengths, seed=len(lengths))
            output = net.external_output[0]
            both = [seeded(two, init, feeds, output) for two in (before, net)]
            if not pool:
                both[0][np.arange(9) >= np.array(lengths)[:, np.newaxis]] = 0
            np.testing.assert_allclose(both[1], both[0], rtol=1e-4, atol=1e-5)

    def test_other_sizes(self):
        """No size of the inputs has entered the net."""
        net, init = encoder(1, 16, 2)
        before = caffe2_pb2.NetDef.FromString(net.SerializeToString())
        pack(net, sentences(4, 9, 16, [9, 0, 3, 5]), init=init)
        feeds = sentences(2, 5, 16, [2, 4])
        both = [seeded(two, init, feeds, "mean") for two in (before, net)]
        np.testing.assert_allclose(both[1], both[0], rtol=1e-4, atol=1e-5)

    def test_packed_again(self):
        net, init = encoder(1, 16, 2)
        feeds = sentences(4, 9, 16, [9, 0, 3, 5])
        pack(net, feeds, init=init)
        before = caffe2_pb2.NetDef.FromString(net.SerializeToString())
        report = pack(net, feeds, init=init)
        assert report.unchanged is not None and net == before, str(report)


_PARAMETERS = {}


def seeded(net, init, feeds, output):
    """The output of a net, whose parameters are drawn once."""
    key = init.SerializeToString()
    if key not in _PARAMETERS:
        _PARAMETERS.clear()
        blobs = [blob for op in init.op for blob in op.output]
        _PARAMETERS[key] = results(init, {}, blobs)
    return results(net, dict(_PARAMETERS[key], **feeds), [output])[output]
