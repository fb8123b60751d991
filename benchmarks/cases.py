"""What is measured: one Case for each piece of work, with our operator, stock's and the peers'.

A case makes its own data from a fixed seed, so that another process, with another torch, can time
the same work. Nothing here imports Caffe2: the operator is described, and run by measure.py.
"""

import collections

import numpy as np

MATRICES = (64, 512, 512)
ENTRIES = 1 << 24

Operator = collections.namedtuple("Operator", "op inputs outputs arguments")

# At most `multiple` times as long as the contender `of`, and `allowance` milliseconds beside it.
# A name of torch's peers means that of the newest torch that runs.
Target = collections.namedtuple("Target", "multiple of allowance")
Target.__new__.__defaults__ = (0.0,)

OURS_NO_MASK = "caffe2op_mask, no mask"
SDPA, SDPA_MASKED, SDPA_CAUSAL = "SDPA, no mask", "SDPA, attn_mask", "SDPA, is_causal"
PRODUCTS, LOOP = "NumPy products", "NumPy loop of dot products"


class Case:
    """One piece of work.

    op, inputs, outputs, arguments: the operator and its tensors, by name.
    moved: bytes that must be read and written, however it is done; None where the memory that is
        touched says nothing.
    targets: what is to be reached.
    reference: what the time is given as a multiple of: "Copy" (Caffe2's Copy of input 0), "memcpy"
        (a memcpy that moves as many bytes), "memcpy_read" (a memcpy of `moved` bytes), or one of
        the peers.
    peers: name -> function without arguments, NumPy and pyarrow.
    torch_peers: function of a torch module -> the same for torch.
    yardsticks: the names of peers that do other work, for targets and references alone.
    stock: True where stock runs the operator too, or the list of stock operators that do the same;
        `stock_inputs` are what only these read.
    no_mask: whether our operator runs without its mask, on its first three inputs, as well.
    d_output: to train: the gradient of the first output, from which those of `trained` follow.
    kept: the share that the mask keeps, where time should follow it.
    """

    def __init__(self, op, inputs, outputs, moved, targets=(), reference="memcpy", peers=None,
                 torch_peers=None, yardsticks=(), stock=True, stock_inputs=None, no_mask=False,
                 d_output=None, trained=(), kept=None, **arguments):
        self.inputs = inputs
        self.ours = [Operator(op, list(inputs), outputs, arguments)]
        self.stock = self.ours if stock is True else stock or []
        self.stock_inputs = stock_inputs or {}
        self.no_mask = [Operator(op, list(inputs)[:3], outputs, {})] if no_mask else []
        self.d_output = d_output
        self.trained = trained
        self.kept = kept
        self.moved = moved
        self.targets = targets
        self.reference = reference
        self.peers = peers or {}
        self.torch_peers = torch_peers or (lambda torch: {})
        self.yardsticks = yardsticks


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

    targets = [Target(target, "Copy", 1.0 if in_place else 0.0)] if target else []
    return Case(
        "SequenceMask", named, ["data" if in_place else "out"], moved, targets, "Copy",
        peers={} if in_place else {"NumPy putmask": numpy_where}, torch_peers=torch_masked,
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
        moved, [Target(target, "memcpy")], peers=peers, torch_peers=torch_peers,
        stock=dtype is not np.float16)


def boolean_mask_rows():
    data = _random(1 << 15, 512)
    mask = _mask(1 << 15, 50)

    def torch_peers(torch):
        x, m = torch.from_numpy(data), torch.from_numpy(mask)
        return {"data[mask]": lambda: x[m]}

    return Case(
        "BooleanMask", {"data": data, "mask": mask}, ["out"], 2 * int(mask.sum()) * 2048,
        [Target(1.2, "memcpy")], peers={"NumPy data[mask]": lambda: data[mask]},
        torch_peers=torch_peers)


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
        mask.size + counts.nbytes, [Target(2.0, "memcpy")], "memcpy_read",
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
        "BooleanUnmask", inputs, ["out"], k * n + sum(v.nbytes for v in values) + 4 * n,
        [Target(3.0, "memcpy")], peers={"NumPy out[mask] = v": numpy_place},
        torch_peers=torch_peers, stock=not fill, **arguments)


