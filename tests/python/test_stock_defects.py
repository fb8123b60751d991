"""What docs/migration.md says of stock Caffe2: each line run by stock and by this library.

Stock operators are asked for by engine DEFAULT, this library's by engine MASK. A read past the end
is shown without one that could hurt: the blob that is too short was longer before, so that what
stands behind its end is memory of its own, with values that the test put there.
"""

import re
import signal

from testers import fresh_process
import numpy as np
import pytest
from caffe2.python import core, workspace

import caffe2op_mask  # noqa: F401 (loads the operators)

STOCK = "DEFAULT"
OURS = "MASK"


def run(engine, op_type, inputs, **arguments):
    """The operator's first output. An input is an array, or the name of a blob that is there."""
    names = []
    for i, value in enumerate(inputs):
        names.append(value if isinstance(value, str) else "input_{}".format(i))
        if not isinstance(value, str):
            workspace.FeedBlob(names[i], np.array(value))
    op = core.CreateOperator(op_type, names, ["output"], engine=engine, **arguments)
    workspace.RunOperatorOnce(op)
    return workspace.FetchBlob("output")


def refuses(engine, message, op_type, inputs, **arguments):
    with pytest.raises(RuntimeError, match=message):
        run(engine, op_type, inputs, **arguments)


def shrunk(op_type, values, behind):
    """A blob that holds `values`, with `behind` in the memory after its end."""
    for content in (values + behind, values):
        op = core.CreateOperator(op_type, [], ["shrunk"], shape=[len(content)], values=content)
        workspace.RunOperatorOnce(op)
    assert workspace.FetchBlob("shrunk").tolist() == values
    return "shrunk"


HEAD = "import numpy as np\nfrom caffe2.python import core, workspace\n"


def floats(*values):
    return np.array(values, dtype=np.float32)


def test_gradient_of_rows():
    inputs = [[True, False, True], floats([1, 2], [3, 4])]
    assert run(STOCK, "BooleanMaskGradient", inputs).tolist() == [1, 0, 2]
    expected = [[1, 2], [0, 0], [3, 4]]
    assert run(OURS, "BooleanMaskGradient", inputs).tolist() == expected


def test_gradient_with_a_wrong_number_of_rows():
    inputs = [[True, False, False], floats(1, 2)]
    assert run(STOCK, "BooleanMaskGradient", inputs).tolist() == [1, 0, 0]
    refuses(OURS, "each of the 1 True of mask", "BooleanMaskGradient", inputs)


def test_gradient_of_boolean_unmask():
    code = """
op = core.CreateOperator("BooleanUnmask", ["mask", "values"], ["data"])
print(core.GradientRegistry.GetGradientForOp(op, ["data_grad"])[1])
"""
    assert fresh_process.output(HEAD + code) == "[None, None]\n"
    ours = fresh_process.output("import caffe2op_mask\n" + HEAD + code)
    assert ours == "[None, 'values_grad']\n"


def test_values_of_different_types():
    inputs = [[True, False], floats(1), [False, True], np.array([1], dtype=np.int32)]
    one = np.array([1], dtype=np.int32).view(np.float32)[0]
    assert one != 1
    assert run(STOCK, "BooleanUnmask", inputs).tolist() == [1, one]
    refuses(OURS, "one type, .* float32 and values_2 of type int32", "BooleanUnmask", inputs)


def test_rank():
    mask = [[True, False], [True, True]]
    refuses(STOCK, "2 vs 1", "BooleanMask", [floats([1, 2], [3, 4]), mask])
    assert run(OURS, "BooleanMask", [floats([1, 2], [3, 4]), mask]).tolist() == [1, 3, 4]
    refuses(STOCK, "2 vs 1", "BooleanUnmask", [mask, floats(1, 3, 4)], fill_val=0.0)
    unmasked = run(OURS, "BooleanUnmask", [mask, floats(1, 3, 4)], fill_val=0.0)
    assert unmasked.tolist() == [[1, 0], [3, 4]]
    rows = [[True, True], floats([1, 2], [3, 4])]
    refuses(STOCK, "2 vs 1", "BooleanUnmask", rows)
    assert run(OURS, "BooleanUnmask", rows).tolist() == [[1, 2], [3, 4]]
    refuses(STOCK, "mask.dim", "BooleanMaskLengths", [np.array([0, 0], dtype=np.int32), mask])
    counts = run(OURS, "BooleanMaskLengths", [np.array([0, 0], dtype=np.int32), mask])
    assert counts.tolist() == [1, 2]


