#!/usr/bin/env bash
# Packs the project and installs it in each way that docs/installation.md has, into environments of
# their own: what is packed, whether it works there, and whether uninstalling leaves nothing. Needs
# what `make setup` makes, and minutes, since it builds the library.
#
#   tools/check_package.sh           torch is linked into the environments from .venv, or RUNTIME=
#   tools/check_package.sh --fresh   pip installs torch into them, 2 GB each
#
# All of it happens in build/package, which stays where a check fails.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROOT=$PWD WORK=$PWD/build/package FRESH=${1:-}
readonly RUNTIME=${RUNTIME:-$ROOT/.venv}

say() { printf 'package: %s\n' "$*"; }
fail() {
  printf 'package: %s\n' "$*" >&2
  exit 1
}

# Same lines in two files, or else what differs.
same() {
  diff "$1" "$2" >&2 || fail "$3"
}

# An environment with torch and nothing else.
make_environment() {
  "$RUNTIME/bin/python" -m venv "$1"
  if [ "$FRESH" = --fresh ]; then
    "$1/bin/python" -m pip install --quiet -r <(grep '^torch==' requirements/requirements.in)
  else
    ln -s "$(site "$RUNTIME")"/{caffe2,torch,torch-*.dist-info,typing_extensions*} "$(site "$1")"
  fi
}

site() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])'; }

# The files of an environment, but for what Python compiles of pip while it runs.
list_environment() {
  (cd "$1" && find . -not -path '*/__pycache__*' -o -path '*/caffe2op_mask/*') | sort
}

# Whether the package works in an environment, away from the sources.
check_it_works() {
  (cd / && "$1/bin/python" - "$(site "$1")") <<'PYTHON'
import os
import sys

import caffe2op_mask
import numpy as np
from caffe2.python import core, workspace

site = os.path.join(sys.argv[1], "caffe2op_mask")
assert caffe2op_mask.library_path() == os.path.join(site, "libcaffe2op_mask.so")
with open("/proc/self/maps") as maps:
    mapped = {line.split(None, 5)[-1].strip() for line in maps}
assert os.path.join(site, "libhwy.so.1") in mapped, "another libhwy is loaded"

data = np.arange(12, dtype=np.float32).reshape(3, 4)
mask = data % 3 == 0
workspace.FeedBlob("data", data)
workspace.FeedBlob("mask", mask)
net = core.Net("net")
net.BooleanMask(["data", "mask"], ["kept"])
net.MaskedSoftmax(["data"], ["shares"], mode="upper")
workspace.RunNetOnce(net)
np.testing.assert_array_equal(workspace.FetchBlob("kept"), data[mask])
shares = np.exp(np.where(np.triu(np.ones((3, 4)), 1), -np.inf, data))
np.testing.assert_allclose(
    workspace.FetchBlob("shares"), shares / shares.sum(axis=1, keepdims=True), rtol=1e-6)
PYTHON
  (cd / && "$1/bin/python" -m caffe2op_mask --version | sed 's/^/package:   /')
  "$1/bin/python" -m pip check >/dev/null || fail "pip check finds requirements of $1 that are not met."
}

# check_install NAME WHAT..: installs, uses and uninstalls.
check_install() {
  local environment=$WORK/$1
  shift
  say "with $("$environment/bin/python" -m pip --version | cut -d ' ' -f 1,2)"
  say "pip install $*"
  "$environment/bin/python" -m pip install --quiet "$@"
  check_it_works "$environment"
  # What it requires stays, as it should.
  list_environment "$environment" | grep -v caffe2op_mask >"$WORK/before"
  "$environment/bin/python" -m pip uninstall --quiet --yes caffe2op_mask
  list_environment "$environment" >"$WORK/after"
  same "$WORK/before" "$WORK/after" "uninstalling left files in $environment."
  say "it works, and uninstalling leaves nothing"
}

check_wheel() {
  "$RUNTIME/bin/python" -m zipfile --list "$1" | awk 'NR > 1 { print $1 }' | sort >"$WORK/wheel"
  {
    (cd python && git ls-files '*.py')
    printf 'caffe2op_mask/%s\n' libcaffe2op_mask.so libhwy.so.1
    printf "caffe2op_mask-$VERSION.dist-info/%s\n" METADATA RECORD WHEEL top_level.txt \
      LICENSE LICENSE.highway LICENSE.protobuf
  } | sort >"$WORK/expected"
  same "$WORK/expected" "$WORK/wheel" "the wheel does not hold what it should."
  say "the wheel holds $(wc -l <"$WORK/wheel") files, as it should:"
  grep -v '\.py$' "$WORK/wheel" | sed 's/^/package:   /'
}

[ -x "$RUNTIME/bin/python" ] || fail "$RUNTIME has no Python; make setup makes one."
rm -rf "$WORK"
mkdir -p "$WORK"

"$RUNTIME/bin/python" setup.py --quiet egg_info --egg-base "$WORK" sdist --dist-dir "$WORK" 2>/dev/null
tar -C "$WORK" -xzf "$WORK"/caffe2op_mask-*.tar.gz
SOURCE=$(echo "$WORK"/caffe2op_mask-*/)
VERSION=$(basename "$SOURCE" | sed 's/.*-//')
(git ls-files && printf '%s\n' PKG-INFO setup.cfg) | sort >"$WORK/expected"
(cd "$SOURCE" && find . -type f | sed 's,^\./,,') | sort >"$WORK/packed"
same "$WORK/expected" "$WORK/packed" "the source package is not what git has."
say "the source package of version $VERSION holds all $(git ls-files | wc -l) files that git has"

# From here on nothing but the source package is used.
make_environment "$WORK/from-source"
"$WORK/from-source/bin/python" -m pip install --quiet --upgrade pip
check_install from-source "$SOURCE"
"$WORK/from-source/bin/python" -m pip wheel --quiet --no-deps --wheel-dir "$WORK/dist" "$SOURCE"
say "pip wheel made $(cd "$WORK/dist" && echo *)"
check_wheel "$WORK"/dist/*.whl
# The pip that Python brings is older.
make_environment "$WORK/from-wheel"
check_install from-wheel "$WORK"/dist/*.whl
rm -rf "$WORK"
