"""Random masks as augmentation: they mask in training, and pass all on in evaluation."""

from typing import Optional, Tuple, Union

import torch
from torch import Generator, Tensor

from caffe2op_mask import functional
from caffe2op_mask.nn.checks import Described, in_interval, one_of
from caffe2op_mask.sizes import positive_sizes

UNITS = ("element", "row", "span")


class RandomMask(Described):
    """Masks parts of x by chance in training; in evaluation x passes as it is.

    Unlike dropout it does not scale what it keeps.

    Args:
        p: probability that an element or a row is masked, or that an element is in a masked span.
        unit: what is masked together: "element", "row" (all entries along the last dim) or "span".
        span_length: of unit span.
        min_masked: each row has that many masked elements or spans, or all that it can have.
        feature_dims: how many last dims of x are no part of the mask: an element is then all that
            stands under an index of the dims before. 1 masks whole steps of ``[B, T, F]``.
        fill_val: what stands where x is masked.

    Shapes:
        x ``[..., *features]``, of any number type; the result is like x; the mask is bool, of the
        shape of x without the feature dims, and True keeps.

    Raises:
        ValueError: p that is no probability, an unknown unit, feature_dims that are negative or all
            dims of x.
        RuntimeError: lengths that do not fit, an option out of range.

    Source: Devlin et al. 2019 (elements); Baevski et al. 2020 (spans).
    """

    def __init__(
        self,
        p: float = 0.15,
        *,
        unit: str = "element",
        span_length: Optional[int] = None,
        min_masked: Optional[int] = None,
        feature_dims: int = 0,
        fill_val: float = 0.0
    ) -> None:
        super().__init__()
        self.p = in_interval("RandomMask", "p", p, 0, 1)
        self.unit = one_of("RandomMask", "unit", unit, UNITS)
        if feature_dims < 0:
            raise ValueError(
                "RandomMask: feature_dims must be at least 0, but is {}.".format(feature_dims)
            )
        self.span_length = span_length
        self.min_masked = min_masked
        self.feature_dims = feature_dims
        self.fill_val = fill_val
        self._describe(
            p=p,
            unit=unit,
            span_length=span_length,
            min_masked=min_masked,
            feature_dims=feature_dims,
            fill_val=fill_val,
        )

    def forward(
        self,
        x: Tensor,
        lengths: Optional[Tensor] = None,
        *,
        return_mask: bool = False,
        generator: Optional[Generator] = None
    ) -> Union[Tensor, Tuple[Tensor, Tensor]]:
        """Masks x.

        Args:
            lengths: int32 or int64, of the shape of leading dims of x; from a row's length on
                nothing is masked.
            return_mask: also return the mask, all True in evaluation.
        """
        if x.dim() <= self.feature_dims:
            raise ValueError(
                "RandomMask: x must have more dims than feature_dims, {}, but has {}.".format(
                    self.feature_dims, x.dim()
                )
            )
        like = x.new_empty(x.shape[: x.dim() - self.feature_dims])
        if not self.training:
            return (x, torch.ones_like(like, dtype=torch.bool)) if return_mask else x
        mask = functional.random_mask(
            like,
            self.p,
            unit=self.unit,
            span_length=self.span_length,
            lengths=lengths,
            min_masked=self.min_masked,
            generator=generator,
        )
        masked = functional.boolean_fill(x, mask, self.fill_val)
        return (masked, mask) if return_mask else masked


class SpecAugment(Described):
    """Masks spans of time and of frequencies of a spectrogram by chance, in training.

    Spans have a fixed length, where those of the paper have a random one.

    Args:
        time_p: probability that a step of time is in a masked span.
        time_span: length of these spans.
        frequency_p, frequency_span: the same of frequencies.
        fill_val: what stands where x is masked.

    Shapes:
        x ``[B, T, F]``, float; the result is like x. lengths ``[B]``: from there on no time is
        masked.

    Raises:
        ValueError: a probability or length out of range, x of other than three dims.

    Source: Park et al. 2019.
    """

    def __init__(
        self,
        time_p: float = 0.1,
        time_span: int = 10,
        frequency_p: float = 0.1,
        frequency_span: int = 10,
        *,
        fill_val: float = 0.0
    ) -> None:
        super().__init__()
        layer = "SpecAugment"
        self.time_p = in_interval(layer, "time_p", time_p, 0, 1)
        self.frequency_p = in_interval(layer, "frequency_p", frequency_p, 0, 1)
        self.time_span, self.frequency_span = positive_sizes(
            layer, time_span=time_span, frequency_span=frequency_span
        )
        self.fill_val = fill_val
        self._describe(
            time_p=time_p,
            time_span=time_span,
            frequency_p=frequency_p,
            frequency_span=frequency_span,
            fill_val=fill_val,
        )

    def forward(
        self,
        x: Tensor,
        lengths: Optional[Tensor] = None,
        *,
        generator: Optional[Generator] = None
    ) -> Tensor:
        if x.dim() != 3:
            raise ValueError("SpecAugment: x must have three dims, but has {}.".format(x.dim()))
        if not self.training:
            return x
        batch, steps, frequencies = x.shape

        def draw(size, p, span, lengths=None):
            return functional.random_mask(
                x.new_empty(batch, size),
                p,
                unit="span",
                span_length=span,
                lengths=lengths,
                generator=generator,
            )

        of_time = draw(steps, self.time_p, self.time_span, lengths)
        of_frequency = draw(frequencies, self.frequency_p, self.frequency_span)
        mask = of_time[:, :, None] & of_frequency[:, None, :]
        return functional.boolean_fill(x, mask, self.fill_val)
