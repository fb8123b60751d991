"""attn_implementation="caffe2op_mask" beside "eager" and "sdpa", on tiny random models."""

import copy
import itertools
import subprocess
import sys
import types

import pytest
import torch

import caffe2op_mask
from caffe2op_mask.transformers import Kept, attention, mask

transformers = pytest.importorskip("transformers", minversion="5.0")
from transformers import masking_utils  # noqa: E402

VOCABULARY, B, L = 40, 3, 11
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
# A dim of heads that is not hidden_size / num_attention_heads, and grouped heads.
GEMMA = {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4}
GEMMA["layer_types"] = ["sliding_attention", "full_attention"]

ENCODERS = {
    "Bert": ({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}, ("eager", "sdpa")),
    "Roberta": (
        {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}, ("eager", "sdpa"),
    ),
    "ModernBert": (
        {"local_attention": 6, "layer_types": GEMMA["layer_types"], "cls_token_id": 1,
         "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2},
        ("eager", "sdpa"),
    ),
}
DECODERS = {
    "Llama": ({"num_key_value_heads": 2}, ("eager", "sdpa")),
    "Gemma2": (
        dict(GEMMA, attn_logit_softcapping=2.0, query_pre_attn_scalar=8), ("eager",),
    ),
    "Gemma3Text": (dict(GEMMA, query_pre_attn_scalar=8), ("eager", "sdpa")),
    "Mistral": ({"num_key_value_heads": 1, "sliding_window": 4}, ("eager", "sdpa")),
    "Qwen2": ({"num_key_value_heads": 2}, ("eager", "sdpa")),
    "GptOss": (
        dict(GEMMA, num_local_experts=2, num_experts_per_tok=1), ("eager",),
    ),
}
MODELS = dict(ENCODERS, **DECODERS)


def names(causal):
    if causal:
        return {"Gemma3Text": "Gemma3ForCausalLM"}, "{}ForCausalLM"
    return {}, "{}ForMaskedLM"


def config_of(name, **options):
    known = dict(SIZES, **MODELS[name][0])
    known.update(options)
    return getattr(transformers, name + "Config")(**known)


def model_of(name, dtype=torch.float32, **options):
    torch.manual_seed(0)
    special, usual = names(name in DECODERS)
    model = getattr(transformers, special.get(name, usual.format(name)))(config_of(name, **options))
    # Weights of usual size would make scores that hardly differ from 0.
    for one in model.parameters():
        if one.dim() > 1:
            one.data.mul_(4)
    return model.to(dtype).eval()


def with_attention(model, implementation):
    other = copy.deepcopy(model)
    other.set_attn_implementation(implementation)
    assert other.config._attn_implementation == implementation
    return other


@pytest.fixture(autouse=True)
def registered():
    """Threads would take longer to wake than such models take to run."""
    caffe2op_mask.transformers.register()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def padded(kind):
    """An attention_mask, and None where there is none."""
    kept = torch.ones(B, L, dtype=torch.int64)
    if kind == "none":
        return None
    if kind in ("right", "both ends"):
        kept[1, 6:] = 0
        kept[2, 10:] = 0
    if kind in ("left", "both ends"):
        kept[0, :3] = 0
        kept[1, :2] = 0
    if kind == "holes":
        kept[0, 2:4] = 0
        kept[1, [1, 5, 10]] = 0
    return kept


PADDING = ("none", "all", "right", "left", "both ends", "holes")


def ids_of(length=L):
    return torch.randint(3, VOCABULARY, (B, length), generator=torch.Generator().manual_seed(1))


def run(model, kept, **options):
    """Logits where there is no padding, and the gradients of all parameters."""
    model.zero_grad()
    logits = model(ids_of(), attention_mask=kept, **options).logits
    if kept is not None:
        logits = logits[kept.bool()]
    if model.dtype == torch.float32:
        (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
    return logits, [one.grad for one in model.parameters()]


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("name", sorted(MODELS))
def test_logits_and_gradients(name, padding):
    model, kept = model_of(name), padded(padding)
    logits, gradients = run(with_attention(model, "caffe2op_mask"), kept)
    for other in MODELS[name][1]:
        want, wanted = run(with_attention(model, other), kept)
        torch.testing.assert_close(logits, want, rtol=1e-4, atol=1e-4)
        for (parameter, _), a, b in zip(model.named_parameters(), gradients, wanted):
            if a is None or b is None:
                assert a is None and b is None, parameter
                continue
            scale = max(b.abs().max().item(), 1e-3)
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_attention_matters(name):
    """The models above would differ if a window, padding or heads were read wrongly."""
    model = with_attention(model_of(name), "caffe2op_mask")
    whole, _ = run(model, padded("all"))
    for padding in ("right", "left", "holes"):
        kept = padded(padding)
        logits, _ = run(model, kept)
        difference = (logits - whole.view(B, L, -1)[kept.bool()]).abs().max()
        # Keys behind a query matter to no decoder.
        if not (padding == "right" and name in DECODERS):
            assert difference > 1e-2


@pytest.mark.parametrize("name", sorted(MODELS))
def test_bfloat16(name):
    model, kept = model_of(name), padded("both ends")
    logits, _ = run(with_attention(model.to(torch.bfloat16), "caffe2op_mask"), kept)
    eager, _ = run(with_attention(model, "eager"), kept)
    want, _ = run(with_attention(model.float(), "eager"), kept)
    assert logits.dtype == torch.bfloat16
    ours, theirs = ((one.float() - want).abs().mean() for one in (logits, eager))
    assert ours < 1.5 * theirs


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("padding", ["none", "left", "holes"])
@pytest.mark.parametrize("name", sorted(DECODERS))
def test_generate(name, padding, cache):
    """Greedy decoding with a cache, past the windows, gives the tokens of eager attention."""
    model, kept = model_of(name), padded(padding)
    if kept is None:
        kept = torch.ones(B, L, dtype=torch.int64)
    options = {
        "attention_mask": kept,
        "max_new_tokens": 8,
        "min_new_tokens": 8,
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_logits": True,
        "disable_compile": True,
        "cache_implementation": None if cache == "dynamic" else cache,
    }
    ours, eager = (
        with_attention(model, one).generate(ids_of(), **options)
        for one in ("caffe2op_mask", "eager")
    )
    assert torch.equal(ours.sequences, eager.sequences)
    assert ours.sequences.shape == (B, L + 8)
    for a, b in zip(ours.logits, eager.logits):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", ["Llama", "Gemma2", "Mistral"])
def test_a_cache_in_pieces(name):
    """Several queries at a time behind keys that are there give what one pass does."""
    model = with_attention(model_of(name), "caffe2op_mask")
    ids, kept = ids_of(), padded("left")
    want = model(ids, attention_mask=kept).logits
    cache = transformers.DynamicCache(config=model.config)
    pieces = []
    for start, end in ((0, 4), (4, 9), (9, 10), (10, L)):
        result = model(
            ids[:, start:end], attention_mask=kept[:, :end], past_key_values=cache, use_cache=True
        )
        pieces.append(result.logits)
    found = torch.cat(pieces, dim=1)
    torch.testing.assert_close(found[kept.bool()], want[kept.bool()], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["Llama", "Gemma2", "Mistral"])
def test_packed_sequences(name):
    """Position ids that begin anew part sequences of one row."""
    model = model_of(name)
    positions = torch.cat([torch.arange(4), torch.arange(L - 4)])[None].expand(B, L)
    ours, eager = (
        run(with_attention(model, one), None, position_ids=positions)[0]
        for one in ("caffe2op_mask", "eager")
    )
    torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-4)
    apart = with_attention(model, "caffe2op_mask")(ids_of()[:, :4]).logits
    torch.testing.assert_close(ours[:, :4], apart, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("name", ["Llama", "Bert"])
def test_a_mask_of_the_user(name, additive):
    model = model_of(name)
    kept = torch.rand(B, 1, L, L, generator=torch.Generator().manual_seed(3)) < 0.6
    kept |= torch.eye(L, dtype=torch.bool)
    given = torch.where(kept, 0.0, torch.finfo(torch.float32).min)
    want = with_attention(model, "eager")(ids_of(), attention_mask=given).logits
    result = with_attention(model, "caffe2op_mask")(
        ids_of(), attention_mask=given if additive else kept
    ).logits
    torch.testing.assert_close(result, want, rtol=1e-4, atol=1e-4)


def test_position_bias_and_cross_attention():
    """T5 adds a bias of positions, and its decoder attends to padded keys of the encoder."""
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=24, d_kv=6, d_ff=32, num_layers=2, num_heads=4,
        dropout_rate=0.0, decoder_start_token_id=0,
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    results = []
    for one in ("caffe2op_mask", "eager"):
        try:
            other = with_attention(model, one)
        except ValueError:
            pytest.skip("T5 of this release has its attention to itself")
        for padding in ("none", "right", "holes"):
            results.append(
                other(ids_of(), attention_mask=padded(padding), labels=ids_of(7)).logits
            )
    for a, b in zip(results[:3], results[3:]):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["Bert", "Gemma2", "GptOss", "Llama"])
def test_dropout(name):
    """In training weights are dropped; the mean over many runs is what is attended to without."""
    config = config_of(name)
    torch.manual_seed(0)
    h, h_kv = 4, getattr(config, "num_key_value_heads", 4)
    q, k, v = (torch.randn(1, heads, 5, 6) for heads in (h, h_kv, h_kv))
    options = {"attention_mask": torch.rand(1, 1, 5, 5) < 0.8, "scaling": 0.7}
    if name == "Gemma2":
        options["softcap"] = 1.5
    if name == "GptOss":
        options["s_aux"] = torch.randn(h)
    want, _ = attention(torch.nn.Module(), q, k, v, **options)
    kept, _ = attention(torch.nn.Module(), q, k, v, dropout=1e-9, **options)
    torch.testing.assert_close(kept, want)
    many = torch.stack(
        [attention(torch.nn.Module(), q, k, v, dropout=0.3, **options)[0] for _ in range(3000)]
    )
    assert not torch.equal(many[0], many[1])
    torch.testing.assert_close(many.mean(dim=0), want, rtol=0, atol=0.12)


def test_dropout_of_a_model():
    model = model_of("Bert", attention_probs_dropout_prob=0.5)
    model = with_attention(model, "caffe2op_mask").train()
    first, second = (run(model, padded("right"))[0] for _ in range(2))
    assert not torch.equal(first, second)
    model.eval()
    first, second = (run(model, padded("right"))[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "name, padding", [("Llama", "none"), ("Mistral", "left"), ("Bert", "holes")]
)
def test_compiled_whole(name, padding):
    torch.compiler.reset()
    model, kept = with_attention(model_of(name), "caffe2op_mask"), padded(padding)
    want, _ = run(model, kept)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    options = {} if name == "Bert" else {"use_cache": False}
    with torch.no_grad():
        logits = compiled(ids_of(), attention_mask=kept, **options).logits
    logits = logits if kept is None else logits[kept.bool()]
    torch.testing.assert_close(logits, want, rtol=1e-4, atol=1e-4)


def test_gradient_checkpointing():
    model = with_attention(model_of("Llama"), "caffe2op_mask").train()
    want, wanted = run(model, padded("left"), use_cache=False)
    wanted = [one.clone() for one in wanted]
    model.gradient_checkpointing_enable()
    logits, gradients = run(model, padded("left"), use_cache=False)
    torch.testing.assert_close(logits, want)
    for a, b in zip(gradients, wanted):
        torch.testing.assert_close(a, b)


# The mask alone, beside that of "sdpa".

SHAPES = [
    (5, 5, 0, 0), (5, 9, 4, 0), (5, 9, 0, 0), (5, 9, 2, 0), (1, 9, 8, 0), (1, 9, 3, 0),
    (3, 6, 9, 6), (1, 4, 9, 6), (5, 7, 0, 0), (1, 1, 0, 0), (1, 6, 0, 0),
]  # queries, keys, offset of queries, offset of keys


def functions(batch, given):
    left = torch.zeros(batch, dtype=torch.int64)
    if given is not None:
        left = (given.cumsum(dim=-1) == 0).sum(dim=-1)
    for size in (1, 2, 3, 4, 8, 20):
        yield masking_utils.sliding_window_causal_mask_function(size), size, True
        yield masking_utils.sliding_window_bidirectional_mask_function(size), size, False
        yield masking_utils.chunked_causal_mask_function(size, left), size, True
    yield masking_utils.causal_mask_function, None, True
    yield masking_utils.bidirectional_mask_function, None, False


def attention_masks(batch, keys):
    yield None
    yield torch.ones(batch, keys, dtype=torch.bool)
    generator = torch.Generator().manual_seed(keys)
    for _ in range(2):
        yield torch.rand(batch, keys, generator=generator) < 0.6
    begins, ends = (torch.randint(0, keys + 1, (batch, 1), generator=generator) for _ in range(2))
    j = torch.arange(keys)
    yield (j >= begins) & (j < begins + ends)
    yield j < ends
    yield (j < ends)[:, : max(keys - 2, 1)]
    yield torch.zeros(batch, keys, dtype=torch.bool)


@pytest.mark.parametrize("shape", SHAPES)
def test_masks(shape):
    """Each is what sdpa's is, in both of its forms; None is what `attention` makes of it."""
    q_length, kv_length, q_offset, kv_offset = shape
    batch, seen = 3, {"none": 0, "kept": 0, "bool": 0}
    heads = torch.randn(2, batch, 1, max(q_length, kv_length), 2, dtype=torch.float64)
    q, k = heads[0, :, :, :q_length], heads[1, :, :, :kv_length]
    v = torch.eye(kv_length, dtype=torch.float64).expand(batch, 1, -1, -1)
    cases = (
        (given, *one, skip)
        for given in attention_masks(batch, kv_length + kv_offset)
        for one, skip in itertools.product(functions(batch, given), (False, True))
    )
    for given, function, size, causal, skip in cases:
        options = {
            "batch_size": batch, "q_length": q_length, "kv_length": kv_length,
            "q_offset": q_offset, "kv_offset": kv_offset, "mask_function": function,
            "attention_mask": given, "local_size": size,
        }
        want = masking_utils.sdpa_mask(
            allow_is_causal_skip=False, allow_is_bidirectional_skip=False, **options
        )
        result = mask(
            allow_is_causal_skip=skip and causal,
            allow_is_bidirectional_skip=skip and not causal,
            **options
        )
        kept = getattr(result, "caffe2op_mask_kept", None)
        seen["none" if result is None else "bool" if kept is None else "kept"] += 1
        if result is not None:
            assert result.shape == want.shape and torch.equal(result, want)
        module = torch.nn.Module()
        module.is_causal = causal
        # With the unit matrix as values the result is the weights.
        weights = attention(module, q, k, v, result)[0].transpose(1, 2)
        assert torch.equal(weights > 0, want)
    assert seen["kept"] > 0 and seen["bool"] > 0 and seen["none"] > 0


def test_what_padding_becomes():
    def kept(attention_mask, **options):
        options = dict({"q_length": 4, "kv_length": 4}, **options)
        result = mask(
            batch_size=2, attention_mask=torch.tensor(attention_mask, dtype=torch.bool), **options
        )
        return None if result is None else result.caffe2op_mask_kept

    def same(result, **want):
        want = dict(dict.fromkeys(Kept._fields), **want)
        for name, found in result._asdict().items():
            if isinstance(found, torch.Tensor):
                found = found.tolist()
            assert found == want[name], name

    assert kept([[1, 1, 1, 1]] * 2) is None
    same(kept([[1, 1, 1, 1], [1, 1, 0, 0]]), ends=[4, 2], upper=0)
    same(kept([[1, 1, 1, 1], [0, 1, 1, 1]]), begins=[0, 1], upper=0)
    same(kept([[0, 0, 0, 0], [0, 1, 1, 0]]), begins=[0, 1], ends=[0, 3], upper=0)
    holes = [[[[True, False, True, True]]], [[[True, True, True, True]]]]
    same(kept([[1, 0, 1, 1], [1, 1, 1, 1]]), mask=holes, upper=0)
    # One query behind three keys; then a cache of eight places, of which four are filled.
    same(kept([[1, 1, 1, 1], [0, 1, 1, 1]], q_length=1, q_offset=3), begins=[0, 1])
    static = {"q_length": 1, "q_offset": 3, "kv_length": 8}
    same(kept([[1, 1, 1, 1], [0, 1, 1, 1]], **static), begins=[0, 1], ends=[4, 4], upper=3)
    window = masking_utils.sliding_window_causal_mask_function(2)
    local = {"mask_function": window, "local_size": 2}
    same(kept([[1, 1, 1, 1]] * 2, **local), lower=-1, upper=0)


def test_the_mask_of_a_model_is_no_matrix_to_the_kernel():
    """Padding and windows reach `masked_attention` as options."""
    calls = []
    operator = caffe2op_mask.functional.masked_attention

    def spy(*tensors, **options):
        calls.append(options)
        return operator(*tensors, **options)

    caffe2op_mask.functional.masked_attention = spy
    try:
        for name in ("Bert", "Gemma2"):
            run(with_attention(model_of(name), "caffe2op_mask"), padded("both ends"))
    finally:
        caffe2op_mask.functional.masked_attention = operator
    assert len(calls) == 4 and all(one["mask"] is None for one in calls)
    assert all(one["lengths"] is not None and one["left_pad"] is not None for one in calls)
    assert [one.get("window") for one in calls] == [None, None, (3, 0), None]
    assert calls[3]["is_causal"] and not calls[0].get("is_causal")


# The package.


def test_import_does_not_import_transformers():
    code = "import sys, caffe2op_mask; assert 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


@pytest.mark.parametrize(
    "fake, words",
    [
        (None, "needs transformers 5.0 or later, but importing it failed: "),
        (types.SimpleNamespace(__version__="4.57.1"), "but 4.57.1 is installed."),
    ],
)
def test_a_transformers_that_does_not_fit(monkeypatch, fake, words):
    monkeypatch.setitem(sys.modules, "transformers", fake)
    with pytest.raises(ImportError) as raised:
        caffe2op_mask.transformers.register()
    assert words in str(raised.value)
