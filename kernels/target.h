#pragma once

// Kernels are compiled for several instruction sets ("targets", as Highway calls
// them); the best that the machine has is chosen on the first call.

#include <string>
#include <vector>

namespace caffe2op_mask {

// Names of the targets that this build has and this machine runs, best first:
// "AVX3_DL", "AVX3", "AVX2", "SSE4", "SSSE3" on x86.
std::vector<const char*> TargetNames();

// Name of the target in use, given by code that was compiled for it.
const char* TargetName();

// Makes kernels use the target of this name, or with nullptr the best again.
// Returns false, and changes nothing, where the machine or the build lacks it.
bool ForceTarget(const char* name);

}  // namespace caffe2op_mask
