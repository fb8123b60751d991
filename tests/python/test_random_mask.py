"""RandomMask."""

import numpy as np
import pytest
from caffe2.python import core

from op_tester import DTYPES, Case, assert_same, create
from real_tester import (
    assert_same_sequence,
    run_seeded,
    same_for_any_threads,
    set_threads,  # noqa: F401  a fixture
)

UNITS = ("element", "row", "span")


def draw(x, seed=1, **args):
    return run_seeded("RandomMask", Case([x], args), seed)[0]


def runs_of_false(row):
    """[begin, end) of each stretch of False."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], row, [True]]).astype(int)))
    return list(zip(edges[::2], edges[1::2]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_shape_and_type(dtype):
    for unit in UNITS:
        mask = draw(np.zeros((3, 2, 5), dtype), unit=unit)
        assert mask.dtype == bool and mask.shape == (3, 2, 5)


@pytest.mark.parametrize("p", [0.0, 0.01, 0.15, 0.5, 0.9, 1.0])
def test_share_of_elements(p):
    count = 1 << 20
    mask = draw(np.zeros(count, "uint8"), p=p)
    error = np.sqrt(p * (1 - p) / count)
    assert abs((~mask).mean() - p) <= 5 * error
    both = (~mask[1:] & ~mask[:-1]).mean()
    assert abs(both - p * p) <= 5 * np.sqrt(p * p / count)


@pytest.mark.parametrize("p", [0.0, 0.15, 0.5, 1.0])
def test_rows_are_masked_whole(p):
    mask = draw(np.zeros((100, 200, 3), "uint8"), p=p, unit="row")
    rows = mask.reshape(-1, 3)
    assert (rows == rows[:, :1]).all()
    assert abs((~rows[:, 0]).mean() - p) <= 5 * np.sqrt(p * (1 - p) / len(rows))


@pytest.mark.parametrize("p", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("length", [1, 4, 10, 100])
def test_spans(p, length):
    """Each position is masked with p, and a span is as long as it should be unless it is cut."""
    rows, columns = 20000, 40
    mask = draw(np.zeros((rows, columns), "uint8"), p=p, unit="span", span_length=length)
    by_column = (~mask).mean(axis=0)
    assert (np.abs(by_column - p) <= 5 * np.sqrt(p * (1 - p) / rows)).all()
    for row in mask[:500]:
        for begin, end in runs_of_false(row):
            assert end - begin >= length or begin == 0 or end == columns


def test_spans_of_one_are_elements():
    """Independent, as elements are."""
    mask = draw(np.zeros((20000, 40), "uint8"), p=0.3, unit="span", span_length=1)
    both = (~mask[:, 1:] & ~mask[:, :-1]).mean()
    assert abs(both - 0.09) <= 5 * np.sqrt(0.09 / mask.size)


def test_spans_of_any_length():
    x = np.zeros((20000, 5), "uint8")
    mask = draw(x, p=0.5, unit="span", span_length=2 ** 62)
    share = (~mask).mean()
    assert abs(share - 0.5) <= 5 * np.sqrt(0.25 / len(x))
    assert (mask == mask[:, :1]).all()


@pytest.mark.parametrize("unit", UNITS)
def test_scalar_and_empty(unit):
    for shape in [(), (0,), (3, 0), (0, 3)]:
        x = np.zeros(shape, "f")
        assert_same(draw(x, p=1.0, unit=unit), np.zeros(shape, bool))
        assert_same(draw(x, p=0.0, unit=unit), np.ones(shape, bool))


@pytest.mark.parametrize("unit", UNITS)
def test_sequence(unit):
    assert_same_sequence("RandomMask", {"unit": unit, "p": 0.5})


@pytest.mark.parametrize("unit", UNITS)
def test_threads(set_threads, unit):  # noqa: F811
    x = np.zeros((7000, 301), "uint8")
    same_for_any_threads(set_threads, lambda: [draw(x, unit=unit)])


def test_no_gradient():
    op = create("RandomMask", Case([None]))
    assert core.GradientRegistry.GetGradientForOp(op, ["output_0_grad"]) == ([], [None])
