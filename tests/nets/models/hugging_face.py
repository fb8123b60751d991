"""Models of the transformers library, as small as they go.

Not here, since opset 9 or Caffe2 lacks what they need: BERT with relative keys and GPT-J (einsum),
CTRL and CLIP (triu), ConvBERT (im2col), I-BERT (cumsum), LayoutLM (Gather of axis 2), MobileBERT
(Pad of three dimensions) and DeBERTa (the exporter fails).
"""

import transformers
from torch import nn

from models.table import (
    BOTH,
    DIM,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    LAYERS,
    POSITIONS,
    STATIC,
    VOCABULARY,
    net,
)

ARGUMENTS = {
    "ids": "input_ids",
    "mask": "attention_mask",
    "float_mask": "attention_mask",
    "pair_mask": "attention_mask",
    "pixels": "pixel_values",
    "positions": "position_ids",
    "decoder_ids": "decoder_input_ids",
}

BERT_LIKE = dict(
    vocab_size=VOCABULARY,
    hidden_size=DIM,
    embedding_size=DIM,
    num_hidden_layers=LAYERS,
    num_attention_heads=HEADS,
    intermediate_size=HIDDEN,
    max_position_embeddings=POSITIONS,
)
GPT_LIKE = dict(
    vocab_size=VOCABULARY,
    n_embd=DIM,
    n_layer=LAYERS,
    n_head=HEADS,
    n_positions=POSITIONS,
    n_ctx=POSITIONS,
)
BART_LIKE = dict(
    vocab_size=VOCABULARY,
    d_model=DIM,
    encoder_layers=LAYERS,
    decoder_layers=LAYERS,
    encoder_attention_heads=HEADS,
    decoder_attention_heads=HEADS,
    encoder_ffn_dim=HIDDEN,
    decoder_ffn_dim=HIDDEN,
    max_position_embeddings=POSITIONS,
)
T5_LIKE = dict(
    vocab_size=VOCABULARY, d_model=DIM, d_kv=HEAD_DIM, d_ff=HIDDEN, num_layers=LAYERS,
    num_heads=HEADS, relative_attention_num_buckets=6,
)
GPT_NEO = dict(
    vocab_size=VOCABULARY, hidden_size=DIM, num_layers=2, num_heads=HEADS, intermediate_size=HIDDEN,
    attention_types=[[["global", "local"], 1]], window_size=2, max_position_embeddings=POSITIONS,
)
XLM = dict(
    vocab_size=VOCABULARY, emb_dim=DIM, n_layers=LAYERS, n_heads=HEADS,
    max_position_embeddings=POSITIONS, n_langs=1,
)
VISION = dict(
    hidden_size=DIM, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=HIDDEN,
    image_size=8, patch_size=4,
)
DISTIL = dict(
    vocab_size=VOCABULARY, dim=DIM, hidden_dim=HIDDEN, n_layers=LAYERS, n_heads=HEADS,
    max_position_embeddings=POSITIONS,
)


class Positional(nn.Module):
    """The model with positional inputs, and a tuple of so many outputs."""

    def __init__(self, model, arguments, outputs):
        super().__init__()
        self.model, self.arguments, self.outputs = model, arguments, outputs

    def forward(self, *inputs):
        outputs = self.model(return_dict=False, **dict(zip(self.arguments, inputs)))
        flat = []
        for output in outputs:
            flat.extend(output if isinstance(output, tuple) else [output])
        return tuple(flat[: self.outputs])


def add(name, model, config, inputs="ids mask", sizes=BOTH, base="Model", outputs=1, export=None,
        **options):
    """``model`` is the stem of the names of its classes."""

    def make():
        configuration = getattr(transformers, model + "Config")(**dict(config, **options))
        instance = getattr(transformers, model + base)(configuration)
        return Positional(instance, [ARGUMENTS[i] for i in inputs.split()], outputs)

    net(name, make, inputs, sizes, **dict({"aten": False}, **(export or {})))


ATEN = {"aten": True}
UNSPLIT = {"split": False}
UNFOLDED = {"fold": False}  # the exporter fails to fold where all positions are constant
PLACED = "ids mask positions"  # else the model computes positions by cumsum
BOTH_SIDES = "ids mask decoder_ids"

