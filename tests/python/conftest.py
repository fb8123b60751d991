"""What all Python tests share: Hypothesis profiles, and a clean workspace for each test.

Tests replay: Hypothesis draws the same examples on every run. ``--hypothesis-profile=search`` draws
new ones, and more; what it finds it prints as a ``@reproduce_failure`` line.
"""

import hypothesis
import pytest
from caffe2.python import hypothesis_test_util  # noqa: F401  loads a profile: ours comes after
from caffe2.python import workspace

import caffe2op_mask  # noqa: F401  the operators under test
from testers.commands import folder, net, net_path  # noqa: F401  fixtures

_COMMON = dict(
    database=None,
    deadline=None,
    print_blob=True,
    verbosity=hypothesis.Verbosity.normal,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
    ],
)
hypothesis.settings.register_profile("replay", derandomize=True, max_examples=30, **_COMMON)
hypothesis.settings.register_profile("search", max_examples=1000, **_COMMON)
hypothesis.settings.load_profile("replay")


@pytest.fixture(autouse=True)
def clean_workspace(monkeypatch):
    """No test sees a blob of another; numerical gradients are taken at every entry."""
    monkeypatch.setenv("CAFFE2_FULL_GRAD_CHECK", "1")
    workspace.SwitchWorkspace("default", True)
    workspace.ResetWorkspace()


def pytest_generate_tests(metafunc):
    """An inherited test runs over the ``dtypes`` and ``empty`` cases of the class that inherits."""
    if metafunc.cls is None:
        return
    if "dtype" in metafunc.fixturenames and hasattr(metafunc.cls, "dtypes"):
        metafunc.parametrize("dtype", metafunc.cls.dtypes)
    if "empty_case" in metafunc.fixturenames:
        metafunc.parametrize("empty_case", metafunc.cls.empty, ids=repr)
