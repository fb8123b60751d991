"""Loads the operators, and registers what the stable ABI of LibTorch has no way to: the shapes of
their outputs, and their gradients.
"""

import inspect

from caffe2op_mask import _runtime
from caffe2op_mask._library import existing_path

if _runtime.torch_fault():
    raise ImportError("caffe2op_mask needs PyTorch: " + _runtime.torch_fault())

import torch  # noqa: E402  after the sentence that says which one
from torch.autograd import forward_ad  # noqa: E402

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
    saves:    names of the inputs and outputs that the gradient reads, or a function of the dict of
              all
    """

    def __init__(self, name, fake, backward=None, saves=(), differentiable=()):
        self.name = name
        # The same without a gradient.
        self._raw = getattr(_NAMESPACE, "_" + name).default
        self._full = getattr(_NAMESPACE, name).default
        self._backward = backward
        self._saves = saves
        schema = self._full._schema
        self._names = [argument.name for argument in schema.arguments]
        self._returns = [value.name or "output" for value in schema.returns]
        # Options that ask for an output: what was not asked for is a placeholder.
        self._asked = ["return_" + {"g": "gate"}.get(one, one) for one in self._returns]
        self._options = [
            (i, argument.name)
            for i, argument in enumerate(schema.arguments)
            if "Tensor" not in str(argument.type)
        ]
        self._differentiable = [self._names.index(one) for one in differentiable]
        defaults = [argument.default_value for argument in schema.arguments]

        def with_defaults(*arguments):
            # torch leaves out what is as the schema has it.
            return fake(*arguments, *defaults[len(arguments) :])

        for one in ("", "_"):
            torch.library.register_fake("caffe2op_mask::" + one + name, with_defaults)
        if backward is not None:
            torch.library.register_autograd(
                "caffe2op_mask::" + name, self._gradient, setup_context=self._setup
            )
            self._function = self._make_function()

    def __call__(self, *arguments):
        if torch.compiler.is_compiling():
            return self._full(*arguments)
        if self._backward is not None:
            if forward_ad._current_level >= 0:
                self._refuse_tangents(arguments)
            if torch.is_grad_enabled():
                for i in self._differentiable:
                    if _requires_grad(arguments[i]):
                        return self._function(*arguments)
        return self._raw(*arguments)

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

    def _make_function(self):
        if any("List[Tensor]" in str(one.type) for one in self._full._schema.arguments):
            # autograd.Function takes no lists of tensors.
            return self._full

        def forward(*arguments):
            return self._raw(*arguments)

        # torch asks for it on each call, which takes longer than a small operator does.
        forward.__signature__ = inspect.signature(forward)

        class Function(torch.autograd.Function):
            generate_vmap_rule = True
            setup_context = staticmethod(self._setup)
            backward = staticmethod(self._gradient)

        Function.forward = staticmethod(forward)

        Function.__name__ = self.name
        return Function.apply

    def _setup(self, ctx, inputs, output):
        ctx.set_materialize_grads(False)
        given = dict(zip(self._names, inputs))
        given.update(zip(self._returns, output if isinstance(output, tuple) else (output,)))
        tensors = []
        ctx.layout = []
        for one in self._saves(given) if callable(self._saves) else self._saves:
            value = given[one]
            if isinstance(value, (list, tuple)):
                ctx.layout.append((one, len(value)))
                tensors += value
            else:
                ctx.layout.append((one, None))
                tensors.append(value)
        ctx.save_for_backward(*tensors)
        ctx.options = {name: inputs[i] for i, name in self._options}

    def _gradient(self, ctx, *gradients):
        saved = Saved()
        by_name = {}
        vars(saved).update(ctx.options)
        tensors = iter(ctx.saved_tensors)
        for one, count in ctx.layout:
            if count is None:
                value = next(tensors)
            else:
                value = [next(tensors) for _ in range(count)]
                by_name[one] = [None] * count
            setattr(saved, one, value)
        gradients = [
            one if ctx.options.get(asked, True) else None
            for one, asked in zip(gradients, self._asked)
        ]
        if any(one is not None for one in gradients):
            needed = {one for one, needs in zip(self._names, ctx.needs_input_grad) if _any(needs)}
            by_name.update(self._backward(saved, needed, *gradients))
        return tuple(by_name.get(one) for one in self._names)


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


def _requires_grad(value):
    if isinstance(value, (list, tuple)):
        return any(_requires_grad(one) for one in value)
    # What is no tensor is refused by the operator.
    return getattr(value, "requires_grad", False)


def _any(needs):
    return any(needs) if isinstance(needs, (list, tuple)) else needs