def test_sums_of_lengths():
    # 3 - 2^32 is 3 in 32 bits. No length here takes stock out of the mask ...
    inputs = [np.array([-(2 ** 32), 3], dtype=np.int64), [True, False, True]]
    assert run(STOCK, "BooleanMaskLengths", inputs).tolist() == [0, 2]
    refuses(OURS, "must not be negative", "BooleanMaskLengths", inputs)
    # ... and these do: 2^32 + 3 entries of a mask that has 3.
    code = """
import resource
import caffe2op_mask
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
lengths = np.array([2 ** 31 - 1, 2 ** 31 - 1, 5], dtype=np.int32)
workspace.FeedBlob("lengths", lengths)
workspace.FeedBlob("mask", np.array([True, False, True]))
op = core.CreateOperator(
    "BooleanMaskLengths", ["lengths", "mask"], ["masked_lengths"], engine="{}")
try:
    workspace.RunOperatorOnce(op)
except RuntimeError as error:
    print(error)
"""
    assert fresh_process.run(HEAD + code.format(STOCK)).code == -signal.SIGSEGV
    ours = fresh_process.output(HEAD + code.format(OURS))
    assert "add up to the 3 entries of mask, but add up to 4294967299" in ours


def test_negative_lengths():
    lengths = np.array([-1, 4], dtype=np.int32)
    for behind, count in ((True, 4), (False, 3)):
        mask = shrunk("GivenTensorBoolFill", [True] * 3, [behind])
        assert run(STOCK, "BooleanMaskLengths", [lengths, mask]).tolist() == [0, count]
        refuses(OURS, r"lengths\[0\] is -1", "BooleanMaskLengths", [lengths, mask])


def test_centers_that_are_too_few():
    data = np.ones((2, 3), dtype=np.float32)
    arguments = {"mode": "window", "radius": 0, "fill_val": 0.0}
    for behind, row in ((1, [0, 1, 0]), (2, [0, 0, 1])):
        centers = shrunk("GivenTensorIntFill", [0], [behind])
        stock = run(STOCK, "SequenceMask", [data, centers], **arguments)
        assert stock.tolist() == [[1, 0, 0], row]
        refuses(OURS, "centers must have one entry", "SequenceMask", [data, centers], **arguments)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "float64"])
def test_types_of_data(dtype):
    inputs = [np.ones((2, 2), dtype=dtype), np.array([1, 2], dtype=np.int32)]
    refuses(STOCK, "Unsupported type", "SequenceMask", inputs, mode="sequence", fill_val=0.0)
    output = run(OURS, "SequenceMask", inputs, mode="sequence", fill_val=0.0)
    assert output.dtype == dtype and output.tolist() == [[1, 0], [1, 1]]


def test_type_of_lengths():
    inputs = [np.ones((2, 2), dtype=np.float32), np.array([1, 2], dtype=np.int64)]
    refuses(STOCK, "type mismatch", "SequenceMask", inputs, mode="sequence", fill_val=0.0)
    output = run(OURS, "SequenceMask", inputs, mode="sequence", fill_val=0.0)
    assert output.tolist() == [[1, 0], [1, 1]]


def test_integer_fill():
    inputs = [np.ones((2, 2), dtype=np.float32), np.array([1, 2], dtype=np.int32)]
    refuses(STOCK, "expected field f", "SequenceMask", inputs, mode="sequence", fill_val=7)
    output = run(OURS, "SequenceMask", inputs, mode="sequence", fill_val=7)
    assert output.tolist() == [[1, 7], [1, 1]]


def test_repeat_from_axis():
    data = np.ones((1, 2, 2, 2), dtype=np.float32)
    expected = [[[[1, 1], [0, 0]], [[1, 1], [1, 1]]]]
    triangle = {"mode": "upper", "axis": 2, "repeat_from_axis": 3, "fill_val": 0.0}
    refuses(STOCK, "only supported in sequence mode", "SequenceMask", [data], **triangle)
    assert run(OURS, "SequenceMask", [data], **triangle).tolist() == expected
    batch = dict(triangle, mode="sequence", batch=0)
    inputs = [data, np.array([1, 2], dtype=np.int32)]
    refuses(STOCK, "not currently supported together", "SequenceMask", inputs, **batch)
    assert run(OURS, "SequenceMask", inputs, **batch).tolist() == expected


