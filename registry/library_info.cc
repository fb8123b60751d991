// What the library tells of itself to whoever has only its path, by dlsym or
// ctypes; and the one setting it takes from outside for its kernels.

#include <cstdlib>

#include "caffe2/core/logging.h"
#include "kernels/target.h"

#pragma GCC visibility push(default)
extern "C" {

// The instruction set that kernels run with, such as "AVX3_DL" or "AVX2".
const char* caffe2op_mask_target() {
  return caffe2op_mask::TargetName();
}

// Compiler and version that built the library.
const char* caffe2op_mask_compiler() {
#ifdef __clang__
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // extern "C"
#pragma GCC visibility pop

namespace caffe2 {
namespace mask {
namespace {

// Whoever cannot load the library, since it belongs to another runtime, can read this in its file.
__attribute__((used)) const char kBuiltFor[] = "caffe2op_mask was built for " BUILT_FOR;

// CAFFE2OP_MASK_TARGET=AVX2, say, forces a target: to measure, or to tell
// whether a wrong result is a target's.
bool ForceTargetFromEnvironment() {
  const char* const name = std::getenv("CAFFE2OP_MASK_TARGET");
  if (name == nullptr || caffe2op_mask::ForceTarget(name)) return true;
  LOG(ERROR) << "CAFFE2OP_MASK_TARGET is " << name
             << ", which this machine or this build lacks; caffe2op_mask runs with "
             << caffe2op_mask::TargetName() << ".";
  return false;
}

const bool kForced = ForceTargetFromEnvironment();

}  // namespace
}  // namespace mask
}  // namespace caffe2
