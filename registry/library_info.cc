// What the library tells of itself, also to whoever has only its path, by dlsym
// or ctypes; and the one setting it takes from outside for its kernels.

#include <cstdlib>

#include "caffe2/core/logging.h"
#include "kernels/target.h"
#include "registry/caffe2op_mask.h"

extern "C" {

const char* caffe2op_mask_version() {
  return CAFFE2OP_MASK_VERSION;  // CMakeLists.txt defines it for this file.
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
