"""Attention and masks, as transformers calls for them.

Only interfaces that transformers has for this are used, and it is not imported before `register`.
"""

from typing import Any, Callable, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe2op_mask import functional

NAME = "caffe2op_mask"
_FIRST_RELEASE = 5
# The keyword by which models hand the `Packing` of `unpadded` to their layers.
PACKING = "caffe2op_mask_packing"


def register() -> None:
    """Makes ``attn_implementation="caffe2op_mask"`` known to transformers.

    It takes what "sdpa" takes, and softcap and attention sinks, which that does not. Harmless where
    it was called before.

    - Padding at the end of each row becomes lengths, at the beginning ``left_pad``, holes a mask of
      keys. Causal masks and sliding windows become options, with a cache of keys or without. What
      is masked so is not computed.
    - Other masks, such as those of packed sequences, chunks or images, and masks that are made
      under ``torch.compile``, are the bool masks that "sdpa" takes.
    - Dropout in training needs the weights: the matrix of scores is then stored, as "eager" does.
    - Attention weights are not returned.

    Results at padding differ from those of "eager" and "sdpa": a query that sees no key is 0.

    Raises:
        ImportError: there is no transformers, or one before 5.0.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "caffe2op_mask.transformers needs transformers 5.0 or later, but importing it failed: "
            "{}".format(error)
        ) from error
    if int(transformers.__version__.split(".")[0]) < _FIRST_RELEASE:
        raise ImportError(
            "caffe2op_mask.transformers needs transformers 5.0 or later, but {} is "
            "installed.".format(transformers.__version__)
        )
    transformers.AttentionInterface.register(NAME, attention)
    transformers.AttentionMaskInterface.register(NAME, mask)


class Kept(NamedTuple):
    """What a mask keeps, in the terms of `masked_attention`.

    begins, ends: int64 ``[B]``, the keys of each row that are no padding
    mask:         bool ``[B, 1, 1, Lk]``, the same where padding has no such form
    lower, upper: key j is kept where ``i + lower <= j <= i + upper``
    """

    begins: Optional[Tensor]
    ends: Optional[Tensor]
    mask: Optional[Tensor]
    lower: Optional[int]
    upper: Optional[int]

    def options(self):
        """Those of `masked_attention` and `masked_softmax`."""
        found = {"left_pad": self.begins, "lengths": self.ends, "mask": self.mask}
        if self.lower is None and self.upper is None:
            return found
        if self.lower is None:
            found.update(is_causal=True, diagonal=self.upper)
        elif self.lower <= 0:
            found["window"] = (-self.lower, -1 if self.upper is None else self.upper)
        else:
            found.update(mode="lower", diagonal=self.lower)
            found["window"] = (-1, -1 if self.upper is None else self.upper)
        return found


# A bool mask that has this attribute keeps what it says. Where a model makes another tensor of the
# mask, the attribute is lost and the mask is read as it is.
_KEPT = "caffe2op_mask_kept"


def is_traced() -> bool:
    """Whether a graph is made, for which values must not be read."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: Any = 0,
    kv_offset: int = 0,
    mask_function: Optional[Callable] = None,
    attention_mask: Optional[Tensor] = None,
    local_size: Optional[int] = None,
    allow_is_causal_skip: bool = True,
    allow_is_bidirectional_skip: bool = False,
    device: Any = "cpu",
    **kwargs: Any
) -> Optional[Tensor]:
    """The mask of a forward pass, as ``transformers.AttentionMaskInterface`` calls for it.

    The arguments are those of ``transformers.masking_utils.sdpa_mask``, and so is the result: bool
    ``[B, 1, Lq, Lk]``, or None where `attention` masks what is needed without.
    """
    from transformers.masking_utils import causal_mask_function, sdpa_mask

    if mask_function is None:
        mask_function = causal_mask_function
    band = None
    if not is_traced():
        q_offset = int(q_offset)
        may_be_local = allow_is_causal_skip or allow_is_bidirectional_skip
        band = _band(
            mask_function,
            local_size if may_be_local else None,
            allow_is_causal_skip,
            (batch_size, q_length, kv_length, q_offset, kv_offset, device),
        )
    if band is None:
        # Of such a mask nothing is known by which it could be left out.
        may_skip = is_traced()
        return sdpa_mask(
            batch_size=batch_size,
            q_length=q_length,
            kv_length=kv_length,
            q_offset=q_offset,
            kv_offset=kv_offset,
            mask_function=mask_function,
            attention_mask=attention_mask,
            local_size=local_size,
            allow_is_causal_skip=allow_is_causal_skip and may_skip,
            allow_is_bidirectional_skip=allow_is_bidirectional_skip and may_skip,
            device=device,
            **kwargs
        )
    is_causal, lower, upper = band
    # What cuts nothing is left out.
    if lower is not None and lower <= 1 - q_length:
        lower = None
    if upper is not None and upper >= kv_length - 1:
        upper = None
    padding = _padding(attention_mask, kv_length, kv_offset)
    if padding is None and lower is None:
        if is_causal:
            is_default = upper is None if q_length == 1 else upper == 0 or kv_length == 1
        else:
            is_default = upper is None
        if is_default and (allow_is_causal_skip if is_causal else allow_is_bidirectional_skip):
            return None
    begins, ends, of_keys = (None, None, None) if padding is None else _spans(padding)
    result = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
    if lower is not None or upper is not None:
        distance = torch.arange(kv_length, device=device)
        distance = distance - torch.arange(q_length, device=device)[:, None]
        if upper is not None:
            result = result & (distance <= upper)
        if lower is not None:
            result = result & (distance >= lower)
    if padding is not None:
        result = result & padding[:, None, None, :]
    result = result.expand(batch_size, 1, q_length, kv_length)
    setattr(result, _KEPT, Kept(begins, ends, of_keys, lower, upper))
    return result