class Kept:
    """What a mask over scores keeps: as an array, as our arguments, as stock's SequenceMask.

    keep: bool, of a shape that broadcasts to the scores; None where all is kept.
    arguments, inputs: of MaskedSoftmax and MaskedAttention.
    stock, stock_inputs: of SequenceMask; None where it has no such mask.
    """

    def __init__(self, keep, arguments, inputs=None, stock=None, stock_inputs=None):
        self.keep = keep
        self.arguments = arguments
        self.inputs = inputs or {}
        self.stock = stock
        self.stock_inputs = stock_inputs or {}

    def share(self):
        return 1.0 if self.keep is None else float(self.keep.mean())

    def stock_softmax(self, scores, output, axis):
        """The operators of stock that take `scores` to what a softmax makes of them."""
        if self.stock is None:
            return []
        operators = []
        if self.keep is not None:
            operators.append(Operator("SequenceMask", [scores] + list(self.stock_inputs),
                                      ["masked"], dict(self.stock, axis=axis)))
            scores = "masked"
        return operators + [Operator("Softmax", [scores], [output], {"axis": axis})]


ALL = Kept(None, {}, stock={})
CAUSAL = {"mode": "upper"}


def _padding(shape, lengths):
    """Lengths of the leading dims of scores of `shape`; stock wants one for every row."""
    columns = lengths.reshape(lengths.shape + (1,) * (len(shape) - lengths.ndim))
    rows = np.broadcast_to(columns, shape[:-1] + (1,)).ravel()
    return Kept(np.arange(shape[-1]) < columns, {"mode": "sequence"}, {"lengths": lengths},
                {"mode": "sequence"}, {"row_lengths": rows})


def _triangle(shape, diagonal=0):
    keep = np.tri(shape[-2], shape[-1], diagonal, dtype=bool)
    if diagonal:
        return Kept(keep, dict(CAUSAL, diagonal=diagonal))
    return Kept(keep, CAUSAL, stock={"mode": "upper", "batch": len(shape) - 3})


def _band(shape, width):
    """What is at most `width` from the diagonal; stock wants a center for every row."""
    rows, columns = np.arange(shape[-2]), np.arange(shape[-1])
    centers = np.broadcast_to(rows.astype(np.int32), shape[:-1]).ravel()
    return Kept(abs(columns - rows[:, np.newaxis]) <= width,
                {"window_left": width, "window_right": width},
                stock={"mode": "window", "radius": width}, stock_inputs={"row_centers": centers})


def _ragged(share, count, longest):
    """Evenly spread lengths, in the mean the given share of the longest there may be."""
    low, high = max(0.0, 2 * share - 1), min(1.0, 2 * share)
    spread = low + (high - low) * (np.arange(count) + 0.5) / count
    return np.maximum(1, np.round(longest * spread)).astype(np.int32)


def _softmax(kept, targets=(), in_place=False):
    """MaskedSoftmax over 64 matrices of 512 x 512; in place, of what the round before has left."""
    scores = 8 * _random(*MATRICES)

    def torch_peers(torch):
        x = torch.from_numpy(scores)
        if kept.keep is None:
            return {"softmax": lambda: torch.softmax(x, -1)}
        drop = torch.from_numpy(~kept.keep)
        return {"masked_fill, softmax": lambda: torch.softmax(
            x.masked_fill(drop, float("-inf")), -1)}

    return Case(
        "MaskedSoftmax", dict({"X": scores}, **kept.inputs), ["X" if in_place else "Y"],
        scores.nbytes * (1 + kept.share()), targets, "Copy", torch_peers=torch_peers,
        stock=[] if in_place else kept.stock_softmax("X", "Y", axis=2),
        stock_inputs=kept.stock_inputs, **kept.arguments)


def softmax_padded():
    lengths = np.random.RandomState(3).randint(1, 123, size=MATRICES[:2]).astype(np.int32)
    return _softmax(_padding(MATRICES, lengths), [Target(0.8, "Copy", 1.0)])


