"""What programs that train share: the bounds of their arguments, and the seeds of their nets."""

import glob
import os

import pytest
from caffe2.python import core

from testers import examples, fresh_process
import program

DOC = """Draws nothing,
and writes nothing.

    python examples/nothing.py
"""


@pytest.fixture
def parser():
    parser = program.Parser(DOC)
    parser.add_number("steps", 3, "of training", 1)
    parser.add_number("share", 0.5, "of the rows", 0, 1, kind=float)
    parser.add_number("kill", None, "after so many", 0, metavar="STEP")
    return parser


def test_defaults_and_description(parser):
    assert vars(parser.parse_args([])) == {"seed": 0, "steps": 3, "share": 0.5, "kill": None}
    assert parser.description == "Draws nothing, and writes nothing."


@pytest.mark.parametrize(
    "name, value",
    [
        ("seed", 0),
        ("seed", 4294966),
        ("steps", 1),
        ("steps", 10 ** 9),
        ("share", 0.0),
        ("share", 1.0),
        ("kill", 0),
    ],
)
def test_takes_what_is_at_a_bound(parser, name, value):
    assert getattr(parser.parse_args(["--{}={}".format(name, value)]), name) == value


@pytest.mark.parametrize(
    "argument, message",
    [
        ("--seed=-1", "--seed must be from 0 to 4294966, but is -1."),
        ("--seed=4294967", "--seed must be from 0 to 4294966, but is 4294967."),
        ("--steps=0", "--steps must be at least 1, but is 0."),
        ("--share=1.5", "--share must be from 0 to 1, but is 1.5."),
        ("--share=nan", "--share must be from 0 to 1, but is nan."),
        ("--kill=-1", "--kill must be at least 0, but is -1."),
    ],
)
def test_refuses_what_is_out_of_bounds(parser, argument, message, tmp_path, capsys):
    parser.add_output()
    output = tmp_path / "output"
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([argument, "--output", str(output)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(": error: {}\n".format(message))
    assert not output.exists()


def test_makes_the_output_folder(parser, tmp_path):
    parser.add_output()
    output = tmp_path / "one" / "more"
    for _ in range(2):
        assert parser.parse_args(["--output", str(output)]).output == str(output)
        assert output.is_dir()


def test_output_is_in_the_project_unless_given(parser, monkeypatch):
    made = []
    monkeypatch.setattr(os, "makedirs", lambda folder, exist_ok: made.append(folder))
    parser.add_output()
    wanted = os.path.join(examples.ROOT, "demo-output")
    assert parser.parse_args([]).output == wanted
    assert made == [wanted]


def seeds(seed):
    nets = [core.Net("first"), core.Net("second")]
    for net, count in zip(nets, (2, 3)):
        for i in range(count):
            net.UniformFill([], str(i), shape=[1])
    program.seed_nets(seed, *nets)
    return [[op.device_option.random_seed for op in net.Proto().op] for net in nets]


def test_each_operator_has_a_seed_of_its_own():
    assert seeds(0) == [[1, 2], [3, 4, 5]]
    assert seeds(7) == [[7001, 7002], [7003, 7004, 7005]]
    # Caffe2 takes no more than 32 bits.
    assert seeds(program.MAX_SEED - 1)[1][-1] == 4294966005


def test_programs_have_one_way_to_get_threads():
    """Caffe2's own leaves the runtime one, and no one sees it."""
    for path in glob.glob(os.path.join(examples.EXAMPLES, "*.py")):
        with open(path) as source:
            assert "GlobalInit" not in source.read(), path


def test_a_large_net_has_the_cores(tmp_path):
    """char_transformer, stopped where it begins to work."""
    source = """
        import sys
        sys.path.insert(0, {!r})
        import char_transformer, torch
        def load():
            print(torch.get_num_threads())
            sys.exit()
        char_transformer.help_topics.load = load
        char_transformer.main(["--output", {!r}])
    """.format(examples.EXAMPLES, str(tmp_path))
    environment = {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "MKL_DYNAMIC": "FALSE"}
    assert fresh_process.output(source, **environment).split() == ["3"]
