"""What the schemas' documentation says is run: every example, and every row of the mode table."""

import contextlib
import io
import itertools
import re

import numpy as np
import pytest
from caffe2.python import core, workspace

from oracles import masking
from testers.operators import run
from test_registry import ALL

DOCUMENTED = sorted(name for name in ALL if not name.endswith("Gradient"))


def doc(name):
    return workspace.C.OpSchema.get(name).doc


def block(name, title):
    """The one code block under a title of an operator's doc."""
    blocks = re.findall(r"\*\*{}\*\*\n+```\n(.*?)```".format(title), doc(name), re.DOTALL)
    assert len(blocks) == 1, "{} has {} {} blocks".format(name, len(blocks), title)
    return blocks[0]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_example(name):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(block(name, "Example"), {"np": np, "core": core, "workspace": workspace})
    assert printed.getvalue() == block(name, "Result")
    assert '"{}"'.format(name) in block(name, "Example")


@pytest.mark.parametrize("name", DOCUMENTED)
def test_doc_tells_errors_and_source(name):
    assert "\nErrors: " in doc(name)
    assert "\nSource: " in doc(name)


def mode_table():
    """Mode, where it keeps and what it reads, of each row."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.*?) ?\|$", doc("SequenceMask"), re.MULTILINE)
    return [row for row in rows if row[0] not in ("mode", "---")]


def test_mode_table_is_complete():
    assert sorted(mode for mode, _, _ in mode_table()) == sorted(list(masking.MASKED) + ["mask"])


@pytest.mark.parametrize("mode, kept, name", mode_table(), ids=lambda text: text)
@pytest.mark.parametrize("diagonal", [-1, 0, 2])
def test_mode_table(mode, kept, name, diagonal):
    """The condition in the table, read as Python, is true just where the output is not filled."""
    condition = kept.replace(" (causal)", "")
    rows, columns, radius = 4, 5, 1
    entries = {
        "lengths": np.array([0, 2, 5, 9], "int32"),
        "centers": np.array([-1, 0, 3, 4], "int32"),
        "left_pad": np.array([-1, 0, 3, 7], "int32"),
        "mask": np.arange(rows * columns).reshape(rows, columns) % 3 == 0,
    }
    inputs = [np.ones((rows, columns), "float32")] + ([entries[name]] if name else [])
    output = run(
        "SequenceMask", *inputs, mode=mode, radius=radius, diagonal=diagonal, fill_val=0.0
    )
    for i, j in itertools.product(range(rows), range(columns)):
        names = dict(entries, i=i, j=j, radius=radius, diagonal=diagonal)
        names["mask"] = bool(entries["mask"][i, j])
        assert (output[i, j] == 1) == eval(condition, names), (i, j)
