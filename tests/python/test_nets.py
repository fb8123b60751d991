"""Saved nets, as real exporters write them, load and run. tests/nets/make_nets.py wrote them."""

from pathlib import Path

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

import caffe2op_mask

NETS = Path(__file__).resolve().parents[1] / "nets"
RUNS_EXPORTS = caffe2op_mask.built_for()["torch"].startswith("1.10.")
NAMES = sorted(path.stem for path in NETS.glob("*.pb") if not path.stem.endswith(".init"))


def read_net(ending):
    return caffe2_pb2.NetDef.FromString((NETS / ending).read_bytes())


def feeds(name):
    """Each set of feeds of a net: arrays by blob."""
    for path in [NETS / (name + ".npz")] + sorted(NETS.glob(name + ".[0-9].npz")):
        with np.load(str(path)) as arrays:
            yield dict(arrays)


def skip_unless_it_runs(name):
    """Other releases lack operators that the exporter of 1.10 uses, such as ATen's."""
    lacks = {op.type for op in read_net(name + ".pb").op} - set(workspace.RegisteredOperators())
    if lacks or not RUNS_EXPORTS:
        pytest.skip("this runtime does not run what the exporter of torch 1.10 writes")


def test_there_are_nets():
    assert len(NAMES) >= 100


@pytest.mark.parametrize("name", NAMES)
def test_net_runs(name):
    skip_unless_it_runs(name)
    net = read_net(name + ".pb")
    assert net.external_output
    for arrays in feeds(name):
        workspace.ResetWorkspace()
        assert workspace.RunNetOnce(read_net(name + ".init.pb"))
        for blob, array in arrays.items():
            assert blob in net.external_input
            workspace.FeedBlob(blob, array)
        assert workspace.RunNetOnce(net)
        for blob in net.external_output:
            output = workspace.FetchBlob(blob)
            assert output.size and np.isfinite(output).all()
