#!/usr/bin/env bash
# Makes everything that a build for a current PyTorch needs, from nothing: Debian packages, a Python
# environment in .venv-torch, and caffe2op_mask in it. Safe to repeat.
#
#   tools/setup_torch.sh 2.10     that release instead, in .venv-torch-2.10
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/environment.sh

readonly RELEASE=${1:-} REQUIREMENTS=requirements/requirements-torch.in
readonly VENV=.venv-torch${RELEASE:+-$RELEASE}

install_packages g++ cmake make ccache libgtest-dev libhwy-dev
if [ ! -x "$VENV/bin/python" ]; then
  python=$(find_python 14 13 12 11 10) ||
    fail "a Python of version 3.10 to 3.14 with venv is needed, on PATH, under pyenv or named by PYTHON=, because PyTorch has no wheel for another."
  say "making $VENV with $("$python" --version 2>&1)"
  "$python" -m venv "$VENV"
fi
if ! is_installed "$VENV" "$REQUIREMENTS"; then
  say "PyTorch and what it needs are some 3 GB to download, and 6 GB on disk."
  [ -z "$RELEASE" ] || pip_install "$VENV" "torch==$RELEASE.*"
fi
fill_venv "$VENV" "$REQUIREMENTS"
link_package "$VENV"