def softmax_mask_of_entries():
    keep = _mask(ENTRIES, 50).reshape(MATRICES)
    return _softmax(Kept(keep, {"has_mask": 1}, {"mask": keep}))


def _torch_attention(torch, tensors, kept, d_output=None, chains=True):
    """torch's SDPA, or where there is none yet, what it stands for; and its gradient to train."""
    q, k, v = (torch.from_numpy(tensor) for tensor in tensors)
    keep = None if kept.keep is None else torch.from_numpy(kept.keep)
    sdpa = getattr(torch.nn.functional, "scaled_dot_product_attention", None)

    def composed():
        scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
        if keep is not None:
            scores = scores.masked_fill(~keep, float("-inf"))
        return torch.matmul(torch.softmax(scores, -1), v)

    if sdpa is None:
        functions = {"matmul, softmax, matmul": composed} if chains else {}
    else:
        functions = {SDPA: lambda: sdpa(q, k, v)}
        if keep is not None:
            functions[SDPA_MASKED] = lambda: sdpa(q, k, v, attn_mask=keep)
        if kept.arguments == CAUSAL:
            functions[SDPA_CAUSAL] = lambda: sdpa(q, k, v, is_causal=True)
    if d_output is None:
        return functions
    leaves = [tensor.requires_grad_() for tensor in (q, k, v)]
    d_o = torch.from_numpy(d_output)
    return {name: lambda forward=forward: torch.autograd.grad(forward(), leaves, d_o)
            for name, forward in functions.items()}


def _attention(shape, kept=ALL, targets=(), training=False, chains=True):
    """MaskedAttention of Q, K and V of `shape`; NumPy's products are those of the whole matrices.

    To train is the forward pass, the backward pass, and gradients to Q, K and V. `chains` tells
    whether it is also done as one operator after the other, by stock and by a torch without SDPA.
    """
    random = np.random.RandomState(5)
    q, k, v, d_output = (random.randn(*shape).astype(np.float32) for _ in range(4))
    scores, output = np.empty(shape[:-1] + shape[2:3], dtype=np.float32), np.empty_like(q)

    def products():
        np.matmul(q, k.swapaxes(2, 3), out=scores)
        np.matmul(scores, v, out=output)

    chain = [
        Operator("BatchMatMul", ["Q", "K"], ["products"], {"trans_b": 1}),
        Operator("Scale", ["products"], ["scores"], {"scale": shape[-1] ** -0.5}),
    ] + kept.stock_softmax("scores", "P", axis=3) + [
        Operator("BatchMatMul", ["P", "V"], ["O"], {}),
    ]
    return Case(
        "MaskedAttention", dict({"Q": q, "K": k, "V": v}, **kept.inputs),
        ["O", "LSE"] if training else ["O"], None, targets, PRODUCTS, peers={PRODUCTS: products},
        torch_peers=lambda torch: _torch_attention(
            torch, (q, k, v), kept, d_output if training else None, chains),
        yardsticks=[PRODUCTS] if kept.keep is None else [PRODUCTS, SDPA],
        stock=chain if chains and kept.stock is not None else [], stock_inputs=kept.stock_inputs,
        no_mask=kept.keep is not None, d_output=d_output if training else None,
        trained=["Q", "K", "V"], kept=kept.share(), **kept.arguments)


def _scores(shape):
    return shape[:3] + shape[2:3]


def attention_causal(shape, training=False):
    targets = [Target(1.0, SDPA_CAUSAL)] + ([] if training else [Target(0.65, OURS_NO_MASK)])
    return _attention(shape, _triangle(_scores(shape)), targets, training)


def attention_padded(shape, share):
    kept = _padding(_scores(shape), _ragged(share, shape[0], shape[2]))
    return _attention(shape, kept, [Target(1.2 * kept.share(), SDPA)])


def attention_window(shape, width):
    return _attention(shape, _band(_scores(shape), width), [Target(0.15, SDPA)])


