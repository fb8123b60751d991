"""Gradients of masked softmax and masked attention in double, by torch's autograd.

As in attending.py, what is not kept shows nowhere: no gradient comes from it or goes to it.
"""

import numpy as np
import torch

from oracles.attending import attention_kept, by_head, kept, read_extras, real, scale_of


def _shown(keep, tensor):
    return torch.where(keep, tensor, torch.zeros((), dtype=tensor.dtype))


def _torch_softmax(logits, keep):
    """torch's masked_fill and softmax, 0 where masked and in empty rows, and what is in neither."""
    shown = logits.masked_fill(~keep, -np.inf)
    alive = (shown != -np.inf).any(-1, keepdim=True)
    counts = keep & alive
    return _shown(counts, torch.softmax(_shown(alive, shown), -1)), counts


def _torch_lse(logits, keep, alive):
    """Of an empty row it is constant here, as no gradient goes from -inf."""
    return torch.logsumexp(_shown(alive, logits.masked_fill(~keep, -np.inf)), -1)


def _torch_attention(q, k, v, bias, sinks, keep, scale, softcap, empty_row):
    """One product for each pair of a query and a key, as what one keeps another may mask.

    Sinks are a key more, which is kept everywhere.
    """
    if q.dim() == 4:
        groups = q.shape[1] // max(k.shape[1], 1)
        k, v = (keys.repeat_interleave(groups, 1) for keys in (k, v))
    pair = keep[..., None]
    keys = _shown(pair, k[..., None, :, :])
    scores = scale * (_shown(pair, q[..., None, :]) * keys).sum(-1)
    if softcap:
        scores = real(softcap) * torch.tanh(scores / real(softcap))
    logits = scores if bias is None else scores + _shown(keep, bias)
    if sinks is not None:
        column = by_head(sinks).expand(logits.shape[:-1] + (1,))
        logits = torch.cat([logits, column], -1)
        keep = torch.cat([keep, torch.ones_like(column, dtype=torch.bool)], -1)
    weights, counts = _torch_softmax(logits, keep)
    alive = counts.any(-1, keepdim=True)
    lse = _torch_lse(logits, keep, alive)
    weights, counts = (of_keys[..., : k.shape[-2]] for of_keys in (weights, counts))
    values = _shown(counts[..., None], v[..., None, :, :])
    output = (weights[..., None] * values).sum(-2)
    if empty_row == "uniform":
        output = torch.where(alive, output, v.mean(-2, keepdim=True))
    return output, lse


def _leaf(array):
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def _backward(outputs, d_outputs, leaves):
    """A dict from input number to gradient; outputs whose gradient is None have none."""
    pairs = [(out, torch.tensor(d)) for out, d in zip(outputs, d_outputs) if d is not None]
    torch.autograd.backward(*zip(*pairs))
    return {
        i: (torch.zeros_like(leaf) if leaf.grad is None else leaf.grad).numpy()
        for i, leaf in leaves.items()
    }


def masked_softmax_gradient(
    d_output, x, *inputs, scale=1.0, empty_row="zero", axis=-1, log=0, d_lse=None, **args
):
    """Gradients of MaskedSoftmax by the number of the input, from those of Y, LSE or both."""
    extras = read_extras(inputs, args)
    keep = torch.tensor(kept(x.shape, extras, **args))
    leaves = {0: _leaf(x)}
    logits = real(scale) * _shown(keep, leaves[0])
    if extras.bias is not None:
        leaves[len(inputs)] = _leaf(extras.bias)
        logits = logits + _shown(keep, leaves[len(inputs)])
    output, counts = _torch_softmax(logits, keep)
    alive = counts.any(-1, keepdim=True)
    if log:
        shown = _shown(alive, logits.masked_fill(~keep, -np.inf))
        output = _shown(counts, torch.log_softmax(shown, -1))
    return _backward([output, _torch_lse(logits, keep, alive)], [d_output, d_lse], leaves)


def masked_attention_gradient(
    d_output, q, k, v, *inputs, scale=None, softcap=0.0, align="top_left", empty_row="zero",
    d_lse=None, **args
):
    """Gradients of MaskedAttention by the number of the input, from those of O, LSE or both."""
    extras = read_extras(inputs, args)
    keep = torch.tensor(attention_kept(q, k, inputs, align, **args))
    leaves = {i: _leaf(array) for i, array in enumerate((q, k, v))}
    bias, sinks = None, None
    if extras.bias is not None:
        behind = 0 if extras.sinks is None else 1
        bias = leaves[2 + len(inputs) - behind] = _leaf(extras.bias)
    if extras.sinks is not None:
        sinks = leaves[2 + len(inputs)] = _leaf(extras.sinks)
    outputs = _torch_attention(
        leaves[0], leaves[1], leaves[2], bias, sinks, keep, scale_of(q, scale), softcap, empty_row
    )
    return _backward(outputs, [d_output, d_lse], leaves)
