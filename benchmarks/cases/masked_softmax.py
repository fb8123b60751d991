"""MaskedSoftmax over 64 matrices of 512 x 512."""

import numpy as np

from cases import scores
from cases.case import Case, Spec, Target, bools, op, random
from cases.sequence_mask import MATRICES


def _kept(mask, shape, kept):
    """The mask of that name; `kept` is in percent."""
    if mask == "padding":
        longest = int(round(0.02 * kept * shape[-1]))
        lengths = np.random.RandomState(3).randint(1, longest, size=shape[:2])
        return scores.padding(shape, lengths.astype(np.int32))
    if mask == "left_pad":
        return scores.left_padding(shape, scores.ragged(kept / 100, shape[0], shape[-1]))
    if mask == "mask of entries":
        keep = bools(int(np.prod(shape)), kept).reshape(shape)
        return scores.Kept(keep, {"has_mask": 1}, {"mask": keep})
    return {"plain": scores.plain, "causal": scores.triangle}[mask](shape)


def masked_softmax(mask, shape, kept=None, log=False, in_place=False):
    """In place, of what the round before has left."""
    kept = _kept(mask, shape, kept)
    x = 8 * random(*shape)
    targets = {"plain": [Target(1.8, "Copy")], "padding": [Target(0.8, "Copy", 1.0)]}

    def torch_peers(torch):
        t, softmax = torch.from_numpy(x), torch.log_softmax if log else torch.softmax
        name = "log_softmax" if log else "softmax"
        if kept.keep is None:
            return {name: lambda: softmax(t, -1)}
        drop = torch.from_numpy(~kept.keep)
        return {"masked_fill, " + name: lambda: softmax(t.masked_fill(drop, float("-inf")), -1)}

    stock = []
    if kept.stock is not None and not in_place:
        stock, masked = kept.stock_mask("X", "masked")
        stock += [op("Softmax", masked, "P" if log else "Y", axis=2)]
        stock += [op("Log", "P", "Y")] if log else []
    return Case(
        "MaskedSoftmax", dict({"X": x}, **kept.inputs), ["X" if in_place else "Y"],
        x.nbytes * (1 + kept.share()),
        [] if in_place or log else targets.get(mask, []), "Copy", torch_peers=torch_peers,
        stock=stock, stock_inputs=kept.stock_inputs,
        **dict(kept.arguments, **({"log": 1} if log else {})))


def _spec(form, mask, **fields):
    return Spec("MaskedSoftmax", "{operator} " + form + ", {shape}", masked_softmax, mask=mask,
                shape=MATRICES, **fields)


CASES = [
    _spec("{mask}", "plain"),
    _spec("{mask} in place", "plain", in_place=True),
    _spec("{mask}", "causal"),
    _spec("{kept} % kept", "padding", kept=12),
    _spec("{mask}", "left_pad", kept=50),
    _spec("{mask}", "mask of entries", kept=50),
    _spec("{mask} log", "plain", log=True),
    _spec("{mask} log", "causal", log=True),
]
