"""Builds and installs caffe2op_mask into an environment that has Caffe2.

``pip install .`` configures CMake for the Caffe2 of the Python that runs it; see README.md.
"""

import os
import re
import subprocess
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = os.path.dirname(os.path.abspath(__file__))
PACKAGE = "caffe2op_mask"


def read(name):
    with open(os.path.join(ROOT, name)) as lines:
        return lines.read()


class BuildLibrary(build_ext):
    """The library is CMake's; it comes to lie in the package's folder."""

    def build_extension(self, ext):
        folder = os.path.join(
            os.path.join(ROOT, "python") if self.inplace else os.path.abspath(self.build_lib),
            PACKAGE,
        )
        build = os.path.join(ROOT, "build") if self.inplace else os.path.abspath(self.build_temp)
        os.makedirs(build, exist_ok=True)
        # In place, the build folder is also the developer's, who decides about tests.
        options = [] if self.inplace else ["-DBUILD_TESTING=OFF", "-DCAFFE2OP_MASK_BUNDLE=ON"]
        subprocess.check_call(
            [
                "cmake",
                "-S",
                ROOT,
                "-B",
                build,
                "-DCAFFE2_PYTHON=" + sys.executable,
                "-DCAFFE2OP_MASK_LIBRARY_DIR=" + folder,
            ]
            + options
        )
        jobs = str(os.cpu_count() or 1)
        subprocess.check_call(
            ["cmake", "--build", build, "--target", PACKAGE, "--parallel", jobs]
        )


setup(
    name=PACKAGE,
    version=re.search(
        r'^__version__ = "(.*)"$', read("python/caffe2op_mask/__init__.py"), re.MULTILINE
    ).group(1),
    description="Mask operators for Caffe2 nets: exact, fast, for every type and shape.",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.6,<3.10",
    package_dir={"": "python"},
    packages=[PACKAGE, PACKAGE + ".fuse"],
    ext_modules=[Extension(PACKAGE + ".libcaffe2op_mask", sources=[])],
    cmdclass={"build_ext": BuildLibrary},
    zip_safe=False,
)
