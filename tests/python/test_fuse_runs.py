"""fuse with inputs: shapes and constants are read off a run, and results compared."""

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

from caffe2op_mask.fuse import bands, fuse

B, H, LQ, LK, D, DV = 2, 3, 5, 7, 4, 6
INF = float("inf")


def types(net):
    return [op.type for op in net.Proto().op]


def arrays(seed=1, batch=B, **shapes):
    random = np.random.RandomState(seed)
    return {
        name: random.randn(*(batch if size == B else size for size in shape)).astype("f")
        for name, shape in shapes.items()
    }


def heads(**more):
    return arrays(q=(B, H, LQ, D), k=(B, H, LK, D), v=(B, H, LK, DV), **more)


def arguments(op):
    return {
        arg.name: arg.s.decode() if arg.HasField("s") else arg.f if arg.HasField("f") else arg.i
        for arg in op.arg
    }


def attention_of(net):
    (op,) = [op for op in net.Proto().op if op.type == "MaskedAttention"]
    return op


class TestShapes(object):
    def test_no_shape_is_needed(self):
        net = core.Net("net")
        net.BatchMatMul(["q", "k"], "s", trans_b=1)
        net.BatchMatMul([net.Softmax("s", "p", axis=3), "v"], "o")
        report = fuse(net, inputs=heads())
        assert types(net) == ["MaskedAttention"]
        (output,) = report.proof.outputs
        assert output.blob == "o" and 0 <= output.largest < 1e-5 < output.magnitude
        assert report.proof.operators == (3, 1) and report.proof.runs >= 1
        assert not report.missing and not report.notes

    def test_inputs_stay_as_they_are(self):
        net = core.Net("net")
        net.SequenceMask("x", "x", mode="upper", axis=1)
        net.Softmax("x", "y", axis=1)
        feeds = arrays(x=(LQ, LK))
        before = feeds["x"].copy()
        fuse(net, inputs=feeds)
        np.testing.assert_array_equal(feeds["x"], before)
        assert not workspace.HasBlob("never")

    def test_nothing_is_left_in_the_workspace(self):
        net = core.Net("net")
        net.SequenceMask("only_here", "masked_here", mode="upper", axis=1)
        net.Softmax("masked_here", "weights_here", axis=1)
        fuse(net, inputs={"only_here": np.zeros((3, 3), "f")})
        assert not {"only_here", "masked_here", "weights_here"} & set(workspace.Blobs())

    def test_a_size_that_varies_is_in_no_reshape(self):
        """Heads merged into the batch: their number becomes an argument, lengths must not."""
        net = core.Net("net")
        net.BatchMatMul(["q", "k"], "s", trans_b=1)
        net.Reshape("s", ["heads", "_"], shape=[-1, H, LQ, LK])
        net.Add(["heads", "bias"], "added")
        net.Reshape("added", ["rows", "_2"], shape=[-1, LQ, LK])
        net.BatchMatMul([net.Softmax("rows", "p", axis=2), "v"], "o")

        def feeds(batch):
            random = np.random.RandomState(batch)
            shapes = {"q": (LQ, D), "k": (LK, D), "v": (LK, DV)}
            found = {
                name: random.randn(batch * H, *shape).astype("f") for name, shape in shapes.items()
            }
            return dict(found, bias=random.randn(batch, 1, 1, LK).astype("f"))

        report = fuse(net, inputs=[feeds(2), feeds(5)])
        assert [one.into for one in report.fused] == ["MaskedAttention"], str(report)
        reshapes = [op for op in net.Proto().op if op.type == "Reshape"]
        assert [list(op.arg[0].ints) for op in reshapes] == [[-1, H, 0, 0]] * 3

    def test_what_differs_between_inputs_is_left_alone(self):
        """A mask that is one triangle of one input and another of the other."""
        net = core.Net("net")
        shape = net.Shape("x", "dims")
        rows = net.Slice(shape, "rows", starts=[0], ends=[1])
        low = net.ConstantFill(rows, "low", input_as_shape=1, value=-INF)
        net.Add(["x", low], "added")
        net.Softmax("added", "y", axis=1)
        report = fuse(net, inputs=[{"x": np.zeros((n, n), "f")} for n in (2, 3)])
        assert report.proof is not None  # a bias in both: nothing is taken for a triangle
        assert arguments(net.Proto().op[-1])["has_bias"] == 1

    def test_a_second_batch_is_tried(self):
        net = core.Net("net")
        net.BatchMatMul(["q", "k"], "s", trans_b=1)
        net.Reshape("s", ["flat", "_"], shape=[B * H * LQ, LK])
        net.Softmax("flat", "p", axis=1)
        report = fuse(net, inputs=heads())
        (note,) = report.notes
        assert note.startswith("Only the sizes of the inputs were tried: Reshape -> flat")

    def test_init_that_draws(self):
        """Both nets find the same parameters, though init would draw others each time."""
        init, net = core.Net("init"), core.Net("net")
        init.XavierFill([], "w", shape=[8, 8])
        init.ConstantFill([], "b", shape=[8])
        net.FC(["x", "w", "b"], "scores")
        net.SequenceMask("scores", "masked", mode="upper", axis=1)
        net.Softmax("masked", "y", axis=1)
        report = fuse(net, init=init, inputs=arrays(x=(LQ, 8)))
        assert types(net) == ["FC", "MaskedSoftmax"]
        assert report.proof.outputs[0].largest < 1e-6

    def test_init_that_holds_the_whole_net(self):
        """As ONNX's backend makes it where ONNX has no optimizer: it reads what is fed."""
        init, net = core.Net("init"), core.Net("net")
        for one in (init, net):
            one.GivenTensorFill([], "half", shape=[1], values=[0.5])
            one.Mul(["x", "half"], "scaled")
            one.SequenceMask("scaled", "masked", mode="upper", axis=1)
            one.Softmax("masked", "y", axis=1)
        assert fuse(net, init=init, inputs=arrays(x=(LQ, LK))).proof is not None
        assert types(net) == ["MaskedSoftmax"]

    def test_errors(self):
        net = core.Net("net")
        net.SequenceMask(["x", "n"], "m", mode="sequence", axis=1)
        net.Softmax("m", "y", axis=1)
        before = net.Proto().SerializeToString()
        x = np.zeros((2, 3), "f")
        for inputs, said in (
            ({"x": x}, r"fuse: SequenceMask -> 'm' reads 'n', which is neither given nor written"),
            ({"x": x, "n": np.zeros(5, "i")}, r"fuse: SequenceMask -> m fails: SequenceMask: length"),
            ({"x": x, "n": np.array(["a"])}, r"fuse: 'n' cannot be fed: "),
        ):
            with pytest.raises(ValueError, match=said):
                fuse(net, inputs=inputs)
        for inputs in ([], [x], x, "x"):
            with pytest.raises(TypeError, match="fuse: inputs must be a dict from blobs to arrays"):
                fuse(net, inputs=inputs)
        with pytest.raises(ValueError, match="fuse: shapes are read off the inputs; give one"):
            fuse(net, {"x": (2, 3)}, inputs={"x": x})
        for tolerance in (-1, INF, float("nan")):
            with pytest.raises(ValueError, match="fuse: tolerance must be a number of at least 0"):
                fuse(net, inputs={"x": x}, tolerance=tolerance)
        assert net.Proto().SerializeToString() == before


