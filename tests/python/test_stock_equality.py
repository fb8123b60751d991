"""To the bit what the stock operators give, over everything that these take.

Stock operators can still be made after loading: the registry takes engine ``DEFAULT`` for none.
"""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from oracles.masking import first_repeat, product
from testers import fresh_process
from testers.arrays import arrays, long_masks, numbered, shapes
from testers.operators import DTYPES, INDICES, Case, assert_same, gradients, run, run_case

STOCK = "DEFAULT"


def assert_stock(op_type, case):
    """Our outputs are those of the stock operator."""
    for ours, stock in zip(run_case(op_type, case), run_case(op_type, case, engine=STOCK)):
        assert_same(ours, stock)


def test_engine_default_is_stock():
    """Without this, every other test here would compare the library with itself."""
    data = np.ones((2, 2), "int64")
    with pytest.raises(RuntimeError, match="Unsupported type of tensor: long"):
        run("SequenceMask", data, mode="upper", fill_val=0.0, engine=STOCK)
    assert run("SequenceMask", data, mode="upper", fill_val=0.0).tolist() == [[1, 0], [1, 1]]
    mask = np.ones((2, 2), bool)
    for op_type, inputs in [
        ("BooleanMask", [data, mask]),
        ("BooleanMaskGradient", [mask[0], data[0].astype("int8")]),
        ("BooleanMaskLengths", [data, mask]),
        ("BooleanUnmask", [mask, data]),
    ]:
        run(op_type, *inputs)
        with pytest.raises(RuntimeError):
            run(op_type, *inputs, engine=STOCK)


@st.composite
def sequence_mask_cases(draw, mode):
    shape = draw(shapes(1, 4))
    rank = len(shape)
    axis = draw(st.integers(0, rank - 1))
    args = {"mode": mode, "axis": axis - draw(st.sampled_from([0, rank]))}
    batch = draw(st.none() | st.integers(0, axis - 1)) if axis > 0 else None
    if batch is not None:
        args["batch"] = batch - draw(st.sampled_from([0, rank]))
    # Stock takes the two apart only, repeats sequences only, and divides by the repeated dims.
    elif mode == "sequence" and product(shape) > 0 and draw(st.booleans()):
        repeat = draw(st.integers(first_repeat(shape, axis), rank - 1))
        args["repeat_from_axis"] = repeat - draw(st.sampled_from([0, rank]))
    if draw(st.booleans()):
        args["radius"] = draw(st.integers(0, 5))
    if draw(st.booleans()):
        args["fill_val"] = draw(st.floats(width=32))
    if draw(st.booleans()):
        args["grad"] = draw(st.booleans())
    inputs = [draw(arrays("float32", shape))]
    if mode in ("sequence", "window"):
        rows = shape[0 if batch is None else batch + 1 : axis]
        sizes = draw(st.sampled_from([rows, (product(rows),)]))
        near = st.integers(-3, product(shape[axis:]) + 3)
        entries = draw(st.lists(near, min_size=product(rows), max_size=product(rows)))
        inputs.append(np.array(entries, "int32").reshape(sizes))
    return Case(inputs, args)


@pytest.mark.parametrize(
    "mode", ["sequence", "window", "upper", "lower", "upperdiag", "lowerdiag"]
)
class TestSequenceMask(object):
    @given(data=st.data())
    def test_forward(self, mode, data):
        assert_stock("SequenceMask", data.draw(sequence_mask_cases(mode)))

    @given(data=st.data())
    def test_gradient_net(self, mode, data):
        """Forward and backward as AddGradientOperators makes them, of one engine and the other."""
        case = data.draw(sequence_mask_cases(mode))
        d_output = data.draw(arrays("float32", case.inputs[0].shape))
        ours, stock = (
            gradients("SequenceMask", case._replace(args=dict(case.args, **engine)), [d_output])
            for engine in ({}, {"engine": STOCK})
        )
        assert list(ours) == list(stock) == [0]
        assert_same(ours[0], stock[0])


