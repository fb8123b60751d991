"""The fuzzer of operators, bounded, with the calls that were kept; and that it finds errors."""

import os
import subprocess
import sys

import numpy as np
import pytest

from testers import ROOT, fresh_process

PROGRAM = os.path.join(ROOT, "tests", "fuzz", "operators.py")
CORPUS = os.path.join(ROOT, "tests", "fuzz", "corpus", "operators")


def fuzz(*arguments):
    process = subprocess.run(
        [sys.executable, PROGRAM] + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=600,
    )
    return process.returncode, process.stdout


def test_no_run_finds_anything(tmp_path):
    code, out = fuzz("--runs", "1500", "--seed", "1", "--findings", str(tmp_path))
    assert code == 0, out
    assert "1500 runs in" in out
    # Of every operator, its gradient and itself, some are equal and some refused.
    rows = [line.split() for line in out.splitlines() if line[:1].isupper()]
    figures = {row[0]: [int(number) for number in row[1:]] for row in rows if len(row) == 7}
    assert len(figures) == 22
    for name, (runs, equal, refused, not_judged, _, _) in figures.items():
        assert equal > 0 and refused > 0, name
        # The few runs of each draw other cases on Python 3.6, of which more are not judged.
        assert not_judged <= runs / (4 if sys.version_info >= (3, 7) else 2), name


def test_kept_calls_still_pass():
    code, out = fuzz("--replay", CORPUS)
    assert code == 0, out
    assert "{} runs in".format(len(os.listdir(CORPUS))) in out


@pytest.fixture
def kept(tmp_path):
    """A call of the corpus that is refused, as arrays that a test may change and save."""
    arrays = dict(np.load(os.path.join(CORPUS, "refused.npz")))

    def save(**changes):
        path = str(tmp_path / "call.npz")
        np.savez(path, **dict(arrays, **changes))
        return path

    return save


def test_a_refusal_of_what_is_right_is_a_finding(kept):
    assert fuzz("--replay", kept())[0] == 0
    code, out = fuzz("--replay", kept(spoilt=False))
    assert code == 1
    assert "refused what is right" in out


def test_a_process_that_ends_is_a_finding(kept):
    code, out = fuzz("--replay", kept(op=np.zeros(3, "uint8")))
    assert code == 1
    assert "crash" in out


def test_a_wrong_result_is_a_finding():
    source = """
        import sys
        sys.path[:0] = [{fuzz!r}, {python!r}]
        import numpy as np
        import operators, cases
        judge = cases.JUDGES["BooleanMask"]
        case = operators.Case([np.arange(3), np.array([True, False, True])], {{}}, 1, None)
        judge(case, [np.array([0, 2])])
        for wrong in ([0, 1], [0], [2, 0]):
            try:
                judge(case, [np.array(wrong)])
            except AssertionError:
                continue
            raise SystemExit("taken for right: {{}}".format(wrong))
    """
    folder = os.path.dirname(PROGRAM)
    fresh_process.output(
        source.format(fuzz=folder, python=os.path.join(ROOT, "tests", "python")),
        path=os.path.join(ROOT, "python"),
    )
