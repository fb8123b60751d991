"""python -m caffe2op_mask show."""

import os
import re
import sys

import numpy as np
import pytest

from caffe2op_mask import __main__ as command_line
from caffe2op_mask import plot
from caffe2op_mask.commands import show
from testers.commands import FED, error


def show_table(capsys, *arguments):
    assert command_line.main(["show"] + list(arguments)) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["mask", "shape", "hidden", "rows", "wholly", "hidden"]
    return [re.split(r"  +", row) for row in rows]


@pytest.mark.parametrize(
    "arguments, keep",
    [
        ("--mode upper", np.tril(np.ones((4, 4)))),
        ("--mode upper --diagonal -1", np.tril(np.ones((4, 4)), -1)),
        ("--window-left 1 --window-right 0", np.eye(4) + np.eye(4, k=-1)),
        ("--mode sequence --lengths 0,1,2,9", np.tril(np.ones((4, 4)), -1)),
        ("--mode window --centers 0,1,2,3 --radius 0", np.eye(4)),
        ("--mode window+lower --centers=-9,1,2,3 --radius 1", None),
        ("--mode left_pad --left-pad=-1,1,2,3", np.triu(np.ones((4, 4)))),
        (
            "--mode left_pad+upper --left-pad=0,0,2,3",
            np.tril(np.ones((4, 4))) - [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]],
        ),
        ("--mode sequence --lengths lengths.npy", np.tril(np.ones((4, 4)), -1)),
    ],
)
def test_show_by_arguments(arguments, keep, folder, capsys):
    np.save("lengths.npy", np.array([0, 1, 2, 9], "int32"))
    if arguments.endswith("9"):
        keep[3] = 1
    if "lengths.npy" in arguments:
        keep[3] = 1
    if keep is None:
        keep = np.triu(np.ones((4, 4))) * (np.eye(4) + np.eye(4, k=1))
        keep[0] = 0
    ((_, shape, hidden, rows),) = show_table(capsys, "--shape", "4,4", *arguments.split())
    assert shape == "4 x 4"
    assert hidden == "{:.1%}".format(1 - keep.sum() / 16)
    assert rows == "{} of 4".format(int((keep.sum(axis=1) == 0).sum()))


def test_show_lengths_of_a_batch(folder, capsys):
    arguments = "--shape 2,16,16 --mode sequence+upper --lengths 3,0 --window-left 1".split()
    ((name, shape, hidden, rows),) = show_table(capsys, *arguments)
    assert name == "mode sequence+upper window left 1" and shape == "2 x 16 x 16"
    # Rows 0 to 3 of the first matrix keep 1, 2, 2 and 1.
    assert hidden == "{:.1%}".format(1 - 6 / 512) and rows == "28 of 32"


@pytest.mark.parametrize(
    "array, kind, share",
    [
        (np.array([[True, False]]), "mask", "50.0%"),
        (np.array([[1, 0, 0, 0]]), "mask", "75.0%"),
        (np.array([[-np.inf, 3.0]], "float16"), "mask", "50.0%"),
        (np.array([[0.25, 0.75], [0, 0]]), "attention", "50.0%"),
        (np.array([[0.25, 0.5, 0, 1]]), "gate", "25.0%"),
    ],
)
def test_show_tells_what_an_array_is(array, kind, share, folder, capsys):
    assert show._kind("a", array, None) == kind
    np.save("a.npy", array)
    ((name, _, hidden, _),) = show_table(capsys, "a.npy", "--output", "a.png")
    assert (name, hidden) == ("a.npy", share)
    assert os.path.getsize("a.png") > 1000


def test_show_with_a_fill(folder, capsys):
    np.save("a.npy", np.array([[5, 1, -1e9, 3], [0, 0, 0, 0]], "float32"))
    assert show_table(capsys, "a.npy", "--fill=-1e9")[0][2:] == ["12.5%", "0 of 2"]
    assert show_table(capsys, "a.npy", "--as", "mask")[0][2:] == ["50.0%", "1 of 2"]

    np.save("n.npy", np.array([[np.nan, 1], [0, 2]], "float16"))
    assert show_table(capsys, "n.npy", "--fill", "nan")[0][2:] == ["25.0%", "0 of 2"]
    np.save("i.npy", np.array([2**53, 2**53 + 1]))
    assert show_table(capsys, "i.npy", "--fill", str(2**53 + 1))[0][2:] == ["50.0%", "0 of 1"]
    np.save("f.npy", np.array([0.1, 0.2], "float32"))  # where 0.1 is rounded
    assert show_table(capsys, "f.npy", "--fill", "0.1")[0][2:] == ["50.0%", "0 of 1"]


