#pragma once

// Real element types as kernels see them, and what is computed in for each.

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

}  // namespace caffe2op_mask
