"""Masks that are drawn: each contender draws one of its own."""

import numpy as np

from cases.case import Case, Spec, Target, op, random
from cases.gates import GATED, logits, scalar, sigmoid, uniform, uniform_fill


def bernoulli_mask(shape):
    """A mask and its logarithms of probability."""
    z = logits(*shape)

    def numpy_bernoulli():
        mask = uniform(shape) < sigmoid(z)
        return mask, -np.logaddexp(0, np.where(mask, -z, z))

    def torch_peers(torch):
        tz = torch.from_numpy(z)

        def draw():
            mask = torch.bernoulli(torch.sigmoid(tz))
            return mask, -torch.nn.functional.binary_cross_entropy_with_logits(
                tz, mask, reduction="none")

        return {"bernoulli, cross entropy": draw}

    return Case(
        "BernoulliMask", {"Z": z}, ["mask", "log_prob"], 9 * z.size, [Target(2.0, "memcpy")],
        peers={"NumPy random, logaddexp": numpy_bernoulli}, torch_peers=torch_peers, drawn=True,
        stock=[uniform_fill(shape, "u"), op("Sigmoid", "Z", "p"), op("LT", "u p", "mask"),
               op("Cast", "mask", "ones", to="float"), op("Mul", "Z ones", "kept"),
               op("Softplus", "Z", "all"), op("Sub", "kept all", "log_prob")])


def random_mask(shape, span=0):
    """RandomMask at p = 0.15: X is never read, so what it costs is held against a Copy of X."""
    x, p = random(*shape), 0.15
    begins = 1 - (1 - p) ** (1.0 / span) if span else p

    def numpy_mask():
        u = uniform(shape)
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
            spans = torch.nn.functional.max_pool1d(begun[:, None], span, 1, span // 2)
            return spans[:, 0, :shape[1]] == 0

        return {"rand_like, max_pool1d": draw}

    arguments = {"unit": "span", "span_length": span} if span else {}
    return Case(
        "RandomMask", {"X": x}, ["mask"], x.size, [Target(0.5, "Copy")], "Copy",
        peers={"NumPy cumsum of random" if span else "NumPy random >= p": numpy_mask},
        torch_peers=torch_peers, drawn=True,
        stock=[] if span else [uniform_fill(shape, "u"), op("GE", "u p", "mask")],
        stock_inputs={} if span else {"p": scalar(p)}, p=p, **arguments)


CASES = [
    Spec("BernoulliMask", "{operator}, {shape}", bernoulli_mask, shape=GATED),
    Spec("RandomMask", "{operator} of elements, {shape}", random_mask, shape=GATED),
    Spec("RandomMask", "{operator} of spans of {span}, {shape}", random_mask, shape=GATED,
         span=10),
]
