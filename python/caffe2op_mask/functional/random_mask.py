"""random_mask: a mask of elements, rows or spans for augmentation."""

from typing import Optional

import torch
from torch import Generator, Tensor

from caffe2op_mask.functional import fakes
from caffe2op_mask.functional.noise import draw_noise
from caffe2op_mask.functional.registration import Operator


def random_mask(
    like: Tensor,
    p: float = 0.15,
    *,
    unit: str = "element",
    span_length: Optional[int] = None,
    lengths: Optional[Tensor] = None,
    min_masked: Optional[int] = None,
    noise: Optional[Tensor] = None,
    generator: Optional[Generator] = None,
) -> Tensor:
    """Draws a mask of the shape of ``like`` in which each entry is False with probability p.

    Args:
        like: a tensor of any dtype, of which only the shape is read.
        p: in [0, 1].
        unit: what is masked together: "element", "row" (all entries along the last dim) or "span"
            (``span_length`` entries along the last dim, cut where a row ends).
        span_length: of unit span; 10 where it is absent.
        lengths: int32 or int64, of the shape of leading dims of like; entries from a row's length
            on stay True.
        min_masked: each row has that many masked elements or spans, or all that it can have.
        noise: what it is drawn by (``draw_noise``); drawn from ``generator`` where it is absent.

    Returns:
        bool, of the shape of like. There is no gradient.

    Raises:
        RuntimeError: p out of range, an unknown unit, or lengths that do not fit.

    Source: Devlin et al. 2019 (elements); Park et al. 2019 and Baevski et al. 2020 (spans).
    """
    if noise is None:
        noise = draw_noise(generator)
    return _operator(like, noise, lengths, p, unit, span_length, min_masked)


def _fake(like, noise, lengths=None, p=0.15, unit="element", span_length=None, min_masked=None):
    return fakes.like(like, torch.bool)


_operator = Operator("random_mask", _fake)
