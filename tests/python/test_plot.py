"""caffe2op_mask.plot: what pictures show, and what the table tells of arrays and operators."""

import io

from oracles import masking
from oracles.attending import attention_kept, kept, read_extras
from testers import fresh_process
from testers.arrays import mask_options
from testers.attention import make_case, make_jagged
from testers.operators import create
import hypothesis.strategies as st
import matplotlib
import numpy as np
import pytest
import torch
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace
from hypothesis import given

from caffe2op_mask import blobs, plot
from caffe2op_mask.commands import nets


def random_mask(*shape):
    return np.random.RandomState(5).rand(*shape) < 0.5


def counted(keep):
    """Share hidden and rows with nothing left, entry by entry."""
    rows = keep.reshape(-1, keep.shape[-1]).tolist()
    hidden = sum(not entry for row in rows for entry in row)
    return hidden / keep.size, sum(not any(row) for row in rows)


def assert_counted(hidden, keep):
    share, empty_rows = counted(keep)
    assert hidden.share == pytest.approx(share, abs=1e-12)
    assert hidden.empty_rows == empty_rows
    assert hidden.rows == keep.size // keep.shape[-1]
    assert hidden.shape == keep.shape


def ask(op_type, case):
    """The Hidden of an operator on a case; nothing else is left in the workspace."""
    op = create(op_type, case)
    for name, array in zip(op.input, case.inputs):
        workspace.FeedBlob(name, np.asarray(array))
    before = set(workspace.Blobs())
    hidden = plot.of_operator(op)
    assert set(workspace.Blobs()) == before
    assert hidden.name == "{} -> 'output_0'".format(op_type)
    return hidden


def without_bias(keep, extras):
    """What is kept of `keep` by a bias too, which hides where it is -inf."""
    return keep if extras.bias is None else keep & ~np.isneginf(extras.bias)


# Arrays.


@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 4)])
def test_hidden_of_a_mask(shape):
    keep = random_mask(*shape)
    keep[0] = False
    assert_counted(plot.of_mask("m", keep), keep)
    assert_counted(plot.of_mask("m", keep.astype(np.int32)), keep)


def test_hidden_with_columns_of_more_dims():
    keep = np.zeros((2, 3, 4), bool)
    keep[1, 2, 3] = True
    hidden = plot.of_mask("m", keep, axis=1)
    assert (hidden.rows, hidden.empty_rows, hidden.shape) == (2, 1, (2, 3, 4))
    assert hidden.share == pytest.approx(23 / 24)


def test_hidden_of_no_entries():
    assert plot.of_mask("m", np.ones((3, 0))) == ("m", (3, 0), None, 3, 3)
    with pytest.raises(ValueError, match="must have at least 1 dim, but 'm' has none"):
        plot.of_mask("m", True)


@pytest.mark.parametrize("axis", [5, 2, -3])
def test_hidden_by_an_axis_that_is_not_there(axis):
    message = r"^axis must be in \[-2, 2\) for a mask of 2 dims, but is {}.$".format(axis)
    with pytest.raises(ValueError, match=message):
        plot.of_mask("m", np.ones((3, 4)), axis=axis)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_nan_neither_keeps_nor_hides(dtype):
    keep = np.ones((2, 3), dtype)
    keep[1, 2] = np.nan
    for name, call in (
        ("m", lambda: plot.of_mask("m", keep)),
        ("mask", lambda: plot.mask(keep)),
        ("keep", lambda: plot.attention(np.ones((2, 3)), keep=keep)),
    ):
        with pytest.raises(ValueError) as raised:
            call()
        assert str(raised.value) == (
            "{} must have no NaN, which neither keeps nor hides, but has it at (1, 2).".format(name)
        )


def test_table():
    lower = np.tril(np.ones((4, 4), bool))
    assert plot.table(
        [("causal", lower), plot.of_mask("nothing", np.zeros((2, 1, 3))), ("-", np.ones((0, 2)))]
    ).splitlines() == [
        "mask     shape      hidden  rows wholly hidden",
        "causal   4 x 4      37.5%   0 of 4",
        "nothing  2 x 1 x 3  100.0%  2 of 2",
        "-        0 x 2      -       0 of 0",
    ]


# Operators.


def test_boolean_mask_hides():
    keep = random_mask(4, 5)
    for data in (np.ones((4, 5), "float32"), np.ones((4, 5, 2), "int8")):
        assert_counted(ask("BooleanMask", make_case([data, keep])), keep)


