"""Runs programs of examples/torch as their readers would."""

import os
import subprocess
import sys

import testers

FOLDER = os.path.join(testers.ROOT, "examples", "torch")


def run(name, *arguments):
    """Exit code, output and error output, of which the latter has no progress bar."""
    process = subprocess.run(
        [sys.executable, os.path.join(FOLDER, name), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=300,
    )
    return process.returncode, process.stdout, process.stderr


def load(name, monkeypatch):
    """The program as a module."""
    monkeypatch.syspath_prepend(FOLDER)
    return __import__(name)