class TestProof(object):
    def wrong(self, name, low):
        """A finite fill, wrong where all that is kept is as low."""
        net = core.Net("net")
        for i in range(4):
            x, fill = (low, -1e4) if i == 2 else ("x", -1e9)
            net.SequenceMask(x, "m%d" % i, mode="upper", axis=1, fill_val=fill)
            net.Softmax("m%d" % i, "y%d" % i, axis=1)
        return net

    def test_the_one_to_blame_is_found(self):
        net = self.wrong("net", "low")
        before = net.Proto().SerializeToString()
        x = np.random.RandomState(1).randn(4, 4).astype("f")
        report = fuse(net, inputs={"x": x, "low": x - 2e4})
        assert report.blamed.output == "y2" and len(report.fused) == 4
        assert net.Proto().SerializeToString() == before
        assert "The net is left as it was, because of: SequenceMask, Softmax -> 'y2'" in str(report)
        worst = max(report.proof.outputs, key=lambda one: one.largest)
        assert worst.blob == "y2" and worst.largest > 0.1

    def test_nothing_is_blamed_within_the_tolerance(self):
        net = self.wrong("net", "low")
        x = np.random.RandomState(1).randn(4, 4).astype("f")
        assert fuse(net, inputs={"x": x, "low": x - 2e4}, tolerance=1).blamed is None
        assert types(net) == ["MaskedSoftmax"] * 4

    def test_gradients_are_compared(self):
        net = core.Net("net")
        net.SequenceMask("x", "m", mode="upper", axis=1)
        net.Softmax("m", "p", axis=1)
        net.Mul(["p", "w"], "o")
        net.AddGradientOperators(["o"])
        report = fuse(net, inputs=arrays(x=(LQ, LK), w=(LQ, LK)))
        assert [one.blob for one in report.proof.gradients] == ["w_grad", "x_grad"]
        assert "Gradient 'x_grad' differs by at most" in str(report)
        assert "MaskedSoftmax" in types(net)

    def test_a_net_that_draws_says_so(self):
        net = core.Net("net")
        net.Dropout("x", ["d", "mask"], ratio=0.5, is_test=0)
        net.SequenceMask("d", "m", mode="upper", axis=1)
        net.Softmax("m", "y", axis=1)
        report = fuse(net, inputs=arrays(x=(16, 16)))
        assert report.blamed is not None
        assert "The net itself gives other results from one run to the next." in report.notes