def test_boolean_mask_jagged_hides():
    keep = random_mask(6)
    case = make_case([np.ones((6, 2), "float32"), np.array([2, 4], "int32"), keep], outputs=2)
    assert_counted(ask("BooleanMaskJagged", case), keep)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
@pytest.mark.parametrize(
    "args, inputs",
    [
        ({"mode": "upper", "axis": 2, "batch": 0, "fill_val": 1}, ()),
        ({"mode": "lowerdiag", "axis": 2, "batch": 0, "diagonal": 1, "fill_val": 1}, ()),
        ({"mode": "window", "axis": 2, "radius": 1, "grad": 1}, (np.arange(12, dtype="int64"),)),
        ({"mode": "sequence", "axis": 2, "grad": 1}, (np.arange(2, dtype="int32"),)),
        ({"mode": "left_pad", "axis": 2, "grad": 1}, (np.array([5, 7], "int32"),)),
        ({"mode": "mask"}, (random_mask(2, 6),)),
    ],
)
def test_sequence_mask_hides(args, inputs, dtype):
    data = np.zeros((2, 6, 6), dtype)
    arguments = {name: value for name, value in args.items() if name not in ("fill_val", "grad")}
    (keep,) = masking.sequence_mask(np.ones((2, 6, 6), bool), *inputs, fill_val=0, **arguments)
    assert_counted(ask("SequenceMask", make_case((data,) + inputs, args)), keep)


def test_sequence_mask_hides_rows_of_more_dims():
    data = np.zeros((3, 2, 2), "float32")
    case = make_case([data, np.array([0, 1, 4], "int32")], {"mode": "sequence"})
    hidden = ask("SequenceMask", case)
    assert (hidden.rows, hidden.empty_rows) == (3, 1) and hidden.share == pytest.approx(7 / 12)


@given(st.data())
def test_masked_softmax_hides(data):
    shape = data.draw(st.sampled_from([(5,), (4, 5), (2, 3, 4)]))
    args, extras = data.draw(mask_options(shape))
    # What the scores are is no matter.
    scores = np.full(shape, np.nan, "float32")
    extras = {k: v.astype("float32") if k == "bias" else v for k, v in extras.items()}
    case = make_case([scores], args, **extras)
    read = read_extras(case.inputs[1:], case.args)
    keep = without_bias(kept(shape, read, **case.args), read)
    assert_counted(ask("MaskedSoftmax", case), np.broadcast_to(keep, shape))


@pytest.mark.parametrize("heads, kv_heads", [((2,), (1,)), ((), ())], ids=["heads", "no heads"])
@given(st.data(), st.sampled_from(["top_left", "bottom_right"]), st.sampled_from([1, 2]))
def test_masked_attention_hides(heads, kv_heads, data, align, outputs):
    shape = (2,) + heads + (3, 5)
    args, extras = data.draw(mask_options(shape, min_prefix=1))
    args = dict(args, align=align, softcap=2.0, scale=3.0)
    dims = (2,) + heads + (3, 4), (2,) + kv_heads + (5, 4), (2,) + kv_heads + (5, 1)
    q, k, v = (np.full(sizes, np.nan, "float16") for sizes in dims)
    extras = {name: x.astype("float16") if name == "bias" else x for name, x in extras.items()}
    case = make_case([q, k, v], args, outputs, **extras)
    read = read_extras(case.inputs[3:], case.args)
    keep = without_bias(attention_kept(q, k, case.inputs[3:], **case.args), read)
    assert_counted(ask("MaskedAttention", case), np.broadcast_to(keep, shape))


@pytest.mark.parametrize("sinks", [None, np.ones(2, "float16")], ids=["none", "sinks"])
def test_masked_attention_jagged_hides(sinks):
    """Keys of other sequences, those that are not there, and what a triangle masks."""
    q, k, v = (np.full(shape, np.nan, "float16") for shape in ((5, 2, 4), (7, 1, 4), (7, 1, 3)))
    lengths, keys, used = (np.array(one, "int32") for one in ([2, 3], [4, 3], [1, 3]))
    case = make_jagged([q, k, v], lengths, {"mode": "upper"}, keys, used, sinks, outputs=1)
    keep = np.zeros((5, 2, 7), bool)
    keep[:2, :, :1] = True
    keep[2:, :, 4:] = np.tril(np.ones((3, 3), bool))[:, None]
    assert_counted(ask("MaskedAttentionJagged", case), keep)


