"""python -m caffe2op_mask: files in, files out, and errors of one sentence."""

import os
import re
import shlex
import subprocess
import sys

import pytest

import caffe2op_mask
from caffe2op_mask import __main__ as command_line
from caffe2op_mask.commands import bench, files, nets
from testers import ROOT
from testers.commands import error, in_a_process
from testers.runtime_facts import own_words


@pytest.mark.parametrize(
    "where, said",
    [
        (">&-", "it is closed"),
        (">/dev/full", "No space left on device"),
    ],
)
@pytest.mark.parametrize("command", ["ops", "--version"])
def test_output_that_cannot_be_written(command, where, said):
    line = "exec '{}' -m caffe2op_mask {} {}".format(sys.executable, command, where)
    result = subprocess.run(
        ["sh", "-c", line], stderr=subprocess.PIPE, universal_newlines=True, timeout=120
    )
    assert result.returncode == 1
    assert own_words(result.stderr) == (
        "python -m caffe2op_mask: the output cannot be written: {}.\n".format(said)
    )


def test_names_that_the_output_has_no_letters_for(folder):
    os.rename("x.npy", "\N{HIRAGANA LETTER A}.npy")
    command = ["show", "\N{HIRAGANA LETTER A}.npy"]
    result = in_a_process(*command, env=dict(os.environ, PYTHONIOENCODING="ascii"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1].startswith(r"\u3042.npy  2 x 6 x 6")


def test_without_doc_strings():
    for command, said in ((["--help"], "usage: "), (["show", "--shape", "2,2"], "mask  shape")):
        result = subprocess.run(
            [sys.executable, "-OO", "-m", "caffe2op_mask"] + command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(said)


def test_an_error_in_a_process():
    result = in_a_process("fuse", "no such file", "fused.pb")
    assert result.returncode == 2 and not result.stdout
    assert own_words(result.stderr) == (
        "python -m caffe2op_mask: no such file cannot be read: No such file or directory.\n"
    )


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "a command is missing; --help lists them."),
        (["polish"], "invalid choice: 'polish'"),
        (["fuse"], "the following arguments are required: IN, OUT"),
    ],
)
def test_arguments(arguments, said, capsys):
    assert said in error(capsys, *arguments)


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.main(["--version"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "caffe2op_mask {}".format(caffe2op_mask.__version__)
    assert lines[1].startswith("runtime: Caffe2 of torch 1.")
    assert lines[2] == "target: {}".format(caffe2op_mask.target_name())
    assert re.match(r"threads: [1-9]\d*$", lines[3]) and len(lines) == 4


@pytest.mark.parametrize(
    "threads, printed",
    [({}, str(len(os.sched_getaffinity(0)))), ({"OMP_NUM_THREADS": "1"}, "1")],
)
def test_threads_of_a_process(threads, printed):
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    result = in_a_process("--version", env=dict(environment, **threads))
    assert result.stdout.splitlines()[-1] == "threads: " + printed


COMMANDS = [command.__name__.split(".")[-1] for command in command_line.COMMANDS]


def test_help_names_every_command(capsys):
    for arguments in [["--help"]] + [[name, "--help"] for name in COMMANDS]:
        with pytest.raises(SystemExit) as ended:
            command_line.main(arguments)
        assert ended.value.code == 0
        printed = capsys.readouterr().out
        assert all(name in printed for name in arguments[:-1] or COMMANDS)
        assert arguments == ["--help"] or "examples:\n" in printed


def test_the_commands():
    assert COMMANDS == ["ops", "run", "fuse", "pack", "show", "bench"]


def examples():
    for command in command_line.COMMANDS:
        _, _, lines = command.__doc__.partition("examples:\n")
        for line in lines.replace("\\\n", " ").splitlines():
            yield shlex.split(line)


@pytest.mark.parametrize("example", examples(), ids=" ".join)
def test_examples_run(example, folder, capsys):
    assert example[:3] == ["python", "-m", "caffe2op_mask"]
    if "bench" in example:  # takes long, and has a test of its own
        assert command_line.parser().parse_args(example[3:]).run is bench.run
        return
    assert command_line.main(example[3:]) == 0
    out, err = capsys.readouterr()
    assert out and not err
    for option in ("--output", "--fetch"):
        if option in example:
            path = example[example.index(option) + 1].split("=")[-1]
            assert os.path.getsize(path) > 100


def test_the_example_of_the_page(folder, capsys):
    with open(os.path.join(ROOT, "docs", "command_line.md")) as file:
        (example,) = re.findall(
            r"^```\npython -m caffe2op_mask (show .*)\n```\n\n```\n((?:.*\n)*?)```$",
            file.read(),
            re.M,
        )
    command, printed = example
    assert command_line.main(shlex.split(command)) == 0
    assert capsys.readouterr().out == printed
    assert os.path.getsize(command.split()[-1]) > 1000


def damaged(content):
    """Files that are no array, of the bytes of one that is."""
    yield "empty", b""
    yield "cut in its header", content[:40]
    yield "cut in its numbers", content[:-1]
    yield "no dict", content.replace(b"{'descr'", b"{'descr(")
    yield "no end of a text", content.replace(b"'shape'", b"'shape\\")
    yield "no end of a bracket", content.replace(b"(2, 6, 6)", b"((2, 6, 6")


def test_arrays_that_are_damaged(folder, capsys):
    content = (folder / "x.npy").read_bytes()
    for name, bad in damaged(content):
        assert bad != content, name
        (folder / "bad.npy").write_bytes(bad)
        assert "bad.npy is no .npy file of numbers." in error(capsys, "show", "bad.npy")
    (folder / "bad.npy").write_bytes(b"PK\x03\x04" + content)
    assert "bad.npy is no .npy file, but an archive" in error(capsys, "show", "bad.npy")
    huge = content.replace(b"(2, 6, 6), }" + b" " * 18, b"(2, 6, 6" + b"0" * 16 + b"), }  ")
    (folder / "bad.npy").write_bytes(huge)
    assert "bad.npy cannot be read: its array does not fit" in error(capsys, "show", "bad.npy")


def test_an_array_of_a_pipe(folder):
    with open("weights.npy", "rb") as file:
        piped = subprocess.run(
            "cat weights.npy | '{}' -m caffe2op_mask show /dev/stdin".format(sys.executable),
            shell=True,
            stdin=file,
            stdout=subprocess.PIPE,
            universal_newlines=True,
            timeout=120,
        )
    assert piped.stdout.splitlines()[1].split() == "/dev/stdin 6 x 6 41.7% 0 of 6".split()


def test_memory_that_does_not_suffice(folder, capsys, monkeypatch):
    def read(path):
        raise MemoryError

    monkeypatch.setattr(files, "read", read)
    assert "there is not enough memory." in error(capsys, "show", "x.npy")


def test_a_reader_that_leaves():
    command = [sys.executable, "-m", "caffe2op_mask", "ops"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert own_words(process.stderr.read().decode()) == ""
    process.stderr.close()
    assert process.wait() == 1


@pytest.mark.parametrize(
    "text, said",
    [
        ("[enforce fail at a.cc:1] . Op: x is 1. (Error from operator: \ninput", "Op: x is 1"),
        ("[enforce fail at a.cc:1] f(a) == 2. 1 vs 2\nframe #0: f", "f(a) == 2. 1 vs 2"),
        ("[enforce fail at a.cc:1] std::g() == 1. Op: 'a. b' is\n c.\nframe #0", "Op: 'a. b' is c"),
        ("other.", "other"),
    ],
)
def test_what_the_runtime_said(text, said):
    assert nets.sentence(text) == said