class TestFusedBefore(object):
    def test_masked_softmax_becomes_attention(self):
        """What was fused without shapes goes on from where it was."""
        net = core.Net("net")
        net.Scale(net.BatchMatMul(["q", "k"], "s", trans_b=1), "c", scale=0.5)
        net.SequenceMask(["c", "n"], "m", mode="sequence+upper", axis=3, batch=1, lengths_of="batch")
        net.Where(["keep", "m", net.ConstantFill(["m"], "f", value=-INF)], "w")
        net.BatchMatMul([net.Softmax("w", "p", axis=-1), "v"], "o")
        twin = core.Net(caffe2_pb2.NetDef.FromString(net.Proto().SerializeToString()))
        assert [one.into for one in fuse(net).fused] == ["MaskedSoftmax"]
        feeds = heads(keep=(B, H, LQ, LK))
        feeds["keep"] = feeds["keep"] < 1
        feeds["n"] = np.array([7, 3], "i")
        for one in (net, twin):
            fuse(one, inputs=feeds)
        assert types(net) == ["MaskedAttention"]
        assert net.Proto().op == twin.Proto().op

    @pytest.mark.parametrize("empty_row", ["zero", "uniform", "nan"])
    def test_what_its_rows_become_stays(self, empty_row):
        net = core.Net("net")
        net.BatchMatMul(["q", "k"], "s", trans_b=1)
        net.MaskedSoftmax(["s", "n"], "p", mode="sequence", radius=3, empty_row=empty_row)
        net.BatchMatMul(["p", "v"], "o")
        report = fuse(net, inputs=dict(heads(), n=np.array([0, 3], "i")))
        assert arguments(attention_of(net))["empty_row"] == empty_row, str(report)

    def test_one_that_is_strange_is_left(self):
        net = core.Net("net")
        net.MaskedSoftmax(["x"], "p", mode="upper", unheard_of=1)
        assert not fuse(net, {"x": (3, 3)}).fused

    def test_left_padding(self):
        """Found in a net, and again in what became of it; results are compared."""
        net = core.Net("net")
        net.BatchMatMul(["q", "k"], "s", trans_b=1)
        masks = dict(mode="upper+left_pad", axis=-1, batch=-3, lengths_of="batch", fill_val=-1e9)
        net.Softmax(net.SequenceMask(["s", "p"], "m", **masks), "w", axis=-1)
        net.BatchMatMul(["w", "v"], "o")
        twin = core.Net(caffe2_pb2.NetDef.FromString(net.Proto().SerializeToString()))
        assert [one.into for one in fuse(twin).fused] == ["MaskedSoftmax"]
        feeds = dict(heads(), p=np.array([0, 3], "i"))
        for one in (net, twin):
            report = fuse(one, inputs=feeds)
            assert report.fused and report.blamed is None, str(report)
            (op,) = one.Proto().op
            assert op.type == "MaskedAttention" and list(op.input) == ["q", "k", "v", "p"]
            assert arguments(op)["mode"] == "upper+left_pad"

    @pytest.mark.parametrize("args", [{"mode": "unheard_of"}, {"unheard_of": 1}], ids=str)
    def test_one_that_is_strange_is_left_between_products(self, args):
        net = core.Net("net")
        net.BatchMatMul(["q", "k"], "s", trans_b=1)
        net.MaskedSoftmax(["s", "n"], "p", **args)
        net.BatchMatMul(["p", "v"], "o")
        shapes = {name: array.shape for name, array in heads().items()}
        report = fuse(net, dict(shapes, n=(2,)))
        assert not report.fused, str(report)
        assert types(net) == ["BatchMatMul", "MaskedSoftmax", "BatchMatMul"]


