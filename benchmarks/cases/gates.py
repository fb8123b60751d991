"""Gate and Highway, and their gradients."""

import numpy as np

from cases.case import Case, Spec, Target, backward, op, random

GATED = (4096, 1024)


def logits(*shape):
    return (2 * np.random.RandomState(6).randn(*shape)).astype(np.float32)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def scalar(value):
    return np.array([value], dtype=np.float32)


def uniform(shape):
    return np.random.default_rng(1).random(shape, dtype=np.float32)


def uniform_fill(shape, output):
    """Stock's noise, without what logarithms make infinite."""
    return op("UniformFill", "", output, shape=shape, min=1e-6, max=1 - 1e-6)


def _torch_hard_concrete(torch, z):
    u = torch.empty_like(z).uniform_(1e-6, 1 - 1e-6)
    s = torch.sigmoid((torch.log(u) - torch.log1p(-u) + z) * 1.5)
    return torch.clamp(s * 1.2 - 0.1, 0, 1)


def _numpy_hard_concrete(z):
    u = uniform(z.shape)
    return np.clip(sigmoid((np.log(u) - np.log1p(-u) + z) * np.float32(1.5)) * 1.2 - 0.1, 0, 1)


class Kind:
    """A kind of gate, by its name: stock's operators from Z to G, and g in torch and in NumPy.

    `drawn` says that there is noise in it.
    """

    def __init__(self, stock, torch, numpy, stock_gradient=None, stock_inputs=None, drawn=False):
        self.stock = stock
        self.torch = torch
        self.numpy = numpy
        self.stock_gradient = stock_gradient
        self.stock_inputs = stock_inputs or {}
        self.drawn = drawn
        self.outputs = ["Y", "G", "noise"] if drawn else ["Y"]


KINDS = {
    "sigmoid": Kind(
        lambda shape: [op("Sigmoid", "Z", "G")],
        lambda torch, z: torch.sigmoid(z), sigmoid, stock_gradient="SigmoidGradient"),
    "softmax": Kind(
        lambda shape: [op("Softmax", "Z", "G", axis=1)],
        lambda torch, z: torch.softmax(z, -1), softmax, stock_gradient="SoftmaxGradient"),
    "relu": Kind(
        lambda shape: [op("Sub", "Z threshold", "above"), op("Relu", "above", "G")],
        lambda torch, z: torch.relu(z - 0.5), lambda z: np.maximum(z - np.float32(0.5), 0)),
    "hard": Kind(
        lambda shape: [op("GT", "Z zero", "open"), op("Cast", "open", "G", to="float")],
        lambda torch, z: (z > 0).to(z.dtype), lambda z: z > 0,
        stock_inputs={"zero": scalar(0)}),
    "hard_concrete": Kind(
        lambda shape: [uniform_fill(shape, "u"), op("Logit", "u", "logit"),
                       op("Add", "logit Z", "noisy"), op("Scale", "noisy", "scaled", scale=1.5),
                       op("Sigmoid", "scaled", "s"), op("Scale", "s", "wide", scale=1.2),
                       op("Add", "wide gamma", "stretched"),
                       op("Clip", "stretched", "G", min=0.0, max=1.0)],
        _torch_hard_concrete, _numpy_hard_concrete, stock_inputs={"gamma": scalar(-0.1)},
        drawn=True),
    "gumbel_softmax": Kind(
        lambda shape: [uniform_fill(shape, "u"), op("Log", "u", "log"),
                       op("Negative", "log", "exponential"), op("Log", "exponential", "below"),
                       op("Sub", "Z below", "noisy"), op("Softmax", "noisy", "G", axis=1)],
        lambda torch, z: torch.nn.functional.gumbel_softmax(z),
        lambda z: softmax(z - np.log(-np.log(uniform(z.shape)))),
        stock_gradient="SoftmaxGradient", drawn=True),
}


def _gate_shape(shape, of_rows):
    return shape[:1] + (1,) if of_rows else shape


def gate(kind, shape, of_rows=False):
    """Gate of X by Z, of X's shape or of one logit for each row."""
    of, x, z = KINDS[kind], random(*shape), logits(*_gate_shape(shape, of_rows))
    inputs = {"X": x, "Z": z}
    if kind == "relu":
        inputs["threshold"] = scalar(0.5)

    def torch_peers(torch):
        data, z_ = torch.from_numpy(x), torch.from_numpy(z)
        return {"{} * x".format(kind): lambda: of.torch(torch, z_) * data}

    return Case(
        "Gate", inputs, of.outputs, 2 * x.nbytes + z.nbytes * (2 if of.drawn else 1),
        [Target(2.0, "memcpy")], peers={"NumPy {} * x".format(kind): lambda: of.numpy(z) * x},
        torch_peers=torch_peers, stock=of.stock(shape) + [op("Mul", "X G", "Y")],
        stock_inputs=of.stock_inputs, drawn=of.drawn, kind=kind)


