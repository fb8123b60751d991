#include "kernels/real.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/real.h"

namespace caffe2op_mask {
namespace {

float FloatOfBits(uint32_t bits) {
  float v = 0;
  std::memcpy(&v, &bits, sizeof(v));
  return v;
}

uint32_t BitsOf(float v) {
  uint32_t bits = 0;
  std::memcpy(&bits, &v, sizeof(bits));
  return bits;
}

template <typename T>
bool IsNaN(T half) {
  return std::isnan(reference::ValueOf(half));
}

// Every number of type T, by its bits.
template <typename T>
std::vector<T> AllOf() {
  std::vector<T> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<uint16_t>(i);
  return all;
}

template <typename T>
std::vector<float> Widened(const std::vector<T>& from) {
  std::vector<float> to(from.size());
  ToFloat(from.data(), static_cast<int64_t>(from.size()), to.data());
  return to;
}

// FromFloat gives what the reference does; of NaN, some NaN of its sign.
template <typename T>
void ExpectNarrowed(const std::vector<float>& from) {
  std::vector<T> to(from.size());
  FromFloat(from.data(), static_cast<int64_t>(from.size()), to.data());
  for (size_t i = 0; i < from.size(); ++i) {
    const T expected = reference::Nearest<T>(from[i]);
    if (std::isnan(from[i])) {
      ASSERT_TRUE(IsNaN(to[i])) << std::hex << BitsOf(from[i]) << " to " << to[i].bits;
      ASSERT_EQ(to[i].bits & 0x8000, expected.bits & 0x8000);
    } else {
      ASSERT_EQ(to[i].bits, expected.bits) << "from " << std::hexfloat << from[i];
    }
  }
}

template <typename T>
class RealTest : public SeededTest {};
using HalfTypes = ::testing::Types<Float16, BFloat16>;
TYPED_TEST_SUITE(RealTest, HalfTypes);

TYPED_TEST(RealTest, EveryHalfWidens) {
  const std::vector<TypeParam> all = AllOf<TypeParam>();
  const std::vector<float> wide = Widened(all);
  for (size_t i = 0; i < all.size(); ++i) {
    const auto expected = static_cast<float>(reference::ValueOf(all[i]));
    ASSERT_EQ(std::isnan(wide[i]), std::isnan(expected)) << std::hex << all[i].bits;
    ASSERT_EQ(std::signbit(wide[i]), std::signbit(expected)) << std::hex << all[i].bits;
    ASSERT_TRUE(std::isnan(expected) || wide[i] == expected)
        << std::hex << all[i].bits << " to " << std::hexfloat << wide[i];
  }
}

TYPED_TEST(RealTest, EveryHalfComesBack) {
  const std::vector<TypeParam> all = AllOf<TypeParam>();
  const std::vector<float> wide = Widened(all);
  std::vector<TypeParam> back(all.size());
  FromFloat(wide.data(), static_cast<int64_t>(wide.size()), back.data());
  for (size_t i = 0; i < all.size(); ++i) {
    if (IsNaN(all[i])) {
      ASSERT_TRUE(IsNaN(back[i])) << std::hex << all[i].bits;
    } else {
      ASSERT_EQ(back[i].bits, all[i].bits);
    }
  }
}

// Between each number and the next one there is a float where rounding turns: the
// tie itself goes to the even one. The last turns are to infinity and to NaN.
TYPED_TEST(RealTest, RoundsToNearestEven) {
  std::vector<float> from;
  for (const TypeParam half : AllOf<TypeParam>()) {
    const double v = reference::ValueOf(half);
    if (!std::isfinite(v)) continue;
    const double ulp = std::copysign(static_cast<double>(reference::Ulp<TypeParam>(v)), v);
    const auto tie = static_cast<float>(v + ulp / 2);
    ASSERT_EQ(double{tie}, v + ulp / 2);
    for (const float near : {static_cast<float>(v), tie}) {
      from.insert(from.end(), {near, std::nextafter(near, 0.0F)});
      from.push_back(std::nextafter(near, std::copysign(INFINITY, near)));
    }
  }
  ExpectNarrowed<TypeParam>(from);
}

TYPED_TEST(RealTest, FloatsOfAnyBits) {
  std::vector<float> from{0.0F, -0.0F, INFINITY, -INFINITY, 65519.9961F, 65520.0F, -65520.0F};
  // Every upper half before lower ones that a sum may carry out of, or lose.
  for (uint32_t upper = 0; upper < 1 << 16; ++upper) {
    for (const uint32_t lower : {0x0000U, 0x0001U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU}) {
      from.push_back(FloatOfBits(upper << 16 | lower));
    }
    from.push_back(FloatOfBits(static_cast<uint32_t>(this->random_())));
  }
  ExpectNarrowed<TypeParam>(from);
}

TYPED_TEST(RealTest, TouchesNothingOutside) {
  std::vector<TypeParam> all = AllOf<TypeParam>();
  for (const int64_t count : Counts(this->random_)) {
    for (const size_t slack : {size_t{0}, size_t{2}, size_t{10}}) {
      SCOPED_TRACE(::testing::Message() << count << " elements, " << slack << " bytes of slack");
      const auto size = static_cast<size_t>(count);
      Bytes halves(size * sizeof(TypeParam));
      std::vector<float> floats(size);
      for (size_t i = 0; i < size; ++i) {
        TypeParam half = all[this->random_() % all.size()];
        if (IsNaN(half)) half = {};
        std::memcpy(halves.data() + i * sizeof(half), &half, sizeof(half));
        floats[i] = static_cast<float>(reference::ValueOf(half));
      }
      Bytes wide(size * sizeof(float));
      if (size > 0) std::memcpy(wide.data(), floats.data(), wide.size());
      GuardedBytes from(halves, slack);
      GuardedBytes to(wide.size(), 2 * slack);
      ToFloat(from.template as<TypeParam>(), count, to.template as<float>());
      to.Expect(wide);
      GuardedBytes back(halves.size(), slack);
      FromFloat(to.template as<float>(), count, back.template as<TypeParam>());
      back.Expect(halves);
      if (this->HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace caffe2op_mask
