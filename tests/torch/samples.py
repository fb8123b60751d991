"""A few calls of every function, for what is the same for all: registration, compilers, threads."""

import torch

import caffe2op_mask as masks
import testers


def real(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape) + len(shape))
    return torch.randn(shape, generator=generator).to(dtype).requires_grad_()


def fixed(tensor):
    return tensor.detach()


def keep(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.rand(shape, generator=generator) < 0.6


class Sample:
    """One call: a function of the tensors that learn, in their order."""

    def __init__(self, name, function, *learned):
        self.name = name
        self.function = function
        self.learned = learned

    def __repr__(self):
        return self.name

    def __call__(self):
        return self.function(*self.learned)

    def gradients(self, call=None):
        """Of a sum of all outputs that have one; outputs first."""
        outputs = testers.as_tuple((call or self.function)(*self.learned))
        sums = [one.nan_to_num(neginf=0.0).sum() for one in outputs if one.requires_grad]
        gradients = torch.autograd.grad(sum(sums), self.learned, allow_unused=True) if sums else ()
        return list(outputs) + list(gradients)


def _all():
    lengths = torch.tensor([5, 0])
    mask = keep(2, 1, 6, 6)
    of_3, of_5, of_30, of_2_1, of_3_4, of_4_5 = map(
        lambda shape: keep(*shape), [(3,), (5,), (30,), (2, 1), (3, 4), (4, 5)]
    )
    heads = real(2, 6, 4, 8)
    noise = testers.noise_of(5)
    yield Sample("bernoulli_mask", lambda z: masks.bernoulli_mask(z, noise=noise), real(3, 4))
    yield Sample("boolean_mask", lambda data: masks.boolean_mask(data, of_3_4), real(3, 4, 2))
    yield Sample(
        "boolean_mask indices",
        lambda data: masks.boolean_mask(data, of_30, return_indices=True),
        real(30, dtype=torch.float64),
    )
    yield Sample("boolean_fill", lambda data: masks.boolean_fill(data, of_3, 2.0), real(3, 4))
    yield Sample(
        "boolean_mask_jagged",
        lambda values: masks.boolean_mask_jagged(values, torch.tensor([2, 0, 3]), of_5),
        real(5, 2),
    )
    yield Sample(
        "boolean_mask_lengths", lambda: masks.boolean_mask_lengths(torch.tensor([2, 3]), of_5)
    )
    yield Sample(
        "boolean_mask_lengths rows",
        lambda: masks.boolean_mask_lengths(torch.zeros(4, 1, dtype=torch.int32), of_4_5),
    )
    first = torch.tensor([True, False, True, False])
    yield Sample(
        "boolean_unmask",
        lambda one, two: masks.boolean_unmask([first, ~first], [one, two]),
        real(2, 3),
        real(2, 3),
    )
    yield Sample(
        "boolean_unmask dense",
        lambda one: masks.boolean_unmask(first, one, layout="dense", fill_val=1.0),
        real(4, 3),
    )
    for kind, options in (
        ("sigmoid", {}),
        ("softmax", {"tau": 2.0, "return_gate": True}),
        ("hard", {"clip": 1.0}),
        ("hard_concrete", {"noise": noise}),
        ("gumbel_softmax", {"noise": noise, "hard": True, "return_gate": True}),
    ):
        yield Sample(
            "gate " + kind,
            lambda x, z, kind=kind, options=options: masks.gate(x, z, kind, **options),
            real(2, 3, 4),
            real(3, 4),
        )
    yield Sample(
        "gate relu",
        lambda x, z, threshold: masks.gate(x, z, "relu", threshold=threshold),
        real(3, 4),
        real(3, 1),
        real(1),
    )
    yield Sample(
        "highway", lambda h, x, z: masks.highway(h, x, z), real(3, 4), real(3, 4), real(1, 4)
    )
    yield Sample(
        "highway hard",
        lambda h, x, z: masks.highway(h, x, z, "hard", clip=1.0),
        real(3, 4),
        real(3, 4),
        real(4),
    )
    yield Sample(
        "masked_attention", lambda q, k, v: masks.masked_attention(q, k, v), *[real(2, 4, 6, 8)] * 3
    )
    yield Sample(
        "masked_attention all",
        lambda q, k, v, bias, sinks: masks.masked_attention(
            q.transpose(1, 2),
            k,
            v,
            lengths=lengths,
            mask=mask,
            bias=bias,
            sinks=sinks,
            is_causal=True,
            window=3,
            align="bottom_right",
            softcap=4.0,
            scale=0.5,
            enable_gqa=True,
            return_lse=True,
        ),
        heads,
        real(2, 2, 6, 8),
        real(2, 2, 6, 5),
        real(4, 1, 6),
        real(4),
    )
    yield Sample(
        "varlen_attention",
        lambda q, k, v, sinks: masks.varlen_attention(
            q,
            k,
            v,
            torch.tensor([0, 3, 3, 6]),
            torch.tensor([0, 4, 5, 7]),
            seqused_k=torch.tensor([2, 1, 2]),
            sinks=sinks,
            is_causal=True,
            enable_gqa=True,
            return_lse=True,
        ),
        real(6, 4, 8),
        real(7, 2, 8),
        real(7, 2, 8),
        real(4),
    )
    yield Sample(
        "masked_attention no heads",
        lambda q, k: masks.masked_attention(q, k, k, centers=torch.zeros(2, 6).int(), radius=2),
        real(2, 6, 8, dtype=torch.float16),
        real(2, 9, 8, dtype=torch.float16),
    )
    yield Sample(
        "masked_attention no keys",
        lambda q, k: masks.masked_attention(q, k, k, empty_row="nan"),
        real(2, 1, 3, 4),
        real(2, 1, 0, 4),
    )
    yield Sample("masked_softmax", lambda x: masks.masked_softmax(x), real(3, 5))
    yield Sample(
        "masked_softmax all",
        lambda x, bias: masks.masked_softmax(
            x,
            lengths=lengths,
            left_pad=torch.tensor([1, 0]),
            mask=mask[:, 0],
            bias=bias,
            mode="upper",
            diagonal=1,
            window=(2, -1),
            scale=0.5,
            empty_row="uniform",
            return_lse=True,
        ),
        real(2, 6, 6),
        real(6, 1),
    )
    yield Sample(
        "masked_softmax log",
        lambda x: masks.masked_softmax(x, lengths=lengths, log=True),
        real(2, 6, dtype=torch.bfloat16),
    )
    yield Sample("mixture_gate", lambda e, z: masks.mixture_gate(e, z), real(3, 4, 2), real(3, 4))
    yield Sample(
        "mixture_gate top",
        lambda e, z: masks.mixture_gate(
            e,
            z,
            top_k=2,
            renormalize=True,
            bias=torch.tensor([0.0, 0.1, 0.0, 0.2]),
            return_gate=True,
        ),
        real(3, 4, 2, 2),
        real(3, 4),
    )
    yield Sample("random_mask", lambda: masks.random_mask(torch.empty(3, 4), noise=noise))
    yield Sample(
        "random_mask spans",
        lambda: masks.random_mask(
            torch.empty(2, 9),
            0.3,
            unit="span",
            span_length=3,
            lengths=lengths,
            min_masked=1,
            noise=noise,
        ),
    )
    yield Sample(
        "sequence_mask",
        lambda data: masks.sequence_mask(data, lengths=torch.tensor([1, 3])),
        real(2, 4),
    )
    yield Sample(
        "sequence_mask all",
        lambda data: masks.sequence_mask(
            data,
            "window+left_pad+lower",
            centers=torch.tensor([2, 0], dtype=torch.int32),
            left_pad=torch.tensor([0, 1]),
            axis=2,
            batch=0,
            repeat_from_axis=3,
            radius=1,
            diagonal=-1,
            lengths_of="batch",
            fill_val=-2.0,
        ),
        real(2, 3, 4, 2),
    )
    yield Sample(
        "sequence_mask mask",
        lambda data: masks.sequence_mask(data, "mask", mask=of_2_1),
        real(2, 4),
    )


SAMPLES = list(_all())
