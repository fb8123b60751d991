# For tools that compile the kernels once more. Highway compiles them for each instruction set and, in
# any case, for machines that have none: with sanitizers that takes Clang more than all others do. With
# AVX2_ALONE=1 AVX2 is what every machine has, and nothing else is compiled.
case ${AVX2_ALONE:-0} in
  0)
    readonly ONE_TARGET=""
    readonly TESTED_TARGETS=(AVX3_DL AVX2 SSSE3)
    ;;
  1)
    if ! grep -qw avx2 /proc/cpuinfo; then
      echo "AVX2_ALONE is 1, but this machine has no AVX2." >&2
      exit 1
    fi
    readonly ONE_TARGET="-march=x86-64-v3 -maes -mpclmul -DHWY_COMPILE_ONLY_STATIC"
    readonly TESTED_TARGETS=(AVX2)
    ;;
  *)
    echo "AVX2_ALONE must be 0 or 1, but is '$AVX2_ALONE'." >&2
    exit 1
    ;;
esac