def decoding(batch=8, heads=8, keys=4096, depth=64):
    """One query for each sequence, on the keys and values that it has so far."""
    random = np.random.RandomState(5)
    q = random.randn(batch, heads, 1, depth).astype(np.float32)
    k, v = (random.randn(batch, heads, keys, depth).astype(np.float32) for _ in range(2))
    lengths = _ragged(0.5, batch, keys)
    kept = _padding((batch, heads, 1, keys), lengths)
    output = np.empty_like(q)

    def loop():
        for b, length in enumerate(lengths):
            for h in range(heads):
                scores = k[b, h, :length] @ (q[b, h, 0] * depth ** -0.5)
                p = np.exp(scores - scores.max())
                output[b, h, 0] = p @ v[b, h, :length] / p.sum()

    return Case(
        "MaskedAttention", dict({"Q": q, "K": k, "V": v}, **kept.inputs), ["O"],
        int(2 * lengths.sum()) * heads * depth * 4, [Target(1.0, LOOP)], LOOP, peers={LOOP: loop},
        torch_peers=lambda torch: _torch_attention(torch, (q, k, v), kept),
        yardsticks=[SDPA], stock=False, **kept.arguments)


GATED = (4096, 1024)


def _logits(*shape):
    return (2 * np.random.RandomState(6).randn(*shape)).astype(np.float32)


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _numpy_softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _stretched(torch, z):
    """A hard concrete gate of z, with noise."""
    u = torch.empty_like(z).uniform_(1e-6, 1 - 1e-6)
    s = torch.sigmoid((torch.log(u) - torch.log1p(-u) + z) * 1.5)
    return torch.clamp(s * 1.2 - 0.1, 0, 1)


def _numpy_stretched(z):
    u = np.random.default_rng().random(z.shape, dtype=np.float32)
    return np.clip(_sigmoid((np.log(u) - np.log1p(-u) + z) * np.float32(1.5)) * 1.2 - 0.1, 0, 1)


class Kind:
    """A kind of gate, by its name: stock's operators from Z to G, and g in torch and in NumPy."""

    def __init__(self, stock, torch, numpy, stock_gradient=None, stock_inputs=None, outputs="Y",
                 **arguments):
        self.stock = stock
        self.torch = torch
        self.numpy = numpy
        self.stock_gradient = stock_gradient
        self.stock_inputs = stock_inputs or {}
        self.outputs = outputs.split()
        self.arguments = arguments


def _scalar(value):
    return np.array([value], dtype=np.float32)


# Noise is stock's own, so that what hard_concrete comes to has names of its own there.
KINDS = {
    "sigmoid": Kind(
        [Operator("Sigmoid", ["Z"], ["G"], {})], lambda torch, z: torch.sigmoid(z), _sigmoid,
        stock_gradient="SigmoidGradient"),
    "softmax": Kind(
        [Operator("Softmax", ["Z"], ["G"], {"axis": 1})], lambda torch, z: torch.softmax(z, -1),
        _numpy_softmax, stock_gradient="SoftmaxGradient"),
    "relu": Kind(
        [Operator("Sub", ["Z", "threshold"], ["above"], {}),
         Operator("Relu", ["above"], ["G"], {})],
        lambda torch, z: torch.relu(z - 0.5), lambda z: np.maximum(z - np.float32(0.5), 0)),
    "hard": Kind(
        [Operator("GT", ["Z", "zero"], ["open"], {}),
         Operator("Cast", ["open"], ["G"], {"to": "float"})],
        lambda torch, z: (z > 0).to(z.dtype), lambda z: z > 0,
        stock_inputs={"zero": _scalar(0)}),
    "hard_concrete": Kind(
        [Operator("UniformFill", [], ["u"], {"shape": GATED, "min": 0.0, "max": 1.0}),
         Operator("Logit", ["u"], ["logit"], {}),
         Operator("Add", ["logit", "Z"], ["noisy"], {}),
         Operator("Scale", ["noisy"], ["scaled"], {"scale": 1.5}),
         Operator("Sigmoid", ["scaled"], ["s"], {}),
         Operator("Scale", ["s"], ["wide"], {"scale": 1.2}),
         Operator("Add", ["wide", "gamma"], ["stretched"], {}),
         Operator("Clip", ["stretched"], ["g"], {"min": 0.0, "max": 1.0})],
        _stretched, _numpy_stretched, stock_inputs={"gamma": _scalar(-0.1)},
        outputs="Y G noise"),
}


