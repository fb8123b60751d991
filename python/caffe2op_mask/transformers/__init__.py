"""The attention of Hugging Face transformers, by the kernels of this library.

    import caffe2op_mask
    from transformers import AutoModel

    caffe2op_mask.transformers.register()
    model = AutoModel.from_pretrained(.., attn_implementation="caffe2op_mask")

    model = caffe2op_mask.transformers.unpadded(model)      # an encoder: no padding is computed

transformers is not imported before one of these functions is called.
"""

from caffe2op_mask.transformers.interface import NAME, Kept, attention, mask, register
from caffe2op_mask.transformers.packing import ENCODERS, padded, unpadded

__all__ = ["ENCODERS", "NAME", "Kept", "attention", "mask", "padded", "register", "unpadded"]
