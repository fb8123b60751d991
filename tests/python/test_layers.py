"""Layers: what they add to a model, what that gives, and that it learns."""

import numpy as np
import pytest
import torch
from caffe2.python import brew, cnn, core, model_helper, optimizer, scope, workspace

import caffe2op_mask
from caffe2op_mask import layers
from oracles.attending import masked_attention
from oracles.attending_gradients import masked_attention_gradient
from oracles.masking import ROW_INPUTS
from testers import fresh_process
from testers.arrays import wave
from testers.attention import assert_close, expected, expected_gradient, make_case
from testers.layers import feed, new_model, run, seeded, with_gradients
from testers.threads import one_thread  # noqa: F401  a fixture

NAN = np.nan


# Arguments and optional inputs of a layer, and the mode that it must give its operator.
MASKS = {
    "none": ({}, {}, ""),
    "causal": ({"mode": "upper"}, {}, "upper"),
    "lengths": ({}, {"lengths": np.array([3, 5], "int32")}, "sequence"),
    "named": ({"mode": "sequence"}, {"lengths": np.array([3, 5])}, "sequence"),
    "padded and causal": ({"mode": "upper"}, {"lengths": np.array([3, 5])}, "upper+sequence"),
    "centers": ({"radius": 1}, {"centers": np.array([4, 1])}, "window"),
    "left padded": ({}, {"left_pad": np.array([3, 0], "int32")}, "left_pad"),
    "left padded and causal": ({"mode": "upper"}, {"left_pad": np.array([2, 5])}, "upper+left_pad"),
    "both": (
        {"radius": 2},
        {"lengths": np.array([4, 0]), "centers": np.array([1, 2])},
        "sequence+window",
    ),
    "mask": ({}, {"mask": wave((2, 1, 6, 6), 1.3) > -0.3}, ""),
    "bias": ({"scale": 0.5}, {"bias": wave((4, 1, 6), 0.3)}, ""),
    "everything": (
        {"mode": "lower", "diagonal": -2, "window_right": 3, "empty_row": "uniform"},
        {
            "lengths": np.array([6, 4]),
            "centers": np.array([[0, 2, 3, 5], [5, 5, 5, 0]]),
            "left_pad": np.array([1, 0]),
            "mask": np.arange(6) != 2,
            "bias": wave((6, 6), 0.8),
        },
        "lower+sequence+window+left_pad",
    ),
}


