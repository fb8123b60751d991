"""MaskedAttention: attention without projections, as a module."""

from typing import Optional, Tuple, Union

import torch
from torch import Tensor, nn

from caffe2op_mask import functional
from caffe2op_mask.functional.scores import Window
from caffe2op_mask.nn.checks import Described, one_of
from caffe2op_mask.sizes import positive_sizes


class MaskedAttention(Described):
    """``softmax(scale * q @ k^T + bias) @ v`` over what is kept; `masked_attention` as a module.

    What is the same for each batch is given here, what differs to ``forward``.

    Args:
        is_causal, window, align, radius, mode, diagonal, scale, softcap, empty_row, enable_gqa:
            as for ``caffe2op_mask.masked_attention``.
        sinks: the number of heads of q; each learns an attention sink, a logit that is in the
            denominator of all of its rows. It begins as 0.

    Parameters:
        sinks: ``[H]``, where they are asked for.

    Shapes:
        q ``[B, H, Lq, D]``, k ``[B, Hkv, Lk, D]``, v ``[B, Hkv, Lk, Dv]`` of one dtype, float16,
        bfloat16, float32 or float64; the result is ``[B, H, Lq, Dv]`` of that dtype. Without heads
        all of them have three dims.

    Raises:
        ValueError: an unknown align or empty_row, a number of heads that is not positive, heads
            that differ without ``enable_gqa``.
        RuntimeError: inputs of shapes or dtypes that do not fit, or on another device.

    Source: Vaswani et al. 2017; Xiao et al. 2024 (sinks).
    """

    def __init__(
        self,
        *,
        is_causal: bool = False,
        window: Optional[Window] = None,
        align: str = "top_left",
        radius: int = 10,
        mode: Optional[str] = None,
        diagonal: int = 0,
        scale: Optional[float] = None,
        softcap: float = 0.0,
        empty_row: str = "zero",
        enable_gqa: bool = False,
        sinks: Optional[int] = None,
        device: Optional[torch.device] = None,
        dtype: Optional[torch.dtype] = None
    ) -> None:
        super().__init__()
        layer = "MaskedAttention"
        one_of(layer, "align", align, ("top_left", "bottom_right"))
        one_of(layer, "empty_row", empty_row, ("zero", "nan", "uniform"))
        self.options = {
            "is_causal": is_causal,
            "window": window,
            "align": align,
            "radius": radius,
            "mode": mode,
            "diagonal": diagonal,
            "scale": scale,
            "softcap": softcap,
            "empty_row": empty_row,
            "enable_gqa": enable_gqa,
        }
        if sinks is None:
            self.register_parameter("sinks", None)
        else:
            (heads,) = positive_sizes(layer, sinks=sinks)
            self.sinks = nn.Parameter(torch.empty(heads, device=device, dtype=dtype))
        usual = {"align": "top_left", "radius": 10, "diagonal": 0, "softcap": 0}
        usual["empty_row"] = "zero"
        chosen = {name: one for name, one in self.options.items() if usual.get(name) != one}
        self._describe(sinks=sinks, **chosen)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.sinks is not None:
            nn.init.zeros_(self.sinks)

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        lengths: Optional[Tensor] = None,
        left_pad: Optional[Tensor] = None,
        centers: Optional[Tensor] = None,
        mask: Optional[Tensor] = None,
        bias: Optional[Tensor] = None,
        return_lse: bool = False
    ) -> Union[Tensor, Tuple[Tensor, Tensor]]:
        """The arguments are those of ``caffe2op_mask.masked_attention``."""
        sinks = None if self.sinks is None else self.sinks.to(q.dtype)
        return functional.masked_attention(
            q,
            k,
            v,
            lengths=lengths,
            left_pad=left_pad,
            centers=centers,
            mask=mask,
            bias=bias,
            sinks=sinks,
            return_lse=return_lse,
            **self.options
        )
