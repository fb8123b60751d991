"""Random cases of each operator: drawn as its documentation allows, and judged by its oracle.

``draw(random)`` of a family returns a Case; ``judge(case, outputs)`` fails where the outputs are
not the oracle's. Inputs are NumPy arrays; those of bfloat16, which NumPy does not have, are Reals.
"""

import inspect
from functools import partial

import numpy as np
import torch

from oracles import attending, gating, masking
from oracles.attending_gradients import masked_attention_gradient
from oracles.attending_jagged import masked_attention_jagged, masked_attention_jagged_gradient
from testers.attention import make_case, make_jagged
from testers.operators import DTYPES, INDICES, Case, assert_same

REALS = ("float16", "bfloat16", "float32", "float64")
HUGE = 2 ** 63 - 1
PARTS = sorted(masking.MASKED)


class BFloat16(object):
    """An array of numbers that bfloat16 has, as float64, and the tensor of them."""

    def __init__(self, array):
        self.tensor = torch.tensor(np.array(array, "float64")).to(torch.bfloat16)
        self.shape = tuple(self.tensor.shape)
        self.dtype = "bfloat16"


def wide(array):
    """An input or output in float64 where it is of reals."""
    if isinstance(array, BFloat16):
        array = array.tensor
    if isinstance(array, torch.Tensor):
        array = array.to(torch.float64).numpy()
    return array.astype("float64") if array.dtype.kind == "f" else array


def one_in(random, n):
    return random.randint(n) == 0


def pick(random, choices):
    return choices[random.randint(len(choices))]


