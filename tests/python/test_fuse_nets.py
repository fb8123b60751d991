"""fuse on nets that exporters and Caffe2's helpers wrote: what becomes of each, and that it is equal."""

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

from testers import helper_nets
import test_nets
from caffe2op_mask.fuse import fuse, proof

# Every Softmax of a saved net becomes MaskedAttention, but for these: how many become MaskedAttention
# and MaskedSoftmax, how many are left alone, and a part of the reason.
OTHERWISE = {
    # There is a mask, and no product that scores are.
    "additive": (0, 1, 0, "its columns change"),
    "pooling_row": (0, 1, 0, "its columns change"),
    # Somebody else reads the scores or the weights.
    "bart_attentions": (1, 2, 0, "'511' is an input or output of the net"),
    "bert_attentions": (0, 1, 0, "'143' is an input or output of the net"),
    "fairseq_weights": (0, 1, 0, "'84' is read by Reshape"),
    "flat_scores": (0, 0, 1, "'70' is read by Shape"),
    "gpt2_attentions": (0, 1, 0, "'189' is an input or output of the net"),
    "mask_after_softmax": (0, 1, 0, "no product reads the weights"),
    "mean_weights_too": (0, 1, 0, "'72' is read by ReduceMean"),
    "pair": (0, 1, 1, "'3' is read by Transpose"),
    "scores_too": (0, 1, 0, "'66' is read by ReduceMean"),
    "shifted_by_max": (0, 1, 0, "'70' is read by ReduceMax"),
    "softmax_of_doubles": (0, 1, 0, "no product reads the weights"),
    "token_head": (0, 0, 2, "'5' is read by Softmax"),
    "torch_mha_padding_weights": (0, 1, 0, "'97' is read by Reshape"),
    "torch_mha_weights": (0, 1, 0, "'63' is read by Reshape"),
    "weights_too": (0, 1, 0, "'72' is an input or output of the net"),
    # A bias by batch and another by head and batch.
    "alibi": (0, 1, 0, "is by dims that are regrouped"),
    "windows": (0, 1, 0, "is by dims that are regrouped"),
    # Keys of one batch for all.
    "learned_memory": (0, 1, 0, "are not [B, H, L, D] or [B, L, D]"),
    # Columns are not the last dim.
    "expert_mixture": (0, 1, 0, "the scores are transposed"),
    "luong_decoder": (0, 1, 0, "the scores are transposed"),
    "pooling": (0, 0, 1, "but Transpose -> '13'"),
    "pooling_product": (0, 0, 1, "but Transpose -> '15'"),
    "softmax_over_heads": (0, 0, 1, "but Transpose -> '66'"),
    "softmax_over_queries": (0, 0, 1, "but Transpose -> '66'"),
    "transposed_scores": (0, 0, 1, "but Transpose -> '71'"),
    # No attention.
    "classifier_head": (0, 0, 1, "but FC -> '8'"),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Times are of no interest here."""
    monkeypatch.setattr(proof, "_MOST_SECONDS", 0.0)


def results(net, init, feeds, blobs):
    workspace.ResetWorkspace()
    workspace.RunNetOnce(init)
    for blob, array in feeds.items():
        workspace.FeedBlob(blob, array)
    workspace.RunNetOnce(net)
    return {blob: workspace.FetchBlob(blob) for blob in blobs}


def assert_equal(before, after, report):
    # Some gradients are nothing but rounding: held against the largest of all they are none.
    largest = max(np.abs(array).max() for array in before.values())
    for blob in before:
        np.testing.assert_allclose(
            after[blob], before[blob], rtol=1e-4, atol=1e-5 * largest, err_msg=str(report)
        )


def copy_of(net):
    return caffe2_pb2.NetDef.FromString(net.SerializeToString())


@pytest.mark.parametrize("name", test_nets.NAMES)
def test_saved_net(name):
    test_nets.skip_unless_it_runs(name)
    net, init = (test_nets.read_net(name + ending) for ending in (".pb", ".init.pb"))
    before, feeds = copy_of(net), list(test_nets.feeds(name))
    report = fuse(net, init=init, inputs=feeds)
    assert report.blamed is None and not report.missing
    count = sum(op.type == "Softmax" for op in before.op)
    attention, softmax, alone, reason = OTHERWISE.get(name, (count, 0, 0, ""))
    into = [one.into for one in report.fused]
    found = (into.count("MaskedAttention"), into.count("MaskedSoftmax"), len(report.left_alone))
    assert found == (attention, softmax, alone) and sum(found) == count, str(report)
    assert reason in str(report)
    for arrays in feeds:
        one, other = (results(two, init, arrays, before.external_output) for two in (before, net))
        assert_equal(one, other, report)


def test_the_table_names_nets():
    assert set(OTHERWISE) <= set(test_nets.NAMES)


@pytest.mark.parametrize("name", sorted(helper_nets.NETS))
def test_helper_s_net(name):
    """Of Caffe2's own attention, in step nets too, and of stock operators by hand."""
    built = helper_nets.build(name)
    built.net.external_output.extend(built.outputs)
    before = copy_of(built.net)
    report = fuse(built.net, init=built.init, inputs=built.feeds)
    assert report.blamed is None
    masks = any(op.type == "SequenceMask" for op in before.op)
    assert report.fused or not masks or name in ("keys_first", "lengths_repeated_from_axis")
    one, other = (
        results(two, built.init, built.feeds, built.outputs) for two in (before, built.net)
    )
    assert_equal(one, other, report)


@pytest.mark.parametrize("name", sorted(set(helper_nets.NETS) - helper_nets.FORWARD_ONLY))
def test_helper_s_net_that_trains(name):
    """Gradients that are there stay, as do those that are added to what was fused."""
    built = helper_nets.build(name, train=True)
    built.net.external_output.extend(built.outputs + built.gradients)
    before = copy_of(built.net)
    wanted = results(before, built.init, built.feeds, built.gradients)
    report = fuse(built.net, init=built.init, inputs=built.feeds)
    assert report.blamed is None
    assert_equal(wanted, results(built.net, built.init, built.feeds, built.gradients), report)
    if any(op.type == "RecurrentNetwork" for op in before.op):
        return  # its backward net is made with it
    forward = helper_nets.build(name)
    forward.net.external_output.extend(forward.outputs)
    report = fuse(forward.net, init=forward.init, inputs=forward.feeds)
    net = core.Net(forward.net)
    loss = net.AveragedLoss([forward.outputs[0]], ["loss"])
    net.AddGradientOperators([loss])
    after = results(net.Proto(), forward.init, forward.feeds, built.gradients)
    assert_equal(wanted, after, report)
