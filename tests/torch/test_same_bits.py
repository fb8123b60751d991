"""Both front ends run the same kernels: what Caffe2 computed, PyTorch computes to the bit."""

import os
import subprocess

import numpy as np
import pytest
import torch

import caffe2op_mask as m
from testers import ROOT

CAFFE2_PYTHON = os.path.join(ROOT, ".venv", "bin", "python")

SCORES = dict(is_causal=True, softcap=3.0, align="bottom_right", window=(90, -1), enable_gqa=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Inputs and outputs of Caffe2's operators, by case and name."""
    if not os.path.exists(os.path.join(ROOT, "python", "caffe2op_mask", "libcaffe2op_mask.so")):
        pytest.skip("the front end for Caffe2 is not built; make build does")
    path = str(tmp_path_factory.mktemp("caffe2") / "results.npz")
    script = os.path.join(ROOT, "tests", "torch", "caffe2_results.py")
    subprocess.run([CAFFE2_PYTHON, script, path], check=True, timeout=120)
    arrays = {}
    with np.load(path) as results:
        for name in results.files:
            case, _, blob = name.partition("/")
            arrays.setdefault(case, {})[blob] = torch.from_numpy(results[name])
    return arrays


def attention_gradients(b):
    leaves = [b[name].clone().requires_grad_() for name in ("q", "k", "v")]
    o = m.masked_attention(*leaves, lengths=b["lengths"], **SCORES)
    o.backward(b["d_o"])
    return [leaf.grad for leaf in leaves]


def varlen_attention(b, **options):
    cu_seq_q, cu_seq_k = (
        torch.nn.functional.pad(b[name].cumsum(0), (1, 0)) for name in ("lengths", "key_lengths")
    )
    leaves = [b[name].clone().requires_grad_() for name in ("q", "k", "v", "sinks")]
    results = m.varlen_attention(
        *leaves[:3],
        cu_seq_q,
        cu_seq_k,
        seqused_k=b["used_keys"],
        sinks=leaves[3],
        **SCORES,
        **options,
    )
    return leaves, results


def varlen_results(b):
    o, lse = varlen_attention(b, return_lse=True)[1]
    return o, lse.transpose(0, 1).contiguous()


def varlen_gradients(b):
    leaves, o = varlen_attention(b)
    o.backward(b["d_o"])
    return [leaf.grad for leaf in leaves]


CASES = {
    "boolean_mask": (
        lambda b: m.boolean_mask(b["data"], b["mask"], return_indices=True),
        ("masked", "indices"),
    ),
    "boolean_mask_jagged": (
        lambda b: m.boolean_mask_jagged(b["values"], b["lengths"], b["mask"]),
        ("masked", "counts"),
    ),
    "boolean_mask_lengths": (
        lambda b: [m.boolean_mask_lengths(b["lengths"], b["mask"])],
        ("counts",),
    ),
    "boolean_unmask": (
        lambda b: [m.boolean_unmask(b["mask"], b["values"], fill_val=-1.5)],
        ("data",),
    ),
    "sequence_mask": (
        lambda b: [
            m.sequence_mask(
                b["data"], "sequence", lengths=b["lengths"], axis=2, batch=0, lengths_of="batch"
            )
        ],
        ("masked",),
    ),
    "masked_softmax": (
        lambda b: m.masked_softmax(b["x"], lengths=b["lengths"], is_causal=True, return_lse=True),
        ("y", "lse"),
    ),
    "masked_attention": (
        lambda b: m.masked_attention(
            b["q"], b["k"], b["v"], lengths=b["lengths"], return_lse=True, **SCORES
        ),
        ("o", "lse"),
    ),
    "masked_attention_backward": (attention_gradients, ("d_q", "d_k", "d_v")),
    "varlen_attention": (varlen_results, ("o", "lse")),
    "varlen_attention_backward": (varlen_gradients, ("d_q", "d_k", "d_v", "d_sinks")),
    "gate_hard_concrete": (
        lambda b: m.gate(b["x"], b["z"], "hard_concrete", noise=b["noise"], return_gate=True),
        ("y", "g"),
    ),
    "highway": (lambda b: [m.highway(b["h"], b["x"], b["z"])], ("y",)),
    "mixture_gate": (
        lambda b: m.mixture_gate(b["e"], b["z"], top_k=2, return_gate=True),
        ("y", "g"),
    ),
}
for kind in ("sigmoid", "tanh", "relu", "hard"):
    CASES["gate_" + kind] = (
        lambda b, kind=kind: m.gate(b["x"], b["z"], kind, return_gate=True),
        ("y", "g"),
    )


@pytest.mark.parametrize("case", sorted(CASES))
def test_same_bits(saved, case):
    function, names = CASES[case]
    blobs = saved[case]
    for result, name in zip(function(blobs), names):
        expected = blobs[name]
        assert result.dtype == expected.dtype
        # As bytes, so that NaN equals itself and zeros have signs.
        assert result.detach().numpy().tobytes() == expected.numpy().tobytes(), name


def test_every_result_of_caffe2_is_compared(saved):
    assert set(saved) == set(CASES)