def _gate(kind, gate_shape=GATED):
    """Gate of X by Z of `gate_shape`."""
    of, x, z = KINDS[kind], _random(*GATED), _logits(*gate_shape)
    inputs = {"X": x, "Z": z}
    if kind == "relu":
        inputs["threshold"] = _scalar(0.5)
    g, y = of.stock[-1].outputs[0], "drawn" if kind == "hard_concrete" else "Y"
    moved = 2 * x.nbytes + z.nbytes * (2 if len(of.outputs) > 1 else 1)

    def torch_peers(torch):
        data, logits = torch.from_numpy(x), torch.from_numpy(z)
        return {"{} * x".format(kind): lambda: of.torch(torch, logits) * data}

    return Case(
        "Gate", inputs, of.outputs, moved, [Target(2.0, "memcpy")],
        peers={"NumPy {} * x".format(kind): lambda: of.numpy(z) * x}, torch_peers=torch_peers,
        stock=of.stock + [Operator("Mul", ["X", g], [y], {})],
        stock_inputs=of.stock_inputs, kind=kind)


def _backward(torch, function, arrays, d_y):
    """The backward pass alone, of a forward pass that was made before."""
    leaves = [torch.from_numpy(array.copy()).requires_grad_() for array in arrays]
    y, d_output = function(*leaves), torch.from_numpy(d_y)
    return {"backward": lambda: torch.autograd.grad(y, leaves, d_output, retain_graph=True)}


def _gate_gradient(kind, gate_shape=GATED):
    """Gradients to X and Z. Stock, torch and NumPy have kept g, or what they need of it."""
    of, x, z, d_y = KINDS[kind], _random(*GATED), _logits(*gate_shape), _logits(*GATED)[::-1].copy()
    inputs = {"X": x, "Z": z}
    if kind == "hard_concrete":
        inputs["noise"] = np.array([1, 0], dtype=np.int64)
    inputs["d_Y"] = d_y
    stock, peers, g = [], {}, of.numpy(z).astype(np.float32)
    if of.stock_gradient:
        stock = [Operator("MulGradient", ["d_Y", "X", "G"], ["d_X", "d_G"], {}),
                 Operator(of.stock_gradient, ["G", "d_G"], ["d_Z"], {})]

    def numpy_gradient():
        d_g = d_y * x
        if gate_shape != GATED:
            d_g = d_g.sum(axis=1, keepdims=True)
        weighted = d_g * g
        if kind == "softmax":
            return d_y * g, weighted - g * weighted.sum(axis=-1, keepdims=True)
        return d_y * g, weighted * (1 - g)

    if kind != "hard_concrete":
        peers["NumPy gradients"] = numpy_gradient
    return Case(
        "GateGradient", inputs, ["d_X", "d_Z"], 3 * x.nbytes + 2 * z.nbytes,
        [Target(2.0, "memcpy")], peers=peers,
        torch_peers=lambda torch: _backward(
            torch, lambda data, logits: of.torch(torch, logits) * data, (x, z), d_y),
        stock=stock, stock_inputs={"G": g}, kind=kind)


def highway():
    h, x, z = _random(*GATED), _logits(*GATED)[::-1].copy(), _logits(*GATED)

    def numpy_highway():
        g = _sigmoid(z)
        return g * h + (1 - g) * x

    def torch_peers(torch):
        th, tx, tz = (torch.from_numpy(tensor) for tensor in (h, x, z))
        return {"lerp, sigmoid": lambda: torch.lerp(tx, th, torch.sigmoid(tz))}

    return Case(
        "Highway", {"H": h, "X": x, "Z": z}, ["Y"], 4 * h.nbytes, [Target(2.0, "memcpy")],
        peers={"NumPy g * h + (1 - g) * x": numpy_highway}, torch_peers=torch_peers,
        stock=[Operator("Sigmoid", ["Z"], ["G"], {}), Operator("Sub", ["H", "X"], ["rest"], {}),
               Operator("Mul", ["rest", "G"], ["gated"], {}),
               Operator("Add", ["gated", "X"], ["Y"], {})])


