"""Runs each example as its reader would and compares what it prints with its doc string."""

import ast
import glob
import os
import re
import subprocess
import sys
import textwrap

import pytest

from testers import ROOT
from testers.runtime_facts import DRAWS_THE_SAME

TESTS = os.path.join(ROOT, "tests", "python")
EXAMPLES = os.path.join(ROOT, "examples")

# The seven that must be there, whatever else is.
NAMED = [
    "boolean_mask_lengths_op_example.py",
    "boolean_mask_op_example.py",
    "boolean_unmask_op_example1.py",
    "boolean_unmask_op_example2.py",
    "boolean_unmask_op_example3.py",
    "boolean_unmask_op_example4.py",
    "sequence_mask_example.py",
]

# Programs whose output is no fixed text, with the test that each has instead.
TESTED_ELSEWHERE = {
    "adaptive_attention.py": "test_example_adaptive_attention.py",
    "augmentation.py": "test_example_augmentation.py",
    "char_transformer.py": "test_char_transformer.py",
    "data_parallel.py": "test_example_training.py",
    "demo.py": "test_demo.py",
    "dynamic_masking.py": "test_example_dynamic_masking.py",
    "gated_network.py": "test_example_gated_network.py",
    "recurrent.py": "test_example_training.py",
    "sparse_inputs.py": "test_example_training.py",
    "task_selection.py": "test_example_task_selection.py",
}

# Modules that examples import and that do nothing by themselves.
HELPERS = [
    "attention_picture.py",
    "char_net.py",
    "deep_net.py",
    "gap_net.py",
    "help_topics.py",
    "ink_net.py",
    "masked_ink_net.py",
    "program.py",
    "topic_net.py",
]


def expected_output(path):
    """What stands under "Output:", at the end of the doc string; None where there is no such."""
    with open(path) as source:
        doc = ast.get_docstring(ast.parse(source.read())) or ""
    _, found, output = doc.partition("\nOutput:\n")
    return textwrap.dedent(output).strip() + "\n" if found else None


def programs():
    """Those for Caffe2; tests/torch/test_examples.py runs those for a current PyTorch."""
    paths = glob.glob(os.path.join(EXAMPLES, "**", "*.py"), recursive=True)
    names = sorted(os.path.relpath(path, EXAMPLES).replace(os.sep, "/") for path in paths)
    return [name for name in names if not name.startswith("torch/")]


RUN_HERE = [name for name in programs() if expected_output(os.path.join(EXAMPLES, name))]


@pytest.mark.parametrize("name", RUN_HERE)
def test_prints_what_its_doc_string_says(name, tmp_path):
    path = os.path.join(EXAMPLES, name)
    # From a folder that is not the project's: an example stands on its own.
    run = subprocess.run(
        [sys.executable, path],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    printed, expected = run.stdout, expected_output(path)
    if not DRAWS_THE_SAME:
        printed, expected = (re.sub(r" +-?\d+\.\d+", " x", text) for text in (printed, expected))
    assert printed == expected


def test_every_example_is_tested():
    assert set(NAMED) <= set(RUN_HERE)
    untested = set(programs()) - set(RUN_HERE) - set(TESTED_ELSEWHERE) - set(HELPERS)
    assert not untested, "give these an Output: section or a test of their own"
    for name in set(TESTED_ELSEWHERE) & set(programs()):
        assert name not in RUN_HERE
        assert os.path.exists(os.path.join(TESTS, TESTED_ELSEWHERE[name])), name


def test_an_output_section_is_found_only_where_there_is_one(tmp_path):
    path = tmp_path / "example.py"
    path.write_text('"""What it shows.\n\nOutput:\n\n    a\n      b\n"""\n')
    assert expected_output(str(path)) == "a\n  b\n"
    path.write_text('"""Output: none of it."""\n')
    assert expected_output(str(path)) is None