add("bert", "Bert", BERT_LIKE)
add("bert_float_mask", "Bert", BERT_LIKE, "ids float_mask")
add("bert_no_mask", "Bert", BERT_LIKE, "ids")
add("bert_pair_mask", "Bert", BERT_LIKE, "ids pair_mask")
add("bert_static", "Bert", BERT_LIKE, sizes=STATIC, export=UNFOLDED)
add("bert_static_aten", "Bert", BERT_LIKE, sizes=STATIC, export=ATEN)
add("bert_static_unsplit", "Bert", BERT_LIKE, sizes=STATIC, export={"fold": False, "split": False})
add("bert_unsplit", "Bert", BERT_LIKE, export=UNSPLIT)
add("bert_two_layers", "Bert", BERT_LIKE, num_hidden_layers=2)
add("bert_attentions", "Bert", BERT_LIKE, outputs=3, output_attentions=True)
add("bert_decoder", "Bert", BERT_LIKE, is_decoder=True, use_cache=False)
add("bert_classifier", "Bert", BERT_LIKE, base="ForSequenceClassification")
add("roberta", "Roberta", BERT_LIKE, PLACED)
add("roberta_static_aten", "Roberta", BERT_LIKE, sizes=STATIC, export=ATEN)
add("electra", "Electra", BERT_LIKE)
add("electra_static_aten", "Electra", BERT_LIKE, sizes=STATIC, export=ATEN)
add("albert", "Albert", BERT_LIKE)
add("albert_two_layers", "Albert", BERT_LIKE, num_hidden_layers=2)
add("distilbert", "DistilBert", DISTIL)
add("distilbert_no_mask", "DistilBert", DISTIL, "ids")
add("distilbert_static_aten", "DistilBert", DISTIL, sizes=STATIC, export=ATEN)
add("distilbert_unsplit", "DistilBert", DISTIL, export=UNSPLIT)
add("mpnet", "MPNet", BERT_LIKE, PLACED)
add("squeezebert", "SqueezeBert", BERT_LIKE)
add("gpt2", "GPT2", GPT_LIKE, use_cache=False)
add("gpt2_static", "GPT2", GPT_LIKE, sizes=STATIC, use_cache=False)
add("gpt2_no_mask", "GPT2", GPT_LIKE, "ids", use_cache=False)
add("gpt2_no_mask_static", "GPT2", GPT_LIKE, "ids", sizes=STATIC, use_cache=False)
add("gpt2_unsplit", "GPT2", GPT_LIKE, export=UNSPLIT, use_cache=False)
add("gpt2_attentions", "GPT2", GPT_LIKE, outputs=2, use_cache=False, output_attentions=True)
add("gpt2_lm_two_layers", "GPT2", GPT_LIKE, "ids", base="LMHeadModel", use_cache=False, n_layer=2)
add("openai_gpt", "OpenAIGPT", GPT_LIKE)
add("openai_gpt_static", "OpenAIGPT", GPT_LIKE, sizes=STATIC, export=UNFOLDED)
add("openai_gpt_no_mask", "OpenAIGPT", GPT_LIKE, "ids")
add("openai_gpt_unsplit", "OpenAIGPT", GPT_LIKE, export=UNSPLIT)
add("bart", "Bart", BART_LIKE, BOTH_SIDES, use_cache=False)
add("bart_static", "Bart", BART_LIKE, BOTH_SIDES, sizes=STATIC, use_cache=False)
add("bart_unsplit", "Bart", BART_LIKE, BOTH_SIDES, export=UNSPLIT, use_cache=False)
add("bart_no_mask", "Bart", BART_LIKE, "ids decoder_ids", use_cache=False)
add("bart_attentions", "Bart", BART_LIKE, BOTH_SIDES, outputs=4, use_cache=False,
    output_attentions=True)
add("mbart", "MBart", BART_LIKE, BOTH_SIDES, use_cache=False)
add("marian", "Marian", BART_LIKE, BOTH_SIDES, use_cache=False, pad_token_id=1)
add("t5", "T5", T5_LIKE, BOTH_SIDES, use_cache=False)
add("t5_static", "T5", T5_LIKE, BOTH_SIDES, sizes=STATIC, use_cache=False)
add("t5_unsplit", "T5", T5_LIKE, BOTH_SIDES, export=UNSPLIT, use_cache=False)
add("t5_encoder", "T5", T5_LIKE, base="EncoderModel", use_cache=False)
add("gpt_neo", "GPTNeo", GPT_NEO, use_cache=False)
add("gpt_neo_static", "GPTNeo", GPT_NEO, sizes=STATIC, use_cache=False)
add("xlm", "XLM", XLM, use_cache=False)
add("vit", "ViT", VISION, "pixels", sizes=STATIC)
add("beit", "Beit", dict(VISION, use_relative_position_bias=True), "pixels", sizes=STATIC)
add("blenderbot", "Blenderbot", BART_LIKE, BOTH_SIDES, use_cache=False)
add("pegasus", "Pegasus", BART_LIKE, BOTH_SIDES, use_cache=False)
add("nystromformer", "Nystromformer", BERT_LIKE)
add("big_bird", "BigBird", BERT_LIKE, attention_type="original_full")
add("visual_bert", "VisualBert", dict(BERT_LIKE, visual_embedding_dim=DIM))
add("flaubert", "Flaubert", XLM, use_cache=False)
add("rembert", "RemBert", dict(BERT_LIKE, input_embedding_size=DIM))
