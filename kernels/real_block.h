#pragma once

// Blocks of real elements as kernels compute with them: in double where the tensor is of doubles,
// in float where not.

#include <cstdint>

#include "kernels/real.h"

namespace caffe2op_mask {

// Elements that are converted and computed at once: small enough for several
// blocks to stay in the nearest cache, a multiple of any vector.
constexpr int64_t kRealBlock = 512;

constexpr int64_t NumRealBlocks(int64_t count) {
  return count / kRealBlock + (count % kRealBlock != 0 ? 1 : 0);
}

// f(C{}), with C the type that elements of `type` are computed in.
template <class F>
auto WithWide(Real type, const F& f) {
  return type == Real::kFloat64 ? f(double{}) : f(float{});
}

constexpr int64_t WideBytes(Real type) {
  return type == Real::kFloat64 ? 8 : 4;
}

}  // namespace caffe2op_mask
