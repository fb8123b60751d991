"""Runs Python source in a process of its own, in which the library is not loaded yet."""

import os
import subprocess
import sys
from collections import namedtuple
from textwrap import dedent

Result = namedtuple("Result", "code out err")


def run(source, path=None, **environment):
    """Runs ``source``; ``path`` goes in front of everything on its ``sys.path``."""
    env = dict(os.environ, **environment)
    if path is not None:
        env["PYTHONPATH"] = str(path)
    process = subprocess.run(
        [sys.executable, "-c", dedent(source)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    return Result(process.returncode, process.stdout, process.stderr)


def output(source, path=None, **environment):
    """What ``source`` prints; fails with its traceback where it fails."""
    result = run(source, path, **environment)
    assert result.code == 0, result.err
    return result.out
