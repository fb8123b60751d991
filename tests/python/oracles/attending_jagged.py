"""Attention of sequences that lie one behind the other, in double: of each as if by itself."""

import numpy as np

from oracles.attending import masked_attention
from oracles.attending_gradients import masked_attention_gradient


def _ends(lengths):
    return np.cumsum(lengths.astype(np.int64))


def _sequences(inputs, has_key_lengths=0, has_used_keys=0, **_):
    """For each sequence the slices of its queries and of its keys that are there."""
    following = iter(inputs)
    lengths = next(following)
    key_lengths = next(following) if has_key_lengths else lengths
    used = next(following) if has_used_keys else key_lengths
    ends, key_ends = _ends(lengths), _ends(key_lengths)
    return [
        (slice(end - n, end), slice(key_end - room, key_end - room + keys))
        for end, n, key_end, room, keys in zip(ends, lengths, key_ends, key_lengths, used)
    ]


def _padded_args(has_key_lengths=0, has_used_keys=0, **args):
    return args


def _with_batch(rows):
    """[L, H, ..] as [1, H, L, ..], as masked_attention has it."""
    return rows.swapaxes(0, 1)[None]


def _without_batch(array):
    return array[0].swapaxes(0, 1)


def _sinks(inputs, has_sinks=0, **_):
    return [inputs[-1]] if has_sinks else []


def masked_attention_jagged(q, k, v, *inputs, **args):
    """MaskedAttentionJagged: O and LSE."""
    o, lse = np.zeros(q.shape[:2] + v.shape[2:]), np.zeros(q.shape[:2])
    for queries, keys in _sequences(inputs, **args):
        first = [_with_batch(rows) for rows in (q[queries], k[keys], v[keys])]
        results = masked_attention(*(first + _sinks(inputs, **args)), **_padded_args(**args))
        o[queries], lse[queries] = (_without_batch(one) for one in results)
    return [o, lse]


def masked_attention_jagged_gradient(d_output, q, k, v, *inputs, d_lse=None, **args):
    """Its gradients by the number of the input, from those of O, LSE or both."""
    grads = {i: np.zeros(array.shape) for i, array in enumerate((q, k, v))}
    sinks = _sinks(inputs, **args)
    if sinks:
        grads[2 + len(inputs)] = np.zeros(sinks[0].shape)
    for queries, keys in _sequences(inputs, **args):
        first = [_with_batch(rows) for rows in (q[queries], k[keys], v[keys])]
        if d_lse is not None:
            args["d_lse"] = _with_batch(d_lse[queries])
        of_output = None if d_output is None else _with_batch(d_output[queries])
        of_one = masked_attention_gradient(of_output, *(first + sinks), **_padded_args(**args))
        for i, rows in enumerate((queries, keys, keys)):
            grads[i][rows] = _without_batch(of_one[i])
        if sinks:
            grads[2 + len(inputs)] += of_one[3]
    return grads
