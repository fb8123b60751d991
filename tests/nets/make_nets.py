"""Writes the nets of this folder: PyTorch modules, exported to ONNX and converted to Caffe2.

    pip install -r requirements.txt
    python make_nets.py                 # all of them
    python make_nets.py bert gpt2       # some
    python make_nets.py --list

A net is NAME.pb, NAME.init.pb with its parameters, and its feeds by blob: NAME.npz and, where it
takes other sizes, NAME.2.npz. Before it is written, it is read back and run by stock Caffe2, whose
outputs are those of the module.
"""

import argparse
import io
import os
import sys
import warnings
import zlib

os.environ["CAFFE2OP_MASK_OVERRIDE"] = "0"
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxoptimizer  # noqa: E402
import torch  # noqa: E402
from caffe2.proto import caffe2_pb2  # noqa: E402
from caffe2.python import workspace  # noqa: E402
from caffe2.python.onnx.backend import Caffe2Backend  # noqa: E402
from torch.onnx import symbolic_helper, symbolic_opset9  # noqa: E402

from models import by_hand, hugging_face, others, torch_nn  # noqa: E402, F401  fill the table
from models.table import INPUTS, NETS  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
OPSET = 9  # the last that Caffe2 takes


def seeded_module(name):
    """The module in test mode, with parameters that make masks, scales and biases matter."""
    torch.manual_seed(zlib.crc32(name.encode()))
    module = NETS[name].make().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
            parameter.mul_(16).round_().div_(16)  # files compress
    return module


def cast_around(symbolic, ours, theirs):
    """The symbolic function for tensors of a type that Caffe2's operator does not take."""

    types = symbolic_helper.cast_pytorch_to_onnx

    def is_ours(value):
        return symbolic_helper._is_tensor(value) and value.type().scalarType() == ours

    def cast(g, *args):
        if not is_ours(args[0]):
            return symbolic(g, *args)
        args = [g.op("Cast", a, to_i=types[theirs]) if is_ours(a) else a for a in args]
        return g.op("Cast", symbolic(g, *args), to_i=types[ours])

    return cast


def dynamic_slice(*args):
    """Slice by bounds that are computed, which Caffe2 has; every mode of the exporter writes it."""
    mode = symbolic_helper._operator_export_type
    symbolic_helper._set_operator_export_type(torch.onnx.OperatorExportTypes.ONNX_ATEN_FALLBACK)
    try:
        return symbolic_opset9.slice(*args)
    finally:
        symbolic_helper._set_operator_export_type(mode)


SYMBOLICS = {
    "expand": cast_around(symbolic_opset9.expand, "Bool", "Int"),
    "expand_as": cast_around(symbolic_opset9.expand_as, "Bool", "Int"),
    "abs": cast_around(symbolic_opset9.abs, "Long", "Float"),
    "min": cast_around(symbolic_opset9.min, "Long", "Float"),
    "slice": dynamic_slice,
}


def export(net, module, feeds):
    """The ONNX model. Axes whose sizes differ between the feeds are dynamic."""
    first, last = feeds[0], feeds[-1]
    dynamic = {
        name: {
            axis: "{}_{}".format(name, axis)
            for axis, sizes in enumerate(zip(first[name].shape, last[name].shape))
            if sizes[0] != sizes[1]
        }
        for name in first
    }
    types = torch.onnx.OperatorExportTypes
    for name, symbolic in SYMBOLICS.items():
        torch.onnx.register_custom_op_symbolic("::" + name, symbolic, OPSET)
    file = io.BytesIO()
    torch.onnx.export(
        module,
        tuple(first.values()),
        file,
        input_names=list(first),
        keep_initializers_as_inputs=True,  # else Caffe2 does not know them
        dynamic_axes=dynamic,
        opset_version=OPSET,
        do_constant_folding=net.fold,
        enable_onnx_checker=False,  # which knows neither ATen nor DynamicSlice
        operator_export_type=types.ONNX_ATEN_FALLBACK if net.aten else types.ONNX,
    )
    return onnx.load_from_string(file.getvalue())


def convert(model, split):
    """The net and its init net, which computes what needs no input, or parameters alone."""
    onnx.__dict__.pop("optimizer", None)
    if split:
        onnx.optimizer = onnxoptimizer  # as it was a part of onnx up to 1.8
    init, net = Caffe2Backend.onnx_graph_to_caffe2_net(model)
    if not split:  # then the whole net stands behind the parameters
        del init.op[len(model.graph.initializer) :], init.external_output[:]
    for op in net.op:
        if op.type == "Pow":  # which does not broadcast as ONNX has it unless asked to
            op.arg.add(name="broadcast", i=1)
    for names in init.external_output, net.external_input:  # of which the optimizer makes sets
        names[:] = sorted(names)
    return net, init


def check(net, init, feeds, wanted):
    """Fails where stock Caffe2 does not compute what is wanted from each of the feeds."""
    for feed, outputs in zip(feeds, wanted):
        workspace.ResetWorkspace()
        assert workspace.RunNetOnce(init)
        for blob, tensor in feed.items():
            workspace.FeedBlob(blob, tensor.numpy())
        assert workspace.RunNetOnce(net)
        for blob, output in zip(net.external_output, outputs):
            got = workspace.FetchBlob(blob)
            assert np.isfinite(got).all(), blob
            np.testing.assert_allclose(got, output.numpy(), rtol=1e-5, atol=1e-5, err_msg=blob)


def make(name, folder):
    """Writes one net; returns its size in bytes."""
    net = NETS[name]
    module = seeded_module(name)
    feeds = [{blob: INPUTS[blob](*size) for blob in net.inputs} for size in net.sizes]
    with torch.no_grad():
        wanted = [module(*feed.values()) for feed in feeds]
    wanted = [output if isinstance(output, tuple) else (output,) for output in wanted]
    files = {
        ending: part.SerializeToString()
        for ending, part in zip((".pb", ".init.pb"), convert(export(net, module, feeds), net.split))
    }
    check(*(caffe2_pb2.NetDef.FromString(file) for file in files.values()), feeds, wanted)

    for number, feed in enumerate(feeds, 1):
        file = io.BytesIO()
        np.savez_compressed(file, **{blob: tensor.numpy() for blob, tensor in feed.items()})
        files[".npz" if number == 1 else ".{}.npz".format(number)] = file.getvalue()
    for ending, file in files.items():
        with open(os.path.join(folder, name + ending), "wb") as out:
            out.write(file)
    return sum(map(len, files.values()))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which nets; all of them if none")
    parser.add_argument("--out", default=HERE, metavar="FOLDER", help="where to; here if not given")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    args = parser.parse_args()
    unknown = set(args.names) - set(NETS)
    if unknown:
        parser.error("no net is called " + ", ".join(sorted(unknown)))
    if args.list:
        print("\n".join(NETS))
        return 0
    failed = 0
    for name in args.names or NETS:
        try:
            print("{}: {} bytes".format(name, make(name, args.out)))
        except Exception as error:  # the others are made all the same
            failed += 1
            print("{}: {!r}".format(name, error)[:2000], file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