class ScoreLayerTests(object):
    """Of layers that are an operator on scores: inherited with what they are called on."""

    layer = None
    op_type = None
    first = ()
    names = ()

    def add(self, model, extras, args):
        blobs = self.names if len(self.names) > 1 else self.names[0]
        named = {name: name for name in extras}
        return getattr(brew, self.layer)(model, blobs, "result", **dict(args, **named))

    @pytest.mark.parametrize("name", sorted(MASKS))
    def test_is_the_operator(self, name):
        """Results and gradients, in double, of what the layer makes of its arguments."""
        args, extras, mode = MASKS[name]
        case = make_case(self.first, dict(args, mode=mode), **extras)
        model = new_model()
        result = self.add(model, extras, args)
        learnt = list(self.names) + (["bias"] if "bias" in extras else [])
        grads = with_gradients(model, result, *learnt)
        (wanted, *_) = expected(self.op_type, case, "float64")
        d_result = wave(wanted.shape)
        run(model, result_d=d_result, **dict(zip(self.names, self.first), **extras))
        assert_close(workspace.FetchTorch("result"), wanted, "float64")
        wanted_grads = expected_gradient(self.op_type, case, d_result, "float64")
        assert len(wanted_grads) == len(learnt)
        for blob, wanted_grad in zip(learnt, (wanted_grads[i] for i in sorted(wanted_grads))):
            assert_close(workspace.FetchTorch(grads[blob]), wanted_grad, "float64")

    def test_names_its_result(self):
        model = new_model()
        assert str(self.add(model, {}, {})) == "result"
        blobs = self.names if len(self.names) > 1 else self.names[0]
        unnamed = [getattr(brew, self.layer)(model, blobs) for _ in range(2)]
        assert len({str(blob) for blob in unnamed}) == 2

    def test_options_of_an_operator(self):
        model = new_model()
        device = core.DeviceOption(0, random_seed=7)
        self.add(model, {}, {"name": "here", "device_option": device})
        (op,) = model.net.Proto().op
        assert (op.name, op.device_option.random_seed) == ("here", 7)

    @pytest.mark.parametrize("part, missing", ROW_INPUTS)
    def test_refuses_a_mode_without_its_input(self, part, missing):
        message = "^{}: mode {} needs {}.$".format(self.layer, part, missing)
        with pytest.raises(ValueError, match=message):
            self.add(new_model(), {}, {"mode": "upper+" + part})

    @pytest.mark.parametrize("mode", [5, b"upper", ["upper"]], ids=str)
    def test_refuses_a_mode_that_is_no_string(self, mode):
        with pytest.raises(TypeError) as raised:
            self.add(new_model(), {}, {"mode": mode})
        message = "{}: mode must be a string, but is {!r}.".format(self.layer, mode)
        assert str(raised.value) == message

    def test_an_argument_that_is_none_is_not_given(self):
        models = new_model(), new_model()
        for model, nothing in zip(models, ({}, {"mode": None, "radius": None, "has_mask": None})):
            self.add(model, {"lengths": 0}, nothing)
        assert models[0].net.Proto().op == models[1].net.Proto().op

    @pytest.mark.parametrize("tells", ["mask", "bias"])
    def test_refuses_an_argument_that_an_input_tells(self, tells):
        message = "^{0}: has_{1} must not be given, since {1} tells it, but is 1.$"
        with pytest.raises(TypeError, match=message.format(self.layer, tells)):
            self.add(new_model(), {}, {"has_" + tells: 1})

    def test_refuses_an_unknown_argument(self):
        with pytest.raises(TypeError, match="^{} has no argument width; it ".format(self.op_type)):
            self.add(new_model(), {}, {"width": 3})

    @pytest.mark.parametrize("helper", [model_helper.ModelHelper, cnn.CNNModelHelper])
    def test_drops_what_a_model_tells_every_layer(self, helper):
        model = helper(name="model")
        model.arg_scope["width"] = 3
        self.add(model, {}, {"mode": "upper"})
        (op,) = model.net.Proto().op
        assert {arg.name for arg in op.arg} == {"mode", "has_mask", "has_bias"}

    def test_arg_scope(self):
        model = new_model()
        with brew.arg_scope([getattr(brew, self.layer)], mode="upper"):
            self.add(model, {}, {})
        (op,) = model.net.Proto().op
        assert [arg.s for arg in op.arg if arg.name == "mode"] == [b"upper"]


class TestMaskedSoftmax(ScoreLayerTests):
    layer = "masked_softmax"
    op_type = "MaskedSoftmax"
    first = [2 * wave((2, 4, 6, 6), 0.9)]
    names = ["scores"]


class TestMaskedAttention(ScoreLayerTests):
    layer = "masked_attention"
    op_type = "MaskedAttention"
    first = [wave((2, 4, 6, 3), 0.7), wave((2, 2, 6, 3), 1.1), wave((2, 2, 6, 5), 1.7)]
    names = ["q", "k", "v"]

    @pytest.mark.parametrize("others", [[], ["bias"], ["lengths", "mask", "bias"]], ids=str)
    def test_sinks(self, others):
        """Results and gradients, in double, beside all the other inputs."""
        extras = {"lengths": np.array([6, 4]), "mask": np.arange(6) != 2, "bias": wave((6, 6))}
        extras = dict({name: extras[name] for name in others}, sinks=wave((4,)))
        mode = "sequence" if "lengths" in others else ""
        case = make_case(self.first, {"mode": mode}, **extras)
        model = new_model()
        result = self.add(model, extras, {})
        learnt = self.names + [name for name in ("bias", "sinks") if name in extras]
        grads = with_gradients(model, result, *learnt)
        wanted, _ = expected(self.op_type, case, "float64")
        d_result = wave(wanted.shape)
        run(model, result_d=d_result, **dict(zip(self.names, self.first), **extras))
        assert_close(workspace.FetchTorch("result"), wanted, "float64")
        wanted_grads = expected_gradient(self.op_type, case, d_result, "float64")
        for blob, i in zip(learnt, sorted(wanted_grads)):
            assert_close(workspace.FetchTorch(grads[blob]), wanted_grads[i], "float64")

    def test_refuses_has_sinks(self):
        message = "^masked_attention: has_sinks must not be given, since sinks tells it, but is 1.$"
        with pytest.raises(TypeError, match=message):
            self.add(new_model(), {}, {"has_sinks": 1})

    @pytest.mark.parametrize(
        "blobs, came", [("q", "1 blob"), (["q", "k"], "2 blobs"), ([], "0 blobs")]
    )
    def test_refuses_other_than_three_blobs(self, blobs, came):
        message = r"^masked_attention: blob_in must be \[Q, K, V\], but is {}.$".format(came)
        with pytest.raises(ValueError, match=message):
            brew.masked_attention(new_model(), blobs, "out")

    def test_a_saved_net_can_decode(self):
        """What of the operator only attention has, and the blob of its logarithms."""
        model = new_model()
        self.add(model, {"lengths": 0}, {"mode": "upper", "align": "bottom_right", "softcap": 2.0})
        lengths = np.array([6, 4])
        first = [self.first[0][:, :, -1:]] + self.first[1:]
        args = {"mode": "upper+sequence", "align": "bottom_right", "softcap": 2.0}
        run(model, lengths=lengths, **dict(zip(self.names, first)))
        wanted = masked_attention(*(first + [lengths]), **args)
        assert_close(workspace.FetchTorch("result"), wanted[0], "float64")
        assert_close(workspace.FetchTorch("result_lse"), wanted[1], "float64")