def shape_of(random, least, most):
    """Dims, small ones mostly, now and then a 0 or a long one."""
    shape = [random.randint(1, 6) for _ in range(random.randint(least, most + 1))]
    if shape and one_in(random, 6):
        shape[random.randint(len(shape))] = 0
    elif shape and one_in(random, 8):
        shape[random.randint(len(shape))] = random.randint(1, 5000 // masking.product(shape) + 2)
    return tuple(shape)


def smaller(random, shape):
    """Dims that broadcast to a shape."""
    kept = shape[random.randint(len(shape) + 1) :]
    return tuple(1 if one_in(random, 2) else size for size in kept)


def array(random, dtype, shape, special=True):
    """Numbers of a type: reals of some size, with NaN, infinities and zeros; integers of any."""
    count = masking.product(shape)
    if dtype == "bool":
        drawn = random.random_sample(count) < pick(random, (0, 0.1, 0.5, 0.9, 1))
    elif np.dtype(dtype if dtype != "bfloat16" else "f").kind in "iu":
        drawn = np.frombuffer(random.bytes(count * np.dtype(dtype).itemsize), dtype)
    else:
        drawn = random.standard_normal(count) * pick(random, (0, 0.1, 1, 1, 4))
        if special and count and one_in(random, 3):
            places = random.randint(count, size=random.randint(1, 4))
            drawn[places] = pick(random, (np.nan, np.inf, -np.inf, 0.0, -0.0))
    if dtype == "bfloat16":
        return BFloat16(drawn.reshape(shape))
    return drawn.astype(dtype).reshape(shape)


def index(random, shape, columns):
    """What a shape reads of rows: near the columns, or as far as the type goes."""
    dtype = np.dtype(pick(random, INDICES))
    drawn = random.randint(-2, columns + 3, size=masking.product(shape))
    drawn = drawn.astype(dtype)
    if drawn.size and one_in(random, 4):
        limits = np.iinfo(dtype)
        drawn[random.randint(drawn.size)] = pick(random, (limits.min, limits.max))
    return drawn.reshape(shape)


def fill_val(random, dtype):
    """A number that the type holds, as the argument is kept."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return random.randint(2)
    if kind in "iu":
        limits = np.iinfo(dtype)
        return pick(random, (0, 1, int(limits.min), int(limits.max)))
    return pick(random, (0.0, -0.0, 1.0, -2.5, np.inf, -np.inf))


def some_args(random, **choices):
    """Each of the arguments with one of its choices, or not at all."""
    return {
        name: pick(random, values) for name, values in sorted(choices.items()) if one_in(random, 2)
    }


def lengths_to(random, total, dtype):
    """Lengths that add up to a total."""
    cuts = np.sort(random.randint(0, total + 1, size=random.randint(0, 6)))
    return np.diff(np.concatenate([[0], cuts, [total]])).astype(dtype)


def exact(function):
    """A judge that wants every bit of what a function of masking.py gives."""

    known = inspect.signature(function).parameters

    def judge(case, outputs):
        args = {name: value for name, value in case.args.items() if name in known}
        for actual, expected in zip(outputs, function(*case.inputs, **args)):
            assert_same(actual, expected)

    return judge


def assert_near(name, actual, expected, dtype, scale=None, ulps=64):
    """NaN and infinities where expected; else near, relative to itself or to ``scale``."""
    assert tuple(actual.shape) == tuple(expected.shape), "{} is of shape {}, not {}".format(
        name, tuple(actual.shape), expected.shape
    )
    assert str(actual.dtype).replace("torch.", "") == dtype, "{} is of type {}, not {}".format(
        name, actual.dtype, dtype
    )
    info = torch.finfo(getattr(torch, dtype))
    computed = np.finfo("float64" if dtype == "float64" else "float32")
    actual = wide(actual)
    size = np.array(np.abs(expected))
    size[~np.isfinite(size)] = 0
    scale = 1.0 if scale is None else np.where(np.isfinite(scale), np.abs(scale), 0)
    bound = info.eps * size + ulps * computed.eps * np.maximum(size, scale) + float(info.tiny)
    with np.errstate(invalid="ignore"):
        near = (np.abs(actual - expected) <= bound) | (actual == expected)
    near |= np.isnan(actual) & np.isnan(expected)
    # What rounding takes past the greatest number is infinite.
    near |= np.isinf(actual) & (size * (1 + info.eps) >= info.max)
    if not near.all():
        at = tuple(np.argwhere(~near)[0])
        raise AssertionError(
            "{}{} is {}, not {}".format(name, list(at), actual[at], expected[at])
        )


# Families, by operator. Each draws a case that is right.


def draw_boolean_mask(random):
    data = array(random, pick(random, DTYPES), shape_of(random, 1, 4))
    mask = array(random, "bool", data.shape[: random.randint(1, data.ndim + 1)])
    args = {"keep_shape": 1} if one_in(random, 2) else {}
    if args and one_in(random, 2):
        args["fill_val"] = fill_val(random, data.dtype)
    in_place = 0 if args and one_in(random, 3) else None
    return Case([data, mask], args, 1 if args else random.randint(1, 3), in_place)


def draw_boolean_mask_lengths(random):
    if one_in(random, 2):
        mask = array(random, "bool", shape_of(random, 2, 3))
        shape = mask.shape[:1] + shape_of(random, 0, 2)
        return Case([array(random, pick(random, DTYPES), shape), mask])
    mask = array(random, "bool", shape_of(random, 1, 1))
    return Case([lengths_to(random, len(mask), pick(random, INDICES)), mask])


def draw_boolean_mask_jagged(random):
    values = array(random, pick(random, DTYPES), shape_of(random, 1, 3))
    mask = array(random, "bool", values.shape[:1])
    return Case([values, lengths_to(random, len(mask), pick(random, INDICES)), mask], {}, 2)


def draw_boolean_unmask(random):
    shape = shape_of(random, 1, 2)
    row = shape_of(random, 0, 2)
    dtype = pick(random, DTYPES)
    args = {"fill_val": fill_val(random, dtype)} if one_in(random, 2) else {}
    inputs, free = [], np.ones(shape, bool)
    layout = pick(random, ("auto", "compact", "dense"))
    if layout != "auto":
        args["layout"] = layout
    for _ in range(random.randint(1, 4)):
        mask = array(random, "bool", shape)
        # Of masks with more dims the shape alone decides.
        dense = layout == "dense" or (layout == "auto" and (len(shape) > 1 or one_in(random, 2)))
        size = shape if dense else (int((mask & free).sum()),)
        inputs += [mask, array(random, dtype, size + row)]
        free &= ~mask
    if free.any() and "fill_val" not in args:
        args["fill_val"] = 0
    return Case(inputs, args)


def draw_sequence_mask(random):
    dtype = pick(random, DTYPES)
    shape = shape_of(random, 1, 4)
    data = array(random, dtype, shape)
    args = some_args(random, grad=(0, 1))
    if np.dtype(dtype).kind != "f" or one_in(random, 2):
        args["fill_val"] = fill_val(random, dtype)
    in_place = 0 if one_in(random, 3) else None
    if one_in(random, 4):
        leading = shape[: random.randint(len(shape) + 1)]
        mask = array(random, "bool", tuple(1 if one_in(random, 3) else n for n in leading))
        return Case([data, mask], dict(args, mode="mask"), 1, in_place)
    axis = random.randint(len(shape))
    parts = [pick(random, PARTS) for _ in range(random.randint(1, 4))]
    parts = sorted(set(parts), key=parts.index)
    args.update(mode="+".join(parts), axis=axis)
    args.update(
        some_args(
            random,
            radius=(0, 1, 3, HUGE),
            diagonal=(-HUGE - 1, -3, -1, 1, 2, HUGE),
            repeat_from_axis=range(masking.first_repeat(shape, axis), len(shape)),
            lengths_of=("rows", "batch"),
        )
    )
    batch = random.randint(axis) if axis and one_in(random, 2) else None
    if batch is not None:
        args["batch"] = batch
    rows = shape[0 if batch is None else batch + 1 : axis]
    by_batch = args.get("lengths_of") == "batch"
    inputs = [data]
    for part, _ in masking.ROW_INPUTS:
        if part in parts:
            leading = by_batch or (batch is None and one_in(random, 2))
            size = shape[: random.randint(axis + 1)] if leading else (masking.product(rows),)
            inputs.append(index(random, size, masking.product(shape[axis:])))
    return Case(inputs, args, 1, in_place)


def draw_score_options(random, dtype, shape):
    """Arguments and optional inputs of operators on scores."""
    parts = [pick(random, PARTS) for _ in range(random.randint(0, 3))]
    args = some_args(
        random,
        radius=(0, 1, 3, HUGE),
        diagonal=(-HUGE - 1, -2, 1, HUGE),
        window_left=(-1, 0, 2, HUGE),
        window_right=(-1, 0, 2, HUGE),
        empty_row=("zero", "nan", "uniform"),
        scale=(0.5, 1.0, -1.0, 0.0),
    )
    args["mode"] = "+".join(sorted(set(parts), key=parts.index))
    extras = {}
    for part, name in masking.ROW_INPUTS:
        if part in parts:
            least = 1 if len(shape) == 4 else 0
            prefix = shape[: random.randint(min(least, len(shape) - 1), len(shape))]
            extras[name] = index(random, prefix, shape[-1])
    if one_in(random, 2):
        extras["mask"] = array(random, "bool", smaller(random, shape))
    if one_in(random, 2):
        extras["bias"] = array(random, dtype, smaller(random, shape), special=False)
    return args, extras


def draw_masked_softmax(random):
    dtype = pick(random, REALS)
    shape = shape_of(random, 1, 4)
    args, extras = draw_score_options(random, dtype, shape)
    args.update(some_args(random, log=(0, 1)))
    in_place = 0 if one_in(random, 4) else None
    return make_case(
        [array(random, dtype, shape)], args, random.randint(1, 3), in_place, **extras
    )


def draw_masked_attention(random):
    dtype = pick(random, REALS)
    groups, kv_heads = random.randint(1, 4), random.randint(1, 4)
    batch, queries, keys, depth, value_depth = [
        0 if one_in(random, 20) else random.randint(1, 7) for _ in range(5)
    ]
    if one_in(random, 6):
        queries, keys = random.randint(60, 70), pick(random, (0, 1, 63, 64, 65, 257))
    shape = (batch, groups * kv_heads, queries, keys)
    args, extras = draw_score_options(random, dtype, shape)
    args.update(some_args(random, align=("top_left", "bottom_right"), softcap=(0.0, 0.5, 30.0)))
    if depth == 0:
        args.setdefault("scale", 1.0)  # its default has no value then
    if one_in(random, 8):
        # Rows under the lowest of biases, as padding is often masked. Scores are the bias alone,
        # since of what is added to it a float keeps nothing, and the oracle's double does.
        args["scale"] = 0.0
        low = np.where(random.random_sample((queries, 1)) < 0.5, -6e4, 0.0)
        low = low * (1 if dtype == "float16" else 1e5)
        extras["bias"] = BFloat16(low) if dtype == "bfloat16" else low.astype(dtype)
    if one_in(random, 3):
        extras["sinks"] = array(random, dtype, shape[1:2], special=False)
        if one_in(random, 3):
            none = np.where(random.random_sample(shape[1]) < 0.5, -np.inf, wide(extras["sinks"]))
            extras["sinks"] = BFloat16(none) if dtype == "bfloat16" else none.astype(dtype)
    first = [
        array(random, dtype, shape[:3] + (depth,)),
        array(random, dtype, (batch, kv_heads, keys, depth)),
        array(random, dtype, (batch, kv_heads, keys, value_depth)),
    ]
    return make_case(first, args, random.randint(1, 3), None, **extras)


def draw_masked_attention_jagged(random):
    dtype = pick(random, REALS)
    groups, kv_heads = random.randint(1, 4), random.randint(1, 4)
    depth, value_depth = [0 if one_in(random, 20) else random.randint(1, 7) for _ in range(2)]
    most = 70 if one_in(random, 6) else 7
    count = random.randint(0, 6)
    lengths, used_keys = (random.randint(0, most, size=count) for _ in range(2))
    key_lengths = used_keys + random.randint(0, 3, size=count)
    kind = pick(random, ("self", "cross", "used"))
    if kind == "self":
        key_lengths = lengths
    args = some_args(
        random,
        mode=("", "upper", "lower", "upper+lowerdiag", "upperdiag"),
        diagonal=(-HUGE - 1, -2, 1, HUGE),
        window_left=(-1, 0, 2, HUGE),
        window_right=(-1, 0, 2, HUGE),
        empty_row=("zero", "nan", "uniform"),
        align=("top_left", "bottom_right"),
        softcap=(0.0, 0.5, 30.0),
        scale=(0.5, 1.0, -1.0, 0.0),
    )
    if depth == 0:
        args.setdefault("scale", 1.0)  # its default has no value then
    heads, keys = groups * kv_heads, int(key_lengths.sum())
    first = [
        array(random, dtype, (int(lengths.sum()), heads, depth)),
        array(random, dtype, (keys, kv_heads, depth)),
        array(random, dtype, (keys, kv_heads, value_depth)),
    ]
    lengths, key_lengths, used_keys = (
        one.astype(pick(random, INDICES)) for one in (lengths, key_lengths, used_keys)
    )
    return make_jagged(
        first, lengths, args,
        key_lengths=None if kind == "self" else key_lengths,
        used_keys=used_keys if kind == "used" else None,
        sinks=array(random, dtype, (heads,), special=False) if one_in(random, 3) else None,
        outputs=random.randint(1, 3),
    )


def judge_softmax(case, outputs):
    inputs = [wide(one) for one in case.inputs]
    expected = attending.masked_softmax(*inputs, **case.args)
    dtype = str(case.inputs[0].dtype)
    assert_near("Y", outputs[0], expected[0], dtype, 0.1)
    if len(outputs) > 1:
        computed = "float64" if dtype == "float64" else "float32"
        assert_near("LSE", outputs[1], expected[1], computed, 1.0)


def judge_attention(case, outputs, oracle=attending.masked_attention):
    inputs = [wide(one) for one in case.inputs]
    if not all(np.isfinite(one).all() for one in inputs[:3]):
        return  # which infinity or NaN comes of one is for the kernels' tests
    dtype = str(case.inputs[0].dtype)
    o, lse = oracle(*inputs, **case.args)
    scale = max(1.0, np.abs(inputs[2]).max(initial=0.0))
    assert_near("O", outputs[0], o, dtype, scale, 400)
    if len(outputs) > 1:
        scale = 1 + np.abs(inputs[0]).max(initial=0) * np.abs(inputs[1]).max(initial=0) * 4
        assert_near("LSE", outputs[1], lse, "float64" if dtype == "float64" else "float32", scale)


DRAWN = ("hard_concrete", "gumbel_softmax")
SOFTMAXES = ("softmax", "gumbel_softmax")


def draw_gate(random):
    dtype = pick(random, REALS)
    x = array(random, dtype, shape_of(random, 0, 4))
    inputs = [x, array(random, dtype, smaller(random, x.shape))]
    kind = pick(
        random, ("sigmoid", "tanh", "softmax", "relu", "hard", "hard_concrete", "gumbel_softmax")
    )
    args = {"kind": kind} if kind != "sigmoid" or one_in(random, 2) else {}
    outputs = random.randint(1, 3)
    if kind == "relu" and not one_in(random, 4):
        inputs.append(array(random, dtype, smaller(random, inputs[1].shape)))
    if kind == "hard":
        args.update(some_args(random, clip=(0.0, 1.5, 3)))
    if kind == "hard_concrete":
        args.update(some_args(random, beta=(0.5, 2.0), gamma=(-0.5, 0.0), zeta=(1.0, 1.5)))
    if kind in SOFTMAXES:
        if one_in(random, 2):
            inputs[1] = array(random, dtype, x.shape)  # rows that are seldom of one entry
        args.update(some_args(random, tau=(0.5, 2.0, 3), hard=(0, 1)))
    if kind in DRAWN:
        args["is_test"] = random.randint(2)
        outputs = pick(random, (1, 2, 3, 3))  # of three the last says what was drawn
    return Case(inputs, args, outputs, 0 if one_in(random, 4) else None)


def weigh(args, g, x):
    """g * x, or 0 where a gate that masks is closed."""
    if args.get("kind") in ("relu", "hard", "hard_concrete") or args.get("hard"):
        return np.where(g == 0, 0.0, g * x)
    return g * x


def gate_value(z, threshold, args):
    """g(Z), NaN where Z is."""
    if args.get("kind") == "relu":
        return np.asarray(np.maximum(0, z if threshold is None else z - threshold))
    return np.asarray(gating.value(z, threshold, **args))


def gate_args(args):
    """Arguments that the oracle takes, as the operator keeps them."""
    known = ("kind", "clip", "beta", "gamma", "zeta", "is_test", "tau", "hard")
    return {name: real(value) for name, value in args.items() if name in known}


def near_equals(z, args):
    """Whether rounding may change which of a row is the greatest."""
    if z.ndim == 0 or z.shape[-1] < 2:
        return False
    logits = gating.logits(z, args.get("tau", 1), args.get("noise"))
    first, second = np.moveaxis(np.sort(logits, axis=-1)[..., :-3:-1], -1, 0)
    return ((first != second) & (first - second < 1e-5 * (1 + np.abs(first)))).any()


def real(value):
    return float(np.float32(value)) if isinstance(value, float) else value


def judge_gate(case, outputs):
    x, z = wide(case.inputs[0]), wide(case.inputs[1])
    dtype = str(case.inputs[0].dtype)
    args = gate_args(case.args)
    if args.get("kind") in DRAWN and not args.get("is_test"):
        # Drawn: what is known of it is its range, and that Y is made of it.
        assert len(outputs) < 3 or outputs[2].shape == (2,)
        if len(outputs) > 1:
            g = wide(outputs[1])
            assert g.shape == z.shape
            assert (np.isnan(z) | ~((g < 0) | (g > 1))).all(), "G is not of [0, 1]"
        if args["kind"] == "hard_concrete" or len(outputs) < 3:
            return
        args["noise"] = outputs[2]
    if args.get("hard") and near_equals(z, args):
        return
    threshold = wide(case.inputs[2]) if len(case.inputs) > 2 else None
    g = gate_value(z, threshold, args)
    scale = np.abs(z).max(initial=1.0, where=np.isfinite(z)) if args.get("kind") == "relu" else 1.0
    sizes = np.abs(np.broadcast_to(x, x.shape))
    assert_near("Y", outputs[0], np.asarray(weigh(args, g, x)), dtype, scale * sizes)
    if len(outputs) > 1:
        assert_near("G", outputs[1], np.asarray(g), dtype, scale)


def draw_highway(random):
    dtype = pick(random, REALS)
    shape = shape_of(random, 0, 4)
    inputs = [array(random, dtype, shape) for _ in range(2)]
    inputs.append(array(random, dtype, smaller(random, shape)))
    kind = pick(random, ("sigmoid", "softmax", "hard"))
    return Case(inputs, {"kind": kind}, 1, pick(random, (None, None, 0, 1)))


def judge_highway(case, outputs):
    h, x, z = [wide(one) for one in case.inputs]
    g = gate_value(z, None, gate_args(case.args))
    expected = np.asarray(weigh(case.args, g, h) + weigh(case.args, 1 - g, x))
    scale = np.where(np.isfinite(h), np.abs(h), 0) + np.where(np.isfinite(x), np.abs(x), 0)
    assert_near("Y", outputs[0], expected, str(case.inputs[0].dtype), scale)


def draw_mixture_gate(random):
    dtype = pick(random, REALS)
    e = array(random, dtype, shape_of(random, 2, 4))
    z = array(random, dtype, e.shape[:2])
    args = {}
    if e.shape[1] and one_in(random, 2):
        args["top_k"] = random.randint(1, e.shape[1] + 1)
    args.update(some_args(random, renormalize=(0, 1)))
    inputs = [e, z]
    if one_in(random, 2):
        # So far apart that it alone decides.
        bias = 2.0 * random.permutation(e.shape[1])
        inputs.append(bias.astype("float64" if dtype == "float64" else "float32"))
    return Case(inputs, args, random.randint(1, 3))


def judge_mixture_gate(case, outputs):
    e, z = [wide(one) for one in case.inputs[:2]]
    if np.isnan(z).any() or np.isposinf(z).any():
        return  # its row is NaN, and what top_k makes of it is nobody's contract
    dtype = str(case.inputs[0].dtype)
    known = {name: case.args[name] for name in ("top_k", "renormalize") if name in case.args}
    with np.errstate(invalid="ignore"):
        y, g = gating.mixture_gate(e, z, *case.inputs[2:], **known)
    assert_near("Y", outputs[0], y, dtype, np.abs(e).max(initial=1.0, where=np.isfinite(e)))
    if len(outputs) > 1:
        assert_near("G", outputs[1], g, dtype, 0.1)


def draw_bernoulli_mask(random):
    return Case([array(random, pick(random, REALS), shape_of(random, 0, 3))], {}, 2)


def judge_bernoulli_mask(case, outputs):
    z, mask = wide(case.inputs[0]), outputs[0]
    assert mask.dtype == np.bool_ and mask.shape == z.shape
    drawn = np.where(mask, z, -z)
    with np.errstate(over="ignore"):
        expected = np.minimum(drawn, 0) - np.log1p(np.exp(-np.abs(drawn)))
    assert_near("log_prob", outputs[1], np.asarray(expected), str(case.inputs[0].dtype), 0.1)


def draw_random_mask(random):
    args = some_args(random, p=(0.0, 1.0, 0.25, 1, 0), unit=("element", "row", "span"))
    if args.get("unit") == "span":
        args.update(some_args(random, span_length=(1, 2, 7, HUGE)))
    inputs = [array(random, pick(random, DTYPES), shape_of(random, 0, 3))]
    shape = inputs[0].shape
    if args.get("unit") != "row":
        args.update(some_args(random, min_masked=(0, 1, 3, HUGE)))
        if shape and one_in(random, 2):
            inputs.append(index(random, shape[: random.randint(len(shape))], shape[-1]))
    return Case(inputs, args)


def judge_random_mask(case, outputs):
    mask = outputs[0]
    assert mask.dtype == np.bool_ and mask.shape == case.inputs[0].shape
    p, least, real = case.args.get("p", 0.15), case.args.get("min_masked", 0), ~np.zeros_like(mask)
    if len(case.inputs) > 1:
        lengths = case.inputs[1]
        real = np.arange(mask.shape[-1]) < lengths.reshape(
            lengths.shape + (1,) * (mask.ndim - lengths.ndim)
        )
        real = np.broadcast_to(real, mask.shape)
    assert mask[~real].all(), "padding is masked"
    assert p > 0 or least or mask.all(), "nothing is to be masked"
    assert p < 1 or not mask[real].any(), "everything is to be masked"
    if case.args.get("unit", "element") == "element" and mask.ndim:
        enough = np.minimum(least, real.sum(-1))
        assert ((~mask).sum(-1) >= enough).all(), "fewer are masked than must be"
    if case.args.get("unit") == "row" and mask.ndim:
        assert (mask.all(-1) | ~mask.any(-1)).all(), "a row is masked in part"


# Gradient operators, whose cases gradient makers make of cases of the others.


def judge_boolean_unmask_gradient(case, outputs):
    masks, values, d_data = case.inputs[:-1:2], case.inputs[1:-1:2], case.inputs[-1]
    layout = case.args.get("layout", "auto")
    rows = masking.rows_of(d_data, masks[0].ndim)
    free = np.ones(masks[0].size, bool)
    for mask, rows_in, actual in zip(masks, values, outputs):
        owned = mask.ravel() & free
        free &= ~owned
        expected = rows[owned]
        if masking.is_dense(mask, rows_in, layout):
            expected = np.where(owned[:, None], rows, np.zeros((), rows.dtype))
        assert_same(actual, expected.reshape(rows_in.shape))


def judge_bernoulli_mask_gradient(case, outputs):
    z, mask, d_log_prob = [wide(one) for one in case.inputs]
    slope = np.where(mask, gating.sigmoid(-z), -gating.sigmoid(z))
    assert_near(
        "d_Z", outputs[0], np.asarray(d_log_prob * slope), str(case.inputs[0].dtype), d_log_prob
    )


def finite(arrays):
    return all(np.isfinite(one).all() for one in arrays)


def torch_gate(
    z,
    threshold,
    kind="sigmoid",
    clip=0.0,
    gamma=-0.1,
    zeta=1.1,
    beta=0.0,
    is_test=0,
    tau=1.0,
    hard=0,
    noise=None,
):
    """g(Z) with its gradient, without noise but for that of gumbel_softmax."""
    s = torch.sigmoid(z)
    zero = torch.zeros((), dtype=z.dtype)
    if kind == "tanh":
        return torch.tanh(z)
    if kind in SOFTMAXES:
        noisy = z
        if noise is not None:
            u = gating.drawn(noise, tuple(z.shape))
            noisy = z - torch.tensor(np.log(-np.log(u)))
        soft = torch.softmax(noisy / tau, -1)
        if not hard:
            return soft
        chosen = gating.value(
            z.detach().numpy(), kind=kind, is_test=1, tau=tau, hard=1, noise=noise
        )
        return torch.tensor(chosen) + soft - soft.detach()
    if kind == "relu":
        return torch.where(z > threshold, z - threshold, zero)
    if kind == "hard":
        straight = s if clip == 0 else torch.where(z.abs() <= clip, s, zero)
        return (z > 0).to(z.dtype) + straight - straight.detach()
    if kind == "hard_concrete":
        gamma, zeta = real(gamma), real(zeta)
        g = s * (zeta - gamma) + gamma
        return torch.where(g >= 1, torch.ones_like(g), torch.where(g <= 0, zero, g))
    return s


def judge_by_torch(case, outputs, leaves, weighed, scale):
    """Outputs are the gradients of the sum ``weighed`` of the leaves, all of which are finite."""
    if not finite([leaf.detach().numpy() for leaf in leaves]):
        return
    weighed().backward()
    for i, (actual, leaf) in enumerate(zip(outputs, leaves)):
        expected = np.zeros(tuple(leaf.shape)) if leaf.grad is None else leaf.grad.numpy()
        assert_near("gradient_{}".format(i), actual, expected, str(case.inputs[0].dtype), scale)


def leaf(array):
    return torch.tensor(wide(array), requires_grad=True)


def size_of(*arrays):
    """A bound on sums of products of what is in the arrays."""
    size = 1.0
    for one in arrays:
        size *= 1 + np.abs(wide(one)).max(initial=0.0)
    return size * max([masking.product(one.shape) for one in arrays] + [1])


def judge_gate_gradient(case, outputs):
    inputs = list(case.inputs)
    args = gate_args(case.args)
    if args.get("kind") in DRAWN and not args.get("is_test"):
        if args["kind"] == "hard_concrete":
            return
        args["noise"] = inputs.pop(2)
    if args.get("hard") and near_equals(wide(inputs[1]), args):
        return
    leaves = [leaf(one) for one in inputs[: len(outputs)]]
    d_outputs = [torch.tensor(wide(one)) for one in inputs[len(leaves) :]]
    if not finite([d.numpy() for d in d_outputs]):
        return

    def weighed():
        g = torch_gate(leaves[1], leaves[2] if len(leaves) > 2 else None, **args)
        total = (g * leaves[0] * d_outputs[0]).sum()
        return total + (g * d_outputs[1]).sum() if len(d_outputs) > 1 else total

    judge_by_torch(case, outputs, leaves, weighed, size_of(*inputs))


def judge_highway_gradient(case, outputs):
    leaves = [leaf(one) for one in case.inputs[:3]]
    d_y = torch.tensor(wide(case.inputs[3]))
    if not finite([d_y.numpy()]):
        return

    def weighed():
        g = torch_gate(leaves[2], None, **gate_args(case.args))
        return ((g * leaves[0] + (1 - g) * leaves[1]) * d_y).sum()

    judge_by_torch(case, outputs, leaves, weighed, size_of(*case.inputs))


def judge_mixture_gate_gradient(case, outputs):
    leaves = [leaf(one) for one in case.inputs[:2]]
    bias = case.inputs[2] if case.args.get("has_bias") else None
    d_outputs = [torch.tensor(wide(one)) for one in case.inputs[2 if bias is None else 3 :]]
    if not finite([d.numpy() for d in d_outputs]) or not finite([wide(case.inputs[1])]):
        return
    e, z = [wide(one) for one in case.inputs[:2]]
    g = gating.mixture_gate(e, z, bias, case.args.get("top_k"))[1]

    def weighed():
        kept = torch.softmax(leaves[1], 1) * torch.tensor(g != 0)
        if case.args.get("renormalize"):
            kept = kept / kept.sum(1, keepdim=True)
        rows = masking.product(leaves[0].shape[2:])
        e = leaves[0].reshape(leaves[0].shape[:2] + (rows,))
        total = ((kept[..., None] * e).sum(1) * d_outputs[0].reshape(len(e), rows)).sum()
        return total + (kept * d_outputs[1]).sum() if len(d_outputs) > 1 else total

    judge_by_torch(case, outputs, leaves, weighed, size_of(*case.inputs))


def judge_attention_gradient(
    case, outputs, oracle=attending.masked_attention, gradient=masked_attention_gradient
):
    args = dict(case.args)
    if args.pop("has_d_lse", 0):
        return
    inputs = [wide(one) for one in case.inputs[3:]]
    if not finite(inputs[:3] + [wide(case.inputs[2])]) or 0 in inputs[0].shape + inputs[1].shape:
        return
    o, lse = oracle(*inputs, **args)
    given = [wide(one) for one in case.inputs[:2]]
    if not all(np.allclose(a, b, 0.05, 0.05, equal_nan=True) for a, b in zip(given, (o, lse))):
        return  # not what the forward pass gives
    grads = gradient(wide(case.inputs[2]), *inputs, **args)
    dtype = str(case.inputs[2].dtype)
    # What is of 16 bits starts from an output that was rounded.
    scale = size_of(*case.inputs[2:6]) * (1 if "16" not in dtype else 2 ** 13)
    for actual, i in zip(outputs, sorted(grads)):
        assert_near("gradient_{}".format(i), actual, grads[i], dtype, scale)


def judge_softmax_gradient(case, outputs):
    args = dict(case.args)
    following = iter(case.inputs)
    y = wide(next(following))
    d_y = wide(next(following)) if args.pop("has_d_y", 1) else np.zeros(y.shape)
    d_lse = wide(next(following)) if args.pop("has_d_lse", 0) else np.zeros(y.shape[:-1])
    log = args.pop("log", 0)
    if args.get("empty_row", "zero") != "zero" or not finite([d_y, d_lse]):
        return
    if not finite([np.exp(y) if log else y]):
        return
    extras = attending.read_extras(
        [one if one.dtype == "bfloat16" else np.asarray(one) for one in following], args
    )
    keep = attending.kept(y.shape, extras._replace(bias=None), **args)
    d_y, d_lse = np.where(keep, d_y, 0), d_lse[..., None]
    p = np.where(keep, np.exp(y) if log else y, 0)
    if log:
        expected = np.where(keep, d_y - p * (d_y.sum(-1, keepdims=True) - d_lse), 0)
    else:
        expected = p * (d_y - (p * d_y).sum(-1, keepdims=True) + d_lse)
    expected = np.where((p != 0).any(-1, keepdims=True), expected, 0)
    scale = real(args.get("scale", 1.0))
    size = size_of(d_y) + size_of(d_lse)
    assert_near("dX", outputs[0], scale * expected, str(case.inputs[0].dtype), size)


FAMILIES = {
    "BernoulliMask": (draw_bernoulli_mask, judge_bernoulli_mask),
    "BooleanMask": (draw_boolean_mask, exact(masking.boolean_mask)),
    "BooleanMaskJagged": (draw_boolean_mask_jagged, exact(masking.boolean_mask_jagged)),
    "BooleanMaskLengths": (draw_boolean_mask_lengths, exact(masking.boolean_mask_lengths)),
    "BooleanUnmask": (draw_boolean_unmask, exact(masking.boolean_unmask)),
    "Gate": (draw_gate, judge_gate),
    "Highway": (draw_highway, judge_highway),
    "MaskedAttention": (draw_masked_attention, judge_attention),
    "MaskedAttentionJagged": (
        draw_masked_attention_jagged,
        partial(judge_attention, oracle=masked_attention_jagged),
    ),
    "MaskedSoftmax": (draw_masked_softmax, judge_softmax),
    "MixtureGate": (draw_mixture_gate, judge_mixture_gate),
    "RandomMask": (draw_random_mask, judge_random_mask),
    "SequenceMask": (draw_sequence_mask, exact(masking.sequence_mask)),
}

GRADIENTS = {
    "BernoulliMaskGradient": judge_bernoulli_mask_gradient,
    "BooleanMaskGradient": exact(masking.boolean_mask_gradient),
    "BooleanUnmaskGradient": judge_boolean_unmask_gradient,
    "GateGradient": judge_gate_gradient,
    "HighwayGradient": judge_highway_gradient,
    "MaskedAttentionGradient": judge_attention_gradient,
    "MaskedAttentionJaggedGradient": partial(
        judge_attention_gradient,
        oracle=masked_attention_jagged,
        gradient=masked_attention_jagged_gradient,
    ),
    "MaskedSoftmaxGradient": judge_softmax_gradient,
    "MixtureGateGradient": judge_mixture_gate_gradient,
}
JUDGES = dict({name: judge for name, (_, judge) in FAMILIES.items()}, **GRADIENTS)
