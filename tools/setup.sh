#!/usr/bin/env bash
# Makes everything that a build needs, from nothing: Debian packages, a Python environment in .venv,
# and caffe2op_mask in it. Safe to repeat; what is there already is not made again.
#
#   tools/setup.sh [PACKAGE..]     these Debian packages, too
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PACKAGES=(g++ cmake make ccache libbenchmark-dev libgtest-dev libhwy-dev "$@")

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

install_packages() {
  local missing=() package as_root=()
  for package in "${PACKAGES[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || fail "these Debian packages are missing and must be installed by root: ${missing[*]}."
    as_root=(sudo -n)
  fi
  say "installing Debian packages: ${missing[*]}"
  { "${as_root[@]}" apt-get update && "${as_root[@]}" apt-get install -y "${missing[@]}"; } \
    >/tmp/caffe2op-mask-apt.$$ 2>&1 ||
    fail "apt-get could not install ${missing[*]}: $(tail -n 1 /tmp/caffe2op-mask-apt.$$)"
  rm -f /tmp/caffe2op-mask-apt.$$
}

# A Python that the last Caffe2 was released for, the newest first; $PYTHON wins.
find_python() {
  local minor candidate
  for minor in 9 8 7 6; do
    for candidate in ${PYTHON:-} "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin/python; do
      if "$candidate" -c "import sys, venv; sys.exit(sys.version_info[:2] != (3, $minor))" 2>/dev/null; then
        "$candidate" -c 'import sys; print(sys.executable)'
        return
      fi
    done
  done
  fail "a Python of version 3.6 to 3.9 with venv is needed, on PATH, under pyenv or named by PYTHON=, because no later one has Caffe2."
}

pip_install() {
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" ||
    fail "pip could not install ${*: -1}; its own words are above."
}

make_venv() {
  local python requirements stamp
  if [ ! -x .venv/bin/python ]; then
    python=$(find_python)
    say "making .venv with $("$python" --version 2>&1)"
    "$python" -m venv .venv
  fi
  requirements=requirements/requirements.in
  if .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 9))'; then
    requirements=requirements/requirements-py39.txt
  fi
  stamp=$(sha256sum "$requirements")
  [ "$(cat .venv/requirements.stamp 2>/dev/null)" = "$stamp" ] && return
  say "installing $requirements into .venv"
  # The pip of an old Python takes wheels of today for none, and would compile what they hold.
  [ "$requirements" = requirements/requirements-py39.txt ] || pip_install --upgrade pip
  pip_install -r "$requirements"
  printf '%s' "$stamp" >.venv/requirements.stamp
}

# The package is importable from where it lies; only the library is built into it.
link_package() {
  .venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' | {
    read -r site
    printf '%s\n' "$PWD/python" >"$site/caffe2op_mask.pth"
  }
}

install_packages
make_venv
link_package
