"""Threads, modes of torch and transforms of functions."""

import threading
import warnings

import pytest
import torch

import caffe2op_mask as masks
import samples
import testers


def large():
    """Enough for several threads, of each function that has a gradient."""
    rows = samples.keep(40000)
    q = samples.real(2, 4, 300, 16)
    x, z = samples.real(300, 1000), samples.real(300, 1000)
    noise = testers.noise_of(2)
    yield samples.Sample(
        "masked_attention",
        lambda q, k, bias: masks.masked_attention(
            q, k, k, bias=bias, is_causal=True, enable_gqa=True, return_lse=True
        ),
        q,
        samples.real(2, 2, 300, 16),
        samples.real(4, 1, 300),
    )
    yield samples.Sample(
        "masked_softmax",
        lambda x, bias: masks.masked_softmax(x, bias=bias, window=100, return_lse=True),
        x,
        samples.real(1000),
    )
    yield samples.Sample(
        "boolean_mask", lambda x: masks.boolean_mask(x, rows), samples.real(40000, 9)
    )
    yield samples.Sample(
        "boolean_unmask",
        lambda x: masks.boolean_unmask(rows, x, layout="dense", fill_val=0.0),
        samples.real(40000, 9),
    )
    for kind, of_z in (("sigmoid", z), ("hard_concrete", samples.real(1000)), ("softmax", z)):
        options = {"noise": noise} if kind == "hard_concrete" else {}
        yield samples.Sample(
            "gate " + kind,
            lambda x, z, kind=kind, options=options: masks.gate(x, z, kind, **options),
            x,
            of_z,
        )
    yield samples.Sample("highway", masks.highway, x, x, samples.real(300, 1))
    yield samples.Sample(
        "mixture_gate",
        lambda e, z: masks.mixture_gate(e, z, top_k=2, return_gate=True),
        samples.real(5000, 4, 20),
        samples.real(5000, 4),
    )
    yield samples.Sample(
        "sequence_mask",
        lambda x: masks.sequence_mask(x, lengths=torch.arange(300)),
        x,
    )
    yield samples.Sample("bernoulli_mask", lambda z: masks.bernoulli_mask(z, noise=noise), z)


LARGE = list(large())


def assert_equal_bits(runs):
    for run in runs[1:]:
        for one, other in zip(runs[0], run):
            assert torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))


@pytest.mark.parametrize("sample", LARGE, ids=repr)
def test_threads_change_no_bit(sample):
    runs = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        runs.append(sample.gradients())
    assert_equal_bits(runs)


def test_several_python_threads():
    expected = {sample: sample.gradients() for sample in LARGE}
    failures = []

    def work(order):
        try:
            for sample in order:
                assert_equal_bits([expected[sample], sample.gradients()])
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(order,)) for order in (LARGE, LARGE[::-1], LARGE[3:])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("sample", samples.SAMPLES, ids=repr)
def test_modes_without_gradients(sample):
    expected = [one.detach() for one in testers.as_tuple(sample())]
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            outputs = testers.as_tuple(sample())
            assert not any(one.requires_grad for one in outputs)
            assert_equal_bits([expected, outputs])
    torch.use_deterministic_algorithms(True)
    try:
        assert_equal_bits([sample.gradients(), sample.gradients()])
    finally:
        torch.use_deterministic_algorithms(False)


def test_tensors_of_inference_mode_are_inputs():
    with torch.inference_mode():
        bias = torch.randn(4)
    x = torch.randn(3, 4)
    assert torch.equal(masks.masked_softmax(x, bias=bias), masks.masked_softmax(x + bias))


def is_list(sample):
    return sample.name.startswith("boolean_unmask")


@pytest.mark.parametrize(
    "sample", [one for one in samples.SAMPLES if one.learned and not is_list(one)], ids=repr
)
def test_transforms(sample):
    """torch.func.grad, alone and under vmap, which runs an operator once for each of a batch."""

    def loss(*learned):
        outputs = testers.as_tuple(sample.function(*learned))
        return sum(
            one.nan_to_num(neginf=0.0).sum().float()
            for one in outputs
            if one.dtype.is_floating_point
        )

    learned = [one.detach().clone().requires_grad_() for one in sample.learned]
    given = tuple(one.detach() for one in learned)
    places = tuple(range(len(given)))
    expected = torch.autograd.grad(loss(*learned), learned)
    assert_equal_bits([expected, torch.func.grad(loss, argnums=places)(*given)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it runs once for each
        batches = [torch.stack([one, one * 2]) for one in given]
        batched = torch.func.vmap(torch.func.grad(loss, argnums=places))(*batches)
    for i in range(2):
        alone = torch.func.grad(loss, argnums=places)(*[one[i] for one in batches])
        assert_equal_bits([alone, [one[i] for one in batched]])


@pytest.mark.parametrize("sample", filter(is_list, samples.SAMPLES), ids=repr)
def test_torch_refuses_transforms_of_lists(sample):
    with pytest.raises(RuntimeError, match="functorch transforms"):
        torch.func.grad(lambda *learned: sample.function(*learned).sum())(
            *[one.detach() for one in sample.learned]
        )


def test_parameters_and_retained_graphs():
    z = torch.nn.Parameter(torch.zeros(3))
    y = masks.gate(torch.ones(2, 3), z)
    assert type(y) is torch.Tensor
    for _ in range(2):
        y.sum().backward(retain_graph=True)
    assert z.grad.tolist() == [1.0] * 3


def test_views_of_the_result_can_change():
    """An output is the caller's own, input or not."""
    x = torch.ones(2, 3, requires_grad=True)
    y = masks.boolean_fill(x, torch.ones(2, dtype=torch.bool))
    y[0] *= 3
    y.sum().backward()
    assert x.grad.tolist() == [[3.0] * 3, [1.0] * 3]