def torch_heads(params, name, blob, count):
    """A projection by the parameters of a layer, split into heads."""
    projected = torch.nn.functional.linear(blob, params[name + "_w"], params[name + "_b"])
    return projected.reshape(blob.shape[0], blob.shape[1], count, -1).transpose(1, 2)


def torch_multi_head(params, query, key_value, heads, kv_heads, keep):
    """multi_head_attention, by torch's products, masked_fill and softmax."""
    q = torch_heads(params, "out_q", query, heads)
    k, v = (
        torch_heads(params, name, key_value, kv_heads).repeat_interleave(heads // kv_heads, 1)
        for name in ("out_k", "out_v")
    )
    scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~keep, -np.inf)
    joined = (torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2)
    return torch.nn.functional.linear(joined, params["out_w"], params["out_b"])


class TestMultiHeadAttention(object):
    @pytest.mark.parametrize(
        "cross, options",
        [
            (False, dict(num_heads=4)),
            (False, dict(num_heads=4, num_kv_heads=2, dim_out=5)),
            (False, dict(num_heads=3, num_kv_heads=1, head_dim=2)),
            (True, dict(num_heads=2, dim_kv=6)),
            (True, dict(num_heads=4, num_kv_heads=1, head_dim=5, dim_kv=3, dim_out=7)),
        ],
        ids=["self", "grouped", "a head's size", "cross", "cross and grouped"],
    )
    @pytest.mark.parametrize("mask", ["padded", "padded and causal", "mask"])
    def test_is_torchs(self, cross, options, mask):
        """Results and gradients, to inputs and parameters, against torch in double."""
        lengths, dim_in, rows = np.array([4, 7, 1], "int32"), 8, 5 if cross else 7
        blobs = {"x": wave((3, rows, dim_in), 0.37).astype("float32")}
        extras, mode = {"lengths": lengths}, ""
        keep = np.arange(7) < lengths[:, None, None, None]
        if mask == "padded and causal":
            mode, keep = "upper", keep & np.tri(rows, 7, dtype=bool)
        elif mask == "mask":
            keep = (wave((3, 1, rows, 7), 1.3) > -0.4) | (np.arange(7) == 2)
            extras = {"mask": keep}
        if cross:
            blobs["y"] = wave((3, 7, options["dim_kv"]), 0.73).astype("float32")
        blob_in = ["x", "y"] if cross else "x"

        model = new_model()
        named = {name: name for name in extras}
        bias_init = ("GaussianFill", {"std": 0.5})
        out = brew.multi_head_attention(
            model, blob_in, "out", dim_in, mode=mode, bias_init=bias_init, **dict(options, **named)
        )
        parameters = [str(param) for param in model.params]
        grads = with_gradients(model, out, *(sorted(blobs) + parameters))
        dim_out = options.get("dim_out", dim_in)
        d_out = wave((3, rows, dim_out), 0.51).astype("float32")
        run(model, out_d=d_out, **dict(blobs, **extras))

        leaves = {
            name: torch.tensor(workspace.FetchBlob(name).astype("float64"), requires_grad=True)
            for name in list(blobs) + parameters
        }
        assert len(parameters) == 8 and all((leaf != 0).any() for leaf in leaves.values())
        heads = options["num_heads"]
        wanted = torch_multi_head(
            leaves,
            leaves["x"],
            leaves["y" if cross else "x"],
            heads,
            options.get("num_kv_heads", heads),
            torch.tensor(keep),
        )
        wanted.backward(torch.tensor(d_out.astype("float64")))
        assert wanted.shape == (3, rows, dim_out)
        assert_close(workspace.FetchTorch("out"), wanted.detach().numpy())
        for name, leaf in leaves.items():
            assert_close(workspace.FetchTorch(grads[name]), leaf.grad.numpy(), ulps=128)

    def test_heads_are_blobs(self):
        model = new_model()
        brew.multi_head_attention(model, "x", "out", 6, 3, num_kv_heads=1, mode="upper")
        run(model, x=wave((2, 4, 6)).astype("float32"))
        heads = [workspace.FetchBlob("out_" + name) for name in ("queries", "keys", "values")]
        assert [head.shape for head in heads] == [(2, 3, 4, 2), (2, 1, 4, 2), (2, 1, 4, 2)]
        x, w = workspace.FetchBlob("x"), workspace.FetchBlob("out_q_w")
        np.testing.assert_allclose(heads[0][:, 1], x @ w[2:4].T, atol=1e-6)
        wanted, lse = masked_attention(*heads, mode="upper")
        assert_close(workspace.FetchTorch("out_attended"), wanted)
        assert_close(workspace.FetchTorch("out_attended_lse"), lse)

    def test_sinks(self):
        """One parameter for each head, 0 at first, through which a head learns to look away."""
        model = new_model()
        out = brew.multi_head_attention(
            model, "x", "out", 6, 3, num_kv_heads=1, mode="upper", sinks=True
        )
        names = [str(param) for param in model.params]
        assert len(names) == 9 and "out_sinks" in names
        grads = with_gradients(model, out, "out_sinks")
        x, d_out = (wave((2, 4, 6), step).astype("float32") for step in (0.7, 0.3))
        run(model, x=x, out_d=d_out)
        np.testing.assert_array_equal(workspace.FetchBlob("out_sinks"), np.zeros(3, "float32"))
        heads = [workspace.FetchBlob("out_" + name) for name in ("queries", "keys", "values")]
        args = {"mode": "upper", "has_sinks": 1}
        wanted, lse = masked_attention(*(heads + [np.zeros(3)]), **args)
        assert_close(workspace.FetchTorch("out_attended"), wanted)
        assert_close(workspace.FetchTorch("out_attended_lse"), lse)
        d_attended = (d_out @ workspace.FetchBlob("out_w")).reshape(2, 4, 3, 2).swapaxes(1, 2)
        wanted = masked_attention_gradient(d_attended, *(heads + [np.zeros(3)]), **args)
        assert_close(workspace.FetchTorch(grads["out_sinks"]), wanted[3])

    @pytest.mark.parametrize("padding", [NAN, 50.0])
    def test_padding_has_no_part_in_it(self, padding):
        """A sentence gives the same alone as in a padded batch, and so do gradients.

        Only those of a finite padding: where it is a query, it is not masked but left out later,
        and the gradient that then comes, 0, makes NaN of NaN.
        """
        x = wave((2, 6, 8), 0.3).astype("float32")
        padded = x.copy()
        padded[0, 4:] = padding
        results = []
        for batch, lengths in ((x[:1, :4], [4]), (padded, [4, 6])):
            workspace.ResetWorkspace()
            model = new_model()
            rows = brew.multi_head_attention(model, "x", "out", 8, 2, lengths="lengths")
            out = brew.masked_mean(model, rows, "mean", lengths="lengths")
            grads = with_gradients(model, out, "x")
            d_mean = np.ones((len(batch), 8), "float32")
            run(model, x=batch, lengths=np.array(lengths, "int32"), mean_d=d_mean)
            results.append((workspace.FetchBlob("mean")[0], workspace.FetchBlob(grads["x"])[0, :4]))
        (alone, d_alone), (in_batch, d_in_batch) = results
        np.testing.assert_allclose(in_batch, alone, rtol=1e-5, atol=1e-6)
        if not np.isnan(padding):
            np.testing.assert_allclose(d_in_batch, d_alone, rtol=1e-5, atol=1e-6)

    def test_padding_at_the_beginning_has_no_part_in_it(self):
        """A causal decoder gives a sentence the same alone as in a batch that is padded left."""
        x = wave((2, 6, 8), 0.3).astype("float32")
        results = []
        for batch, left_pad in ((x[:1, 2:], [0]), (x, [2, 0])):
            workspace.ResetWorkspace()
            model = new_model()
            rows = brew.multi_head_attention(
                model, "x", "out", 8, 2, mode="upper", left_pad="left_pad"
            )
            out = brew.masked_mean(model, rows, "mean", mask="words")
            grads = with_gradients(model, out, "x")
            words = np.arange(batch.shape[1]) >= np.array(left_pad)[:, None]
            d_mean = np.ones((len(batch), 8), "float32")
            run(model, x=batch, left_pad=np.array(left_pad), words=words, mean_d=d_mean)
            grad = workspace.FetchBlob(grads["x"])
            results.append((workspace.FetchBlob("mean")[0], grad[0, -4:]))
            assert not grad[~words].any()
        (alone, d_alone), (in_batch, d_in_batch) = results
        np.testing.assert_allclose(in_batch, alone, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(d_in_batch, d_alone, rtol=1e-5, atol=1e-6)

    def test_scopes(self):
        """Two layers of the same name in two scopes share nothing."""
        model = new_model()
        for name in ("first", "second"):
            with scope.NameScope(name):
                brew.multi_head_attention(model, "x", "out", 4, 2)
        names = [str(param) for param in model.params]
        assert len(set(names)) == 16
        assert {name.split("/")[0] for name in names} == {"first", "second"}
        x = wave((1, 3, 4)).astype("float32")
        run(model, **{"first/x": x, "second/x": x})
        outs = [workspace.FetchBlob(name + "/out") for name in ("first", "second")]
        assert outs[0].shape == outs[1].shape == (1, 3, 4)
        assert not np.allclose(outs[0], outs[1])

    def test_takes_parameters_that_are_there(self):
        """As a model for prediction does, with ``init_params=False``."""
        train, predict = new_model(), new_model(init_params=False)
        for model in (train, predict):
            brew.multi_head_attention(model, "x", "out", 4, 2, mode="upper")
        assert not predict.param_init_net.Proto().op
        run(train, x=wave((2, 3, 4)).astype("float32"))
        out = workspace.FetchBlob("out")
        workspace.RunNetOnce(predict.net)
        np.testing.assert_array_equal(workspace.FetchBlob("out"), out)

    def test_initializers(self):
        model = new_model()
        ones = ("ConstantFill", {"value": 1.0})
        brew.multi_head_attention(model, "x", "out", 4, 2, weight_init=ones, bias_init=ones)
        with brew.arg_scope([brew.fc], weight_init=ones, bias_init=ones):
            brew.multi_head_attention(model, "x", "other", 4, 2)
        run(model, x=wave((1, 3, 4)).astype("float32"))
        assert len(model.params) == 16
        for param in model.params:
            assert (workspace.FetchBlob(str(param)) == 1).all(), param

    @pytest.mark.parametrize(
        "blobs, dims, options, message",
        [
            ("x", (8, 3), {}, "dim_in must be a multiple of num_heads where no head_dim is given, "
                              "but they are 8 and 3"),
            ("x", (8, 4), {"num_kv_heads": 3},
             "num_heads must be a multiple of num_kv_heads, but they are 4 and 3"),
            ("x", (8, 0), {}, "num_heads must be positive, but is 0"),
            ("x", (0, 2), {}, "dim_in must be positive, but is 0"),
            ("x", (8, 2), {"num_kv_heads": 0}, "num_kv_heads must be positive, but is 0"),
            ("x", (8, 2), {"head_dim": -1}, "head_dim must be positive, but is -1"),
            ("x", (8, 2), {"dim_kv": 0}, "dim_kv must be positive, but is 0"),
            ("x", (8, 2), {"dim_out": 0}, "dim_out must be positive, but is 0"),
            (["x", "y", "z"], (8, 2), {},
             r"blob_in must be one blob or \[query, key_value\], but is 3 blobs"),
        ],
    )
    def test_errors(self, blobs, dims, options, message):
        model = new_model()
        with pytest.raises(ValueError, match="^multi_head_attention: {}.$".format(message)):
            brew.multi_head_attention(model, blobs, "out", *dims, **options)
        assert not model.net.Proto().op and not model.params


# Layers, and all sizes that they take.
SIZES = {
    "adaptive_attention": dict(dim_in=4, num_heads=2, num_tasks=3),
    "dynamic_mask": dict(dim_in=4, dim_context=4, dim_hidden=3),
    "gated_feed_forward": dict(dim_in=4, dim_hidden=3, dim_out=2),
    "highway": dict(dim_in=4),
    "learnable_gate": dict(dim_in=4, dim_context=4),
    "mixture_of_experts": dict(dim_in=4, dim_out=2, num_experts=3, dim_context=4, top_k=2),
    "multi_head_attention": dict(
        dim_in=4, num_heads=4, num_kv_heads=2, head_dim=3, dim_kv=4, dim_out=2
    ),
    "multi_head_attention_jagged": dict(
        dim_in=4, num_heads=4, num_kv_heads=2, head_dim=3, dim_kv=4, dim_out=2
    ),
    "residual": dict(dim_in=4, dim_out=2),
    "skip": dict(dim_in=4, dim_out=2),
    "task_gate": dict(dim_in=4, num_tasks=3),
}
OTHERS = {
    "multi_head_attention_jagged": {"lengths": "lengths"},
    "residual": {"layer": "fc"},
    "skip": {"layer": "fc"},
}


class TestSizes(object):
    """What is no integer would reach an operator as a shape, and end the process there."""

    def add(self, layer, **sizes):
        model = new_model()
        arguments = dict(SIZES[layer], **OTHERS.get(layer, {}))
        getattr(brew, layer)(model, "x", "y", **dict(arguments, **sizes))
        return [model.param_init_net.Proto().op, model.net.Proto().op]

    @pytest.mark.parametrize("size", [2.0, "2", np.float32(4), (2, 2, 2)], ids=repr)
    @pytest.mark.parametrize(
        "layer, name", [(layer, name) for layer in sorted(SIZES) for name in SIZES[layer]]
    )
    def test_must_be_integers(self, layer, name, size):
        message = "{}: {} must be an integer, but is {!r}.".format(layer, name, size)
        error = TypeError
        if name == "dim_hidden" and layer == "gated_feed_forward" and isinstance(size, tuple):
            error, wanted = ValueError, "dim_hidden must be a width or a pair of widths"
            message = "{}: {}, but is (2, 2, 2).".format(layer, wanted)
        with pytest.raises(error) as raised:
            self.add(layer, **{name: size})
        assert str(raised.value) == message

    @pytest.mark.parametrize("layer", sorted(SIZES))
    @pytest.mark.parametrize("integer", [np.int32, np.uint8, np.array])
    def test_may_be_numpys(self, layer, integer):
        sizes = {name: integer(size) for name, size in SIZES[layer].items()}
        assert self.add(layer, **sizes) == self.add(layer)

    @pytest.mark.parametrize("widths", [(3.0, 2), (3, 2.0), ("3", 2)], ids=str)
    def test_of_a_pair_both(self, widths):
        (wrong,) = [width for width in widths if not isinstance(width, int)]
        message = "^gated_feed_forward: dim_hidden must be an integer, but is {!r}.$".format(wrong)
        with pytest.raises(TypeError, match=message):
            self.add("gated_feed_forward", dim_hidden=widths)

    @pytest.mark.parametrize("layer", ["residual", "skip"])
    def test_of_a_layer_in_a_layer(self, layer):
        message = "^{}: dim_in must be positive, but is 0.$".format(layer)
        with pytest.raises(ValueError, match=message):
            self.add(layer, dim_in=0)


def masked_mean(x, keep):
    """The mean over axis 1 of what is kept, one entry at a time."""
    mean = np.zeros((x.shape[0],) + x.shape[2:])
    for b, row in enumerate(keep):
        chosen = [x[b, j].astype("float64") for j in range(len(row)) if row[j]]
        if chosen:
            mean[b] = sum(chosen) / len(chosen)
    return mean


LENGTHS = [3, 0, 9, -2, 5, 1]
KEEP = wave((6, 5), 2.3) > 0.1
KEEP[4] = False


class TestMaskedMean(object):
    @pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4), (6, 5, 2, 3)], ids=str)
    @pytest.mark.parametrize("index", ["int32", "int64"])
    @pytest.mark.parametrize(
        "lengths, mask",
        [(LENGTHS, None), (None, KEEP), (LENGTHS, KEEP)],
        ids=["lengths", "mask", "both"],
    )
    def test_mean_and_gradient(self, shape, index, lengths, mask):
        keep = np.ones((6, 5), bool) if mask is None else mask
        extras = {} if mask is None else {"mask": mask}
        if lengths is not None:
            keep = keep & (np.arange(5) < np.array(lengths)[:, None])
            extras["lengths"] = np.array(lengths, index)
        clean = wave(shape, 0.7).astype("float32")
        rows = keep.reshape(keep.shape + (1,) * (len(shape) - 2))
        x = np.where(rows, clean, np.float32(NAN))  # what is masked has no part in it

        model = new_model()
        mean = brew.masked_mean(model, "x", "mean", **{name: name for name in extras})
        grads = with_gradients(model, mean, "x")
        d_mean = wave(shape[:1] + shape[2:], 1.9).astype("float32")
        run(model, x=x, mean_d=d_mean, **extras)

        assert_close(workspace.FetchTorch("mean"), masked_mean(clean, keep), ulps=8)
        assert (workspace.FetchBlob("mean")[~keep.any(1)] == 0).all()
        counts = np.maximum(keep.sum(1), 1).reshape((6,) + (1,) * (len(shape) - 1))
        wanted = np.where(rows, d_mean[:, None] / counts, 0.0)
        assert_close(workspace.FetchTorch(grads["x"]), wanted, ulps=8)
        assert (workspace.FetchBlob(grads["x"])[~keep] == 0).all()

    @pytest.mark.parametrize("shape", [(0, 5, 4), (3, 0, 4), (3, 5, 0)], ids=str)
    def test_empty(self, shape):
        model = new_model()
        brew.masked_mean(model, "x", "mean", lengths="lengths")
        run(model, x=np.zeros(shape, "float32"), lengths=np.full(shape[0], 2, "int32"))
        mean = workspace.FetchBlob("mean")
        assert mean.shape == (shape[0], shape[2]) and not mean.any()

    def test_a_kept_nan_is_not_lost(self):
        model = new_model()
        brew.masked_mean(model, "x", "mean", lengths="lengths")
        x = np.ones((2, 3), "float32")
        x[0, 1] = NAN
        run(model, x=x, lengths=np.array([2, 2], "int32"))
        np.testing.assert_array_equal(workspace.FetchBlob("mean"), [NAN, 1])

    def test_where_stock_operators_are_preferred(self):
        source = """
            import caffe2op_mask
            import numpy as np
            from caffe2.python import brew, model_helper, workspace

            model = model_helper.ModelHelper("model")
            mean = brew.masked_mean(model, "x", "mean", lengths="lengths")
            model.AddGradientOperators([mean])
            workspace.FeedBlob("x", np.arange(6, dtype=np.float32).reshape(2, 3))
            workspace.FeedBlob("lengths", np.array([2, 3], dtype=np.int32))
            workspace.RunNetOnce(model.net)
            print(workspace.FetchBlob("mean").tolist(), workspace.FetchBlob("x_grad").tolist())
        """
        printed = fresh_process.output(source, CAFFE2OP_MASK_OVERRIDE="0")
        third = float(np.float32(1 / 3))
        assert printed == "[0.5, 4.0] [[0.5, 0.5, 0.0], {}]\n".format([third] * 3)

    def test_needs_lengths_or_a_mask(self):
        message = "^masked_mean: lengths, a mask, or both must be given.$"
        with pytest.raises(ValueError, match=message):
            brew.masked_mean(new_model(), "x", "mean")


