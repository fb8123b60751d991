#!/usr/bin/env bash
# Looks for what tests cannot see: tools/sanitize.sh [address] [thread] [valgrind] [clang]
#
#   address   kernels and operators under AddressSanitizer and UndefinedBehaviorSanitizer
#   thread    kernels, run by threads, under ThreadSanitizer
#   valgrind  kernels and operators under memcheck
#   clang     everything compiled by clang too, whose warnings are not those of g++
#
# All of them, unless some are named. All but memcheck, which takes what `make build` made, build into
# folders of their own. With AVX2_ALONE=1 they compile kernels for no other instruction set, which
# takes a fraction of the time; else address tests them on AVX3_DL, AVX2 and SSSE3.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PYTHON=$PWD/.venv/bin/python
JOBS=$(nproc)
readonly JOBS
source tools/targets.sh

say() { printf 'sanitize: %s\n' "$*"; }
fail() {
  printf 'sanitize: %s\n' "$*" >&2
  exit 1
}

need() {
  command -v "$1" >/dev/null || fail "$1 is missing; Debian has it as $2."
}

# build FOLDER TARGETS.. -- OPTIONS..
build() {
  local folder=build/$1 targets=()
  shift
  while [ "$1" != -- ]; do
    targets+=("$1")
    shift
  done
  shift
  cmake -S . -B "$folder" --log-level=WARNING -DCAFFE2_PYTHON="$PYTHON" -DCAFFE2OP_MASK_UNITY=ON \
    -DCAFFE2OP_MASK_LIBRARY_DIR="$PWD/$folder/python/caffe2op_mask" "$@"
  cmake --build "$folder" --parallel "$JOBS" --target "${targets[@]}" -- --no-print-directory
}

# HWY_SSE4 and HWY_AVX3, whose code is nearly that of a neighbour's: without them a build takes minutes
# less.
readonly FLAGS="-O1 -g1 ${ONE_TARGET:--DHWY_DISABLED_TARGETS=2304}"

# Where this machine lacks one, the tests say so and end.
kernels_on() {
  local target
  for target in "${TESTED_TARGETS[@]}"; do
    say "kernels on $target"
    "$@" --target="$target" --gtest_brief=1
  done
}

address() {
  # Not the runtime's: it is not instrumented, and keeps what it registers until the end.
  export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
  export UBSAN_OPTIONS=print_stacktrace=1
  build address kernels_test contracts_test operators_test python_library -- \
    -DCAFFE2OP_MASK_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="$FLAGS"
  # Kernels alone must not leak.
  ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 \
    kernels_on build/address/tests/cpp/kernels_test
  say "contracts"
  build/address/tests/cpp/contracts_test --gtest_brief=1
  say "operators"
  build/address/tests/cpp/operators/operators_test --gtest_brief=1
  # A Python that is not instrumented loads the library, so that the sanitizer must be there first.
  (cd python && find caffe2op_mask -name '*.py' -exec cp --parents {} ../build/address/python \;)
  LD_PRELOAD=$(g++ -print-file-name=libasan.so):$(g++ -print-file-name=libubsan.so) \
    PYTHONPATH=$PWD/build/address/python \
    "$PYTHON" -m pytest -q -m operators
}

# The names of tests of the kernels, as a filter, that take at most so many milliseconds. They are
# timed once a run of this.
quick() {
  local names
  [ -e "$TIMES" ] || build/tests/cpp/kernels_test --target=SSE4 >"$TIMES" ||
    fail "a test of the kernels fails by itself; make test shows which."
  names=$(sed -n 's/.* OK \] \([^ ]*\) (\([0-9]*\) ms)/\2 \1/p' "$TIMES" |
    awk -v most="$1" '$1 <= most { printf "%s:", $2 }')
  [ -n "$names" ] || fail "no test of the kernels takes $1 ms or less."
  printf '%s' "$names"
}

# Of slow tests only those of which threads are the point: the others take many minutes here.
thread() {
  # With -fsanitize=thread g++ takes loops that never run, of vectors of one element, to leave arrays.
  build thread kernels_test -- -DCAFFE2OP_MASK_CAFFE2=OFF -DCAFFE2OP_MASK_SANITIZE=thread \
    -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="$FLAGS -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread"
  local filter
  filter=$(quick 100)
  say "kernels, by threads"
  TSAN_OPTIONS=halt_on_error=1:allocator_may_return_null=1 build/thread/tests/cpp/kernels_test \
    --gtest_brief=1 --gtest_filter="$filter*Whoever*"
}

memcheck() {
  need valgrind valgrind
  # memcheck takes fifty times as long, and has no 80-bit numbers, in which the oracles compute: results
  # are not judged here, as they are by the tests, but memory is.
  local filter
  filter=$(quick 30)
  say "kernels that take 30 ms or less, under memcheck"
  judge build/tests/cpp/kernels_test --target=SSE4 --gtest_filter="$filter"
  say "operators, under memcheck"
  judge build/tests/cpp/operators/operators_test \
    --gtest_filter='-*ManySmallRuns*:*FaultsTest*'
}

# Runs a test program under memcheck; fails where that has found something.
judge() {
  local status=0
  valgrind --quiet --error-exitcode=99 "$@" --gtest_brief=1 \
    >build/memcheck.log 2>&1 || status=$?
  if [ "$status" -ne 0 ] && [ "$status" -ne 1 ]; then
    cat build/memcheck.log >&2
    fail "memcheck found errors in ${1##*/}, or it ended with status $status; see above."
  fi
}

clang() {
  need clang++-14 clang-14
  # Compiled, and not run, not even for the names of tests: the runtime has no OpenMP of Clang's.
  # Warnings do not need optimized code, whose making takes most of the time.
  build clang all -- -DCMAKE_CXX_COMPILER=clang++-14 -DCMAKE_BUILD_TYPE=None \
    -DCMAKE_CXX_FLAGS="$ONE_TARGET" -DCMAKE_GTEST_DISCOVER_TESTS_DISCOVERY_MODE=PRE_TEST
}

[ -x "$PYTHON" ] || fail ".venv is missing; make setup makes it."
[ -x build/tests/cpp/operators/operators_test ] || fail "there are no tests in build/; make build makes them."
readonly TIMES=build/kernels_test.times
rm -f "$TIMES"
[ $# -gt 0 ] || set -- clang address thread valgrind
for one in "$@"; do
  case $one in
    address | thread | clang) "$one" ;;
    valgrind) memcheck ;;
    *) fail "$one is none of address, thread, valgrind and clang." ;;
  esac
done
say "nothing found by: $*"
