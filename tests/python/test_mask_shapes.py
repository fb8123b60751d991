"""Every mask shape that the library has, in every place that must know it.

The shapes are those of the table in SequenceMask's documentation, and the order of their inputs is
that of an operator's error: a shape that is new to the library fails here wherever it is left out,
and the failure names the file that lacks it. The recipe is "How to add a mask shape" in
docs/architecture.md.
"""

import inspect
import itertools
import os
import re
import sys

import numpy as np
import pytest
from caffe2.python import brew, core, workspace

from caffe2op_mask import fuse, layers, mask_shapes
from caffe2op_mask.__main__ import main
from caffe2op_mask.commands import show
from oracles import masking
from testers import ROOT
from testers.arrays import wave
from testers.attention import check_both, make_case
from testers.layers import new_model
from testers.operators import Case, assert_refused, assert_same, gradients, run, run_case
from testers.threads import one_thread  # noqa: F401  a fixture

sys.path.insert(0, os.path.join(ROOT, "tools"))

from pages import masks  # noqa: E402  behind the path to it

OPERATORS = ("SequenceMask", "MaskedSoftmax", "MaskedAttention")
LAYERS = ("masked_softmax", "masked_attention", "multi_head_attention")
OF_STOCK = {"sequence", "window", "upper", "lower", "upperdiag", "lowerdiag"}
ROWS, COLUMNS = 4, 5


def page(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as lines:
        return lines.read()


def mode_table():
    """Mode, where it keeps and what it reads, of each row."""
    doc = workspace.C.OpSchema.get("SequenceMask").doc
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.*?) ?\|$", doc, re.MULTILINE)
    return [row for row in rows if row[0] not in ("mode", "---")]


SHAPES = {mode: name for mode, _, name in mode_table() if mode != "mask"}
ALL = "+".join(SHAPES)


def inputs_in_order():
    """What shapes read, as an operator with all of them names its inputs."""
    workspace.FeedBlob("x", np.ones((ROWS, COLUMNS), "f"))
    op = core.CreateOperator("MaskedSoftmax", ["x"], ["y"], mode=ALL)
    try:
        workspace.RunOperatorOnce(op)
    except RuntimeError as error:
        return re.search(r"inputs \(X, (.*?)\)", str(error)).group(1).split(", ")
    raise AssertionError("MaskedSoftmax takes {} without their inputs".format(ALL))


INPUTS = inputs_in_order()
READERS = sorted((mode, name) for mode, name in SHAPES.items() if name)


def entries(rows):
    """An entry for each row, around the columns; of all inputs together a row keeps something."""
    return {name: np.arange(rows, dtype="i") % COLUMNS + i % 2 for i, name in enumerate(INPUTS)}


def first_inputs(op_type):
    """The inputs that are always there, of scores [2, 1, ROWS, COLUMNS]."""
    if op_type == "MaskedAttention":
        sizes = ((ROWS, 3), (COLUMNS, 3), (COLUMNS, 2))
        return [wave((2, 1) + size, 0.7 + 0.2 * i) for i, size in enumerate(sizes)]
    return [wave((2, 1, ROWS, COLUMNS))]


def case_of(op_type, mode, rows=2 * ROWS, **options):
    """A case of an operator with the inputs that a mode reads."""
    read = {n: e for n, e in entries(rows).items() if n in map(SHAPES.get, mode.split("+"))}
    if op_type != "SequenceMask":
        args = {"mode": mode, "radius": 1, "diagonal": 1}
        return make_case(first_inputs(op_type), args, outputs=2, **dict(read, **options))
    (x,) = first_inputs(op_type)
    inputs = [x.astype("f")] + [read[name] for name in INPUTS if name in read]
    return Case(inputs, {"mode": mode, "axis": 3, "batch": 1, "radius": 1, "fill_val": 0.0})


