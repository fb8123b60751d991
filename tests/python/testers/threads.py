"""Numbers of threads for the operators."""

from contextlib import contextmanager

import pytest
import torch


@contextmanager
def threads(count):
    """A number of threads for the operators that run inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """For modules that import it: tensors are small, and several threads would wait for each other.

    What more threads do is tested on larger ones.
    """
    with threads(1):
        yield


def same_for_any_threads(run):
    """``run()`` gives the same arrays, to the bit, with 1, 2 and 5 threads."""
    results = []
    for count in (1, 2, 5):
        with threads(count):
            results.append([array.tobytes() for array in run()])
    assert results[0] == results[1] == results[2]
