"""Nets of Caffe2's own helpers run, forward and backward."""

import numpy as np
import pytest
from caffe2.python import workspace

from testers import helper_nets


def run(built):
    """Arrays of the outputs and of the gradients."""
    workspace.ResetWorkspace()
    assert workspace.RunNetOnce(built.init)
    for blob, array in built.feeds.items():
        workspace.FeedBlob(blob, array)
    assert workspace.RunNetOnce(built.net)
    return [
        [workspace.FetchBlob(blob) for blob in blobs] for blobs in (built.outputs, built.gradients)
    ]


@pytest.mark.parametrize("name", sorted(helper_nets.NETS))
def test_net_runs(name):
    outputs, _ = run(helper_nets.build(name))
    assert outputs
    for output in outputs:
        assert output.size and np.isfinite(output).all() and output.any()


@pytest.mark.parametrize("name", sorted(set(helper_nets.NETS) - helper_nets.FORWARD_ONLY))
def test_net_trains(name):
    forward, _ = run(helper_nets.build(name))
    outputs, gradients = run(helper_nets.build(name, train=True))
    for ours, alone in zip(outputs, forward):
        np.testing.assert_array_equal(ours, alone)
    assert gradients
    for gradient in gradients:
        assert np.isfinite(gradient).all() and gradient.any()


@pytest.mark.parametrize(
    "name, kept",
    [
        ("causal", lambda query, key, length: key <= query),
        ("causal_reversed", lambda query, key, length: key >= query),
        ("window", lambda query, key, length: abs(key - query) <= 1),
        ("flat_lengths_merged_heads", lambda query, key, length: key < length),
        ("lengths_repeated_from_axis", lambda query, key, length: key < length),
        ("causal_and_lengths", lambda query, key, length: key < length and key <= query),
    ],
)
def test_masks_are_what_names_say(name, kept):
    """Weights are 0 where the mask has it, and nowhere else."""
    run(helper_nets.build(name))
    size = helper_nets.LENGTH
    weights = workspace.FetchBlob("weights").reshape(helper_nets.BATCH, -1, size, size)
    lengths = helper_nets.lengths_of(helper_nets.BATCH, size)
    for (batch, _, query, key), weight in np.ndenumerate(weights):
        assert (weight != 0) == kept(query, key, lengths[batch])
