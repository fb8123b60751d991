"""pack on nets that exporters wrote and fuse fused: what becomes of each, and that it is equal."""

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

import test_nets
from caffe2op_mask import fuse, pack
from caffe2op_mask.fuse import proof

# How many operators are packed, and how many products and attentions are left alone, with
# padding="zeros". Attention is, where a bias hides keys.
PACKED = {
    "albert_two_layers": (91, 2),
    "bert": (46, 1),
    "bert_classifier": (46, 1),
    "bert_static_aten": (22, 1),
    "bert_two_layers": (83, 2),
    "distilbert": (55, 0),
    "electra": (46, 1),
    "fairseq": (25, 0),
    "fairseq_cross": (4, 1),
    "flaubert": (61, 0),
    "gpt2": (38, 2),
    "gpt_neo": (36, 10),
    "heads_in_batch": (8, 1),
    "joint_projection": (14, 0),
    "mask_fill_not": (17, 0),
    "mask_float_bias": (8, 1),
    "mask_lengths_bias": (2, 4),
    "mask_where_kept": (17, 0),
    "multi_query": (4, 3),
    "nystromformer": (38, 2),
    "pytext": (25, 0),
    "rembert": (48, 1),
    "roberta": (51, 1),
    "single_head": (9, 0),
    "torch_decoder_layer": (3, 1),
    "torch_encoder": (92, 0),
    "torch_encoder_layer_norm_first": (50, 0),
    "torch_encoder_layer_padding": (23, 0),
    "torch_mha_padding_batch_first": (21, 0),
    "two_layers": (36, 0),
    "xlm": (61, 0),
    # Heads are tiled; a bias by heads; rows that are convolved; all attend to all.
    "heads_in_batch_tiled_mask": (0, 1),
    "squeezebert": (0, 1),
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
