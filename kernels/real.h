#pragma once

// Real element types as kernels see them, what is computed in for each, and the way
// there and back.

#include <cstdint>
#include <type_traits>

namespace caffe2op_mask {

// IEEE 754 binary16, and the upper half of a binary32, as they lie in memory.
struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// double for double, else float.
template <typename T>
using Wide = std::conditional_t<std::is_same<T, double>::value, double, float>;

// from[0, count) as float, exactly.
void ToFloat(const Float16* from, int64_t count, float* to);
void ToFloat(const BFloat16* from, int64_t count, float* to);

// from[0, count) rounded to nearest, ties to even; what is too large is infinite. The
// ranges do not overlap.
void FromFloat(const float* from, int64_t count, Float16* to);
void FromFloat(const float* from, int64_t count, BFloat16* to);

}  // namespace caffe2op_mask
