"""python -m caffe2op_mask: mask operators for Caffe2, and tools for saved nets."""

import argparse
import os
import sys

from caffe2op_mask import _runtime, runtime

if runtime != "caffe2":
    sys.exit(
        "python -m caffe2op_mask: its commands work on nets of Caffe2, and this Python has torch {}, "
        "which comes without.".format(_runtime.torch_version())
    )

from caffe2op_mask import global_init
from caffe2op_mask.commands import UserError, bench, fuse, ops, pack, run, show, version

COMMANDS = (ops, run, fuse, pack, show, bench)


class Parser(argparse.ArgumentParser):
    """Errors are one sentence; help keeps its lines."""

    def __init__(self, **options):
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super(Parser, self).__init__(**options)

    def error(self, sentence):
        self.exit(2, "{}: {}\n".format(self.prog, sentence))


class Version(argparse.Action):
    """Prints what runs, and exits."""

    def __call__(self, parser, *_):
        print(version.text())
        parser.exit()


def parser():
    top = Parser(
        prog="python -m caffe2op_mask",
        description=(__doc__ or "").partition(": ")[2],  # there is none with python -OO
        epilog="python -m caffe2op_mask COMMAND --help has examples of each.",
    )
    top.add_argument("--version", action=Version, nargs=0, help="print what runs, and exit")
    commands = top.add_subparsers(metavar="COMMAND")
    for command in COMMANDS:
        name = command.__name__.split(".")[-1]
        line, _, description = (command.__doc__ or "").partition("\n")
        one = commands.add_parser(name, help=line, description=description.strip())
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    return top


def main(arguments=None):
    """Runs a command; returns its exit status, or exits with 2 and a sentence on what to mend."""
    top = parser()
    options = top.parse_args(arguments)
    if not hasattr(options, "run"):
        top.error("a command is missing; --help lists them.")
    try:
        return options.run(options) or 0
    except UserError as error:
        top.error(error)
    except MemoryError:
        top.error("there is not enough memory.")


def _main():
    """`main` in a process of its own."""
    if sys.stdout is None:
        _cannot_write("it is closed")
    # A file may have a name that the encoding of the output does not.
    sys.stdout = open(
        sys.stdout.fileno(),
        "w",
        encoding=sys.stdout.encoding,
        errors="backslashreplace",
        closefd=False,
    )
    global_init("caffe2op_mask")
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130  # as shells have it
    except OSError as error:
        # Of standard output: commands tell of their files. What is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            _cannot_write(error.strerror)
        return 1  # who read it has gone


def _cannot_write(reason):
    top = parser()
    top.exit(1, "{}: the output cannot be written: {}.\n".format(top.prog, reason))


if __name__ == "__main__":
    sys.exit(_main())
