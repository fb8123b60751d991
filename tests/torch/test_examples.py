"""What holds for each program of examples/torch."""

import glob
import os

import pytest

import programs

# Modules that programs import and that do nothing by themselves.
HELPERS = {"decoder"}
PROGRAMS = {
    os.path.splitext(os.path.basename(path))[0] for path in glob.glob(programs.FOLDER + "/*.py")
} - HELPERS


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_it_is_tested(name):
    test = "test_example_{}.py".format(name)
    assert os.path.exists(os.path.join(os.path.dirname(programs.__file__), test))


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_it_describes_its_arguments(name):
    code, out, err = programs.run(name + ".py", "--help")
    assert code == 0, err
    assert out.startswith("usage: {}.py".format(name))
