"""SequenceMask over 64 matrices of 512 x 512."""

import numpy as np

from cases.case import Case, Spec, Target, bools, op, random

MATRICES = (64, 512, 512)


def _kept(mode, shape, per):
    """The mask that the mode stands for, and the inputs that it reads."""
    matrices, rows, columns = shape
    if mode == "mask":
        keep = bools(matrices * rows * (columns if per == "entries" else 1), 50)
        keep = keep.reshape(matrices, rows, -1)
        return keep, {"mask": keep}
    if mode == "upper":
        return np.tri(rows, columns, dtype=bool), {}
    if mode == "lower":
        return ~np.tri(rows, columns, -1, dtype=bool), {}
    longest = columns if mode == "window" else columns + 1
    of_row = np.random.RandomState(3).randint(0, longest, matrices * rows).astype(np.int32)
    j, i = np.arange(columns), of_row[:, None]
    name, keep = {
        "sequence": ("lengths", j < i),
        "window": ("centers", abs(j - i) <= 10),
        "left_pad": ("left_pad", j >= i),
    }[mode]
    return keep.reshape(shape), {name: of_row}


def sequence_mask(mode, shape, type="float32", per=None, in_place=False):
    """Fills with 0, as tril does."""
    data = random(*shape).astype(type)
    keep, inputs = _kept(mode, shape, per)
    drop = np.broadcast_to(~keep, shape).copy()
    share = keep.mean()
    moved = data.nbytes * (1 - share) if in_place else data.nbytes * share + data.nbytes
    if per == "entries":
        moved = 2 * data.nbytes + keep.size
    out = np.empty_like(data)

    def numpy_putmask():
        np.copyto(out, data)
        np.putmask(out, drop, 0)
        return out

    def torch_peers(torch):
        x, dropped = torch.from_numpy(data.copy()), torch.from_numpy(drop)
        if in_place:
            return {"masked_fill_": lambda: x.masked_fill_(dropped, 0.0)}
        fill = torch.tensor(0.0, dtype=x.dtype)
        functions = {
            "masked_fill": lambda: x.masked_fill(dropped, 0.0),
            "where": lambda: torch.where(dropped, fill, x),
        }
        if mode == "upper" and type == "float32":
            functions["tril"] = lambda: torch.tril(x)
        return functions

    stock, stock_inputs = type == "float32" and mode != "mask" and not in_place, {}
    if mode == "left_pad":  # Stock has no such mode; it has what torch's where is.
        stock = [op("Where", "keep data fill", "out")]
        stock_inputs = {"keep": keep, "fill": np.zeros_like(data)}
    targets = [Target(0.35, "Copy", 1.0) if in_place else Target(1.0, "Copy")]
    arguments = {} if mode == "mask" else {"axis": 2}
    if mode in ("upper", "lower"):
        arguments["batch"] = 0
    return Case(
        "SequenceMask", dict({"data": data}, **inputs), ["data" if in_place else "out"], moved,
        [] if per == "entries" else targets, "Copy",
        peers={} if in_place else {"NumPy putmask": numpy_putmask}, torch_peers=torch_peers,
        stock=stock, stock_inputs=stock_inputs, mode=mode, fill_val=0.0, **arguments)


def _spec(form, mode, **fields):
    return Spec("SequenceMask", "{operator} " + form + ", {shape}", sequence_mask, mode=mode,
                shape=MATRICES, **fields)


CASES = [
    _spec("{mode}", "sequence"),
    _spec("{mode}", "window"),
    _spec("{mode}", "left_pad"),
    _spec("{mode}", "upper"),
    _spec("{mode}", "lower"),
    _spec("{mode} in place", "upper", in_place=True),
    _spec("{mode} {type}", "upper", type="float16"),
    _spec("{mode} of {per}", "mask", per="rows"),
    _spec("{mode} of {per}", "mask", per="entries"),
]
