"""What is measured: one Case for each piece of work, with our operator, stock's and the peers'.

A case makes its own data from a fixed seed, so that another process, with another torch, can time
the same work. Nothing here imports Caffe2: the operator is described, and run by measure.py.
"""

import numpy as np

MATRICES = (64, 512, 512)
ENTRIES = 1 << 24


class Case:
    """One piece of work.

    op, inputs, outputs, arguments: the operator and its tensors, by name.
    moved: bytes that must be read and written, however it is done; None where the memory that is
        touched says nothing.
    reference: what the target is a multiple of: "copy" (Caffe2's Copy of input 0), "memcpy" (a
        memcpy that moves as many bytes), or "memcpy_read" (a memcpy of `moved` bytes).
    target: the multiple to reach, and `allowance` milliseconds beside it.
    peers: name -> function without arguments, NumPy and pyarrow.
    torch_peers: function of a torch module -> the same for torch.
    """

    def __init__(self, op, inputs, outputs, moved, target=None, reference="memcpy", allowance=0.0,
                 peers=None, torch_peers=None, in_place=False, stock=True, **arguments):
        self.op = op
        self.inputs = inputs
        self.outputs = outputs
        self.moved = moved
        self.target = target
        self.reference = reference
        self.allowance = allowance
        self.peers = peers or {}
        self.torch_peers = torch_peers or (lambda torch: {})
        self.in_place = in_place
        self.stock = stock
        self.arguments = arguments


def _random(*shape):
    return np.random.RandomState(1).rand(*shape).astype(np.float32)


