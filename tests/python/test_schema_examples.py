"""What the schemas' documentation says is run: every example."""

import contextlib
import io
import re

import numpy as np
import pytest
from caffe2.python import core, workspace

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
