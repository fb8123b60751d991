"""What drawn masks are drawn by: a pair of numbers, from a generator of PyTorch."""

from typing import Optional

import torch
from torch import Generator, Tensor


def draw_noise(generator: Optional[Generator] = None) -> Tensor:
    """The ``noise`` that ``bernoulli_mask``, ``random_mask`` and noisy gates take.

    Args:
        generator: of a CPU; the default one, which ``torch.manual_seed`` seeds, where it is absent.

    Returns:
        int64 ``[2]``, a seed and a number of a run. What is drawn from it is the same on every
        machine and with any number of threads.

    Raises:
        RuntimeError: a generator of another device.

    Source: Salmon et al. 2011 (Philox), by which numbers are computed from their place.
    """
    return torch.randint(0, 2**63 - 1, (2,), generator=generator)
