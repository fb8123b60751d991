"""MixtureGate and its gradient."""

import numpy as np

from cases.case import Case, Spec, Target, backward, op, random
from cases.gates import logits, softmax

MIXED = (4096, 8, 256)


def mixture_gate(shape, top_k=None):
    """Stock's sum of a few experts gathers them first, as its peers do."""
    rows, experts, columns = shape
    e, z = random(*shape), logits(rows, experts)
    weights, of, gather = "G", "E", []
    if top_k:
        weights, of = "weights", "chosen"
        gather = [
            op("TopK", "G", "weights experts rows", k=top_k),
            op("Gather", "E_rows rows", "gathered"),
            op("Reshape", "gathered", "chosen _", shape=(rows, top_k, columns))]

    def numpy_mixture():
        g, of = softmax(z), e
        if top_k:
            chosen = np.argpartition(-z, top_k - 1, axis=1)[:, :top_k]
            g = np.take_along_axis(g, chosen, axis=1)
            of = np.take_along_axis(e, chosen[:, :, np.newaxis], axis=1)
        return np.matmul(g[:, np.newaxis], of)[:, 0]

    def torch_peers(torch):
        te, tz, indices = torch.from_numpy(e), torch.from_numpy(z), torch.arange(rows)[:, None]

        def mixture():
            g, of = torch.softmax(tz, -1), te
            if top_k:
                g, chosen = torch.topk(g, top_k)
                of = te[indices, chosen]
            return torch.bmm(g[:, None], of)[:, 0]

        return {"softmax, bmm": mixture}

    return Case(
        "MixtureGate", {"E": e, "Z": z}, ["Y"],
        ((top_k or experts) + 1) * rows * columns * 4 + z.nbytes,
        [Target(1.5, "memcpy")], peers={"NumPy softmax, matmul": numpy_mixture},
        torch_peers=torch_peers,
        stock=[op("Softmax", "Z", "G", axis=1)] + gather + [
            op("ExpandDims", weights, "G1", dims=[1]), op("BatchMatMul", "G1 " + of, "Y1"),
            op("Squeeze", "Y1", "Y", dims=[1])],
        stock_inputs={"E_rows": e.reshape(-1, columns)} if top_k else {},
        **({"top_k": top_k} if top_k else {}))


def mixture_gate_gradient(shape):
    rows, experts, columns = shape
    e, z, d_y = random(*shape), logits(rows, experts), logits(rows, columns)
    return Case(
        "MixtureGateGradient", {"E": e, "Z": z, "d_Y": d_y}, ["d_E", "d_Z"],
        2 * e.nbytes + d_y.nbytes + 2 * z.nbytes, [Target(1.5, "memcpy")],
        torch_peers=lambda torch: backward(
            torch, lambda te, tz: torch.bmm(torch.softmax(tz, -1)[:, None], te)[:, 0], (e, z),
            d_y),
        stock=[op("ExpandDims", "d_Y", "d_Y1", dims=[1]), op("ExpandDims", "G", "G1", dims=[1]),
               op("BatchMatMul", "G1 d_Y1", "d_E", trans_a=1),
               op("BatchMatMul", "d_Y1 E", "d_G1", trans_b=1),
               op("Squeeze", "d_G1", "d_G", dims=[1]), op("SoftmaxGradient", "G d_G", "d_Z")],
        stock_inputs={"G": softmax(z)})


CASES = [
    Spec("MixtureGate", "{operator}, {shape}", mixture_gate, shape=MIXED),
    Spec("MixtureGate", "{operator} top {top_k} of 8, {shape}", mixture_gate, shape=MIXED,
         top_k=2),
    Spec("MixtureGateGradient", "{operator}, {shape}", mixture_gate_gradient, shape=MIXED),
]
