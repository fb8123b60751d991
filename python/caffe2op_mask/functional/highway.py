"""highway: a gate between a layer and what it is skipped by."""

from typing import Optional

from torch import Tensor

from caffe2op_mask.functional import fakes
from caffe2op_mask.functional.autocast import one_type
from caffe2op_mask.functional.registration import Operator, gradient_operator


def highway(
    h: Tensor, x: Tensor, z: Tensor, kind: str = "sigmoid", *, clip: Optional[float] = None
) -> Tensor:
    """``g(z) * h + (1 - g(z)) * x``.

    Args:
        h: float16, bfloat16, float32 or float64: what a layer makes of x.
        x: of the dtype and shape of h: what is carried past the layer.
        z: of that dtype and a shape that broadcasts to h.
        kind: "sigmoid", "softmax" or "hard", as for ``gate``.
        clip: of kind hard: no gradient to z where abs(z) is greater.

    Returns:
        A tensor like h. Gradients go to h, x and z. Under ``torch.autocast`` h, x and z of two
        types are cast to the wider one.

    Raises:
        RuntimeError: shapes or dtypes that do not fit, or an unknown kind.

    Source: Srivastava, Greff and Schmidhuber 2015.
    """
    h, x, z = one_type(h, x, z)
    return _operator(h, x, z, kind, clip)


def _fake(h, x, z, kind="sigmoid", clip=None):
    return fakes.like(h)


def _backward(saved, needed, d_y):
    d_h, d_x, d_z = _gradient(d_y, saved.h, saved.x, saved.z, saved.kind, saved.clip)
    return {"h": d_h, "x": d_x, "z": d_z}


def _fake_backward(d_y, h, x, z, kind="sigmoid", clip=None):
    return fakes.like(h), fakes.like(x), fakes.like(z)


_operator = Operator(
    "highway", _fake, _backward, saves=("h", "x", "z"), differentiable=("h", "x", "z")
)
_gradient = gradient_operator("highway_backward", _fake_backward)
