# Functions that make what a build needs, for scripts to source: Debian packages, and an environment of
# a Python with the package importable from where it lies. None of it is made twice.

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# install_packages PACKAGE..
install_packages() {
  local missing=() package as_root=()
  for package in "$@"; do
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

# find_python MINOR..: the first of these versions that is there; $PYTHON wins.
find_python() {
  local minor candidate
  for minor in "$@"; do
    for candidate in ${PYTHON:-} "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin/python; do
      if "$candidate" -c "import sys, venv; sys.exit(sys.version_info[:2] != (3, $minor))" 2>/dev/null; then
        "$candidate" -c 'import sys; print(sys.executable)'
        return
      fi
    done
  done
  return 1
}

# pip_install VENV OPTION..
pip_install() {
  local venv=$1
  shift
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" ||
    fail "pip could not install ${*: -1}; its own words are above."
}

# is_installed VENV REQUIREMENTS: whether fill_venv has put that very file into it.
is_installed() {
  [ "$(cat "$1/requirements.stamp" 2>/dev/null)" = "$(sha256sum "$2")" ]
}

# fill_venv VENV REQUIREMENTS
fill_venv() {
  is_installed "$@" && return
  say "installing $2 into $1"
  pip_install "$1" -r "$2"
  printf '%s' "$(sha256sum "$2")" >"$1/requirements.stamp"
}

# link_package VENV: the package is importable from where it lies; only a library is built into it.
link_package() {
  "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' | {
    read -r site
    printf '%s\n' "$PWD/python" >"$site/caffe2op_mask.pth"
  }
}
