"""What a case is, how it is named, and the data that cases are made of."""

import collections

import numpy as np

Operator = collections.namedtuple("Operator", "op inputs outputs arguments")


def op(name, inputs, outputs, **arguments):
    """An Operator; blobs are words."""
    return Operator(name, inputs.split(), outputs.split(), arguments)


# At most `multiple` times as long as the contender `of`, and `allowance` milliseconds beside it.
# A name of torch's peers means that of the newest torch that runs.
Target = collections.namedtuple("Target", "multiple of allowance")
Target.__new__.__defaults__ = (0.0,)

OURS, STOCK = "caffe2op_mask", "stock Caffe2"
OURS_NO_MASK, OURS_PADDED = "caffe2op_mask, no mask", "caffe2op_mask, padded"

# How a name writes the one dim of a vector. Names stay: files of figures are compared by them.
AMOUNTS = {1 << 24: "16.7 M", 1 << 22: "4.2 M", 1 << 15: "32 K"}


class Spec:
    """The fields of a case. `make` makes the case of all but the operator; `form` has its name."""

    def __init__(self, operator, form, make, **fields):
        self.fields = dict(fields, operator=operator)
        self._form = form
        self._make = make

    def __str__(self):
        return self._form.format(**{key: _written(field) for key, field in self.fields.items()})

    def case(self, **changed):
        """The case, or one of other fields, such as a smaller shape."""
        fields = dict(self.fields, **changed)
        del fields["operator"]
        return self._make(**fields)


def _written(field):
    if not isinstance(field, tuple):
        return field
    return AMOUNTS[field[0]] if len(field) == 1 else "x".join(map(str, field))


class Case:
    """One piece of work.

    op, inputs, outputs, arguments: the operator and its tensors, by name.
    moved: bytes that must be read and written, however it is done; None where the memory that is
        touched says nothing.
    targets: what is to be reached.
    reference: what the time is given as a multiple of: "Copy" (Caffe2's Copy of input 0), "memcpy"
        (a memcpy that moves as many bytes), "memcpy_read" (a memcpy of `moved` bytes), or one of
        the peers.
    peers: name -> function without arguments, NumPy and pyarrow. It returns what our operator
        does: the first results, one or a tuple of them, or some by name.
    torch_peers: function of a torch module -> the same for torch.
    yardsticks: the names of peers that do other work, for targets and references alone.
    untimed: the names of contenders that are there to compare results, and are not timed.
    stock: True where stock runs the operator too, or the list of stock operators that do the same;
        `stock_inputs` are what only these read, or in place of ours of the name.
    padded: where ours has no padding and others have: our operators that compute the padded batch,
        of `stock_inputs`; `unpad` makes of an array of theirs, or of stock's and of peers', ours.
        That is not timed.
    no_mask: whether our operator runs without its mask, on its first three inputs, as well.
    d_output: to train: the gradient of the first output, from which those of `trained` follow.
    kept: the share that the mask keeps, where time should follow it.
    drawn: whether results are drawn at random, so that those of two agree in the mean alone.
    """

    def __init__(self, op, inputs, outputs, moved, targets=(), reference="memcpy", peers=None,
                 torch_peers=None, yardsticks=(), untimed=(), stock=True, stock_inputs=None,
                 padded=(), unpad=lambda array: array, no_mask=False, d_output=None, trained=(),
                 kept=None, drawn=False, **arguments):
        self.inputs = inputs
        self.ours = [Operator(op, list(inputs), outputs, arguments)]
        self.stock = self.ours if stock is True else stock or []
        self.stock_inputs = stock_inputs or {}
        self.padded = padded
        self.unpad = unpad
        self.no_mask = [Operator(op, list(inputs)[:3], outputs, {})] if no_mask else []
        self.d_output = d_output
        self.trained = trained
        self.kept = kept
        self.drawn = drawn
        self.results = outputs + [gradient_of(name) for name in trained]
        self.moved = moved
        self.targets = targets
        self.reference = reference
        self.peers = peers or {}
        self.torch_peers = torch_peers or (lambda torch: {})
        self.yardsticks = yardsticks
        self.untimed = untimed


def gradient_of(name):
    """What the gradient of an input is called among results."""
    return "gradient of " + name


def random(*shape):
    return np.random.RandomState(1).rand(*shape).astype(np.float32)


def bools(n, percent, run=1):
    """A mask that keeps so much, singly or in runs of a mean length."""
    draw = np.random.RandomState(2)
    if run == 1:
        return draw.rand(n) * 100 < percent
    lengths = draw.randint(1, 2 * run, size=2 * n // run + 1)
    return np.repeat(draw.rand(lengths.size) * 100 < percent, lengths)[:n].copy()


def backward(torch, function, arrays, d_y):
    """The backward pass alone, of a forward pass that was made before."""
    leaves = [torch.from_numpy(array.copy()).requires_grad_() for array in arrays]
    y, d_output = function(*leaves), torch.from_numpy(d_y)
    return {"backward": lambda: torch.autograd.grad(y, leaves, d_output, retain_graph=True)}