@pytest.mark.parametrize(
    "dtype, fill",
    [("int8", fill) for fill in ("257", "0.5", "nan", "inf", "1" + 30 * "0")]
    + [("uint8", "-1"), ("bool", "0.5"), ("bool", "2"), ("bool", "nan")]
    + [("float16", "-1e9"), ("float32", "1e39"), ("float64", "1" + 400 * "0")],
)
def test_show_with_a_fill_that_the_type_cannot_hold(dtype, fill, folder, capsys):
    np.save("a.npy", np.ones((2, 2), dtype))
    said = error(capsys, "show", "a.npy", "--fill=" + fill)
    wanted = "--fill is {}, which a.npy, of type {}, cannot hold."
    assert wanted.format(show.number(fill), dtype) in said


@pytest.mark.parametrize(
    "path", ["folder", "", "/dev/full", "a.nothing", ".png", "a.png/"], ids=repr
)
def test_show_writes_no_other_file(path, folder, capsys):
    os.mkdir("folder")
    before = sorted(os.listdir("."))
    said = error(capsys, "show", "x.npy", "--output", path)
    assert "--output must end in one of .eps, " in said and "but is '{}'.".format(path) in said
    assert sorted(os.listdir(".")) == before and not os.path.exists("/dev/full.png")


def test_show_output_that_cannot_be(folder, capsys, monkeypatch):
    os.mkdir("a.png")
    said = error(capsys, "show", "x.npy", "--output", "a.png")
    assert "a.png cannot be written: Is a directory." in said
    monkeypatch.setenv("PATH", "")  # without LaTeX
    said = error(capsys, "show", "x.npy", "--output", "a.pgf")
    assert "a.pgf cannot be drawn: " in said and not os.path.exists("a.pgf")


@pytest.mark.parametrize("path", ["a.PNG", "a.b.svg", "a.pdf", "a.eps"])
def test_show_writes_pictures(path, folder, capsys):
    assert show_table(capsys, "x.npy", "--output", path)
    assert os.path.getsize(path) > 1000


def test_show_a_name_of_other_letters(folder, capsys, recwarn):
    os.rename("x.npy", "$\\frac$\N{HIRAGANA LETTER A}.npy")
    assert show_table(capsys, "$\\frac$\N{HIRAGANA LETTER A}.npy", "--output", "a.png")
    assert not [told for told in recwarn if "Glyph" in str(told.message)]


def test_show_tells_of_its_progress(folder, capsys, monkeypatch):
    told = []

    def progress(iterable, label):
        try:
            for step in iterable:
                told.append(label)
                yield step
        finally:
            told.append("gone")  # before the table is printed

    monkeypatch.setattr(plot, "table", lambda _: told.append("table"))
    monkeypatch.setattr(show, "progress", progress)
    np.save("m.npy", np.ones((5, 2, 2), bool))
    command_line.main("show m.npy --output a.png --panels 3".split())
    assert told[-2:] == ["gone", "table"]
    assert len(told) >= 5 and set(told[:-2]) == {"panels"}
    with open("a.png", "rb") as file:
        picture = file.read()
    monkeypatch.setattr(show, "_steps", lambda figure: (_ for _ in ""))
    command_line.main("show m.npy --output a.png --panels 3".split())
    with open("a.png", "rb") as file:
        assert file.read() == picture


def test_show_operators_of_a_net(folder, capsys):
    masks = show_table(capsys, "--net", "net.pb", *FED)
    # Of triangles of six, five columns keep 20 entries, and three keep 15.
    share = "{:.1%}".format(1 - 35 / 72)
    assert masks == [["SequenceMask -> 'masked'", "2 x 6 x 6", share, "0 of 12"]]
    masks = show_table(capsys, "--net", "net.pb", "--blob", "masked", "--output", "m.png", *FED)
    assert masks[1] == ["masked", "2 x 6 x 6", share, "0 of 12"]
    assert os.path.getsize("m.png") > 1000


def test_show_a_net_without_masks(folder, capsys):
    command_line.main("show --net init.pb".split())
    assert capsys.readouterr().out == "No operator of init.pb masks.\n"


