"""What the programs that train share: their arguments, and seeds for the nets they make."""

import argparse
import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Caffe2 takes seeds of 32 bits, and each operator of a net has its own.
SEEDS_A_NET = 1000
MAX_SEED = 2 ** 32 // SEEDS_A_NET


def seed_nets(seed, *nets):
    """Gives every operator a seed of its own: one for all would give them equal numbers."""
    ops = [op for net in nets for op in net.Proto().op]
    for i, op in enumerate(ops):
        op.device_option.random_seed = SEEDS_A_NET * seed + i + 1


class Parser(argparse.ArgumentParser):
    """A parser of ``--seed`` and of what is added. It refuses what lies out of bounds.

    `doc` is the doc string of the program, whose first paragraph describes it.
    """

    def __init__(self, doc):
        super().__init__(description=doc.split("\n\n")[0].replace("\n", " "))
        self._bounds = {}
        self.add_number("seed", 0, "of the split and of all training", 0, MAX_SEED - 1)

    def add_number(self, name, default, text, least, most=None, kind=int, **options):
        """Adds ``--name``, a number from `least` to `most`."""
        self.add_argument("--" + name, type=kind, default=default, help=text, **options)
        self._bounds[name] = (least, most)

    def add_output(self, text="folder for the picture"):
        """Adds ``--output``, a folder, which is made when arguments are parsed."""
        default = os.path.join(ROOT, "demo-output")
        self.add_argument("--output", default=default, help=text)

    def parse_args(self, args=None, namespace=None):
        options = super().parse_args(args, namespace)
        for name, (least, most) in self._bounds.items():
            value = getattr(options, name)
            if value is None or (least <= value and (most is None or value <= most)):
                continue
            wanted = "at least {}" if most is None else "from {} to {}"
            self.error(
                "--{} must be {}, but is {}.".format(name, wanted.format(least, most), value)
            )
        if "output" in options:
            os.makedirs(options.output, exist_ok=True)
        return options