def check_sequence_mask(mode):
    """Outputs and gradients, to the bit."""
    case = case_of("SequenceMask", mode, ROWS)
    expected = masking.sequence_mask(*case.inputs, **case.args)[0]
    assert_same(run_case("SequenceMask", case)[0], expected)
    d_output = wave(case.inputs[0].shape, 0.3).astype("f")
    expected = masking.sequence_mask(d_output, *case.inputs[1:], grad=1, **case.args)[0]
    assert_same(gradients("SequenceMask", case, [d_output])[0], expected)


def test_the_table_and_the_order_have_the_same_inputs():
    assert sorted(INPUTS) == sorted(name for _, name in READERS)
    assert len(SHAPES) >= 7 and SHAPES["sequence"] == "lengths" and SHAPES["upper"] == ""


def test_the_oracle_has_every_shape():
    assert sorted(masking.MASKED) == sorted(SHAPES), "MASKED of tests/python/oracles/masking.py"
    where = "ROW_INPUTS of tests/python/oracles/masking.py"
    assert [name for _, name in masking.ROW_INPUTS] == INPUTS, where
    assert sorted(masking.ROW_INPUTS) == READERS, where


def test_the_package_has_every_shape():
    """layers, show and fuse go by its table."""
    where = "python/caffe2op_mask/mask_shapes.py"
    assert sorted(mask_shapes.SHAPES) == sorted(SHAPES), "SHAPES of " + where
    assert list(mask_shapes.INPUTS) == INPUTS, "READS of " + where
    assert sorted((mode, name) for name, mode in mask_shapes.READS) == READERS, "READS of " + where


@pytest.mark.parametrize("mode, kept, name", mode_table(), ids=lambda text: text)
@pytest.mark.parametrize("diagonal", [-1, 0, 2])
def test_mode_table(mode, kept, name, diagonal):
    """The condition in the table, read as Python, is true just where the output is not filled."""
    condition = kept.replace(" (causal)", "")
    rows, columns, radius = ROWS, COLUMNS, 1
    read = {one: np.array([-1, 0, 3, 7], "int32") for one in INPUTS}
    read["mask"] = np.arange(rows * columns).reshape(rows, columns) % 3 == 0
    inputs = [np.ones((rows, columns), "float32")] + ([read[name]] if name else [])
    output = run(
        "SequenceMask", *inputs, mode=mode, radius=radius, diagonal=diagonal, fill_val=0.0
    )
    for i, j in itertools.product(range(rows), range(columns)):
        names = dict(read, i=i, j=j, radius=radius, diagonal=diagonal)
        names["mask"] = bool(read["mask"][i, j])
        assert (output[i, j] == 1) == eval(condition, names), (i, j)


@pytest.mark.parametrize("op_type", OPERATORS)
@pytest.mark.parametrize("mode", list(SHAPES) + [ALL])
def test_operators_and_gradients(op_type, mode):
    """Each shape by itself, and all of them with all inputs that an operator can have."""
    if op_type == "SequenceMask":
        return check_sequence_mask(mode)
    others = {}
    if mode == ALL:
        others = {"mask": np.arange(COLUMNS) != 3, "bias": wave((ROWS, COLUMNS), 0.4)}
        others.update({"sinks": np.array([0.5])} if op_type == "MaskedAttention" else {})
    check_both(op_type, case_of(op_type, mode, **others))


@pytest.mark.parametrize("op_type", OPERATORS)
@pytest.mark.parametrize("mode, name", READERS)
def test_what_is_refused(op_type, mode, name):
    case = case_of(op_type, mode, ROWS if op_type == "SequenceMask" else 2 * ROWS)
    sentence = "takes .*, {}\\), but".format(name)
    assert_refused(op_type, case._replace(inputs=case.inputs[:-1]), sentence)
    floats = case.inputs[:-1] + [case.inputs[-1].astype("f")]
    sentence = name + " must be of type int32 or int64, but is float32"
    assert_refused(op_type, case._replace(inputs=floats), sentence)
    fewer = case.inputs[:-1] + [case.inputs[-1][1:]]
    assert_refused(op_type, case._replace(inputs=fewer), name + " must have .* but is of shape")


