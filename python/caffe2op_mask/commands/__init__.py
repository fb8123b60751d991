"""The commands of python -m caffe2op_mask, a module each.

The doc string of a module is the help of its command, and the first line of it what the list of
commands says. `add_arguments` tells argparse what the command takes; `run` does it, and raises
UserError for what the user has to mend.
"""


class UserError(Exception):
    """What the user has to know, in one sentence."""