@pytest.mark.parametrize(
    "arguments, said",
    [
        ("", "One of FILE.npy, --net and --shape says what to show."),
        ("x.npy --shape 2,2", "One of FILE.npy, --net and --shape"),
        ("x.npy --mode upper", "--mode goes with --shape."),
        ("--net net.pb --window-left 1", "--window-left goes with --shape."),
        ("x.npy --blob a", "--init, --feed and --blob go with --net."),
        ("--net net.pb --output a.png", "--output draws the blob of a net that --blob names."),
        ("none.npy", "none.npy cannot be read: No such file or directory."),
        ("words.txt", "words.txt is no .npy file of numbers."),
        ("text.npy", "text.npy must hold numbers, but is of type <U1."),
        ("scalar.npy --as mask", "must have at least 1 dim, but 'scalar.npy' has none"),
        ("big.npy", "big.npy does not look like a mask, a gate or an attention; --as says"),
        ("big.npy --as gate --output a.png", "hold numbers from 0 to 1, but at (0,) stands 7.0"),
        ("nan.npy", "nan.npy has NaN at (1, 0), as a softmax has where a mask leaves nothing"),
        ("big.npy --as sum", "invalid choice: 'sum'"),
        ("weights.npy --output a.png --row-labels none", "none cannot be read"),
        ("weights.npy --output a.png --row-labels x.npy", "x.npy is no text in UTF-8."),
        (
            "x.npy --output a.png --row-labels two.txt",
            "row_labels must have one label for each of the 6 rows, but has 2.",
        ),
        ("x.npy --output no/a.png", "no/a.png cannot be written: No such file or directory."),
        ("x.npy --row-labels none", "--row-labels goes with --output."),
        ("x.npy --panels 2", "--panels goes with --output."),
        ("nan.npy --as mask", "nan.npy must have no NaN, which neither keeps nor hides, but has"),
        ("big.npy --as gate", "hold numbers from 0 to 1, but at (0,) stands 7.0"),
        ("big.npy --as attention", "hold numbers from 0 to 1, but at (0,) stands 7.0"),
        ("--shape 100000,100000,1000", "The mask cannot be: "),
        ("--shape 99999999999999999999", "a shape has at most 32 dims and less than 2^63 entries"),
        ("--shape 4294967296,4294967296", "a shape has at most 32 dims and less than 2^63 entries"),
        ("--shape 0,99999999999999999999", "a shape has at most 32 dims and less than 2^63"),
        ("--shape " + 32 * "1," + "1", "a shape has at most 32 dims and less than 2^63 entries"),
        ("--shape 2,3 --radius 99999999999999999999", "The mask cannot be: Value out of range"),
        ("--shape 2,3 --mode \udcff", "The mask cannot be: 'utf-8' codec can't encode"),
        ("--net none.pbtxt", "none.pbtxt: BooleanMask of the net has 0 inputs, of which it takes"),
        ("x.npy --panels 0", "a positive integer below 2^63 is wanted, but this is '0'"),
        ("--shape 2,x", "a shape is SIZE,SIZE,.. such as 2,16,16, but this is '2,x'"),
        ("--shape 2,2 --mode nothing", "The mask cannot be: MaskedSoftmax: argument mode must be"),
        ("--shape 2,2 --mode upper --lengths 1,2", "takes 1 input (X), but there are 2."),
        ("--shape 2,2 --lengths 1,x", "integers such as 3,5 or a .npy file are wanted"),
        (
            "--shape 2,2 --mode sequence --lengths 1,2,3",
            "lengths must have the shape of leading dims of X, [2, 2], before its last, or one entry "
            "for each of its 2 rows, but is of shape [3].",
        ),
        ("--shape 0,2 --output a.png", "needs at least 1 dim and 1 entry, but its shape is (0, 2)"),
        ("--net net.pb --feed scores=x.npy", "reads 'lengths', which is neither fed nor written"),
        ("--net net.pb --blob y FED", "net.pb has no blob 'y'."),
        ("--net net.pb --init init.pb --feed scores=weights.npy", "net.pb failed: SequenceMask: "),
    ],
)
def test_show_errors(arguments, said, folder, capsys):
    np.save("text.npy", np.array(["a"]))
    np.save("scalar.npy", np.array(1))
    np.save("nan.npy", np.array([[0.5, 0.5], [np.nan, 0]]))
    np.save("big.npy", np.array([7.0, 8.0]))
    (folder / "two.txt").write_text("a\nb\n")
    (folder / "none.pbtxt").write_text('op { type: "BooleanMask" output: "y" }')
    command = []
    for argument in arguments.split():
        command += FED if argument == "FED" else [argument]
    assert said in error(capsys, "show", *command)
    assert not os.path.exists("a.png")


def test_show_without_matplotlib(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert show_table(capsys, "x.npy")
    sentence = error(capsys, "show", "x.npy", "--output", "a.png")
    assert "Drawing needs matplotlib, but " in sentence
