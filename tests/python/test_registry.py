"""What the library registers, in one table, held against the live registry."""

import json
from collections import namedtuple

import pytest
from caffe2.python import core, workspace

from testers import fresh_process

Entry = namedtuple("Entry", "inputs outputs gradient differentiable")
Entry.__new__.__defaults__ = (1,)

# Names of the runtime's, registered under engine MASK: fewest and most inputs, the same of
# outputs, the operator that their gradient is, and how many of the fewest inputs have one.
MANY = 2 ** 31 - 1
STOCK = {
    "BooleanMask": Entry((2, 2), (1, 2), "BooleanMaskGradient"),
    "BooleanMaskGradient": Entry((2, 2), (1, 1), None),
    "BooleanMaskLengths": Entry((2, 2), (1, 1), None),
    "BooleanUnmask": Entry((1, MANY), (1, 1), "BooleanUnmaskGradient"),
    "SequenceMask": Entry((1, 4), (1, 1), "SequenceMask"),
}
# Names of our own.
OWN = {
    "BernoulliMask": Entry((1, 1), (2, 2), "BernoulliMaskGradient"),
    "BernoulliMaskGradient": Entry((3, 3), (1, 1), None),
    "BooleanMaskJagged": Entry((3, 3), (2, 2), "BooleanMaskGradient"),
    "BooleanUnmaskGradient": Entry((3, MANY), (1, MANY), None),
    "Gate": Entry((2, 3), (1, 3), "GateGradient", 2),
    "GateGradient": Entry((3, 5), (2, 3), None),
    "Highway": Entry((3, 3), (1, 1), "HighwayGradient", 3),
    "HighwayGradient": Entry((4, 4), (3, 3), None),
    "MaskedAttention": Entry((3, 9), (1, 2), "MaskedAttentionGradient", 3),
    "MaskedAttentionGradient": Entry((4, 13), (3, 5), None),
    "MaskedAttentionJagged": Entry((4, 7), (1, 2), "MaskedAttentionJaggedGradient", 3),
    "MaskedAttentionJaggedGradient": Entry((5, 11), (3, 4), None),
    "MaskedSoftmax": Entry((1, 6), (1, 2), "MaskedSoftmaxGradient"),
    "MaskedSoftmaxGradient": Entry((2, 9), (1, 2), None),
    "MixtureGate": Entry((2, 3), (1, 2), "MixtureGateGradient", 2),
    "MixtureGateGradient": Entry((3, 5), (2, 2), None),
    "RandomMask": Entry((1, 2), (1, 1), None),
}
ALL = dict(STOCK, **OWN)


def test_loading_registers_the_table_and_nothing_else():
    source = """
        import json
        from caffe2.python import workspace
        before = set(workspace.RegisteredOperators())
        import caffe2op_mask
        print(json.dumps(sorted(set(workspace.RegisteredOperators()) - before)))
    """
    new = json.loads(fresh_process.output(source))
    assert new == sorted(list(OWN) + [name + "_ENGINE_MASK" for name in STOCK])


@pytest.mark.parametrize("name", sorted(ALL))
def test_schema(name):
    schema = workspace.C.OpSchema.get(name)
    entry = ALL[name]
    assert (schema.min_input, schema.max_input) == entry.inputs
    assert (schema.min_output, schema.max_output) == entry.outputs
    assert schema.doc
    assert schema.input_desc and all(text for _, text in schema.input_desc)
    assert schema.output_desc and all(text for _, text in schema.output_desc)
    assert all(argument.description for argument in schema.args)
    assert schema.file == "registry/register.cc"


@pytest.mark.parametrize("engine", ["", "MASK"])
@pytest.mark.parametrize("name", sorted(name for name in ALL if ALL[name].gradient))
def test_gradient_and_its_engine(name, engine):
    """A gradient operator is of the engine of the operator that it is the gradient of."""
    entry = ALL[name]
    inputs = ["input_{}".format(i) for i in range(min(max(2, entry.inputs[0]), entry.inputs[1]))]
    outputs = ["output_{}".format(i) for i in range(entry.outputs[1])]
    op = core.CreateOperator(name, inputs, outputs, engine=engine)
    d_outputs = [output + "_grad" for output in outputs]
    (grad_op,), grads = core.GradientRegistry.GetGradientForOp(op, d_outputs)
    assert grad_op.type == entry.gradient
    # A name of our own may have a gradient that stock has too, and then not mean that one.
    assert grad_op.engine == engine or (name in OWN and grad_op.engine == "MASK")
    assert grad_op.is_gradient_op
    assert [grad is not None for grad in grads].count(True) == entry.differentiable


@pytest.mark.parametrize("name", sorted(name for name in ALL if not ALL[name].gradient))
def test_no_gradient(name):
    op = core.CreateOperator(name, ["a", "b", "c"][: max(2, ALL[name].inputs[0])], ["output"])
    try:
        grad_ops, grads = core.GradientRegistry.GetGradientForOp(op, ["output_grad"])
    except Exception as error:
        assert "radient" in str(error)
    else:
        assert not grad_ops and not any(grads)


def test_gradient_makers_are_ours():
    """Stock passes lengths alone, and has no gradient of BooleanUnmask at all."""
    op = core.CreateOperator(
        "SequenceMask", ["data", "lengths", "centers"], ["output"], mode="sequence+window", grad=0
    )
    (grad_op,), _ = core.GradientRegistry.GetGradientForOp(op, ["output_grad"])
    assert list(grad_op.input) == ["output_grad", "lengths", "centers"]
    assert [argument.i for argument in grad_op.arg if argument.name == "grad"] == [1]
    op = core.CreateOperator("BooleanUnmask", ["m1", "v1", "m2", "v2"], ["data"], layout="dense")
    (grad_op,), grads = core.GradientRegistry.GetGradientForOp(op, ["data_grad"])
    assert list(grad_op.input) == ["m1", "v1", "m2", "v2", "data_grad"]
    assert grads == [None, "v1_grad", None, "v2_grad"]
    assert [argument.s for argument in grad_op.arg if argument.name == "layout"] == [b"dense"]


def test_empty_strings_of_protobuf_stay_empty():
    """The library links a protobuf of its own, and may not write over the runtime's defaults."""
    from caffe2.proto import caffe2_pb2

    test_gradient_makers_are_ours()
    op = core.CreateOperator("SequenceMask", ["data"], ["output"], mode="upper")
    (grad_op,), _ = core.GradientRegistry.GetGradientForOp(op, ["output_grad"])
    assert grad_op.name == "" and grad_op.engine == "" and grad_op.debug_info == ""
    # The runtime reads a definition that leaves everything out.
    with pytest.raises(RuntimeError, match="(?i)cannot create operator|not registered"):
        workspace.RunOperatorOnce(caffe2_pb2.OperatorDef())