@pytest.mark.parametrize("build", [optimizer.build_adam, optimizer.build_sgd])
def test_a_model_of_layers_learns(build):
    """Which of two marks the words of a sentence have more of: padding is full of them, too."""
    random = np.random.RandomState(0)
    marks, lengths = random.randint(2, size=(64, 9)), 2 * random.randint(5, size=64) + 1
    kept = np.arange(9) < lengths[:, None]
    labels = ((marks * kept).sum(1) > lengths / 2).astype("int32")
    words = np.eye(2, dtype="float32")[marks] + 0.1 * random.randn(64, 9, 2).astype("float32")

    model = new_model()
    hidden = brew.fc(model, "words", "hidden", 2, 8, axis=2)
    attended = brew.multi_head_attention(model, hidden, "attended", 8, 2, lengths="lengths")
    mean = brew.masked_mean(model, attended, "mean", lengths="lengths")
    # The layers in their other forms, as one more thing that is learnt through.
    scores, _ = model.net.Reshape(brew.fc(model, hidden, "scores", 8, 1, axis=2),
                                  ["scores_by_place", "scores_shape"], shape=[0, 1, -1])
    weights = brew.masked_softmax(model, scores, "weights", lengths="lengths")
    pooled, _ = model.net.Reshape(model.net.BatchMatMul([weights, hidden], "weighted"),
                                  ["pooled", "weighted_shape"], shape=[0, -1])
    logits = brew.fc(model, model.net.Add([mean, pooled], "both"), "logits", 8, 2)
    _, loss = model.net.SoftmaxWithLoss([logits, "labels"], ["probabilities", "loss"])
    model.AddGradientOperators([loss])
    build(model, 0.02 if build is optimizer.build_adam else 0.2, policy="fixed")

    feed(words=words, lengths=lengths.astype("int32"), labels=labels)
    workspace.RunNetOnce(seeded(model).param_init_net)
    before = {str(param): workspace.FetchBlob(str(param)) for param in model.params}
    workspace.CreateNet(model.net)
    losses = []
    for _ in range(150):
        workspace.RunNet(model.net)
        losses.append(float(workspace.FetchBlob("loss")))
    assert losses[-1] < 0.25 * losses[0], losses[::10]
    answers = workspace.FetchBlob("probabilities").argmax(1)
    assert (answers == labels).mean() > 0.95
    # The bias of keys moves all scores of a row alike, which a softmax does not see.
    same = [n for n, old in before.items() if np.allclose(workspace.FetchBlob(n), old, atol=1e-4)]
    assert set(same) <= {"attended_k_b", "scores_b"}


