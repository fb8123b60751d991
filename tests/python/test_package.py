"""What is packed, and what the package says of itself: quick checks, without building a library.

`tools/check_package.sh` builds and installs it for real.
"""

import glob
import os
import re
import subprocess
import sys
import tarfile

import pytest
import setuptools

import caffe2op_mask
from caffe2op_mask import _library
from testers import ROOT


def run_setup(*commands):
    """What setup.py prints for commands."""
    return subprocess.check_output(
        [sys.executable, "setup.py", "--quiet"] + list(commands),
        cwd=ROOT,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )


def files_under(folder):
    return {
        os.path.relpath(os.path.join(parent, name), str(folder))
        for parent, _, names in os.walk(str(folder))
        for name in names
    }


@pytest.fixture(scope="module")
def sources():
    """Paths of the files of the repository."""
    try:
        listed = subprocess.check_output(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
        )
    except (OSError, subprocess.CalledProcessError):
        listed = ""
    if not listed:
        pytest.skip("this is no checkout of the repository")
    return {path for path in listed.splitlines() if os.path.exists(os.path.join(ROOT, path))}


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    """Texts of the package's egg-info by their names."""
    folder = tmp_path_factory.mktemp("metadata")
    run_setup("egg_info", "--egg-base", str(folder))
    texts = {}
    for path in glob.glob(str(folder / "caffe2op_mask.egg-info" / "*.txt")) + glob.glob(
        str(folder / "caffe2op_mask.egg-info" / "PKG-INFO")
    ):
        with open(path) as text:
            texts[os.path.basename(path)] = text.read()
    return texts


def test_a_source_package_has_all_of_the_repository(sources, tmp_path):
    run_setup("egg_info", "--egg-base", str(tmp_path), "sdist", "--dist-dir", str(tmp_path))
    (path,) = glob.glob(str(tmp_path / "*.tar.gz"))
    with tarfile.open(path) as archive:
        packed = {entry.name.split("/", 1)[1] for entry in archive if entry.isfile()}
    assert packed == sources | {"PKG-INFO", "setup.cfg"}


def test_a_built_package_has_every_module(sources, tmp_path):
    run_setup("egg_info", "--egg-base", str(tmp_path), "build_py", "--build-lib", str(tmp_path / "lib"))
    modules = {path[len("python/") :] for path in sources if path.startswith("python/")}
    assert files_under(tmp_path / "lib") == modules


def test_the_version_stands_in_one_place(sources, metadata):
    version = caffe2op_mask.__version__
    assert re.match(r"\d+\.\d+\.\d+$", version)
    assert "\nVersion: {}\n".format(version) in metadata["PKG-INFO"]
    assert _library._ask("caffe2op_mask_version") == version
    written = set()
    for path in sources:
        if re.search(r"\.(py|cmake|in|toml|sh|h|cc)$|CMakeLists\.txt$|Makefile$", path):
            with open(os.path.join(ROOT, path)) as text:
                if re.search(r"(?<![\d.]){}(?![\d.])".format(re.escape(version)), text.read()):
                    written.add(path)
    assert written == {"python/caffe2op_mask/__init__.py"}


def test_licenses_are_packed(metadata):
    """Ours, and those of the libraries that are linked in or carried along."""
    if int(setuptools.__version__.split(".")[0]) < 57:
        pytest.skip("setuptools {} does not name licenses".format(setuptools.__version__))
    licenses = ["LICENSE"] + sorted("licenses/" + name for name in os.listdir(ROOT + "/licenses"))
    assert re.findall(r"^License-File: (.*)$", metadata["PKG-INFO"], re.M) == licenses
    # A wheel has them in one folder.
    assert len({os.path.basename(path) for path in licenses}) == len(licenses)
    for path in licenses:
        with open(os.path.join(ROOT, path)) as text:
            assert "Redistribution" in text.read()


def test_requirements_hold_those_of_the_package(metadata):
    """What the package asks for is met by the versions that the tests run with."""
    import pkg_resources

    for requirement in pkg_resources.parse_requirements(metadata["requires.txt"].split("[")[0]):
        assert pkg_resources.get_distribution(requirement.name) in requirement
