"""MultiheadAttention: that of torch.nn, over what is kept alone."""

from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from caffe2op_mask import functional
from caffe2op_mask.functional.scores import Window
from caffe2op_mask.nn.checks import Described, in_interval
from caffe2op_mask.sizes import positive_sizes


class MultiheadAttention(Described):
    """``torch.nn.MultiheadAttention``, whose parameters it shares, with lengths and windows.

    A state dict of one can be loaded into the other, and the results are the same but for rows of
    which nothing is kept: theirs are NaN, here they are attended to nothing, zeros before the last
    projection.

    Args:
        embed_dim: last dim of the query and of the result.
        num_heads: how many heads of ``embed_dim // num_heads`` there are.
        dropout: probability that a weight is dropped in training.
        bias: the projections have biases.
        kdim, vdim: last dims of key and value; embed_dim where they are absent.
        batch_first: the batch is the first dim, and not the second.

    ``add_bias_kv`` and ``add_zero_attn`` of ``torch.nn.MultiheadAttention`` are not available.

    Parameters:
        in_proj_weight ``[3 * embed_dim, embed_dim]``, or q_proj_weight, k_proj_weight and
        v_proj_weight where kdim or vdim differ; in_proj_bias; out_proj.weight and out_proj.bias.

    Shapes:
        query ``[B, L, embed_dim]``, key ``[B, S, kdim]``, value ``[B, S, vdim]``, or with the first
        two dims changed without ``batch_first``, or all of them without the dim of the batch. The
        result is ``[B, L, embed_dim]``. float16, bfloat16, float32 or float64.

    Raises:
        ValueError: dims or heads that are not positive or do not divide, a dropout that is no
            probability, a query that has neither two nor three dims.
        RuntimeError: inputs of shapes or dtypes that do not fit.

    Source: Vaswani et al. 2017; ``torch.nn.MultiheadAttention``.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: Optional[int] = None,
        vdim: Optional[int] = None,
        batch_first: bool = False,
        device: Optional[torch.device] = None,
        dtype: Optional[torch.dtype] = None
    ) -> None:
        super().__init__()
        layer = "MultiheadAttention"
        self.embed_dim, self.num_heads = positive_sizes(layer, embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads:
            raise ValueError(
                "{}: embed_dim must be a multiple of num_heads, but they are {} and {}.".format(
                    layer, embed_dim, num_heads
                )
            )
        self.kdim, self.vdim = positive_sizes(
            layer,
            kdim=embed_dim if kdim is None else kdim,
            vdim=embed_dim if vdim is None else vdim,
        )
        self.dropout = in_interval(layer, "dropout", dropout, 0, 1)
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        # torch.nn.TransformerEncoderLayer computes attention by itself where it reads True here.
        self._qkv_same_embed_dim = False

        def weight(*sizes):
            return nn.Parameter(torch.empty(*sizes, device=device, dtype=dtype))

        own = {"in_proj_weight": None, "q_proj_weight": None}
        own.update({"k_proj_weight": None, "v_proj_weight": None, "in_proj_bias": None})
        if self.kdim == self.vdim == embed_dim:
            own["in_proj_weight"] = weight(3 * embed_dim, embed_dim)
        else:
            own["q_proj_weight"] = weight(embed_dim, embed_dim)
            own["k_proj_weight"] = weight(embed_dim, self.kdim)
            own["v_proj_weight"] = weight(embed_dim, self.vdim)
        if bias:
            own["in_proj_bias"] = weight(3 * embed_dim)
        for name, parameter in own.items():
            self.register_parameter(name, parameter)
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self._describe(
            self.embed_dim,
            self.num_heads,
            dropout=dropout or None,
            kdim=kdim,
            vdim=vdim,
            batch_first=batch_first,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for weight in (
            self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight,
        ):
            if weight is not None:
                nn.init.xavier_uniform_(weight)
        self.out_proj.reset_parameters()
        if self.in_proj_bias is not None:
            nn.init.zeros_(self.in_proj_bias)
            nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Optional[Tensor] = None,
        need_weights: bool = False,
        attn_mask: Optional[Tensor] = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        lengths: Optional[Tensor] = None,
        left_pad: Optional[Tensor] = None,
        window: Optional[Window] = None
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """Attends; the first arguments mean what they do to ``torch.nn.MultiheadAttention``.

        Args:
            key_padding_mask: ``[B, S]``; bool, True masks a key, or a float that is added to
                scores.
            need_weights: also return the weights. They, and dropout in training, need the matrix of
                scores, which is not stored otherwise; so this is False where it is absent.
            attn_mask: ``[L, S]`` or ``[B * num_heads, L, S]``; bool, True masks a score, or a float
                that is added to it.
            average_attn_weights: the weights are the mean over heads.
            is_causal: key j is kept where ``j <= i``, whether there is an attn_mask or not.
            lengths: int32 or int64 ``[B]``; key j is kept where ``j < lengths[b]``.
            left_pad: the same; key j is kept where ``j >= left_pad[b]``.
            window: how many keys are kept on each side of a query's own, or a pair (left, right);
                -1 is all.

        Returns:
            The result, and ``[B, L, S]``, ``[B, num_heads, L, S]`` where they are not averaged, or
            None without ``need_weights``.
        """
        if query.dim() not in (2, 3):
            raise ValueError(
                "MultiheadAttention: query must have two or three dims, but has {}.".format(
                    query.dim()
                )
            )
        is_batched = query.dim() == 3
        to_itself = query is key and key is value
        sequences = [query] if to_itself else [query, key, value]
        if not is_batched:
            sequences = [one.unsqueeze(0) for one in sequences]
        elif not self.batch_first:
            sequences = [one.transpose(0, 1) for one in sequences]
        q, k, v = (
            one.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for one in self._project(sequences)
        )
        mask, bias = self._kept(key_padding_mask, attn_mask, q)
        kept = {"lengths": lengths, "left_pad": left_pad, "mask": mask, "bias": bias}
        kept.update(is_causal=is_causal, window=window)
        weights = None
        if need_weights or (self.training and self.dropout > 0):
            kept["scale"] = self.head_dim**-0.5
            weights = functional.masked_softmax(torch.matmul(q, k.transpose(-2, -1)), **kept)
            weights = F.dropout(weights, self.dropout, self.training)
            attended = torch.matmul(weights, v)
        else:
            attended = functional.masked_attention(q, k, v, **kept)
        result = self.out_proj(attended.transpose(1, 2).flatten(2))
        if not need_weights:
            weights = None
        elif average_attn_weights:
            weights = weights.mean(dim=1)
        if not is_batched:
            return result.squeeze(0), None if weights is None else weights.squeeze(0)
        return result if self.batch_first else result.transpose(0, 1), weights

    def _project(self, sequences):
        """Queries, keys and values, each ``[B, L, embed_dim]``."""
        if len(sequences) == 1 and self.in_proj_weight is not None:
            return F.linear(sequences[0], self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        if self.in_proj_weight is not None:
            weights = self.in_proj_weight.chunk(3)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        if len(sequences) == 1:
            sequences = sequences * 3
        return [F.linear(*one) for one in zip(sequences, weights, biases)]

    def _kept(self, key_padding_mask, attn_mask, q):
        """The masks of torch.nn as a mask whose True keeps, and a bias."""
        mask = bias = None
        if key_padding_mask is not None:
            if key_padding_mask.dim() == 1:
                key_padding_mask = key_padding_mask.unsqueeze(0)
            key_padding_mask = key_padding_mask[:, None, None, :]
        if attn_mask is not None and attn_mask.dim() == 3:
            attn_mask = attn_mask.unflatten(0, (q.shape[0], self.num_heads))
        for one in (key_padding_mask, attn_mask):
            if one is None:
                continue
            if one.dtype == torch.bool:
                mask = ~one if mask is None else mask & ~one
            else:
                one = one.to(q.dtype)
                bias = one if bias is None else bias + one
        return mask, bias
