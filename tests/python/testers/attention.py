"""How masked softmax and masked attention are run, in every type, and compared with the oracle."""

import numpy as np
import torch

from oracles.attending import Extras, masked_attention, masked_softmax
from oracles.attending_gradients import masked_attention_gradient, masked_softmax_gradient
from oracles.attending_jagged import masked_attention_jagged, masked_attention_jagged_gradient
from testers.arrays import wave
from testers.operators import Case, gradients, run_case

# Every type of the contract; torch feeds bfloat16, which NumPy does not have.
REALS = ("float16", "bfloat16", "float32", "float64")


def make_case(first, args=None, outputs=1, in_place=None, **extras):
    """A Case of the inputs that are always there, the arguments, and optional inputs by name."""
    extras = Extras(**extras)
    args = dict(args or {})
    for name in ("mask", "bias", "sinks"):
        if getattr(extras, name) is not None:
            args["has_" + name] = 1
    inputs = list(first) + [extra for extra in extras if extra is not None]
    return Case(inputs, args, outputs, in_place)


def make_jagged(first, lengths, args=None, key_lengths=None, used_keys=None, sinks=None, outputs=2):
    """A Case of MaskedAttentionJagged; optional inputs may be None."""
    optional = [("key_lengths", key_lengths), ("used_keys", used_keys), ("sinks", sinks)]
    there = [(name, array) for name, array in optional if array is not None]
    args = dict(args or {}, **{"has_" + name: 1 for name, _ in there})
    return Case(list(first) + [lengths] + [array for _, array in there], args, outputs)


REFERENCES = {
    "MaskedSoftmax": (masked_softmax, masked_softmax_gradient),
    "MaskedAttention": (masked_attention, masked_attention_gradient),
    "MaskedAttentionJagged": (masked_attention_jagged, masked_attention_jagged_gradient),
}


def as_type(array, dtype):
    """An input as a tensor of its own; real numbers become ``dtype``."""
    tensor = torch.tensor(np.array(array, order="C"))
    return tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor


def wide_type(dtype):
    """The type computed in, which is that of LSE."""
    return "float64" if dtype == "float64" else "float32"


def as_double(tensor):
    """A tensor's numbers as an array, in double where they are real."""
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy().copy()


def run_as(op_type, case, dtype="float32"):
    """The outputs of a case with real inputs of a type, as tensors."""
    typed = case._replace(inputs=[as_type(array, dtype) for array in case.inputs])
    return run_case(op_type, typed, as_tensor=True)


def gradients_as(op_type, case, d_outputs, dtype="float32"):
    """Its gradients, from those of its outputs: a dict from input number to a tensor.

    Outputs behind the first are of the type that is computed in.
    """
    typed = case._replace(inputs=[as_type(array, dtype) for array in case.inputs])
    types = [dtype] + [wide_type(dtype)] * len(d_outputs)
    d_outputs = [None if d is None else as_type(d, of) for d, of in zip(d_outputs, types)]
    return gradients(op_type, typed, d_outputs, as_tensor=True)


def expected(op_type, case, dtype="float32"):
    """What the oracle makes of a case whose real inputs were rounded to a type."""
    inputs = [as_double(as_type(array, dtype)) for array in case.inputs]
    return REFERENCES[op_type][0](*inputs, **case.args)


def expected_gradient(op_type, case, d_output, dtype="float32"):
    """The oracle's gradients by input number."""
    inputs = [as_double(as_type(array, dtype)) for array in [d_output] + list(case.inputs)]
    return REFERENCES[op_type][1](*inputs, **case.args)


def assert_close(actual, wanted, dtype="float32", ulps=64, terms=1.0):
    """NaN and infinities where wanted; else within roundings of the largest, in the type that sums.

    Results are sums of terms of about 1, which may cancel, or of ``terms``. 16-bit types are summed
    in float32 and rounded once more, into the result.
    """
    info = torch.finfo(getattr(torch, dtype))
    sums = torch.finfo(torch.float64 if dtype == "float64" else torch.float32)
    actual = as_double(actual)
    assert actual.shape == wanted.shape
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(actual[~finite], wanted[~finite])
    largest = np.abs(wanted[finite]).max(initial=terms)
    atol = ulps * sums.eps * largest + (info.tiny * info.eps if info.bits == 16 else 0.0)
    np.testing.assert_allclose(
        actual, wanted, atol=atol, rtol=0.0 if sums.bits == info.bits else 0.51 * info.eps
    )


def check(op_type, case, dtype="float32", ulps=64):
    """Outputs of their types that are the oracle's."""
    outputs = run_as(op_type, case, dtype)
    assert outputs[0].dtype == getattr(torch, dtype)
    for lse in outputs[1:]:
        assert lse.dtype == getattr(torch, wide_type(dtype))
    types = [dtype, wide_type(dtype)]
    for actual, wanted, of_type in zip(outputs, expected(op_type, case, dtype), types):
        assert_close(actual, wanted, of_type, ulps, 0.0 if op_type == "MaskedSoftmax" else 1.0)


def check_gradient(op_type, case, d_output, dtype="float32", ulps=64):
    """Gradients of every differentiable input that are the oracle's.

    What is of 16 bits starts from results that were rounded, which costs more than one rounding.
    """
    grads = gradients_as(op_type, case, [d_output], dtype)
    wanted = expected_gradient(op_type, case, d_output, dtype)
    assert sorted(grads) == sorted(wanted)
    info = torch.finfo(getattr(torch, dtype))
    for i, actual in grads.items():
        assert actual.dtype == getattr(torch, dtype)
        if info.bits > 16:
            assert_close(actual, wanted[i], dtype, ulps)
            continue
        finite = np.isfinite(wanted[i])
        largest = np.abs(wanted[i][finite]).max(initial=1.0)
        atol = 4 * info.eps * largest
        np.testing.assert_allclose(as_double(actual), wanted[i], rtol=0, atol=atol)


def check_both(op_type, case, dtype="float32", ulps=64):
    """Results and gradients; the gradient of the output is a wave that no symmetry cancels."""
    check(op_type, case, dtype, ulps)
    output = expected(op_type, case, dtype)[0]
    check_gradient(op_type, case, wave(output.shape), dtype, ulps)


def ulps_off(actual, exact):
    """How far a float32 array is from the double one, in spaces between float32 numbers."""
    return np.abs(actual.astype("float64") - exact) / np.spacing(np.abs(exact).astype("float32"))


def used(keep, shape):
    """Which entries of a tensor of a shape that broadcasts to ``keep``'s a kept entry reads."""
    keep = keep.any(axis=tuple(range(keep.ndim - len(shape))))
    return keep.any(axis=tuple(d for d, size in enumerate(shape) if size == 1), keepdims=True)


def poisoned(array, used_entries, poison):
    """The array with ``poison`` wherever nobody should look."""
    return np.where(used_entries, array, poison)
