// What a library of any front end says of itself, also to whoever has only its path, by dlsym or
// ctypes; and the one setting it takes from outside for its kernels.

#include <cstdio>
#include <cstdlib>

#include "kernels/target.h"
#include "registry/caffe2op_mask.h"

extern "C" {

const char* caffe2op_mask_version() {
  return CAFFE2OP_MASK_VERSION;  // The build defines it for this file.
}

const char* caffe2op_mask_compiler() {
#ifdef __clang__
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

const char* caffe2op_mask_target() {
  return caffe2op_mask::TargetName();
}

}  // extern "C"

namespace caffe2op_mask {
namespace {

// Whoever cannot load the library, since it belongs to another runtime, can read this in its file.
__attribute__((used)) const char kBuiltFor[] = "caffe2op_mask was built for " BUILT_FOR;

// CAFFE2OP_MASK_TARGET=AVX2, say, forces a target: to measure, or to find out whether a wrong result
// is a target's.
bool ForceTargetFromEnvironment() {
  const char* const name = std::getenv("CAFFE2OP_MASK_TARGET");
  if (name == nullptr || ForceTarget(name)) return true;
  std::fprintf(
      stderr,
      "CAFFE2OP_MASK_TARGET is %s, which this machine or this build lacks; caffe2op_mask runs with "
      "%s.\n",
      name, TargetName());
  return false;
}

const bool kForced = ForceTargetFromEnvironment();

}  // namespace
}  // namespace caffe2op_mask
