"""Encoders that compute no padding, beside the same with padding, on tiny random models."""

import copy
import inspect
import pickle

import pytest
import torch

import caffe2op_mask
from caffe2op_mask.transformers import ENCODERS, attention, padded, unpadded

transformers = pytest.importorskip("transformers", minversion="5.0")

VOCABULARY, B, L, WIDTH = 40, 4, 11, 24
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
MODERN = {
    "local_attention": 6, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1,
    "eos_token_id": 2, "norm_bias": True,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
OPTIONS = {
    "DistilBertModel": {
        "dim": WIDTH, "n_layers": 3, "n_heads": 4, "hidden_dim": 32, "dropout": 0.0,
        "attention_dropout": 0.0, "vocab_size": VOCABULARY, "max_position_embeddings": 64,
    },
    "ElectraModel": {"embedding_size": 16},
    "EuroBertModel": {"bos_token_id": 1, "eos_token_id": 2, "mask_token_id": 3},
    "ModernBertModel": MODERN,
}
FEW = ("BertModel", "DistilBertModel", "ModernBertModel", "RobertaModel")


def model_of(name, attention_implementation="sdpa", **options):
    """An encoder whose attention matters, with parameters that are drawn."""
    cls = getattr(transformers, name, None)
    if cls is None:
        pytest.skip("this release of transformers has no " + name)
    known = dict({} if name == "DistilBertModel" else SIZES, **OPTIONS.get(name, {}))
    torch.manual_seed(0)
    config = cls.config_class(
        **dict(known, attn_implementation=attention_implementation, **options)
    )
    model = cls(config)
    for one in model.parameters():
        one.data += 0.1 * torch.randn(one.shape)
        if one.dim() > 1:
            one.data.mul_(3)
    return model.eval()


def mask_of(kind):
    kept = torch.ones(B, L, dtype=torch.int64)
    if kind in ("right", "both ends", "an empty row"):
        kept[1, 6:] = 0
        kept[2, 10:] = 0
    if kind in ("left", "both ends"):
        kept[0, :3] = 0
        kept[1, :2] = 0
    if kind == "holes":
        kept[0, 2:4] = 0
        kept[1, [1, 5, 10]] = 0
    if kind == "an empty row":
        kept[3] = 0
    if kind == "nothing":
        kept[:] = 0
    return kept


PADDING = ("right", "left", "both ends", "holes", "an empty row")


@pytest.fixture(autouse=True)
def one_thread():
    """Threads would take longer to wake than such models take to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ids():
    return torch.randint(4, VOCABULARY, (B, L), generator=torch.Generator().manual_seed(1))


def run(model, kept, **options):
    return model(ids(), attention_mask=kept, **options)


def gradients(model, kept):
    model.zero_grad()
    hidden = run(model, kept).last_hidden_state[kept.bool()]
    (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def widths(model, kept, call=run):
    """How many tokens each layer computes in a pass."""
    found = []
    layers = model.get_submodule(ENCODERS[type(model).__name__])
    handles = [
        # Behind the hooks of unpadded(), so that it sees what the layer does.
        one.register_forward_pre_hook(
            lambda _, args, kwargs: found.append(
                (args[0] if args else kwargs["hidden_states"]).shape[:2].numel()
            ),
            with_kwargs=True,
        )
        for one in layers
    ]
    call(model, kept)
    for one in handles:
        one.remove()
    return found


@pytest.mark.parametrize(
    "name, padding",
    [(n, one) for n in sorted(ENCODERS) for one in (PADDING if n in FEW else ["both ends"])],
)
def test_hidden_states(name, padding):
    """Each hidden state is that of a padded pass, and 0 at padding."""
    kept = mask_of(padding)
    is_packed = (name, padding) != ("ModernBertModel", "holes")
    want = run(model_of(name, "eager"), kept, output_hidden_states=True)
    found = run(unpadded(model_of(name)), kept, output_hidden_states=True)
    assert len(found.hidden_states) == len(want.hidden_states) == 4
    pairs = list(zip(found.hidden_states, want.hidden_states))
    for ours, theirs in pairs + [(found.last_hidden_state, want.last_hidden_state)]:
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours[kept.bool()], theirs[kept.bool()], rtol=1e-4, atol=1e-4)
        assert not ours[~kept.bool()].any() or not is_packed
    if found.get("pooler_output") is not None:
        first = kept[:, 0].bool()
        torch.testing.assert_close(
            found.pooler_output[first], want.pooler_output[first], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_layers_compute_no_padding(name):
    model, kept = unpadded(model_of(name)), mask_of("right")
    assert widths(model, kept) == [int(kept.sum())] * 3
    # Nothing is packed where nothing would be left out.
    assert widths(model, mask_of("none")) == [B * L] * 3
    assert widths(model, None) == [B * L] * 3
    # sentence-transformers call it past hooks.
    past = widths(model, kept, lambda *_: model.forward(ids(), attention_mask=kept))
    assert past == [int(kept.sum())] * 3
    assert widths(padded(model), kept) == [B * L] * 3


@pytest.mark.parametrize("name", FEW)
def test_padding_matters(name):
    """The tests above would fail if sequences saw each other, or positions were those of packed."""
    model = unpadded(model_of(name))
    whole = run(model, mask_of("none")).last_hidden_state
    for padding in PADDING:
        kept = mask_of(padding).bool()
        assert (run(model, kept).last_hidden_state - whole)[kept].abs().max() > 1e-2


def test_windows_with_holes_are_not_packed():
    """A window counts padding between tokens."""
    model = unpadded(model_of("ModernBertModel"))
    assert widths(model, mask_of("holes")) == [B * L] * 3
    assert widths(model, mask_of("both ends")) == [int(mask_of("both ends").sum())] * 3
    model = unpadded(model_of("BertModel"))
    assert widths(model, mask_of("holes")) == [int(mask_of("holes").sum())] * 3


def test_nothing_but_padding():
    model, kept = unpadded(model_of("BertModel")), mask_of("nothing")
    found = run(model, kept)
    assert found.last_hidden_state.shape == (B, L, WIDTH)
    assert found.last_hidden_state.isfinite().all() and found.pooler_output.isfinite().all()
    assert widths(model, kept) == [B * L] * 3


@pytest.mark.parametrize("padding", ("right", "both ends", "an empty row"))
@pytest.mark.parametrize("name", FEW)
def test_gradients(name, padding):
    kept = mask_of(padding)
    want, found = gradients(model_of(name), kept), gradients(unpadded(model_of(name)), kept)
    assert want.keys() == found.keys()
    for parameter, one in want.items():
        # Those of a key's bias are 0, but for what is rounded.
        scale = max(one.abs().max().item(), 0.1)
        torch.testing.assert_close(
            found[parameter], one, rtol=1e-3, atol=1e-4 * scale, msg=lambda text: parameter + text
        )


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(reentrant):
    kept = mask_of("both ends")
    model = unpadded(model_of("BertModel")).train()
    want = gradients(model, kept)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    found = gradients(model, kept)
    for parameter, one in want.items():
        torch.testing.assert_close(found[parameter], one)


def test_heads():
    """Classifiers, token classifiers and language models on top of an encoder; losses and ids."""
    kept, labels = mask_of("right"), torch.arange(B) % 2
    for name in ("BertForSequenceClassification", "DistilBertForSequenceClassification",
                 "ModernBertForSequenceClassification", "RobertaForTokenClassification",
                 "XLMRobertaForMaskedLM"):
        cls = getattr(transformers, name)
        base = name.split("For")[0] + "Model"
        config = model_of(base).config
        config._attn_implementation = "sdpa"
        torch.manual_seed(0)
        model = cls(config).eval()
        targets = labels
        if "Sequence" not in name:
            targets = torch.where(kept.bool(), ids() % 2, -100)
        want = model(ids(), attention_mask=kept, labels=targets)
        found = unpadded(model)(ids(), attention_mask=kept, labels=targets)
        torch.testing.assert_close(found.loss, want.loss, rtol=1e-4, atol=1e-5)
        if "Sequence" in name:
            torch.testing.assert_close(found.logits, want.logits, rtol=1e-4, atol=1e-4)


def test_dropout():
    """Weights are dropped, each sequence by itself; the mean is what is attended to without."""
    ends, module = torch.tensor([0, 3, 3, 8]), torch.nn.Module()
    for options in (
        {"is_causal": False},
        {"is_causal": True, "softcap": 1.5},
        {"is_causal": False, "sliding_window": 2, "s_aux": torch.randn(4)},
        {"is_causal": True, "sliding_window": 2},
    ):
        options.update(cu_seq_lens_q=ends, scaling=0.7)
        q, k, v = (torch.randn(1, heads, 8, 6) for heads in (4, 2, 2))
        want, _ = attention(module, q, k, v, **options)
        assert want.shape == (1, 8, 4, 6)
        kept, _ = attention(module, q, k, v, dropout=1e-9, **options)
        torch.testing.assert_close(kept, want)
        many = torch.stack(
            [attention(module, q, k, v, dropout=0.3, **options)[0] for _ in range(600)]
        )
        assert not torch.equal(many[0], many[1])
        torch.testing.assert_close(many.mean(dim=0), want, rtol=0, atol=0.2)


def test_a_model_with_dropout_learns():
    model = unpadded(model_of("BertModel", attention_probs_dropout_prob=0.5)).train()
    kept = mask_of("an empty row")
    first, second = (run(model, kept).last_hidden_state for _ in range(2))
    assert not torch.equal(first, second)
    assert all(one.isfinite().all() for one in gradients(model, kept).values())
    model.eval()
    want = run(model_of("BertModel"), kept).last_hidden_state[kept.bool()]
    torch.testing.assert_close(
        run(model, kept).last_hidden_state[kept.bool()], want, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", FEW)
def test_autocast_and_bfloat16(name):
    kept = mask_of("both ends")
    exact = run(model_of(name), kept).last_hidden_state[kept.bool()]

    def error(model, **options):
        with torch.autocast("cpu", torch.bfloat16, **options):
            hidden = run(model, kept).last_hidden_state
        return (hidden[kept.bool()].float() - exact).abs().mean()

    assert error(unpadded(model_of(name))) < 1.5 * error(model_of(name))
    ours, theirs = unpadded(model_of(name)).bfloat16(), model_of(name).bfloat16()
    assert error(ours, enabled=False) < 1.5 * error(theirs, enabled=False)
    assert run(ours, kept).last_hidden_state.dtype == torch.bfloat16


@pytest.mark.parametrize("name", FEW)
def test_ways_to_call(name):
    """Tuples, positions of arguments, embeddings for ids, bool and float masks."""
    model, kept = unpadded(model_of(name)), mask_of("right")
    want = run(model, kept).last_hidden_state
    assert torch.equal(model(ids(), kept).last_hidden_state, want)
    # sentence-transformers call it so.
    assert torch.equal(model.forward(ids(), attention_mask=kept).last_hidden_state, want)
    arguments = inspect.signature(model.forward).parameters
    assert arguments == inspect.signature(model_of(name).forward).parameters
    assert torch.equal(run(model, kept.bool()).last_hidden_state, want)
    assert torch.equal(run(model, kept.float()).last_hidden_state, want)
    outputs = run(model, kept, return_dict=False, output_hidden_states=True)
    assert isinstance(outputs, tuple) and torch.equal(outputs[0], want)
    states = next(one for one in outputs if isinstance(one, tuple))
    assert [one.shape for one in states] == [want.shape] * 4
    if name != "RobertaModel":  # its positions are read from ids
        embedded = model.get_input_embeddings()(ids())
        found = model(inputs_embeds=embedded, attention_mask=kept).last_hidden_state
        torch.testing.assert_close(found, want)


def test_positions_of_the_user():
    model, kept = model_of("ModernBertModel"), mask_of("right")
    positions = torch.arange(L).flip(0).expand(B, L) * 2
    want = run(model, kept, position_ids=positions).last_hidden_state[kept.bool()]
    found = run(unpadded(model), kept, position_ids=positions).last_hidden_state[kept.bool()]
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)


def test_a_mask_of_more_dims_is_not_packed():
    model, kept = model_of("BertModel"), mask_of("right").bool()
    matrix = kept[:, None, None, :].expand(B, 1, L, L)
    want = run(model, matrix).last_hidden_state
    model = unpadded(model)
    assert widths(model, matrix) == [B * L] * 3
    torch.testing.assert_close(
        run(model, matrix).last_hidden_state[kept], want[kept], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", ["BertModel", "ModernBertModel"])
def test_compiled(name):
    """A graph is made of the padded model."""
    torch.compiler.reset()
    kept = mask_of("right")
    want = run(model_of(name), kept).last_hidden_state[kept.bool()]
    model = torch.compile(unpadded(model_of(name)), fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        found = run(model, kept).last_hidden_state
    torch.testing.assert_close(found[kept.bool()], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FEW)
def test_undone(name):
    model, kept = model_of(name), mask_of("right")
    want = run(model, kept).last_hidden_state
    hooks = [len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules()]
    assert unpadded(model) is model
    assert unpadded(model) is model
    assert not torch.equal(run(model, kept).last_hidden_state, want)
    assert padded(model) is model
    assert torch.equal(run(model, kept).last_hidden_state, want)
    assert model.config._attn_implementation == "sdpa"
    now = [len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules()]
    assert now == hooks and "forward" not in model.__dict__
    assert padded(model) is model


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_copies(copied):
    """A copy is unpadded too, and can be undone by itself."""
    model, kept = unpadded(model_of("BertModel")), mask_of("right")
    other = copied(model)
    assert torch.equal(run(other, kept).last_hidden_state, run(model, kept).last_hidden_state)
    assert widths(padded(other), kept) == [B * L] * 3
    assert widths(model, kept) == [int(kept.sum())] * 3
    assert model.config._attn_implementation == "caffe2op_mask"


def test_inside_of_a_module():
    model = torch.nn.Sequential(torch.nn.ModuleDict({"encoder": model_of("BertModel")}))
    assert unpadded(model) is model
    kept = mask_of("right")
    assert widths(model[0]["encoder"], kept) == [int(kept.sum())] * 3


def test_a_forward_of_the_object_stays():
    """Such as accelerate's."""
    model, kept = model_of("BertModel"), mask_of("right")
    forward, calls = model.forward, []
    model.forward = own = lambda *args, **kwargs: calls.append(1) or forward(*args, **kwargs)
    unpadded(model)
    assert widths(model, kept) == [int(kept.sum())] * 3 and len(calls) == 1
    assert padded(model).forward is own


def test_another_attention_is_not_packed():
    model, kept = unpadded(model_of("BertModel")), mask_of("right")
    want = run(model_of("BertModel"), kept).last_hidden_state
    model.set_attn_implementation("sdpa")
    assert torch.equal(run(model, kept).last_hidden_state, want)


# What is refused.


def test_models_that_are_not_known():
    sizes = {"vocab_size": 9, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
             "num_attention_heads": 2}
    mpnet = transformers.MPNetModel(transformers.MPNetConfig(**sizes))
    for model, name in (
        (mpnet, "MPNetModel"),
        (torch.nn.Sequential(mpnet, model_of("BertModel")), "MPNetModel"),
        (torch.nn.Linear(2, 2), "Linear"),
    ):
        with pytest.raises(ValueError) as raised:
            unpadded(model)
        assert str(raised.value) == (
            "caffe2op_mask.transformers.unpadded: {} is no encoder that is known; these are: "
            "{}.".format(name, ", ".join(ENCODERS))
        )
    assert not any(one._forward_hooks for one in mpnet.modules())


def test_decoders():
    with pytest.raises(ValueError) as raised:
        unpadded(model_of("BertModel", is_decoder=True))
    assert str(raised.value) == (
        "caffe2op_mask.transformers.unpadded: BertModel must be an encoder, but its config has "
        "is_decoder."
    )


def test_layers_that_are_not_the_configs():
    model = model_of("BertModel")
    model.config.num_hidden_layers = 2
    with pytest.raises(ValueError, match=r"1 to num_hidden_layers \(2\) layers, but has 3\."):
        unpadded(model)


def test_a_release_that_hands_no_keywords_on(monkeypatch):
    """What would be wrong without a word is an error."""
    model = unpadded(model_of("BertModel"))
    cls, words = type(model.encoder), "must be reached by keywords, but are not in this release"
    forward = cls.forward
    monkeypatch.setattr(
        cls, "forward", lambda self, hidden, attention_mask=None, **_: forward(self, hidden)
    )
    with pytest.raises(RuntimeError, match=words):
        run(model, mask_of("right"))
    run(model, mask_of("none"))


def test_packed_attention_of_a_batch():
    q = torch.randn(2, 1, 3, 4)
    ends = torch.tensor([0, 3])
    with pytest.raises(ValueError) as raised:
        attention(torch.nn.Module(), q, q, q, cu_seq_lens_q=ends)
    assert str(raised.value) == (
        "caffe2op_mask.transformers.attention: cu_seq_lens_q needs a batch of 1 without "
        "position_bias, but there is a batch of 2."
    )
    with pytest.raises(ValueError, match="but there is a position_bias"):
        attention(torch.nn.Module(), *[q[:1]] * 3, cu_seq_lens_q=ends, position_bias=q[:1])


def test_a_decoder_of_packed_sequences():
    """cu_seq_lens_q of a collator keep sequences of one row apart in any model."""
    caffe2op_mask.transformers.register()
    torch.manual_seed(0)
    config = transformers.MistralConfig(
        **dict(SIZES, num_key_value_heads=2, sliding_window=3), attn_implementation="caffe2op_mask"
    )
    model = transformers.MistralForCausalLM(config).eval()
    row, ends = ids()[:1], torch.tensor([0, 4, L], dtype=torch.int32)
    positions = torch.cat([torch.arange(4), torch.arange(L - 4)])[None]
    found = model(
        row, position_ids=positions, cu_seq_lens_q=ends, cu_seq_lens_k=ends, use_cache=False
    ).logits
    apart = torch.cat([model(row[:, :4]).logits, model(row[:, 4:]).logits], dim=1)
    torch.testing.assert_close(found, apart, rtol=1e-4, atol=1e-4)
