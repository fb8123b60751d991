"""The documentation against what it tells of: schemas, files, links, the direction of includes."""

import glob
import importlib.util
import os
import re

import numpy as np
import pytest
from caffe2.python import core, workspace

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OTHER_FOLDERS = {".git", ".venv", "build", "demo-output", "dist", ".pytest_cache"}


def read(path):
    with open(os.path.join(ROOT, path)) as lines:
        return lines.read()


def pages():
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in OTHER_FOLDERS]
        found += [os.path.join(folder, name) for name in files if name.endswith(".md")]
    return sorted(os.path.relpath(path, ROOT) for path in found)


def links(text):
    """Targets of the links in Markdown; code is not read."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`", "", text)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(text):
    """What a link can name in a page: its headings, as GitHub writes them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#+ +(.*?) *$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page, text):
    broken = []
    for link in links(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = os.path.normpath(os.path.join(os.path.dirname(page), name)) if name else page
        if not os.path.exists(os.path.join(ROOT, target)):
            broken.append(link)
        elif anchor and anchor not in anchors(text if target == page else read(target)):
            broken.append(link)
    return broken


def missing_files(text):
    """Paths that a page names, in backticks or first in a line of its layout, and nobody has."""
    named = re.findall(r"`([\w.-]+(?:/[\w.-]*)+|[\w-]+\.(?:h|cc|md|py|txt|in))`", text)
    for block in re.findall(r"^```\n(.*?)^```", text, re.M | re.S):
        named += re.findall(r"^([\w.-]+/[\w./-]*)", block, re.M)
        named += re.findall(r"\b(tests/\w+)\b", block)
    return [name for name in named if not os.path.exists(os.path.join(ROOT, name))]


def test_the_catalogue_is_what_make_docs_writes():
    path = os.path.join(ROOT, "tools", "make_docs.py")
    spec = importlib.util.spec_from_file_location("make_docs", path)
    make_docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_docs)
    assert read("docs/operators.md") == make_docs.page(), "run make docs"


EXAMPLE = re.compile(
    r"^## (\w+)\n(?:(?!^## ).)*?^\*\*Example\*\*\n\n```\n(.*?)^```\n\n"
    r"\*\*Result\*\*\n\n```\n(.*?)^```\n",
    re.M | re.S,
)


@pytest.mark.parametrize("name, program, result", EXAMPLE.findall(read("docs/operators.md")))
def test_examples_of_the_catalogue_give_their_result(name, program, result, capsys):
    exec(program, {"np": np, "core": core, "workspace": workspace})
    assert capsys.readouterr().out == result


def test_every_operator_of_the_catalogue_has_an_example():
    catalogue = read("docs/operators.md")
    operators = [name for name in re.findall(r"^## (\w+)$", catalogue, re.M)]
    shown = [name for name, _, _ in EXAMPLE.findall(catalogue)]
    assert shown == [name for name in operators if not name.endswith("Gradient")]


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page):
    assert not broken_links(page, read(page))


def test_what_a_broken_link_is():
    text = "# A b\n[x](#a-b) [x](docs/) `[x](none.md)`\n```\n[x](none.md)\n```\n[x](https://none)\n"
    assert broken_links("README.md", text) == []
    text = "# A\n[x](#b) [x](none.md) [x](LICENSE#a)\n"
    assert broken_links("README.md", text) == ["#b", "none.md", "LICENSE#a"]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_files_that_are_named_exist(page):
    assert not missing_files(read(page))


def test_what_a_missing_file_is():
    text = "`kernels/fill.h` `a::b` `kernels/none.h` `none.py`\n"
    text += "```\nkernels/  x\nnone/  tests/no\n```\n"
    assert missing_files(text) == ["kernels/none.h", "none.py", "none/", "tests/no"]


@pytest.mark.parametrize(
    "folder, allowed",
    [
        ("kernels", {"kernels", "hwy"}),
        ("operators", {"operators", "kernels", "caffe2", "ATen"}),
        ("gradients", {"gradients", "caffe2"}),
        ("registry", {"registry", "operators", "gradients", "kernels", "caffe2"}),
    ],
)
def test_includes_run_one_way(folder, allowed):
    sources = glob.glob(os.path.join(ROOT, folder, "*.h"))
    sources += glob.glob(os.path.join(ROOT, folder, "*.cc"))
    assert sources
    for source in sources:
        for header in re.findall(r'^#include [<"](.*?)[>"]', read(source), re.M):
            # A header without a folder is the standard library's.
            assert "/" not in header or header.split("/")[0] in allowed, (source, header)


@pytest.mark.parametrize("folder", ["kernels", "operators", "gradients", "registry"])
def test_sources_are_listed(folder):
    listed = set(re.findall(r"^  (\w+/\w+\.cc)", read("CMakeLists.txt"), re.M))
    sources = glob.glob(os.path.join(ROOT, folder, "*.cc"))
    assert {os.path.relpath(source, ROOT) for source in sources} <= listed
