"""Doc strings and type hints of functions."""

import inspect
import os
import re
import typing

import pytest

import caffe2op_mask
import testers
from caffe2op_mask import functional

FUNCTIONS = [getattr(functional, name) for name in functional.__all__]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__name__)
def test_doc_strings_are_whole(function):
    text = inspect.getdoc(function)
    for part in ("Args:", "Returns:", "Raises:", "Source:"):
        assert text.count(part) == 1, part
    order = [text.index(part) for part in ("Args:", "Returns:", "Raises:", "Source:")]
    assert order == sorted(order)
    assert re.match(r"[^\n]*[.:]\n", text + "\n"), "the first line is no sentence"
    assert max(len(line) for line in inspect.getsource(function).splitlines()) <= 100


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__name__)
def test_doc_strings_name_every_argument(function):
    text = inspect.getdoc(function).partition("Args:")[2].partition("Returns:")[0]
    for name in inspect.signature(function).parameters:
        assert re.search(r"\b{}\b".format(name), text), name


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__name__)
def test_every_argument_has_a_type(function):
    hints = typing.get_type_hints(function)
    assert set(hints) == set(inspect.signature(function).parameters) | {"return"}


def test_types_are_for_others_too():
    folder = os.path.dirname(caffe2op_mask.__file__)
    assert os.path.exists(os.path.join(folder, "py.typed"))


def test_the_program_of_the_readme_runs():
    with open(os.path.join(testers.ROOT, "README.md")) as lines:
        section = lines.read().split("\n## With PyTorch\n")[1].split("\n## ")[0]
    (program,) = re.findall(r"^```python\n(.*?)^```\n", section, re.M | re.S)
    names = {}
    exec(program, names)
    assert names["o"].shape == names["q"].shape and names["q"].grad.isfinite().all()


def test_the_page_has_every_function():
    with open(os.path.join(testers.ROOT, "docs", "pytorch.md")) as lines:
        page = lines.read()
    assert [name for name in functional.__all__ if "`" + name not in page] == []