@pytest.mark.parametrize(
    "op_type", OPERATORS + ("MaskedSoftmaxGradient", "MaskedAttentionGradient")
)
def test_schemas_name_every_input(op_type):
    """Inputs in the operator's order, and room for them; the errors of what a user writes."""
    schema = workspace.C.OpSchema.get(op_type)
    names = [name for name, _ in schema.input_desc]
    where = "the schema of {} in operators/: ".format(op_type)
    assert [name for name in names if name in INPUTS] == INPUTS, where + "Input"
    # SequenceMask has a mask, which is its mode, in the place of lengths.
    assert schema.max_input == len(names), where + "NumInputs"
    if op_type in OPERATORS:
        errors = re.search(r"^Errors: (.*?)\n\n", schema.doc, re.M | re.S).group(1)
        assert set(INPUTS) <= set(re.findall(r"\w+", errors)), where + "Errors"


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("mode, name", READERS)
def test_layers_take_every_input(layer, mode, name):
    parameters = inspect.signature(getattr(layers, layer)).parameters
    assert name in parameters, "{} in python/caffe2op_mask/layers/attention.py".format(layer)
    model = new_model()
    blobs = ["q", "k", "v"] if layer == "masked_attention" else "x"
    sizes = [4, 1] if layer == "multi_head_attention" else []
    getattr(brew, layer)(model, blobs, "y", *sizes, **{name: "read"})
    (op,) = [op for op in model.net.Proto().op if op.type.startswith("Masked")]
    assert "read" in op.input
    assert [arg.s.decode() for arg in op.arg if arg.name == "mode"] == [mode]


@pytest.mark.parametrize("mode", SHAPES)
def test_show_has_every_shape(mode, capsys):
    option = ["--{}=1,2".format(SHAPES[mode].replace("_", "-"))] if SHAPES[mode] else []
    main(["show", "--shape", "2,3,4", "--mode", mode] + option)
    assert "mode " + mode in capsys.readouterr().out


def test_show_has_every_argument():
    """Those of MaskedSoftmax that say what is kept."""
    others = {"axis", "empty_row", "has_bias", "has_mask", "log", "scale"}
    arguments = {argument.name for argument in workspace.C.OpSchema.get("MaskedSoftmax").args}
    where = "_ARGUMENTS of python/caffe2op_mask/commands/show.py"
    assert set(show._ARGUMENTS) == arguments - others, where


@pytest.mark.parametrize("mode", SHAPES)
def test_fuse_takes_every_shape(mode):
    net = core.Net("net")
    how = {"lengths_of": "batch"} if SHAPES[mode] else {"batch": -3}
    net.SequenceMask(["x"] + ["read"] * bool(SHAPES[mode]), "m", mode=mode, axis=-1, **how)
    net.Softmax("m", "y", axis=-1)
    net.Proto().external_output.append("y")
    report = fuse(net)
    assert [op.type for op in net.Proto().op] == ["MaskedSoftmax"], str(report)
    (op,) = net.Proto().op
    assert [arg.s.decode() for arg in op.arg if arg.name == "mode"] == [mode]


@pytest.mark.parametrize("mode", SHAPES)
def test_pages_have_every_shape(mode):
    modes = [found for mask in masks.MASKS for found in re.findall(r'mode="(.*?)"', mask.program)]
    assert any(mode in found.split("+") for found in modes), "a mask of tools/pages/masks.py"


@pytest.mark.parametrize("op_type", OPERATORS)
def test_the_table_of_operators_has_every_input(op_type):
    row = re.search(r"^\| \[{}\].*".format(op_type), page("README.md"), re.M).group()
    named = re.findall(r"\w+", row.split(" | ")[1])
    assert [name for name in named if name in INPUTS] == INPUTS, "{} in README.md".format(op_type)


@pytest.mark.parametrize("mode", sorted(set(SHAPES) - OF_STOCK))
def test_migration_has_every_shape_that_stock_lacks(mode):
    modes = re.findall(r'mode="(.*?)"', page("docs/migration.md"))
    assert mode in modes, 'mode="{}" in docs/migration.md'.format(mode)
