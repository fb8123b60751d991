#!/usr/bin/env python3
"""Builds and tests this checkout with one Caffe2 after another, each in an environment of its own.

    tools/runtimes.py --list
    tools/runtimes.py torch-1.10.2-python-3.8
    tools/runtimes.py --table docs/installation.md   all of them, and their rows in the table there

What a runtime needs lies under build/runtimes/NAME: the environment, a copy of the sources with its
build, and a log. Nothing is made again that is there. A runtime that this machine cannot have is
passed over with one sentence; one whose build or tests fail makes the exit code 1.
"""

import argparse
import datetime
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JOBS = str(len(os.sched_getaffinity(0)))
BEGIN, END = "<!-- tools/runtimes.py -->\n", "<!-- /tools/runtimes.py -->\n"


class Unavailable(Exception):
    """Why a runtime cannot be tried on this machine, in one sentence."""


class Failed(Exception):
    """A step that had to work did not."""


class Runtime(object):
    """A Caffe2, and where it is tried. Subclasses say how it is made and commands are run in it."""

    def __init__(self, name):
        self.name = name
        self.folder = os.path.join(ROOT, "build", "runtimes", name)

    def run(self, arguments, folder=".", **environment):
        """Runs a command in a folder of the copied sources; what it printed."""
        code, out = self.attempt(arguments, folder, **environment)
        if code:
            raise Failed("{} failed".format(" ".join(arguments)))
        return out

    def attempt(self, arguments, folder=".", **environment):
        """The same, with the exit code, for who knows what to make of it."""
        raise NotImplementedError

    def step(self, name, content, action):
        """Does a step of making the environment, unless it was done for the same content."""
        stamp = os.path.join(self.folder, "made-" + name)
        digest = hashlib.sha256(content.encode()).hexdigest()
        if os.path.exists(stamp):
            with open(stamp) as lines:
                if lines.read() == digest:
                    return
        action()
        with open(stamp, "w") as out:
            out.write(digest)

    @property
    def log(self):
        return os.path.join(self.folder, "log")

    def shell(self, command, problem=None, **options):
        """Runs a command; with a problem, its failure means that the runtime cannot be had."""
        code, out = self.finish(command, **options)
        if code and problem:
            last = out.strip().splitlines()[-1:] or ["exit code {}".format(code)]
            raise Unavailable("{}: {}".format(problem, last[0]))
        return code, out

    def finish(self, command, **options):
        """Runs a command, whose output goes to the log: its exit code and that output."""
        with open(self.log, "a+", errors="replace") as log:
            log.write("+ {}\n".format(" ".join(command)))
            log.flush()
            start = log.tell()
            try:
                code = subprocess.call(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options
                )
            except OSError as error:
                return 127, str(error)
            log.seek(start)
            return code, log.read()


class Wheel(Runtime):
    """Caffe2 of a torch wheel, in a virtual environment."""

    def __init__(self, torch, python):
        super().__init__("torch-{}-python-{}".format(torch, python))
        self.title = "wheel of PyPI"
        self.torch, self.version = torch, python
        self.source = os.path.join(self.folder, "source")
        self.python = os.path.join(self.folder, "venv", "bin", "python")

    def make(self):
        if not os.path.exists(self.python):
            venv = [find_python(self.version), "-m", "venv", os.path.join(self.folder, "venv")]
            self.shell(venv, "no virtual environment could be made")
        with open(os.path.join(ROOT, "requirements", "requirements.in")) as lines:
            wanted = re.sub(r"(?m)^torch==\S+", "torch==" + self.torch, lines.read())
        self.step("requirements", wanted, lambda: self.install(wanted))

    def install(self, wanted):
        requirements = os.path.join(self.folder, "requirements.in")
        with open(requirements, "w") as out:
            out.write(wanted)
        pip = [self.python, "-m", "pip", "--disable-pip-version-check", "install"]
        # The pip of old Pythons takes wheels of today for none, and would compile what they hold.
        self.shell(pip + ["--upgrade", "pip"], "pip could not be upgraded")
        problem = "pip could not install torch {}".format(self.torch)
        self.shell(pip + ["-r", requirements], problem)

    def attempt(self, arguments, folder=".", **environment):
        own = {
            name: value
            for name, value in os.environ.items()
            if name not in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")
        }
        own.update(environment)
        return self.finish(arguments, cwd=os.path.join(self.source, folder), env=own)


