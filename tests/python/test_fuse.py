"""fuse: what becomes one operator, what does not and why, and that results stay what they were."""

import hypothesis.strategies as st
import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace
from hypothesis import assume, given, settings

import caffe2op_mask
from caffe2op_mask import fuse

INF = float("inf")

# Sizes that differ, so that no two dims are taken for each other.
B, H, LQ, LK, D, DV = 2, 3, 5, 7, 4, 6
SCORES = (B, H, LQ, LK)
QKV = {"q": (B, H, LQ, D), "k": (B, H, LK, D), "v": (B, H, LK, DV)}


def types(net):
    return [op.type for op in net.Proto().op]


def named(net, shapes):
    """Those of the shapes whose blobs the net has."""
    blobs = {blob for op in net.Proto().op for blob in list(op.input) + list(op.output)}
    return {name: shape for name, shape in shapes.items() if name in blobs}


def run_net(net, feeds):
    """Runs a net on arrays by name; returns a function that fetches."""
    for name, array in feeds.items():
        workspace.FeedBlob(name, array)
    workspace.RunNetOnce(net)
    return workspace.FetchBlob


def arguments(op):
    return {
        arg.name: arg.s.decode() if arg.HasField("s") else arg.f if arg.HasField("f") else arg.i
        for arg in op.arg
    }


def softmax_net(mask=None, axis=-1):
    """x, a mask over it or several, and a Softmax."""
    net = core.Net("net")
    blob = "x"
    for add in mask or [causal]:
        blob = add(net, blob)
    net.Softmax(blob, "y", axis=axis)
    net.Proto().external_output.append("y")
    return net


def mask_by(mode, *inputs, **args):
    """Adds a SequenceMask over the last dim."""

    def add(net, blob):
        kwargs = dict({"axis": -1, "mode": mode}, **args)
        return net.SequenceMask([blob] + list(inputs), blob + "m", **kwargs)

    return add


causal = mask_by("upper", batch=-3)


def scale_by(op_type, number, **args):
    """Adds a Scale, or a Mul or Div by a constant."""

    def add(net, blob):
        if op_type == "Scale":
            return net.Scale(blob, blob + "s", scale=number)
        constant = net.ConstantFill([], blob + "c", shape=[1], value=number)
        return getattr(net, op_type)([blob, constant], blob + "s", **args)

    return add


def where(fill, mask="keep", like=True, swap=False, **args):
    """Adds a Where that keeps or fills."""

    def add(net, blob):
        inputs, shape = ([blob], {}) if like else ([], {"shape": SCORES})
        filler = net.ConstantFill(inputs, blob + "f", value=float(fill), **shape)
        sides = [filler, blob] if swap else [blob, filler]
        return net.Where([mask] + sides, blob + "w", **args)

    return add


def add_bias(bias="bias", first=False, **args):
    def add(net, blob):
        return net.Add([bias, blob] if first else [blob, bias], blob + "b", **args)

    return add


def copied(net, blob):
    """Someone else reads the blob."""
    net.Copy(blob, blob + "_copy")
    return blob


def causal_op(blob, output):
    return core.CreateOperator("SequenceMask", [blob], [output], mode="upper", axis=-1, batch=-3)