class TestBooleanMask(object):
    @pytest.mark.parametrize("dtype", DTYPES + ("object",))
    @given(data=st.data())
    def test_forward(self, dtype, data):
        shape = data.draw(shapes(1, 4))
        if dtype == "object":
            count = product(shape)
            words = data.draw(st.lists(st.binary(max_size=40), min_size=count, max_size=count))
            values = np.array(words + [None], dtype=object)[:-1].reshape(shape)
        else:
            values = data.draw(arrays(dtype, shape))
        mask = data.draw(arrays("bool", shape[:1]))
        assert_stock("BooleanMask", Case([values, mask], outputs=data.draw(st.integers(1, 2))))

    @given(mask=long_masks(), row=shapes(0, 1))
    def test_long(self, mask, row):
        data = numbered("float32", mask.shape + row)
        assert_stock("BooleanMask", Case([data, mask], outputs=2))

    @pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "float32", "float64"])
    @given(data=st.data())
    def test_gradient(self, dtype, data):
        mask = data.draw(long_masks() | arrays("bool", data.draw(shapes(1, 1))))
        d_masked = numbered(dtype, (int(mask.sum()),))
        assert_stock("BooleanMaskGradient", Case([mask, d_masked]))


class TestBooleanMaskLengths(object):
    @pytest.mark.parametrize("dtype", INDICES)
    @given(data=st.data())
    def test_forward(self, dtype, data):
        lengths = data.draw(st.lists(st.integers(0, 300), max_size=9))
        mask = np.resize(data.draw(arrays("bool", 97)), sum(lengths))
        assert_stock("BooleanMaskLengths", Case([np.array(lengths, dtype), mask]))


class TestBooleanUnmask(object):
    @pytest.mark.parametrize("dtype", DTYPES)
    @given(data=st.data())
    def test_forward(self, dtype, data):
        """1 to 4 masks that overlap; the last takes what is left."""
        n = data.draw(st.integers(0, 70))
        masks = [data.draw(arrays("bool", n)) for _ in range(data.draw(st.integers(1, 4)))]
        masks[-1] = masks[-1] | ~np.any(masks, axis=0)
        inputs, free = [], np.ones(n, bool)
        for mask in masks:
            inputs += [mask, data.draw(arrays(dtype, int(np.sum(mask & free))))]
            free &= ~mask
        assert_stock("BooleanUnmask", Case(inputs))


def test_nets_made_before_loading_stay_stock_and_agree():
    """One process: nets made, library loaded, the same nets made again, both run."""
    source = """
        import numpy as np
        from caffe2.python import core, workspace

        random = np.random.RandomState(1)
        feeds = {
            "scores": random.randn(3, 5, 7).astype(np.float32),
            "lengths": random.randint(0, 8, 15).astype(np.int32),
            "mask": random.rand(3) < 0.5,
            "parts": np.array([1, 2], dtype=np.int32),
            "flat": random.randn(3).astype(np.float32),
        }
        feeds["not_mask"] = ~feeds["mask"]
        for name, array in feeds.items():
            workspace.FeedBlob(name, array)

        def make(prefix):
            net = core.Net(prefix)
            named = lambda *names: [prefix + "_" + name for name in names]
            net.SequenceMask(["scores", "lengths"], named("padded"), mode="sequence", axis=2)
            net.SequenceMask(["scores"], named("causal"), mode="upper", axis=2, batch=0)
            net.BooleanMask(["scores", "mask"], named("masked", "indices"))
            net.BooleanMaskLengths(["parts", "mask"], named("counts"))
            kept = net.BooleanMask(["flat", "mask"], named("kept"))
            rest = net.BooleanMask(["flat", "not_mask"], named("rest"))
            net.BooleanUnmask(["mask", kept, "not_mask", rest], named("unmasked"))
            net.AddGradientOperators(named("padded", "causal", "kept"))
            workspace.CreateNet(net)
            return net

        def outputs(net):
            workspace.RunNet(net)
            return {
                str(blob)[len(net.Name()) + 1:]: workspace.FetchBlob(blob)
                for op in net.Proto().op for blob in op.output if blob.startswith(net.Name())
            }

        old = make("old")
        import caffe2op_mask
        new = make("new")
        before, after = outputs(old), outputs(new)
        assert before.keys() == after.keys() and len(before) > 10, sorted(before)
        for name in before:
            assert before[name].dtype == after[name].dtype, name
            assert before[name].shape == after[name].shape, name
            assert before[name].tobytes() == after[name].tobytes(), name

        # That the old net is stock, and the new one not, shows where they differ.
        workspace.FeedBlob("scores", np.zeros((3, 5, 7)))
        try:
            workspace.RunNet(old)
        except RuntimeError as error:
            assert "Unsupported type of tensor: double" in str(error)
        else:
            raise AssertionError("the net made before loading is not stock")
        net = core.Net("double")
        net.SequenceMask(["scores"], ["causal"], mode="upper", axis=2, batch=0)
        workspace.RunNetOnce(net)
        print("agree")
    """
    assert fresh_process.output(source).strip() == "agree"
