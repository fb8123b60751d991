#pragma once

// Real element types as kernels see them, what is computed in for each, and the way
// there and back.

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace caffe2op_mask {

// IEEE 754 binary16, and the upper half of a binary32, as they lie in memory.
struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// An element type, as a kernel takes it beside a pointer.
enum class Real { kFloat16, kBFloat16, kFloat32, kFloat64 };

constexpr int64_t RealBytes(Real type) {
  return type == Real::kFloat64 ? 8 : type == Real::kFloat32 ? 4 : 2;
}

// f(T{}), with T the element type that `type` stands for: kernels are called by the enum and are
// templates inside.
template <class F>
auto WithElement(Real type, const F& f) {
  switch (type) {
    case Real::kFloat16: return f(Float16{});
    case Real::kBFloat16: return f(BFloat16{});
    case Real::kFloat32: return f(float{});
    case Real::kFloat64: break;
  }
  return f(double{});
}

// double for double, else float.
template <typename T>
using Wide = std::conditional_t<std::is_same<T, double>::value, double, float>;

// f(W{}), with W the type that elements of `type` are computed in.
template <class F>
auto WithWide(Real type, const F& f) {
  return type == Real::kFloat64 ? f(double{}) : f(float{});
}

constexpr int64_t WideBytes(Real type) {
  return type == Real::kFloat64 ? 8 : 4;
}

// from[0, count) as float, exactly.
void ToFloat(const Float16* from, int64_t count, float* to);
void ToFloat(const BFloat16* from, int64_t count, float* to);

// from[0, count) rounded to nearest, ties to even; what is too large is infinite. The
// ranges do not overlap.
void FromFloat(const float* from, int64_t count, Float16* to);
void FromFloat(const float* from, int64_t count, BFloat16* to);

// The same for one element, where there are few.
inline float ToFloat(BFloat16 element) {
  const uint32_t bits = uint32_t{element.bits} << 16;
  float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline float ToFloat(Float16 element) {
  // As in kernels/real-inl.h: a product moves the exponent's bias, subnormal numbers'
  // too; infinity and NaN have all ones there.
  const uint32_t magnitude = element.bits & 0x7FFFU;
  uint32_t bits = magnitude << 13;
  float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  value *= 5.192296858534828e33F;  // 2^112
  std::memcpy(&bits, &value, sizeof(value));
  if (magnitude >= 0x7C00U) bits |= 0x7F800000U;
  bits |= (element.bits & 0x8000U) << 16;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace caffe2op_mask