class TestMaskedSoftmax(object):
    def fused(self, masks, shapes=None, axis=-1):
        net = softmax_net(masks, axis)
        report = fuse(net, shapes)
        assert [one.into for one in report.fused] == ["MaskedSoftmax"], str(report)
        assert report.fused[0].output == "y" and not report.left_alone
        op = net.Proto().op[-1]
        assert op.type == "MaskedSoftmax" and list(op.output) == ["y"]
        return net, list(op.input), arguments(op)

    def test_triangle(self):
        net, inputs, args = self.fused([causal])
        assert types(net) == ["MaskedSoftmax"]
        assert inputs == ["x"] and args == {"mode": "upper", "empty_row": "nan"}

    def test_shape_tells_rank(self):
        _, inputs, args = self.fused([mask_by("lower", axis=1, diagonal=2)], {"x": (4, 5)}, axis=1)
        assert args == {"mode": "lower", "diagonal": 2, "empty_row": "nan"}
        self.fused([mask_by("upper", axis=3, batch=1)], {"x": SCORES}, axis=3)
        self.fused([mask_by("upper", axis=3)], {"x": (1, 1, 5, 7)}, axis=3)
        self.fused([mask_by("upper", axis=3, batch=2)], {"x": (2, 3, 1, 7)}, axis=3)

    def test_lengths(self):
        shapes = {"x": SCORES, "n": (B, H, LQ)}
        _, inputs, args = self.fused([mask_by("sequence", "n")], shapes)
        assert inputs == ["x", "n"] and args == {"mode": "sequence", "empty_row": "nan"}
        self.fused([mask_by("sequence", "n")], {"x": SCORES, "n": (B,)})
        self.fused([mask_by("sequence", "n", lengths_of="batch", batch=0)])

    def test_window(self):
        _, inputs, args = self.fused([mask_by("window", "c", radius=2, lengths_of="batch")])
        assert inputs == ["x", "c"]
        assert args == {"mode": "window", "radius": 2, "empty_row": "nan"}
        assert self.fused([mask_by("window", "c", lengths_of="batch")])[2]["radius"] == 10

    def test_left_pad(self):
        _, inputs, args = self.fused([mask_by("left_pad", "p", lengths_of="batch")])
        assert inputs == ["x", "p"] and args == {"mode": "left_pad", "empty_row": "nan"}
        shapes = {"x": SCORES, "p": (B * H * LQ,), "n": (B, H, LQ)}
        masks = [mask_by("left_pad", "p"), causal, mask_by("sequence", "n")]
        _, inputs, args = self.fused(masks, shapes)
        assert inputs == ["x", "n", "p"] and args["mode"] == "left_pad+upper+sequence"

    def test_finite_fill(self):
        _, _, args = self.fused([mask_by("upper", batch=-3, fill_val=-1e9)])
        assert args["empty_row"] == "uniform"

    def test_finite_fill_is_an_assumption_that_is_told(self):
        report = fuse(softmax_net([mask_by("upper", batch=-3, fill_val=-1e4)]))
        assert report.fused[0].notes == ("equal unless all that a row keeps is -9896 or below",)
        assert "fused into MaskedSoftmax; equal unless all that a row keeps is" in str(report)

    def test_the_bound_of_a_finite_fill_is_exact(self):
        report = fuse(softmax_net([mask_by("upper", batch=-3, fill_val=-1e9)]))
        assert report.fused[0].notes == ("equal unless all that a row keeps is -999999896 or below",)

    def test_where(self):
        net, inputs, args = self.fused([where(-INF)])
        assert types(net) == ["MaskedSoftmax"]
        assert inputs == ["x", "keep"] and args == {"has_mask": 1, "empty_row": "nan"}
        _, inputs, args = self.fused([where(-1e9, like=False)])
        assert args == {"has_mask": 1, "empty_row": "uniform"}

    def test_where_that_fills_where_its_mask_is_true(self):
        net, inputs, args = self.fused([where(-INF, swap=True)])
        assert types(net) == ["Not", "MaskedSoftmax"]
        assert inputs == ["x", "keep_not"] and args == {"has_mask": 1, "empty_row": "nan"}

    def test_where_by_what_a_not_has_made(self):
        net = core.Net("net")
        net.Not("keep", "hide")
        net.Softmax(where(-INF, "hide", swap=True)(net, "x"), "y", axis=-1)
        assert fuse(net).fused
        assert list(net.Proto().op[-1].input) == ["x", "keep"]

    def test_masks_of_one_fill_are_one(self):
        net, inputs, args = self.fused([where(-1e9), where(-1e9, "also")])
        assert types(net) == ["And", "MaskedSoftmax"]
        assert list(net.Proto().op[0].input) == ["also", "keep"]

    def test_biases_are_one(self):
        shapes = {"x": SCORES, "bias": (LQ, LK), "more": (H, 1, LK)}
        net, inputs, args = self.fused([add_bias(), add_bias("more")], shapes)
        assert types(net) == ["Add", "MaskedSoftmax"] and args["has_bias"] == 1

    def test_lengths_of_all_rows(self):
        """The only form of lengths that stock knows."""
        _, inputs, args = self.fused([mask_by("sequence", "n")], {"x": SCORES, "n": (B * H * LQ,)})
        assert inputs == ["x", "n"] and args["mode"] == "sequence"

    @pytest.mark.parametrize(
        "shapes, batch, of_one",
        [
            ({"x": SCORES, "n": (LQ,)}, 1, [1, 1, LQ, LK]),
            ({"x": SCORES, "n": (H, LQ)}, 0, [1, H, LQ, LK]),
            # With B = L lengths by rows look like lengths by batch.
            ({"x": (5, 5, 7), "n": (5,)}, 0, [1, 5, 7]),
        ],
    )
    def test_lengths_of_the_rows_behind_batch(self, shapes, batch, of_one):
        """The same for each batch: a mask for one is broadcast to all."""
        net, inputs, args = self.fused([mask_by("sequence", "n", batch=batch)], shapes)
        assert types(net) == ["ConstantFill", "SequenceMask", "MaskedSoftmax"]
        assert args == {"has_mask": 1, "empty_row": "nan"}
        random = np.random.RandomState(1)
        feeds = {
            "x": random.randn(*shapes["x"]).astype("f"),
            "n": random.randint(1, 8, shapes["n"]).astype("i"),
        }
        after = np.array(run_net(net, feeds)("y"))
        before = run_net(softmax_net([mask_by("sequence", "n", batch=batch)]), feeds)("y")
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)

    def test_a_constant_that_others_read_stays(self):
        net = softmax_net([where(-INF, like=False)])
        net.Copy("xf", "other")
        assert fuse(net).fused and types(net) == ["ConstantFill", "MaskedSoftmax", "Copy"]

    def test_constants_of_the_init_net(self):
        init = core.Net("init")
        init.GivenTensorFill([], "fill", shape=[2, 3], values=[-1e9] * 6)
        init.ConstantFill([], "half", shape=[1], value=0.5)
        net = core.Net("net")
        net.Mul(["x", "half"], "s")
        net.Where(["keep", "s", "fill"], "w")
        net.Softmax("w", "y", axis=-1)
        assert not fuse(net).fused
        report = fuse(net, init=init)
        assert "'half' is 0.5, as init fills it" in report.fused[0].notes
        assert "'fill' is -1e+09, as init fills it" in report.fused[0].notes
        assert types(net) == ["MaskedSoftmax"]
        assert arguments(net.Proto().op[0])["scale"] == 0.5

    def test_a_constant_of_init_that_the_net_writes_is_none(self):
        """The next run of the net finds another number."""
        init = core.Net("init")
        init.ConstantFill([], "temperature", shape=[1], value=0.5)
        net = core.Net("net")
        net.Mul(["x", "temperature"], "s")
        net.SequenceMask("s", "m", mode="upper", axis=-1, batch=-3)
        net.Softmax("m", "y", axis=-1)
        net.Scale("temperature", "temperature", scale=4.0)
        assert fuse(net, {"x": SCORES}, init=init).fused
        assert types(net) == ["Mul", "MaskedSoftmax", "Scale"]

    def test_bias(self):
        shapes = {"x": SCORES, "bias": (LQ, LK)}
        for masks in ([add_bias()], [add_bias(first=True)], [add_bias(broadcast=1)]):
            _, inputs, args = self.fused(masks, shapes)
            assert inputs == ["x", "bias"] and args == {"has_bias": 1, "empty_row": "nan"}
        _, inputs, _ = self.fused([add_bias(broadcast=1, axis=2)], shapes)
        assert inputs == ["x", "bias"]

    def test_all_at_once(self):
        masks = [
            scale_by("Div", 4.0),
            add_bias(),
            mask_by("sequence", "n", lengths_of="batch"),
            mask_by("window+upper", "c", batch=-3, lengths_of="batch", diagonal=1),
            where(-INF),
        ]
        net, inputs, args = self.fused(masks, {"x": SCORES, "bias": (LK,)})
        assert types(net) == ["MaskedSoftmax"]
        assert inputs == ["x", "n", "c", "keep", "bias"]
        assert args == {
            "mode": "sequence+window+upper",
            "radius": 10,
            "diagonal": 1,
            "scale": 0.25,
            "has_mask": 1,
            "has_bias": 1,
            "empty_row": "nan",
        }

    def test_what_does_not_fit_stays_before(self):
        """Two vectors of lengths: one operator takes one."""
        masks = [mask_by("sequence", name, lengths_of="batch") for name in ("n", "m")]
        net = softmax_net(masks)
        report = fuse(net)
        assert types(net) == ["SequenceMask", "MaskedSoftmax"]
        assert list(net.Proto().op[1].input) == ["xm", "m"]
        assert report.fused[0].notes == (
            "SequenceMask -> 'xm' stays: there is another input of this kind, lengths",
        )

    def test_triangles(self):
        """Those of one diagonal join; one of another stays before."""
        lower, shifted = mask_by("lower", batch=-3), mask_by("lower", batch=-3, diagonal=-1)
        assert self.fused([lower, causal])[2]["mode"] == "lower+upper"
        net, _, args = self.fused([shifted, causal])
        assert types(net) == ["SequenceMask", "MaskedSoftmax"]
        assert args == {"mode": "upper", "empty_row": "nan"}

    def test_in_place(self):
        net = core.Net("net")
        net.Copy("x", "s")
        net.SequenceMask("s", "s", mode="upper", axis=-1, batch=-3)
        net.Softmax("s", "s", axis=-1)
        net.Proto().external_output.append("s")
        assert fuse(net).fused
        op = net.Proto().op[-1]
        assert types(net) == ["MaskedSoftmax"]
        assert list(op.input) == ["x"] and list(op.output) == ["s"]

    def test_in_place_after_another(self):
        net = core.Net("net")
        net.Relu("x", "s")
        net.SequenceMask("s", "s", mode="upper", axis=-1, batch=-3)
        net.Softmax("s", "s", axis=-1)
        net.Proto().external_output.append("s")
        assert fuse(net).fused
        op = net.Proto().op[-1]
        assert types(net) == ["Relu", "MaskedSoftmax"]
        assert list(op.input) == list(op.output) == ["s"]

    def test_name_and_device_are_the_softmax_s(self):
        net = softmax_net()
        device = core.DeviceOption(caffe2_pb2.CPU, random_seed=3)
        for op in net.Proto().op:
            op.device_option.CopyFrom(device)
        net.Proto().op[1].name = "attend"
        assert fuse(net).fused
        (op,) = net.Proto().op
        assert op.name == "attend" and op.device_option == device

    def test_net_def(self):
        proto = caffe2_pb2.NetDef()
        proto.CopyFrom(softmax_net().Proto())
        assert fuse(proto).fused and [op.type for op in proto.op] == ["MaskedSoftmax"]

    def test_twice_changes_nothing_more(self):
        net = softmax_net()
        fuse(net)
        before = net.Proto().SerializeToString()
        report = fuse(net)
        assert not report.fused and not report.left_alone
        assert net.Proto().SerializeToString() == before