@pytest.mark.parametrize("empty_row", ["zero", "nan", "uniform"])
@pytest.mark.parametrize("op_type", ["MaskedSoftmax", "MaskedAttention"])
def test_rows_with_nothing_left_and_low_biases(op_type, empty_row):
    bias = np.array([[0, -1e30, -np.inf], [-np.inf] * 3], "float32")
    first = [np.ones((1, 1, 2, 3), "float32")]
    if op_type == "MaskedAttention":
        first += [np.ones((1, 1, 3, 3), "float32")] * 2
    hidden = ask(op_type, make_case(first, {"empty_row": empty_row}, bias=bias))
    assert (hidden.empty_rows, hidden.rows) == (1, 2) and hidden.share == pytest.approx(4 / 6)


@pytest.mark.skipif("Gate" not in workspace.RegisteredOperators(), reason="there is no Gate")
@pytest.mark.parametrize("outputs", [1, 2])
def test_gate_hides(outputs):
    z = np.random.RandomState(3).randn(6, 5).astype("float32")
    z[2] = -1
    case = make_case([np.zeros((6, 5), "float32"), z], {"kind": "hard"}, outputs)
    assert_counted(ask("Gate", case), z > 0)


def test_an_operator_that_masks_nothing():
    assert plot.of_operator(core.CreateOperator("Copy", ["x"], ["y"])) is None


@pytest.mark.parametrize(
    "op_type, inputs, outputs, said",
    [
        ("BooleanMask", ["x", "mask"], [], "BooleanMask of the net has 0 outputs, of which it"),
        ("BooleanMask", [], ["y"], "BooleanMask of the net has 0 inputs, of which it takes 2."),
        ("SequenceMask", [], ["y"], "SequenceMask of the net has 0 inputs, of which it takes 1 to"),
        ("MaskedSoftmax", [], ["y"], "MaskedSoftmax of the net has 0 inputs, of which it takes 1"),
        ("MaskedAttention", ["q", "k"], ["y"], "MaskedAttention of the net has 2 inputs, of which"),
        ("Gate", ["x"], ["y"], "Gate of the net has 1 inputs, of which it takes 2 to 3."),
    ],
)
def test_an_operator_that_could_not_run(op_type, inputs, outputs, said):
    op = caffe2_pb2.OperatorDef(type=op_type, input=inputs, output=outputs)
    with pytest.raises(ValueError) as raised:
        plot.of_operator(op)
    assert str(raised.value).startswith("of_operator: " + said)


def test_a_net_is_asked_as_it_runs():
    # The lengths change between the masks, and the second mask is in place.
    net = core.Net("net")
    net.SequenceMask(["x", "lengths"], ["y"], mode="sequence", engine="DEFAULT")
    net.Add(["lengths", "lengths"], ["lengths"])
    net.SequenceMask(["y", "lengths"], ["y"], mode="sequence")
    workspace.FeedBlob("x", np.zeros((2, 4), "float32"))
    workspace.FeedBlob("lengths", np.array([0, 2], "int32"))
    first, second = plot.of_net(net.Proto())
    assert (first.share, first.empty_rows) == (0.75, 1)
    assert (second.share, second.empty_rows) == (0.5, 1)
    assert workspace.FetchBlob("lengths").tolist() == [0, 4]
    assert sorted(workspace.Blobs()) == ["lengths", "x", "y"]


# Bits that bfloat16 has: 0, subnormal, 1 + 2^-7, the largest, infinities.
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.int64])
def test_fetch(dtype):
    values = [0.0, -2.0 ** -130, 1 + 2.0 ** -7, 3.3895e38, np.inf, -np.inf, np.nan]
    tensor = torch.tensor([0, 1, 2] if dtype == torch.int64 else values).to(dtype)
    workspace.FeedBlob("x", tensor)
    array = blobs.fetch("x")
    workspace.FeedBlob("x", torch.zeros_like(tensor))  # the array is a copy
    expected = tensor.float() if dtype == torch.bfloat16 else tensor
    assert array.dtype == expected.numpy().dtype
    np.testing.assert_array_equal(array, expected.numpy())


