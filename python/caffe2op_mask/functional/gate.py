"""gate: a learned mask that multiplies."""

from typing import Optional, Tuple, Union

from torch import Generator, Tensor

from caffe2op_mask.functional import fakes
from caffe2op_mask.functional.autocast import one_type
from caffe2op_mask.functional.noise import draw_noise
from caffe2op_mask.functional.registration import Operator, gradient_operator

NOISY_KINDS = ("hard_concrete", "gumbel_softmax")


def gate(
    x: Tensor,
    z: Tensor,
    kind: str = "sigmoid",
    *,
    threshold: Optional[Tensor] = None,
    clip: Optional[float] = None,
    beta: Optional[float] = None,
    gamma: Optional[float] = None,
    zeta: Optional[float] = None,
    tau: Optional[float] = None,
    hard: Optional[bool] = None,
    training: bool = True,
    noise: Optional[Tensor] = None,
    generator: Optional[Generator] = None,
    return_gate: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """``g(z) * x``.

    ============== ============================================ ===================================
    kind           g                                            gradient
    ============== ============================================ ===================================
    sigmoid        ``1 / (1 + exp(-z))``                        its own
    tanh           ``tanh(z)``                                  its own
    softmax        the softmax of ``z / tau`` over the last dim its own
    relu           ``max(0, z - threshold)``                    its own, to threshold too
    hard           1 where z > 0, else 0                        the sigmoid's; 0 where abs(z) > clip
    hard_concrete  ``clamp(s * (zeta - gamma) + gamma, 0, 1)``  its own; 0 where g is cut
    gumbel_softmax the softmax of ``(z - log(-log u)) / tau``   its own
    ============== ============================================ ===================================

    In hard_concrete s is ``sigmoid((log u - log(1 - u) + z) / beta)``. u is drawn for each entry
    of z where ``training`` is True; where it is False s is ``sigmoid(z)``, and gumbel_softmax is
    softmax. With ``hard`` the softmaxes are one-hot and keep the softmax's gradient (straight
    through).

    Args:
        x: float16, bfloat16, float32 or float64.
        z: of the dtype of x and a shape that broadcasts to x.
        kind: one of those above.
        threshold: of kind relu; broadcasts to z.
        clip: of kind hard: no gradient to z where abs(z) is greater; 0 is none.
        beta, gamma, zeta: of hard_concrete; 2/3, -0.1 and 1.1 where they are absent.
        tau: of softmax and gumbel_softmax, 1 where it is absent.
        hard: of softmax and gumbel_softmax.
        training: draw u, in the kinds that do.
        noise: what u is drawn by (``draw_noise``); drawn from ``generator`` where it is absent.
        return_gate: also return ``g(z)``, of the shape of z.

    Returns:
        A tensor like x; with ``return_gate`` also one like z.

    Where g is 0 in kinds relu, hard, hard_concrete and hard softmaxes, the result is 0 even if x is
    an infinity or NaN. Under ``torch.autocast`` x, z and threshold of two types are cast to the
    wider one.

    Raises:
        RuntimeError: shapes or dtypes that do not fit; an option of another kind or out of range.

    Source: Hochreiter and Schmidhuber 1997; Bengio et al. 2013 (straight through); Louizos et al.
    2018 (hard concrete); Jang et al. 2017 (Gumbel softmax).
    """
    if noise is None and training and kind in NOISY_KINDS:
        noise = draw_noise(generator)
    x, z, threshold = one_type(x, z, threshold)
    y, g = _operator(x, z, threshold, noise, kind, clip, beta, gamma, zeta, tau, hard, return_gate)
    return (y, g) if return_gate else y


_TENSORS = ("x", "z", "threshold", "noise")
_OPTIONS = ("kind", "clip", "beta", "gamma", "zeta", "tau", "hard")


def _fake(x, z, *arguments):
    return fakes.like(x), fakes.like(z) if arguments[-1] else fakes.none(x)


def _backward(saved, needed, d_y, d_g):
    d_x, d_z, d_threshold = _gradient(
        d_y, d_g, *[getattr(saved, name) for name in _TENSORS + _OPTIONS]
    )
    return {
        "x": d_x,
        "z": d_z,
        "threshold": d_threshold if "threshold" in needed else None,
    }


def _fake_backward(d_y, d_g, x, z, threshold=None, *arguments):
    d_threshold = fakes.none(x) if threshold is None else fakes.like(threshold)
    return fakes.like(x), fakes.like(z), d_threshold


_operator = Operator(
    "gate", _fake, _backward, saves=_TENSORS, differentiable=("x", "z", "threshold")
)
_gradient = gradient_operator("gate_backward", _fake_backward)