RANK_4 = {"x": SCORES, "n": (B, H, LQ), "bias": (LQ, LK)}

# What is before the Softmax, its axis, shapes that are known, and why it is left alone.
LEFT_ALONE = [
    ([mask_by("upper", axis=1)], 1, {}, "the rank of 'x' is not known"),
    ([mask_by("sequence", "n", lengths_of="batch")], 1, {}, "so axis 1 of Softmax may not be"),
    ([mask_by("upper", axis=2)], -1, RANK_4, "its axis is not the last of 'x'"),
    ([causal], 2, RANK_4, "the axis of Softmax is not the last"),
    ([mask_by("upper")], -1, {}, "rows of its triangle are not known to be one dim"),
    ([mask_by("upper")], -1, RANK_4, "rows of its triangle are not the dim before the last"),
    ([mask_by("lower", batch=2)], -1, RANK_4, "rows of its triangle are not the dim before"),
    ([mask_by("sequence", "n", repeat_from_axis=3, axis=2)], -1, RANK_4, "repeat_from_axis"),
    ([mask_by("sequence", "n")], -1, {}, "the shapes of 'x' and its lengths are not known"),
    ([mask_by("sequence")], -1, RANK_4, "it has no lengths"),
    ([mask_by("bogus")], -1, RANK_4, "its mode is 'bogus'"),
    ([mask_by("upper", batch=-3, fill_val=-100.0)], -1, {}, "its fill, -100, is not -inf or"),
    ([mask_by("upper", batch=-3, fill_val=INF)], -1, {}, "its fill, inf, is not -inf or"),
    ([mask_by("upper", batch=-3, grad=1)], -1, {}, "its fill, 0, is not -inf or"),
    ([mask_by("upper", batch=-3, fill_val=-1e9), scale_by("Scale", 1e-8)], -1, {}, "fill, -10,"),
    ([causal, scale_by("Scale", -1.0)], -1, {}, "its fill, inf, is not -inf or"),
    ([mask_by("mask", "keep", fill_val=-INF)], -1, RANK_4, "its mask may have fewer dims"),
    ([mask_by("mask", "keep")], -1, {"x": (2, 3), "keep": (2, 3)}, "its fill, 0, is not"),
    ([causal, copied], -1, {}, "'xm' is read by Copy -> 'xm_copy' too"),
    ([where(-INF, broadcast_on_rows=1)], -1, {}, "its mask is by rows"),
    ([where(-1.0)], -1, {}, "its fill, -1, is not -inf or below -10000"),
    ([add_bias()], -1, {}, "the shape of 'x' is not known"),
    ([add_bias()], -1, {"x": SCORES}, "the shape of 'bias' is not known"),
    ([add_bias()], -1, {"x": (3, 1), "bias": (1, 4)}, "broadcasts to the other"),
    (
        [add_bias(broadcast=1, axis=0)],
        -1,
        {"x": (3, 3, 4), "bias": (3,)},
        "its axis places the bias as NumPy would not",
    ),
    # A finite fill beside scores that may be as low.
    ([add_bias(), mask_by("upper", batch=-3, fill_val=-1e9)], -1, RANK_4, "may be as low"),
    ([mask_by("upper", batch=-3, fill_val=-1e9), add_bias()], -1, RANK_4, None),
    (
        [causal, mask_by("lower", batch=-3, fill_val=-1e9)],
        -1,
        {},
        "the fill, -1e+09, is finite, and SequenceMask -> 'xm' before it may be as low",
    ),
]


