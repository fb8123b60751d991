"""Which scores are kept, for softmax and attention: the oracle, and inputs for it."""

import torch
from hypothesis import strategies as st

import testers

TRIANGLES = {
    "upper": lambda i, j: j <= i,
    "lower": lambda i, j: j >= i,
    "upperdiag": lambda i, j: j < i,
    "lowerdiag": lambda i, j: j > i,
}
EMPTY_ROWS = ["zero", "nan", "uniform"]


def by_rows(entries, shape):
    """Entries of leading dims, or one for each row, for every row of scores ``shape``."""
    rows = shape[:-1]
    if entries.dim() == 1 and entries.numel() == torch.Size(rows).numel():
        return entries.reshape(rows).unsqueeze(-1)
    return entries.reshape([*entries.shape] + [1] * (len(shape) - entries.dim())).expand([*rows, 1])


def kept(
    shape,
    lengths=None,
    left_pad=None,
    centers=None,
    radius=10,
    mask=None,
    is_causal=False,
    window=None,
    mode=None,
    diagonal=0,
    align="top_left",
):
    """bool of shape ``shape``, that of scores."""
    columns = shape[-1]
    rows = shape[-2] if len(shape) > 1 else 1
    j = torch.arange(columns)
    i = torch.arange(rows).unsqueeze(-1) if len(shape) > 1 else torch.zeros(1, dtype=torch.int64)
    if align == "bottom_right":
        end = columns if lengths is None else by_rows(lengths.long().clamp(0, columns), shape)
        i = i + end - rows
    result = torch.ones(shape, dtype=torch.bool)
    if lengths is not None:
        result = result & (j < by_rows(lengths.long(), shape))
    if left_pad is not None:
        result = result & (j >= by_rows(left_pad.long(), shape))
    if centers is not None:
        result = result & ((j - by_rows(centers.long(), shape)).abs() <= radius)
    for triangle in ([mode] if mode else []) + (["upper"] if is_causal else []):
        for one in triangle.split("+"):
            result = result & TRIANGLES[one](i + diagonal, j)
    if window is not None:
        left, right = (window, window) if isinstance(window, int) else window
        if left >= 0:
            result = result & (j >= i - left)
        if right >= 0:
            result = result & (j <= i + right)
    if mask is not None:
        result = result & mask
    return result


def softmax(scores, keep, empty_row="zero", sinks=None):
    """Probabilities, their logarithms and the log-sum-exp of rows, with finite gradients."""
    inf = float("inf")
    keep = keep & (scores.detach() != -inf)
    if scores.shape[-1] == 0:
        lse = scores.sum(-1) - inf
        if sinks is not None:
            lse = lse.detach().nan_to_num(neginf=0) + sinks
        return scores, scores, lse
    some = keep.any(-1, keepdim=True)
    filled = torch.where(keep, scores, -inf)
    if sinks is not None:
        filled = torch.cat([filled, sinks.unsqueeze(-1).expand([*scores.shape[:-1], 1])], -1)
    safe = filled if sinks is not None else torch.where(some, filled, 0.0)
    fill = {"zero": 0.0, "nan": float("nan"), "uniform": 1.0 / scores.shape[-1]}[empty_row]
    columns = scores.shape[-1]
    p = torch.softmax(safe, -1)[..., :columns]
    p = torch.where(some, p, fill)
    log_p = torch.where(
        some, torch.where(keep, torch.log_softmax(safe, -1)[..., :columns], -inf), 0
    )
    log_p = torch.where(some, log_p, torch.tensor(fill, dtype=p.dtype).log())
    lse = torch.logsumexp(safe, -1)
    if sinks is None:
        lse = torch.where(some.squeeze(-1), lse, -inf)
    return p, log_p, lse


@st.composite
def options(draw, shape, attention=False):
    """Keyword arguments that say what is kept of scores of ``shape``."""
    given = {}
    columns = shape[-1]
    prefixes = [list(shape[:rank]) for rank in range(len(shape))]
    prefixes.append([torch.Size(shape[:-1]).numel()])
    for name in ("lengths", "left_pad", "centers"):
        if draw(st.integers(0, 3)) == 0:
            prefix = draw(st.sampled_from(prefixes))
            given[name] = draw(testers.indices(prefix, -1, columns + 2))
    if "centers" in given:
        given["radius"] = draw(st.integers(0, 3))
    if draw(st.booleans()):
        given["mask"] = draw(testers.bools(draw(testers.broadcast(shape))))
    if draw(st.integers(0, 2)) == 0:
        given["is_causal"] = True
    elif draw(st.integers(0, 2)) == 0:
        given["mode"] = draw(st.sampled_from(sorted(TRIANGLES) + ["lower+upperdiag"]))
    if "is_causal" in given or "mode" in given:
        given["diagonal"] = draw(st.integers(-2, 2))
    if draw(st.integers(0, 2)) == 0:
        side = st.integers(-1, 3)
        given["window"] = draw(st.one_of(st.integers(0, 3), st.tuples(side, side)))
    if attention and draw(st.booleans()):
        given["align"] = "bottom_right"
    return given
