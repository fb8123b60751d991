"""bernoulli_mask: a mask that is drawn, with the probability of what was drawn."""

from typing import Optional, Tuple

import torch
from torch import Generator, Tensor

from caffe2op_mask.functional import fakes
from caffe2op_mask.functional.noise import draw_noise
from caffe2op_mask.functional.registration import Operator, gradient_operator


def bernoulli_mask(
    z: Tensor, *, noise: Optional[Tensor] = None, generator: Optional[Generator] = None
) -> Tuple[Tensor, Tensor]:
    """Draws a mask that is True with probability ``sigmoid(z)``.

    Args:
        z: float16, bfloat16, float32 or float64.
        noise: what it is drawn by (``draw_noise``); drawn from ``generator`` where it is absent.

    Returns:
        The mask, bool, and the logarithm of the probability of what was drawn, both of the shape
        of z. The second has a gradient to z, by which REINFORCE learns from a reward.

    Raises:
        RuntimeError: z of another dtype.

    Source: Williams 1992.
    """
    if noise is None:
        noise = draw_noise(generator)
    return _operator(z, noise)


def _backward(saved, needed, _, d_log_prob):
    return {"z": _gradient(d_log_prob, saved.z, saved.mask)}


_operator = Operator(
    "bernoulli_mask",
    lambda z, noise: (fakes.like(z, torch.bool), fakes.like(z)),
    _backward,
    saves=("z", "mask"),
    differentiable=("z",),
)
_gradient = gradient_operator("bernoulli_mask_backward", lambda d_log_prob, z, mask: fakes.like(z))
