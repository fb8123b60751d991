#!/usr/bin/env bash
# Looks for what tests cannot see: tools/sanitize.sh [address] [thread] [valgrind] [clang]
#
#   address   kernels and operators under AddressSanitizer and UndefinedBehaviorSanitizer
#   thread    kernels, run by threads, under ThreadSanitizer
#   valgrind  kernels and operators under memcheck
#   clang     everything compiled by clang too, whose warnings are not those of g++
#
# All of them, unless some are named. Each builds into a folder of its own under build/.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PYTHON=$PWD/.venv/bin/python
JOBS=$(nproc)
readonly JOBS

# Operators as Python feeds them. Not here: what starts processes of its own, and programs.
readonly OPERATOR_TESTS=(bernoulli_mask boolean_mask boolean_mask_jagged boolean_mask_lengths
  boolean_unmask errors gate gate_errors highway masked_attention masked_softmax mixture_gate
  random_mask sequence_mask)

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
  cmake -S . -B "$folder" --log-level=WARNING -DCAFFE2_PYTHON="$PYTHON" \
    -DCAFFE2OP_MASK_LIBRARY_DIR="$PWD/$folder/python/caffe2op_mask" "$@"
  cmake --build "$folder" --parallel "$JOBS" --target "${targets[@]}" -- --no-print-directory
}

# Each target that this machine has; the others are skipped by the tests themselves.
kernels_on() {
  local target
  for target in AVX3_DL AVX3 AVX2 SSE4 SSSE3; do
    say "kernels on $target"
    "$@" --target="$target" --gtest_brief=1
  done
}

address() {
  # Not the runtime's: it is not instrumented, and keeps what it registers until the end.
  export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
  export UBSAN_OPTIONS=print_stacktrace=1
  build address kernels_test operators_test -- \
    -DCAFFE2OP_MASK_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O1 -g1"
  # Kernels alone must not leak.
  ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 \
    kernels_on build/address/tests/cpp/kernels_test
  say "operators"
  build/address/tests/cpp/operators_test --gtest_brief=1
  # A Python that is not instrumented loads the library, so that the sanitizer must be there first. Its
  # own sources lie beside the library.
  cp -r python/caffe2op_mask/. build/address/python/caffe2op_mask.new
  rm -f build/address/python/caffe2op_mask.new/*.so
  cp -r build/address/python/caffe2op_mask.new/. build/address/python/caffe2op_mask
  rm -r build/address/python/caffe2op_mask.new
  LD_PRELOAD=$(g++ -print-file-name=libasan.so):$(g++ -print-file-name=libubsan.so) \
    PYTHONPATH=$PWD/build/address/python \
    "$PYTHON" -m pytest -q "${OPERATOR_TESTS[@]/#/tests/python/test_}"
}

thread() {
  build thread kernels_test -- \
    -DCAFFE2OP_MASK_SANITIZE=thread -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O1 -g1"
  say "kernels, by threads"
  TSAN_OPTIONS=halt_on_error=1 build/thread/tests/cpp/kernels_test --gtest_brief=1
}

