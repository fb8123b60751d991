"""Masks that a network makes of what it sees, trained together with what comes behind it."""

from typing import NamedTuple, Optional

import torch
from torch import Generator, Tensor, nn

from caffe2op_mask import functional
from caffe2op_mask.nn.checks import Described, one_of
from caffe2op_mask.nn.gates import open_probability
from caffe2op_mask.sizes import positive_sizes

ESTIMATORS = ("straight_through", "hard_concrete", "reinforce")


class Masked(NamedTuple):
    """What a `DynamicMask` gives.

    Attributes:
        output: x, with zeros where it is masked.
        mask: bool ``[B, L]``, what is kept, for those that attend to the output.
        kept: ``[B]``, how many rows are kept, or with hard_concrete in training are expected to be.
        rows: ``[B]``, how many rows are no padding.
        log_prob: ``[B]``, the logarithm of the probability of the mask; of reinforce in training.
    """

    output: Tensor
    mask: Tensor
    kept: Tensor
    rows: Tensor
    log_prob: Optional[Tensor]


class DynamicMask(Described):
    """Masks what a network that is learned with the model takes for dispensable.

    The network gives each row of x, be it a word or a pixel, a logit z; how a row is kept or masked
    by it, and how the network learns though that has no derivative, is the estimator's:

    ================  ============================  ==============================================
    estimator         keeps                         learns by
    ================  ============================  ==============================================
    straight_through  where z > 0                   the gradient of sigmoid(z) in place of its own
    hard_concrete     by a gate of [0, 1], random   its own gradient
    reinforce         with probability sigmoid(z)   the score function: what it drew, weighed by
                                                    how much better than usual the outcome was
    ================  ============================  ==============================================

    In evaluation nothing is drawn: reinforce keeps where z > 0, hard_concrete has no noise. What is
    to be minimized, the price of rows among it, is for `DynamicMaskLoss`.

    Args:
        in_features: last dim of x.
        context_features: last dim of a context that the network reads in place of x.
        hidden_features: width of a hidden layer of tanh in the network; linear where it is absent.
        estimator: one of the table.
        clip: of straight_through. beta, gamma, zeta: of hard_concrete. As for
            ``caffe2op_mask.gate``.
        initial_logit: what the last bias begins as; above 0 most rows are kept at first.

    Parameters:
        logits.weight ``[1, features]``, logits.bias and, with hidden_features, hidden.weight and
        hidden.bias.

    Shapes:
        x ``[B, L, in_features]``, context ``[B, L, context_features]``; the result is a `Masked`.

    Raises:
        ValueError: an unknown estimator, a size that is not positive.
        RuntimeError: shapes or dtypes that do not fit, an option out of range.

    Source: Bengio, Leonard and Courville 2013 (straight through), Louizos, Welling and Kingma 2018
    (hard concrete), Williams 1992 (REINFORCE).
    """

    def __init__(
        self,
        in_features: int,
        context_features: Optional[int] = None,
        hidden_features: Optional[int] = None,
        *,
        estimator: str = "straight_through",
        clip: Optional[float] = None,
        beta: Optional[float] = None,
        gamma: Optional[float] = None,
        zeta: Optional[float] = None,
        initial_logit: float = 1.0,
        device: Optional[torch.device] = None,
        dtype: Optional[torch.dtype] = None
    ) -> None:
        super().__init__()
        layer = "DynamicMask"
        self.estimator = one_of(layer, "estimator", estimator, ESTIMATORS)
        in_features, read = positive_sizes(
            layer,
            in_features=in_features,
            context_features=in_features if context_features is None else context_features,
        )
        options = {"clip": clip, "beta": beta, "gamma": gamma, "zeta": zeta}
        self.options = {name: value for name, value in options.items() if value is not None}
        if estimator == "reinforce" and self.options:
            raise ValueError(
                "{}: estimator = reinforce has no options of a gate, but {} was given.".format(
                    layer, " and ".join(self.options)
                )
            )
        self.initial_logit = initial_logit
        self.hidden = None
        if hidden_features is not None:
            (hidden_features,) = positive_sizes(layer, hidden_features=hidden_features)
            self.hidden = nn.Linear(read, hidden_features, device=device, dtype=dtype)
        self.logits = nn.Linear(hidden_features or read, 1, device=device, dtype=dtype)
        self._describe(
            in_features,
            context_features=context_features,
            hidden_features=hidden_features,
            estimator=estimator,
            **options
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.hidden is not None:
            self.hidden.reset_parameters()
        self.logits.reset_parameters()
        nn.init.constant_(self.logits.bias, self.initial_logit)

    def forward(
        self,
        x: Tensor,
        context: Optional[Tensor] = None,
        *,
        lengths: Optional[Tensor] = None,
        mask: Optional[Tensor] = None,
        generator: Optional[Generator] = None
    ) -> Masked:
        """Masks rows of x.

        Args:
            lengths: int32 or int64 ``[B]``: rows from there on are padding, which is never kept.
            mask: bool ``[B, L]``: False is padding; with lengths, what both leave. Padding must be
                finite: the network computes its logits, too, before they are set to -inf.
        """
        hidden = x if context is None else context
        if self.hidden is not None:
            hidden = torch.tanh(self.hidden(hidden))
        z = self.logits(hidden).to(x.dtype)
        if lengths is not None:
            z = functional.sequence_mask(z, lengths=lengths, repeat_from_axis=2)
        if mask is not None:
            z = functional.sequence_mask(z, "mask", mask=mask, fill_val=-float("inf"))
        rows = (z > -float("inf")).sum(dim=(1, 2)).to(x.dtype)
        if self.estimator == "reinforce" and self.training:
            drawn, log_prob = functional.bernoulli_mask(z, generator=generator)
            kept_mask = drawn.squeeze(2)
            kept = kept_mask.sum(dim=1).to(x.dtype)
            output = functional.boolean_fill(x, kept_mask)
            return Masked(output, kept_mask, kept, rows, log_prob.sum(dim=(1, 2)))
        kind = "hard_concrete" if self.estimator == "hard_concrete" else "hard"
        output, gate = functional.gate(
            x,
            z,
            kind,
            training=self.training,
            generator=generator,
            return_gate=True,
            **self.options
        )
        kept_mask = (gate != 0).squeeze(2)
        if kind == "hard":
            kept = gate.sum(dim=(1, 2))
        elif self.training:
            kept = open_probability(z, **self.options).sum(dim=(1, 2))
        else:
            kept = kept_mask.sum(dim=1).to(x.dtype)
        return Masked(output, kept_mask, kept, rows, None)


class DynamicMaskLoss(Described):
    """What a model with a `DynamicMask` minimizes: losses and a price for what it keeps or masks.

    ``mean over B of (losses + kept_penalty * kept + masked_penalty * masked)``

    Args:
        kept_penalty: price of each row that is kept, to learn which may go.
        masked_penalty: price of each row that is masked, so that no more go than pay.
        baseline_decay: with reinforce, how much of the running mean of the cost stays at each step.

    The probability of what reinforce drew gets the gradient of
    ``mean((cost - baseline) * log_prob)``; the value of the loss has no part of that. The baseline
    is the running mean of the cost at the steps before, the buffers baseline_total over
    baseline_weight. It takes variance from the estimate, and adds no bias to it.

    Shapes:
        losses ``[B]``, what the use of the output has cost each of the batch; the result is a
        scalar.

    Raises:
        ValueError: a baseline_decay that is not at least 0 and below 1.

    Source: Williams 1992 (REINFORCE and the baseline); Louizos, Welling and Kingma 2018 (the
    expected number of open gates).
    """

    def __init__(
        self,
        kept_penalty: float = 0.0,
        masked_penalty: float = 0.0,
        baseline_decay: float = 0.95,
        *,
        device: Optional[torch.device] = None
    ) -> None:
        super().__init__()
        if not 0 <= baseline_decay < 1:
            raise ValueError(
                "DynamicMaskLoss: baseline_decay must be at least 0 and below 1, but is {}.".format(
                    baseline_decay
                )
            )
        self.kept_penalty = kept_penalty
        self.masked_penalty = masked_penalty
        self.baseline_decay = baseline_decay
        self.register_buffer("baseline_total", torch.zeros((), device=device))
        self.register_buffer("baseline_weight", torch.zeros((), device=device))
        self._describe(
            kept_penalty=kept_penalty,
            masked_penalty=masked_penalty,
            baseline_decay=baseline_decay,
        )

    def reset_parameters(self) -> None:
        """The baseline forgets."""
        self.baseline_total.zero_()
        self.baseline_weight.zero_()

    def forward(self, masked: Masked, losses: Tensor) -> Tensor:
        cost = losses
        if self.kept_penalty:
            cost = cost + self.kept_penalty * masked.kept
        if self.masked_penalty:
            cost = cost + self.masked_penalty * (masked.rows - masked.kept)
        mean = cost.mean()
        if masked.log_prob is None:
            return mean
        score = ((cost.detach() - self._baseline(mean)) * masked.log_prob).mean()
        # Its value is 0 and its gradient is not.
        return mean + (score - score.detach())

    @torch.no_grad()
    def _baseline(self, mean):
        """The mean of the costs before, later ones weighing more; then takes in that of now."""
        # That of nothing is 0.
        baseline = self.baseline_total / self.baseline_weight.clamp(min=1e-30)
        if self.training:
            for sum_so_far, now in ((self.baseline_total, mean), (self.baseline_weight, 1.0)):
                sum_so_far.mul_(self.baseline_decay).add_(now * (1 - self.baseline_decay))
        return baseline
