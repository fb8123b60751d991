"""RandomMask."""

import numpy as np
import pytest
from caffe2.python import core

from testers.operators import DTYPES, INDICES, Case, assert_same, create, run_seeded
from testers.reals import assert_same_sequence
from testers.threads import same_for_any_threads

pytestmark = pytest.mark.operators

UNITS = ("element", "row", "span")


def draw(x, seed=1, lengths=None, **args):
    inputs = [x] if lengths is None else [x, lengths]
    return run_seeded("RandomMask", Case(inputs, args), seed)[0]


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
def test_threads(unit):
    x = np.zeros((7000, 301), "uint8")
    same_for_any_threads(lambda: [draw(x, unit=unit)])


def test_no_gradient():
    op = create("RandomMask", Case([None]))
    assert core.GradientRegistry.GetGradientForOp(op, ["output_0_grad"]) == ([], [None])


SPAN = {"unit": "span", "span_length": 4}
COLUMNS = np.arange(40)


@pytest.mark.parametrize("dtype", INDICES)
@pytest.mark.parametrize("args", [{}, {"p": 0.5}, SPAN, dict(SPAN, p=0.6), dict(SPAN, p=1.0)])
def test_padding_stays(args, dtype):
    """What stands before a row's length is drawn as without lengths."""
    x = np.zeros((500, 3, 40), "uint8")
    limits = np.iinfo(dtype)
    lengths = np.random.RandomState(1).randint(-2, 45, size=500).astype(dtype)
    lengths[:2] = [limits.min, limits.max]
    padding = COLUMNS >= lengths[:, None, None]
    assert_same(draw(x, lengths=lengths, **args), draw(x, **args) | padding)
    by_row = np.repeat(lengths[:, None], 3, axis=1)
    assert_same(draw(x, lengths=by_row, **args), draw(x, **args) | padding)
    of_all = np.array(7, dtype)
    assert_same(draw(x, lengths=of_all, **args), draw(x, **args) | (COLUMNS >= 7))


@pytest.mark.parametrize("least", [1, 5, 40, 2 ** 62])
@pytest.mark.parametrize("p", [0.0, 0.05, 0.5, 1.0])
def test_least_of_elements(p, least):
    x = np.zeros((2000, 40), "uint8")
    lengths = np.random.RandomState(1).randint(0, 41, size=2000)
    mask, drawn = [draw(x, lengths=lengths, p=p, **args) for args in ({"min_masked": least}, {})]
    assert not (mask & ~drawn).any()  # more are masked, and none fewer
    masked, enough = (~drawn).sum(1), np.minimum(least, lengths)
    assert_same((~mask).sum(1), np.maximum(masked, enough))
    assert mask[COLUMNS >= lengths[:, None]].all()


def starts(row):
    """Where spans that do not overlap begin."""
    return [begin for begin, _ in runs_of_false(row)]


@pytest.mark.parametrize("least", [1, 2, 3])
@pytest.mark.parametrize("p", [0.0, 0.02, 0.3])
def test_least_of_spans(p, least):
    x = np.zeros((4000, 40), "uint8")
    lengths = np.random.RandomState(1).randint(0, 41, size=4000)
    args = dict(SPAN, p=p, lengths=lengths)
    mask, drawn = draw(x, min_masked=least, **args), draw(x, **args)
    assert not (mask & ~drawn).any()
    assert mask[COLUMNS >= lengths[:, None]].all()
    added = (mask != drawn).any(1)
    assert added.any()
    for row, before, length, more in zip(mask, drawn, lengths, added):
        masked = (~row).sum()
        # Spans begin at places of their own, so that each is one entry more at the least.
        if length >= 4 + least:
            assert masked >= (4 + least - 1 if before.all() else 1)
        elif length < 4:
            assert not more
        if more:
            assert masked > (~before).sum() and masked <= (~before).sum() + 4 * least
            for begin, end in runs_of_false(row):
                assert end - begin >= 4 or begin == 0 or end == length


def test_least_is_anywhere_with_one_probability():
    x = np.zeros((100000, 10), "uint8")
    mask = draw(x, p=0.0, min_masked=3)
    assert ((~mask).sum(1) == 3).all()
    bound = 5 * np.sqrt(0.3 * 0.7 / len(x))
    assert (np.abs((~mask).mean(0) - 0.3) <= bound).all()
    # Any two of them together, too.
    pairs = (~mask).T.astype("float64") @ (~mask) / len(x)
    apart = pairs[~np.eye(10, dtype=bool)]
    assert (np.abs(apart - 3 / 10 * 2 / 9) <= bound).all()
    first = draw(x, p=0.0, min_masked=1, unit="span", span_length=4).argmin(1)
    assert first.max() == 6
    share = np.bincount(first) / len(x)
    assert (np.abs(share - 1 / 7) <= 5 * np.sqrt(1 / 7 / len(x))).all()


@pytest.mark.parametrize("args", [{"unit": "element"}, SPAN])
def test_limits_of_nothing_change_nothing(args):
    x = np.zeros((300, 40), "uint8")
    whole = np.full(300, 40)
    for more in ({"min_masked": 0}, {"lengths": whole}, {"lengths": whole, "min_masked": 0}):
        assert_same(draw(x, **dict(args, **more)), draw(x, **args))


@pytest.mark.parametrize("args", [{"unit": "element", "p": 0.01}, dict(SPAN, p=0.01)])
def test_limits_and_threads(args):
    x = np.zeros((7000, 301), "uint8")
    lengths = np.arange(7000, dtype="int32") % 301
    same_for_any_threads(lambda: [draw(x, lengths=lengths, min_masked=20, **args)])


@pytest.mark.parametrize("args", [{}, {"unit": "span"}])
def test_limits_of_empty(args):
    for shape in [(0, 3), (3, 0), (0, 0)]:
        x = np.zeros(shape, "f")
        mask = draw(x, lengths=np.ones(shape[0], "int32"), min_masked=2, p=0.0, **args)
        assert_same(mask, np.ones(shape, bool))
