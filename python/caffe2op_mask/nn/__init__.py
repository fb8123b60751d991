"""Modules of a current PyTorch that are made of the functions of `caffe2op_mask`.

Families of modules have a file each.
"""

from caffe2op_mask.nn.attention import MaskedAttention
from caffe2op_mask.nn.augmentation import RandomMask, SpecAugment
from caffe2op_mask.nn.dynamic_mask import DynamicMask, DynamicMaskLoss, Masked
from caffe2op_mask.nn.gates import FeatureGate, Highway, LearnableGate, open_probability
from caffe2op_mask.nn.mixture import MixtureOfExperts
from caffe2op_mask.nn.multihead_attention import MultiheadAttention

__all__ = [
    "DynamicMask",
    "DynamicMaskLoss",
    "FeatureGate",
    "Highway",
    "LearnableGate",
    "Masked",
    "MaskedAttention",
    "MixtureOfExperts",
    "MultiheadAttention",
    "RandomMask",
    "SpecAugment",
    "open_probability",
]
