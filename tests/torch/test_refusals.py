"""What functions refuse: the type of the exception, and its one sentence."""

import warnings

import pytest
import torch

import caffe2op_mask as masks
import samples
import testers

X = torch.zeros(2, 3)
KEEP = torch.tensor([True, False])
NOISE = testers.noise_of(1)
Q = torch.zeros(2, 4, 5, 8)
WHOLE = torch.zeros(2, 3, dtype=torch.int32)
REAL = "of type float16, bfloat16, float32 or float64"

# Call, and what it is refused with.
REFUSALS = [
    # dtypes
    (lambda: masks.bernoulli_mask(WHOLE), "bernoulli_mask: Z must be " + REAL + ", but is int32."),
    (lambda: masks.gate(WHOLE, X), "gate: X must be " + REAL + ", but is int32."),
    (
        lambda: masks.gate(X, X.double()),
        "gate: Z must be of the type of X, float32, but is float64.",
    ),
    (
        lambda: masks.highway(X, X.half(), X),
        "highway: x must be of the type of h, float32, but is float16.",
    ),
    (
        lambda: masks.mixture_gate(X, X.half()),
        "mixture_gate: Z must be of the type of E, float32, but is float16.",
    ),
    (lambda: masks.masked_softmax(WHOLE), "masked_softmax: X must be " + REAL + ", but is int32."),
    (
        lambda: masks.masked_softmax(X, mask=X),
        "masked_softmax: mask must be of type bool, but is float32.",
    ),
    (
        lambda: masks.masked_softmax(X, lengths=X[:, 0]),
        "masked_softmax: lengths must be of type int32 or int64, but is float32.",
    ),
    (
        lambda: masks.masked_softmax(X, bias=X.half()),
        "masked_softmax: bias must be of the type of the other inputs, float32, but is float16.",
    ),
    (
        lambda: masks.masked_attention(Q, Q.half(), Q),
        "masked_attention: K must be of the type of Q, float32, but is float16.",
    ),
    (
        lambda: masks.masked_attention(Q.to(torch.complex64), Q, Q),
        "masked_attention: Q must be " + REAL + ", but is ComplexFloat.",
    ),
    (
        lambda: masks.boolean_mask(X, X),
        "boolean_mask: mask must be of type bool, but is float32.",
    ),
    (
        lambda: masks.boolean_fill(X.to(torch.complex64), KEEP),
        "boolean_mask: with keep_shape data must be a number or bool, but is of type ComplexFloat.",
    ),
    (
        lambda: masks.boolean_fill(WHOLE, KEEP, 0.5),
        "boolean_mask: argument fill_val is 0.5, which data of type int32 cannot hold.",
    ),
    (
        lambda: masks.boolean_mask_lengths(X[0], KEEP),
        "boolean_mask_lengths: lengths must be of type int32 or int64, but is float32.",
    ),
    (
        lambda: masks.boolean_mask_jagged(X, torch.tensor([2]), WHOLE[:, 0]),
        "boolean_mask_jagged: mask must be of type bool, but is int32.",
    ),
    (
        lambda: masks.boolean_unmask(X, X),
        "boolean_unmask: mask_1 must be of type bool, but is float32.",
    ),
    (
        lambda: masks.boolean_unmask([KEEP, ~KEEP], [X[:1], X[:1].half()]),
        (
            "boolean_unmask: all values must have one type, but values_1 is of type float32 and"
            " values_2 of type float16."
        ),
    ),
    (
        lambda: masks.sequence_mask(WHOLE, "upper"),
        "sequence_mask: argument fill_val is -inf, which data of type int32 cannot hold.",
    ),
    (
        lambda: masks.random_mask(X, noise=WHOLE[0]),
        (
            "random_mask: noise must be of type int64 and of shape [2], but is of type int32 and of"
            " shape [3]."
        ),
    ),
    # shapes
    (
        lambda: masks.gate(X, torch.zeros(4)),
        "gate: Z must be of a shape that broadcasts to X, [2, 3], but is of shape [4].",
    ),
    (
        lambda: masks.highway(X, X[:1], X),
        "highway: x must be of the shape of h, [2, 3], but is of shape [1, 3].",
    ),
    (
        lambda: masks.mixture_gate(X, X[:1]),
        "mixture_gate: Z must be of the first 2 dims of E, [2, 3], but is of shape [1, 3].",
    ),
    (
        lambda: masks.masked_softmax(torch.zeros(())),
        "masked_softmax: X must have at least 1 dim, but has none.",
    ),
    (
        lambda: masks.masked_softmax(X, mask=torch.ones(4, dtype=torch.bool)),
        (
            "masked_softmax: mask must be of a shape that broadcasts to that of X, [2, 3], but is"
            " of shape [4]."
        ),
    ),
    (
        lambda: masks.masked_softmax(X, lengths=torch.tensor([1, 2, 3])),
        (
            "masked_softmax: lengths must have the shape of leading dims of X, [2, 3], before its"
            " last, or one entry for each of its 2 rows, but is of shape [3]."
        ),
    ),
    (
        lambda: masks.masked_attention(X, X, X),
        "masked_attention: Q must be of shape [B, H, Lq, D] or [B, Lq, D], but is of shape [2, 3].",
    ),
    (
        lambda: masks.masked_attention(Q, Q, Q[:, :, :4]),
        (
            "masked_attention: V must be of shape [B, Hkv, Lk, Dv] of K, but is of shape [2, 4, 4,"
            " 8] where Q is of shape [2, 4, 5, 8]."
        ),
    ),
    (
        lambda: masks.masked_attention(Q, Q[:, :3], Q[:, :3], enable_gqa=True),
        (
            "masked_attention: the heads of Q must be a multiple of those of K and V, but Q has 4"
            " and K has 3."
        ),
    ),
    (
        lambda: masks.masked_attention(Q, Q, Q, sinks=torch.zeros(3)),
        (
            "masked_attention: sinks must be of shape [H], but is of shape [3] where Q is of shape "
            "[2, 4, 5, 8]."
        ),
    ),
    (
        lambda: masks.boolean_mask(X, torch.ones(3, dtype=torch.bool)),
        (
            "boolean_mask: mask must have at least one dim and the leading dims of data, but mask"
            " is of shape [3] and data of shape [2, 3]."
        ),
    ),
    (
        lambda: masks.boolean_mask_lengths(torch.tensor([3]), KEEP),
        "boolean_mask_lengths: lengths must add up to the 2 entries of mask, but add up to 3.",
    ),
    (
        lambda: masks.boolean_mask_lengths(torch.tensor([3, -1]), KEEP),
        "boolean_mask_lengths: lengths must not be negative, but lengths[1] is -1.",
    ),
    (
        lambda: masks.boolean_mask_jagged(X, torch.tensor([2**62] * 3), KEEP),
        (
            "boolean_mask_jagged: lengths must add up to the 2 entries of mask, but pass 2^63 - 1"
            " at lengths[1]."
        ),
    ),
    (
        lambda: masks.boolean_unmask([KEEP, ~KEEP], [X]),
        "boolean_unmask: masks and values must be as many, and at least 1, but are 2 and 1.",
    ),
    (
        lambda: masks.boolean_unmask([], []),
        "boolean_unmask: masks and values must be as many, and at least 1, but are 0 and 0.",
    ),
    (
        lambda: masks.boolean_unmask(KEEP, X[:1]),
        (
            "boolean_unmask: every position must be True in some mask unless fill_val is given, but"
            " all masks are False at position 1."
        ),
    ),
    (
        lambda: masks.sequence_mask(X, lengths=torch.tensor([1, 2, 3])),
        (
            "sequence_mask: lengths must have one entry for each of the 2 rows of data, [2, 3]"
            " before axis 1, or the shape of its leading dims, but is of shape [3]."
        ),
    ),
    # missing and needless inputs
    (lambda: masks.sequence_mask(X), "sequence_mask: lengths must be given, but is not."),
    (
        lambda: masks.sequence_mask(X, "mask"),
        "sequence_mask: mask must be given, but is not.",
    ),
    (
        lambda: masks.gate(X, X, threshold=X),
        "gate: threshold goes with kind = relu, but kind is sigmoid.",
    ),
    (
        lambda: masks.gate(X, X, noise=NOISE),
        "gate: noise goes with kind = hard_concrete or gumbel_softmax, but kind is sigmoid.",
    ),
    (lambda: masks.masked_softmax(None), "masked_softmax: x must be a tensor, but is None."),
    # options
    (
        lambda: masks.gate(X, X, "relu6"),
        (
            "gate: argument kind must be sigmoid, tanh, softmax, relu, hard, hard_concrete or "
            "gumbel_softmax, but is 'relu6'."
        ),
    ),
    (
        lambda: masks.gate(X, X, clip=1.0),
        "gate: argument clip goes with kind = hard, but kind is sigmoid.",
    ),
    (
        lambda: masks.mixture_gate(X, X, top_k=4),
        "mixture_gate: argument top_k must be at most the 3 experts of Z, but is 4.",
    ),
    (
        lambda: masks.random_mask(X, 2.0),
        "random_mask: argument p must be in [0, 1], but is 2.",
    ),
    (
        lambda: masks.random_mask(X, unit="word"),
        "random_mask: argument unit must be element, row or span, but is 'word'.",
    ),
    (
        lambda: masks.masked_softmax(X, empty_row="one"),
        "masked_softmax: argument empty_row must be zero, nan or uniform, but is 'one'.",
    ),
    (
        lambda: masks.masked_softmax(X, scale=float("nan")),
        "masked_softmax: argument scale must be a finite number, but is nan.",
    ),
    (
        lambda: masks.masked_attention(Q, Q, Q, align="top"),
        "masked_attention: argument align must be top_left or bottom_right, but is 'top'.",
    ),
    (
        lambda: masks.masked_attention(Q, Q, Q, softcap=-1.0),
        "masked_attention: argument softcap must be a number of at least 0, but is -1.",
    ),
    (
        lambda: masks.boolean_unmask(KEEP, X, layout="flat"),
        "boolean_unmask: argument layout must be auto, compact or dense, but is 'flat'.",
    ),
    (
        lambda: masks.sequence_mask(X, "upper", axis=5),
        "sequence_mask: argument axis must be in [-2, 2) for data of shape [2, 3], but is 5.",
    ),
    # places
    (
        lambda: masks.masked_softmax(X.to_sparse()),
        "masked_softmax: x must be a dense tensor, but is of another layout.",
    ),
    (
        lambda: masks.gate(X.to_mkldnn(), X),
        "gate: x must be a dense tensor, but is of another layout.",
    ),
    (
        lambda: masks.boolean_mask(X, KEEP.to_sparse()),
        "boolean_mask: mask must be a dense tensor, but is of another layout.",
    ),
    (
        lambda: masks.random_mask(X.to_sparse()),
        "random_mask: like must be a dense tensor, but is of another layout.",
    ),
    # what would not fit in memory
    (
        lambda: masks.masked_softmax(torch.zeros(2**62, 0), return_lse=True),
        (
            "masked_softmax: LSE would be of shape [4611686018427387904] and type float32, which is"
            " more than 2^63 - 1 bytes."
        ),
    ),
    (
        lambda: masks.mixture_gate(torch.zeros(2**40, 0, 2**40), torch.zeros(2**40, 0)),
        (
            "mixture_gate: Y would be of shape [1099511627776, 1099511627776] and type float32,"
            " which is more than 2^63 - 1 bytes."
        ),
    ),
]