def _band(mask_function, local_size, may_be_causal, sizes) -> Optional[Tuple]:
    """Whether the function is causal, and its lower and upper distances; None where it is no band.

    Distances are of the indices in queries and keys, which begin at offsets of their own.
    """
    from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

    shift = sizes[3] - sizes[4]
    if mask_function is causal_mask_function:
        return True, None, shift
    if mask_function is bidirectional_mask_function:
        return False, None, None
    if local_size is None:
        return None
    # A function of a size is a window or, where it is causal, chunks.
    if may_be_causal:
        lower, upper = 1 - local_size, 0
    else:
        lower, upper = -local_size, local_size
    if not _has_edges(mask_function, lower, upper, sizes):
        return None
    return may_be_causal, lower + shift, upper + shift


def _has_edges(mask_function, lower, upper, sizes) -> bool:
    """Whether the function keeps, for each query, the ends of the band and not what is beyond.

    Windows and chunks keep an interval, so that its ends say all.
    """
    batch_size, q_length, kv_length, q_offset, kv_offset, device = sizes
    batch = torch.arange(batch_size, device=device)[:, None, None, None]
    head = torch.zeros(1, 1, 1, 1, dtype=torch.int64, device=device)
    q = torch.arange(q_length, device=device)[None, None, :, None] + q_offset
    first, last = kv_offset, kv_offset + kv_length - 1
    ends = torch.cat([(q + lower).clamp(min=first), (q + upper).clamp(max=last)], dim=-1)
    beyond = torch.cat([q + lower - 1, q + upper + 1], dim=-1)
    keeps = mask_function(batch, head, q, ends.clamp(first, last))
    keeps_beyond = mask_function(batch, head, q, beyond.clamp(first, last))
    has_band = ends[..., :1] <= ends[..., 1:]
    exists = (beyond >= first) & (beyond <= last)
    return bool((keeps | ~has_band).all() and not (keeps_beyond & exists).any())


def _padding(attention_mask, kv_length, kv_offset) -> Optional[Tensor]:
    """bool ``[B, Lk]``, False where there is padding; None where there is none."""
    if attention_mask is None:
        return None
    missing = kv_offset + kv_length - attention_mask.shape[-1]
    if missing > 0:
        attention_mask = F.pad(attention_mask, (0, missing))
    padding = attention_mask[:, kv_offset : kv_offset + kv_length].to(torch.bool)
    return None if padding.all() else padding