class TestLeftAlone(object):
    @pytest.mark.parametrize("masks, axis, shapes, reason", LEFT_ALONE)
    def test_reason(self, masks, axis, shapes, reason):
        net = softmax_net(masks, axis)
        before = net.Proto().SerializeToString()
        report = fuse(net, named(net, shapes))
        if reason is None:  # the bias is fused, and the mask before it not
            assert types(net) == ["SequenceMask", "MaskedSoftmax"]
            assert "is finite, and a bias is added" in report.fused[0].notes[0]
            return
        assert not report.fused
        (left,) = report.left_alone
        assert left.output == "y" and left.operators[-1] == "Softmax"
        assert len(left.operators) > 1
        assert reason in left.reason and reason in str(report)
        assert net.Proto().SerializeToString() == before

    def reason(self, net, **options):
        report = fuse(net, **options)
        assert not report.fused, str(report)
        return report.left_alone[0].reason

    def test_output_of_the_net(self):
        net = softmax_net()
        net.Proto().external_output.append("xm")
        assert self.reason(net) == "'xm' is an input or output of the net"

    def test_input_that_is_masked_in_place(self):
        """It is masked in the workspace, too, when the net has run."""
        net = core.Net("net")
        net.SequenceMask("x", "x", mode="upper", axis=-1, batch=-3)
        net.Softmax("x", "y", axis=-1)
        assert self.reason(net) == "'x' is an input or output of the net"

    def test_input_that_nobody_declared(self):
        net = caffe2_pb2.NetDef()
        net.op.add().CopyFrom(causal_op("x", "x"))
        net.op.add(type="Softmax", input=["x"], output=["y"])
        assert "'x' is an input or output of the net" in str(fuse(net))

    def test_operator_that_nobody_knows(self):
        net = core.Net("net")
        net.Proto().op.add(type="Unheard", input=["a"], output=["x"])
        net.SequenceMask("x", "m", mode="upper", axis=1)
        net.Softmax("m", "y")
        assert "the rank of 'x' is not known" in self.reason(net, shapes={"a": (2, 3)})

    def test_input_that_is_written_again(self):
        net = core.Net("net")
        net.SequenceMask(["x", "n"], "m", mode="sequence", axis=-1, lengths_of="batch")
        net.Copy("other", "n")
        net.Softmax("m", "y", axis=-1)
        assert self.reason(net) == "'n' is written again before its result is"

    def test_result_over_an_input(self):
        net = core.Net("net")
        net.SequenceMask(["x", "n"], "m", mode="sequence", axis=-1, lengths_of="batch")
        net.Softmax("m", "n", axis=-1)
        assert self.reason(net) == "its result overwrites its input 'n'"

    def test_intermediate_that_is_written_again_is_free(self):
        net = softmax_net()
        net.Copy("x", "xm")
        net.Proto().external_output.append("xm")
        assert fuse(net).fused

    def test_engine_device_and_control_input(self):
        net = softmax_net()
        net.Proto().op[1].engine = "CUDNN"  # none on the CPU
        assert fuse(net).fused
        net = attention_net([causal])
        net.Proto().op[0].engine = "DNNLOWP"
        report = fuse(net, QKV)
        assert "not into MaskedAttention: BatchMatMul is by engine DNNLOWP" in str(report)
        net = softmax_net()
        net.Proto().op[0].control_input.append("go")
        assert self.reason(net) == "SequenceMask has a control input"
        net = softmax_net()
        net.Proto().op[0].device_option.device_type = caffe2_pb2.CUDA
        assert self.reason(net) == "SequenceMask is not on the CPU"
        net = softmax_net()
        net.Proto().device_option.device_type = caffe2_pb2.CUDA
        assert self.reason(net) == "SequenceMask is not on the CPU"
        net = softmax_net()
        net.Proto().op[0].device_option.numa_node_id = 1
        assert "are on different devices" in self.reason(net)

    def test_control_input_of_another(self):
        net = softmax_net()
        net.Copy("x", "z")
        net.Proto().op[2].control_input.append("xm")
        assert self.reason(net) == "'xm' is read by Copy -> 'z' too"

    def test_net_in_an_argument(self):
        """A branch of an If reads what the net masked."""
        branch = core.Net("branch")
        branch.Copy("xm", "taken")
        net = softmax_net()
        op = net.Proto().op.add(type="If", input=["condition"])
        op.arg.add(name="then_net").n.CopyFrom(branch.Proto())
        assert self.reason(net).startswith("'xm' is read by If")

    def test_softmax_without_a_mask_stands_in_the_report(self):
        net = core.Net("net")
        net.Softmax(net.Relu("x", "r"), "y")
        net.Softmax(net.Scale("x", "s", scale=2.0), "z")
        assert str(fuse(net)) == (
            "Softmax -> 'y': left alone, no mask, bias or product before it, but Relu -> 'r'\n"
            "Scale, Softmax -> 'z': left alone, no mask, bias or product before it, but an input of "
            "the net\n"
            "0 fused, 2 left alone."
        )


