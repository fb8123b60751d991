"""docs/troubleshooting.md quotes messages as they are: those of the sources, and Caffe2's."""

import glob
import os
import re

import numpy as np
import pytest
from caffe2.python import core, workspace

import caffe2op_mask
from testers import ROOT, fresh_process
from testers.operators import run

FOLDERS = ("cmake", "contracts", "gradients", "operators", "python", "registry", "tools", "torch_ops")
FILES = ("CMakeLists.txt", "setup.py")
RUNTIME = "From the runtime"


def read(path):
    """A text file with those string literals joined that follow one another."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as lines:
        return re.sub(r'"\s*\n\s*"', "", lines.read())


PAGE = read("docs/troubleshooting.md")
SOURCES = [read(path) for path in FILES] + [
    read(path)
    for folder in FOLDERS
    for path in glob.glob(os.path.join(ROOT, folder, "**", "*.*"), recursive=True)
    if path.endswith((".h", ".cc", ".py", ".cmake", ".in", ".sh"))
]


def quotes(section):
    """The messages that the tables of a section quote."""
    (text,) = re.findall(r"^## {}\n(.*?)(?=^## |\Z)".format(section), PAGE, re.M | re.S)
    cells = re.findall(r"^\| (`.*?) \| ", text, re.M)
    return [quote for cell in cells for quote in re.findall(r"`(.*?)`", cell)]


SECTIONS = re.findall(r"^## (.*)$", PAGE, re.M)
QUOTES = [quote for name in SECTIONS if name != RUNTIME for quote in quotes(name)]


def pieces(quote):
    """What a quote has between its gaps."""
    return [piece.strip() for piece in quote.split("..") if piece.strip()]


def is_quoted(quote, text):
    """Whether a text has the pieces of a quote, near each other and in order."""
    return re.search(".{0,200}?".join(map(re.escape, pieces(quote))), text, re.S) is not None


@pytest.mark.parametrize("quote", QUOTES)
def test_a_message_of_the_page_is_in_the_sources(quote):
    assert any(is_quoted(quote, text) for text in SOURCES)


def test_what_a_quote_is():
    text = 'CAFFE_ENFORCE(x, ": mask must be of type ", type, ", but is ", other, ".");'
    assert is_quoted("mask must be of type .., but is ..", text)
    assert not is_quoted("mask must be of type .., but was ..", text)
    assert not is_quoted("but is .. mask must be", text)


class TestRuntime(object):
    """What Caffe2 says, made to say it."""

    def said(self, start):
        (quote,) = [quote for quote in quotes(RUNTIME) if quote.startswith(start)]
        return pieces(quote)

    def test_a_second_copy(self, tmp_path):
        copy = tmp_path / "other.so"
        with open(caffe2op_mask.library_path(), "rb") as library:
            copy.write_bytes(library.read())
        result = fresh_process.run(
            "import caffe2op_mask\nfrom caffe2.python import dyndep\n"
            "dyndep.InitOpsLibrary({!r})".format(str(copy))
        )
        assert result.code != 0
        assert self.said("Key already")[0] in result.out + result.err

    def test_an_operator_that_is_not_there(self):
        with pytest.raises(AttributeError) as error:
            core.Net("net").MaskedSoftmacs(["x"], ["y"])
        for part in self.said("Method"):
            assert part in str(error.value)

    def test_the_schema(self):
        with pytest.raises(RuntimeError, match=self.said("did not pass")[0]):
            workspace.RunOperatorOnce(core.CreateOperator("BooleanMask", ["x"], ["y"]))

    @pytest.mark.parametrize(
        "start, op_type, inputs",
        [
            ("Unsupported type", "SequenceMask", [np.ones((2, 2), "int64")]),
            ("2 vs 1", "BooleanMask", [np.ones((2, 2), "f"), np.ones((2, 2), bool)]),
            ("2 vs 1", "BooleanUnmask", [np.ones((2, 2), bool), np.ones(4, "f")]),
        ],
    )
    def test_stock(self, start, op_type, inputs):
        with pytest.raises(RuntimeError, match=self.said(start)[0]):
            run(op_type, *inputs, engine="DEFAULT", mode="upper", fill_val=0.0)
