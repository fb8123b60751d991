"""tools/runtimes.py: what it copies, counts and writes. Trying a runtime takes it minutes."""

import importlib.util
import os
import subprocess

import pytest
from testers import ROOT


@pytest.fixture
def runtimes():
    spec = importlib.util.spec_from_file_location(
        "runtimes", os.path.join(ROOT, "tools", "runtimes.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def runtime(runtimes, tmp_path):
    """One that runs every command in a folder of the test's."""

    class Here(runtimes.Runtime):
        title = "here"
        python = "python"

        def make(self):
            pass

        def attempt(self, arguments, folder=".", **environment):
            return self.finish(arguments)

    here = Here("here")
    here.folder = str(tmp_path)
    here.source = str(tmp_path / "source")
    return here


def test_a_step_is_done_once_for_a_content(runtime):
    done = []
    for content in ("a", "a", "b", "a"):
        runtime.step("name", content, lambda: done.append(1))
    assert len(done) == 3


def test_a_step_that_failed_is_done_again(runtime, runtimes):
    def fail():
        raise runtimes.Unavailable("not now")

    with pytest.raises(runtimes.Unavailable):
        runtime.step("name", "content", fail)
    done = []
    runtime.step("name", "content", lambda: done.append(1))
    assert done


def test_commands_are_logged_with_what_they_print(runtime):
    assert runtime.finish(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\nerr\n")
    assert runtime.finish(["echo", "more"]) == (0, "more\n")
    assert runtime.finish(["/none"])[0] == 127
    with open(runtime.log) as lines:
        text = lines.read()
    assert text.endswith("out\nerr\n+ echo more\nmore\n+ /none\n")


def test_what_a_runtime_lacks_is_one_sentence(runtime, runtimes):
    with pytest.raises(runtimes.Unavailable) as reason:
        runtime.shell(["sh", "-c", "echo much; echo no network; exit 1"], "it could not be had")
    assert str(reason.value) == "it could not be had: no network"
    assert runtime.shell(["sh", "-c", "exit 1"]) == (1, "")


def test_there_is_no_python_of_the_future(runtimes):
    with pytest.raises(runtimes.Unavailable) as reason:
        runtimes.find_python("3.999")
    assert str(reason.value) == "there is no Python 3.999 on PATH or under pyenv."


def test_sources_are_those_of_git_and_follow_it(runtimes, tmp_path, monkeypatch):
    root, target = tmp_path / "root", tmp_path / "target"
    root.mkdir()
    monkeypatch.setattr(runtimes, "ROOT", str(root))
    subprocess.check_call(["git", "init", "--quiet", str(root)])
    (root / ".gitignore").write_text("ignored\n")
    for name in ("a", "gone", "ignored"):
        (root / name).write_text(name)
    (root / "folder").mkdir()
    (root / "folder" / "b").write_text("b")

    def copied():
        runtimes.copy_sources(str(target))
        found = [path for path in target.rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(target)) for path in found)

    assert copied() == [".gitignore", "a", "build/sources", "folder/b", "gone"]
    (target / "made").write_text("by a build")
    (root / "gone").unlink()
    (root / "folder" / "b").write_text("changed")
    assert copied() == [".gitignore", "a", "build/sources", "folder/b", "made"]
    assert (target / "folder" / "b").read_text() == "changed"


CTEST = """
Test project /source/build
      Start  1: kernels.AVX3_DL
 1/4 Test  #1: kernels.AVX3_DL ..................***Skipped   0.01 sec
 2/4 Test  #2: operators.Passed.By ..............   Passed    0.52 sec
 3/4 Test #10: operators.C ......................***Failed    0.10 sec
      Passed  ***Failed
 4/4 Test #11: operators.D ......................Subprocess aborted***Exception:   0.10 sec
"""


@pytest.mark.parametrize(
    "printed, code, expected",
    [
        (CTEST, 8, (1, 2, 1)),
        ("\n".join(CTEST.splitlines()[:5]), 0, (1, 0, 1)),
        ("No tests were found!!!\n", 8, None),
        ("\n".join(CTEST.splitlines()[:5]), 8, None),
    ],
    ids=["some fail", "none fails", "there are none", "it contradicts itself"],
)
def test_cpp_tests_are_counted(runtime, runtimes, printed, code, expected):
    runtime.attempt = lambda *_, **__: (code, printed)
    if expected:
        assert runtimes.cpp_tests(runtime) == expected
    else:
        with pytest.raises(runtimes.Failed):
            runtimes.cpp_tests(runtime)


@pytest.mark.parametrize("outer", ["<testsuites>{}</testsuites>", "{}"])
def test_python_tests_are_counted(runtime, runtimes, tmp_path, outer):
    suite = '<testsuite tests="9" failures="1" errors="2" skipped="3"/>'
    report = tmp_path / "source" / "build" / "pytest.xml"
    report.parent.mkdir(parents=True)

    def attempt(*_, **__):
        report.write_text(outer.format(suite))
        return -11, ""  # died on exit

    runtime.attempt = attempt
    assert runtimes.python_tests(runtime) == (3, 3, 3)
    # Died before; the report is an old one.
    runtime.attempt = lambda *_, **__: (-11, "")
    with pytest.raises(runtimes.Failed):
        runtimes.python_tests(runtime)


def test_a_row_takes_the_place_of_its_runtimes(runtime, runtimes, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n" + runtimes.BEGIN + "\n\n" + runtimes.END + "after\n")

    def write(python, passed):
        told = {
            "torch": "1.10.2",
            "python": python,
            "compiler": "g++ 12.2.0",
            "abi": "0",
            "protobuf": "3.13.0 of its own",
        }
        runtimes.write_row(str(page), runtimes.row_of(runtime, told, (passed, 0, 1), (2, 3, 4)))
        return page.read_text().splitlines()

    write("3.8.1", 1)
    write("3.7.9", 2)
    lines = write("3.8.18", 3)
    assert (lines[0], lines[-1]) == ("before", "after")
    assert lines[1] + "\n" == runtimes.BEGIN and lines[-2] + "\n" == runtimes.END
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:-2]]
    assert rows[0] == runtimes.COLUMNS
    assert [row[2] for row in rows[2:]] == ["3.8.18", "3.7.9"]
    assert rows[2][:-1] == [
        "here",
        "1.10.2",
        "3.8.18",
        "g++ 12.2.0",
        "old",
        "3.13.0 of its own",
        "3 / 0 / 1",
        "2 / 3 / 4",
    ]


@pytest.mark.parametrize("error, good", [("Unavailable", True), ("Failed", False)])
def test_only_a_failure_fails(runtime, runtimes, monkeypatch, capsys, error, good):
    def make():
        raise getattr(runtimes, error)("there is a reason.")

    runtime.make = make
    assert runtimes.try_out(runtime, None) is good
    assert ("here: is not tried, since there is a reason." in capsys.readouterr().out) is good


def test_the_table_of_the_page_names_runtimes_of_the_tool(runtimes):
    with open(os.path.join(ROOT, "docs", "installation.md")) as lines:
        text = lines.read()
    table = text.split(runtimes.BEGIN)[1].split(runtimes.END)[0]
    rows = [line.strip("|").split("|") for line in table.splitlines()]
    assert [cell.strip() for cell in rows[0]] == runtimes.COLUMNS
    titles = {runtime.title for runtime in runtimes.RUNTIMES}
    assert {row[0].strip() for row in rows[2:]} <= titles
