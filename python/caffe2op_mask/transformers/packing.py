"""Encoders that compute no padding: tokens are packed before the first layer, unpacked at the end.

Hooks of PyTorch do it, on layers, and keywords that models hand to these. Of an encoder itself
``forward`` is wrapped, because sentence-transformers call it past hooks. No class is changed. That
each pass was packed, and attended to as such, is checked behind it.
"""

import functools
import inspect
from typing import Any, List, NamedTuple, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe2op_mask import functional
from caffe2op_mask.transformers.interface import NAME, PACKING, is_traced, register

# Where classes of transformers have their layers, which run one behind the other. They hand what
# keywords they do not know to their layers, and these to AttentionInterface.
ENCODERS = {
    "BertModel": "encoder.layer",
    "BertGenerationEncoder": "encoder.layer",
    "CamembertModel": "encoder.layer",
    "Data2VecTextModel": "encoder.layer",
    "DistilBertModel": "transformer.layer",
    "ElectraModel": "encoder.layer",
    "ErnieModel": "encoder.layer",
    "EuroBertModel": "layers",
    "GteModel": "layers",
    "JinaEmbeddingsV3Model": "layers",
    "ModernBertModel": "layers",
    "NomicBertModel": "layers",
    "RobertaModel": "encoder.layer",
    "RobertaPreLayerNormModel": "encoder.layer",
    "RoCBertModel": "encoder.layer",
    "XLMRobertaModel": "encoder.layer",
    "XLMRobertaXLModel": "encoder.layer",
}

_UNDO = "_caffe2op_mask_undo"


def unpadded(model: torch.nn.Module) -> torch.nn.Module:
    """Prepares encoders of transformers, in place, so that their layers compute no padding.

    Tokens that ``attention_mask`` keeps are packed once before the first layer and unpacked once
    behind the last; attention is `varlen_attention`. Harmless where it was called before.

    Args:
        model: an encoder of `ENCODERS`, with a head or without, or a module with such in it, such
            as a ``SentenceTransformer``. Its ``attn_implementation`` becomes "caffe2op_mask".

    Returns:
        The model. `padded` undoes what was done.

    - Padding may be at the end, at the beginning, or holes, and a row may be nothing but padding.
    - Of what is packed, hidden states at padding are 0, in ``last_hidden_state`` and in each of
      ``hidden_states``. A pooler that reads a first token that is padding reads 0.
    - A batch without padding is not packed. Nor is one without a token, one whose attention_mask
      has not 2 dims, one with holes where the model has sliding windows, which count what is in
      them, or a pass under ``torch.compile``: they run padded, by `attention`.
    - In training, dropout of attention weights is computed sequence by sequence, with the matrix of
      scores of each; set it to 0 for the kernel's speed. Which weights are dropped differs from
      what a padded pass draws.
    - Attention weights are not returned.

    Raises:
        ImportError: there is no transformers, or one before 5.0.
        ValueError: a model that is not known, or a decoder.
        RuntimeError: in a pass, a release of transformers whose layers or attention are not
            reached.
    """
    register()
    for encoder in _encoders(model):
        if hasattr(encoder, _UNDO):
            continue
        layers = _layers(encoder)
        has_positions = "position_embeddings" in inspect.signature(layers[0].forward).parameters
        handles = [
            layers[0].register_forward_pre_hook(_pack, with_kwargs=True),
            layers[-1].register_forward_hook(_unpack, with_kwargs=True),
        ]
        if has_positions:
            handles += [
                layer.register_forward_pre_hook(_pack_positions, with_kwargs=True)
                for layer in layers
            ]
        attention, own = encoder.config._attn_implementation, encoder.__dict__.get("forward")
        setattr(encoder, _UNDO, _Undo(attention, own, handles))
        original = encoder.forward
        encoder.forward = functools.partial(_forward, encoder, original)
        # Who asks for the arguments of a model gets those that it has.
        encoder.forward.__wrapped__ = original
        encoder.set_attn_implementation(NAME)
    return model


def padded(model: torch.nn.Module) -> torch.nn.Module:
    """Undoes `unpadded`: the model computes padding again, by the attention that it had before.

    Args:
        model: what `unpadded` was given, or a copy of it.

    Returns:
        The model. One that was not prepared is left as it is.
    """
    for encoder in model.modules():
        undo = getattr(encoder, _UNDO, None)
        if undo is None:
            continue
        for handle in undo.handles:
            handle.remove()
        del encoder.forward
        if undo.forward is not None:
            encoder.forward = undo.forward
        encoder.set_attn_implementation(undo.attention)
        delattr(encoder, _UNDO)
    return model


class _Undo(NamedTuple):
    attention: str
    forward: Any  # that of the object, where it had one that is not its class's
    handles: List[Any]


