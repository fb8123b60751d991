"""The same bits whatever the number of threads, for tensors that are worth several."""

import os

import numpy as np
import pytest
import torch

from testers import fresh_process
from testers.operators import Case, assert_same, gradients, run_case
from testers.threads import threads

N = 3 * 2 ** 19 + 5  # neither a multiple of a chunk nor of a word
MASK = np.random.RandomState(1).rand(N) < 0.5
OTHER = np.random.RandomState(2).rand(N) < 0.5
DATA = np.random.RandomState(3).randn(N).astype("float32")
SCORES = DATA[: N - 5].reshape(2, -1, 512)
ROWS = SCORES.shape[0] * SCORES.shape[1]
LENGTHS = np.full(N // 17 + 1, 17, "int32")
LENGTHS[-1] = N - LENGTHS[:-1].sum()

CASES = {
    "compact": ("BooleanMask", Case([DATA, MASK], outputs=2)),
    "one byte": ("BooleanMask", Case([DATA.view("uint8")[:N], MASK])),
    "rows": ("BooleanMask", Case([SCORES.reshape(-1, 3), MASK[: 2 ** 19]])),
    "keep_shape": ("BooleanMask", Case([DATA, MASK], {"keep_shape": 1}, in_place=0)),
    "lengths": ("BooleanMaskLengths", Case([LENGTHS, MASK])),
    "rows of a mask": (
        "BooleanMaskLengths",
        Case([SCORES, MASK[: N - 5].reshape(2, -1)]),
    ),
    "jagged": ("BooleanMaskJagged", Case([DATA, LENGTHS, MASK], outputs=2)),
    "unmask": (
        "BooleanUnmask",
        Case([MASK, DATA[MASK], OTHER, DATA[OTHER & ~MASK]], {"fill_val": 7.0}),
    ),
    "dense": ("BooleanUnmask", Case([MASK, DATA, OTHER, DATA], {"fill_val": 7.0})),
    "sequence": (
        "SequenceMask",
        Case([SCORES, np.arange(ROWS, dtype="int32") % 600], {"mode": "sequence", "axis": 2}),
    ),
    "causal": ("SequenceMask", Case([SCORES], {"mode": "upper", "axis": 2, "batch": 0})),
    "one row": ("SequenceMask", Case([DATA], {"mode": "lower", "axis": 0, "diagonal": N // 3})),
    "mask": ("SequenceMask", Case([SCORES, MASK[:512][None, None]], {"mode": "mask"})),
}

EXPECTED = {
    "compact": [DATA[MASK], np.flatnonzero(MASK)],
    "one byte": [DATA.view("uint8")[:N][MASK]],
    "rows": [SCORES.reshape(-1, 3)[MASK[: 2 ** 19]]],
    "keep_shape": [np.where(MASK, DATA, np.float32(0))],
    "lengths": [np.add.reduceat(MASK, np.arange(0, N, 17), dtype="int32")],
    "rows of a mask": [MASK[: N - 5].reshape(2, -1).sum(1, dtype="int32")],
    "jagged": [DATA[MASK], np.add.reduceat(MASK, np.arange(0, N, 17), dtype="int32")],
    "unmask": [np.where(MASK | OTHER, DATA, np.float32(7))],
    "dense": [np.where(MASK | OTHER, DATA, np.float32(7))],
    "sequence": [
        np.where(
            np.arange(512) < (np.arange(ROWS) % 600).reshape(2, -1, 1), SCORES, np.float32(-np.inf)
        )
    ],
    "causal": [
        np.where(np.tri(SCORES.shape[1], 512, dtype=bool), SCORES, np.float32(-np.inf))
    ],
    "one row": [np.where(np.arange(N) >= N // 3, DATA, np.float32(-np.inf))],
    "mask": [np.where(MASK[:512], SCORES, np.float32(0))],
}


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", sorted(CASES))
def test_forward(name, count):
    with threads(count):
        outputs = run_case(*CASES[name])
    for actual, expected in zip(outputs, EXPECTED[name]):
        assert_same(actual, expected)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", ["compact", "jagged", "unmask", "dense", "causal"])
def test_gradient(name, count):
    """What comes back stands where it came from, and every other entry is 0."""
    op_type, case = CASES[name]
    ones = np.ones_like(EXPECTED[name][0])
    kept = {
        "compact": {0: MASK},
        "jagged": {0: MASK},
        "unmask": {1: np.ones(MASK.sum()), 3: np.ones((OTHER & ~MASK).sum())},
        "dense": {1: MASK, 3: OTHER & ~MASK},
        "causal": {0: np.tile(np.tri(SCORES.shape[1], 512), (2, 1, 1))},
    }[name]
    with threads(count):
        grads = gradients(op_type, case, [ones])
    assert sorted(grads) == sorted(kept)
    for i, expected in kept.items():
        assert_same(grads[i], expected.astype("float32"))


@pytest.mark.parametrize("threads", ["1", "2"])
def test_operators_use_the_threads_they_are_given(threads):
    """A pool that is not there before the first large tensor is there after it."""
    source = """
        import os
        import numpy as np
        from caffe2.python import core, workspace
        import caffe2op_mask

        count = lambda: len(os.listdir("/proc/self/task"))
        workspace.FeedBlob("data", np.ones((4096, 1024), dtype=np.float32))
        before = count()
        workspace.RunOperatorOnce(
            core.CreateOperator("SequenceMask", ["data"], ["output"], mode="upper"))
        print(count() - before)
    """
    assert fresh_process.output(source, OMP_NUM_THREADS=threads).split() == [str(int(threads) - 1)]


CORES = len(os.sched_getaffinity(0))
needs_mkl = pytest.mark.skipif(
    not torch.backends.mkl.is_available(), reason="the runtime's BLAS is not MKL"
)


def threads_after(statement, environment):
    """How many threads the runtime has after a statement, in a process of its own."""
    source = """
        import os
        for name in [name for name in os.environ if name.endswith("_NUM_THREADS")]:
            del os.environ[name]
        os.environ.update({}, MKL_DYNAMIC="FALSE")  # more threads than cores, too
        from caffe2.python import core
        import caffe2op_mask
        import torch
        {}
        print(torch.get_num_threads())
    """
    return int(fresh_process.output(source.format(environment, statement)))


@needs_mkl
@pytest.mark.parametrize(
    "flags, environment, count",
    [
        ([], {}, 1),
        ([], {"OMP_NUM_THREADS": "3"}, 1),
        ([], {"MKL_NUM_THREADS": "3"}, 3),
        (["--caffe2_omp_num_threads=3"], {}, 3),
        (["--caffe2_mkl_num_threads=3"], {}, 3),
    ],
)
def test_threads_that_caffe2_leaves(flags, environment, count):
    """As docs/loading.md and docs/troubleshooting.md have it."""
    assert threads_after("core.GlobalInit({})".format(["x"] + flags), environment) == count


@pytest.mark.parametrize(
    "arguments, environment, count",
    [
        ("'x'", {}, CORES),
        ("'x', threads=3", {}, 3),
        ("'x', threads=3", {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}, 3),
        ("'x'", {"OMP_NUM_THREADS": "3"}, 3),
        ("'x'", {"OMP_NUM_THREADS": "3,1"}, 3),
        ("'x'", {"OMP_NUM_THREADS": ""}, CORES),
        ("'x'", {"OMP_NUM_THREADS": "many"}, CORES),
        pytest.param("'x'", {"MKL_NUM_THREADS": "3"}, 3, marks=needs_mkl),
        pytest.param("'x'", {"MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "3"}, 1, marks=needs_mkl),
    ],
)
def test_global_init(arguments, environment, count):
    assert threads_after("caffe2op_mask.global_init({})".format(arguments), environment) == count


def test_global_init_does_not_log_what_it_raises():
    source = """
        import caffe2op_mask
        from caffe2.python import core, workspace
        caffe2op_mask.global_init("x")
        try:
            workspace.RunOperatorOnce(core.CreateOperator("SequenceMask", ["x"], ["y"]))
        except RuntimeError as error:
            print("raised")
    """
    result = fresh_process.run(source)
    assert result.out == "raised\n"
    assert "enforce fail" not in result.err
