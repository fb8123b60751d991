"""The documentation against what it tells of: schemas, files, links, the direction of includes."""

import glob
import os
import re
import shlex
import sys

import numpy as np
import pytest
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

from caffe2op_mask.__main__ import main
from testers import ROOT

sys.path.insert(0, os.path.join(ROOT, "tools"))

import make_docs  # noqa: E402  behind the path to it
from pages import gallery, masks, pictures  # noqa: E402
OTHER_FOLDERS = {".git", ".venv", ".venv-torch", "build", "build-torch", "demo-output", "dist", ".pytest_cache"}


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


@pytest.fixture(scope="module")
def generated():
    """What `make docs` would write now."""
    return make_docs.files()


@pytest.mark.parametrize("page", ["operators.md", "gallery.md"])
def test_a_page_is_what_make_docs_writes(generated, page):
    assert read("docs/" + page) == generated[page], "run make docs"


def described(picture):
    """What a picture says that it shows, and of what matplotlib it is."""
    (description,) = re.findall(r"<dc:description>\n(.*?)\n</dc:description>", picture, re.S)
    (creator,) = re.findall(r"<dc:title>(matplotlib [^<]*)</dc:title>", picture)
    return description, creator


@pytest.mark.parametrize("stem", [mask.stem for mask in masks.MASKS if mask.drawn] + [pictures.CURVES])
def test_a_picture_is_what_make_docs_draws(generated, stem):
    path = pictures.path(stem)
    shown, creator = described(read("docs/" + path))
    assert shown == described(generated[path])[0], "run make docs"
    # Another matplotlib draws the same in other words.
    if creator == pictures.creator():
        assert read("docs/" + path) == generated[path], "run make docs"


def test_what_a_picture_says():
    causal = next(mask for mask in masks.MASKS if mask.stem == "upper")
    made = masks.make(causal)
    shown, creator = described(pictures.of_mask(made))
    expected = np.tril(np.ones((12, 12), bool))
    assert [[entry == "#" for entry in row] for row in shown.split("\n")] == expected.tolist()
    assert creator == pictures.creator()


def test_there_are_no_other_pictures(generated):
    found = glob.glob(os.path.join(ROOT, "docs", pictures.FOLDER, "*"))
    there = {os.path.relpath(path, os.path.join(ROOT, "docs")) for path in found}
    assert there == {path for path in generated if path.startswith(pictures.FOLDER)}


def test_every_picture_is_shown():
    shown = set()
    for page in glob.glob(os.path.join(ROOT, "docs", "*.md")):
        shown.update(re.findall(r"\]\((images/[^)\s]+)\)", read(page)))
    there = glob.glob(os.path.join(ROOT, "docs", "images", "**", "*.*"), recursive=True)
    assert shown == {os.path.relpath(path, os.path.join(ROOT, "docs")) for path in there}


ENTRY = re.compile(
    r"^### (.*)\n\n(?:!.*|```\n(?:[^`].*\n|\n)*```)\n\n.* Hides (.*?%)\..*\n\n"
    r"```python\n((?:.*\n)*?)```\n\n```\npython -m caffe2op_mask (.*)\n```\n",
    re.M,
)


@pytest.mark.parametrize("stem, share, program, command", ENTRY.findall(read("docs/gallery.md")))
def test_commands_of_the_gallery_tell_what_it_says(
    stem, share, program, command, tmp_path, monkeypatch, capsys
):
    """As a reader would: the program with its arrays fed, a blob saved, the command."""
    names = {"np": np, "core": core, "caffe2_pb2": caffe2_pb2}
    exec(program, names)
    for blob in names["op"].input:
        workspace.FeedBlob(blob, names[blob])
    workspace.RunOperatorOnce(names["op"])
    monkeypatch.chdir(tmp_path)
    for blob in re.findall(r"(\w+)\.npy", command):
        np.save(blob + ".npy", workspace.FetchBlob(blob))
    main(shlex.split(command))
    assert " {} ".format(share) in capsys.readouterr().out


def test_the_gallery_has_every_mask():
    assert [entry[0] for entry in ENTRY.findall(read("docs/gallery.md"))] == [
        mask.stem for mask in masks.MASKS
    ]
    assert len({gallery.anchor(mask.stem) for mask in masks.MASKS}) == len(masks.MASKS)


def test_every_operator_has_a_mask():
    catalogue = read("docs/operators.md")
    operators = {name for name in re.findall(r"^## (\w+)$", catalogue, re.M)}
    shown = {mask.operator for mask in masks.MASKS}
    assert shown == {name for name in operators if not name.endswith("Gradient")}


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


def test_the_index_has_every_page():
    named = {link for link in links(read("docs/README.md")) if "/" not in link}
    there = glob.glob(os.path.join(ROOT, "docs", "*.md"))
    assert named == {os.path.basename(path) for path in there} - {"README.md"}


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        "docs/README.md",
        "docs/architecture.md",
        "docs/troubleshooting.md",
    ],
)
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
        ("contracts", {"contracts", "kernels"}),
        ("operators", {"operators", "contracts", "kernels", "caffe2", "ATen"}),
        ("gradients", {"gradients", "contracts", "caffe2"}),
        ("registry", {"registry", "operators", "gradients", "kernels", "caffe2"}),
        ("torch_ops", {"torch_ops", "contracts", "kernels", "torch"}),
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


@pytest.mark.parametrize(
    "folder", ["kernels", "contracts", "operators", "gradients", "registry", "torch_ops"]
)
def test_sources_are_listed(folder):
    lists = "".join(
        read("cmake/{}.cmake".format(name)) for name in ("Core", "Caffe2FrontEnd", "TorchFrontEnd")
    )
    listed = set(re.findall(r"^  (\w+/\w+\.cc)", lists, re.M))
    sources = glob.glob(os.path.join(ROOT, folder, "*.cc"))
    assert {os.path.relpath(source, ROOT) for source in sources} <= listed
