"""Nets that look like what is fused, of which something must stay so that results are equal."""

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

from caffe2op_mask import fuse
from caffe2op_mask.fuse import proof

B, H, LQ, LK, D, DV = 2, 3, 5, 7, 4, 6
INF = float("inf")


def types(net):
    return [op.type for op in net.Proto().op]


def normal(*shape):
    return np.random.RandomState(sum(shape)).randn(*shape).astype("f")


def heads(lead=(B, H)):
    return {
        "q": normal(*(lead + (LQ, D))),
        "k": normal(*(lead + (LK, D))),
        "v": normal(*(lead + (LK, DV))),
    }


def results(net, init, feeds, blob):
    workspace.ResetWorkspace()
    for name, array in feeds.items():
        workspace.FeedBlob(name, array)
    workspace.RunNetOnce(init)
    workspace.RunNetOnce(net)
    return workspace.FetchBlob(blob)


def check(build, feeds, blob="y", like=None):
    """Fuses a net by the shapes of `like` or of the feeds; returns it and the report if equal."""
    init, net = core.Net("init"), core.Net("net")
    build(net, init)
    before = results(net, init, feeds, blob)
    like = feeds if like is None else like
    report = fuse(net, {name: array.shape for name, array in like.items()}, init=init)
    after = results(net, init, feeds, blob)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-6, err_msg=str(report))
    return net, report


def triangle(size, low):
    return np.where(np.tril(np.ones((size, size), bool)), 0, low).astype("f")


def constant(init, name, array):
    init.GivenTensorFill([], name, shape=list(array.shape), values=array.ravel().tolist())


class TestFiniteMasks(object):
    """A row of which nothing is kept attends to all: what hides it must be seen whole."""

    def test_a_triangle_behind_a_mask_that_stays(self):
        def build(net, init):
            constant(init, "low", triangle(LQ, -1e4))
            net.SequenceMask(["x", "n"], "m", mode="sequence", axis=1, fill_val=-1e4)
            net.Copy("m", "others")
            net.Softmax(net.Add(["m", "low"], "a"), "y", axis=1)

        feeds = {"x": normal(LQ, LQ), "n": np.array([0, 1, 0, 3, 5], "i")}
        net, _ = check(build, feeds)
        assert "has_bias" in str(net.Proto().op[-1])

    def test_a_bias_that_is_scaled_by_a_constant_that_stands_first(self):
        def build(net, init):
            constant(init, "half", np.array([0.5], "f"))
            net.Mul(["half", net.Add(["x", "bias"], "a")], "s")
            net.Cast("s", "c", to=1)  # of a type that is not known without a run
            net.SequenceMask(["c", "n"], "m", mode="sequence", axis=1, fill_val=-1e9)
            net.Softmax("m", "y", axis=1)

        feeds = {"x": normal(3, LK), "bias": normal(3, LK), "n": np.array([2, 3, 7], "i")}
        feeds["bias"][1] = -INF
        check(build, feeds)

    def test_numbers_that_a_scale_makes_low(self):
        """No entry of the sum is low, but each is 900 times as low in the scores."""
        net = core.Net("net")
        net.Copy(net.Add(["x", "bias"], "a"), "others")
        net.SequenceMask(net.Scale("a", "s", scale=900.0), "m", mode="upper", axis=1, fill_val=-1e4)
        net.Softmax("m", "y", axis=1)
        report = fuse(net, inputs={"x": normal(3, 3), "bias": normal(3, 3) - 5})
        assert "Add -> 'a' before it may be as low" in report.left_alone[0].reason

    def test_what_is_dared_is_noted(self):
        net = core.Net("net")
        net.ConstantFill("x", "fill", value=-1e9)
        net.Add([net.Where(["keep", "x", "fill"], "w"), "bias"], "a")
        net.Softmax("a", "y", axis=1)
        feeds = {"x": normal(3, LK), "keep": np.ones((3, LK), bool), "bias": normal(3, LK)}
        feeds["keep"][:, 2] = False
        (fused,) = fuse(net, inputs=feeds).fused
        assert fused.notes[0].endswith("is -999999896 or below, or it keeps nothing")


