"""mixture_gate: a mixture of experts."""

from typing import Optional, Tuple, Union

from torch import Tensor

from caffe2op_mask.functional import fakes
from caffe2op_mask.functional.autocast import one_type
from caffe2op_mask.functional.registration import Operator, gradient_operator


def mixture_gate(
    e: Tensor,
    z: Tensor,
    *,
    top_k: Optional[int] = None,
    renormalize: bool = False,
    bias: Optional[Tensor] = None,
    return_gate: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """``sum over k of g[n, k] * e[n, k]``, where ``g[n]`` is the softmax of ``z[n]``.

    Args:
        e: ``[N, K, ...]``, float16, bfloat16, float32 or float64: what K experts say of N rows.
        z: ``[N, K]``, of the dtype of e.
        top_k: each row keeps the experts with the largest z, of equal ones the first; the others
            weigh 0 and are not read.
        renormalize: the weights that are kept add up to 1 again.
        bias: ``[K]``, float32, or float64 for that: added to the softmax where experts are chosen,
            and to no weight. It has no gradient.
        return_gate: also return the weights, ``[N, K]``.

    Returns:
        ``[N, ...]`` of the dtype of e; with ``return_gate`` also ``[N, K]``. Under
        ``torch.autocast`` e and z of two types are cast to the wider one.

    Raises:
        RuntimeError: shapes or dtypes that do not fit, or top_k out of range.

    Source: Jacobs et al. 1991; Shazeer et al. 2017 (top k); Wang et al. 2024 (bias).
    """
    e, z = one_type(e, z)
    y, g = _operator(e, z, bias, top_k, renormalize, return_gate)
    return (y, g) if return_gate else y


def _fake(e, z, bias=None, top_k=None, renormalize=False, return_gate=False):
    g = fakes.like(z) if return_gate else fakes.none(e)
    return e.new_empty([e.shape[0], *e.shape[2:]]), g


def _backward(saved, needed, d_y, d_g):
    d_e, d_z = _gradient(
        d_y,
        d_g,
        saved.e,
        saved.z,
        saved.bias,
        saved.top_k,
        saved.renormalize,
    )
    return {"e": d_e, "z": d_z}


def _fake_backward(d_y, d_g, e, z, bias=None, top_k=None, renormalize=False):
    return fakes.like(e), fakes.like(z)


_operator = Operator(
    "mixture_gate", _fake, _backward, saves=("e", "z", "bias"), differentiable=("e", "z")
)
_gradient = gradient_operator("mixture_gate_backward", _fake_backward)
