"""Loads the operators, and registers what the stable ABI of LibTorch has no way to: the shapes of
their outputs, and their gradients.
"""

import torch
from torch.autograd import forward_ad

from caffe2op_mask._library import existing_path
from caffe2op_mask.functional import nested

try:
    torch.ops.load_library(existing_path())
except (OSError, RuntimeError) as error:
    raise ImportError("caffe2op_mask cannot load {}: {}".format(existing_path(), error)) from error

_NAMESPACE = torch.ops.caffe2op_mask


class Saved:
    """What an operator keeps for its gradient: its options, and the tensors that it names."""


class Operator:
    """``torch.ops.caffe2op_mask.NAME``, called in the way that costs least.

    fake:     the operator for tensors that have a shape and no data; takes all of its arguments
    backward: takes a Saved, the names of the inputs that need a gradient and the gradients of the
              outputs, None where there is none; returns a dict of gradients by input
    saves:    names of the inputs and outputs that the gradient reads
    unless:   of them, one that it does not read where an option has a value: (name, option, value)
    reads:    the option that asks for an output that the gradient reads
    """

    def __init__(
        self, name, fake, backward=None, saves=(), differentiable=(), unless=None, reads=None
    ):
        self.name = name
        # The same without a gradient, called past a frame of Python where torch has a way.
        raw = getattr(_NAMESPACE, "_" + name).default
        self._raw = getattr(raw, "_op", raw)
        self._full = getattr(_NAMESPACE, name).default
        self._backward = backward
        schema = self._full._schema
        self._names = [argument.name for argument in schema.arguments]
        returns = [value.name or "output" for value in schema.returns]
        # Where inputs, and behind them outputs, are.
        places = {one: i for i, one in enumerate(self._names + returns)}
        self._saves = saves
        self._saved = [places[one] for one in saves]
        self._unless = unless and (saves.index(unless[0]), places[unless[1]], unless[2])
        types = [str(argument.type) for argument in schema.arguments]
        # autograd takes no lists of tensors.
        self._has_lists = any("List[Tensor]" in one for one in types)
        self._options = [i for i, one in enumerate(types) if "Tensor" not in one]
        self._option_names = [self._names[i] for i in self._options]
        # Options that ask for an output: what was not asked for is a placeholder.
        asks = ["return_" + {"g": "gate"}.get(one, one) for one in returns]
        self._asks = [self._option_names.index(one) if one in places else None for one in asks]
        self._differentiable = [places[one] for one in differentiable]
        self._reads = places.get(reads)
        defaults = [argument.default_value for argument in schema.arguments]
        # Options behind the last tensor; to compare them costs less than to hand them over.
        self._tail = 1 + max(i for i, one in enumerate(types) if "Tensor" in one)
        optional = all(one.has_default_value() for one in schema.arguments[self._tail :])
        self._usual = tuple(defaults[self._tail :]) if optional else None

        def with_defaults(*arguments):
            # torch leaves out what is as the schema has it.
            return fake(*arguments, *defaults[len(arguments) :])

        for one in ("", "_"):
            torch.library.register_fake("caffe2op_mask::" + one + name, with_defaults)
        if backward is not None:
            torch.library.register_autograd(
                "caffe2op_mask::" + name, self._gradient, setup_context=self._setup
            )
            self._make_functions()

    def __call__(self, *arguments):
        compiling = torch.compiler.is_compiling()
        learns = False
        if self._backward is not None:
            if forward_ad._current_level >= 0 and not compiling:
                self._refuse_tangents(arguments)
            learns = torch.is_grad_enabled() and self._learns(arguments)
        if learns and self._reads is not None:
            i = self._reads
            arguments = (*arguments[:i], True, *arguments[i + 1 :])
        if compiling:
            nested.refuse(self.name, **dict(zip(self._names, arguments)))
            return self._full(*arguments)
        try:
            if learns:
                if torch._C._are_functorch_transforms_active():
                    return self._transformed(*arguments)
                return self._function(*arguments)
            if arguments[self._tail :] == self._usual:
                return self._raw(*arguments[: self._tail])
            return self._raw(*arguments)
        except NotImplementedError:
            nested.refuse(self.name, **dict(zip(self._names, arguments)))
            raise

    def _learns(self, arguments):
        """Whether there will be a gradient. What is no tensor is refused by the operator."""
        for i in self._differentiable:
            one = arguments[i]
            if self._has_lists and isinstance(one, (list, tuple)):
                if any(getattr(each, "requires_grad", False) for each in one):
                    return True
            elif one is not None and getattr(one, "requires_grad", False):
                return True
        return False

    def _refuse_tangents(self, arguments):
        """torch would leave them out."""
        for i in self._differentiable:
            for one in arguments[i] if isinstance(arguments[i], (list, tuple)) else [arguments[i]]:
                if (
                    isinstance(one, torch.Tensor)
                    and forward_ad.unpack_dual(one).tangent is not None
                ):
                    raise NotImplementedError(
                        "{}: forward-mode derivatives (jvp, jacfwd, hessian) are not "
                        "available.".format(self.name)
                    )

    def _make_functions(self):
        """For autograd, and for transforms of torch.func, whose form takes longer."""
        if self._has_lists:
            self._function = self._transformed = self._full
            return

        class Function(torch.autograd.Function):
            backward = staticmethod(self._gradient)

            @staticmethod
            def forward(ctx, *arguments):
                output = self._raw(*arguments)
                self._setup(ctx, arguments, output)
                return output

        class Transformed(torch.autograd.Function):
            generate_vmap_rule = True
            forward = staticmethod(lambda *arguments: self._raw(*arguments))
            setup_context = staticmethod(self._setup)
            backward = staticmethod(self._gradient)

        Function.__name__ = Transformed.__name__ = self.name
        self._function, self._transformed = Function.apply, Transformed.apply

    def _setup(self, ctx, inputs, output):
        ctx.set_materialize_grads(False)
        values = (*inputs, *output) if isinstance(output, tuple) else (*inputs, output)
        tensors = [values[i] for i in self._saved]
        if self._unless is not None:
            at, option, value = self._unless
            if values[option] == value:
                tensors[at] = None
        if self._has_lists:
            ctx.counts = [len(one) for one in tensors]
            tensors = [one for each in tensors for one in each]
        ctx.save_for_backward(*tensors)
        ctx.options = [values[i] for i in self._options]

    def _gradient(self, ctx, *gradients):
        options, tensors = ctx.options, ctx.saved_tensors
        by_name = {}
        if self._has_lists:
            each = iter(tensors)
            tensors = [[next(each) for _ in range(count)] for count in ctx.counts]
            by_name = {one: [None] * count for one, count in zip(self._saves, ctx.counts)}
        gradients = [
            one if asks is None or options[asks] else None
            for one, asks in zip(gradients, self._asks)
        ]
        if any(one is not None for one in gradients):
            saved = Saved()
            saved.__dict__.update(zip(self._option_names, options))
            saved.__dict__.update(zip(self._saves, tensors))
            needed = [one for one, needs in zip(self._names, ctx.needs_input_grad) if needs]
            by_name.update(self._backward(saved, needed, *gradients))
        # The dispatcher leaves out arguments at the end that are as the schema has them, and
        # torch 2.10 refuses a gradient of what was left out, even if it is None.
        return tuple([by_name.get(one) for one, _ in zip(self._names, ctx.needs_input_grad)])


def gradient_operator(name, fake):
    """The operator that is the gradient of another, and has none itself."""

    def refuse(saved, needed, *gradients):
        raise RuntimeError(
            "{}: a gradient of this gradient (double backward) is not available; compute the "
            "first one without create_graph=True.".format(name)
        )

    tensors = [
        argument.name
        for argument in getattr(_NAMESPACE, name).default._schema.arguments
        if "Tensor" in str(argument.type)
    ]
    return Operator(name, fake, refuse, differentiable=tensors)