class Debian(Runtime):
    """Caffe2 of Debian packages, in a root directory of that release."""

    PACKAGES = (
        "ccache cmake dpkg-dev g++ git libgflags-dev libgoogle-glog-dev libgtest-dev "
        "libprotobuf-dev libtorch-dev make python3-future python3-hypothesis python3-matplotlib "
        "python3-networkx python3-protobuf python3-pytest python3-scipy python3-six "
        "python3-setuptools python3-sklearn python3-torch python3-tqdm"
    ).split()

    # The release has no Highway; that of a later one is built from its source package.
    HIGHWAY_OF = "bookworm"
    HIGHWAY = """
        set -e
        sed -n 's/^deb \\(.*\\) {suite} main/deb-src \\1 {later} main/p' /etc/apt/sources.list \\
            > /etc/apt/sources.list.d/highway.list
        apt-get update
        rm -rf /usr/src/highway*
        cd /usr/src
        apt-get source highway
        cmake -S highway-* -B highway-build -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \\
            -DHWY_ENABLE_TESTS=OFF -DHWY_ENABLE_EXAMPLES=OFF
        cmake --build highway-build --parallel {jobs}
        cmake --install highway-build
        ldconfig
    """

    def __init__(self, release, suite):
        super().__init__("debian-{}".format(release))
        self.title = "packages of Debian {}".format(release)
        self.suite = suite
        self.root = os.path.join(self.folder, "root")
        self.source = os.path.join(self.root, "source")
        self.python = "python3"

    def make(self):
        if os.getuid() != 0:
            raise Unavailable("its root directory can be made by root only.")
        if not shutil.which("debootstrap"):
            raise Unavailable("debootstrap is missing; Debian has it as the package debootstrap.")
        highway = self.HIGHWAY.format(suite=self.suite, later=self.HIGHWAY_OF, jobs=JOBS)
        self.step("root", self.suite, self.bootstrap)
        self.step("packages", " ".join(self.PACKAGES), self.install)
        build = ["sh", "-c", highway]
        self.step("highway", highway, lambda: self.enter(build, "Highway could not be built"))

    def bootstrap(self):
        shutil.rmtree(self.root, ignore_errors=True)
        self.shell(
            ["debootstrap", "--variant=minbase", self.suite, self.root],
            "debootstrap could not make {}".format(self.suite),
        )

    def install(self):
        problem = "apt-get could not install Debian's packages"
        self.enter(["apt-get", "update"], problem)
        self.enter(["apt-get", "install", "-y", "--no-install-recommends"] + self.PACKAGES, problem)

    def enter(self, arguments, problem=None, folder="/", **environment):
        """Runs a command in the root; what it mounts there is gone when it ends."""
        kept = [name for name in os.environ if name.lower().endswith("_proxy")]
        environment.update({name: os.environ[name] for name in kept})
        environment.update(
            HOME="/root",
            LANG="C.UTF-8",
            PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            DEBIAN_FRONTEND="noninteractive",
            # libc10 there unwinds by libunwind what was thrown by libgcc, and dies of it.
            LD_PRELOAD="libgcc_s.so.1",
        )
        mount = (
            'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && '
            'mount --rbind /sys "$0/sys" && exec chroot "$0" "$@"'
        )
        return self.shell(
            ["unshare", "--mount", "--pid", "--fork", "sh", "-c", mount, self.root]
            + ["env", "-i", "-C", folder]
            + ["{}={}".format(*item) for item in sorted(environment.items())]
            + arguments,
            problem,
        )

    def attempt(self, arguments, folder=".", **environment):
        inside = os.path.normpath(os.path.join("/source", folder))
        return self.enter(arguments, folder=inside, **environment)


RUNTIMES = (
    Wheel("1.10.2", "3.9"),
    Wheel("1.10.2", "3.8"),
    Wheel("1.10.2", "3.7"),
    Wheel("1.10.2", "3.6"),
    Wheel("1.7.1", "3.7"),
    Debian(11, "bullseye"),
)


