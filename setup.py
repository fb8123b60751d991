"""Builds and installs caffe2op_mask into an environment that has a current PyTorch, or Caffe2.

``pip install .`` configures CMake for the runtime of the Python that runs it; see README.md.
"""

import os
import re
import subprocess
import sys

from setuptools import Extension, find_packages, setup
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


def front_end():
    """The runtime of the Python that is installed into: "torch" or "caffe2"."""
    # Without PYTHONPATH: pip hides the environment behind it while it builds a package.
    visible = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script = os.path.join(ROOT, "python", PACKAGE, "_runtime.py")
    return subprocess.check_output([sys.executable, script], env=visible).decode().strip()


RUNTIME = front_end()


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
        options.append("-DCAFFE2OP_MASK_LIBRARY_DIR=" + folder)
        if RUNTIME == "torch":
            target = "torch_library"
            options += ["-DCAFFE2OP_MASK_CAFFE2=OFF", "-DCAFFE2OP_MASK_TORCH=ON"]
            options.append("-DTORCH_PYTHON=" + sys.executable)
        else:
            target = "python_library"
            options.append("-DCAFFE2_PYTHON=" + sys.executable)
            options.append("-DCAFFE2OP_MASK_UNITY=" + ("OFF" if self.inplace else "ON"))
            if mkl_include() is not None:
                options.append("-DCaffe2Runtime_MKL_INCLUDE_DIR=" + mkl_include())
        run("cmake", "-S", ROOT, "-B", build, *options)
        jobs = str(os.cpu_count() or 1)
        run("cmake", "--build", build, "--target", target, "--parallel", jobs)


def wheel_command():
    """Builds a wheel for every Python, where the library asks for none of its ABI."""
    try:
        from setuptools.command.bdist_wheel import bdist_wheel
    except ImportError:  # setuptools before 70.1
        from wheel.bdist_wheel import bdist_wheel

    class Wheel(bdist_wheel):
        def get_tag(self):
            return ("py3", "none", super().get_tag()[2])

    return Wheel


FOR_RUNTIME = {
    "torch": {
        "python_requires": ">=3.10",
        "install_requires": ["torch>=2.10"],
        "ext_modules": [Extension(PACKAGE + ".libcaffe2op_mask_torch", sources=[])],
    },
    "caffe2": {
        "python_requires": ">=3.6,<3.10",
        # The last torch with Caffe2 is 1.10.2. The rest is what caffe2.python imports.
        "install_requires": ["torch<1.11", "numpy<1.23", "protobuf<3.21", "future", "six"],
        # Pictures, and progress bars of the command line.
        "extras_require": {"tools": ["matplotlib<3.9", "tqdm"]},
        "ext_modules": [Extension(PACKAGE + ".libcaffe2op_mask", sources=[])],
    },
}
COMMANDS = {"build_ext": BuildLibrary}
if RUNTIME == "torch":
    COMMANDS["bdist_wheel"] = wheel_command()


setup(
    name=PACKAGE,
    version=re.search(
        r'^__version__ = "(.*)"$', read("python/caffe2op_mask/__init__.py"), re.MULTILINE
    ).group(1),
    description="Mask operators for PyTorch on a CPU and for Caffe2 nets: exact and fast.",
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
    package_dir={"": "python"},
    packages=find_packages(os.path.join(ROOT, "python")),
    package_data={PACKAGE: ["py.typed"]},
    cmdclass=COMMANDS,
    zip_safe=False,
    **FOR_RUNTIME[RUNTIME]
)
