"""What all tests of the front end for PyTorch share: Hypothesis profiles, and two threads.

Tests replay: Hypothesis draws the same examples on every run. ``--hypothesis-profile=search`` draws
new ones, and more; what it finds it prints as a ``@reproduce_failure`` line.
"""

import os
import sys

import hypothesis
import pytest
import torch

# oracles/ needs no Caffe2.
sys.path.append(os.path.join(os.path.dirname(os.path.dirname(__file__)), "python"))

_COMMON = dict(
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
    ],
)
hypothesis.settings.register_profile("replay", derandomize=True, max_examples=60, **_COMMON)
hypothesis.settings.register_profile("search", max_examples=2000, **_COMMON)
hypothesis.settings.load_profile("replay")


@pytest.fixture(autouse=True)
def _replay():
    """Tests that draw by torch draw the same on every run."""
    torch.manual_seed(1)
    torch.set_num_threads(2)