class TestBands(object):
    @pytest.mark.parametrize("left", [None, 0, 1, 3])
    @pytest.mark.parametrize("right", [None, 0, 2])
    @pytest.mark.parametrize("rows, columns", [(5, 5), (5, 7), (7, 5)])
    def test_a_band_is_read_off(self, left, right, rows, columns):
        offset = np.arange(columns) - np.arange(rows)[:, None]
        keep = np.ones((rows, columns), bool)
        if left is not None:
            keep &= offset >= -left
        if right is not None:
            keep &= offset <= right
        band = bands.of_mask(keep[None, None], (2, 3, rows, columns))
        if keep.all():
            assert band is None
            return
        again = np.ones_like(keep)
        for side, inside in ((band.left, offset >= -(band.left or 0)),
                             (band.right, offset <= (band.right or 0))):
            again &= inside if side is not None else True
        np.testing.assert_array_equal(again, keep)

    @pytest.mark.parametrize(
        "keep",
        [
            np.array([[1, 0, 1], [1, 1, 0], [1, 1, 1]]),  # a hole
            np.array([[1, 1, 0], [1, 1, 0], [1, 1, 0]]),  # one length
            np.zeros((3, 3)),
            np.ones((3, 3)),
            np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0]]),  # without the row's own position
            np.stack([np.tril(np.ones((3, 3))), np.ones((3, 3))]),  # by head
        ],
    )
    def test_what_is_none(self, keep):
        assert bands.of_mask(keep.astype(bool), (2, 3, 3)) is None

    def test_sizes_must_be_those_of_the_scores(self):
        assert bands.of_mask(np.tril(np.ones((3, 3), bool)), (2, 4, 3)) is None
        assert bands.of_mask(np.tril(np.ones((3, 3), bool)), None) is None
        assert bands.of_mask(np.ones(3, bool), (3, 3)) is None


def given(net, name, array):
    return net.GivenTensorFill([], name, shape=list(array.shape), values=array.ravel().tolist())