@pytest.mark.parametrize("call, expected", REFUSALS, ids=[one[1][:60] for one in REFUSALS])
def test_is_refused_in_one_sentence(call, expected):
    with pytest.raises(RuntimeError) as error:
        call()
    assert str(error.value) == expected


VALUES = [
    (
        lambda: masks.masked_softmax(X, window=(1, 2, 3)),
        "masked_softmax: window must be an int or a pair (left, right), but is (1, 2, 3).",
    ),
    (
        lambda: masks.masked_attention(Q, Q, Q, window="5"),
        "masked_attention: window must be an int or a pair (left, right), but is '5'.",
    ),
    (
        lambda: masks.masked_attention(Q, Q[:, :2], Q[:, :2]),
        (
            "masked_attention: q and k must have the same number of heads unless enable_gqa=True,"
            " but have 4 and 2."
        ),
    ),
]


@pytest.mark.parametrize("call, expected", VALUES)
def test_values_that_python_refuses(call, expected):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == expected


def test_quantized_tensors_are_refused():
    with warnings.catch_warnings():
        # Some releases call quantized tensors deprecated.
        warnings.simplefilter("ignore")
        x = torch.quantize_per_tensor(X, 0.1, 0, torch.qint8)
    with pytest.raises(RuntimeError) as error:
        masks.masked_softmax(x)
    assert (
        str(error.value)
        == "masked_softmax: x is of a type that the stable ABI of LibTorch has no name for, such"
        " as a "
        "quantized one."
    )