class TestScales(object):
    @pytest.mark.parametrize("low", [-1e4, -1e9])
    @pytest.mark.parametrize("mask_first", [False, True])
    def test_a_mask_is_not_scores_that_are_scaled(self, mask_first, low):
        """(1 - mask) * low of the scores' own shape: x + low - low would be 0."""

        def build(net, _):
            one = net.ConstantFill([], "one", shape=[1], value=1.0)
            factor = net.ConstantFill([], "low", shape=[1], value=low)
            hide = net.Add([net.Negative("mask", "minus"), one], "hide")
            sides = ["x", net.Mul([hide, factor], "lows")]
            net.Softmax(net.Add(sides[::-1] if mask_first else sides, "a"), "y", axis=1)

        mask = np.ones((LQ, LK), "f")
        mask[:, 4:] = 0
        check(build, {"x": normal(LQ, LK), "mask": mask})

    def test_scores_are_found_behind_a_mask_of_their_shape(self):
        def build(net, _):
            factor = net.ConstantFill([], "low", shape=[1], value=-1e4)
            s = net.Scale(net.BatchMatMul(["q", "k"], "s", trans_b=1), "c", scale=0.5)
            net.Add([net.Mul(["hide", factor], "lows"), s], "a")
            net.BatchMatMul([net.Softmax("a", "p", axis=3), "v"], "y")

        hide = np.zeros((B, H, LQ, LK), "f")
        hide[..., 4:] = 1
        net, _ = check(build, dict(heads(), hide=hide))
        assert "MaskedAttention" in types(net)

    @pytest.mark.parametrize("scale", [1e30, 1e-30, INF])
    def test_a_scale_beyond_a_float(self, scale):
        def build(net, _):
            s = net.BatchMatMul([net.Scale("q", "c", scale=scale), "k"], "s", trans_b=1)
            s = net.Scale(net.Scale(s, "s1", scale=scale), "s2", scale=scale)
            s = net.SequenceMask(s, "m", mode="upper", axis=3, batch=1)
            net.BatchMatMul([net.Softmax(s, "p", axis=3), "v"], "y")

        check(build, heads())


class TestShapes(object):
    def test_mat_mul_flattens_what_has_more_dims(self):
        def build(net, _):
            s = net.MatMul(["q", "k"], "s", trans_b=1)
            net.MatMul([net.Softmax(s, "p", axis=1), "v"], "y")

        check(build, {name: normal(LQ, 2, D) for name in "qkv"})

    @pytest.mark.parametrize(
        "dim, bias", [(2, (2, 1, 1, LK)), (0, (1, 2, 1, 1, LK)), (1, (2, 1, LK))]
    )
    def test_a_bias_of_scores_with_a_dim_more(self, dim, bias):
        """Not of the heads of Q, though a bias of its shape would be."""

        def build(net, _):
            s = net.BatchMatMul(["q", "k"], "s", trans_b=1)
            net.Add([net.ExpandDims(s, "e", dims=[dim]), "bias"], "a")
            net.Squeeze(net.Softmax("a", "p", axis=4), "back", dims=[dim])
            net.BatchMatMul(["back", "v"], "y")

        check(build, dict(heads((2, 2)), bias=normal(*bias)))

    def test_a_bias_of_scores_that_are_regrouped(self):
        def build(net, _):
            s = net.BatchMatMul(["q", "k"], "s", trans_b=1)
            s, _ = net.Reshape(s, ["r", "_"], shape=[6, 2, LQ, LK])
            p = net.Softmax(net.Add([s, "bias"], "a"), "p", axis=3)
            net.BatchMatMul([net.Reshape(p, ["back", "_2"], shape=[2, 6, LQ, LK])[0], "v"], "y")

        check(build, dict(heads((2, 6)), bias=normal(6, 1, 1, LK)))

    def test_lengths_of_scores_with_a_dim_more(self):
        def build(net, _):
            s = net.ExpandDims(net.BatchMatMul(["q", "k"], "s", trans_b=1), "e", dims=[1])
            args = dict(mode="sequence", axis=4, batch=2, lengths_of="batch")
            s = net.SequenceMask([s, "n"], "m", **args)
            net.Squeeze(net.Softmax(s, "p", axis=4), "back", dims=[1])
            net.BatchMatMul(["back", "v"], "y")

        check(build, dict(heads(), n=np.array([[4], [7]], "i")))