class TestConstantMasks(object):
    """Triangles of constants become a mode, of which tiles are skipped."""

    def fused(self, add, n=LQ, **feeds):
        net = core.Net("net")
        blob = add(net, net.BatchMatMul(["q", "k"], "s", trans_b=1))
        net.BatchMatMul([net.Softmax(blob, "p", axis=-1), "v"], "o")
        feeds = dict(arrays(q=(B, H, n, D), k=(B, H, n, D), v=(B, H, n, DV)), **feeds)
        report = fuse(net, inputs=feeds)
        assert report.blamed is None and report.fused[0].into == "MaskedAttention", str(report)
        return arguments(attention_of(net)), report

    @pytest.mark.parametrize("low, empty_row", [(-INF, "nan"), (-1e9, "nan"), (-1e4, "nan")])
    def test_added(self, low, empty_row):
        tri = np.triu(np.full((LQ, LQ), low), 1)
        args, report = self.fused(lambda net, s: net.Add([s, given(net, "tri", tri)], "a"))
        assert args == {"mode": "upper", "scale": 1.0, "empty_row": empty_row}
        assert bool(report.fused[0].notes) == np.isfinite(low)

    def test_subtracted(self):
        tri = np.triu(np.full((LQ, LQ), INF), 1)
        args, _ = self.fused(lambda net, s: net.Sub([s, given(net, "tri", tri)], "a"))
        assert args["mode"] == "upper"

    def test_multiplied_and_added(self):
        keep = np.tril(np.ones((1, 1, LQ, LQ)))

        def add(net, s):
            return net.Add([net.Mul([s, given(net, "b", keep)], "m"),
                            given(net, "c", -1e4 * (1 - keep))], "a")

        args, _ = self.fused(add)
        assert args["mode"] == "upper" and args["empty_row"] == "uniform" and "has_bias" not in args

    def test_multiplied_and_added_where_they_do_not_match(self):
        keep = np.tril(np.ones((1, 1, LQ, LQ)))

        def add(net, s):
            return net.Add([net.Mul([s, given(net, "b", keep)], "m"), given(net, "c", keep)], "a")

        net = core.Net("net")
        blob = add(net, net.BatchMatMul(["q", "k"], "s", trans_b=1))
        net.BatchMatMul([net.Softmax(blob, "p", axis=-1), "v"], "o")
        feeds = arrays(q=(B, H, LQ, D), k=(B, H, LQ, D), v=(B, H, LQ, DV))
        assert fuse(net, inputs=feeds).blamed is None
        assert "Mul" in types(net)

    def test_a_band(self):
        offset = np.arange(LQ) - np.arange(LQ)[:, None]
        low = np.where(abs(offset) <= 1, 0, -INF)
        args, _ = self.fused(lambda net, s: net.Add([s, given(net, "band", low)], "a"))
        assert (args["window_left"], args["window_right"]) == (1, 1) and "mode" not in args

    def test_finite_beside_a_bias_stays_a_bias(self):
        """Rows whose causal keys are all padding keep what they were."""
        tri = np.triu(np.full((LQ, LQ), -1e4), 1)
        padding = np.zeros((B, 1, 1, LQ), "f")
        padding[:, :, :, :3] = -1e4
        args, _ = self.fused(
            lambda net, s: net.Add([net.Add([s, given(net, "tri", tri)], "a"), "pad"], "b"),
            pad=padding,
        )
        assert args["has_bias"] == 1 and "mode" not in args

    def test_infinite_beside_a_bias(self):
        tri = np.triu(np.full((LQ, LQ), -INF), 1)
        args, _ = self.fused(
            lambda net, s: net.Add([net.Add([s, given(net, "tri", tri)], "a"), "pad"], "b"),
            pad=np.random.RandomState(1).randn(B, 1, 1, LQ).astype("f"),
        )
        assert args["has_bias"] == 1 and args["mode"] == "upper"

    def test_a_mask_of_a_bias(self):
        """-inf where padded, a triangle of -inf elsewhere: as torch's MultiheadAttention has it."""
        tri = np.triu(np.full((LQ, LQ), -INF), 1)

        def add(net, s):
            low = net.GivenTensorFill([], "low", shape=[], values=[-INF])
            bias = net.ATen(["pad", low, given(net, "tri", tri)], "bias", operator="where")
            return net.Add([s, bias], "a")

        pad = np.zeros((B, 1, 1, LQ), bool)
        pad[1, :, :, 3:] = True
        args, _ = self.fused(add, pad=pad)
        assert args["has_mask"] == 1 and args["mode"] == "upper" and "has_bias" not in args