def highway_gradient():
    h, x, z = _random(*GATED), _logits(*GATED)[::-1].copy(), _logits(*GATED)
    d_y, g = _random(*GATED), _sigmoid(z)
    return Case(
        "HighwayGradient", {"H": h, "X": x, "Z": z, "d_Y": d_y}, ["d_H", "d_X", "d_Z"],
        7 * h.nbytes, [Target(2.0, "memcpy")],
        torch_peers=lambda torch: _backward(
            torch, lambda th, tx, tz: torch.lerp(tx, th, torch.sigmoid(tz)), (h, x, z), d_y),
        stock=[Operator("MulGradient", ["d_Y", "rest", "G"], ["d_H", "d_G"], {}),
               Operator("Sub", ["d_Y", "d_H"], ["d_X"], {}),
               Operator("SigmoidGradient", ["G", "d_G"], ["d_Z"], {})],
        stock_inputs={"rest": h - x, "G": g})


MIXED = (4096, 8, 256)


def _mixture(top_k=None):
    """MixtureGate; stock's sum of a few experts gathers them first, as its peers do."""
    rows, experts, columns = MIXED
    e, z = _random(*MIXED), _logits(rows, experts)
    kept = top_k or experts
    stock_sum = [Operator("ExpandDims", ["G"], ["G1"], {"dims": [1]}),
                 Operator("BatchMatMul", ["G1", "E"], ["Y1"], {}),
                 Operator("Squeeze", ["Y1"], ["Y"], {"dims": [1]})]
    if top_k:
        stock_sum = [
            Operator("TopK", ["G"], ["weights", "experts", "rows"], {"k": top_k}),
            Operator("Gather", ["E_rows", "rows"], ["gathered"], {}),
            Operator("Reshape", ["gathered"], ["chosen", "_"], {"shape": (rows, top_k, columns)}),
            Operator("ExpandDims", ["weights"], ["G1"], {"dims": [1]}),
            Operator("BatchMatMul", ["G1", "chosen"], ["Y1"], {}),
            Operator("Squeeze", ["Y1"], ["Y"], {"dims": [1]})]

    def numpy_mixture():
        g, of = _numpy_softmax(z), e
        if top_k:
            chosen = np.argpartition(-z, top_k - 1, axis=1)[:, :top_k]
            g = np.take_along_axis(g, chosen, axis=1)
            of = np.take_along_axis(e, chosen[:, :, np.newaxis], axis=1)
        return np.matmul(g[:, np.newaxis], of)

    def torch_peers(torch):
        te, tz, indices = torch.from_numpy(e), torch.from_numpy(z), torch.arange(rows)[:, None]

        def mixture():
            g, of = torch.softmax(tz, -1), te
            if top_k:
                g, chosen = torch.topk(g, top_k)
                of = te[indices, chosen]
            return torch.bmm(g[:, None], of)

        return {"softmax, bmm": mixture}

    return Case(
        "MixtureGate", {"E": e, "Z": z}, ["Y"], (kept + 1) * rows * columns * 4 + z.nbytes,
        [Target(1.5, "memcpy")], peers={"NumPy softmax, matmul": numpy_mixture},
        torch_peers=torch_peers,
        stock=[Operator("Softmax", ["Z"], ["G"], {"axis": 1})] + stock_sum,
        stock_inputs={"E_rows": e.reshape(-1, columns)} if top_k else {},
        **({"top_k": top_k} if top_k else {}))


def mixture_gradient():
    rows, experts, columns = MIXED
    e, z, d_y = _random(*MIXED), _logits(rows, experts), _logits(rows, columns)

    def mixture(torch):
        return lambda te, tz: torch.bmm(torch.softmax(tz, -1)[:, None], te)[:, 0]

    return Case(
        "MixtureGateGradient", {"E": e, "Z": z, "d_Y": d_y}, ["d_E", "d_Z"],
        2 * e.nbytes + d_y.nbytes + 2 * z.nbytes, [Target(1.5, "memcpy")],
        torch_peers=lambda torch: _backward(torch, mixture(torch), (e, z), d_y),
        stock=[Operator("ExpandDims", ["d_Y"], ["d_Y1"], {"dims": [1]}),
               Operator("ExpandDims", ["G"], ["G1"], {"dims": [1]}),
               Operator("BatchMatMul", ["G1", "d_Y1"], ["d_E"], {"trans_a": 1}),
               Operator("BatchMatMul", ["d_Y1", "E"], ["d_G1"], {"trans_b": 1}),
               Operator("Squeeze", ["d_G1"], ["d_G"], {"dims": [1]}),
               Operator("SoftmaxGradient", ["G", "d_G"], ["d_Z"], {})],
        stock_inputs={"G": _numpy_softmax(z)})