def attention_net(masks=(), q="q", k="k", trans_b=1, axis=-1):
    net = core.Net("net")
    blob = net.BatchMatMul([q, k], "s", trans_b=trans_b)
    for add in masks:
        blob = add(net, blob)
    net.Softmax(blob, "p", axis=axis)
    net.BatchMatMul(["p", "v"], "o")
    net.Proto().external_output.append("o")
    return net


HEADS_3 = {"q": (B, LQ, D), "k": (B, LK, D), "v": (B, LK, DV)}


class TestMaskedAttention(object):
    def fused(self, masks, shapes, **options):
        net = attention_net(masks, **options)
        report = fuse(net, shapes)
        assert [one.into for one in report.fused] == ["MaskedAttention"], str(report)
        assert report.fused[0].output == "o"
        return net

    def test_scale_and_padding(self):
        masks = [scale_by("Scale", 0.5), mask_by("sequence", "n")]
        net = self.fused(masks, dict(QKV, n=(B,)))
        (op,) = net.Proto().op
        assert list(op.input) == ["q", "k", "v", "n"] and list(op.output) == ["o", "o_lse"]
        assert arguments(op) == {"mode": "sequence", "scale": 0.5, "empty_row": "nan"}

    def test_scale_is_given_even_where_there_is_none(self):
        (op,) = self.fused([causal], QKV).Proto().op
        assert arguments(op)["scale"] == 1.0

    def test_mask_and_bias(self):
        masks = [add_bias(), where(-INF)]
        (op,) = self.fused(masks, dict(QKV, bias=(LQ, LK), keep=SCORES)).Proto().op
        assert list(op.input) == ["q", "k", "v", "keep", "bias"]

    def test_no_mask(self):
        (op,) = self.fused([scale_by("Scale", 0.5)], QKV).Proto().op
        assert arguments(op) == {"scale": 0.5, "empty_row": "nan"}

    def test_names_are_new(self):
        net = attention_net([causal])
        net.Copy("x", "o_lse")
        fuse(net, QKV)
        assert list(net.Proto().op[0].output) == ["o", "o_lse_"]

    def test_three_dims(self):
        masks = [mask_by("sequence", "n"), add_bias(), where(-INF)]
        masks = [masks[1], masks[0], masks[2]]
        shapes = dict(HEADS_3, n=(B, LQ), bias=(LQ, LK), keep=(B, LQ, LK))
        net = self.fused(masks, shapes)
        (attention,) = net.Proto().op
        assert list(attention.input) == ["q", "k", "v", "n", "keep", "bias"]
        assert list(attention.output) == ["o", "o_lse"]

    @pytest.mark.parametrize(
        "shapes, options, note",
        [
            ({}, {}, "the shape of 'q' is not known"),
            (
                {"q": (1, B, H, LQ, D), "k": (1, B, H, LK, D), "v": (1, B, H, LK, DV)},
                {},
                "are not [B, H, L, D] or [B, L, D]",
            ),
        ],
    )
    def test_softmax_alone(self, shapes, options, note):
        net = attention_net([causal], **options)
        report = fuse(net, shapes)
        assert types(net) == ["BatchMatMul", "MaskedSoftmax", "BatchMatMul"]
        assert note in report.fused[0].notes[0] and note in str(report)

    @pytest.mark.parametrize("blob", ["s", "p"])
    def test_intermediate_that_is_read(self, blob):
        net = attention_net([causal])
        net.Copy(blob, "copy")
        report = fuse(net, QKV)
        assert types(net) == ["BatchMatMul", "MaskedSoftmax", "BatchMatMul", "Copy"]
        assert "'{}' is read by Copy".format(blob) in report.fused[0].notes[0]

    def test_heads_that_broadcast(self):
        net = attention_net([causal])
        net.Proto().op[0].arg.add(name="broadcast", i=1)
        report = fuse(net, dict(QKV, k=(B, 1, LK, D)))
        assert "are not [B, H, L, D] or [B, L, D]" in report.fused[0].notes[0]
        net = attention_net([causal])
        for op in (net.Proto().op[0], net.Proto().op[-1]):
            op.arg.add(name="broadcast", i=1)
        fuse(net, dict(QKV, k=(B, 1, LK, D), v=(B, 1, LK, DV)))
        assert types(net) == ["MaskedAttention"]

    def test_no_mask_and_no_shapes(self):
        report = fuse(attention_net())
        assert report.fused[0].notes == (
            "not into MaskedAttention: the shape of 'q' is not known",
        )
        assert report.missing == ["q", "k", "v"]

    def test_layers_one_behind_the_other(self):
        net = core.Net("net")
        blob = "x"
        for i in range(3):
            name = "_{}".format(i)
            scores = net.BatchMatMul([blob, blob], "s" + name, trans_b=1)
            masked = net.SequenceMask([scores], "s" + name, mode="upper", axis=3, batch=1)
            weights = net.Softmax(masked, "s" + name, axis=3)
            blob = net.BatchMatMul([weights, blob], "o" + name)
        report = fuse(net, {"x": (B, H, LQ, D)})
        assert types(net) == ["MaskedAttention"] * 3 and len(report.fused) == 3