class Packing:
    """Which tokens of a batch are packed, and what was done with them in this pass.

    mask:       bool ``[B, L]``, True keeps
    cu_seq:     int64 ``[B + 1]``, 0 and where each row ends
    tokens:     how many are kept
    positions:  the last position embeddings that were packed, as they came and packed
    unpacked:   what came out of the last layer
    attended:   how often attention was packed
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self.cu_seq = F.pad(mask.sum(dim=1).cumsum(0), (1, 0))
        self.tokens = int(self.cu_seq[-1])
        self.positions: Any = {}
        self.unpacked: Optional[Tensor] = None
        self.attended = 0

    def pack(self, rows: Tensor) -> Tensor:
        """``[B, L, ..]`` to ``[1, tokens, ..]``."""
        return functional.boolean_mask(rows, self.mask)[None]

    def unpack(self, rows: Tensor) -> Tensor:
        """The other way; 0 at padding."""
        return functional.boolean_unmask(self.mask, rows[0], layout="compact", fill_val=0.0)

    def is_packed(self, rows: Tensor) -> bool:
        return rows.shape[:2] == (1, self.tokens) and rows.shape[:2] != self.mask.shape


def _encoders(model):
    """The encoders in a module; raises ValueError where there is another model, or none."""
    from transformers import PreTrainedModel

    models = [one for one in model.modules() if isinstance(one, PreTrainedModel)]
    found = [one for one in models if _path(one)]
    others = [one for one in models if not any(_path(part) for part in one.modules())]
    if others or not found:
        # The innermost is what has layers.
        raise ValueError(
            "caffe2op_mask.transformers.unpadded: {} is no encoder that is known; these are: "
            "{}.".format(type(others[-1] if others else model).__name__, ", ".join(ENCODERS))
        )
    for one in found:
        if getattr(one.config, "is_decoder", False):
            raise ValueError(
                "caffe2op_mask.transformers.unpadded: {} must be an encoder, but its config has "
                "is_decoder.".format(type(one).__name__)
            )
        layers, expected = len(_layers(one)), one.config.num_hidden_layers
        if not layers or layers > expected:
            raise ValueError(
                "caffe2op_mask.transformers.unpadded: {} must have 1 to num_hidden_layers ({}) "
                "layers, but has {}.".format(type(one).__name__, expected, layers)
            )
    return found


def _path(model) -> Optional[str]:
    """Where its layers are, by the name of its class or of one that it is derived from."""
    names = (one.__name__ for one in type(model).__mro__)
    return next((ENCODERS[name] for name in names if name in ENCODERS), None)


def _layers(encoder):
    return encoder.get_submodule(_path(encoder))


def _forward(encoder, original, *args, **kwargs):
    """The pass of an encoder, whose arguments and result are those of `original`."""
    if len(args) > 1:
        names = inspect.signature(original).parameters
        args, kwargs = (), dict(zip(names, args), **kwargs)
    packing = _packing_of(encoder, kwargs.get("attention_mask"))
    if packing is None:
        return original(*args, **kwargs)
    kwargs.update(attention_mask=None)
    if packing.tokens == packing.mask.numel():
        return original(*args, **kwargs)
    kwargs.update(cu_seq_lens_q=packing.cu_seq, cu_seq_lens_k=packing.cu_seq)
    kwargs[PACKING] = packing
    return _finished(encoder, packing, original(*args, **kwargs))


def _packing_of(encoder, mask) -> Optional[Packing]:
    """How a batch is packed; None where it is run as it is."""
    if is_traced() or not isinstance(mask, Tensor) or mask.dim() != 2:
        return None
    if encoder.config._attn_implementation != NAME:
        return None
    packing = Packing(mask.to(torch.bool))
    # Models cannot take a batch of no tokens, and windows count what is in a hole.
    has_window = getattr(encoder.config, "sliding_window", None) is not None
    if packing.tokens == 0 or (has_window and _has_holes(packing.mask)):
        return None
    return packing


def _has_holes(mask) -> bool:
    """Whether there is padding between tokens of a row."""
    starts = (mask[:, 1:] & ~mask[:, :-1]).sum(dim=1) + mask[:, 0]
    return bool((starts > 1).any())


def _pack(layer, args, kwargs):
    """Before the first layer."""
    packing = kwargs.get(PACKING)
    if packing is None:
        return None
    if args:
        return (packing.pack(args[0]), *args[1:]), kwargs
    return args, dict(kwargs, hidden_states=packing.pack(kwargs["hidden_states"]))


def _pack_positions(layer, args, kwargs):
    """Before each layer that rotates queries and keys by their positions."""
    packing = kwargs.get(PACKING)
    if packing is None:
        return None
    given = kwargs["position_embeddings"]
    # One pair serves many layers. The key is an address, which `given` in the value keeps taken.
    if id(given) not in packing.positions:
        packed = tuple(
            packing.pack(one.expand(*packing.mask.shape, *one.shape[2:])) for one in given
        )
        packing.positions[id(given)] = given, packed
    return args, dict(kwargs, position_embeddings=packing.positions[id(given)][1])


def _unpack(layer, args, kwargs, output):
    """Behind the last layer."""
    packing = kwargs.get(PACKING)
    if packing is None:
        return None
    if isinstance(output, tuple):
        packing.unpacked = packing.unpack(output[0])
        return (packing.unpacked, *output[1:])
    packing.unpacked = packing.unpack(output)
    return packing.unpacked


def _finished(encoder, packing, output):
    """What an encoder returns, with the hidden states that were kept on the way unpacked."""
    if packing.unpacked is None or packing.attended < len(_layers(encoder)):
        raise RuntimeError(
            "caffe2op_mask.transformers.unpadded: layers and attention of {} must be reached by "
            "keywords, but are not in this release of transformers; use padded() and report "
            "it.".format(type(encoder).__name__)
        )

    def finished(one):
        if isinstance(one, (tuple, list)):
            return type(one)(finished(part) for part in one)
        if not isinstance(one, Tensor) or one.dim() != 3:
            return one
        if packing.is_packed(one):
            return packing.unpack(one)
        # A norm behind the last layer leaves its bias at padding.
        return one if one is packing.unpacked else functional.boolean_fill(one, packing.mask)

    if isinstance(output, tuple):
        return finished(output)
    for name, one in list(output.items()):
        output[name] = finished(one)
    return output
