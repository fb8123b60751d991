"""docs/troubleshooting.md against the sources: no message that is not there, none missing."""

import os
import re

from testers import fresh_process
from testers.operators import run
import numpy as np
import pytest
from caffe2.python import core, workspace

import caffe2op_mask
import error_texts

with open(os.path.join(error_texts.ROOT, "docs", "troubleshooting.md")) as lines:
    PAGE = lines.read()

MESSAGES = error_texts.messages()
RUNTIME = "From the runtime"


def quotes(section):
    """The messages that the tables of a section quote."""
    (text,) = re.findall(r"^## {}\n(.*?)(?=^## |\Z)".format(section), PAGE, re.M | re.S)
    cells = re.findall(r"^\| (`.*?) \| ", text, re.M)
    return [quote for cell in cells for quote in re.findall(r"`(.*?)`", cell)]


SECTIONS = re.findall(r"^## (.*)$", PAGE, re.M)
QUOTES = [quote for name in SECTIONS if name != RUNTIME for quote in quotes(name)]


@pytest.mark.parametrize("quote", QUOTES)
def test_a_message_of_the_page_is_in_the_sources(quote):
    assert any(error_texts.is_quoted(pieces, quote) for _, pieces in MESSAGES)


@pytest.mark.parametrize(
    "source, pieces", MESSAGES, ids=["{}:{}".format(*message) for message in MESSAGES]
)
def test_a_message_of_the_sources_is_on_the_page(source, pieces):
    found = [quote for quote in QUOTES if error_texts.is_quoted(pieces, quote)]
    assert found, "docs/troubleshooting.md lacks a message of {}: {}".format(source, pieces)


def test_each_source_has_messages():
    """The readers of the sources find what they are to find."""
    sources = {os.path.splitext(source)[1] or source for source, _ in MESSAGES}
    assert sources == {".h", ".cc", ".py", ".cmake", ".in", ".txt", ".sh"}
    assert len(MESSAGES) > 150
    known = ["BooleanUnmask: inputs must be pairs of a mask and its values, but there are ", "."]
    assert known in [pieces for _, pieces in MESSAGES]


def test_what_a_quote_is():
    pieces = ["Op: mask must be of type bool, but is ", "."]
    assert error_texts.is_quoted(pieces, "mask must be of type bool, but is ..")
    assert not error_texts.is_quoted(pieces, "mask must be of type bool, but was ..")
    assert not error_texts.is_quoted(pieces, "but is .. mask must be")
    assert not error_texts.is_quoted(pieces, "type ..")


class TestRuntime(object):
    """What Caffe2 says, made to say it."""

    def said(self, start):
        (quote,) = [quote for quote in quotes(RUNTIME) if quote.startswith(start)]
        return [part.strip() for part in quote.split("..") if part.strip()]

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
