"""Layers of torch.nn."""

import math

import torch
from torch import nn

from models.table import BATCH, BOTH, DIM, HEADS, HIDDEN, STATIC, WIDE_DIM, net


class Self(nn.Module):
    """nn.MultiheadAttention of one input, with a mask of a given kind."""

    def __init__(self, kind=None, weights=False, batch_first=False, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(DIM, HEADS, batch_first=batch_first, **options)
        self.kind, self.weights = kind, weights
        triangle = torch.ones(5, 5).triu(1).bool()
        self.register_buffer("bool_mask", triangle)
        self.register_buffer("float_mask", torch.zeros(5, 5).masked_fill(triangle, -math.inf))

    def forward(self, x, mask=None):
        options = {"need_weights": self.weights}
        if self.kind in ("bool_mask", "float_mask"):
            options["attn_mask"] = getattr(self, self.kind)
        elif self.kind:
            options[self.kind] = mask
        output, weights = self.attention(x, x, x, **options)
        return (output, weights) if self.weights else output


class Cross(nn.Module):
    """nn.MultiheadAttention over a memory, which has its own width or not."""

    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(DIM, HEADS, **options)

    def forward(self, x, memory, padding):
        return self.attention(x, memory, memory, key_padding_mask=padding, need_weights=False)[0]


class Decoder(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(DIM, HEADS, HIDDEN, **options)
        triangle = torch.ones(5, 5).triu(1).bool()
        self.register_buffer("causal", torch.zeros(5, 5).masked_fill(triangle, -math.inf))

    def forward(self, x, memory, memory_padding):
        return self.layer(
            x, memory, tgt_mask=self.causal, memory_key_padding_mask=memory_padding
        )


class Encoder(nn.Module):
    """A layer, or a stack of them, with the mask of that name."""

    def __init__(self, mask=None, layers=0, **options):
        super().__init__()
        layer = nn.TransformerEncoderLayer(DIM, HEADS, HIDDEN, **options)
        self.encoder = nn.TransformerEncoder(layer, layers) if layers else layer
        self.mask = mask

    def forward(self, x, mask=None):
        return self.encoder(x, **({self.mask: mask} if self.mask else {}))


class Whole(nn.Module):
    """nn.Transformer."""

    def __init__(self):
        super().__init__()
        self.transformer = nn.Transformer(DIM, HEADS, 1, 1, HIDDEN, batch_first=True)

    def forward(self, x, memory, mask):
        return self.transformer(memory, x, tgt_mask=mask)


def add(name, module, *args, inputs="xt", sizes=BOTH, export=None, **options):
    net("torch_" + name, lambda: module(*args, **options), inputs, sizes, **(export or {}))


add("mha", Self)
add("mha_unfolded", Self, export={"fold": False})
add("mha_static", Self, sizes=STATIC)
add("mha_batch_first", Self, inputs="x", batch_first=True)
add("mha_weights", Self, weights=True)
add("mha_padding", Self, "key_padding_mask", inputs="xt padding")
add("mha_padding_unsplit", Self, "key_padding_mask", inputs="xt padding",
    export={"split": False})
add("mha_attn_mask_float_unsplit", Self, "float_mask", sizes=BATCH, export={"split": False})
add("mha_padding_static", Self, "key_padding_mask", inputs="xt padding", sizes=STATIC)
add("mha_padding_batch_first", Self, "key_padding_mask", inputs="x padding", batch_first=True)
add("mha_padding_weights", Self, "key_padding_mask", True, inputs="xt padding")
add("mha_attn_mask_input", Self, "attn_mask", inputs="xt causal_bias")
add("mha_attn_mask_bool_input", Self, "attn_mask", inputs="xt causal_padding")
add("mha_attn_mask_float", Self, "float_mask", sizes=BATCH)
add("mha_attn_mask_float_unfolded", Self, "float_mask", sizes=BATCH,
    export={"fold": False})
add("mha_attn_mask_bool", Self, "bool_mask", sizes=BATCH)
add("mha_bias_kv", Self, add_bias_kv=True, add_zero_attn=True, sizes=BATCH)
add("mha_cross_batch_first", Cross, inputs="x memory memory_padding", batch_first=True)
add("mha_cross_static", Cross, inputs="xt memory_t memory_padding", sizes=STATIC)
add("mha_cross_wide", Cross, inputs="x wide_memory memory_padding", batch_first=True,
    kdim=WIDE_DIM, vdim=WIDE_DIM)
add("encoder_layer", Encoder)
add("encoder_layer_padding", Encoder, "src_key_padding_mask", inputs="xt padding")
add("encoder_layer_unsplit", Encoder, "src_key_padding_mask", inputs="xt padding",
    export={"split": False})
add("encoder_layer_onnx", Encoder, "src_key_padding_mask", inputs="xt padding",
    export={"aten": False})
add("encoder_layer_causal", Encoder, "src_mask", inputs="xt causal_bias")
add("encoder_layer_norm_first", Encoder, "src_key_padding_mask", inputs="x padding",
    export={"aten": False}, norm_first=True, batch_first=True, activation="gelu")
add("encoder", Encoder, "src_key_padding_mask", 2, inputs="x padding", batch_first=True,
    export={"aten": False})
add("decoder_layer", Decoder, inputs="xt memory_t memory_padding", sizes=STATIC)
add("decoder_layer_batch_first", Decoder, inputs="x memory memory_padding", sizes=BATCH,
    batch_first=True, export={"aten": False})
add("transformer", Whole, inputs="x memory causal_bias", export={"aten": False})
