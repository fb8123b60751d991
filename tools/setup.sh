#!/usr/bin/env bash
# Makes everything that a build for Caffe2 needs, from nothing: Debian packages, a Python environment in
# .venv, and caffe2op_mask in it. Safe to repeat; what is there already is not made again.
#
#   tools/setup.sh [PACKAGE..]     these Debian packages, too
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/environment.sh

install_packages g++ cmake make ccache libbenchmark-dev libgtest-dev libhwy-dev "$@"

# A Python that the last Caffe2 was released for, the newest first.
if [ ! -x .venv/bin/python ]; then
  python=$(find_python 9 8 7 6) ||
    fail "a Python of version 3.6 to 3.9 with venv is needed, on PATH, under pyenv or named by PYTHON=, because no later one has Caffe2."
  say "making .venv with $("$python" --version 2>&1)"
  "$python" -m venv .venv
fi
requirements=requirements/requirements-py39.txt
if .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] == (3, 9))'; then
  requirements=requirements/requirements.in
  # The pip of an old Python takes wheels of today for none, and would compile what they hold.
  is_installed .venv "$requirements" || pip_install .venv --upgrade pip
fi
fill_venv .venv "$requirements"
link_package .venv