def bernoulli():
    """A mask and its logarithms of probability; each contender draws one of its own."""
    z = _logits(*GATED)

    def numpy_bernoulli():
        mask = np.random.default_rng().random(z.shape, dtype=np.float32) < _sigmoid(z)
        return mask, -np.logaddexp(0, np.where(mask, -z, z))

    def torch_peers(torch):
        tz = torch.from_numpy(z)

        def draw():
            mask = torch.bernoulli(torch.sigmoid(tz))
            return mask, torch.nn.functional.binary_cross_entropy_with_logits(
                tz, mask, reduction="none")

        return {"bernoulli, cross entropy": draw}

    return Case(
        "BernoulliMask", {"Z": z}, ["mask", "log_prob"], 9 * z.size, [Target(2.0, "memcpy")],
        peers={"NumPy random, logaddexp": numpy_bernoulli}, torch_peers=torch_peers,
        stock=[Operator("UniformFill", [], ["u"], {"shape": GATED, "min": 0.0, "max": 1.0}),
               Operator("Sigmoid", ["Z"], ["p"], {}), Operator("LT", ["u", "p"], ["drawn"], {}),
               Operator("Cast", ["drawn"], ["ones"], {"to": "float"}),
               Operator("Mul", ["Z", "ones"], ["kept"], {}),
               Operator("Softplus", ["Z"], ["all"], {}),
               Operator("Sub", ["kept", "all"], ["log_drawn"], {})])