class TestProducts(object):
    """Factors as nets lay them out."""

    def check(self, build, feeds, into="MaskedAttention"):
        net = core.Net("net")
        build(net)
        report = fuse(net, inputs=feeds)
        assert report.blamed is None
        assert [one.into for one in report.fused] == [into], str(report)
        return net, report

    def test_keys_transposed_on_their_own(self):
        def build(net):
            k = net.Transpose("x", "kt", axes=[0, 2, 3, 1])
            net.BatchMatMul([net.Softmax(net.BatchMatMul(["q", k], "s"), "p", axis=3), "v"], "o")

        feeds = arrays(q=(B, H, LQ, D), x=(B, LK, H, D), v=(B, H, LK, DV))
        net, _ = self.check(build, feeds)
        assert types(net) == ["Transpose", "MaskedAttention"]
        assert list(net.Proto().op[0].arg[0].ints) == [0, 2, 1, 3]

    def test_keys_whose_transpose_others_read(self):
        def build(net):
            k = net.Transpose("k", "kt", axes=[0, 1, 3, 2])
            net.BatchMatMul([net.Softmax(net.BatchMatMul(["q", k], "s"), "p", axis=3), "v"], "o")
            net.Copy("kt", "copy")

        net, _ = self.check(build, heads())
        assert types(net) == ["Transpose", "Transpose", "MaskedAttention", "Copy"]

    def test_keys_laid_out_by_columns(self):
        def build(net):
            net.BatchMatMul([net.Softmax(net.BatchMatMul(["q", "k"], "s"), "p", axis=3), "v"], "o")

        feeds = arrays(q=(B, H, LQ, D), k=(B, H, D, LK), v=(B, H, LK, DV))
        net, _ = self.check(build, feeds)
        assert types(net) == ["Transpose", "MaskedAttention"]

    def test_queries_transposed_and_values_transposed(self):
        def build(net):
            s = net.BatchMatMul(["q", "k"], "s", trans_a=1, trans_b=1)
            net.BatchMatMul([net.Softmax(s, "p", axis=3), "v"], "o", trans_b=1)

        self.check(build, arrays(q=(B, H, D, LQ), k=(B, H, LK, D), v=(B, H, DV, LK)))

    @pytest.mark.parametrize("which", ["q", "k"])
    @pytest.mark.parametrize("op_type", ["Mul", "Div", "Scale"])
    def test_scaled_before_the_product(self, which, op_type):
        def build(net):
            if op_type == "Scale":
                scaled = net.Scale(which, "scaled", scale=0.5)
            else:
                half = net.GivenTensorFill([], "half", shape=[1], values=[0.5])
                scaled = getattr(net, op_type)([which, half], "scaled")
            factors = [scaled if name == which else name for name in ("q", "k")]
            s = net.BatchMatMul(factors, "s", trans_b=1)
            net.BatchMatMul([net.Softmax(s, "p", axis=3), "v"], "o")

        net, _ = self.check(build, heads())
        assert types(net) == ["MaskedAttention"]
        assert arguments(attention_of(net))["scale"] == (2.0 if op_type == "Div" else 0.5)

    def test_weights_that_are_read_too(self):
        def build(net):
            s = net.Scale(net.BatchMatMul(["q", "k"], "s", trans_b=1), "c", scale=0.5)
            net.BatchMatMul([net.Softmax(s, "p", axis=3), "v"], "o")
            net.ReduceMean("p", "mean", axes=[1])

        net, report = self.check(build, heads(), "MaskedSoftmax")
        assert types(net) == ["BatchMatMul", "MaskedSoftmax", "BatchMatMul", "ReduceMean"]
        assert "'p' is read by ReduceMean -> 'mean' too" in str(report)

    def test_matrices(self):
        def build(net):
            s = net.MatMul(["q", "k"], "s", trans_b=1)
            net.MatMul([net.Softmax(s, "p", axis=1), "v"], "o")

        self.check(build, arrays(q=(LQ, D), k=(LK, D), v=(LK, DV)))

    def test_dropout_casts_and_copies(self):
        def build(net):
            s = net.Cast(net.BatchMatMul(["q", "k"], "s", trans_b=1), "c", to=1)
            p = net.Softmax(net.Copy(s, "copy"), "p", axis=3)
            p, _ = net.Dropout(p, ["d", "_"], ratio=0.5, is_test=1)
            net.BatchMatMul([net.Cast(p, "f", to=1), "v"], "o")

        net, _ = self.check(build, heads())
        assert types(net) == ["MaskedAttention"]

    def test_dropout_that_draws(self):
        net = core.Net("net")
        p = net.Softmax(net.BatchMatMul(["q", "k"], "s", trans_b=1), "p", axis=3)
        p, _ = net.Dropout(p, ["d", "_"], ratio=0.0, is_test=0)
        net.BatchMatMul([p, "v"], "o")
        assert fuse(net, inputs=heads()).fused[0].into == "MaskedSoftmax"

    def test_a_dim_of_1_behind_the_columns(self):
        """Softmax over axis 1 of [B, L, 1], as Caffe2's attention has it."""
        net = core.Net("net")
        net.SequenceMask(["x", "n"], "m", mode="sequence")
        net.Softmax("m", "y", axis=1, engine="CUDNN")
        report = fuse(net, inputs=dict(arrays(x=(B, LK, 1)), n=np.array([7, 2], "i")))
        assert types(net) == ["Squeeze", "MaskedSoftmax", "ExpandDims"], str(report)

    def test_bias_of_small_numbers_below_a_finite_fill(self):
        """A bias of positions is none that masks."""
        def build(net):
            s = net.Add([net.BatchMatMul(["q", "k"], "s", trans_b=1), "positions"], "a")
            s = net.SequenceMask([s, "n"], "m", mode="sequence", axis=3, fill_val=-1e9,
                                 lengths_of="batch")
            net.BatchMatMul([net.Softmax(s, "p", axis=3), "v"], "o")

        feeds = dict(heads(positions=(1, H, LQ, LK)), n=np.array([7, 2], "i"))
        net, _ = self.check(build, feeds)
        assert types(net) == ["MaskedAttention"]
        net = core.Net("net")
        build(net)
        feeds["positions"] -= 1e9
        assert "MaskedAttention" not in [one.into for one in fuse(net, inputs=feeds).fused]

    def test_a_sum_that_is_scaled(self):
        def build(net):
            s = net.Add([net.BatchMatMul(["q", "k"], "s", trans_b=1), "bias"], "a")
            s = net.Scale(s, "c", scale=0.5)
            net.BatchMatMul([net.Softmax(s, "p", axis=3), "v"], "o")

        net, _ = self.check(build, heads(bias=(LQ, LK)))
        assert types(net) == ["Scale", "MaskedAttention"]


def test_every_softmax_stands_in_the_report():
    branch = core.Net("branch")
    branch.Softmax("x", "inner")
    net = core.Net("net")
    net.Softmax("x", "y")
    net.Proto().op.add(type="If", input=["condition"]).arg.add(name="then_net").n.CopyFrom(
        branch.Proto()
    )
    report = fuse(net)
    assert [(one.output, one.reason) for one in report.left_alone] == [
        ("y", "no mask, bias or product before it, but an input of the net"),
        ("inner", "it is in a net that is an argument of If"),
    ]