def test_fetch_of_what_no_array_holds():
    with pytest.raises(RuntimeError, match="Can't find blob"):
        blobs.fetch("absent")
    workspace.RunOperatorOnce(core.CreateOperator("CreateMutex", [], ["mutex"]))
    assert blobs.fetch("mutex") == workspace.FetchBlob("mutex")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_operators_on_blobs_of_any_real_type(dtype):
    """A net of all operators that mask reals, asked as it runs."""

    def feed(name, array):
        workspace.FeedBlob(name, torch.tensor(array).to(getattr(torch, dtype)))

    ones = np.ones((1, 1, 2, 4), np.float32)
    feed("x", ones)
    feed("bias", np.array([0, -np.inf, 0, -np.inf], np.float32))
    feed("logits", np.array([1, -1, -1, 1], np.float32))
    workspace.FeedBlob("keep", ones != 0)
    workspace.FeedBlob("lengths", np.array([1, 2], np.int32))
    net = core.Net("net")
    net.SequenceMask(["x", "lengths"], ["padded"], mode="sequence", axis=3, fill_val=0.0)
    net.BooleanMask(["x", "keep"], ["same"], keep_shape=1)
    net.MaskedSoftmax(["x", "bias"], ["weights"], has_bias=1)
    bias = net.Slice(["bias"], ["bias_2"], starts=[0], ends=[2])
    net.MaskedAttention(["x", "x", "x", bias], ["o", "lse"], has_bias=1)
    feed("sinks", np.array([0.5], np.float32))
    attended = ["x", "x", "x", "keep_2", bias, "sinks"]
    workspace.FeedBlob("keep_2", np.array([[True, False], [False, False]]))
    net.MaskedAttention(attended, ["o_2", "lse_2"], has_mask=1, has_bias=1, has_sinks=1)
    net.Gate(["x", "logits"], ["y", "g"], kind="hard")
    asked = list(plot.of_net(net.Proto()))
    names = ["SequenceMask", "BooleanMask", "MaskedSoftmax"] + ["MaskedAttention"] * 2 + ["Gate"]
    assert [hidden.name.split()[0] for hidden in asked] == names
    assert [hidden.share for hidden in asked] == [1 - 3 / 8, 0, 0.5, 0.5, 0.75, 0.5]
    assert [hidden.empty_rows for hidden in asked] == [0, 0, 0, 0, 1, 0]
    kind = np.dtype("float32" if dtype == "bfloat16" else dtype)
    assert nets.fetch("weights").dtype == kind
    assert nets.fetch("weights")[0, 0].tolist() == [[0.5, 0, 0.5, 0]] * 2


# Pictures.


def panels(figure):
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def colours_at_centres(figure, axes, shape):
    """Colour of the pixel in the middle of each cell, after the picture is drawn."""
    figure.savefig(io.BytesIO(), format="png", dpi=figure.dpi)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    cells = [(column, row) for row in range(shape[0]) for column in range(shape[1])]
    across, up = np.round(axes.transData.transform(cells)).astype(int).T
    return pixels[pixels.shape[0] - 1 - up, across, :3].reshape(shape + (3,))


def rgb(colour):
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def test_pixels_of_a_mask():
    keep = random_mask(6, 9)
    figure = plot.mask(keep)
    drawn = colours_at_centres(figure, panels(figure)[0], keep.shape)
    assert ((drawn == rgb(plot.KEPT)).all(axis=-1) == keep).all()
    # A pixel of the hatching may be lighter or darker than what it is drawn on; none is blue.
    hidden = drawn[~keep].astype(int)
    assert (abs(hidden - hidden.mean(axis=-1, keepdims=True)) < 10).all()


def test_pixels_of_an_attention():
    weights = np.array([[0.5, 0.5, 0.0], [0.05, 0.15, 0.8]])
    figure = plot.attention(weights)
    drawn = colours_at_centres(figure, panels(figure)[0], weights.shape).astype(int)
    red = drawn[..., 0]  # the more weight, the less of it
    assert red[0, 0] == red[0, 1]
    assert red[1, 0] > red[1, 1] > red[0, 0] > red[1, 2]
    assert np.ptp(drawn[0, 2]) <= 12 < np.ptp(drawn[1, 0])


@pytest.mark.parametrize("draw", [plot.gate, plot.attention])
def test_what_is_zero_is_hidden(draw):
    values = np.array([[0.0, 1.0, 0.25], [0.0, 0.0, 0.0]], "float16")
    image = panels(draw(values))[0].images[0].get_array()
    assert image.mask.tolist() == [[True, False, False], [True, True, True]]
    assert image.compressed().tolist() == [1.0, 0.25]


def test_attention_with_its_mask():
    weights = np.array([[[0.0, 1.0], [0.5, 0.5]], [[1.0, 0.0], [1.0, 0.0]]])
    figure = plot.attention(weights, keep=np.array([[True, True], [False, True]]))
    first, second = (axes.images[0].get_array() for axes in panels(figure))
    assert first.mask.tolist() == second.mask.tolist() == [[False, False], [True, False]]
    assert second.compressed().tolist() == [1.0, 0.0, 0.0]


