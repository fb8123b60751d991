#!/usr/bin/env bash
# Makes everything that a build for a current PyTorch needs, from nothing: Debian packages, a Python
# environment in .venv-torch, and caffe2op_mask in it. Safe to repeat.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/environment.sh

install_packages g++ cmake make ccache libgtest-dev libhwy-dev
if [ ! -x .venv-torch/bin/python ]; then
  python=$(find_python 14 13 12 11 10) ||
    fail "a Python of version 3.10 to 3.14 with venv is needed, on PATH, under pyenv or named by PYTHON=, because PyTorch has no wheel for another."
  say "making .venv-torch with $("$python" --version 2>&1)"
  "$python" -m venv .venv-torch
fi
is_installed .venv-torch requirements/requirements-torch.in ||
  say "PyTorch and what it needs are some 3 GB to download, and 6 GB on disk."
fill_venv .venv-torch requirements/requirements-torch.in
link_package .venv-torch
