"""Layers that attend in sequences without padding: the same as those of padded batches."""

import numpy as np
import pytest
from caffe2.python import brew, optimizer, scope, workspace

from testers.arrays import wave
from testers.attention import assert_close, expected, expected_gradient, make_jagged
from testers.layers import feed, new_model, run, seeded, with_gradients
from testers.threads import one_thread  # noqa: F401  a fixture

OP = "MaskedAttentionJagged"
LENGTHS = np.array([4, 0, 7, 1], "int32")
KEY_LENGTHS = np.array([5, 2, 7, 3], "int32")
LONGEST = 7


def kept(lengths):
    return np.arange(LONGEST) < lengths[:, None]


class TestMaskedAttentionJagged(object):
    @pytest.mark.parametrize("with_sinks", [False, True])
    @pytest.mark.parametrize(
        "args, key_lengths, used_keys",
        [
            ({}, None, None),
            ({"mode": "upper", "window_left": 2, "softcap": 2.0}, None, None),
            ({"mode": "upper", "align": "bottom_right"}, KEY_LENGTHS, None),
            ({"scale": 0.5}, KEY_LENGTHS, KEY_LENGTHS - 1),
            ({"empty_row": "uniform"}, None, LENGTHS // 2),
        ],
        ids=["self", "causal window", "cross", "used keys", "used keys of self"],
    )
    def test_is_the_operator(self, args, key_lengths, used_keys, with_sinks):
        """Results and gradients, in double, of what the layer makes of its arguments."""
        queries, keys = LENGTHS.sum(), (LENGTHS if key_lengths is None else key_lengths).sum()
        first = [wave((queries, 4, 3), 0.7), wave((keys, 2, 3), 1.1), wave((keys, 2, 5), 1.7)]
        optional = {
            "key_lengths": key_lengths,
            "used_keys": used_keys,
            "sinks": wave((4,)) if with_sinks else None,
        }
        optional = {name: array for name, array in optional.items() if array is not None}
        case = make_jagged(first, LENGTHS, args, **optional)
        named = {name: name for name in optional}
        model = new_model()
        out = brew.masked_attention_jagged(
            model, ["q", "k", "v"], "out", lengths="lengths", **dict(args, **named)
        )
        learnt = ["q", "k", "v"] + ["sinks"] * with_sinks
        grads = with_gradients(model, out, *learnt)
        wanted, lse = expected(OP, case, "float64")
        d_out = wave(wanted.shape)
        run(model, out_d=d_out, lengths=LENGTHS, **dict(zip("qkv", first), **optional))
        assert_close(workspace.FetchTorch("out"), wanted, "float64")
        assert_close(workspace.FetchTorch("out_lse"), lse, "float64")
        wanted_grads = expected_gradient(OP, case, d_out, "float64")
        for blob, i in zip(learnt, sorted(wanted_grads)):
            assert_close(workspace.FetchTorch(grads[blob]), wanted_grads[i], "float64")

    def test_names_its_result(self):
        model = new_model()
        blobs = [
            brew.masked_attention_jagged(model, ["q", "k", "v"], name, lengths="n")
            for name in ("out", None, None)
        ]
        assert str(blobs[0]) == "out" and len({str(blob) for blob in blobs}) == 3

    def test_an_argument_that_is_none_is_not_given(self):
        models = new_model(), new_model()
        for model, nothing in zip(models, ({}, {"mode": None, "has_sinks": None})):
            brew.masked_attention_jagged(model, ["q", "k", "v"], "out", lengths="n", **nothing)
        assert models[0].net.Proto().op == models[1].net.Proto().op

    @pytest.mark.parametrize(
        "blobs, options, error, message",
        [
            ("q", {}, ValueError, "blob_in must be [Q, K, V], but is 1 blob."),
            (["q", "k", "v"], {"lengths": None}, ValueError, "lengths must be given."),
            (["q", "k", "v"], {"mode": 5}, TypeError, "mode must be a string, but is 5."),
        ]
        + [
            (["q", "k", "v"], {"has_" + name: 1}, TypeError,
             "has_{0} must not be given, since {0} tells it, but is 1.".format(name))
            for name in ("key_lengths", "used_keys", "sinks")
        ],
    )
    def test_errors(self, blobs, options, error, message):
        model = new_model()
        with pytest.raises(error) as raised:
            brew.masked_attention_jagged(model, blobs, "out", **dict({"lengths": "n"}, **options))
        assert str(raised.value) == "masked_attention_jagged: " + message
        assert not model.net.Proto().op

    def test_refuses_an_unknown_argument(self):
        with pytest.raises(TypeError, match="^{} has no argument radius; it ".format(OP)):
            brew.masked_attention_jagged(new_model(), ["q"] * 3, "out", lengths="n", radius=3)

    def test_a_mode_that_reads_an_input_is_the_operator_s_to_refuse(self):
        model = new_model()
        brew.masked_attention_jagged(model, ["q"] * 3, "out", lengths="n", mode="sequence")
        with pytest.raises(RuntimeError, match="but 'sequence' reads lengths"):
            run(model, q=wave((3, 1, 2)), n=np.array([3]))


SELF = dict(num_heads=4)
CROSS = dict(num_heads=4, num_kv_heads=2, head_dim=3, dim_kv=6, dim_out=5)
NORMAL = ("GaussianFill", {"std": 0.5})


def batch(cross):
    """Padded blobs by name, all of them finite."""
    blobs = {"x": wave((4, LONGEST, 8), 0.37).astype("float32")}
    if cross:
        blobs["y"] = wave((4, LONGEST, 6), 0.73).astype("float32")
    return blobs


def results(layer, blobs, d_out, options, **extras):
    """What a layer computes, the gradients to its inputs and its parameters, and these."""
    workspace.ResetWorkspace()
    model = new_model()
    blob_in = sorted(blobs) if len(blobs) > 1 else "x"
    out = layer(
        model,
        blob_in,
        "out",
        8,
        bias_init=NORMAL,
        **dict(options, **{name: name for name in extras})
    )
    params = [str(param) for param in model.params]
    grads = with_gradients(model, out, *(sorted(blobs) + params))
    run(model, out_d=d_out, **dict(blobs, **extras))
    fetched = {name: workspace.FetchBlob(grads[name]) for name in grads}
    return (
        {name: workspace.FetchBlob(name) for name in ("out", "out_attended")},
        fetched,
        {name: workspace.FetchBlob(name) for name in params},
    )


class TestMultiHeadAttentionJagged(object):
    @pytest.mark.parametrize("cross", [False, True], ids=["self", "cross"])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"mode": "upper"},
            {"window_left": 2, "window_right": 1, "sinks": True},
            {"mode": "lower", "diagonal": -1, "softcap": 1.5, "scale": 0.7},
        ],
        ids=str,
    )
    def test_is_that_of_the_padded_batch(self, cross, options):
        """On the rows that are kept: results, and gradients to inputs and all parameters."""
        options = dict(CROSS if cross else SELF, **options)
        key_lengths = KEY_LENGTHS if cross else LENGTHS
        keep = {"x": kept(LENGTHS), "y": kept(key_lengths)}
        blobs = batch(cross)
        d_out = wave((4, LONGEST, 5 if cross else 8), 0.51).astype("float32")
        padded = results(
            brew.multi_head_attention, blobs, d_out * keep["x"][..., None], options,
            lengths=key_lengths,
        )
        extras = dict({"lengths": LENGTHS}, **({"key_lengths": key_lengths} if cross else {}))
        packed = results(
            brew.multi_head_attention_jagged,
            {name: blob[keep[name]] for name, blob in blobs.items()},
            d_out[keep["x"]], options, **extras
        )
        for name, param in padded[2].items():
            np.testing.assert_array_equal(packed[2][name], param)
        assert len(padded[2]) == 9 if options.get("sinks") else 8
        attended = padded[0]["out_attended"].swapaxes(1, 2)[keep["x"]]
        np.testing.assert_allclose(packed[0]["out_attended"], attended, rtol=1e-5, atol=2e-6)
        wanted = padded[0]["out"][keep["x"]]
        np.testing.assert_allclose(packed[0]["out"], wanted, rtol=1e-5, atol=5e-6)
        for name, grad in padded[1].items():
            of_rows = grad[keep[name]] if name in blobs else grad
            largest = np.abs(of_rows).max()
            assert largest > 1e-6 or name == "out_k_b"  # which moves the scores of a row alike
            atol = 1e-5 * max(largest, 1)
            np.testing.assert_allclose(packed[1][name], of_rows, rtol=1e-4, atol=atol)

    @pytest.mark.parametrize("options", [{}, {"mode": "upper", "sinks": True}], ids=str)
    def test_without_padding_it_has_the_same_bits(self, options):
        options, blobs = dict(SELF, **options), batch(False)
        d_out = wave((4, LONGEST, 8), 0.51).astype("float32")
        padded = results(brew.multi_head_attention, blobs, d_out, options)
        packed = results(
            brew.multi_head_attention_jagged, {"x": blobs["x"].reshape(-1, 8)},
            d_out.reshape(-1, 8), options, lengths=np.full(4, LONGEST, "int64"),
        )
        np.testing.assert_array_equal(packed[0]["out"].reshape(4, LONGEST, 8), padded[0]["out"])
        for name, grad in padded[1].items():
            np.testing.assert_array_equal(packed[1][name].reshape(grad.shape), grad)

    @pytest.mark.parametrize(
        "options",
        [{"mode": "upper", "align": "bottom_right"}, {"empty_row": "uniform", "window_right": 0}],
        ids=str,
    )
    def test_is_that_of_each_sequence_alone(self, options):
        """With keys of which only some are there, as in a cache with room."""
        options, blobs, used = dict(CROSS, **options), batch(True), KEY_LENGTHS - 1
        rows = {"x": blobs["x"][kept(LENGTHS)], "y": blobs["y"][kept(KEY_LENGTHS)]}
        d_out = wave((LENGTHS.sum(), 5), 0.51).astype("float32")
        packed, grads, _ = results(
            brew.multi_head_attention_jagged, rows, d_out, options, lengths=LENGTHS,
            key_lengths=KEY_LENGTHS, used_keys=used,
        )
        alone = [
            results(
                brew.multi_head_attention,
                {"x": blobs["x"][i : i + 1, :n], "y": blobs["y"][i : i + 1, : used[i]]},
                of_one[None], options,
            )
            for i, (n, of_one) in enumerate(zip(LENGTHS, np.split(d_out, LENGTHS.cumsum()[:-1])))
        ]
        outs = np.concatenate([of_one["out"][0] for of_one, _, _ in alone])
        np.testing.assert_allclose(packed["out"], outs, rtol=1e-5, atol=5e-6)
        for name in grads:
            if name == "x":
                wanted = np.concatenate([of_one[name][0] for _, of_one, _ in alone])
            elif name == "y":
                wanted = np.zeros((4, LONGEST, 6))
                for i, (_, of_one, _) in enumerate(alone):
                    wanted[i, : used[i]] = of_one[name][0]
                wanted = wanted[kept(KEY_LENGTHS)]
            else:
                wanted = sum(of_one[name] for _, of_one, _ in alone)
            np.testing.assert_allclose(grads[name], wanted, rtol=1e-4, atol=1e-5)

    def test_it_learns_as_the_padded_layer_does(self):
        """Loss by loss, between BooleanMask and BooleanUnmask of a padded batch."""
        keep = kept(LENGTHS)
        blobs = {
            "x": wave((4, LONGEST, 8), 0.37).astype("float32"),
            "wanted": wave((4, LONGEST, 8), 0.91).astype("float32") * keep[..., None],
            "lengths": LENGTHS,
            "keep": keep,
        }

        def train(packed):
            workspace.ResetWorkspace()
            model = new_model()
            net = model.net
            if packed:
                rows = net.BooleanMask(["x", "keep"], "rows")
                rows = brew.multi_head_attention_jagged(
                    model, rows, "out", 8, 2, lengths="lengths", mode="upper"
                )
            else:
                rows = brew.multi_head_attention(
                    model, "x", "out", 8, 2, lengths="lengths", mode="upper"
                )
                rows = net.BooleanMask([rows, "keep"], "out_rows")
            padded = net.BooleanUnmask(["keep", rows], "padded", fill_val=0.0)
            apart = net.Sub([padded, "wanted"], "apart")
            loss = net.AveragedLoss(net.Sqr(apart, "squares"), "loss")
            model.AddGradientOperators([loss])
            optimizer.build_sgd(model, 0.5, policy="fixed")
            feed(**blobs)
            workspace.RunNetOnce(seeded(model).param_init_net)
            workspace.CreateNet(net)
            losses = []
            for step in range(60):
                workspace.RunNet(net)
                losses.append(float(workspace.FetchBlob("loss")))
                if step == 0:
                    params = {str(one): workspace.FetchBlob(str(one)) for one in model.params}
            assert not workspace.FetchBlob("padded")[~keep].any()
            return losses, params

        (ours, our_params), (theirs, their_params) = train(True), train(False)
        for name, param in their_params.items():
            np.testing.assert_allclose(our_params[name], param, rtol=1e-5, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-3)
        assert ours[-1] < 0.75 * ours[0], ours[::10]

    def test_takes_parameters_of_the_padded_layer(self):
        """As a model for prediction does, with ``init_params=False``."""
        train, predict = new_model(), new_model(init_params=False)
        brew.multi_head_attention(train, "x", "out", 8, 2, mode="upper")
        brew.multi_head_attention_jagged(
            predict, "rows", "out", 8, 2, lengths="lengths", mode="upper"
        )
        assert not predict.param_init_net.Proto().op
        assert sorted(map(str, predict.params)) == sorted(map(str, train.params))
        x = wave((2, 3, 8)).astype("float32")
        run(train, x=x)
        out = workspace.FetchBlob("out")
        feed(rows=x.reshape(6, 8), lengths=np.array([3, 3]))
        workspace.RunNetOnce(predict.net)
        np.testing.assert_array_equal(workspace.FetchBlob("out"), out.reshape(6, 8))

    def test_heads_are_blobs(self):
        model = new_model()
        brew.multi_head_attention_jagged(
            model, "x", "out", 6, 3, num_kv_heads=1, lengths="lengths"
        )
        run(model, x=wave((5, 6)).astype("float32"), lengths=np.array([2, 3]))
        heads = [workspace.FetchBlob("out_" + name) for name in ("queries", "keys", "values")]
        assert [head.shape for head in heads] == [(5, 3, 2), (5, 1, 2), (5, 1, 2)]
        x, w = workspace.FetchBlob("x"), workspace.FetchBlob("out_q_w")
        np.testing.assert_allclose(heads[0][:, 1], x @ w[2:4].T, atol=1e-6)
        assert workspace.FetchBlob("out_attended").shape == (5, 3, 2)

    def test_scopes_and_initializers(self):
        model = new_model()
        ones = ("ConstantFill", {"value": 1.0})
        for name in ("first", "second"):
            with scope.NameScope(name):
                brew.multi_head_attention_jagged(
                    model, "x", "out", 4, 2, lengths="n", weight_init=ones, bias_init=ones
                )
        names = [str(param) for param in model.params]
        assert len(set(names)) == 16
        assert {name.split("/")[0] for name in names} == {"first", "second"}
        workspace.RunNetOnce(model.param_init_net)
        for name in names:
            assert (workspace.FetchBlob(name) == 1).all(), name

    @pytest.mark.parametrize("lengths", [[], [0, 0]], ids=str)
    def test_no_rows(self, lengths):
        model = new_model()
        out = brew.multi_head_attention_jagged(model, "x", "out", 4, 2, lengths="lengths")
        grads = with_gradients(model, out, "x", "out_w")
        run(
            model,
            x=np.zeros((0, 4), "float32"),
            out_d=np.zeros((0, 4), "float32"),
            lengths=np.array(lengths, "int32"),
        )
        assert workspace.FetchBlob("out").shape == (0, 4)
        assert workspace.FetchBlob(grads["x"]).shape == (0, 4)
        assert not workspace.FetchBlob(grads["out_w"]).any()

    @pytest.mark.parametrize(
        "blobs, dims, options, message",
        [
            ("x", (8, 3), {}, "dim_in must be a multiple of num_heads where no head_dim is given, "
                              "but they are 8 and 3"),
            ("x", (8, 4), {"num_kv_heads": 3},
             "num_heads must be a multiple of num_kv_heads, but they are 4 and 3"),
            ("x", (8, 0), {}, "num_heads must be positive, but is 0"),
            ("x", (8, 2), {"lengths": None}, "lengths must be given"),
            (["x", "y", "z"], (8, 2), {},
             "blob_in must be one blob or [query, key_value], but is 3 blobs"),
        ],
    )
    def test_errors(self, blobs, dims, options, message):
        model = new_model()
        with pytest.raises(ValueError) as raised:
            brew.multi_head_attention_jagged(
                model, blobs, "out", *dims, **dict({"lengths": "n"}, **options)
            )
        assert str(raised.value) == "multi_head_attention_jagged: {}.".format(message)
        assert not model.net.Proto().op and not model.params

    def test_lengths_of_other_rows(self):
        model = new_model()
        brew.multi_head_attention_jagged(model, "x", "out", 4, 2, lengths="n")
        with pytest.raises(RuntimeError, match="lengths must add up to the 5 rows of Q, but add"):
            run(model, x=wave((5, 4)).astype("float32"), n=np.array([2, 2]))
