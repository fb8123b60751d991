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


def mkl_include():
    """The folder of mkl_cblas.h, which the package mkl-include puts beside a folder of modules.

    While pip builds, that is an environment of its own, which CMake would not look into.
    """
    for modules in sys.path:
        prefix = os.path.dirname(os.path.dirname(os.path.dirname(modules)))
        if os.path.exists(os.path.join(prefix, "include", "mkl_cblas.h")):
            return os.path.join(prefix, "include")
    return None


def run(*command):
    """Runs a command, whose own words say why where it fails."""
    try:
        subprocess.check_call(command)
    except FileNotFoundError:
        sys.exit("{} is missing, which builds {}.".format(command[0], PACKAGE))
    except subprocess.CalledProcessError as error:
        sys.exit("{} could not be built: its {} failed.".format(PACKAGE, error.cmd[0]))


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
        if mkl_include() is not None:
            options.append("-DCaffe2Runtime_MKL_INCLUDE_DIR=" + mkl_include())
        options.append("-DCAFFE2_PYTHON=" + sys.executable)
        options.append("-DCAFFE2OP_MASK_UNITY=" + ("OFF" if self.inplace else "ON"))
        options.append("-DCAFFE2OP_MASK_LIBRARY_DIR=" + folder)
        run("cmake", "-S", ROOT, "-B", build, *options)
        jobs = str(os.cpu_count() or 1)
        run("cmake", "--build", build, "--target", "python_library", "--parallel", jobs)


setup(
    name=PACKAGE,
    version=re.search(
        r'^__version__ = "(.*)"$', read("python/caffe2op_mask/__init__.py"), re.MULTILINE
    ).group(1),
    description="Mask operators for Caffe2 nets: exact, fast, for every type and shape.",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    # Ours, and those of what the library has in it: protobuf, and Highway.
    license_files=["LICENSE", "licenses/LICENSE.*"],
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: C++",
        "Programming Language :: Python :: 3",
    ],
    python_requires=">=3.6,<3.10",
    # The last torch with Caffe2 is 1.10.2. The rest is what caffe2.python imports.
    install_requires=["torch<1.11", "numpy<1.23", "protobuf<3.21", "future", "six"],
    package_dir={"": "python"},
    packages=[PACKAGE] + [PACKAGE + part for part in (".commands", ".fuse", ".layers", ".pack")],
    # Pictures, and progress bars of the command line.
    extras_require={"tools": ["matplotlib<3.9", "tqdm"]},
    ext_modules=[Extension(PACKAGE + ".libcaffe2op_mask", sources=[])],
    cmdclass={"build_ext": BuildLibrary},
    zip_safe=False,
)