def test_repeat_from_axis_before_axis():
    """Stock divides by what is repeated: it then has no column to mask, and writes nothing."""
    lengths = np.array([0, 1], dtype=np.int32)
    arguments = {"mode": "sequence", "axis": 2, "repeat_from_axis": 1, "fill_val": 0.0}
    inputs = [np.ones((1, 2, 2), dtype=np.float32), lengths]
    for unwritten in (7, 8):
        workspace.FeedBlob("output", np.full((1, 2, 2), unwritten, dtype=np.float32))
        stock = run(STOCK, "SequenceMask", inputs, **arguments)
        assert stock.tolist() == np.full((1, 2, 2), unwritten).tolist()
    refuses(OURS, "must not come before axis", "SequenceMask", inputs, **arguments)
    # Dims of 1 divide by nothing.
    inputs = [np.ones((2, 1, 2), dtype=np.float32), lengths]
    for engine in (STOCK, OURS):
        output = run(engine, "SequenceMask", inputs, **arguments)
        assert output.tolist() == [[[0, 0]], [[1, 1]]]


def test_repeat_from_axis_of_nothing():
    code = """
import resource
import caffe2op_mask
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
workspace.FeedBlob("data", np.zeros((3, 0), dtype=np.float32))
workspace.FeedBlob("lengths", np.array([1, 2, 3], dtype=np.int32))
op = core.CreateOperator(
    "SequenceMask", ["data", "lengths"], ["output"], mode="sequence", repeat_from_axis=1,
    engine="{}")
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("output").shape)
"""
    assert fresh_process.run(HEAD + code.format(STOCK)).code == -signal.SIGFPE
    assert fresh_process.output(HEAD + code.format(OURS)) == "(3, 0)\n"


def test_documentation_of_the_triangles():
    code = """
import caffe2.python._import_c_extension as runtime
print(runtime.OpSchema.get("SequenceMask").doc)
"""
    assert "mode='upper', x_ij = -inf if j < i" in fresh_process.output(HEAD + code)
    ours = fresh_process.output("import caffe2op_mask\n" + HEAD + code)
    assert "| upper | j <= i + diagonal" in ours
    data = np.ones((2, 2), dtype=np.float32)
    for engine in (STOCK, OURS):
        output = run(engine, "SequenceMask", [data], mode="upper", fill_val=0.0)
        assert output.tolist() == [[1, 0], [1, 1]]


def test_what_stock_took():
    data = np.ones((2, 2), dtype=np.float32)
    for mode, name in (("sequence", "lengths"), ("window", "centers")):
        inputs = [data, np.array([1, 1, 1], dtype=np.int32)]
        arguments = {"mode": mode, "radius": 5, "fill_val": 0.0}
        run(STOCK, "SequenceMask", inputs, **arguments)
        refuses(OURS, name + " must have one entry", "SequenceMask", inputs, **arguments)
    inputs = [data, np.array([0, 1], dtype=np.int32)]
    negative = {"mode": "window", "radius": -1, "fill_val": 0.0}
    assert run(STOCK, "SequenceMask", inputs, **negative).tolist() == [[0, 0], [0, 0]]
    refuses(OURS, "radius must not be negative", "SequenceMask", inputs, **negative)


def test_as_many_values_as_positions():
    inputs = [[True, False], floats(1, 2), [True, True], floats(3)]
    refuses(STOCK, "does not match the corresponding value size", "BooleanUnmask", inputs)
    assert run(OURS, "BooleanUnmask", inputs).tolist() == [1, 3]
    refuses(OURS, "one row for each of the 1", "BooleanUnmask", inputs, layout="compact")


def test_record_without_a_gradient():
    # Caffe2 carries records of its tests: what they made, gradients included.
    code = """
import os
import sys
import caffe2.python.operator_test
import pytest
{}
folder = os.path.dirname(caffe2.python.operator_test.__file__)
sys.exit(pytest.main(
    ["-q", "-p", "no:cacheprovider", "--rootdir", folder, folder + "/boolean_unmask_test.py"]))
"""
    environment = {"CAFFE2_HYPOTHESIS_PROFILE": "sandcastle"}
    stock = fresh_process.run(code.format(""), **environment)
    assert stock.code == 0 and "1 passed" in stock.out
    ours = fresh_process.run(code.format("import caffe2op_mask"), **environment)
    assert ours.code == 1 and "1 failed" in ours.out
    assert re.search("No such file or directory: .*grad_0.pb", ours.out)


def test_outputs_of_one_name():
    # Stock goes on writing to the memory of the first: the process may die of it.
    code = """
workspace.FeedBlob("data", np.array([1, 3, 5], dtype=np.float32))
workspace.FeedBlob("mask", np.array([True, False, True]))
op = core.CreateOperator("BooleanMask", ["data", "mask"], ["kept", "kept"])
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("kept").tolist(), flush=True)
"""
    stock = fresh_process.run(HEAD + code)
    assert stock.code < 0 or stock.out == "[0, 2]\n"
    ours = fresh_process.run("import caffe2op_mask\n" + HEAD + code)
    assert ours.code == 1
    assert "outputs must be different blobs, but 0 and 1 are both 'kept'" in ours.err