class TestArguments(object):
    def test_no_net(self):
        with pytest.raises(TypeError, match="net must be a core.Net or a NetDef, but is str"):
            fuse("net.pb")
        with pytest.raises(TypeError, match="init must be a core.Net or a NetDef, but is dict"):
            fuse(softmax_net(), init={})

    def test_shape_of_no_blob(self):
        with pytest.raises(ValueError, match="shapes names 'scores', which is no blob"):
            fuse(softmax_net(), {"scores": (2, 3)})

    def test_net_that_could_not_run(self):
        net = caffe2_pb2.NetDef()
        net.op.add(type="Softmax", output=["y"])
        with pytest.raises(ValueError, match="Softmax of the net has 0 inputs, of which it"):
            fuse(net)

    def test_it_is_the_package_s(self):
        assert caffe2op_mask.fuse is fuse and "fuse" in caffe2op_mask.__all__


class Drawn(object):
    """A random net around a Softmax, its feeds, and blobs to compare.

    What it draws is often, and not always, what can be fused: axes, batches, lengths of every form
    that SequenceMask takes, fills that vanish and fills that do not, operators in any order.
    """

    def __init__(self, data, attention, trains=False):
        self.draw = data.draw
        self.trains = trains
        self.random = np.random.RandomState(self.draw(st.integers(0, 2 ** 32 - 1)))
        self.net = core.Net("net")
        self.feeds = {}
        self.fetched = []
        self.rank = self.draw(st.sampled_from([4, 3, 4, 3, 2]))
        lead = tuple(self.draw(st.integers(1, 3)) for _ in range(self.rank - 2))
        rows, columns = self.draw(st.integers(1, 5)), self.draw(st.integers(1, 6))
        self.shape = lead + (rows, columns)
        self.fill = self.draw(st.sampled_from([-INF, -1e9, -INF, -1e9, -INF, -1e9, -2.0]))
        if attention:
            q, k = self.feed("q", lead + (rows, 3)), self.feed("k", lead + (columns, 3))
            blob = self.net.BatchMatMul([q, k], "s", trans_b=1)
        else:
            blob = self.feed("x", self.shape)
        steps = [self.scale, self.bias, self.sequence_mask, self.sequence_mask, self.where]
        if trains:
            steps.remove(self.where)  # which has no gradient
        count = self.draw(st.integers(0 if attention else 1, 4))
        for i in range(count):
            blob = self.draw(st.sampled_from(steps))(str(blob), str(i))
            if self.seldom(10):
                self.fetched.append(self.net.Copy(blob, "copy_" + str(i)))
        axis = self.draw(st.sampled_from([-1, self.rank - 1, -1, 1]))
        blob = self.net.Softmax(blob, "p", axis=axis)
        if attention:
            blob = self.net.BatchMatMul([blob, self.feed("v", lead + (columns, 2))], "o")
            if self.seldom(10):
                self.fetched.append(self.net.Copy("p", "copy_p"))
        self.result = str(blob)
        self.fetched = [str(name) for name in self.fetched] + [self.result]
        for name in self.fetched:
            self.net.Proto().external_output.append(name)

    def seldom(self, times):
        """True once in so many times."""
        return self.draw(st.integers(1, times)) == times

    def feed(self, name, shape):
        self.feeds[name] = self.random.uniform(-2, 2, shape).astype("f")
        return name

    def output(self, blob, name):
        """A new blob, or the one that is read, if that is no input and no gradient reads it."""
        in_place = blob not in self.feeds and not self.trains and self.draw(st.booleans())
        return blob if in_place else name

    def scale(self, blob, i):
        output = self.output(blob, "scaled_" + i)
        number = self.draw(st.sampled_from([0.5, 2.0, 0.25]))
        op_type = self.draw(st.sampled_from(["Scale", "Mul", "Div"]))
        if op_type == "Scale":
            return self.net.Scale(blob, output, scale=number)
        constant = self.net.ConstantFill([], "number_" + i, shape=[1], value=number)
        return getattr(self.net, op_type)([blob, constant], output)

    def bias(self, blob, i):
        shape = [self.draw(st.sampled_from([size, size, 1])) for size in self.shape]
        name = self.feed("bias_" + i, shape[self.draw(st.integers(0, self.rank - 1)) :])
        if self.draw(st.booleans()) and not self.trains:
            array = self.feeds[name]
            low = self.draw(st.sampled_from([-INF, -1e9]))
            array[self.random.rand(*array.shape) < 0.3] = low
        return self.net.Add([blob, name], self.output(blob, "added_" + i))

    def index(self, name, shape):
        self.feeds[name] = self.random.randint(1 if self.trains else 0, 7, shape).astype("i")
        return name

    def sequence_mask(self, blob, i):
        modes = ["sequence", "window", "upper", "lower", "upperdiag", "sequence+upper"]
        mode = self.draw(st.sampled_from(modes[:3:2] if self.trains else modes))
        last = self.rank - 1
        axis = self.draw(st.integers(0, last)) if self.seldom(5) else last
        args = {"mode": mode, "axis": self.draw(st.sampled_from([axis, axis - self.rank]))}
        batch = self.draw(st.sampled_from([None] + list(range(axis))))
        if "upper" in mode and axis == last and not self.seldom(5):
            batch = last - 2 if self.rank > 2 else None
        if batch is not None:
            args["batch"] = self.draw(st.sampled_from([batch, batch - self.rank]))
        inputs = [blob]
        if "sequence" in mode or mode == "window":
            form = self.draw(st.sampled_from(["rows", "flat rows", "batch"]))
            shape = self.shape[0 if batch is None else batch + 1 : axis]
            if form == "flat rows":
                shape = (int(np.prod(shape)),)
            elif form == "batch":
                args["lengths_of"] = "batch"
                shape = self.shape[: self.draw(st.integers(0, axis))]
            inputs.append(self.index("index_" + i, shape))
        if mode == "window":
            args["radius"] = self.draw(st.integers(0, 2))
        if "upper" in mode:
            args["diagonal"] = self.draw(st.integers(0 if self.trains else -1, 1))
        if self.fill != -INF or self.draw(st.booleans()):
            args["fill_val"] = self.fill
        return self.net.SequenceMask(inputs, self.output(blob, "masked_" + i), **args)

    def where(self, blob, i):
        self.feeds["keep_" + i] = self.random.rand(*self.shape) < 0.7
        filler = self.net.ConstantFill([blob], "fill_" + i, value=self.fill)
        return self.net.Where(["keep_" + i, blob, filler], "where_" + i)  # never in place

    def known_shapes(self):
        """Those of all that is fed, or of nothing."""
        if self.seldom(6):
            return {}
        return named(self.net, {name: array.shape for name, array in self.feeds.items()})

    def results(self, names=None):
        fetch = run_net(self.net, self.feeds)
        return {name: np.array(fetch(name)) for name in names or self.fetched}

    def fuse(self):
        """Fuses; returns the Report."""
        return fuse(self.net, self.known_shapes())