def _random_mask(span=0):
    """RandomMask at p = 0.15: X is never read, so what it costs is held against a Copy of X."""
    x, p = _random(*GATED), 0.15
    begins = 1 - (1 - p) ** (1.0 / span) if span else p

    def numpy_mask():
        u = np.random.default_rng().random(x.shape, dtype=np.float32)
        if not span:
            return u >= p
        begun = np.cumsum(u < begins, axis=1, dtype=np.int16)
        begun[:, span:] -= begun[:, :-span].copy()
        return begun == 0

    def torch_peers(torch):
        tx = torch.from_numpy(x)
        if not span:
            return {"rand_like >= p": lambda: torch.rand_like(tx) >= p}

        def draw():
            begun = (torch.rand_like(tx) < begins).float()
            return torch.nn.functional.max_pool1d(begun[:, None], span, 1, span // 2) == 0

        return {"rand_like, max_pool1d": draw}

    arguments = {"unit": "span", "span_length": span} if span else {}
    return Case(
        "RandomMask", {"X": x}, ["mask"], x.size, [Target(0.5, "Copy")], "Copy",
        peers={"NumPy cumsum of random" if span else "NumPy random >= p": numpy_mask},
        torch_peers=torch_peers,
        stock=[] if span else [
            Operator("UniformFill", [], ["u"], {"shape": GATED, "min": 0.0, "max": 1.0}),
            Operator("GE", ["u", "p"], ["drawn"], {})],
        stock_inputs={} if span else {"p": _scalar(p)}, p=p, **arguments)


BATCHED, LONG = (8, 8, 512, 64), (1, 8, 2048, 64)


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
    "MaskedSoftmax plain, 64x512x512": lambda: _softmax(ALL, [Target(1.8, "Copy")]),
    "MaskedSoftmax plain in place, 64x512x512": lambda: _softmax(ALL, in_place=True),
    "MaskedSoftmax causal, 64x512x512": lambda: _softmax(_triangle(MATRICES)),
    "MaskedSoftmax 12 % kept, 64x512x512": softmax_padded,
    "MaskedSoftmax mask of entries, 64x512x512": softmax_mask_of_entries,
    "MaskedAttention, 8x8x512x64": lambda: _attention(BATCHED, targets=[Target(1.0, SDPA)]),
    "MaskedAttention causal, 8x8x512x64": lambda: attention_causal(BATCHED),
    "MaskedAttention padded, 49 % kept, 8x8x512x64": lambda: attention_padded(BATCHED, 0.49),
    "MaskedAttention, 1x8x2048x64": lambda: _attention(LONG, targets=[Target(1.0, SDPA)]),
    "MaskedAttention causal, 1x8x2048x64": lambda: attention_causal(LONG),
    "MaskedAttention window of 64, 1x8x2048x64": lambda: attention_window(LONG, 64),
    "MaskedAttention training, 8x8x512x64": lambda: _attention(BATCHED, training=True),
    "MaskedAttention causal training, 8x8x512x64": lambda: attention_causal(BATCHED, True),
    "MaskedAttention training, 1x8x2048x64": lambda: _attention(LONG, training=True),
    "MaskedAttention causal training, 1x8x2048x64": lambda: attention_causal(LONG, True),
    "MaskedAttention decoding, 8x8x1x64 of 4096 keys": decoding,
    "Gate sigmoid, 4096x1024": lambda: _gate("sigmoid"),
    "Gate sigmoid of rows, 4096x1024": lambda: _gate("sigmoid", GATED[:1] + (1,)),
    "Gate hard, 4096x1024": lambda: _gate("hard"),
    "Gate relu with a threshold, 4096x1024": lambda: _gate("relu"),
    "Gate softmax, 4096x1024": lambda: _gate("softmax"),
    "Gate hard_concrete training, 4096x1024": lambda: _gate("hard_concrete"),
    "GateGradient sigmoid, 4096x1024": lambda: _gate_gradient("sigmoid"),
    "GateGradient sigmoid of rows, 4096x1024":
        lambda: _gate_gradient("sigmoid", GATED[:1] + (1,)),
    "GateGradient softmax, 4096x1024": lambda: _gate_gradient("softmax"),
    "GateGradient hard_concrete, 4096x1024": lambda: _gate_gradient("hard_concrete"),
    "Highway, 4096x1024": highway,
    "HighwayGradient, 4096x1024": highway_gradient,
    "MixtureGate, 4096x8x256": _mixture,
    "MixtureGate top 2 of 8, 4096x8x256": lambda: _mixture(top_k=2),
    "MixtureGateGradient, 4096x8x256": mixture_gradient,
    "BernoulliMask, 4096x1024": bernoulli,
    "RandomMask of elements, 4096x1024": _random_mask,
    "RandomMask of spans of 10, 4096x1024": lambda: _random_mask(span=10),
}

# Time against the kept share, for kept_share.py.
SHARES = (2, 5, 10, 25, 50, 75, 100)
SWEPT = (4, 8, 1024, 64)


def _of_share(mask, percent):
    """A mask of scores of the swept shape that keeps about `percent` % of them."""
    shape, share, length = _scores(SWEPT), percent / 100, SWEPT[2]
    if mask == "padding":
        return _padding(shape, _ragged(share, shape[0], length))
    if mask == "window":  # Kept is 1 - (1 - w)^2, for a width of w times the length.
        return _band(shape, int(length * (1 - (1 - share) ** 0.5)))
    if share <= 0.5:  # Below half, a triangle of the share's root; above, all but the other one.
        return _triangle(shape, int(length * ((2 * share) ** 0.5 - 1)))
    return _triangle(shape, int(length * (1 - (2 - 2 * share) ** 0.5)))


def _kept_share(mask, percent, training):
    return lambda: _attention(SWEPT, _of_share(mask, percent), training=training, chains=False)


KEPT_SHARE = {
    "{} {}, {} % kept".format(mask, "training" if training else "forward", percent):
        _kept_share(mask, percent, training)
    for training in (False, True)
    for mask in ("padding", "window", "causal")
    for percent in SHARES
}


def find(name):
    return (CASES.get(name) or KEPT_SHARE[name])()
