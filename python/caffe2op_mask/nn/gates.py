"""Modules with a gate that is learned: it multiplies what passes by what it makes of its input."""

import math
from typing import Callable, Optional, Tuple, Union

import torch
from torch import Generator, Tensor, nn

from caffe2op_mask import functional
from caffe2op_mask.nn.checks import Described, one_of
from caffe2op_mask.sizes import positive_sizes

KINDS = ("sigmoid", "tanh", "softmax", "relu", "hard", "hard_concrete", "gumbel_softmax")
# Options of kind hard_concrete.
STRETCH = ("beta", "gamma", "zeta")
ACTIVATIONS = {
    "elu": torch.nn.functional.elu,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def open_probability(
    z: Tensor, beta: float = 2 / 3, gamma: float = -0.1, zeta: float = 1.1
) -> Tensor:
    """The probability that a gate of kind hard_concrete is not 0: the L0 penalty is its sum.

    ``sigmoid(z - beta * log(-gamma / zeta))``; 1 where gamma is 0, since nothing is stretched below
    0 then, and 0 where z is -inf.

    Source: Louizos, Welling and Kingma 2018.
    """
    if gamma == 0:
        return (z > -math.inf).to(z.dtype)
    return torch.sigmoid(z - beta * math.log(-gamma / zeta))


class _Gate(Described):
    """What gates share: the options of their kind, and the threshold of relu."""

    def __init__(self, kind, units, options, device, dtype):
        super().__init__()
        layer = type(self).__name__
        self.kind = one_of(layer, "kind", kind, KINDS)
        self.options = {name: value for name, value in options.items() if value is not None}
        if kind == "relu":
            self.threshold = nn.Parameter(torch.empty(units, device=device, dtype=dtype))
        else:
            self.register_parameter("threshold", None)

    def _apply_gate(self, x, z, return_gate, generator):
        threshold = None if self.threshold is None else self.threshold.to(x.dtype)
        return functional.gate(
            x,
            z.to(x.dtype),
            self.kind,
            threshold=threshold,
            training=self.training,
            generator=generator,
            return_gate=return_gate,
            **self.options
        )

    def _open(self, z):
        if self.kind != "hard_concrete":
            raise ValueError(
                "{}: the L0 penalty goes with kind = hard_concrete, but kind is {}.".format(
                    type(self).__name__, self.kind
                )
            )
        stretch = {name: self.options[name] for name in STRETCH if name in self.options}
        return open_probability(z, **stretch)


class LearnableGate(_Gate):
    """A gate that reads its input: ``g(x W^T + b) * x``.

    Args:
        in_features: last dim of x.
        context_features: last dim of a context that the gate reads in place of x.
        per_row: one gate for each row, and not for each feature.
        kind: sigmoid, tanh, softmax, relu, hard, hard_concrete or gumbel_softmax, as
            ``caffe2op_mask.gate`` has them; relu has a threshold that is learned and begins at 0.
            In training hard_concrete and gumbel_softmax draw, in evaluation nothing is drawn.
        clip, beta, gamma, zeta, tau, hard: options of the kind.
        bias: the projection has a bias.

    Parameters:
        logits.weight ``[gates, context_features]``, logits.bias and, of kind relu, threshold
        ``[gates]``, where gates is in_features, or 1 with ``per_row``.

    Shapes:
        x ``[..., in_features]``, context ``[..., context_features]`` with the same dims before its
        last; the result is like x, the gate ``[..., gates]``.

    Raises:
        ValueError: an unknown kind, a size that is not positive.
        RuntimeError: shapes or dtypes that do not fit, an option of another kind or out of range.

    Source: Hochreiter and Schmidhuber 1997; for the kinds see ``caffe2op_mask.gate``.
    """

    def __init__(
        self,
        in_features: int,
        context_features: Optional[int] = None,
        *,
        per_row: bool = False,
        kind: str = "sigmoid",
        clip: Optional[float] = None,
        beta: Optional[float] = None,
        gamma: Optional[float] = None,
        zeta: Optional[float] = None,
        tau: Optional[float] = None,
        hard: Optional[bool] = None,
        bias: bool = True,
        device: Optional[torch.device] = None,
        dtype: Optional[torch.dtype] = None
    ) -> None:
        in_features, read = positive_sizes(
            "LearnableGate",
            in_features=in_features,
            context_features=in_features if context_features is None else context_features,
        )
        gates = 1 if per_row else in_features
        options = dict(clip=clip, beta=beta, gamma=gamma, zeta=zeta, tau=tau, hard=hard)
        super().__init__(kind, gates, options, device, dtype)
        self.logits = nn.Linear(read, gates, bias=bias, device=device, dtype=dtype)
        self._describe(
            in_features, context_features=context_features, per_row=per_row, kind=kind, **options
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.logits.reset_parameters()
        if self.threshold is not None:
            nn.init.zeros_(self.threshold)

    def forward(
        self,
        x: Tensor,
        context: Optional[Tensor] = None,
        *,
        return_gate: bool = False,
        generator: Optional[Generator] = None
    ) -> Union[Tensor, Tuple[Tensor, Tensor]]:
        """The gated x; with ``return_gate`` also the gate."""
        return self._apply_gate(
            x, self.logits(x if context is None else context), return_gate, generator
        )

    def l0_penalty(self, x: Tensor, context: Optional[Tensor] = None) -> Tensor:
        """How many gates of x are expected to be open, a scalar; of kind hard_concrete."""
        return self._open(self.logits(x if context is None else context)).sum()


class FeatureGate(_Gate):
    """A gate for each feature, or unit, that reads nothing: ``g(logits) * x``.

    With kind hard_concrete it prunes: a penalty of ``weight * gate.l0_penalty()`` in the loss
    closes the gates of features that do not pay.

    Args:
        in_features: last dim of x.
        kind, clip, beta, gamma, zeta, tau, hard: as for `LearnableGate`.
        initial_logit: of each gate.

    Parameters:
        logits ``[in_features]`` and, of kind relu, threshold of that shape, which begins at 0.

    Shapes:
        x ``[..., in_features]``; the result is like x, the gate ``[in_features]``: one number is
        drawn for a feature, and not for each row.

    Raises:
        ValueError: an unknown kind, a size that is not positive.
        RuntimeError: shapes or dtypes that do not fit, an option of another kind or out of range.

    Source: Louizos, Welling and Kingma 2018.
    """

    def __init__(
        self,
        in_features: int,
        *,
        kind: str = "sigmoid",
        initial_logit: float = 2.0,
        clip: Optional[float] = None,
        beta: Optional[float] = None,
        gamma: Optional[float] = None,
        zeta: Optional[float] = None,
        tau: Optional[float] = None,
        hard: Optional[bool] = None,
        device: Optional[torch.device] = None,
        dtype: Optional[torch.dtype] = None
    ) -> None:
        (in_features,) = positive_sizes("FeatureGate", in_features=in_features)
        options = dict(clip=clip, beta=beta, gamma=gamma, zeta=zeta, tau=tau, hard=hard)
        super().__init__(kind, in_features, options, device, dtype)
        self.initial_logit = initial_logit
        self.logits = nn.Parameter(torch.empty(in_features, device=device, dtype=dtype))
        self._describe(in_features, kind=kind, initial_logit=initial_logit, **options)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.logits, self.initial_logit)
        if self.threshold is not None:
            nn.init.zeros_(self.threshold)

    def forward(
        self, x: Tensor, *, return_gate: bool = False, generator: Optional[Generator] = None
    ) -> Union[Tensor, Tuple[Tensor, Tensor]]:
        """The gated x; with ``return_gate`` also the gate."""
        return self._apply_gate(x, self.logits, return_gate, generator)

    def l0_penalty(self) -> Tensor:
        """How many gates are expected to be open, a scalar; of kind hard_concrete."""
        return self._open(self.logits).sum()


class Highway(Described):
    """A layer whose gate says how much of its input it changes: ``g(z) * h + (1 - g(z)) * x``.

    ``h = activation(x W^T + b)``, ``z = x Wz^T + bz``

    Args:
        in_features: last dim of x.
        activation: of h: "relu", "tanh", "elu" or "sigmoid", or a function of a tensor.
        kind: of the gate: "sigmoid", "softmax" or "hard".
        clip: of kind hard: no gradient to z where abs(z) is greater.
        carry_bias: what bz begins as: -1 carries most of x. Of many layers each must carry more: of
            about ``-log(depth - 1)`` one change in all is made.

    Parameters:
        changed.weight, changed.bias, logits.weight and logits.bias, of h and z.

    Shapes:
        x ``[..., in_features]``; the result is like x.

    Raises:
        ValueError: an unknown activation or kind, a size that is not positive.
        RuntimeError: shapes or dtypes that do not fit.

    Source: Srivastava, Greff and Schmidhuber 2015.
    """

    def __init__(
        self,
        in_features: int,
        activation: Union[str, Callable[[Tensor], Tensor]] = "relu",
        *,
        kind: str = "sigmoid",
        clip: Optional[float] = None,
        carry_bias: float = -1.0,
        device: Optional[torch.device] = None,
        dtype: Optional[torch.dtype] = None
    ) -> None:
        super().__init__()
        (in_features,) = positive_sizes("Highway", in_features=in_features)
        if not callable(activation):
            one_of("Highway", "activation", activation, sorted(ACTIVATIONS))
        self.activation = activation
        self.kind = one_of("Highway", "kind", kind, ("sigmoid", "softmax", "hard"))
        self.clip = clip
        self.carry_bias = carry_bias
        self.changed = nn.Linear(in_features, in_features, device=device, dtype=dtype)
        self.logits = nn.Linear(in_features, in_features, device=device, dtype=dtype)
        name = activation if isinstance(activation, str) else None
        self._describe(in_features, activation=name, kind=kind, clip=clip, carry_bias=carry_bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.changed.reset_parameters()
        self.logits.reset_parameters()
        nn.init.constant_(self.logits.bias, self.carry_bias)

    def forward(self, x: Tensor) -> Tensor:
        activation = self.activation
        activation = activation if callable(activation) else ACTIVATIONS[activation]
        h, z = activation(self.changed(x)), self.logits(x)
        return functional.highway(h.to(x.dtype), x, z.to(x.dtype), self.kind, clip=self.clip)