@pytest.mark.parametrize("wrong", [3, [1.0], "x"])
def test_what_is_no_tensor_is_refused(wrong):
    with pytest.raises(RuntimeError, match="Expected a value of type 'Tensor' for argument 'x'"):
        masks.masked_softmax(wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda: masks.random_mask(torch.zeros(1).expand(2**62)),
        lambda: masks.boolean_mask(torch.zeros(1, 1).expand(2**40, 2**22), KEEP[:1].expand(2**40)),
        lambda: masks.masked_softmax(torch.zeros(1, 1).expand(2**30, 2**32)),
    ],
)
def test_what_is_beyond_memory_is_an_error(call):
    with pytest.raises(RuntimeError):
        call()


LEARNING = [one for one in samples.SAMPLES if one.learned]


@pytest.mark.parametrize("long", [False, True], ids=["eager", "dispatcher"])
@pytest.mark.parametrize("sample", LEARNING, ids=repr)
def test_double_backward(sample, long, monkeypatch):
    """Refused in one sentence; of sequence_mask, whose gradient is itself, there."""
    if long:
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    outputs = [one for one in testers.as_tuple(sample()) if one.requires_grad]
    first = torch.autograd.grad(
        sum(one.nan_to_num(neginf=0.0).square().sum() for one in outputs),
        sample.learned,
        create_graph=True,
    )
    total = sum(one.sum() for one in first)
    if sample.name.startswith("sequence_mask"):
        torch.autograd.grad(total, sample.learned)
        return
    with pytest.raises(RuntimeError) as error:
        torch.autograd.grad(total, sample.learned)
    name = {"boolean_fill": "boolean_mask", "boolean_mask_jagged": "boolean_mask"}.get(
        sample.name.split()[0], sample.name.split()[0]
    )
    assert testers.sentence(error) == (
        name
        + "_backward: a gradient of this gradient (double backward) is not available; compute the "
        "first one without create_graph=True."
    )


