"""What is measured: one Spec for each piece of work, by families of operators.

Its case has our operator, stock's and the peers'. A case makes its own data from a fixed seed, so
that another process, with another torch, can time the same work. Nothing here imports Caffe2:
operators are described, and run by measure.py.
"""

from cases import (boolean_mask, gates, masked_attention, masked_attention_jagged, masked_softmax,
                   mixture_gate, random_masks, sequence_mask)
from cases.masked_attention import KEPT_SHARE

FAMILIES = (sequence_mask, boolean_mask, masked_softmax, masked_attention,
            masked_attention_jagged, gates, mixture_gate, random_masks)
CASES = [spec for family in FAMILIES for spec in family.CASES]


def find(name):
    """The spec whose name this is."""
    return {str(spec): spec for spec in CASES + KEPT_SHARE}[name]
