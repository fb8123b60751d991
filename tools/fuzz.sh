#!/usr/bin/env bash
# Builds the fuzz targets of the kernels and runs each, and then the operators, from the seeds in
# tests/fuzz/corpus.
#
#   tools/fuzz.sh [SECONDS [NAME..]]     for each (default 60); NAME such as gate or operators
#
# What a target found worth keeping stays in build/fuzz/corpus, so that the next run goes on from
# there; what fails is put into build/fuzz/findings. CXX may name another Clang than clang++-14, PYTHON
# another Python with the library than that of .venv, and SEED a number, where none is drawn. With
# AVX2_ALONE=1 the kernels are compiled for AVX2 alone, in a fraction of the time.
set -euo pipefail
cd "$(dirname "$0")/.."

stop() {
  echo "tools/fuzz.sh: $1" >&2
  exit 1
}

seconds=${1:-60}
[[ $seconds =~ ^[0-9]+$ ]] || stop "SECONDS must be a whole number, but is '$seconds'."
shift $(($# > 0 ? 1 : 0))
families=(boolean_mask fill gate masked_attention masked_softmax random_mask)
names=("${@:-${families[@]}}")
[[ $# -gt 0 ]] || names=("${families[@]}" operators)

source tools/targets.sh

build=build/fuzz
cxx=${CXX:-clang++-14}
python=${PYTHON:-.venv/bin/python}
seed=${SEED:-$RANDOM$RANDOM}

build_targets() {
  command -v "$cxx" >/dev/null || stop "there is no $cxx; Debian has it as clang-14."
  echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
    "$cxx" -x c++ -fsanitize=fuzzer,address,undefined -o /dev/null - 2>/dev/null ||
    stop "$cxx has no libFuzzer or sanitizers; Debian has them as libclang-rt-14-dev."
  cmake -S tests/fuzz -B $build -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_CXX_FLAGS="$ONE_TARGET" \
    --log-level=WARNING >/dev/null
  cmake --build $build --parallel "$(nproc)" -- --no-print-directory
}

# The last "cov: .." and so on that libFuzzer printed.
figure() {
  grep -oE "$1:? *[0-9]+" "$log" | tail -n 1 | grep -oE '[0-9]+' || echo 0
}

for name in "${names[@]}"; do
  [[ $name == operators || -f tests/fuzz/$name.cc ]] ||
    stop "NAME must be one of ${families[*]} operators, but is '$name'."
done
[[ ${names[*]} == operators ]] || build_targets
mkdir -p $build/findings

failed=0
summary=()
for name in "${names[@]}"; do
  if [[ $name == operators ]]; then
    [[ -x $python ]] || stop "there is no $python; make setup makes it."
    "$python" tests/fuzz/operators.py --replay tests/fuzz/corpus/operators || failed=1
    "$python" tests/fuzz/operators.py --seconds "$seconds" --seed "$seed" || failed=1
    continue
  fi
  mkdir -p $build/corpus/"$name"
  log=$build/$name.log
  echo "fuzz_$name for $seconds seconds"
  $build/fuzz_"$name" -max_total_time="$seconds" -seed="$seed" -max_len=1024 -len_control=0 \
    -timeout=60 -print_final_stats=1 -artifact_prefix=$build/findings/"$name"- \
    $build/corpus/"$name" tests/fuzz/corpus/"$name" >"$log" 2>&1 || {
    failed=1
    tail -n 60 "$log"
  }
  summary+=("$(printf '%-18s %12s %8s %8s %8s' "$name" \
    "$(figure number_of_executed_units)" "$(figure cov)" "$(figure ft)" "$(figure corp)")")
done
if [[ ${#summary[@]} -gt 0 ]]; then
  printf '%-18s %12s %8s %8s %8s\n' target executions cov ft corpus
  printf '%s\n' "${summary[@]}"
fi
exit $failed
