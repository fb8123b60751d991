"""Writes a requirements file with every version and hash pinned, from pip's own resolution.

Usage: python tools/lock.py requirements/requirements.in requirements/requirements-py39.txt
"""

import json
import subprocess
import sys
import tempfile


def main(source, target):
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        subprocess.check_call(
            [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
            + ["--report", report.name, "-r", source]
        )
        packages = json.load(open(report.name))["install"]
    lines = []
    for package in packages:
        metadata = package["metadata"]
        digest = package["download_info"]["archive_info"]["hash"].replace("=", ":")
        lines.append("{}=={} --hash={}".format(metadata["name"], metadata["version"], digest))
    with open(target, "w") as out:
        out.write("# Written by `make lock` from requirements.in, for Python 3.9 on x86-64.\n")
        out.write("\n".join(sorted(lines, key=str.lower)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
