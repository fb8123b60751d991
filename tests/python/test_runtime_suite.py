"""The runtime's own tests of the mask operators, run on this library's."""

import json
import os
from textwrap import dedent

import caffe2.python.operator_test

from testers import fresh_process

SUITE = os.path.dirname(caffe2.python.operator_test.__file__)

PROGRAM = """
    import collections, json, re, sys
    import numpy as np
    import pytest
    from caffe2.python import core, workspace
    from caffe2.python.serialized_test import serialized_test_util
    import caffe2op_mask

    # The suite also compares with a record of 2018, in which BooleanUnmask has no gradient. That
    # it has one now is the one difference from the record that is meant.
    gradient = serialized_test_util._getGradientOrNone
    serialized_test_util._getGradientOrNone = (
        lambda op: [] if op.type == "BooleanUnmask" else gradient(op)
    )

    OURS = {"BooleanMask", "BooleanUnmask", "SequenceMask"}

    class Recorder(object):
        '''Counts outcomes, and keeps the definition of every mask operator that a test makes.'''

        def __init__(self):
            self.outcomes = collections.Counter()
            self.definitions = {}
            self.create = core.CreateOperator
            core.CreateOperator = self.record

        def record(self, *args, **kwargs):
            op = self.create(*args, **kwargs)
            if op.type in OURS:
                self.definitions[op.SerializeToString()] = op
            return op

        def pytest_runtest_logreport(self, report):
            if report.when == "call" or report.failed:
                self.outcomes[report.outcome] += 1

    def is_ours(op):
        '''The same definition, fed what no operator takes: only ours says so in its own words.'''
        for name in op.input:
            workspace.FeedBlob(name, np.zeros((), dtype=np.float16))
        try:
            workspace.RunOperatorOnce(op)
        except RuntimeError as error:
            words = r" {}: (mask|mask_1|lengths|centers|argument \\w+) must ".format(op.type)
            return re.search(words, str(error)) is not None
        return False

    recorder = Recorder()
    code = pytest.main(
        ["-q", "-p", "no:cacheprovider", "--rootdir", %(suite)r, "-k", %(only)r]
        + [%(suite)r + "/" + name for name in ("boolean_mask_test.py", "boolean_unmask_test.py")],
        plugins=[recorder],
    )
    print()
    print("RESULT " + json.dumps({
        "code": int(code),
        "outcomes": recorder.outcomes,
        "ours": collections.Counter(op.type for op in recorder.definitions.values() if is_ours(op)),
        "all": collections.Counter(op.type for op in recorder.definitions.values()),
    }))
"""


def run_suite(cwd, only="Op", **environment):
    """Runs the tests that ``only`` selects, by default all: their classes are named for ops."""
    environment["CAFFE2_HYPOTHESIS_PROFILE"] = "sandcastle"  # the same examples on every run
    source = "import os\nos.chdir({!r})\n".format(str(cwd)) + dedent(
        PROGRAM % {"suite": SUITE, "only": only}
    )
    out = fresh_process.output(source, **environment)
    (line,) = [line for line in out.splitlines() if line.startswith("RESULT ")]
    return json.loads(line[len("RESULT ") :]), out


def test_runtime_suite_passes_on_our_operators(tmp_path):
    result, out = run_suite(tmp_path)
    assert result["code"] == 0, out
    assert result["outcomes"] == {"passed": 11}, out
    assert set(result["all"]) == {"BooleanMask", "BooleanUnmask", "SequenceMask"}
    assert result["ours"] == result["all"]


def test_the_proof_tells_stock_apart(tmp_path):
    """Without the override the suite passes too, and none of its operators is ours."""
    result, out = run_suite(
        tmp_path, "indices or repeated or TestUnmaskOp", CAFFE2OP_MASK_OVERRIDE="0"
    )
    assert result["code"] == 0, out
    assert result["ours"] == {}
    assert len(result["all"]) == 3
