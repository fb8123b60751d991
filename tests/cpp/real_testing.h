#pragma once

// Tensors of reals of any type for kernel tests, beside the doubles that they hold.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/real_block.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/reference/real.h"

namespace caffe2op_mask {

using reference::Doubles;

inline const std::vector<Real>& RealTypes() {
  static const std::vector<Real> types{
      Real::kFloat16, Real::kBFloat16, Real::kFloat32, Real::kFloat64};
  return types;
}

inline const char* NameOf(Real type) {
  const char* const names[] = {"float16", "bfloat16", "float32", "float64"};
  return names[static_cast<int>(type)];
}

// Half the distance of 1 to the next number of the type.
inline double Ulp(Real type) {
  const double ulps[] = {0x1p-11, 0x1p-8, 0x1p-24, 0x1p-53};
  return ulps[static_cast<int>(type)];
}

// Below this rounding is no longer relative.
inline double Tiny(Real type) {
  return type == Real::kFloat16 ? 0x1p-24 : std::numeric_limits<float>::min();
}

// What the type makes of numbers.
inline Doubles Rounded(Real type, const Doubles& values) {
  return reference::Decode(type, reference::Encode(type, values).data(), values.size());
}

// Numbers of [-scale, scale] that the type has.
inline Doubles RandomReals(Random& random, Real type, int64_t count, double scale) {
  std::uniform_real_distribution<double> draw(-scale, scale);
  Doubles values(static_cast<size_t>(count));
  for (double& value : values) value = draw(random.engine());
  return Rounded(type, values);
}

// The type in which kernels compute with elements of a type.
inline Real WideOf(Real type) {
  return type == Real::kFloat64 ? Real::kFloat64 : Real::kFloat32;
}

// From v to the next number of the type, away from zero.
inline long double UlpAt(Real type, long double v) {
  return WithElement(type, [&](auto element) { return reference::Ulp<decltype(element)>(v); });
}

// A tensor between guards, `slack` elements of it before a page that may not be touched.
class RealTensor {
 public:
  RealTensor(Real type, const reference::Bytes& bytes, size_t slack = 0)
      : type_(type), bytes_(bytes, slack * static_cast<size_t>(RealBytes(type))) {}
  RealTensor(Real type, const Doubles& values, size_t slack = 0)
      : RealTensor(type, reference::Encode(type, values), slack) {}

  void* data() { return bytes_.data(); }
  const void* data() const { return bytes_.data(); }
  size_t size() const { return bytes_.size() / static_cast<size_t>(RealBytes(type_)); }
  Doubles values() const { return reference::Decode(type_, bytes_.data(), size()); }
  reference::Bytes bytes() const { return {bytes_.data(), bytes_.data() + bytes_.size()}; }
  void MakeReadOnly() { bytes_.MakeReadOnly(); }
  void Expect(const reference::Bytes& expected) const { bytes_.Expect(expected); }
  void ExpectGuards() const { bytes_.ExpectGuards(); }

 protected:
  Real type_;
  GuardedBytes bytes_;
};

// A tensor that a kernel reads, at the end of a page.
class RealInput : public RealTensor {
 public:
  RealInput(Real type, const Doubles& values, size_t slack = 0) : RealTensor(type, values, slack) {
    MakeReadOnly();
  }
};

// A tensor that a kernel writes: NaN of every type, so that what is not written shows.
class RealOutput : public RealTensor {
 public:
  RealOutput(Real type, size_t count, size_t slack = 0)
      : RealTensor(
            type, reference::Bytes(count * static_cast<size_t>(RealBytes(type)), 0xFF), slack) {}

  // Within so many ulps of the type, and of float or double as they compute, of
  // `scale`, the magnitudes that were added up, or of `expected` itself.
  void ExpectNear(
      const char* name, const Doubles& expected, const Doubles& scale, double computed = 32) const {
    bytes_.ExpectGuards();
    const double compute_ulp = Ulp(type_ == Real::kFloat64 ? Real::kFloat64 : Real::kFloat32);
    const Doubles actual = values();
    ASSERT_EQ(actual.size(), expected.size()) << name;
    for (size_t i = 0; i < actual.size(); ++i) {
      const double magnitude = std::max(std::fabs(expected[i]), scale.empty() ? 0 : scale[i]);
      const double bound = 1.01 * Ulp(type_) * std::fabs(expected[i]) +
                           computed * compute_ulp * magnitude + Tiny(type_);
      ASSERT_LE(std::fabs(actual[i] - expected[i]), bound)
          << name << "[" << i << "] is " << actual[i] << ", not " << expected[i];
    }
  }
};

}  // namespace caffe2op_mask