def find_python(version):
    """A Python of this version that can make environments, on PATH or under pyenv."""
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    found = sorted(glob.glob(os.path.join(pyenv, "versions", version + ".*", "bin", "python")))
    program = "import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '{}')"
    for candidate in ["python" + version] + found:
        command = [candidate, "-c", program.format(version)]
        try:
            if subprocess.call(command, stderr=subprocess.DEVNULL) == 0:
                return candidate
        except OSError:
            pass
    raise Unavailable("there is no Python {} on PATH or under pyenv.".format(version))


def copy_sources(target):
    """Copies what git knows or would add, as far as it changed; what is gone here goes there."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(listing, cwd=ROOT).decode().split("\0")
    names = [name for name in names if name and os.path.isfile(os.path.join(ROOT, name))]
    manifest = os.path.join(target, "build", "sources")
    os.makedirs(os.path.dirname(manifest), exist_ok=True)
    if os.path.exists(manifest):
        with open(manifest) as lines:
            for name in set(lines.read().split("\n")) - set(names):
                if os.path.exists(os.path.join(target, name)):
                    os.remove(os.path.join(target, name))
    with open(manifest, "w") as out:
        out.write("\n".join(names))
    for name in names:
        here, there = os.path.join(ROOT, name), os.path.join(target, name)
        if not os.path.exists(there) or stamp_of(here) != stamp_of(there):
            os.makedirs(os.path.dirname(there), exist_ok=True)
            shutil.copy2(here, there)


def stamp_of(path):
    status = os.stat(path)
    return status.st_size, int(status.st_mtime)


def build(runtime):
    options = ["-DCAFFE2_PYTHON=" + runtime.python, "-DCAFFE2OP_MASK_UNITY=ON"]
    options.append("--log-level=WARNING")
    runtime.run(["cmake", "-S", ".", "-B", "build"] + options)
    runtime.run(["cmake", "--build", "build", "--parallel", JOBS])


FACTS = """
import json, platform
import caffe2op_mask
facts = dict(caffe2op_mask.built_for(), compiler=" ".join(caffe2op_mask.compiler().split()[:2]))
print("FACTS" + json.dumps(dict(facts, python=platform.python_version())))
"""


def facts(runtime):
    """What the library that was built tells of itself."""
    out = runtime.run([runtime.python, "-c", FACTS], PYTHONPATH=package(runtime))
    return json.loads(re.search("FACTS(.*)", out).group(1))


def package(runtime):
    """Where the environment finds caffe2op_mask."""
    return os.path.join("/source" if isinstance(runtime, Debian) else runtime.source, "python")


def cpp_tests(runtime, quick=False):
    """Passed, failed and skipped C++ tests."""
    command = ["ctest", "--output-on-failure", "--no-tests=error", "--parallel", JOBS]
    if quick:
        command += ["--exclude-regex", "^kernels[.]"]
    code, out = runtime.attempt(command, "build")
    outcomes = re.findall(r"(?m)^ *\d+/\d+ Test .*?(   Passed|\*\*\*\w+)", out)
    passed, skipped = outcomes.count("   Passed"), outcomes.count("***Skipped")
    failed = len(outcomes) - passed - skipped
    if not outcomes or (code != 0) != (failed != 0):
        raise Failed("ctest ended with {}".format(code))
    return passed, failed, skipped


# Words in the names of test files: of programs that train, of our own tools, and of pages.
SLOW = set("example examples demo char fuzz benchmarks docs readme troubleshooting".split())


def python_tests(runtime, quick=False):
    """Passed, failed and skipped Python tests."""
    report = os.path.join("build", "pytest.xml")
    written = os.path.join(runtime.source, report)
    if os.path.exists(written):
        os.remove(written)
    command = [runtime.python, "-m", "pytest", "tests/python", "-q", "-rs", "--junitxml", report]
    if quick:
        files = os.path.join(ROOT, "tests", "python", "test_*.py")
        for name in sorted(os.path.basename(path) for path in glob.glob(files)):
            if set(name[: -len(".py")].split("_")) & SLOW:
                command += ["--ignore", "tests/python/" + name]
    code, _ = runtime.attempt(command, PYTHONPATH=package(runtime))
    # Written when all is done. A process may die after that: Debian 11's torch does, on exit, once
    # it has run anything backward.
    if not os.path.exists(written):
        raise Failed("pytest ended with {}".format(code))
    top = xml.etree.ElementTree.parse(written).getroot()
    (suite,) = [top] if top.tag == "testsuite" else top
    number = {key: int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped")}
    failed = number["failures"] + number["errors"]
    return number["tests"] - failed - number["skipped"], failed, number["skipped"]


COLUMNS = (
    "runtime|torch|Python|compiler|string ABI|protobuf|C++ tests|Python tests|date".split("|")
)


def row_of(runtime, told, cpp, python):
    abi = {"0": "old", "1": "new"}[told["abi"]]
    row = [runtime.title, told["torch"], told["python"], told["compiler"], abi, told["protobuf"]]
    counts = ["{} / {} / {}".format(*numbers) for numbers in (cpp, python)]
    return row + counts + [datetime.date.today().isoformat()]


def series(row):
    """What a row is known by: its runtime, its torch, and the series of its Python."""
    return row[0], row[1], row[2].rpartition(".")[0]


def write_row(page, row):
    """Puts a row into the table of a page in the place of the one of its runtime and Python."""
    with open(page) as lines:
        text = lines.read()
    before, table, after = re.split("{}|{}".format(re.escape(BEGIN), re.escape(END)), text)
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
    matching = [old for old in rows[2:] if series(old) == series(row)]
    rows = [row if old in matching else old for old in rows[2:]] + ([] if matching else [row])
    lines = ["| {} |\n".format(" | ".join(row)) for row in [COLUMNS, ["---"] * len(COLUMNS)] + rows]
    with open(page, "w") as out:
        out.write(before + BEGIN + "".join(lines) + END + after)


def say(runtime, text):
    print("{}: {}".format(runtime.name, text), flush=True)


def try_out(runtime, arguments):
    """True unless something failed."""
    os.makedirs(runtime.folder, exist_ok=True)
    open(runtime.log, "w").close()
    log = os.path.relpath(runtime.log)
    try:
        say(runtime, "making its environment")
        runtime.make()
        copy_sources(runtime.source)
        say(runtime, "building")
        build(runtime)
        told = facts(runtime)
        if arguments.build:
            return True
        say(runtime, "testing")
        cpp, python = cpp_tests(runtime, arguments.quick), python_tests(runtime, arguments.quick)
    except Unavailable as reason:
        say(runtime, "is not tried, since {}".format(reason))
        return True
    except Failed as failure:
        say(runtime, "{}; {} ends so:".format(failure, log))
        with open(runtime.log, errors="replace") as lines:
            print("".join(lines.readlines()[-40:]))
        return False
    for name, numbers in (("C++", cpp), ("Python", python)):
        say(runtime, "{} tests: {} passed, {} failed, {} skipped".format(name, *numbers))
    if arguments.table:
        write_row(arguments.table, row_of(runtime, told, cpp, python))
    if cpp[1] or python[1]:
        say(runtime, "{} has what failed".format(log))
    return not cpp[1] and not python[1]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = {runtime.name: runtime for runtime in RUNTIMES}
    parser.add_argument("names", nargs="*", metavar="NAME", help="runtimes to try (default: all)")
    parser.add_argument("--list", action="store_true", help="name the runtimes, and do nothing")
    parser.add_argument("--build", action="store_true", help="build only")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out tests in which little is of the runtime: of kernels, programs and pages",
    )
    parser.add_argument("--table", metavar="PAGE", help="write the results into this page's table")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in known:
            parser.error("{} is none of {}.".format(name, ", ".join(known)))
    if arguments.table and arguments.quick:
        parser.error("a table is of all tests: --quick has no place beside --table.")
    if arguments.list:
        print("\n".join(known))
        return 0
    # All are tried, also where one fails.
    outcomes = [try_out(known[name], arguments) for name in arguments.names or known]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
