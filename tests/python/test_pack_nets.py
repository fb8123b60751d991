"""pack on nets that exporters wrote and fuse fused: what becomes of each, and that it is equal."""

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

import test_nets
from caffe2op_mask import fuse, pack
from caffe2op_mask.fuse import proof

# How many operators are packed, and how many products are left alone, with padding="zeros".
PACKED = {
    "albert_two_layers": (91, 0),
    "bert": (46, 0),
    "bert_classifier": (46, 0),
    "bert_static_aten": (22, 0),
    "bert_two_layers": (83, 0),
    "distilbert": (46, 0),
    "electra": (46, 0),
    "fairseq": (9, 0),
    "fairseq_cross": (4, 0),
    "flaubert": (52, 0),
    "gpt2": (38, 1),
    "gpt_neo": (36, 8),
    "heads_in_batch": (8, 0),
    "joint_projection": (5, 0),
    "mask_fill_not": (8, 0),
    "mask_float_bias": (8, 0),
    "mask_lengths_bias": (2, 3),
    "mask_where_kept": (8, 0),
    "multi_query": (4, 2),
    "nystromformer": (38, 1),
    "pytext": (9, 0),
    "rembert": (48, 0),
    "roberta": (51, 0),
    "single_head": (8, 0),
    "torch_decoder_layer": (3, 0),
    "torch_encoder": (66, 0),
    "torch_encoder_layer_norm_first": (28, 0),
    "torch_encoder_layer_padding": (14, 0),
    "torch_mha_padding_batch_first": (4, 2),
    "two_layers": (18, 0),
    "xlm": (52, 0),
    # Heads are tiled; a bias by heads; rows that are convolved; all attend to all.
    "heads_in_batch_tiled_mask": (0, 0),
    "squeezebert": (0, 0),
    "t5_encoder": (0, 0),
    "vit": (0, 0),
}


@pytest.fixture(autouse=True)
def always_faster(monkeypatch):
    """Times are of no interest here."""
    monkeypatch.setattr(proof, "milliseconds", lambda *_: (2.0, 1.0, 1))


def results(net, init, feeds, masks=()):
    workspace.ResetWorkspace()
    workspace.RunNetOnce(init)
    for blob, array in feeds.items():
        workspace.FeedBlob(blob, array)
    workspace.RunNetOnce(net)
    return {blob: workspace.FetchBlob(blob) for blob in list(net.external_output) + list(masks)}


@pytest.mark.parametrize("name", sorted(PACKED))
def test_saved_net(name):
    test_nets.skip_unless_it_runs(name)
    net, init = (test_nets.read_net(name + ending) for ending in (".pb", ".init.pb"))
    feeds = list(test_nets.feeds(name))
    fuse(net, init=init, inputs=[dict(arrays) for arrays in feeds])
    before = caffe2_pb2.NetDef.FromString(net.SerializeToString())
    report = pack(net, [dict(arrays) for arrays in feeds], init=init, padding="zeros")
    assert not report.failed
    count = sum(len(one.operators) for one in report.packed)
    assert (count, len(report.left_alone)) == PACKED[name], str(report)
    assert (report.unchanged is None) == bool(report.packed), str(report)
    masks = sorted({one.kept for one in report.packed})
    for arrays in feeds:
        wanted, found = results(before, init, arrays), results(net, init, arrays, masks)
        for blob, array in wanted.items():
            if blob in report.zeros:
                (mask,) = masks
                kept = found[mask]
                kept = kept if kept.shape == array.shape[:2] else kept.T
                array = np.where(kept.reshape(kept.shape + (1,) * (array.ndim - 2)), array, 0)
            np.testing.assert_allclose(
                found[blob], array, rtol=1e-4, atol=1e-4, err_msg=str(report)
            )


@pytest.mark.parametrize("name", ["bert", "bert_classifier", "torch_encoder", "gpt2"])
def test_padding_that_stays(name):
    """Outputs are what they were to the last row, with padding="same"."""
    test_nets.skip_unless_it_runs(name)
    net, init = (test_nets.read_net(name + ending) for ending in (".pb", ".init.pb"))
    feeds = list(test_nets.feeds(name))
    fuse(net, init=init, inputs=[dict(arrays) for arrays in feeds])
    before = caffe2_pb2.NetDef.FromString(net.SerializeToString())
    report = pack(net, [dict(arrays) for arrays in feeds], init=init)
    assert not report.failed and not report.zeros
    for arrays in feeds:
        wanted, found = results(before, init, arrays), results(net, init, arrays)
        for blob in wanted:
            np.testing.assert_allclose(found[blob], wanted[blob], rtol=1e-4, atol=1e-4)
