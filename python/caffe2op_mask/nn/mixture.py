"""MixtureOfExperts: several modules, and a gate that says how much each of them counts."""

from typing import Iterable, Optional, Tuple, Union

import torch
from torch import Tensor, nn

from caffe2op_mask import functional
from caffe2op_mask.nn.checks import Described
from caffe2op_mask.sizes import positive_sizes


class MixtureOfExperts(Described):
    """Experts, and a gate that chooses among them: ``sum over k of g[k] * expert[k](x)``.

    ``g = softmax(router W^T + b)``, of which the top_k are kept

    Args:
        experts: modules that map ``[N, ...]`` to ``[N, ...]``, all to the same shape and dtype.
        in_features: last dim of x, or of the context where the gate reads one.
        top_k: how many experts count for a row (all where it is absent); the others weigh 0. All of
            them are computed.
        renormalize: the weights of the top_k are divided by their sum.
        bias_rate: balances without a loss: a routing bias is added where experts are chosen, and
            each call in training moves it by this rate, up for experts that fewer rows than the
            mean have chosen, down for those that more have.

    Parameters:
        experts.0 and so on; logits.weight ``[K, in_features]`` and logits.bias, of the gate. The
        routing bias is the buffer routing_bias, ``[K]``.

    Shapes:
        x ``[..., D]``, context ``[..., in_features]`` with the same dims before its last. Experts
        get x as rows, ``[N, D]``. The result is ``[..., Dout]``, the gate ``[..., K]``.

    Raises:
        ValueError: no experts, a size that is not positive, a top_k above the number of experts, a
            bias_rate that is negative.
        RuntimeError: experts of shapes or dtypes that differ.

    Source: Jacobs, Jordan, Nowlan and Hinton 1991; Shazeer et al. 2017 (top_k, balance); Jiang et
    al. 2024 (renormalize); Wang et al. 2024 (bias_rate).
    """

    def __init__(
        self,
        experts: Iterable[nn.Module],
        in_features: int,
        *,
        top_k: Optional[int] = None,
        renormalize: bool = False,
        bias_rate: Optional[float] = None,
        device: Optional[torch.device] = None,
        dtype: Optional[torch.dtype] = None
    ) -> None:
        super().__init__()
        layer = "MixtureOfExperts"
        self.experts = nn.ModuleList(experts)
        count = len(self.experts)
        if not count:
            raise ValueError("{}: experts must be at least 1 module, but are none.".format(layer))
        in_features, self.top_k = positive_sizes(
            layer, in_features=in_features, top_k=count if top_k is None else top_k
        )
        if self.top_k > count:
            raise ValueError(
                "{}: top_k must be at most the number of experts, {}, but is {}.".format(
                    layer, count, top_k
                )
            )
        if bias_rate is not None and not bias_rate >= 0:
            raise ValueError(
                "{}: bias_rate must be a number of at least 0, but is {}.".format(layer, bias_rate)
            )
        self.renormalize = renormalize
        self.bias_rate = bias_rate
        self.logits = nn.Linear(in_features, count, device=device, dtype=dtype)
        bias = None
        if bias_rate is not None:
            # A step of it is lost in 16 bits.
            wide = torch.float64 if dtype == torch.float64 else torch.float32
            bias = torch.empty(count, device=device, dtype=wide)
        self.register_buffer("routing_bias", bias)
        self._describe(
            in_features=in_features, top_k=top_k, renormalize=renormalize, bias_rate=bias_rate
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Of the gate; those of experts stay."""
        self.logits.reset_parameters()
        if self.routing_bias is not None:
            nn.init.zeros_(self.routing_bias)

    def forward(
        self, x: Tensor, context: Optional[Tensor] = None, *, return_gate: bool = False
    ) -> Union[Tensor, Tuple[Tensor, Tensor]]:
        """The mixture; with ``return_gate`` also the weights, of which `balance` is a loss."""
        leading = x.shape[:-1]
        rows = x.flatten(0, -2)
        read = rows if context is None else context.flatten(0, -2)
        e = torch.stack([expert(rows) for expert in self.experts], dim=1)
        bias = self.routing_bias
        if bias is not None:
            # A copy, since the gradient chooses by it after it has been moved.
            bias = bias.to(torch.float64 if e.dtype == torch.float64 else torch.float32, copy=True)
        y, g = functional.mixture_gate(
            e,
            self.logits(read).to(e.dtype),
            top_k=self.top_k,
            renormalize=self.renormalize,
            bias=bias,
            return_gate=True,
        )
        if self.training and self.bias_rate:
            self._move_bias(g)
        y = y.unflatten(0, leading)
        return (y, g.unflatten(0, leading)) if return_gate else y

    @torch.no_grad()
    def _move_bias(self, g):
        load = (g != 0).sum(dim=0).to(self.routing_bias.dtype)
        self.routing_bias.add_(torch.sign(load.mean() - load), alpha=self.bias_rate)

    @staticmethod
    def balance(gate: Tensor) -> Tensor:
        """A loss by which no expert is left out, a scalar.

        It is the squared coefficient of variation of what experts weigh, ``[..., K]``, in the
        batch.
        """
        weights = gate.flatten(0, -2).sum(dim=0)
        return weights.numel() * weights.square().sum() / weights.sum().square() - 1
