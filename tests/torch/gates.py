"""The oracle of gates."""

import torch

import testers
from oracles.gating import drawn

KINDS = ["sigmoid", "tanh", "softmax", "relu", "hard", "hard_concrete", "gumbel_softmax"]


def straight_through(value, surrogate):
    """``value``, with the gradient of ``surrogate``."""
    return value.detach() + surrogate - surrogate.detach()


def softmax(z):
    return torch.softmax(z, -1)


def one_hot(z):
    if z.numel() == 0:
        return z * 1
    rows = z.detach().reshape(-1, z.shape[-1] if z.dim() else 1)
    return torch.zeros_like(rows).scatter(1, rows.argmax(1, keepdim=True), 1.0).reshape(z.shape)


def value(
    z,
    kind,
    threshold=None,
    clip=0.0,
    beta=2 / 3,
    gamma=-0.1,
    zeta=1.1,
    tau=1.0,
    hard=False,
    noise=None,
):
    if kind in ("sigmoid", "tanh"):
        return getattr(torch, kind)(z)
    if kind == "relu":
        return torch.relu(z if threshold is None else z - threshold)
    if kind == "hard":
        inside = z.abs() <= clip if clip else torch.ones_like(z, dtype=torch.bool)
        return straight_through((z > 0).double(), torch.sigmoid(torch.where(inside, z, z.detach())))
    if noise is not None:
        u = torch.as_tensor(drawn(noise.numpy(), tuple(z.shape)))
    if kind == "hard_concrete":
        s = torch.sigmoid(z if noise is None else (u.log() - (1 - u).log() + z) / beta)
        return (s * (zeta - gamma) + gamma).clamp(0, 1)
    logits = (z if noise is None else z - torch.log(-torch.log(u))) / tau
    p = softmax(logits) if z.dim() else softmax(logits[None])[0]
    return straight_through(one_hot(logits), p) if hard else p