class TestRegistration(object):
    def test_every_layer_is_a_helper_of_brew(self):
        assert [layer.__name__ for layer in layers.LAYERS] == [
            "adaptive_attention",
            "dynamic_mask",
            "dynamic_mask_loss",
            "gated_feed_forward",
            "highway",
            "learnable_gate",
            "masked_attention",
            "masked_attention_jagged",
            "masked_mean",
            "masked_softmax",
            "mixture_of_experts",
            "multi_head_attention",
            "multi_head_attention_jagged",
            "residual",
            "skip",
            "task_gate",
        ]
        for layer in layers.LAYERS:
            assert brew.has_helper(layer)
            assert getattr(layers, layer.__name__) is layer
            assert layer.__name__ in layers.__all__
            assert layer.__doc__ and "Returns blob_out" in " ".join(layer.__doc__.split())

    def test_a_layer_is_a_function(self):
        by_brew, by_name = new_model(), new_model()
        brew.masked_softmax(by_brew, "x", "y", lengths="lengths")
        caffe2op_mask.layers.masked_softmax(by_name, "x", "y", lengths="lengths")
        assert by_brew.net.Proto().op == by_name.net.Proto().op

    def test_another_s_helper_stays(self):
        source = """
            import warnings
            from caffe2.python import brew

            def masked_mean(model):
                return "theirs"

            brew.Register(masked_mean)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                import caffe2op_mask
            print(*[w.message for w in caught if "brew" in str(w.message)])
            from caffe2.python import model_helper
            print(brew.masked_mean(model_helper.ModelHelper("model")))
            print(brew.has_helper("masked_softmax"), caffe2op_mask.layers.masked_mean.__module__)
        """
        assert fresh_process.output(source).splitlines() == [
            "brew has a helper masked_mean already; this library's is "
            "caffe2op_mask.layers.masked_mean.",
            "theirs",
            "True caffe2op_mask.layers.pooling",
        ]