def gate_gradient(kind, shape, of_rows=False):
    """Gradients to X and Z. Stock, torch and NumPy have kept g, or what they need of it."""
    of, x, z = KINDS[kind], random(*shape), logits(*_gate_shape(shape, of_rows))
    d_y = logits(*shape)[::-1].copy()
    inputs = {"X": x, "Z": z}
    if of.drawn:
        inputs["noise"] = np.array([1, 0], dtype=np.int64)
    inputs["d_Y"] = d_y
    g = of.numpy(z).astype(np.float32)

    def numpy_gradient():
        d_g = d_y * x
        if of_rows:
            d_g = d_g.sum(axis=1, keepdims=True)
        weighted = d_g * g
        if of.stock_gradient == "SoftmaxGradient":
            return d_y * g, weighted - g * weighted.sum(axis=-1, keepdims=True)
        return d_y * g, weighted * (1 - g)

    stock, peers = [], {}
    if of.stock_gradient:
        stock = [op("MulGradient", "d_Y X G", "d_X d_G"),
                 op(of.stock_gradient, "G d_G", "d_Z")]
        peers["NumPy gradients"] = numpy_gradient
    return Case(
        "GateGradient", inputs, ["d_X", "d_Z"], 3 * x.nbytes + 2 * z.nbytes,
        [Target(2.0, "memcpy")], peers=peers,
        torch_peers=lambda torch: backward(
            torch, lambda data, z_: of.torch(torch, z_) * data, (x, z), d_y),
        stock=stock, stock_inputs={"G": g}, drawn=of.drawn, kind=kind)


def highway(shape):
    h, x, z = random(*shape), logits(*shape)[::-1].copy(), logits(*shape)

    def numpy_highway():
        g = sigmoid(z)
        return g * h + (1 - g) * x

    def torch_peers(torch):
        th, tx, tz = (torch.from_numpy(array) for array in (h, x, z))
        return {"lerp, sigmoid": lambda: torch.lerp(tx, th, torch.sigmoid(tz))}

    return Case(
        "Highway", {"H": h, "X": x, "Z": z}, ["Y"], 4 * h.nbytes, [Target(2.0, "memcpy")],
        peers={"NumPy g * h + (1 - g) * x": numpy_highway}, torch_peers=torch_peers,
        stock=[op("Sigmoid", "Z", "G"), op("Sub", "H X", "rest"), op("Mul", "rest G", "gated"),
               op("Add", "gated X", "Y")])


def highway_gradient(shape):
    h, x, z = random(*shape), logits(*shape)[::-1].copy(), logits(*shape)
    d_y, g = random(*shape), sigmoid(z)
    return Case(
        "HighwayGradient", {"H": h, "X": x, "Z": z, "d_Y": d_y}, ["d_H", "d_X", "d_Z"],
        7 * h.nbytes, [Target(2.0, "memcpy")],
        torch_peers=lambda torch: backward(
            torch, lambda th, tx, tz: torch.lerp(tx, th, torch.sigmoid(tz)), (h, x, z), d_y),
        stock=[op("MulGradient", "d_Y rest G", "d_H d_G"), op("Sub", "d_Y d_H", "d_X"),
               op("SigmoidGradient", "G d_G", "d_Z")],
        stock_inputs={"rest": h - x, "G": g})


def _spec(operator, make, form="", **fields):
    return Spec(operator, "{operator}" + form + ", {shape}", make, shape=GATED, **fields)


CASES = [
    _spec("Gate", gate, " {kind}", kind="sigmoid"),
    _spec("Gate", gate, " {kind} of rows", kind="sigmoid", of_rows=True),
    _spec("Gate", gate, " {kind}", kind="hard"),
    _spec("Gate", gate, " {kind} with a threshold", kind="relu"),
    _spec("Gate", gate, " {kind}", kind="softmax"),
    _spec("Gate", gate, " {kind} training", kind="hard_concrete"),
    _spec("Gate", gate, " {kind} training", kind="gumbel_softmax"),
    _spec("GateGradient", gate_gradient, " {kind}", kind="sigmoid"),
    _spec("GateGradient", gate_gradient, " {kind} of rows", kind="sigmoid", of_rows=True),
    _spec("GateGradient", gate_gradient, " {kind}", kind="softmax"),
    _spec("GateGradient", gate_gradient, " {kind}", kind="hard_concrete"),
    _spec("GateGradient", gate_gradient, " {kind}", kind="gumbel_softmax"),
    _spec("Highway", highway),
    _spec("HighwayGradient", highway_gradient),
]