def _mask(n, percent, run=1):
    random = np.random.RandomState(2)
    if run == 1:
        return random.rand(n) * 100 < percent
    lengths = random.randint(1, 2 * run, size=2 * n // run + 1)
    return np.repeat(random.rand(lengths.size) * 100 < percent, lengths)[:n].copy()


def _line_bytes(mask, row_bytes):
    """Bytes of the 64-byte lines that hold a kept row."""
    if row_bytes >= 64:
        return int(mask.sum()) * row_bytes
    per_line = 64 // row_bytes
    lines = mask[: mask.size // per_line * per_line].reshape(-1, per_line).any(axis=1)
    return int(lines.sum()) * 64


def _sequence_mask(mode, keep, target, in_place=False, dtype=np.float32, inputs=None, peers=None,
                   torch_peers=None, **arguments):
    """SequenceMask over 64 matrices of 512 x 512; `keep` is the mask that the mode stands for."""
    data = _random(*MATRICES).astype(dtype)
    named = {"data": data}
    named.update(inputs or {})
    masked_bytes = data.nbytes * (1 - keep.mean())
    moved = masked_bytes if in_place else data.nbytes * keep.mean() + data.nbytes

    def torch_masked(torch):
        x = torch.from_numpy(data.copy())
        drop = torch.from_numpy(np.ascontiguousarray(np.broadcast_to(~keep, data.shape)))
        fill = torch.tensor(-1.0, dtype=x.dtype)
        functions = {
            "masked_fill": lambda: x.masked_fill(drop, -1.0),
            "where": lambda: torch.where(drop, fill, x),
        }
        if in_place:
            functions = {"masked_fill_": lambda: x.masked_fill_(drop, -1.0)}
        if torch_peers:
            functions.update(torch_peers(torch, x))
        return functions

    out = np.empty_like(data)
    all_keep = np.ascontiguousarray(np.broadcast_to(keep, data.shape))

    def numpy_where():
        np.copyto(out, data)
        np.putmask(out, ~all_keep, -1)

    return Case(
        "SequenceMask", named, ["data" if in_place else "out"], moved, target, "copy",
        allowance=1.0 if in_place else 0.0,
        peers={} if in_place else {"NumPy putmask": numpy_where},
        torch_peers=torch_masked, in_place=in_place,
        stock=arguments.pop("stock", True) and not in_place,
        mode=mode, fill_val=-1.0, **arguments)


def sequence():
    lengths = np.random.RandomState(3).randint(0, 513, size=64 * 512).astype(np.int32)
    keep = (np.arange(512) < lengths[:, None]).reshape(MATRICES)
    return _sequence_mask("sequence", keep, 1.0, inputs={"lengths": lengths}, axis=2)


def window():
    centers = np.random.RandomState(3).randint(0, 512, size=64 * 512).astype(np.int32)
    keep = (abs(np.arange(512) - centers[:, None]) <= 10).reshape(MATRICES)
    return _sequence_mask("window", keep, 1.0, inputs={"centers": centers}, axis=2)


def upper(in_place=False, target=1.0):
    keep = np.tril(np.ones(MATRICES[1:], dtype=bool))
    return _sequence_mask(
        "upper", keep, target, in_place=in_place, axis=2, batch=0,
        torch_peers=None if in_place else lambda torch, x: {"tril": lambda: torch.tril(x)})


def upper_in_place():
    return upper(in_place=True, target=0.35)


def lower():
    keep = np.triu(np.ones(MATRICES[1:], dtype=bool))
    return _sequence_mask("lower", keep, 1.0, axis=2, batch=0)


def upper_float16():
    keep = np.tril(np.ones(MATRICES[1:], dtype=bool))
    return _sequence_mask("upper", keep, 1.0, dtype=np.float16, axis=2, batch=0, stock=False)


def mask_of_rows():
    keep = _mask(MATRICES[0] * MATRICES[1], 50).reshape(64, 512, 1)
    return _sequence_mask("mask", keep, 1.0, inputs={"mask": keep}, stock=False)


def mask_of_entries():
    keep = _mask(ENTRIES, 50).reshape(MATRICES)
    case = _sequence_mask("mask", keep, None, inputs={"mask": keep}, stock=False)
    case.moved = 2 * keep.size * 4 + keep.size
    return case


def _boolean_mask(percent, run=1, dtype=np.float32, n=ENTRIES, target=1.5, indices=False):
    data = (_random(n) * 100).astype(dtype)
    mask = _mask(n, percent, run)
    kept = int(mask.sum())
    width = data.itemsize
    moved = n + _line_bytes(mask, width) + kept * (width + (8 if indices else 0))

    def torch_peers(torch):
        x, m = torch.from_numpy(data), torch.from_numpy(mask)
        return {"masked_select": lambda: torch.masked_select(x, m)}

    peers = {
        "NumPy data[mask]": lambda: data[mask],
        "NumPy compress": lambda: np.compress(mask, data),
    }
    try:
        import pyarrow
        import pyarrow.compute
    except ImportError:
        pass
    else:
        values, selection = pyarrow.array(data), pyarrow.array(mask)
        peers["pyarrow filter"] = lambda: pyarrow.compute.filter(values, selection)
    return Case(
        "BooleanMask", {"data": data, "mask": mask}, ["out", "indices"] if indices else ["out"],
        moved, target, peers=peers, torch_peers=torch_peers, stock=dtype is not np.float16)


def boolean_mask_rows():
    data = _random(1 << 15, 512)
    mask = _mask(1 << 15, 50)

    def torch_peers(torch):
        x, m = torch.from_numpy(data), torch.from_numpy(mask)
        return {"data[mask]": lambda: x[m]}

    return Case(
        "BooleanMask", {"data": data, "mask": mask}, ["out"], 2 * int(mask.sum()) * 2048, 1.2,
        peers={"NumPy data[mask]": lambda: data[mask]}, torch_peers=torch_peers)


def boolean_mask_gradient():
    mask = _mask(ENTRIES, 50)
    kept = int(mask.sum())
    d_masked = _random(kept)
    out = np.zeros(ENTRIES, dtype=np.float32)

    def numpy_place():
        out.fill(0)
        out[mask] = d_masked

    return Case(
        "BooleanMaskGradient", {"mask": mask, "d_masked": d_masked}, ["out"],
        ENTRIES + 4 * kept + 4 * ENTRIES, peers={"NumPy out[mask] = v": numpy_place})


def lengths(segment):
    n = ENTRIES
    mask = _mask(n, 50)
    counts = np.full(n // segment, segment, dtype=np.int32)
    mask = mask[: counts.size * segment].copy()
    starts = np.arange(counts.size) * segment
    return Case(
        "BooleanMaskLengths", {"lengths": counts, "mask": mask}, ["out"],
        mask.size + counts.nbytes, 2.0, "memcpy_read",
        peers={"NumPy add.reduceat": lambda: np.add.reduceat(mask.view(np.uint8), starts,
                                                             dtype=np.int32)})


def jagged():
    n = ENTRIES // 4
    values, mask = _random(n), _mask(n, 50)
    counts = np.full(n // 16, 16, dtype=np.int32)
    kept = int(mask.sum())
    return Case(
        "BooleanMaskJagged", {"values": values, "lengths": counts, "mask": mask},
        ["out", "out_lengths"], n + 4 * n + 4 * kept + 2 * counts.nbytes, stock=False)


def unmask(k=2, fill=False):
    n = ENTRIES // 4
    data = _random(n)
    owner = np.random.RandomState(4).randint(0, k + (1 if fill else 0), size=n)
    inputs = {}
    for i in range(k):
        inputs["mask_%d" % (i + 1)] = owner == i
        inputs["values_%d" % (i + 1)] = data[owner == i]
    masks = [inputs["mask_%d" % (i + 1)] for i in range(k)]
    values = [inputs["values_%d" % (i + 1)] for i in range(k)]
    out = np.empty(n, dtype=np.float32)

    def numpy_place():
        if fill:
            out.fill(0)
        for m, v in zip(masks, values):
            out[m] = v

    def torch_peers(torch):
        target = torch.zeros(n)
        pairs = [(torch.from_numpy(m), torch.from_numpy(v)) for m, v in zip(masks, values)]

        def scatter():
            for m, v in pairs:
                target.masked_scatter_(m, v)

        return {"masked_scatter_": scatter}

    arguments = {"fill_val": 0.0} if fill else {}
    return Case(
        "BooleanUnmask", inputs, ["out"], k * n + sum(v.nbytes for v in values) + 4 * n, 3.0,
        peers={"NumPy out[mask] = v": numpy_place}, torch_peers=torch_peers, stock=not fill,
        **arguments)


CASES = {
    "SequenceMask sequence, 64x512x512": sequence,
    "SequenceMask window, 64x512x512": window,
    "SequenceMask upper, 64x512x512": upper,
    "SequenceMask lower, 64x512x512": lower,
    "SequenceMask upper in place, 64x512x512": upper_in_place,
    "SequenceMask upper float16, 64x512x512": upper_float16,
    "SequenceMask mask of rows, 64x512x512": mask_of_rows,
    "SequenceMask mask of entries, 64x512x512": mask_of_entries,
    "BooleanMask 16.7 M float32, 1 % kept": lambda: _boolean_mask(1),
    "BooleanMask 16.7 M float32, 50 % kept": lambda: _boolean_mask(50),
    "BooleanMask 16.7 M float32, 99 % kept": lambda: _boolean_mask(99),
    "BooleanMask 16.7 M float32, 50 % kept in runs of 32": lambda: _boolean_mask(50, run=32),
    "BooleanMask 16.7 M float32 and indices, 50 % kept": lambda: _boolean_mask(50, indices=True),
    "BooleanMask 16.7 M uint8, 50 % kept": lambda: _boolean_mask(50, dtype=np.uint8),
    "BooleanMask 16.7 M float64, 50 % kept": lambda: _boolean_mask(50, dtype=np.float64),
    "BooleanMask 32 K rows of 512, 50 % kept": boolean_mask_rows,
    "BooleanMaskGradient 16.7 M float32, 50 % kept": boolean_mask_gradient,
    "BooleanMaskLengths 16.7 M in segments of 1": lambda: lengths(1),
    "BooleanMaskLengths 16.7 M in segments of 16": lambda: lengths(16),
    "BooleanMaskLengths 16.7 M in segments of 10000": lambda: lengths(10000),
    "BooleanMaskJagged 4.2 M in segments of 16, 50 % kept": jagged,
    "BooleanUnmask 4.2 M, one mask and a fill": lambda: unmask(1, fill=True),
    "BooleanUnmask 4.2 M, two masks": unmask,
    "BooleanUnmask 4.2 M, eight masks": lambda: unmask(8),
}