def test_labels_and_titles():
    keep = np.array([[True, False, True], [False, False, False]])
    figure = plot.mask(keep, row_labels=["a", "b"], column_labels=[1, "$x$", "c"], title="my $1$")
    (axes,) = panels(figure)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", r"\$x\$", "c"]
    assert axes.get_title(loc="left") == "66.7% hidden"
    assert figure._suptitle.get_text().strip() == r"my \$1\$"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["hidden", "kept"]


def test_more_labels_than_there_is_room_for():
    figure = plot.mask(np.ones((2, 100)), column_labels=list(range(100)))
    (axes,) = panels(figure)
    shown = [int(label.get_text()) for label in axes.get_xticklabels()]
    assert 10 < len(shown) <= 48 and axes.get_xticks().tolist() == shown


def test_a_vector_is_a_row():
    figure = plot.mask([True, False, True])
    (axes,) = panels(figure)
    assert axes.images[0].get_array().mask.tolist() == [[False, True, False]]


@pytest.mark.skipif(
    tuple(int(part) for part in matplotlib.__version__.split(".")[:2]) < (3, 5),
    reason="older matplotlib lays figures out in another way",
)
def test_the_title_and_the_legend_have_room():
    figure = plot.mask([True], title="a title that is wider than its only panel, " * 3)
    figure.canvas.draw()
    title, legend = (
        part.get_window_extent(figure.canvas.get_renderer())
        for part in (figure._suptitle, figure.legends[0])
    )
    assert title.x1 < figure.bbox.x1
    # The last line of the title is left to the legend.
    assert legend.y1 < (title.y0 + title.y1) / 2 + 5
    (axes,) = panels(figure)
    assert legend.y0 > axes.get_tightbbox(figure.canvas.get_renderer()).y1 - 8


def test_panels():
    keep = random_mask(2, 3, 4, 5)
    figure = plot.mask(keep, panels=5, title="mine")
    titles = [axes.get_title(loc="left").split(":")[0] for axes in panels(figure)]
    assert titles == ["[0, 0]", "[0, 1]", "[0, 2]", "[1, 0]", "[1, 1]"]
    assert figure._suptitle.get_text().strip() == "mine (1 of 6 panels are not drawn)"
    for index, axes in zip(np.ndindex(2, 3), panels(figure)):
        assert (axes.images[0].get_array().mask == ~keep[index]).all()
    assert len(panels(plot.mask(np.ones((20, 2, 2))))) == plot.PANELS


@pytest.mark.parametrize(
    "draw, said",
    [
        (lambda: plot.mask(True), r"at least 1 dim and 1 entry, but its shape is \(\)"),
        (lambda: plot.gate(np.ones((0, 3))), r"of a gate .* but its shape is \(0, 3\)"),
        (lambda: plot.gate([[0, 2.0]]), r"numbers from 0 to 1, but at \(0, 1\) stands 2"),
        (lambda: plot.attention([0, np.nan]), r"attention must .* but at \(1,\) stands nan"),
        (lambda: plot.gate([-0.5]), "stands -0.5"),
        (
            lambda: plot.attention(np.ones((2, 2)), keep=np.ones(3, bool)),
            r"keep must broadcast to the attention, of shape \(2, 2\), but is of shape \(3,\)",
        ),
        (
            lambda: plot.mask(np.ones((2, 3)), row_labels="abc"),
            "row_labels must have one label for each of the 2 rows, but has 3",
        ),
        (
            lambda: plot.mask(np.ones((2, 3)), column_labels="ab"),
            "column_labels must have one label for each of the 3 columns, but has 2",
        ),
        (lambda: plot.mask([True], panels=0), "panels must be at least 1, but is 0"),
    ],
)
def test_what_cannot_be_drawn(draw, said):
    with pytest.raises(ValueError, match=said):
        draw()


def test_only_drawing_needs_matplotlib():
    source = """
        import sys
        sys.modules["matplotlib"] = None
        from caffe2op_mask import plot
        print(plot.table([("m", [True, False])]))
        try:
            plot.mask([True])
        except ImportError as error:
            print(error)
    """
    printed = fresh_process.output(source).splitlines()
    assert printed[1] == "m     2      50.0%   0 of 1"
    assert printed[2].startswith("Drawing needs matplotlib, but ")