class TestConstants(object):
    def arithmetic(self, **args):
        def build(net, init):
            low = triangle(3, -1e4)
            constant(init, "keep", (low == 0).astype("f"))
            constant(init, "low", low)
            net.Add([net.Mul(["x", "keep"], "kept", **args), "low"], "a")
            net.Softmax("a", "y", axis=2)

        return build

    def test_a_factor_that_an_axis_places(self):
        """By the first two dims, which have the sizes of the last two."""
        check(self.arithmetic(broadcast=1, axis=0), {"x": normal(3, 3, 3)})

    def test_a_factor_with_more_dims(self):
        def build(net, init):
            low = np.stack([triangle(3, -1e4)] * 2)
            constant(init, "keep", (low == 0).astype("f"))
            constant(init, "low", low)
            net.Add([net.Mul(["x", "keep"], "kept"), "low"], "a")
            net.Softmax("a", "y", axis=2)

        check(build, {"x": normal(1, 3, 3)})

    @pytest.mark.parametrize("how", ["add", "where", "arithmetic"])
    def test_a_window_that_is_cut_to_a_size(self, how):
        """Of few rows it looks like a triangle."""
        offsets = np.arange(12) - np.arange(12)[:, None]
        keep = (offsets <= 0) & (offsets > -4)

        def cut(net, init, name, array):
            constant(init, name, array)
            size = net.Slice(net.Shape("x", name + "_dims"), name + "_size", starts=[0], ends=[1])
            rest = net.GivenTensorInt64Fill([], name + "_rest", shape=[1], values=[-1])
            zeros = net.GivenTensorInt64Fill([], name + "_zeros", shape=[2], values=[0, 0])
            for dim, sizes in enumerate([[size, rest], [rest, size]]):
                ends, _ = net.Concat(sizes, [name + "_ends%d" % dim, name + "_%d" % dim], axis=0)
                array = net.Slice([array if dim else name, zeros, ends], name + "_cut%d" % dim)
            return array

        def build(net, init):
            if how == "add":
                low = cut(net, init, "low", np.where(keep, 0, -INF).astype("f"))
                net.Add(["x", low], "a")
            elif how == "where":
                mask = net.Cast(cut(net, init, "keep", keep.astype("f")), "mask", to=5)
                fill = net.ConstantFill([], "fill", shape=[1], value=-INF)
                net.ATen([mask, "x", fill], "a", operator="where")
            else:
                kept = net.Mul(["x", cut(net, init, "keep", keep.astype("f"))], "kept")
                low = cut(net, init, "low", np.where(keep, 0, -1e4).astype("f"))
                net.Add([kept, low], "a")
            net.Softmax("a", "y", axis=1)

        check(build, {"x": normal(9, 9)}, like={"x": normal(3, 3)})
        net, _ = check(build, {"x": normal(9, 9)})
        assert "window_left" in str(net.Proto())

    def test_a_mask_that_is_a_gradient(self):
        """With `grad` it fills with 0."""

        def build(net, _):
            net.SequenceMask(["x", "n"], "m", mode="sequence", axis=2, batch=0, grad=1)
            net.Softmax("m", "y", axis=2)

        check(build, {"x": normal(2, 3, LK), "n": np.array([2, 3, 5], "i")})


    @pytest.mark.parametrize("keeps", [True, False])
    def test_a_mask_without_dims(self, keeps):
        def build(net, _):
            fill = net.ConstantFill([], "fill", shape=[1], value=-INF)
            net.Softmax(net.ATen(["keep", "x", fill], "m", operator="where"), "y", axis=1)

        net, _ = check(build, {"x": normal(3, LK), "keep": np.array(keeps)})
        assert types(net) == ["Cast", "MaskedSoftmax"]


class TestNames(object):
    def test_a_parameter_is_not_overwritten(self):
        init, net = core.Net("init"), core.Net("net")
        init.ConstantFill([], "o_lse", shape=[1], value=1.0)  # of another net
        s = net.BatchMatMul(["q", "k"], "s", trans_b=1)
        net.BatchMatMul([net.Softmax(s, "p", axis=3), "v"], "o")
        fuse(net, {name: array.shape for name, array in heads().items()}, init=init)
        assert list(net.Proto().op[0].output) == ["o", "o_lse_"]