def _spans(padding) -> Tuple[Optional[Tensor], Optional[Tensor], Optional[Tensor]]:
    """Where the keys of each row begin and end, and a mask of keys where they have holes."""
    keys = padding.shape[1]
    counts = padding.sum(dim=1)
    begins = padding.to(torch.uint8).argmax(dim=1)
    ends = torch.where(counts > 0, keys - padding.flip(1).to(torch.uint8).argmax(dim=1), 0)
    if not torch.equal(ends - begins, counts):
        return None, None, padding[:, None, None, :]
    return (begins if begins.any() else None), (ends if (ends < keys).any() else None), None


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Optional[Tensor] = None,
    dropout: float = 0.0,
    scaling: Optional[float] = None,
    is_causal: Optional[bool] = None,
    softcap: Optional[float] = None,
    s_aux: Optional[Tensor] = None,
    position_bias: Optional[Tensor] = None,
    cu_seq_lens_q: Optional[Tensor] = None,
    cu_seq_lens_k: Optional[Tensor] = None,
    sliding_window: Optional[int] = None,
    **kwargs: Any
) -> Tuple[Tensor, None]:
    """Attention, as ``transformers.AttentionInterface`` calls for it.

    Args:
        query: ``[B, H, Lq, D]``. key: ``[B, Hkv, Lk, D]``. value: ``[B, Hkv, Lk, Dv]``.
        attention_mask: of `mask`; or bool, True keeps, or a float that is added to scores, of a
            shape that broadcasts to ``[B, H, Lq, Lk]``. None is causal where the module or
            ``is_causal`` says so and there are several queries; the first sees the first key.
        dropout: probability that a weight is dropped.
        softcap: scores become ``softcap * tanh(score / softcap)``.
        s_aux: ``[H]``, attention sinks.
        position_bias: added to the scores.
        cu_seq_lens_q, cu_seq_lens_k: int ``[N + 1]``, 0 and where each sequence ends, of sequences
            that lie one behind the other in a batch of 1. Each then sees itself alone, by
            `varlen_attention`, and attention_mask is not read.
        sliding_window: read where there is cu_seq_lens_q; a mask has the window otherwise.

    Returns:
        ``[B, Lq, H, Dv]``, and None for the weights.

    Raises:
        ValueError: cu_seq_lens_q with a batch that is not 1, or with position_bias.
    """
    sinks = None if s_aux is None else s_aux.to(query.dtype)
    if cu_seq_lens_q is not None:
        if query.shape[0] != 1 or position_bias is not None:
            raise ValueError(
                "caffe2op_mask.transformers.attention: cu_seq_lens_q needs a batch of 1 without "
                "position_bias, but there is {}.".format(
                    "a batch of {}".format(query.shape[0])
                    if position_bias is None
                    else "a position_bias"
                )
            )
        if is_causal is None:
            is_causal = getattr(module, "is_causal", True)
        sequences = _Sequences(cu_seq_lens_q, cu_seq_lens_k, bool(is_causal), sliding_window)
        if dropout > 0:
            attended = sequences.with_dropout(query, key, value, dropout, scaling, softcap, sinks)
        else:
            attended = sequences.attention(query, key, value, scaling, softcap, sinks)
        packing = kwargs.get(PACKING)
        if packing is not None:
            packing.attended += 1
        return attended, None
    bias = None if position_bias is None else position_bias.to(query.dtype)
    kept = None if is_traced() else getattr(attention_mask, _KEPT, None)
    if kept is not None and attention_mask.shape[2:] == (query.shape[2], key.shape[2]):
        options = kept.options()
    elif attention_mask is None:
        if is_causal is None:
            is_causal = getattr(module, "is_causal", True)
        options = {"is_causal": query.shape[2] > 1 and bool(is_causal)}
    elif attention_mask.dtype == torch.bool:
        options = {"mask": attention_mask}
    else:
        attention_mask = attention_mask.to(query.dtype)
        bias = attention_mask if bias is None else bias + attention_mask
        options = {}
    options["bias"] = bias
    if dropout > 0:
        attended = _with_dropout(query, key, value, dropout, scaling, softcap, sinks, options)
    else:
        attended = functional.masked_attention(
            query,
            key,
            value,
            scale=scaling,
            softcap=softcap or 0.0,
            sinks=sinks,
            enable_gqa=True,
            **options
        )
    return attended.transpose(1, 2).contiguous(), None


class _Sequences(NamedTuple):
    """Sequences that lie one behind the other in a batch of 1."""

    cu_seq_q: Tensor
    cu_seq_k: Optional[Tensor]
    is_causal: bool
    sliding_window: Optional[int]

    def attention(self, query, key, value, scaling, softcap, sinks):
        window = None
        if self.sliding_window is not None:
            side = self.sliding_window - 1
            window = (side, 0 if self.is_causal else side)
        return functional.varlen_attention(
            *(one[0].transpose(0, 1) for one in (query, key, value)),
            self.cu_seq_q,
            self.cu_seq_k,
            sinks=sinks,
            is_causal=self.is_causal,
            window=window,
            scale=scaling,
            softcap=softcap or 0.0,
            enable_gqa=True,
        )[None]

    def with_dropout(self, query, key, value, *others):
        """A matrix of scores for each sequence, none of which has padding."""
        ends_q = self.cu_seq_q.tolist()
        ends_k = ends_q if self.cu_seq_k is None else self.cu_seq_k.tolist()
        attended = [query.new_empty(1, query.shape[1], 0, value.shape[-1])]
        for i in range(len(ends_q) - 1):
            q = query[:, :, ends_q[i] : ends_q[i + 1]]
            k, v = (one[:, :, ends_k[i] : ends_k[i + 1]] for one in (key, value))
            if not q.shape[2]:
                continue
            shift = k.shape[2] - q.shape[2]
            side = self.sliding_window
            kept = Kept(
                begins=None,
                ends=None,
                mask=None,
                lower=None if side is None else shift + 1 - side,
                upper=shift if self.is_causal else None if side is None else shift + side - 1,
            )
            attended.append(_with_dropout(q, k, v, *others, kept.options()))
        return torch.cat(attended, dim=2).transpose(1, 2)


def _with_dropout(query, key, value, dropout, scaling, softcap, sinks, options):
    """Attention some of whose weights are dropped, with a matrix of scores."""
    group = query.shape[1] // key.shape[1]
    if group > 1:
        key, value = (one.repeat_interleave(group, dim=1) for one in (key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query, key.transpose(-2, -1))
    if softcap:
        scores, scale = softcap * torch.tanh(scores * (scale / softcap)), 1.0
    weights, lse = functional.masked_softmax(scores, scale=scale, return_lse=True, **options)
    if sinks is not None:
        # A sink takes its part of each row.
        weights = weights * torch.sigmoid(lse - sinks[:, None])[..., None].to(weights.dtype)
    return torch.matmul(F.dropout(weights, dropout), value)
