"""What masked_softmax and masked_attention share: which scores are kept."""

from typing import Optional, Tuple, Union

from torch import Tensor

Window = Union[int, Tuple[int, int]]


def mode_of(
    mode: Optional[str],
    is_causal: bool,
    lengths: Optional[Tensor],
    centers: Optional[Tensor],
    left_pad: Optional[Tensor],
) -> str:
    """The shapes that the inputs read, and the triangles of ``mode``, joined by ``+``."""
    shapes = []
    if lengths is not None:
        shapes.append("sequence")
    if centers is not None:
        shapes.append("window")
    if left_pad is not None:
        shapes.append("left_pad")
    if is_causal:
        shapes.append("upper")
    if mode:
        shapes.append(mode)
    return "+".join(shapes)


def sides_of(who: str, window: Optional[Window]) -> Tuple[int, int]:
    """How many columns left and right of its own a row keeps; -1 is all."""
    if window is None:
        return -1, -1
    if isinstance(window, int):
        return window, window
    if not isinstance(window, (tuple, list)) or len(window) != 2:
        raise ValueError(
            "{}: window must be an int or a pair (left, right), but is {!r}.".format(who, window)
        )
    return window[0], window[1]
