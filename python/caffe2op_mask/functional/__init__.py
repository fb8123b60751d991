"""Functions on tensors of a current PyTorch; each is an operator of ``torch.ops.caffe2op_mask``."""

from caffe2op_mask.functional.bernoulli_mask import bernoulli_mask
from caffe2op_mask.functional.boolean_mask import boolean_fill, boolean_mask
from caffe2op_mask.functional.boolean_mask_jagged import boolean_mask_jagged
from caffe2op_mask.functional.boolean_mask_lengths import boolean_mask_lengths
from caffe2op_mask.functional.boolean_unmask import boolean_unmask
from caffe2op_mask.functional.gate import gate
from caffe2op_mask.functional.highway import highway
from caffe2op_mask.functional.masked_attention import masked_attention
from caffe2op_mask.functional.masked_attention_jagged import varlen_attention
from caffe2op_mask.functional.masked_softmax import masked_softmax
from caffe2op_mask.functional.mixture_gate import mixture_gate
from caffe2op_mask.functional.noise import draw_noise
from caffe2op_mask.functional.random_mask import random_mask
from caffe2op_mask.functional.sequence_mask import sequence_mask

__all__ = [
    "bernoulli_mask",
    "boolean_fill",
    "boolean_mask",
    "boolean_mask_jagged",
    "boolean_mask_lengths",
    "boolean_unmask",
    "draw_noise",
    "gate",
    "highway",
    "masked_attention",
    "masked_softmax",
    "mixture_gate",
    "random_mask",
    "sequence_mask",
    "varlen_attention",
]