class TestErrors(object):
    @pytest.mark.parametrize(
        "op_type, inputs, args, said",
        [
            ("Softmax", ["m"], {"axis": "last"}, "Softmax: argument 'axis' must be an integer"),
            ("Softmax", ["m"], {"axis": 1.5}, "argument 'axis' must be an integer, but is 1.5"),
            ("SequenceMask", ["x"], {"mode": 3}, "argument 'mode' must be a text, but is 3"),
            ("SequenceMask", ["x"], {"mode": "upper", "batch": "a"}, "'batch' must be an integer"),
            ("SequenceMask", ["x"], {"mode": "upper", "fill_val": "low"}, "must be a number, but is"),
            ("Scale", ["x"], {"scale": "half"}, "argument 'scale' must be a number, but is 'half'"),
            ("Dropout", ["x"], {"is_test": "yes"}, "argument 'is_test' must be an integer"),
        ],
    )
    def test_an_argument_of_another_type(self, op_type, inputs, args, said):
        net = core.Net("net")
        if op_type == "Softmax":
            net.SequenceMask("x", "m", mode="upper", axis=1)
        outputs = ["s", "_"] if op_type == "Dropout" else ["s"]
        net.Proto().op.extend([core.CreateOperator(op_type, inputs, outputs, **args)])
        if op_type != "Softmax":
            net.Softmax(net.SequenceMask("s", "m", mode="upper", axis=1), "y", axis=1)
        with pytest.raises(ValueError, match=said):
            fuse(net, {"x": (3, 3)})

    @pytest.mark.parametrize(
        "op_type, inputs, args",
        [
            ("Shape", ["x"], {"axes": [2]}),
            ("Shape", ["x"], {"axes": [-1]}),
            ("Shape", ["x"], {"axes": [0.5]}),
            ("ConstantFill", [], {"input_as_shape": 1}),
            ("Cast", ["x"], {"to": 99}),
            ("Transpose", ["x"], {"axes": [0, 5]}),
            ("Transpose", ["x"], {"axes": [0, 0]}),
        ],
    )
    def test_an_operator_that_could_not_run(self, op_type, inputs, args):
        """No error of Python: nothing is known of what it writes."""
        net = core.Net("net")
        net.Proto().op.extend([core.CreateOperator(op_type, inputs, ["z"], **args)])
        s = net.MatMul(["z", "x"], "s", trans_b=1)
        net.MatMul([net.Softmax(s, "p", axis=-1), "x"], "o")
        net.Softmax(net.Add(["x", "z"], "a"), "y", axis=1)
        fuse(net, {"x": (3, 3)})

    @pytest.mark.parametrize("tolerance", ["0.1", None, [1.0], np.ones(2)])
    def test_a_tolerance_that_is_no_number(self, tolerance):
        net = core.Net("net")
        net.Softmax("x", "y")
        with pytest.raises(ValueError, match="fuse: tolerance must be a number of at least 0"):
            fuse(net, {"x": (3, 3)}, tolerance=tolerance)

    def test_factors_without_a_matrix(self):
        net = core.Net("net")
        s = net.BatchMatMul(["q", "k"], "s", trans_b=1)
        net.BatchMatMul([net.Softmax(s, "p", axis=1), "v"], "o", trans_b=1)
        report = fuse(net, {"q": (3, 4), "k": (5, 4), "v": ()})
        assert "one of its factors is no matrix" in str(report)

    def test_a_constant_of_a_negative_size(self):
        """The runtime's fill makes it, and its Concat ends the process."""
        net = core.Net("net")
        net.GivenTensorInt64Fill([], "a", shape=[1], values=[3])
        net.GivenTensorInt64Fill([], "b", shape=[-1, -1], values=[3])
        net.Concat(["a", "b"], ["c", "_"], axis=0)
        net.Softmax("x", "y", axis=1)
        assert not fuse(net, {"x": (3, 3)}).fused

    def test_a_mask_whose_shape_is_not_known(self):
        net = core.Net("net")
        s = net.BatchMatMul(["q", "k"], "s", trans_b=1)
        s = net.Where(["hide", net.ConstantFill(s, "fill", value=-INF), s], "m")
        net.BatchMatMul([net.Softmax(s, "p", axis=2), "v"], "o")
        report = fuse(net, {"q": (2, 3, 4), "k": (2, 5, 4), "v": (2, 5, 4)})
        assert "the shape of 'hide' is not known" in str(report) and report.missing == ["hide"]

    def test_an_operator_of_a_net_in_an_argument(self):
        branch, net = caffe2_pb2.NetDef(), caffe2_pb2.NetDef()
        branch.op.add(type="Softmax", input=["x"])
        net.op.add(type="If", input=["c"]).arg.add(name="then_net").n.CopyFrom(branch)
        with pytest.raises(ValueError, match="fuse: Softmax of the net has 0 outputs, of which"):
            fuse(net)

    def test_a_fused_net_that_fails_differs(self):
        """It is blamed, and the net stays: the caller's own net runs."""
        before, after = core.Net("before"), core.Net("after")
        before.Softmax("x", "y", axis=1)
        after.MaskedSoftmax(["x", "x", "x"], "y")
        failures, fill = [], proof.start(None, {"x": normal(3, 3)})
        (found,), _ = proof.differences(before.Proto(), after.Proto(), fill, failures)
        assert found.blob == "y" and found.largest == INF
        assert len(failures) == 1 and "MaskedSoftmax" in failures[0]
