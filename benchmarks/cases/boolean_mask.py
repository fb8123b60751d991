"""The operators of bool masks: BooleanMask and its gradient, lengths, jagged tensors, unmask."""

import numpy as np

from cases.case import Case, Spec, Target, bools, op, random

ENTRIES, FEWER = (1 << 24,), (1 << 22,)


def _line_bytes(mask, row_bytes):
    """Bytes of the 64-byte lines that hold a kept row."""
    if row_bytes >= 64:
        return int(mask.sum()) * row_bytes
    per_line = 64 // row_bytes
    lines = mask[: mask.size // per_line * per_line].reshape(-1, per_line).any(axis=1)
    return int(lines.sum()) * 64


def boolean_mask(shape, type, kept, run=1, indices=False):
    data, mask = (random(*shape) * 100).astype(type), bools(shape[0], kept, run)
    moved = (mask.size + _line_bytes(mask, data.itemsize)
             + int(mask.sum()) * (data.itemsize + (8 if indices else 0)))

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
        moved, [Target(1.5, "memcpy")], peers=peers, torch_peers=torch_peers)


def boolean_mask_rows(shape, width, kept):
    data, mask = random(*shape, width), bools(shape[0], kept)

    def torch_peers(torch):
        x, m = torch.from_numpy(data), torch.from_numpy(mask)
        return {"data[mask]": lambda: x[m]}

    return Case(
        "BooleanMask", {"data": data, "mask": mask}, ["out"], 2 * int(mask.sum()) * width * 4,
        [Target(1.2, "memcpy")], peers={"NumPy data[mask]": lambda: data[mask]},
        torch_peers=torch_peers)


def boolean_mask_gradient(shape, type, kept):
    mask = bools(shape[0], kept)
    d_masked, out = random(int(mask.sum())).astype(type), np.zeros(shape, dtype=type)

    def numpy_place():
        out.fill(0)
        out[mask] = d_masked
        return out

    return Case(
        "BooleanMaskGradient", {"mask": mask, "d_masked": d_masked}, ["out"],
        mask.size + d_masked.nbytes + out.nbytes, peers={"NumPy out[mask] = v": numpy_place})


def boolean_mask_lengths(shape, segment):
    counts = np.full(shape[0] // segment, segment, dtype=np.int32)
    mask = bools(shape[0], 50)[: counts.size * segment].copy()
    starts = np.arange(counts.size) * segment
    return Case(
        "BooleanMaskLengths", {"lengths": counts, "mask": mask}, ["out"],
        mask.size + counts.nbytes, [Target(2.0, "memcpy")], "memcpy_read",
        peers={"NumPy add.reduceat": lambda: np.add.reduceat(mask.view(np.uint8), starts,
                                                             dtype=np.int32)})


def boolean_mask_jagged(shape, segment, kept):
    """Stock takes two operators for it."""
    values, mask = random(*shape), bools(shape[0], kept)
    counts = np.full(mask.size // segment, segment, dtype=np.int32)
    starts = np.arange(counts.size) * segment
    return Case(
        "BooleanMaskJagged", {"values": values, "lengths": counts, "mask": mask},
        ["out", "out_lengths"], 5 * mask.size + 4 * int(mask.sum()) + 2 * counts.nbytes,
        peers={"NumPy values[mask], add.reduceat": lambda: (
            values[mask], np.add.reduceat(mask.view(np.uint8), starts, dtype=np.int32))},
        stock=[op("BooleanMask", "values mask", "out"),
               op("BooleanMaskLengths", "lengths mask", "out_lengths")])


def boolean_unmask(shape, masks, fill=False):
    data = random(*shape)
    owner = np.random.RandomState(4).randint(0, masks + (1 if fill else 0), size=shape)
    pairs = [(owner == i, data[owner == i]) for i in range(masks)]
    inputs = {}
    for i, (mask, values) in enumerate(pairs):
        inputs["mask_%d" % (i + 1)] = mask
        inputs["values_%d" % (i + 1)] = values
    out = np.empty(shape, dtype=np.float32)

    def numpy_place():
        if fill:
            out.fill(0)
        for mask, values in pairs:
            out[mask] = values
        return out

    def torch_peers(torch):
        target = torch.zeros(shape)
        tensors = [(torch.from_numpy(mask), torch.from_numpy(values)) for mask, values in pairs]

        def scatter():
            for mask, values in tensors:
                target.masked_scatter_(mask, values)
            return target

        return {"masked_scatter_": scatter}

    arguments = {"fill_val": 0.0} if fill else {}
    return Case(
        "BooleanUnmask", inputs, ["out"],
        masks * data.size + sum(values.nbytes for _, values in pairs) + data.nbytes,
        [Target(3.0, "memcpy")], peers={"NumPy out[mask] = v": numpy_place},
        torch_peers=torch_peers, stock=not fill, **arguments)


def _mask_spec(form, type, kept, **fields):
    return Spec("BooleanMask", "{operator} {shape} {type}" + form, boolean_mask, shape=ENTRIES,
                type=type, kept=kept, **fields)


def _lengths_spec(segment):
    return Spec("BooleanMaskLengths", "{operator} {shape} in segments of {segment}",
                boolean_mask_lengths, shape=ENTRIES, segment=segment)


def _unmask_spec(form, masks, **fields):
    return Spec("BooleanUnmask", "{operator} {shape}, " + form, boolean_unmask, shape=FEWER,
                masks=masks, **fields)


CASES = [
    _mask_spec(", {kept} % kept", "float32", 1),
    _mask_spec(", {kept} % kept", "float32", 50),
    _mask_spec(", {kept} % kept", "float32", 99),
    _mask_spec(", {kept} % kept in runs of {run}", "float32", 50, run=32),
    _mask_spec(" and indices, {kept} % kept", "float32", 50, indices=True),
    _mask_spec(", {kept} % kept", "uint8", 50),
    _mask_spec(", {kept} % kept", "float64", 50),
    Spec("BooleanMask", "{operator} {shape} rows of {width}, {kept} % kept", boolean_mask_rows,
         shape=(1 << 15,), width=512, kept=50),
    Spec("BooleanMaskGradient", "{operator} {shape} {type}, {kept} % kept", boolean_mask_gradient,
         shape=ENTRIES, type="float32", kept=50),
    _lengths_spec(1),
    _lengths_spec(16),
    _lengths_spec(10000),
    Spec("BooleanMaskJagged", "{operator} {shape} in segments of {segment}, {kept} % kept",
         boolean_mask_jagged, shape=FEWER, segment=16, kept=50),
    _unmask_spec("one mask and a fill", 1, fill=True),
    _unmask_spec("two masks", 2),
    _unmask_spec("eight masks", 8),
]
