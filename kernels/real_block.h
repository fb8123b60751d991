#pragma once

// Real types as a kernel is told them, and blocks of real elements as it computes
// with them: in double where the tensor is of doubles, in float where not.

#include <cstdint>

namespace caffe2op_mask {

enum class Real { kFloat16, kBFloat16, kFloat32, kFloat64 };

constexpr int64_t RealBytes(Real type) {
  return type == Real::kFloat64 ? 8 : type == Real::kFloat32 ? 4 : 2;
}

// Elements that are converted and computed at once: small enough for several
// blocks to stay in the nearest cache, a multiple of any vector.
constexpr int64_t kRealBlock = 512;

constexpr int64_t NumRealBlocks(int64_t count) {
  return count / kRealBlock + (count % kRealBlock != 0 ? 1 : 0);
}

}  // namespace caffe2op_mask