@pytest.mark.parametrize("sample", LEARNING, ids=repr)
def test_tangents_are_refused(sample):
    """torch would take an operator for a constant."""
    name = {"boolean_fill": "boolean_mask"}.get(sample.name.split()[0], sample.name.split()[0])
    given = tuple(one.detach() for one in sample.learned)
    with pytest.raises(NotImplementedError) as error:
        torch.func.jvp(sample.function, given, given)
    assert str(error.value) == (
        name + ": forward-mode derivatives (jvp, jacfwd, hessian) are not available."
    )
    with torch.autograd.forward_ad.dual_level():
        duals = [torch.autograd.forward_ad.make_dual(one, one) for one in given]
        with pytest.raises(NotImplementedError):
            sample.function(*duals)
        # What has no tangent is as ever.
        sample.function(*given)


@pytest.mark.parametrize(
    "function, changed",
    [
        (lambda x: masks.masked_softmax(x), "y"),
        (lambda x: masks.gate(x, x), "x"),
        (lambda x: masks.highway(x, x, x), "x"),
        (lambda x: masks.masked_attention(x[None], x[None], x[None])[0], "y"),
        (lambda x: masks.boolean_unmask(KEEP, x, fill_val=0.0), "x"),
    ],
)
def test_changes_before_the_gradient_are_seen(function, changed):
    leaf = torch.randn(2, 3, requires_grad=True)
    x = leaf * 1
    y = function(x)
    with torch.no_grad():
        (x if changed == "x" else y).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_mask_that_changes_is_seen():
    x, mask = torch.randn(2, 3, requires_grad=True), KEEP.clone()
    y = masks.boolean_mask(x, mask)
    mask.logical_not_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