def copy_of(net):
    proto = caffe2_pb2.NetDef()
    proto.CopyFrom(net.Proto())
    return core.Net(proto)


def gradients(net, feeds, result):
    """Those of the sum of a blob by what is fed, from a net that has none yet."""
    grads = net.AddGradientOperators([result])
    fetch = run_net(net, feeds)
    return {
        str(blob): np.array(fetch(grad)) for blob, grad in grads.items() if str(blob) in feeds
    }


def assert_equal(before, after, report):
    for name in before:
        np.testing.assert_allclose(
            after[name], before[name], rtol=1e-5, atol=1e-5, err_msg=str(report)
        )


many = settings(max_examples=max(200, settings.default.max_examples))


class TestResults(object):
    """Random nets run before and after, NaN of rows with nothing kept included."""

    @many
    @given(data=st.data())
    def test_softmax(self, data):
        drawn = Drawn(data, attention=False)
        before = drawn.results()
        report = drawn.fuse()
        assert_equal(before, drawn.results(), report)

    @many
    @given(data=st.data())
    def test_attention(self, data):
        drawn = Drawn(data, attention=True)
        before = drawn.results()
        report = drawn.fuse()
        assert_equal(before, drawn.results(), report)

    @pytest.mark.parametrize("attention", [False, True])
    @many
    @given(data=st.data())
    def test_gradients(self, attention, data):
        """Made after fusing and without fusing; every row keeps something, or all is NaN."""
        drawn = Drawn(data, attention, trains=True)
        assume(np.isfinite(drawn.results()[drawn.result]).all())
        plain = copy_of(drawn.net)
        report = drawn.fuse()
        grads = [gradients(net, drawn.feeds, drawn.result) for net in (plain, drawn.net)]
        assert sorted(grads[0]) == sorted(grads[1])
        assert_equal(grads[0], grads[1], report)

    @pytest.mark.parametrize("attention", [False, True])
    @many
    @given(data=st.data())
    def test_gradients_that_are_there(self, attention, data):
        """A net that trains already: its gradient operators read what they did."""
        drawn = Drawn(data, attention, trains=True)
        assume(np.isfinite(drawn.results()[drawn.result]).all())
        grads = drawn.net.AddGradientOperators([drawn.result])
        names = [str(grad) for blob, grad in grads.items() if str(blob) in drawn.feeds]
        before = drawn.results(names)
        drawn.net.Proto().external_output.extend(names)
        report = drawn.fuse()
        assert_equal(before, drawn.results(names), report)

    @pytest.mark.parametrize("fill", [-INF, -1e9, -1e4])
    @pytest.mark.parametrize("attention", [False, True])
    def test_rows_with_nothing_kept(self, fill, attention):
        lengths = np.array([[0, 2, 7, 0, 9]] * B, "i")
        masks = [mask_by("sequence", "n", lengths_of="batch", fill_val=fill)]
        net = attention_net(masks) if attention else softmax_net(masks)
        random = np.random.RandomState(1)
        feeds = {name: random.randn(*shape).astype("f") for name, shape in HEADS_3.items()}
        feeds = dict(feeds, x=random.randn(B, LQ, LK).astype("f"), n=lengths)
        result = "o" if attention else "y"
        plain = copy_of(net)
        report = fuse(net, dict(HEADS_3, n=(B, LQ)) if attention else {})
        assert report.fused[0].into == ("MaskedAttention" if attention else "MaskedSoftmax")
        before, after = (
            dict(gradients(one, feeds, result), result=np.array(run_net(one, feeds)(result)))
            for one in (plain, net)
        )
        assert np.isnan(before["result"][:, 0]).all() == (fill == -INF)
        assert len(before) == (4 if attention else 2)
        if attention and fill == -INF:
            # Stock spreads the NaN over the gradient of V; an empty row here has none.
            assert np.isnan(before.pop("v")).any() and np.isfinite(after["v"]).all()
        assert_equal(before, after, report)

    @given(data=st.data())
    def test_most_of_what_is_drawn_with_a_mask_is_fused(self, data):
        """A chain of the forms that users write, which must not be left alone."""
        fill = data.draw(st.sampled_from([-INF, -1e9]))
        masks = [
            scale_by("Scale", 0.5),
            data.draw(
                st.sampled_from(
                    [
                        mask_by("upper", axis=3, batch=1, fill_val=fill),
                        mask_by("sequence", "n", axis=3, fill_val=fill),
                        where(fill),
                    ]
                )
            ),
        ]
        net = softmax_net(masks, axis=data.draw(st.sampled_from([-1, 3])))
        random = np.random.RandomState(2)
        feeds = {
            "x": random.randn(*SCORES).astype("f"),
            "n": random.randint(0, LK + 1, (B, H, LQ)).astype("int64"),
            "keep": random.rand(*SCORES) < 0.5,
        }
        before = np.array(run_net(net, feeds)("y"))
        assert fuse(net, named(net, {"x": SCORES, "n": (B, H, LQ)})).fused
        assert "MaskedSoftmax" in types(net) and len(types(net)) == 1
        after = np.array(run_net(net, feeds)("y"))
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)
